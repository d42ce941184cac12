//! Old connections close at a pace after a rotation, and never in the middle of a query.
//!
//! A database session goes on after its password has changed. It should not go on for ever: the next rotation of a pair changes the
//! user's privileges, and a password that leaked may have opened a session. So pools ask, when a connection comes back, whether
//! it is due. Each connection draws its own moment within `retire_over`, so that they do not all close and open at once.

use crate::secret::{Replaced, RotatingSecret};
use crate::snapshot::Snapshot;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;
use tokio::time::Instant;

/// With which version a connection was opened. Keep it with the connection, and ask
/// [`is_retired`](RotatingSecret::is_retired) whenever the connection is not in use.
#[derive(Clone, Debug)]
pub struct Ticket {
    version_id: String,
    /// After which part of `retire_over` the connection closes.
    part: f64,
}

impl Ticket {
    /// A ticket for a connection that was opened with this version.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        Self { version_id: snapshot.version_id().to_owned(), part: fastrand::f64() }
    }
}

impl RotatingSecret {
    /// Whether a connection should close now: its version is not in use any more, and its moment within
    /// [`retire_over`](crate::Builder::retire_over) has come.
    #[must_use]
    pub fn is_retired(&self, ticket: &Ticket) -> bool {
        self.is_due(self.shared().replaced(&ticket.version_id), ticket.part)
    }

    /// The same for pools that only tell how old a connection is. A connection that was opened with an old version while the version
    /// changed counts as one of the new version, and closes after the next change.
    #[must_use]
    pub fn is_retired_at_age(&self, age: Duration) -> bool {
        let Some(opened) = Instant::now().checked_sub(age) else { return false };
        let replaced = self.shared().replaced_since(opened);
        replaced.is_some() && self.is_due(replaced, self.part_of(opened))
    }

    fn is_due(&self, replaced: Option<Replaced>, part: f64) -> bool {
        match replaced {
            None => false,
            Some(Replaced::LongAgo) => true,
            Some(Replaced::At(at)) => at.elapsed() >= self.shared().settings.retire_over.mul_f64(part),
        }
    }

    /// Drawn from the time at which the connection was opened, as there is nowhere to keep a draw.
    fn part_of(&self, opened: Instant) -> f64 {
        let mut hasher = DefaultHasher::new();
        opened.saturating_duration_since(self.shared().began).as_millis().hash(&mut hasher);
        fastrand::Rng::with_seed(hasher.finish()).f64()
    }
}
