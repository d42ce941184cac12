//! When a run may rotate.

use super::invalid::invalid;
use rotation::error::Result;
use serde::{Deserialize, Serialize};

const DAY: u64 = 86_400;
const NAMES: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// 1970-01-01 was a Thursday.
const FIRST: u64 = 4;

/// A maintenance window, in UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Window {
    /// Days of the week: `mon`, `tue`. Without any, every day.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<String>,
    /// The hour at which it opens, 0 to 23.
    pub from_hour: u64,
    /// How many hours it is open, 1 to 24. It may reach into the next day.
    pub hours: u64,
}

impl Window {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Code::OrderInvalid`](rotation::error::Code::OrderInvalid).
    pub fn check(&self) -> Result<()> {
        let known = |day: &String| NAMES.contains(&day.as_str());
        if self.from_hour < 24 && (1..=24).contains(&self.hours) && self.days.iter().all(known) {
            return Ok(());
        }
        Err(invalid("window", "something else", "fromHour 0 to 23, hours 1 to 24, days such as mon"))
    }

    /// When the window that is open at `now` closes, in seconds since the Unix epoch.
    pub fn closes(&self, now: u64) -> Option<u64> {
        let closed = |at: &u64| self.opens_in(*at) > 0;
        // It opens and closes at full hours, and is open for a week at most.
        let hours = (1..=24 * 8).map(|hour| (now / 3_600 + hour) * 3_600);
        if closed(&now) { None } else { hours.into_iter().find(closed) }
    }

    /// How many seconds have to pass until it is open; zero while it is. `now` is the time since the Unix epoch in seconds.
    pub fn opens_in(&self, now: u64) -> u64 {
        let today = now / DAY;
        // The window that opened yesterday may still be open, and a week has each day of the week.
        let opens = |day: u64| {
            let name =
                usize::try_from((day + FIRST) % 7).ok().and_then(|at| NAMES.get(at)).copied().unwrap_or_default();
            (self.days.is_empty() || self.days.iter().any(|one| one == name))
                .then_some(day * DAY + self.from_hour * 3_600)
        };
        let next = (today.saturating_sub(1)..=today + 7).filter_map(opens).find(|open| open + self.hours * 3_600 > now);
        next.map_or(0, |open| open.saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-28, a Saturday, at midnight.
    const SATURDAY: u64 = 1_795_824_000;

    fn window(days: &[&str], from_hour: u64, hours: u64) -> Window {
        Window { days: days.iter().map(|day| (*day).to_owned()).collect(), from_hour, hours }
    }

    #[test]
    fn a_window_opens_and_closes() {
        let night = window(&[], 22, 4);
        for (hour, wait) in [(0, 0), (1, 0), (2, 20), (21, 1), (22, 0), (23, 0)] {
            assert_eq!(night.opens_in(SATURDAY + hour * 3_600), wait * 3_600, "{hour}");
        }
        let sunday = window(&["sun"], 22, 4);
        assert_eq!(sunday.opens_in(SATURDAY), 46 * 3_600);
        assert_eq!(sunday.opens_in(SATURDAY + 47 * 3_600), 0, "Sunday at 23");
        assert_eq!(sunday.opens_in(SATURDAY + 49 * 3_600), 0, "Monday at 1");
        assert_eq!(sunday.opens_in(SATURDAY + 50 * 3_600), (6 * 24 + 20) * 3_600, "Monday at 2");
        assert_eq!(window(&[], 0, 24).opens_in(SATURDAY + 7), 0);
    }

    #[test]
    fn it_is_known_when_a_window_closes() {
        let night = window(&[], 22, 4);
        assert_eq!(night.closes(SATURDAY + 22 * 3_600 + 7), Some(SATURDAY + 26 * 3_600));
        assert_eq!(night.closes(SATURDAY + 3_600), Some(SATURDAY + 2 * 3_600));
        assert_eq!(night.closes(SATURDAY + 2 * 3_600), None, "it is closed");
        assert_eq!(window(&[], 0, 24).closes(SATURDAY), None, "it never closes");
    }

    #[test]
    fn nonsense_is_refused() {
        assert!(window(&["mon"], 23, 24).check().is_ok());
        for wrong in [window(&["monday"], 1, 1), window(&[], 24, 1), window(&[], 1, 0), window(&[], 1, 25)] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
