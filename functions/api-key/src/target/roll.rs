//! createSecret where one call exchanges the key. What is lost of it is made good by exchanging again, with the admin's
//! credential.

use crate::description::Strategy;
use crate::description::template::{End, Key};
use crate::exchange::Exchange;
use crate::http::Client;
use crate::target::mint::{TO_STORE, enough};
use crate::target::ready::Ready;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};

/// Exchanges the current key.
pub(crate) async fn roll(ready: &Ready, client: &Client, context: &StepContext<'_>) -> Result<Key> {
    let deadline = context.deadline().less(TO_STORE);
    let exchange = ready.exchange(client, &ready.version.key, deadline);
    let grace = ready.issuer.grace.filter(|_| ready.issuer.strategy == Strategy::RollGrace).map(End::after);
    let living = living(ready, &exchange).await?;
    let time = ready.issuer.roll.as_ref().map(|roll| roll.call.timeout).unwrap_or_default();
    enough(deadline, time)?;
    // Another invocation may have stored its key while this one was looking. That would end with this exchange.
    context.still_pending().await?;
    if context.has_value().await? {
        return Err(Error::new(Code::AttemptUnderWay).with(Fact::Issuer, &ready.issuer.id));
    }
    let rolled = exchange.roll(&living, grace).await?;
    rolled.ok_or_else(|| lost(&exchange, "no living key of this id"))
}

/// The key to exchange. Where a key gets a new id with each exchange, an earlier attempt that was not stored has left a key that
/// only the issuer's list knows; a dead id must then not even be sent, for some issuers take that for a theft.
async fn living(ready: &Ready, exchange: &Exchange<'_>) -> Result<Key> {
    let current = &ready.version.key;
    let Some(found) = exchange.find().await? else { return Ok(current.clone()) };
    match found.as_slice() {
        // Of a key that only the list knows, the secret's writer has shown nothing.
        [only] if current.id.as_deref() != Some(&only.id) && !ready.is_proven() => Err(ready.unproven()),
        [only] => Ok(Key { id: Some(only.id.clone()), ..current.clone() }),
        [] => Err(lost(exchange, "no living key in the issuer's list")),
        _ => Err(lost(exchange, "several living keys in the issuer's list, of which any may be the one")),
    }
}

fn lost(exchange: &Exchange<'_>, found: &str) -> Error {
    let error = Error::new(Code::LockedOut).with(Fact::Issuer, &exchange.issuer().id);
    error.with(Fact::Found, found)
}
