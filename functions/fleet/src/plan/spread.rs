//! Schedules that spread a fleet over time.

use super::invalid::invalid;
use super::member::Member;
use crate::digest;
use rotation::error::Result;
use serde_json::{Value, json};

/// The days of a month that every month has.
const DAYS: u64 = 28;

/// A schedule expression for a secret: monthly, on a day and at an hour that come from a hash of its ARN. The same secret always gets
/// the same schedule, and a fleet does not rotate on the first of the month at midnight.
///
/// Minutes have to be zero in Secrets Manager's cron expressions.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>
pub fn schedule(arn: &str, hours: &[u64]) -> String {
    let number = digest::number(&["spread", arn]);
    let count = u64::try_from(hours.len()).unwrap_or(u64::MAX).max(1);
    let hour = usize::try_from(number / DAYS % count).ok().and_then(|at| hours.get(at)).copied();
    // Without a list of hours, any hour of the day.
    let hour = hour.unwrap_or(number / DAYS % 24);
    format!("cron(0 {hour} {} * ? *)", 1 + number % DAYS)
}

/// The hours in a question: a list of numbers from 0 to 23, or nothing for any hour.
///
/// # Errors
/// [`Code::OrderInvalid`](rotation::error::Code::OrderInvalid).
pub fn hours(asked: Option<&Value>) -> Result<Vec<u64>> {
    let Some(asked) = asked.filter(|asked| !asked.is_null()) else { return Ok(Vec::new()) };
    let hours: Option<Vec<u64>> = asked.as_array().and_then(|hours| hours.iter().map(Value::as_u64).collect());
    let hours = hours.filter(|hours| !hours.is_empty() && hours.iter().all(|hour| *hour < 24));
    hours.ok_or_else(|| invalid("Hours", "something else", "a list of hours from 0 to 23, such as [2, 3, 4]"))
}

/// The schedules of all, with how many rotate in the busiest hour.
pub fn spread(members: &[Member], hours: &[u64]) -> Value {
    let all: Vec<_> = members.iter().map(|member| (member.name.clone(), schedule(&member.arn, hours))).collect();
    let mut busy = std::collections::BTreeMap::new();
    for (_, expression) in &all {
        *busy.entry(expression).or_insert(0_usize) += 1;
    }
    json!({
        "schedules": all.iter().map(|(name, expression)| json!({"secret": name, "schedule": expression})).collect::<Vec<_>>(),
        "mostInOneHour": busy.values().max().copied().unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fleet_is_spread_evenly_and_stays_where_it_is() {
        let arn = |number: u32| format!("arn:aws:secretsmanager:us-east-1:1:secret:s{number}-AbCdEf");
        let mut slots = std::collections::BTreeMap::new();
        for number in 0..6_720 {
            *slots.entry(schedule(&arn(number), &[])).or_insert(0) += 1;
        }
        // Ten in each hour on average.
        assert_eq!(slots.len(), 28 * 24);
        assert!(slots.values().all(|count| *count < 30), "{:?}", slots.values().max());
        assert_eq!(schedule(&arn(1), &[]), schedule(&arn(1), &[]));
    }

    /// "Secrets Manager cron expressions": six fields; minutes are 0; of the days of the month and of the week one is a question mark; the
    /// year is an asterisk.
    #[test]
    fn every_expression_is_one_that_secrets_manager_takes() {
        for number in 0..2_000 {
            let expression = schedule(&format!("arn{number}"), if number % 2 == 0 { &[] } else { &[0, 23] });
            let fields = expression.strip_prefix("cron(").and_then(|rest| rest.strip_suffix(')')).unwrap();
            let fields: Vec<_> = fields.split(' ').collect();
            let [minutes, hour, day, month, weekday, year] = fields.as_slice() else { panic!("{expression}") };
            let number = |text: &str| text.parse::<u32>().unwrap();
            assert_eq!((*minutes, *month, *weekday, *year), ("0", "*", "?", "*"));
            assert!(number(hour) < 24 && (1..=28).contains(&number(day)), "{expression}");
        }
    }

    #[test]
    fn hours_that_are_none_are_refused() {
        assert!(hours(None).unwrap().is_empty());
        assert_eq!(hours(Some(&json!([2, 3]))).unwrap(), [2, 3]);
        for wrong in [json!("2"), json!([24]), json!([]), json!([-1]), json!({"from": 2})] {
            assert!(hours(Some(&wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_the_given_hours_are_used() {
        for number in 0..100 {
            let expression = schedule(&format!("arn{number}"), &[2, 3]);
            assert!(expression.starts_with("cron(0 2 ") || expression.starts_with("cron(0 3 "), "{expression}");
        }
    }
}
