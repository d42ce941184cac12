//! Simulated time. It passes with calls and between rotations, and nobody waits for it.

use rotation::clock::simulated;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// Milliseconds since the Unix epoch at which each history begins.
const BEGINNING: u64 = 1_700_000_000_000;

/// The clock of a world.
pub(super) struct Time {
    millis: AtomicU64,
    /// Whether the product's clock is this one, too.
    told: bool,
}

impl Time {
    /// A clock at the beginning. `told`: the product reads it, too. Otherwise the product reads the system's clock.
    pub(super) fn new(told: bool) -> Self {
        let time = Self { millis: AtomicU64::new(BEGINNING), told };
        simulated::set(told.then(|| time.now()));
        time
    }

    /// Lets time pass, where the product notices it.
    pub(super) fn pass(&self, time: Duration) {
        if self.told {
            self.millis.fetch_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
            simulated::set(Some(self.now()));
        }
    }

    /// The time since the Unix epoch.
    pub(super) fn now(&self) -> Duration {
        Duration::from_millis(self.millis.load(Ordering::Relaxed))
    }

    /// The same for Secrets Manager. Each look is a millisecond later, so that versions have an order.
    pub(super) fn look(&self) -> SystemTime {
        let now = SystemTime::UNIX_EPOCH + Duration::from_millis(self.millis.fetch_add(1, Ordering::Relaxed));
        if self.told {
            simulated::set(Some(self.now()));
        }
        now
    }
}

impl Drop for Time {
    fn drop(&mut self) {
        simulated::set(None);
    }
}
