//! Time. The only module that reads a clock; tests pause it with `tokio::time::pause`.

use aws_sdk_secretsmanager::primitives::{DateTime, DateTimeFormat};
use std::future::Future;
use std::time::{Duration, SystemTime};
use tokio::time::{Instant, timeout_at};

/// The moment by which work must have ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Deadline(Instant);

/// The time that has passed since `moment`, the time since the Unix epoch. Zero if `moment` is in the future.
pub fn age_of(moment: Duration) -> Duration {
    since_epoch().saturating_sub(moment)
}

/// The time since the Unix epoch, by the system's clock.
pub fn since_epoch() -> Duration {
    #[cfg(feature = "simulated-time")]
    if let Some(simulated) = simulated::now() {
        return simulated;
    }
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// The same, in whole milliseconds.
pub fn since_epoch_millis() -> u64 {
    u64::try_from(since_epoch().as_millis()).unwrap_or(u64::MAX)
}

/// A clock that stands still until it is set, for simulations that run for simulated days. No function is deployed with it.
#[cfg(feature = "simulated-time")]
pub mod simulated {
    use std::cell::Cell;
    use std::time::Duration;

    thread_local! {
        static NOW: Cell<Option<Duration>> = const { Cell::new(None) };
    }

    /// From now on, [`since_epoch`](super::since_epoch) returns this in the calling thread. `None`: the system's clock is read again.
    pub fn set(now: Option<Duration>) {
        NOW.set(now);
    }

    pub(super) fn now() -> Option<Duration> {
        NOW.get()
    }
}

/// A moment since the Unix epoch as RFC 3339 has it.
pub fn date(moment: Duration) -> Option<String> {
    let seconds = i64::try_from(moment.as_secs()).ok()?;
    DateTime::from_secs(seconds).fmt(DateTimeFormat::DateTime).ok()
}

/// The moment of a date in RFC 3339, as the time since the Unix epoch.
pub fn moment(date: &str) -> Option<Duration> {
    let date = DateTime::from_str(date, DateTimeFormat::DateTime).ok()?;
    u64::try_from(date.secs()).ok().map(Duration::from_secs)
}

/// A deadline has passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed;

impl Deadline {
    /// The moment `time` from now.
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// The moment `time` after the Unix epoch by the system's clock, which is how Lambda states a deadline.
    pub fn at_epoch(time: Duration) -> Self {
        Self::after(time.saturating_sub(since_epoch()))
    }

    /// How much time is left; zero once it has passed.
    pub fn left(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }

    /// The sooner of this deadline and `limit` from now.
    #[must_use]
    pub fn within(self, limit: Duration) -> Self {
        self.min(Self::after(limit))
    }

    /// A deadline that is sooner by `margin`.
    #[must_use]
    pub fn less(self, margin: Duration) -> Self {
        Self(self.0.checked_sub(margin).unwrap_or(self.0))
    }

    /// Runs `work`, and drops it when the deadline passes.
    ///
    /// # Errors
    /// [`Elapsed`] if the deadline passed first.
    pub async fn limit<F: Future>(self, work: F) -> Result<F::Output, Elapsed> {
        timeout_at(self.0, work).await.map_err(|_| Elapsed)
    }
}

/// Measures how long something took.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts to measure.
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
