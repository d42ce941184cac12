//! What a step notes besides its outcome: problems that did not fail it, and measurements.

use crate::clock::since_epoch;
use crate::error::Error;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::store::Description;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One step's notes. All clones write into the same notes.
#[derive(Clone, Debug, Default)]
pub struct StepNotes(Arc<Mutex<Notes>>);

/// The notes of a step that has ended.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    /// Problems that did not fail the step.
    pub warnings: Vec<Error>,
    /// What the step measured.
    pub measures: Measures,
    /// What belongs to the credential's user and has no credential, so that nothing was done to it.
    pub left_alone: Vec<String>,
    /// Whether RDS says that the server's users may log in with a token in place of a password. `None`: RDS was not asked.
    pub iam_authentication: Option<bool>,
    /// The labels and dates that the step began with, if they could be read.
    pub description: Option<Description>,
    /// If the new credential took effect: when, since the Unix epoch, and what became of the previous credential.
    pub(crate) took_effect: Option<(Duration, PreviousCredential)>,
}

/// What a step measured. A value that was not measured is `None` or zero.
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
    /// How many of them should have been revoked by now. `None` if the function cannot tell which keys live.
    pub overdue: Option<usize>,
}

impl StepNotes {
    /// Notes a problem that does not fail the step.
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

    /// Notes how many keys a journal still holds. The last note counts.
    pub fn journal(&self, size: JournalSize) {
        self.notes().measures.journal = Some(size);
    }

    /// Notes that the new credential has taken effect just now, and what became of the previous credential.
    pub fn took_effect(&self, previous: PreviousCredential) {
        // The system's clock, because Lambda freezes a process between two invocations and may stop its monotonic clock.
        self.notes().took_effect = Some((since_epoch(), previous));
    }

    /// Notes what has no credential and was left alone.
    pub fn left_alone(&self, names: Vec<String>) {
        self.notes().left_alone = names;
    }

    /// Notes whether users of the server may log in with a token in place of a password.
    pub fn iam_authentication(&self, enabled: bool) {
        self.notes().iam_authentication = Some(enabled);
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

/// When new credentials took effect: setSecret writes it, finishSecret reads it. Usually both run in one process. What another
/// process did is not known here.
#[derive(Debug, Default)]
pub(crate) struct InFlightChanges(Mutex<Vec<EffectiveSince>>);

#[derive(Debug)]
struct EffectiveSince {
    secret: String,
    version: String,
    at: Duration,
    previous: PreviousCredential,
}

/// How many unfinished rotations one process remembers. Forgetting one costs a measurement, nothing else.
const MOST_CHANGES: usize = 64;

impl InFlightChanges {
    /// Keeps the first note for a version. A second run of setSecret finds the new credential in effect already.
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
