//! Schedules that spread a fleet over time.

use super::member::Member;
use crate::digest;
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

    #[test]
    fn only_the_given_hours_are_used() {
        for number in 0..100 {
            let expression = schedule(&format!("arn{number}"), &[2, 3]);
            assert!(expression.starts_with("cron(0 2 ") || expression.starts_with("cron(0 3 "), "{expression}");
        }
    }
}
