//! createSecret where one call exchanges the key. What is lost of it is made good by exchanging again, with the admin's
//! credential.

use crate::description::Strategy;
use crate::exchange::Exchange;
use crate::http::Client;
use crate::mint::enough;
use crate::ready::Ready;
use crate::template::{End, Key};
use rotation::store::SecretStore;
use rotation::target::Reader;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// As for a key that is made: what is not stored is lost.
const TO_STORE: Duration = Duration::from_secs(3);

/// Exchanges the current key.
pub(crate) async fn roll<S: SecretStore>(ready: &Ready, client: &Client, reader: &Reader<'_, S>) -> Result<Key> {
    let exchange = ready.exchange(client, &ready.facts.key, reader.deadline());
    let time = ready.issuer.roll.as_ref().map(|roll| roll.call.timeout).unwrap_or_default();
    enough(reader.deadline(), time + TO_STORE)?;
    let grace = ready.issuer.grace.filter(|_| ready.issuer.strategy == Strategy::RollGrace).map(End::after);
    let living = living(ready, &exchange).await?;
    // Nothing that was read before the last label was looked at is acted upon.
    reader.still_pending().await?;
    let rolled = exchange.roll(&living, grace).await?;
    rolled.ok_or_else(|| lost(&exchange, "no living key of this id"))
}

/// The key to exchange. Where a key gets a new id with each exchange, an earlier attempt that was not stored has left a key that
/// only the issuer's list knows; a dead id must then not even be sent, for some issuers take that for a theft.
async fn living(ready: &Ready, exchange: &Exchange<'_>) -> Result<Key> {
    let Some(found) = exchange.find().await? else { return Ok(ready.facts.key.clone()) };
    match found.as_slice() {
        [only] => Ok(Key { id: Some(only.id.clone()), ..ready.facts.key.clone() }),
        [] => Err(lost(exchange, "no living key in the issuer's list")),
        _ => Err(lost(exchange, "several living keys in the issuer's list, of which any may be the one")),
    }
}

fn lost(exchange: &Exchange<'_>, found: &str) -> Error {
    let error = Error::new(Code::LockedOut).with(Fact::Issuer, &exchange.issuer().id);
    error.with(Fact::Found, found)
}
