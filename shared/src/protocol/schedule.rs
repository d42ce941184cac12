//! When a secret is due for rotation, from what ListSecrets or DescribeSecret says about it.

use crate::protocol::label::{CURRENT, PENDING};
use std::collections::HashMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// How long after the due time a rotation may begin: its window is at most a day long.
const LENIENCE: Duration = DAY;
/// The service repeats a failed step within minutes, a few times. Less than the time between two daily looks.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(6 * 3_600);

/// A secret that this function rotates, from ListSecrets or DescribeSecret. Moments are times since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotatedSecret {
    /// The secret's ARN.
    pub arn: String,
    /// Whether its rotation is turned on.
    pub rotation_enabled: bool,
    /// The labels of each version that has any.
    pub labels: HashMap<String, Vec<String>>,
    /// The service's date of the next rotation.
    pub next_rotation: Option<Duration>,
    /// When it was rotated last.
    pub last_rotated: Option<Duration>,
    /// When it was created.
    pub created: Option<Duration>,
    /// The last change of anything in it, labels included.
    pub last_changed: Option<Duration>,
    /// The time between two rotations, where the schedule is a rate.
    pub interval: Option<Duration>,
    /// `AutomaticallyAfterDays`, whatever the schedule is.
    pub days: Option<Duration>,
    /// `ScheduleExpression`.
    pub expression: Option<String>,
    /// `KmsKeyId`: the id, ARN or alias of the customer managed key that encrypts it. Only ListSecrets says it.
    pub kms_key: Option<String>,
}

/// What is late about a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Late {
    /// It was due more than a day ago.
    Overdue,
    /// A rotation was begun more than a day ago and not finished.
    Unfinished,
}

impl Late {
    /// The word used in results and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overdue => "overdue",
            Self::Unfinished => "unfinished",
        }
    }
}

impl RotatedSecret {
    /// Whether something is late at `now`, since the Unix epoch.
    pub fn late(&self, now: Duration) -> Option<Late> {
        if !self.rotation_enabled {
            return None;
        }
        if self.unfinished_since().is_some_and(|since| since + DAY < now) {
            return Some(Late::Unfinished);
        }
        self.due().is_some_and(|due| due + LENIENCE < now).then_some(Late::Overdue)
    }

    /// When the next rotation was or is due.
    ///
    /// Before the first rotation the service's date counts, however old the secret is: a secret can be attached without being
    /// rotated. After the first rotation the schedule counts as well, because the service may move its date on when a rotation
    /// fails. The earlier of the two is the due date.
    ///
    /// The schedule counts from the last change. A value that is stored by hand is a rotation for the service and restarts the
    /// interval; a new schedule may do so, too. Neither has to move the date of the last rotation.
    ///
    /// While a rotation is unfinished, the schedule counts from the last rotation that succeeded, because a change may be a
    /// failed attempt. Each attempt may move the service's date on, too, so then the days beside a cron expression count as well.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
    pub(crate) fn due(&self) -> Option<Duration> {
        let (changed, days) = if self.is_unfinished() { (None, self.days) } else { (self.last_changed, None) };
        let changed = self.last_rotated.max(changed).or(self.created);
        let by_rate = changed.zip(self.interval.or(days)).map(|(changed, interval)| changed + interval);
        match self.last_rotated {
            None => self.next_rotation.or(by_rate),
            Some(_) => [self.next_rotation, by_rate].into_iter().flatten().min(),
        }
    }

    /// How often it rotates: the schedule's expression, or the days as one. `None` without a schedule.
    pub fn cadence(&self) -> Option<String> {
        let days = || Some(format!("rate({} days)", self.days?.as_secs() / DAY.as_secs()));
        self.expression.clone().or_else(days)
    }

    /// The version that carries AWSCURRENT.
    pub fn current_version(&self) -> Option<&str> {
        let current = |labels: &Vec<String>| labels.iter().any(|known| known == CURRENT);
        self.labels.iter().find(|(_, labels)| current(labels)).map(|(id, _)| id.as_str())
    }

    /// AWSPENDING was set at this moment or earlier: a label is a change, too.
    fn unfinished_since(&self) -> Option<Duration> {
        if self.is_unfinished() { self.last_changed } else { None }
    }

    /// Whether a rotation is perhaps going on. The service has given up one that has changed nothing for hours. RotateSecret goes on
    /// with that one; without it, a failed renewal would be the last one.
    pub(crate) fn is_under_way(&self, now: Duration) -> bool {
        self.unfinished_since().is_some_and(|since| now < since + GIVEN_UP_AFTER)
    }

    /// Whether a rotation of the secret was begun and not finished.
    pub fn is_unfinished(&self) -> bool {
        let has = |labels: &[String], label: &str| labels.iter().any(|known| known == label);
        self.labels.values().any(|labels| has(labels, PENDING) && !has(labels, CURRENT))
    }
}

/// The time between two rotations: from a schedule of the form `rate(n unit)`, or from `AutomaticallyAfterDays` if there is no
/// expression. `None` for a cron expression, whose next date comes from the service.
///
/// `AutomaticallyAfterDays` is ignored beside an expression. The service calculates it only after a rotation that succeeded, so
/// it may belong to the schedule before, or to the distance between two days of the week.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>,
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotationRulesType.html>
pub fn interval(days: Option<i64>, expression: Option<&str>) -> Option<Duration> {
    match expression {
        Some(expression) => rate(expression),
        None => self::days(days),
    }
}

/// A number of days, as a time.
pub fn days(days: Option<i64>) -> Option<Duration> {
    DAY.checked_mul(u32::try_from(days?).ok()?)
}

fn rate(expression: &str) -> Option<Duration> {
    let (n, unit) = expression.trim().strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let unit = match unit.trim() {
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        _ => return None,
    };
    unit.checked_mul(n.parse().ok()?)
}

/// The ARN of a function without a version or an alias: the first seven of its parts.
pub fn unqualified(function: &str) -> &str {
    function.match_indices(':').nth(6).map_or(function, |(end, _)| function.get(..end).unwrap_or(function))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);

    fn ago(time: Duration) -> Option<Duration> {
        Some(NOW.checked_sub(time).unwrap())
    }

    fn monthly() -> RotatedSecret {
        RotatedSecret { rotation_enabled: true, interval: interval(Some(30), None), ..RotatedSecret::default() }
    }

    #[test]
    fn a_schedule_says_how_often() {
        for (days, expression, expected) in [
            (Some(30), None, Some(30 * DAY)),
            (None, Some("rate(4 hours)"), Some(4 * HOUR)),
            (None, Some("rate(1 day)"), Some(DAY)),
            (None, Some("cron(0 8 1 * ? *)"), None),
            (None, Some("rate(x days)"), None),
            (None, Some("rate(3 weeks)"), None),
            // Calculated after the last rotation, from the schedule of then.
            (Some(1), Some("rate(30 days)"), Some(30 * DAY)),
            (Some(1), Some("cron(0 8 ? * MON-FRI *)"), None),
            (Some(-1), None, None),
            (None, None, None),
        ] {
            assert_eq!(interval(days, expression), expected, "{days:?} {expression:?}");
        }
    }

    #[test]
    fn a_rotation_is_under_way_until_the_service_gives_it_up() {
        let pending = HashMap::from([("v".to_owned(), vec![PENDING.to_owned()])]);
        let at = |labels: &HashMap<_, _>, hours| {
            let secret = RotatedSecret { labels: labels.clone(), last_changed: ago(hours * HOUR), ..monthly() };
            secret.is_under_way(NOW)
        };
        assert!(at(&pending, 0) && at(&pending, 5));
        assert!(!at(&pending, 7), "a failed renewal is not the last one");
        let finished = HashMap::from([("v".to_owned(), vec![PENDING.to_owned(), CURRENT.to_owned()])]);
        assert!(!at(&finished, 0));
    }

    #[test]
    fn a_secret_is_overdue_a_day_after_its_time() {
        let at = |last| RotatedSecret { last_rotated: last, ..monthly() }.late(NOW);
        assert_eq!(at(ago(30 * DAY)), None);
        assert_eq!(at(ago(31 * DAY)), None);
        assert_eq!(at(ago(31 * DAY + HOUR)), Some(Late::Overdue));
    }

    /// A failed rotation may move the next date on.
    #[test]
    fn a_later_date_does_not_excuse_a_missed_rotation() {
        let secret = RotatedSecret { last_rotated: ago(40 * DAY), next_rotation: Some(NOW + DAY), ..monthly() };
        assert_eq!(secret.late(NOW), Some(Late::Overdue));
    }

    /// As with `--no-rotate-immediately`.
    #[test]
    fn a_secret_that_was_never_rotated_goes_by_the_services_date() {
        let attached = RotatedSecret { created: ago(300 * DAY), last_changed: ago(300 * DAY), ..monthly() };
        let at = |next| RotatedSecret { next_rotation: next, ..attached.clone() }.late(NOW);
        assert_eq!(at(Some(NOW + DAY)), None);
        assert_eq!(at(ago(DAY)), None);
        assert_eq!(at(ago(DAY + HOUR)), Some(Late::Overdue));
    }

    #[test]
    fn without_the_services_date_it_counts_from_its_last_change() {
        let at = |created, last_changed| RotatedSecret { created, last_changed, ..monthly() }.late(NOW);
        assert_eq!(at(ago(29 * DAY), None), None);
        assert_eq!(at(ago(32 * DAY), None), Some(Late::Overdue));
        assert_eq!(at(ago(300 * DAY), ago(29 * DAY)), None);
        assert_eq!(at(ago(300 * DAY), ago(32 * DAY)), Some(Late::Overdue));
    }

    /// Storing one is a rotation to the service, which then counts from it.
    #[test]
    fn a_value_stored_by_hand_begins_the_time_anew() {
        let secret = RotatedSecret { last_rotated: ago(40 * DAY), next_rotation: Some(NOW + 20 * DAY), ..monthly() };
        assert_eq!(RotatedSecret { last_changed: ago(10 * DAY), ..secret.clone() }.late(NOW), None);
        assert_eq!(RotatedSecret { last_changed: ago(32 * DAY), ..secret.clone() }.late(NOW), Some(Late::Overdue));
        // Changes excuse nothing that the service has not moved on.
        let missed = RotatedSecret { last_changed: ago(HOUR), next_rotation: ago(DAY + HOUR), ..secret };
        assert_eq!(missed.late(NOW), Some(Late::Overdue));
    }

    /// Whatever changes the secret each day, be it a job that tags it or one attempt after the other.
    #[test]
    fn changes_excuse_no_rotation_that_is_begun_again_and_again() {
        let labels = [("v1".to_owned(), vec![CURRENT.to_owned()]), ("v2".to_owned(), vec![PENDING.to_owned()])];
        let secret = RotatedSecret {
            interval: Some(DAY),
            last_rotated: ago(10 * DAY),
            last_changed: ago(HOUR),
            next_rotation: Some(NOW + HOUR),
            labels: labels.into(),
            ..monthly()
        };
        assert_eq!(secret.late(NOW), Some(Late::Overdue));
        assert_eq!(RotatedSecret { last_rotated: ago(DAY), ..secret.clone() }.late(NOW), None);
        let cron = RotatedSecret { interval: None, days: Some(DAY), ..secret };
        assert_eq!(cron.late(NOW), Some(Late::Overdue));
        assert_eq!(RotatedSecret { last_rotated: ago(DAY), ..cron.clone() }.late(NOW), None);
        assert_eq!(
            RotatedSecret { labels: HashMap::new(), ..cron }.late(NOW),
            None,
            "the service's date is right there"
        );
    }

    #[test]
    fn the_days_beside_an_expression_raise_no_alarm() {
        let weekdays = "cron(0 8 ? * MON-FRI *)";
        for (expression, last, next, late) in [
            // From Friday until Monday.
            (weekdays, 3 * DAY, Some(NOW + HOUR), None),
            (weekdays, 3 * DAY, ago(DAY + HOUR), Some(Late::Overdue)),
            // It was `rate(1 day)` when it was rotated last.
            ("rate(30 days)", 10 * DAY, Some(NOW + 20 * DAY), None),
            ("rate(30 days)", 32 * DAY, Some(NOW + DAY), Some(Late::Overdue)),
        ] {
            let interval = interval(Some(1), Some(expression));
            let secret = RotatedSecret { interval, last_rotated: ago(last), next_rotation: next, ..monthly() };
            assert_eq!(secret.late(NOW), late, "{expression} {last:?}");
        }
    }

    #[test]
    fn a_schedule_that_is_no_rate_goes_by_the_services_date() {
        let secret = RotatedSecret { interval: None, last_rotated: ago(300 * DAY), ..monthly() };
        assert_eq!(RotatedSecret { next_rotation: ago(DAY), ..secret.clone() }.late(NOW), None);
        assert_eq!(RotatedSecret { next_rotation: ago(DAY + HOUR), ..secret.clone() }.late(NOW), Some(Late::Overdue));
        assert_eq!(secret.late(NOW), None);
    }

    #[test]
    fn a_rotation_that_does_not_end_is_late() {
        let labels = |labels: &[&str]| {
            HashMap::from([("v".to_owned(), labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>())])
        };
        let at = |names: &[&str], changed| {
            RotatedSecret { labels: labels(names), last_changed: changed, last_rotated: ago(DAY), ..monthly() }
                .late(NOW)
        };
        assert_eq!(at(&["AWSPENDING"], ago(DAY + HOUR)), Some(Late::Unfinished));
        assert_eq!(at(&["AWSPENDING"], ago(HOUR)), None);
        assert_eq!(at(&["AWSCURRENT", "AWSPENDING"], ago(DAY + HOUR)), None);
    }

    #[test]
    fn what_is_turned_off_is_never_late() {
        assert_eq!(
            RotatedSecret { rotation_enabled: false, last_rotated: ago(300 * DAY), ..monthly() }.late(NOW),
            None
        );
    }

    #[test]
    fn a_version_or_alias_is_no_part_of_a_functions_name() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
        for given in [arn.to_owned(), format!("{arn}:live"), format!("{arn}:7")] {
            assert_eq!(unqualified(&given), arn);
        }
    }
}
