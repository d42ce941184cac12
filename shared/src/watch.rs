//! Whether the secrets that this function rotates are rotated in time. A rotation that is never begun invokes nothing and fails
//! nowhere, and an alarm of CloudWatch cannot look back over the weeks between two rotations: so somebody has to look.

use crate::clock::Deadline;
use crate::error::Result;
use crate::protocol::Rotation;
use crate::store::{CURRENT, PENDING, SecretStore};
use crate::target::Target;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Beyond the due time: a rotation may begin anywhere in its window, which is at most a day long.
const LENIENCE: Duration = DAY;

/// A secret whose rotation function this is, as ListSecrets tells of it. Moments are times since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// The secret's ARN.
    pub arn: String,
    /// Whether its rotation is turned on.
    pub rotation_enabled: bool,
    /// The labels of each version that has any.
    pub labels: HashMap<String, Vec<String>>,
    /// When the service means to rotate it next.
    pub next_rotation: Option<Duration>,
    /// When it was rotated last.
    pub last_rotated: Option<Duration>,
    /// When it was made.
    pub created: Option<Duration>,
    /// When anything of it was changed last, labels included.
    pub last_changed: Option<Duration>,
    /// The time between two rotations, where the schedule is a rate.
    pub interval: Option<Duration>,
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

impl Served {
    /// Whether something is late at `now`, since the Unix epoch.
    pub fn late(&self, now: Duration) -> Option<Late> {
        if !self.rotation_enabled {
            return None;
        }
        if self.unfinished_since().is_some_and(|since| since + DAY < now) {
            return Some(Late::Unfinished);
        }
        // The service may move the next date on when a rotation fails; the last one that succeeded stays.
        let last = self.last_rotated.or(self.created);
        let by_rate = last.zip(self.interval).map(|(last, interval)| last + interval);
        let due = [self.next_rotation, by_rate].into_iter().flatten().min()?;
        (due + LENIENCE < now).then_some(Late::Overdue)
    }

    /// The last change is no earlier than that of the label.
    fn unfinished_since(&self) -> Option<Duration> {
        let has = |labels: &[String], label: &str| labels.iter().any(|known| known == label);
        let stuck = self.labels.values().any(|labels| has(labels, PENDING) && !has(labels, CURRENT));
        if stuck { self.last_changed } else { None }
    }
}

/// The time between two rotations, by `AutomaticallyAfterDays` or a schedule of the form `rate(n unit)`. `None` for a cron
/// expression, whose next date the service tells.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>
pub fn interval(days: Option<i64>, expression: Option<&str>) -> Option<Duration> {
    let times = |unit: Duration, n: u32| unit.checked_mul(n);
    if let Some(days) = days {
        return times(DAY, u32::try_from(days).ok()?);
    }
    let (n, unit) = expression?.trim().strip_prefix("rate(")?.strip_suffix(')')?.split_once(' ')?;
    let unit = match unit.trim() {
        "hour" | "hours" => HOUR,
        "day" | "days" => DAY,
        _ => return None,
    };
    times(unit, n.parse().ok()?)
}

/// What a look at all secrets of this function told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many there are.
    pub served: usize,
    /// Those that are late, with their ARNs.
    pub late: Vec<(String, Late)>,
}

impl Watched {
    /// How many are late in this way.
    pub fn count(&self, kind: Late) -> usize {
        self.late.iter().filter(|(_, late)| *late == kind).count()
    }

    /// The answer.
    pub fn to_json(&self) -> Value {
        let late = |(arn, late): &(String, Late)| json!({"secret": arn, "late": late.as_str()});
        json!({"step": "watch", "served": self.served, "late": self.late.iter().map(late).collect::<Vec<_>>()})
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Looks at all secrets that name this function. Reads only. `function` is its ARN.
    ///
    /// # Errors
    /// Those of ListSecrets.
    pub async fn watch(&self, function: &str, now: Duration, deadline: Deadline) -> Result<Watched> {
        let served = self.store().served(function, deadline).await?;
        let late = |secret: &Served| Some((secret.arn.clone(), secret.late(now)?));
        Ok(Watched { served: served.len(), late: served.iter().filter_map(late).collect() })
    }
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

    fn monthly() -> Served {
        Served { rotation_enabled: true, interval: interval(Some(30), None), ..Served::default() }
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
            (Some(-1), None, None),
            (None, None, None),
        ] {
            assert_eq!(interval(days, expression), expected, "{days:?} {expression:?}");
        }
    }

    #[test]
    fn a_secret_is_overdue_a_day_after_its_time() {
        let at = |last| Served { last_rotated: last, ..monthly() }.late(NOW);
        assert_eq!(at(ago(30 * DAY)), None);
        assert_eq!(at(ago(31 * DAY)), None);
        assert_eq!(at(ago(31 * DAY + HOUR)), Some(Late::Overdue));
    }

    /// A failed rotation may move the next date on.
    #[test]
    fn a_later_date_does_not_excuse_a_missed_rotation() {
        let secret = Served { last_rotated: ago(40 * DAY), next_rotation: Some(NOW + DAY), ..monthly() };
        assert_eq!(secret.late(NOW), Some(Late::Overdue));
    }

    #[test]
    fn a_secret_that_was_never_rotated_counts_from_its_creation() {
        assert_eq!(Served { created: ago(29 * DAY), ..monthly() }.late(NOW), None);
        assert_eq!(Served { created: ago(32 * DAY), ..monthly() }.late(NOW), Some(Late::Overdue));
    }

    #[test]
    fn a_schedule_that_is_no_rate_goes_by_the_services_date() {
        let secret = Served { interval: None, last_rotated: ago(300 * DAY), ..monthly() };
        assert_eq!(Served { next_rotation: ago(DAY), ..secret.clone() }.late(NOW), None);
        assert_eq!(Served { next_rotation: ago(DAY + HOUR), ..secret.clone() }.late(NOW), Some(Late::Overdue));
        assert_eq!(secret.late(NOW), None);
    }

    #[test]
    fn a_rotation_that_does_not_end_is_late() {
        let labels = |labels: &[&str]| {
            HashMap::from([("v".to_owned(), labels.iter().map(|&label| label.to_owned()).collect::<Vec<_>>())])
        };
        let at = |names: &[&str], changed| {
            Served { labels: labels(names), last_changed: changed, last_rotated: ago(DAY), ..monthly() }.late(NOW)
        };
        assert_eq!(at(&["AWSPENDING"], ago(DAY + HOUR)), Some(Late::Unfinished));
        assert_eq!(at(&["AWSPENDING"], ago(HOUR)), None);
        assert_eq!(at(&["AWSCURRENT", "AWSPENDING"], ago(DAY + HOUR)), None);
    }

    #[test]
    fn what_is_turned_off_is_never_late() {
        assert_eq!(Served { rotation_enabled: false, last_rotated: ago(300 * DAY), ..monthly() }.late(NOW), None);
    }

    #[test]
    fn a_version_or_alias_is_no_part_of_a_functions_name() {
        let arn = "arn:aws:lambda:us-east-1:123456789012:function:f";
        for given in [arn.to_owned(), format!("{arn}:live"), format!("{arn}:7")] {
            assert_eq!(unqualified(&given), arn);
        }
    }
}
