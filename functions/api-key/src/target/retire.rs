//! Ends the keys whose time is over. Nothing here fails a rotation: what could not be ended stays in the journal.

use crate::exchange::{Exchange, ListedKey};
use crate::target::journal::{Prover, Superseded};
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact};

/// What became of a key that should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevokeOutcome {
    /// It has ended, now or before.
    Revoked,
    /// It may live, and is to be tried again.
    Failed,
    /// It lives, and is not ours to end.
    NotOurs,
}

/// Ends a key, if this function issued it, and warns if it did not end.
pub(crate) async fn revoke_own(
    context: &StepContext<'_>,
    exchange: &Exchange<'_>,
    prover: &Prover,
    entry: &Superseded,
    listed: Option<&[ListedKey]>,
) -> RevokeOutcome {
    if !is_ours(prover, entry, listed) {
        context.warn(not_ours(exchange));
        return RevokeOutcome::NotOurs;
    }
    match exchange.revoke(&entry.id).await {
        Ok(()) => RevokeOutcome::Revoked,
        Err(error) => {
            context.warn(not_revoked(error, &entry.id));
            RevokeOutcome::Failed
        }
    }
}

/// By its proof, or by its name in the issuer's list, which holds only names of this secret's.
pub(crate) fn is_ours(prover: &Prover, entry: &Superseded, listed: Option<&[ListedKey]>) -> bool {
    prover.holds(&entry.id, entry.proof.as_deref()) || is_named(&entry.id, listed)
}

/// Whether the issuer's list has this id under a name that this function gave.
pub(crate) fn is_named(id: &str, listed: Option<&[ListedKey]>) -> bool {
    listed.is_some_and(|listed| listed.iter().any(|found| found.id == id && found.name.is_some()))
}

/// Without the id: what nothing proves to be one may be a key that stands in the wrong field.
pub(crate) fn not_ours(exchange: &Exchange<'_>) -> Error {
    Error::new(Code::KeyNotOurs).with(Fact::Issuer, &exchange.issuer().id)
}

/// The reason stays as facts; the code is the one that an alarm waits for.
pub(crate) fn not_revoked(error: Error, id: &str) -> Error {
    let because = error.code();
    error.recoded(Code::KeyNotRevoked).with_default(Fact::KeyId, id).with(Fact::What, because)
}
