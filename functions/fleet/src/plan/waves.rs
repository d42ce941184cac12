//! How many secrets rotate before the next ones may begin.

use super::invalid::invalid;
use rotation::error::Result;
use serde::{Deserialize, Serialize};

/// A number of secrets, or a share of all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Share {
    /// So many.
    Count(usize),
    /// `"5%"`.
    #[serde(with = "percent")]
    Percent(u32),
}

mod percent {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(percent: &u32, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&format!("{percent}%"))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
        let text = String::deserialize(deserializer)?;
        let percent = text.strip_suffix('%').and_then(|number| number.parse().ok()).filter(|percent| *percent <= 100);
        percent.ok_or_else(|| D::Error::custom("a percentage from 0% to 100%"))
    }
}

impl Share {
    /// The number of secrets out of `all`, rounded up.
    pub fn of(self, all: usize) -> usize {
        match self {
            Self::Count(count) => count.min(all),
            Self::Percent(percent) => all.saturating_mul(percent as usize).div_ceil(100),
        }
    }
}

/// How waves grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Waves {
    /// The first wave.
    pub canary: Share,
    /// Each further wave is so many times as large as the one before.
    pub growth: usize,
    /// How many seconds pass between two waves, for applications to show what they lost.
    pub pause_seconds: u64,
}

impl Default for Waves {
    fn default() -> Self {
        Self { canary: Share::Percent(5), growth: 4, pause_seconds: 60 }
    }
}

impl Waves {
    /// The sizes of the waves of so many secrets. Together they are all of them, and none is empty.
    pub fn sizes(self, all: usize) -> Vec<usize> {
        let (mut left, mut next, mut sizes) = (all, self.canary.of(all).max(1), Vec::new());
        while left > 0 {
            let size = next.min(left);
            sizes.push(size);
            left -= size;
            next = next.saturating_mul(self.growth.max(1));
        }
        sizes
    }

    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// [`Code::OrderInvalid`](rotation::error::Code::OrderInvalid).
    pub fn check(self) -> Result<()> {
        let invalid = |field: &str, expected: &str| Err(invalid(field, "another number", expected));
        if matches!(self.canary, Share::Count(0) | Share::Percent(0)) {
            return invalid("waves.canary", "at least 1, or at least 1%");
        }
        // A growth of one makes as many waves as there are canaries in the fleet.
        if !(1..=100).contains(&self.growth) {
            return invalid("waves.growth", "a number from 1 to 100");
        }
        if self.pause_seconds > 86_400 {
            return invalid("waves.pauseSeconds", "a day at most");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn waves_are_all_secrets_and_grow(all in 0..20_000_usize, canary in 1..=100_u32, growth in 2..10_usize) {
            let waves = Waves { canary: Share::Percent(canary), growth, pause_seconds: 0 };
            let sizes = waves.sizes(all);
            prop_assert_eq!(sizes.iter().sum::<usize>(), all);
            prop_assert!(sizes.iter().all(|size| *size > 0));
            let full = sizes.split_last().map_or(&[][..], |(_, before)| before);
            prop_assert!(full.windows(2).all(|pair| pair[1] == pair[0] * growth), "{:?}", sizes);
            prop_assert!(sizes.first().is_none_or(|first| *first <= (all * canary as usize).div_ceil(100).max(1)));
        }
    }

    #[test]
    fn five_percent_of_200_are_three_waves() {
        assert_eq!(Waves::default().sizes(200), [10, 40, 150]);
        assert_eq!(Waves::default().sizes(3), [1, 2]);
        assert_eq!(Waves::default().sizes(0), [0; 0]);
    }

    #[test]
    fn a_share_is_rounded_up() {
        assert_eq!((Share::Percent(5).of(21), Share::Percent(5).of(20), Share::Percent(0).of(20)), (2, 1, 0));
        assert_eq!((Share::Count(3).of(20), Share::Count(3).of(2)), (3, 2));
    }

    #[test]
    fn a_share_is_written_as_people_write_it() {
        let share = |text: &str| serde_json::from_str::<Share>(text).ok();
        assert_eq!(share(r#""5%""#), Some(Share::Percent(5)));
        assert_eq!(share("3"), Some(Share::Count(3)));
        for wrong in [r#""101%""#, r#""5""#, "-1", r#""%""#] {
            assert_eq!(share(wrong), None, "{wrong}");
        }
        assert_eq!(serde_json::to_string(&Share::Percent(5)).unwrap(), r#""5%""#);
        assert!(Waves { canary: Share::Count(0), ..Waves::default() }.check().is_err());
        assert!(Waves { growth: 0, ..Waves::default() }.check().is_err());
    }
}
