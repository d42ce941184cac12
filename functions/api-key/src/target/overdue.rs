//! The overdue keys of a journal, and the size of the journal.

use crate::exchange::{Exchange, ListedKey};
use crate::target::journal::Superseded;
use crate::target::key_secret::KeySecret;
use crate::target::retire::{RevokeOutcome, is_ours, not_ours, revoke_own};
use crate::target::rights::{Administrator, Holder};
use rotation::clock::since_epoch;
use rotation::protocol::context::StepContext;
use rotation::protocol::label::CURRENT;
use rotation::protocol::notes::JournalSize;
use rotation::protocol::target::Retired;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// The keys of a journal that are to be revoked now.
pub(crate) struct Overdue {
    keys: Vec<Superseded>,
    left: JournalCount,
}

impl Overdue {
    /// The overdue keys of a version, if there are any; notes the size of the journal. `in_use` is the id of a key that consumers
    /// may have read a moment ago.
    pub(crate) fn of(
        context: &StepContext<'_>,
        holder: &Holder,
        in_use: Option<&str>,
        promoted: Option<Duration>,
    ) -> Option<Self> {
        let (version, now) = (&holder.version, since_epoch());
        let due = |entry: &&Superseded| {
            // An operator made this key current again, so its grace period begins anew.
            let again = entry.since.is_some() && in_use == Some(&entry.id);
            let own = version.key.id.as_ref() == Some(&entry.id);
            entry.due(version.grace, promoted, now) && !again && !own
        };
        if !holder.issuer.mints() {
            return None;
        }
        let keys: Vec<_> = version.journal.retire.iter().filter(due).cloned().collect();
        let left = JournalCount::of(version, keys.len());
        left.note(context);
        (!keys.is_empty()).then_some(Self { keys, left })
    }

    /// The key of this id in the journal of a version, whether its time is over or not. `None` if the journal does not have it, or it is
    /// the version's own.
    pub(crate) fn early(holder: &Holder, id: &str) -> Option<Self> {
        let version = &holder.version;
        if !holder.issuer.mints() || version.key.id.as_deref() == Some(id) {
            return None;
        }
        let keys: Vec<_> = version.journal.retire.iter().filter(|entry| entry.id == id).cloned().collect();
        let left = JournalCount::of(version, keys.len());
        (!keys.is_empty()).then_some(Self { keys, left })
    }

    /// Revokes the keys, as long as `version` is AWSCURRENT, and notes the size of the journal again. The caller has just asked for
    /// AWSCURRENT.
    ///
    /// **Invariant:** the labels are asked before each key. Somebody may have gone back to the version of that key, and AWSCURRENT
    /// would open nothing. Test: `a_key_that_is_current_again_is_not_revoked`.
    ///
    /// # Errors
    /// [`Code::WriteConflict`] if AWSCURRENT has moved; those of the store.
    pub(crate) async fn revoke(
        mut self,
        context: &StepContext<'_>,
        admin: &Administrator,
        version: &str,
    ) -> Result<Retired> {
        let exchange = admin.revocations(context.deadline());
        let mut retired = Retired::Nothing;
        for (index, entry) in self.keys.iter().enumerate() {
            let stopped = match index {
                0 => None,
                _ => match context.is_current(version).await {
                    Ok(true) => None,
                    Ok(false) => Some(moved()),
                    Err(error) => Some(error),
                },
            };
            if let Some(error) = stopped {
                self.left.note(context);
                return Err(error);
            }
            let became = revoke_own(context, &exchange, &admin.prover, entry, None).await;
            self.left.count(became);
            if became == RevokeOutcome::Revoked {
                retired = Retired::Previous;
            }
        }
        self.left.note(context);
        Ok(retired)
    }
}

/// AWSCURRENT has moved to another version, whose journal decides from now on.
pub(crate) fn moved() -> Error {
    Error::new(Code::WriteConflict).with(Fact::Labels, CURRENT)
}

/// The size of a version's journal, without the version's own key.
struct JournalCount {
    depth: usize,
    overdue: usize,
}

impl JournalCount {
    fn of(secret: &KeySecret, due: usize) -> Self {
        Self { depth: superseded(secret).count(), overdue: due }
    }

    /// Counts the outcome of a revocation. A key that is not ours is not overdue: it has its own warning, and may have ended long
    /// ago.
    fn count(&mut self, became: RevokeOutcome) {
        match became {
            RevokeOutcome::Revoked => {
                self.depth = self.depth.saturating_sub(1);
                self.overdue = self.overdue.saturating_sub(1);
            }
            RevokeOutcome::NotOurs => self.overdue = self.overdue.saturating_sub(1),
            RevokeOutcome::Failed => {}
        }
    }

    /// Notes the size.
    fn note(&self, context: &StepContext<'_>) {
        let (depth, overdue) = (self.depth, Some(self.overdue));
        context.notes().journal(JournalSize { depth, overdue });
    }
}

fn superseded(secret: &KeySecret) -> impl Iterator<Item = &Superseded> {
    secret.journal.retire.iter().filter(|entry| secret.key.id.as_ref() != Some(&entry.id))
}

/// The keys in the journal of the current version that still exist, with the grace period "until the next rotation". A version's
/// value never changes, so only the issuer's list tells which keys have ended since.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Living {
    /// The number of keys to be revoked.
    depth: usize,
    /// The ids of the overdue ones.
    overdue: Vec<String>,
    /// The number of keys that exist and are not ours.
    not_ours: usize,
}

impl Living {
    /// `None` if the list cannot tell for each key whether it exists.
    pub(crate) fn of(admin: &Administrator, listed: &[ListedKey]) -> Option<Self> {
        Self::among(&admin.holder.version, listed, |entry| is_ours(&admin.prover, entry, Some(listed)))
    }

    fn among(secret: &KeySecret, listed: &[ListedKey], is_ours: impl Fn(&Superseded) -> bool) -> Option<Self> {
        let mut living = Self::default();
        for entry in superseded(secret) {
            if entry.since.is_none() {
                living.depth += 1;
            } else if !entry.listed {
                return None;
            } else if listed.iter().any(|found| found.id == entry.id) {
                living.depth += 1;
                if is_ours(entry) {
                    living.overdue.push(entry.id.clone());
                } else {
                    living.not_ours += 1;
                }
            }
        }
        Some(living)
    }

    /// Notes the numbers, and warns of each key that should have ended.
    pub(crate) fn tell(self, context: &StepContext<'_>, exchange: &Exchange<'_>) {
        context.notes().journal(JournalSize { depth: self.depth, overdue: Some(self.overdue.len()) });
        for id in &self.overdue {
            context.warn(alive(exchange, id));
        }
        for _ in 0..self.not_ours {
            context.warn(not_ours(exchange));
        }
    }
}

/// Warns of an overdue key that still exists. The issuer listed the id, so it is not a key in the wrong field.
fn alive(exchange: &Exchange<'_>, id: &str) -> Error {
    Error::new(Code::KeyNotRevoked).with(Fact::Issuer, &exchange.issuer().id).with(Fact::KeyId, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::description::Key;
    use crate::target::journal::{Grace, Journal};
    use std::collections::BTreeMap;

    fn found(ids: &[&str]) -> Vec<ListedKey> {
        ids.iter().map(|id| ListedKey { id: (*id).to_owned(), name: None }).collect()
    }

    fn entry(id: &str, since: Option<u64>, listed: bool) -> Superseded {
        Superseded { id: id.to_owned(), proof: None, since, listed }
    }

    fn version(retire: Vec<Superseded>) -> KeySecret {
        KeySecret {
            key: Key::of_id("own"),
            admin_secret: None,
            grace: Grace::Cycle,
            lifetime: None,
            value: None,
            journal: Journal { proof: None, retire },
            vars: BTreeMap::new(),
        }
    }

    /// Otherwise a key that a person has revoked would raise an alarm for good.
    #[test]
    fn a_key_that_is_not_ours_is_never_overdue() {
        for (became, depth, overdue) in [
            (vec![], 3, 2),
            (vec![RevokeOutcome::Failed, RevokeOutcome::Failed], 3, 2),
            (vec![RevokeOutcome::Revoked, RevokeOutcome::NotOurs], 2, 0),
        ] {
            let retire = vec![entry("a", Some(1), false), entry("b", Some(1), false), entry("c", None, false)];
            let mut left = JournalCount::of(&version(retire), 2);
            became.into_iter().for_each(|became| left.count(became));
            assert_eq!((left.depth, left.overdue), (depth, overdue));
        }
    }

    #[test]
    fn what_lives_too_long_is_told_by_its_id() {
        let retire = || vec![entry("waits", None, true), entry("late", Some(1), true), entry("other", Some(1), true)];
        let ours = |entry: &Superseded| entry.id != "other";
        let among = |retire, listed: &[&str]| Living::among(&version(retire), &found(listed), ours);
        let told = |depth, overdue: &[&str], not_ours| {
            Some(Living { depth, overdue: overdue.iter().map(|id| (*id).to_owned()).collect(), not_ours })
        };
        assert_eq!(among(retire(), &["waits", "late", "other"]), told(3, &["late"], 1));
        assert_eq!(among(retire(), &["waits"]), told(1, &[], 0));
        assert_eq!(among(vec![entry("own", Some(1), true)], &["own"]), told(0, &[], 0), "the version's own key");
        assert_eq!(among(vec![entry("unlisted", Some(1), false)], &[]), None);
    }
}
