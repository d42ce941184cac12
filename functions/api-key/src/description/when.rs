//! Moments and lengths of time, as descriptions and issuers write them.

use serde::de::{self, Deserialize, Deserializer};
use std::fmt;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// A moment in RFC 3339 and UTC. `since_epoch` is the time since the Unix epoch.
pub fn rfc3339(since_epoch: Duration) -> String {
    i64::try_from(since_epoch.as_secs())
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|moment| moment.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// Ten years. A longer time is a mistake, and could overflow a date.
const LONGEST: Duration = Duration::from_secs(3660 * 86_400);

const EXPECTED: &str = "a whole number with a unit: ms, s, m, h or d, e.g. 30s, and at most 3660d";

/// A length of time: a whole number and `ms`, `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Length(pub Duration);

impl Length {
    /// Reads e.g. `500ms` or `24h`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let expected = || format!("expected {EXPECTED}");
        let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
        let (number, unit) = text.split_at_checked(digits).ok_or_else(expected)?;
        let number: u64 = number.parse().map_err(|_| expected())?;
        let length = match unit {
            "ms" => Some(Duration::from_millis(number)),
            "s" => Some(Duration::from_secs(number)),
            "m" => number.checked_mul(60).map(Duration::from_secs),
            "h" => number.checked_mul(3600).map(Duration::from_secs),
            "d" => number.checked_mul(86_400).map(Duration::from_secs),
            _ => None,
        };
        length.filter(|length| *length <= LONGEST).map(Self).ok_or_else(expected)
    }
}

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Length;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Length, E> {
                Length::parse(text).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Text)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Length {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Length".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_a_unit() {
        assert_eq!(Length::parse("500ms"), Ok(Length(Duration::from_millis(500))));
        assert_eq!(Length::parse("2d"), Ok(Length(Duration::from_secs(172_800))));
        for bad in
            ["", "5", "5 s", "-1s", "s", "1.5h", "5y", "3661d", "99999999999999999999s", "999999999999999999d", "5ß"]
        {
            assert!(Length::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn moments_are_in_utc() {
        assert_eq!(rfc3339(Duration::from_secs(1_700_000_000)), "2023-11-14T22:13:20Z");
    }
}
