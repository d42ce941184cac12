//! The limits that keep a dead password from becoming a storm of calls or a locked account. They decide from the times that they are
//! given, and read no clock.

use std::collections::HashMap;
use std::time::Duration;
use tokio::time::Instant;

/// Lets a number of calls through at once, and then one in each interval.
#[derive(Debug)]
pub(crate) struct Bucket {
    size: u32,
    interval: Duration,
    /// The time at which the bucket would have been empty, had it been filled at its rate ever since.
    empty_at: Option<Instant>,
}

impl Bucket {
    pub(crate) fn new(size: u32, interval: Duration) -> Self {
        Self { size: size.max(1), interval, empty_at: None }
    }

    /// Takes a permit, or says when there will be one.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Instant> {
        let full = now.checked_sub(self.interval.saturating_mul(self.size)).unwrap_or(now);
        let empty_at = self.empty_at.map_or(full, |at| at.max(full));
        let next = empty_at + self.interval;
        if next > now {
            return Err(next);
        }
        self.empty_at = Some(next);
        Ok(())
    }
}

/// A version that was refused for the first time may be tried again after this time: a refusal can be wrong (a server that is shutting
/// down, a driver's fault), and a password can be set a moment after it was tried.
const FIRST_HOLD: Duration = Duration::from_millis(100);
/// Each further refusal makes the time four times as long, up to this.
const LONGEST_HOLD: Duration = Duration::from_secs(60);

/// So many refused versions are remembered: more than have a label at a time, by far.
const REMEMBERED: usize = 16;

/// The versions that were refused, and from when on each may be tried again.
#[derive(Debug, Default)]
pub(crate) struct Refusals(HashMap<String, Refusal>);

#[derive(Debug)]
struct Refusal {
    hold: Duration,
    until: Instant,
    pardoned: bool,
    free_try: bool,
}

/// Whether a version may be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum May {
    /// It has not been refused.
    Try,
    /// It has been refused, and may be tried again.
    Retry,
    /// It has been refused just now.
    Wait,
}

impl Refusals {
    /// Notes that a login with this version was refused.
    pub(crate) fn note(&mut self, version_id: &str, now: Instant) {
        match self.0.get_mut(version_id) {
            // Another login that was under way at the same time. It says nothing new.
            Some(refusal) if now < refusal.until => {}
            Some(refusal) => {
                refusal.hold = (refusal.hold * 4).min(LONGEST_HOLD);
                refusal.until = now + refusal.hold;
            }
            None => {
                let until = now + FIRST_HOLD;
                let refusal = Refusal { hold: FIRST_HOLD, until, pardoned: false, free_try: false };
                self.0.insert(version_id.to_owned(), refusal);
                self.shrink();
            }
        }
    }

    /// Versions come and go. The one that was refused longest ago is forgotten first.
    fn shrink(&mut self) {
        if self.0.len() > REMEMBERED {
            let oldest =
                self.0.iter().min_by_key(|(_, refusal)| refusal.until).map(|(version_id, _)| version_id.clone());
            oldest.and_then(|version_id| self.0.remove(&version_id));
        }
    }

    /// Lets a version be tried again now: its label has changed. For the first time, one try needs no permit: what was refused as
    /// AWSPENDING may well work as AWSCURRENT. What it was refused for still counts, so whoever moves labels back and forth gets no
    /// further logins for that.
    pub(crate) fn pardon(&mut self, version_id: &str, now: Instant) {
        if let Some(refusal) = self.0.get_mut(version_id) {
            refusal.until = refusal.until.min(now);
            refusal.free_try = !refusal.pardoned;
            refusal.pardoned = true;
        }
    }

    /// Takes the try that a pardon gave, if there is one.
    pub(crate) fn take_free_try(&mut self, version_id: &str) -> bool {
        self.0.get_mut(version_id).is_some_and(|refusal| std::mem::take(&mut refusal.free_try))
    }

    /// Forgets a version's refusals: it was accepted.
    pub(crate) fn forget(&mut self, version_id: &str) {
        if !self.0.is_empty() {
            self.0.remove(version_id);
        }
    }

    pub(crate) fn may(&self, version_id: &str, now: Instant) -> May {
        match self.0.get(version_id) {
            None => May::Try,
            Some(refusal) if now < refusal.until => May::Wait,
            Some(_) => May::Retry,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_bucket_lets_its_size_through_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3, SECOND);
        for _ in 0..3 {
            assert_eq!(bucket.take(start), Ok(()));
        }
        assert_eq!(bucket.take(start), Err(start + SECOND));
        assert_eq!(bucket.take(start + SECOND), Ok(()));
        assert_eq!(bucket.take(start + SECOND), Err(start + 2 * SECOND));
        // A long rest fills it, and no more than that.
        let later = start + 1000 * SECOND;
        let taken = (0..10).filter(|_| bucket.take(later).is_ok()).count();
        assert_eq!(taken, 3);
    }

    #[test]
    fn a_refused_version_is_held_off_for_longer_and_longer() {
        let mut now = Instant::now();
        let mut refusals = Refusals::default();
        assert_eq!(refusals.may("v1", now), May::Try);
        let mut holds = Vec::new();
        for _ in 0..7 {
            refusals.note("v1", now);
            let began = now;
            while refusals.may("v1", now) == May::Wait {
                now += Duration::from_millis(100);
            }
            assert_eq!(refusals.may("v1", now), May::Retry);
            holds.push((now - began).as_millis());
        }
        assert_eq!(holds, [100, 400, 1600, 6400, 25_600, 60_000, 60_000]);
        assert_eq!(refusals.may("v2", now), May::Try);
        refusals.forget("v1");
        assert_eq!(refusals.may("v1", now), May::Try);
    }

    #[test]
    fn a_thousand_logins_that_are_refused_at_once_count_as_one() {
        let now = Instant::now();
        let mut refusals = Refusals::default();
        for _ in 0..1000 {
            refusals.note("v1", now);
        }
        assert_eq!(refusals.may("v1", now + FIRST_HOLD), May::Retry);
    }

    #[test]
    fn versions_of_the_past_take_no_memory() {
        let mut now = Instant::now();
        let mut refusals = Refusals::default();
        for version in 0..1000 {
            refusals.note(&version.to_string(), now);
            now += SECOND;
        }
        assert_eq!((refusals.0.len(), refusals.may("999", now)), (REMEMBERED, May::Retry));
    }
}
