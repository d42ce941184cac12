//! What a step notes besides its outcome: what went wrong without being its failure, and what is worth measuring.

use crate::clock::since_epoch;
use crate::error::Error;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::store::Description;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One step's notes. Clones write into the same notes, so that whoever talks to a target can have one.
#[derive(Clone, Debug, Default)]
pub struct StepNotes(Arc<Mutex<Notes>>);

/// What stands in a step's notes at its end.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// What went wrong without being the step's failure.
    pub warnings: Vec<Error>,
    /// What is worth measuring.
    pub measures: Measures,
    /// The labels and dates that the step began with, if they could be read.
    pub description: Option<Description>,
    /// The new credential has taken effect: when, since the Unix epoch, and what became of the one before.
    pub(crate) took_effect: Option<(Duration, PreviousCredential)>,
}

/// What a step measured. What was not measured is `None` or zero.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measures {
    /// Logins that the target refused because of the credential.
    pub refused_logins: u32,
    /// Answers of an issuer that asked to slow down.
    pub throttles: u32,
    /// Keys that are still to be revoked.
    pub journal: Option<JournalSize>,
    /// The age of the version that was replaced.
    pub credential_age: Option<Duration>,
    /// How long AWSCURRENT named a credential that was refused.
    pub downtime: Option<Duration>,
}

/// How much is left of a journal after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalSize {
    /// Keys that are still to be revoked.
    pub depth: usize,
    /// Those of them whose time is over. `None` where it cannot be told which of them live.
    pub overdue: Option<usize>,
}

impl StepNotes {
    /// Notes what went wrong without being the step's failure.
    pub fn warn(&self, warning: Error) {
        self.notes().warnings.push(warning);
    }

    /// Notes that the target refused a login because of the credential.
    pub fn refused_login(&self) {
        self.notes().measures.refused_logins += 1;
    }

    /// Notes that a target asked to slow down.
    pub fn throttled(&self) {
        self.notes().measures.throttles += 1;
    }

    /// Notes what is left of a journal. The last note counts.
    pub fn journal(&self, size: JournalSize) {
        self.notes().measures.journal = Some(size);
    }

    /// Notes that the new credential has taken effect just now, and what became of the one before.
    pub fn took_effect(&self, previous: PreviousCredential) {
        // By the system's clock: a process is frozen between two invocations, and nothing says that its own clock goes on.
        self.notes().took_effect = Some((since_epoch(), previous));
    }

    pub(crate) fn described(&self, description: &Description) {
        self.notes().description = Some(description.clone());
    }

    pub(crate) fn promoted(&self, credential_age: Option<Duration>, downtime: Option<Duration>) {
        let mut notes = self.notes();
        notes.measures.credential_age = credential_age;
        notes.measures.downtime = downtime;
    }

    pub(crate) fn into_notes(self) -> Notes {
        self.notes().clone()
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When new credentials took effect, from the step that put them there to the one that promotes them. Usually both run in
/// one process; what another process did is not known here.
#[derive(Debug, Default)]
pub(crate) struct InFlightChanges(Mutex<Vec<EffectiveSince>>);

#[derive(Debug)]
struct EffectiveSince {
    secret: String,
    version: String,
    at: Duration,
    previous: PreviousCredential,
}

/// Rotations that one process may have begun and not ended. Forgetting one costs a measurement.
const MOST_CHANGES: usize = 64;

impl InFlightChanges {
    /// Keeps what was noted first for a version: a second run finds the new credential in effect.
    pub(crate) fn keep(&self, secret: &str, version: &str, taken: (Duration, PreviousCredential)) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|known| known.secret == secret && known.version == version) {
            return;
        }
        if all.len() >= MOST_CHANGES {
            all.remove(0);
        }
        let (at, previous) = taken;
        all.push(EffectiveSince { secret: secret.to_owned(), version: version.to_owned(), at, previous });
    }

    /// For a version that was promoted at `now`: how long AWSCURRENT named a credential that was refused.
    pub(crate) fn downtime(&self, secret: &str, version: &str, now: Duration) -> Option<Duration> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = all.iter().position(|known| known.secret == secret && known.version == version)?;
        let taken = all.remove(at);
        Some(match taken.previous {
            PreviousCredential::Works => Duration::ZERO,
            PreviousCredential::Refused | PreviousCredential::NotKept(_) => now.saturating_sub(taken.at),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn the_window_is_from_the_first_change_to_the_promotion() {
        let changes = InFlightChanges::default();
        changes.keep("a", "1", (10 * SECOND, PreviousCredential::Refused));
        changes.keep("a", "1", (12 * SECOND, PreviousCredential::Refused));
        changes.keep("b", "1", (11 * SECOND, PreviousCredential::Works));
        assert_eq!(changes.downtime("a", "1", 15 * SECOND), Some(5 * SECOND));
        assert_eq!(changes.downtime("b", "1", 15 * SECOND), Some(Duration::ZERO));
        assert_eq!(changes.downtime("a", "1", 15 * SECOND), None, "told once");
        assert_eq!(changes.downtime("a", "2", 15 * SECOND), None, "another rotation");
    }

    #[test]
    fn a_password_that_was_not_kept_was_refused() {
        let changes = InFlightChanges::default();
        changes.keep("a", "1", (10 * SECOND, PreviousCredential::NotKept("why")));
        assert_eq!(changes.downtime("a", "1", 11 * SECOND), Some(SECOND));
        // A clock that was set back meanwhile.
        changes.keep("a", "2", (10 * SECOND, PreviousCredential::Refused));
        assert_eq!(changes.downtime("a", "2", 9 * SECOND), Some(Duration::ZERO));
    }

    #[test]
    fn what_never_ends_does_not_pile_up() {
        let changes = InFlightChanges::default();
        for version in 0..=MOST_CHANGES {
            changes.keep("a", &version.to_string(), (SECOND, PreviousCredential::Refused));
        }
        assert_eq!(changes.downtime("a", "0", SECOND), None);
        assert!(changes.downtime("a", "1", SECOND).is_some());
    }

    #[test]
    fn all_clones_write_into_the_same_notes() {
        let notes = StepNotes::default();
        notes.clone().refused_login();
        notes.clone().throttled();
        notes.throttled();
        let measures = notes.into_notes().measures;
        assert_eq!((measures.refused_logins, measures.throttles), (1, 2));
    }
}
