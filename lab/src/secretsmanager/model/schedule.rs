//! Time: timestamps as the service writes them, and rotation schedules.
//!
//! Source: "Schedule expressions in Secrets Manager rotation" (user guide) and RotationRulesType (API reference).

use serde::Deserialize;
use serde_json::{Value, json};

use crate::secretsmanager::ServiceError;

const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
/// Rotations are at least this far apart (user guide, "Schedule expressions").
const MIN_RATE_HOURS: u32 = 4;
/// The longest rate ("Schedule expressions in Secrets Manager rotation").
const MAX_RATE_DAYS: u32 = 999;
const MAX_RATE_HOURS: u32 = MAX_RATE_DAYS * 24;

/// Milliseconds since 1970-01-01T00:00Z.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Timestamp(i64);

impl Timestamp {
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Seconds with a fraction, as JSON 1.1 writes timestamps.
    #[expect(
        clippy::cast_precision_loss,
        reason = "milliseconds since 1970 stay exact in a double until the year 287396"
    )]
    pub(crate) fn to_json(self) -> Value {
        json!(self.0 as f64 / 1000.0)
    }

    pub(crate) fn plus_days(self, days: u32) -> Self {
        Self(self.0 + i64::from(days) * DAY)
    }

    /// Midnight (UTC) before: "last accessed" is kept by the day.
    pub(crate) fn truncated_to_day(self) -> Self {
        Self(self.0.div_euclid(DAY) * DAY)
    }
}

/// When a secret rotates.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RotationRules {
    automatically_after_days: Option<i64>,
    duration: Option<String>,
    schedule_expression: Option<String>,
}

impl RotationRules {
    /// # Errors
    /// Where both or none of the two ways to say when are given, or one is out of bounds.
    pub(crate) fn check(&self) -> Result<(), ServiceError> {
        match (self.automatically_after_days, &self.schedule_expression) {
            (Some(_), Some(_)) => {
                return Err(ServiceError::invalid_parameter(
                    "You can't specify both AutomaticallyAfterDays and ScheduleExpression.",
                ));
            }
            (None, None) => {
                return Err(ServiceError::invalid_parameter(
                    "You must specify either AutomaticallyAfterDays or ScheduleExpression.",
                ));
            }
            (Some(days), None) if !(1..=1000).contains(&days) => {
                let bound = if days < 1 { "greater than or equal to 1" } else { "less than or equal to 1000" };
                return Err(ServiceError::constraint(
                    Some(&days.to_string()),
                    "rotationRules.automaticallyAfterDays",
                    &format!("Member must have value {bound}"),
                ));
            }
            (Some(_), None) => {}
            (None, Some(expression)) => {
                Schedule::parse(expression)?;
            }
        }
        self.check_duration()
    }

    /// The start of the rotation after `from`.
    pub(crate) fn next(&self, from: Timestamp) -> Option<Timestamp> {
        if let Some(days) = self.automatically_after_days {
            return Some(Timestamp(from.0 + days * DAY));
        }
        Schedule::parse(self.schedule_expression.as_deref()?).ok()?.next(from)
    }

    /// As DescribeSecret shows them. Beside a schedule expression stand the days from one rotation to the next, "calculated
    /// from the rotation schedule after every successful rotation" (API reference, RotationRulesType): whole days, rounded up
    /// here, as no source says how.
    pub(crate) fn to_json(&self, last_rotated: Option<Timestamp>) -> Value {
        let calculated = || {
            let last = last_rotated?;
            Some((self.next(last)?.0 - last.0 + DAY - 1) / DAY)
        };
        let mut object = serde_json::Map::new();
        if let Some(days) = self.automatically_after_days.or_else(calculated) {
            object.insert("AutomaticallyAfterDays".into(), json!(days));
        }
        if let Some(duration) = &self.duration {
            object.insert("Duration".into(), json!(duration));
        }
        if let Some(expression) = &self.schedule_expression {
            object.insert("ScheduleExpression".into(), json!(expression));
        }
        Value::Object(object)
    }

    fn check_duration(&self) -> Result<(), ServiceError> {
        let Some(duration) = &self.duration else { return Ok(()) };
        let digits = duration.strip_suffix('h').filter(|hours| hours.chars().all(|c| c.is_ascii_digit()));
        let hours = digits.and_then(|hours| hours.parse::<u8>().ok());
        // "The length of the rotation window in hours, for example 3h"; a window ends within the day it began.
        match hours {
            Some(1..=24) if duration.len() <= 3 => Ok(()),
            _ => Err(ServiceError::constraint(
                Some(duration),
                "rotationRules.duration",
                "Member must satisfy regular expression pattern: [0-9]+h, between 1h and 24h",
            )),
        }
    }
}

/// A parsed `rate(...)` or `cron(...)`.
#[derive(Debug, PartialEq)]
enum Schedule {
    Rate(i64),
    Cron(Cron),
}

impl Schedule {
    fn parse(expression: &str) -> Result<Self, ServiceError> {
        let inside = |name: &str| expression.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
        if let Some(rate) = inside("rate") {
            return Self::parse_rate(rate).ok_or_else(|| {
                ServiceError::invalid_parameter(format!(
                    "The rate expression '{expression}' must be rate(<n> hours) of at least {MIN_RATE_HOURS} hours, or \
                     rate(<n> days) of at most {MAX_RATE_DAYS} days."
                ))
            });
        }
        let cron = inside("cron").and_then(Cron::parse).ok_or_else(|| {
            ServiceError::invalid_parameter(format!(
                "The schedule expression '{expression}' must be rate(...) or cron(0 <hours> <day of month> <month> \
                 <day of week> *)."
            ))
        })?;
        Ok(Self::Cron(cron))
    }

    fn parse_rate(rate: &str) -> Option<Self> {
        let (count, unit) = rate.trim().split_once(' ')?;
        let count: u32 = count.parse().ok()?;
        match (count, unit.trim()) {
            (MIN_RATE_HOURS..=MAX_RATE_HOURS, "hours" | "hour") => Some(Self::Rate(i64::from(count) * HOUR)),
            (1..=MAX_RATE_DAYS, "days" | "day") => Some(Self::Rate(i64::from(count) * DAY)),
            _ => None,
        }
    }

    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Rate(period) => Some(Timestamp(from.0 + period)),
            Self::Cron(cron) => cron.next(from),
        }
    }
}

/// `cron(0 hours day-of-month month day-of-week *)`: each field a list of the numbers it permits.
#[derive(Debug, PartialEq)]
struct Cron {
    hours: Vec<i64>,
    days_of_month: Option<DaysOfMonth>,
    months: Vec<i64>,
    days_of_week: Option<DaysOfWeek>,
}

#[derive(Debug, PartialEq)]
enum DaysOfMonth {
    Numbers(Vec<i64>),
    Last,
}

/// Sunday is 1.
#[derive(Debug, PartialEq)]
enum DaysOfWeek {
    Numbers(Vec<i64>),
    /// `TUE#2`: the second Tuesday of the month.
    Nth {
        day: i64,
        place: i64,
    },
    /// `FRIL`: the last Friday of the month.
    Last(i64),
}

impl DaysOfWeek {
    fn parse(field: &str) -> Option<Self> {
        let one = |text: &str| match numbers(text, 1, 7, &DAYS)?.as_slice() {
            [day] => Some(*day),
            _ => None,
        };
        if let Some((day, place)) = field.split_once('#') {
            let place = place.parse().ok().filter(|place| (1..=5).contains(place))?;
            return Some(Self::Nth { day: one(day)?, place });
        }
        match field.strip_suffix(['L', 'l']) {
            // The last day of the week.
            Some("") => Some(Self::Numbers(vec![7])),
            Some(day) => one(day).map(Self::Last),
            None => numbers(field, 1, 7, &DAYS).map(Self::Numbers),
        }
    }

    /// `day` is counted since 1970-01-01, and `date` is the same day.
    fn permits(&self, day: i64, date: &Date) -> bool {
        // 1970-01-01 was a Thursday.
        let weekday = (day + 4).rem_euclid(7) + 1;
        match self {
            Self::Numbers(days) => days.contains(&weekday),
            Self::Nth { day, place } => weekday == *day && (date.day - 1) / 7 + 1 == *place,
            Self::Last(last) => weekday == *last && civil(day + 7).month != date.month,
        }
    }
}

const MONTHS: [&str; 12] = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

impl Cron {
    fn parse(fields: &str) -> Option<Self> {
        let fields: Vec<_> = fields.split_whitespace().collect();
        let ["0", hours, days_of_month, months, days_of_week, "*"] = fields.as_slice() else { return None };
        let days_of_month = match *days_of_month {
            "?" => None,
            "L" => Some(DaysOfMonth::Last),
            days => Some(DaysOfMonth::Numbers(numbers(days, 1, 31, &[])?)),
        };
        let days_of_week = if *days_of_week == "?" { None } else { Some(DaysOfWeek::parse(days_of_week)?) };
        // One of the two days must be "?".
        if days_of_month.is_some() == days_of_week.is_some() {
            return None;
        }
        Some(Self {
            hours: numbers(hours, 0, 23, &[])?,
            days_of_month,
            months: numbers(months, 1, 12, &MONTHS)?,
            days_of_week,
        })
    }

    fn next(&self, from: Timestamp) -> Option<Timestamp> {
        // Five years hold every date that recurs, a 29th of February included.
        const HORIZON_HOURS: i64 = 5 * 366 * 24;
        let first = from.0.div_euclid(HOUR) + 1;
        (first..first + HORIZON_HOURS).find(|hour| self.permits(*hour)).map(|hour| Timestamp(hour * HOUR))
    }

    fn permits(&self, hours_since_epoch: i64) -> bool {
        let day = hours_since_epoch.div_euclid(24);
        let date = civil(day);
        let on_day = match (&self.days_of_month, &self.days_of_week) {
            (Some(DaysOfMonth::Numbers(days)), _) => days.contains(&date.day),
            (Some(DaysOfMonth::Last), _) => civil(day + 1).day == 1,
            (None, Some(days)) => days.permits(day, &date),
            (None, None) => false,
        };
        on_day && self.hours.contains(&hours_since_epoch.rem_euclid(24)) && self.months.contains(&date.month)
    }
}

/// The numbers that a cron field permits: lists, ranges, steps, `*`, and names counted from `min`.
fn numbers(field: &str, min: i64, max: i64, names: &[&str]) -> Option<Vec<i64>> {
    let number = |text: &str| {
        let named = names.iter().zip(min..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let number = named.map_or_else(|| text.parse().ok(), |(_, number)| Some(number))?;
        (min..=max).contains(&number).then_some(number)
    };
    let mut permitted = Vec::new();
    for part in field.split(',') {
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (range, step.parse().ok().filter(|step| *step > 0)?),
            None => (part, 1),
        };
        let (low, high) = match range.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None if range == "*" || (range.is_empty() && part.contains('/')) => (min, max),
            None if part.contains('/') => (number(range)?, max),
            None => (number(range)?, number(range)?),
        };
        permitted.extend((low..=high).step_by(step));
    }
    (!permitted.is_empty()).then_some(permitted)
}

struct Date {
    month: i64,
    day: i64,
}

/// The date of a day since 1970-01-01 in the Gregorian calendar. Years start in March here, so that the leap day is the
/// last of its year.
fn civil(days: i64) -> Date {
    let shifted = days + 719_468;
    let day_of_era = shifted.rem_euclid(146_097);
    let year = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    Date { month: if month < 10 { month + 3 } else { month - 9 }, day }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2023-11-14T22:13:20Z, a Tuesday.
    const NOW: Timestamp = Timestamp(1_700_000_000_000);

    fn rules(value: Value) -> RotationRules {
        serde_json::from_value(value).unwrap()
    }

    fn next(expression: &str) -> i64 {
        rules(json!({"ScheduleExpression": expression})).next(NOW).unwrap().0 / 1000
    }

    #[test]
    fn exactly_one_way_to_say_when() {
        let refused = |value: Value| rules(value).check().unwrap_err().error_type;
        assert_eq!(refused(json!({})), "InvalidParameterException");
        let both = json!({"AutomaticallyAfterDays": 1, "ScheduleExpression": "rate(10 days)"});
        assert_eq!(refused(both), "InvalidParameterException");
        assert_eq!(refused(json!({"AutomaticallyAfterDays": 0})), "ValidationException");
        assert_eq!(refused(json!({"AutomaticallyAfterDays": 1001})), "ValidationException");
        for good in [
            json!({"AutomaticallyAfterDays": 1000, "Duration": "3h"}),
            json!({"ScheduleExpression": "rate(4 hours)"}),
            json!({"ScheduleExpression": "cron(0 8 1 * ? *)", "Duration": "24h"}),
        ] {
            assert_eq!(rules(good.clone()).check(), Ok(()), "{good}");
        }
    }

    #[test]
    fn malformed_schedules_and_durations_are_refused() {
        for expression in [
            "rate(3 hours)",
            "rate(1000 days)",
            "cron(0 8 ? * TUE#6 *)",
            "cron(0 8 ? * TUE#2,WED#1 *)",
            "cron(0 8 ? * MON-FRIL *)",
            "cron(0 / 1 * ? *)",
            "rate(10 weeks)",
            "every day",
            "cron(5 8 1 * ? *)",
            "cron(0 8 1 * ? 2024)",
            "cron(0 8 1 * 2 *)",
            "cron(0 8 ? * ? *)",
            "cron(0 24 1 * ? *)",
            "cron(0 8 1 * ?)",
        ] {
            assert!(rules(json!({"ScheduleExpression": expression})).check().is_err(), "{expression}");
        }
        for duration in ["0h", "25h", "3", "h", "+3h", "3m"] {
            let rules = rules(json!({"AutomaticallyAfterDays": 1, "Duration": duration}));
            assert!(rules.check().is_err(), "{duration}");
        }
    }

    #[test]
    fn the_next_rotation() {
        assert_eq!(rules(json!({"AutomaticallyAfterDays": 2})).next(NOW), Some(NOW.plus_days(2)));
        assert_eq!(next("rate(6 hours)"), 1_700_000_000 + 6 * 3600);
        assert_eq!(next("cron(0 23 * * ? *)"), 1_700_002_800, "2023-11-14T23:00Z");
        assert_eq!(next("cron(0 8 1 * ? *)"), 1_701_417_600, "2023-12-01T08:00Z");
        assert_eq!(next("cron(0 8 L * ? *)"), 1_701_331_200, "2023-11-30T08:00Z");
        assert_eq!(next("cron(0 0 ? * SUN *)"), 1_700_352_000, "2023-11-19T00:00Z");
        // The examples of the user guide's kind: the second Tuesday of some months, the last Friday, every eight hours, the week's end.
        assert_eq!(next("cron(0 10 ? FEB,MAY,AUG,NOV TUE#2 *)"), 1_707_818_400, "2024-02-13T10:00Z");
        assert_eq!(next("cron(0 10 ? * 3#3 *)"), 1_700_560_800, "2023-11-21T10:00Z");
        assert_eq!(next("cron(0 18 ? * FRIL *)"), 1_700_848_800, "2023-11-24T18:00Z");
        assert_eq!(next("cron(0 18 ? * 6L *)"), 1_700_848_800, "2023-11-24T18:00Z");
        assert_eq!(next("cron(0 0 ? * L *)"), 1_700_265_600, "2023-11-18T00:00Z, a Saturday");
        assert_eq!(next("cron(0 /8 * * ? *)"), 1_700_006_400, "2023-11-15T00:00Z");
        assert_eq!(next("rate(999 days)"), 1_700_000_000 + 999 * 86_400);
        assert_eq!(next("cron(0 0 29 FEB ? *)"), 1_709_164_800, "2024-02-29T00:00Z");
        assert_eq!(next("cron(0 0/8 ? 1-3 MON-FRI *)"), 1_704_067_200, "2024-01-01T00:00Z, a Monday");
    }

    #[test]
    fn an_expression_is_shown_in_days_too_once_it_has_rotated() {
        let shown = |rules: RotationRules, last| rules.to_json(last)["AutomaticallyAfterDays"].clone();
        let rate = |expression: &str| rules(json!({ "ScheduleExpression": expression }));
        assert_eq!(shown(rate("rate(10 days)"), None), Value::Null);
        assert_eq!(shown(rate("rate(10 days)"), Some(NOW)), 10);
        assert_eq!(shown(rate("rate(6 hours)"), Some(NOW)), 1);
        assert_eq!(shown(rules(json!({"AutomaticallyAfterDays": 3})), None), 3);
    }

    #[test]
    fn timestamps_are_seconds_with_a_fraction() {
        assert_eq!(Timestamp(1_700_000_000_123).to_json(), json!(1_700_000_000.123));
        assert_eq!(NOW.truncated_to_day().0, 1_699_920_000_000);
    }
}
