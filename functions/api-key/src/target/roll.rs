//! createSecret if one call exchanges the key. After a lost answer, the admin's credential exchanges the key again.

use crate::description::{Expiry, Key, Strategy};
use crate::exchange::Exchange;
use crate::target::mint::{TO_STORE, enough};
use crate::target::rights::Administrator;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};

/// Exchanges the current key.
pub(crate) async fn roll(admin: &Administrator, context: &StepContext<'_>) -> Result<Key> {
    let deadline = context.deadline().less(TO_STORE);
    let issuer = &admin.holder.issuer;
    let exchange = admin.exchange(deadline);
    let grace = issuer.grace.filter(|_| issuer.strategy == Strategy::RollGrace).map(Expiry::after);
    let living = living(admin, &exchange).await?;
    let time = issuer.roll.as_ref().map(|roll| roll.call.timeout).unwrap_or_default();
    enough(deadline, time)?;
    // Another invocation may have stored its key meanwhile. This exchange would end that key.
    context.still_wanted().await?;
    if context.has_value().await? {
        return Err(Error::new(Code::AttemptUnderWay).with(Fact::Issuer, &issuer.id));
    }
    let rolled = exchange.roll(&living, grace).await?;
    rolled.ok_or_else(|| lost(&exchange, "no living key of this id"))
}

/// The key to exchange. If each exchange gives a new id, an earlier attempt that was not stored has left a key that only the
/// issuer's list has. The id of an ended key must not even be sent, because some issuers take its use for a theft.
async fn living(admin: &Administrator, exchange: &Exchange<'_>) -> Result<Key> {
    let current = &admin.holder.version.key;
    let Some(found) = exchange.find().await? else { return Ok(current.clone()) };
    match found.as_slice() {
        // The secret's writer has not shown that it has a key that only the list knows.
        [only] if current.id.as_deref() != Some(&only.id) && !admin.is_proven() => Err(admin.unproven()),
        [only] => Ok(Key { id: Some(only.id.clone()), ..current.clone() }),
        [] => Err(lost(exchange, "no living key in the issuer's list")),
        _ => Err(lost(exchange, "several living keys in the issuer's list, of which any may be the one")),
    }
}

fn lost(exchange: &Exchange<'_>, found: &str) -> Error {
    let error = Error::new(Code::LockedOut).with(Fact::Issuer, &exchange.issuer().id);
    error.with(Fact::Found, found)
}
