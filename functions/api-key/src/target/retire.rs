//! Revokes superseded keys.
//!
//! **Invariant:** a failed revocation does not fail the rotation. The key stays in the journal, which is stored before the promotion
//! that supersedes the key, and the next run tries again. Otherwise a key would work on unnoticed. Tests:
//! `a_revocation_that_fails_does_not_fail_the_rotation_and_is_made_good`, `a_deletion_that_is_not_answered_does_not_fail_the_rotation`.

use crate::exchange::{Exchange, ListedKey};
use crate::target::journal::{Prover, Superseded};
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact};

/// The outcome of a revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RevokeOutcome {
    /// The key has ended, now or before.
    Revoked,
    /// The key may still work. The next run tries again.
    Failed,
    /// Nothing proves that the key is ours, so it was not revoked.
    NotOurs,
}

/// Revokes a key if it is ours. Warns if the key may still work.
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
    if revoke(context, exchange, &entry.id).await { RevokeOutcome::Revoked } else { RevokeOutcome::Failed }
}

/// Revokes a key. Warns, and returns false, if the key may still work.
pub(crate) async fn revoke(context: &StepContext<'_>, exchange: &Exchange<'_>, id: &str) -> bool {
    let revoked = exchange.revoke(id).await;
    revoked.map_err(|error| context.warn(not_revoked(error, id))).is_ok()
}

/// Whether a key is this secret's: by its proof, or by its name in the issuer's list.
///
/// **Invariant:** a key is revoked only with such a proof. The ids in a secret are claims of its writer, who could otherwise have any
/// key of the issuer revoked. Tests: `the_id_of_somebody_elses_key_ends_nothing`, `a_forged_journal_ends_nothing`,
/// `somebody_elses_id_with_a_forged_or_copied_proof_ends_nothing`.
pub(crate) fn is_ours(prover: &Prover, entry: &Superseded, listed: Option<&[ListedKey]>) -> bool {
    prover.holds(&entry.id, entry.proof.as_deref()) || is_named(&entry.id, listed)
}

/// Whether the issuer's list has this id under a name that this function gave.
pub(crate) fn is_named(id: &str, listed: Option<&[ListedKey]>) -> bool {
    listed.is_some_and(|listed| listed.iter().any(|found| found.id == id && found.name.is_some()))
}

/// The warning has no id, because an unproven id may be a key in the wrong field.
pub(crate) fn not_ours(exchange: &Exchange<'_>) -> Error {
    Error::new(Code::KeyNotOurs).with(Fact::Issuer, &exchange.issuer().id)
}

/// The reason stays as a fact. The code is the one that alarms match.
fn not_revoked(error: Error, id: &str) -> Error {
    let because = error.code();
    error.recoded(Code::KeyNotRevoked).with_default(Fact::KeyId, id).with(Fact::What, because)
}
