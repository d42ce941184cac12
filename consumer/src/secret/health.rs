//! How a secret is doing.

use crate::error::Cause;
use crate::label::Label;
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Whether a secret can be used, for `/health` and `/ready`. It holds no value, and can be serialized.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Health {
    /// The secret's name.
    pub secret: String,
    /// Whether it can be used.
    pub state: State,
    /// The version in use.
    pub version_id: String,
    /// The label under which that version was read.
    pub label: Label,
    /// How long ago the source last confirmed it, in seconds.
    pub age_seconds: u64,
    /// How many reads in a row have failed.
    pub failed_reads: u32,
    /// Why the last read failed, if it did.
    pub cause: Option<Cause>,
    /// Whether the server refused the version in use, and has accepted none since. A service with this answer to `/ready` can connect to
    /// nothing new.
    pub refused: bool,
    /// What has happened so far.
    pub counts: Counts,
}

/// Whether a secret can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It was confirmed in time.
    Fresh,
    /// Reads fail or are late. The last version is served on.
    Stale,
    /// It was confirmed too long ago, and is not served any more.
    Expired,
}

impl Health {
    /// Whether new connections can be expected to work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.state != State::Expired && !self.refused
    }
}

/// What has happened since the secret was first read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Calls to the source.
    pub fetches: u64,
    /// Those of them that a refused login caused.
    pub forced_fetches: u64,
    /// Those of them that failed.
    pub failed_fetches: u64,
    /// How often the version in use was replaced by another one.
    pub changes: u64,
    /// Logins that were accepted. The pools of `sqlx` and `mysql_async` log in by themselves, and are not counted here.
    pub accepted_logins: u64,
    /// Logins that were refused because of the credential.
    pub refused_logins: u64,
    /// Searches for a version that works, after a refused login.
    pub searches: u64,
    /// Searches that found none in their time.
    pub failed_searches: u64,
    /// The time from the making of the newest version that was used to its first use, in milliseconds.
    pub last_update_milliseconds: u64,
    /// The longest such time.
    pub longest_update_milliseconds: u64,
}

/// A version was used for the first time: the end of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Update {
    /// The secret's name.
    pub secret: String,
    /// The version.
    pub version_id: String,
    /// The label under which it was read.
    pub label: Label,
    /// The time from the making of the version (createSecret of a rotation) to this use. If the source does not tell when the version
    /// was made, it is the time from when this application first saw it.
    pub latency: Duration,
}

/// The numbers of [`Counts`], as they grow.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) fetches: Counter,
    pub(crate) forced_fetches: Counter,
    pub(crate) failed_fetches: Counter,
    pub(crate) changes: Counter,
    pub(crate) accepted_logins: Counter,
    pub(crate) refused_logins: Counter,
    pub(crate) searches: Counter,
    pub(crate) failed_searches: Counter,
    last_update: Counter,
    longest_update: Counter,
}

#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU64);

impl Counter {
    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(crate) fn updated(&self, latency: Duration) {
        let milliseconds = u64::try_from(latency.as_millis()).unwrap_or(u64::MAX);
        self.last_update.0.store(milliseconds, Ordering::Relaxed);
        self.longest_update.0.fetch_max(milliseconds, Ordering::Relaxed);
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            fetches: self.fetches.get(),
            forced_fetches: self.forced_fetches.get(),
            failed_fetches: self.failed_fetches.get(),
            changes: self.changes.get(),
            accepted_logins: self.accepted_logins.get(),
            refused_logins: self.refused_logins.get(),
            searches: self.searches.get(),
            failed_searches: self.failed_searches.get(),
            last_update_milliseconds: self.last_update.get(),
            longest_update_milliseconds: self.longest_update.get(),
        }
    }
}
