//! Schedules that spread a fleet over time.

use super::invalid::invalid;
use super::member::{Member, Rules};
use crate::digest;
use rotation::error::Result;
use rotation::protocol::schedule::interval;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The days of a month that every month has.
const DAYS: u64 = 28;

/// The numbers of months that divide a year, so that each year has the same ones.
const MONTHS: [u64; 6] = [1, 2, 3, 4, 6, 12];

/// A schedule expression for a secret: on a day and at an hour that come from a hash of its ARN. The same secret always gets the same
/// schedule, and a fleet does not rotate on the first of the month at midnight.
///
/// **Invariant:** a secret rotates as often as before. So only rules of whole months are spread, and `None` is the answer for all others:
/// a weekly rule can be one of compliance, and a certificate may live for six days. Test: `a_schedule_keeps_its_interval`.
///
/// Minutes have to be zero in Secrets Manager's cron expressions.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_schedule.html>
pub fn schedule(arn: &str, rules: &Rules, hours: &[u64]) -> Option<String> {
    let number = digest::number(&["spread", arn]);
    let months = months(rules, number >> 40)?;
    let count = u64::try_from(hours.len()).unwrap_or(u64::MAX).max(1);
    let hour = usize::try_from(number / DAYS % count).ok().and_then(|at| hours.get(at)).copied();
    // Without a list of hours, any hour of the day.
    let hour = hour.unwrap_or(number / DAYS % 24);
    Some(format!("cron(0 {hour} {} {months} ? *)", 1 + number % DAYS))
}

/// The months in which a secret rotates by its rules, as a cron expression has them. `None` if that is not once in a whole number of months.
/// A secret without rules rotates each month.
fn months(rules: &Rules, number: u64) -> Option<String> {
    let expression = rules.expression.as_deref().map(str::trim);
    if let Some(fields) = expression.and_then(|text| text.strip_prefix("cron(")?.strip_suffix(')')) {
        return months_of_cron(fields);
    }
    if expression.is_none() && rules.days.is_none() {
        return Some("*".to_owned());
    }
    let days = interval(rules.days, expression)?.as_secs() / 86_400;
    // A month has 28 days at least, and 30 or 31 mostly.
    let is_of = |months: u64| (30 * months..=31 * months).contains(&days) || (months == 1 && days >= 28 && days <= 31);
    let every = MONTHS.into_iter().find(|months| is_of(*months))?;
    if every == 1 {
        return Some("*".to_owned());
    }
    let first = 1 + number % every;
    let named: Vec<String> =
        (first..=12).step_by(usize::try_from(every).ok()?).map(|month| month.to_string()).collect();
    Some(named.join(","))
}

/// The months of a cron expression that names one moment of a month.
fn months_of_cron(fields: &str) -> Option<String> {
    let fields: Vec<_> = fields.split_whitespace().collect();
    let [minute, hour, day, month, weekday, "*"] = fields.as_slice() else { return None };
    let is_number = |text: &str| text.parse::<u64>().is_ok();
    // The third Monday, or the last one.
    let is_one_weekday = weekday.contains('#') || (weekday.len() > 1 && weekday.ends_with('L'));
    let is_one_day = match (*day, *weekday) {
        ("?" | "*", _) => is_one_weekday && !weekday.contains(','),
        ("L", _) => true,
        // Not every month has a 29th.
        (day, _) => day.parse::<u64>().is_ok_and(|day| (1..=DAYS).contains(&day)),
    };
    let is_plain = month.chars().all(|c| c.is_ascii_alphanumeric() || "*,-/".contains(c)) && month.len() <= 48;
    (is_number(minute) && is_number(hour) && is_one_day && is_plain).then(|| (*month).to_owned())
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

/// The schedules of all, with how many rotate in the busiest hour of a month, and those that keep their own rule.
pub fn spread(members: &[Member], hours: &[u64]) -> Value {
    let (mut schedules, mut kept) = (Vec::new(), Vec::new());
    let mut busy = BTreeMap::new();
    for member in members {
        match schedule(&member.arn, &member.rules, hours) {
            Some(expression) => {
                // Day and hour. Not all of them rotate in the same months.
                let moment: Vec<String> = expression.split(' ').skip(1).take(2).map(str::to_owned).collect();
                *busy.entry(moment).or_insert(0_usize) += 1;
                schedules.push(json!({"secret": member.name, "schedule": expression}));
            }
            None => kept.push(json!({"secret": member.name, "schedule": shown(&member.rules)})),
        }
    }
    json!({"schedules": schedules, "kept": kept, "mostInOneHour": busy.values().max().copied().unwrap_or_default()})
}

/// A rule as it may be printed: in the characters that Secrets Manager allows in an expression.
fn shown(rules: &Rules) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "()#?*-/, ".contains(c);
    match (&rules.expression, rules.days) {
        (Some(text), _) if text.len() <= 256 && text.chars().all(is_plain) => text.clone(),
        (None, Some(days)) => format!("rate({days} days)"),
        _ => "(not a schedule)".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn monthly(arn: &str, hours: &[u64]) -> String {
        schedule(arn, &Rules::default(), hours).unwrap()
    }

    fn rules(text: &str) -> Rules {
        let days = text.parse().ok();
        Rules { days, expression: days.is_none().then(|| text.to_owned()) }
    }

    #[test]
    fn a_schedule_keeps_its_interval() {
        let months = |text: &str| {
            let expression = schedule("arn", &rules(text), &[])?;
            Some(expression.split(' ').nth(3).unwrap().to_owned())
        };
        for monthly in [
            "30",
            "28",
            "31",
            "rate(30 days)",
            "rate(720 hours)",
            "cron(0 8 1 * ? *)",
            "cron(0 8 L * ? *)",
            "cron(0 0 ? * 2#1 *)",
        ] {
            assert_eq!(months(monthly).as_deref(), Some("*"), "{monthly}");
        }
        for other in [
            "1",
            "7",
            "27",
            "32",
            "45",
            "100",
            "999",
            "rate(7 days)",
            "rate(4 hours)",
            "cron(0 8 ? * SUN *)",
            "cron(0 8 * * ? *)",
            "cron(0 /4 1 * ? *)",
            "cron(0 8 1,15 * ? *)",
            "cron(0 8 1-7 * ? *)",
            "cron(0 8 31 * ? *)",
            "cron(0 8 1 * ? 2027)",
            "cron(0 8 1/5 * ? *)",
            "cron(0 8 ? * 2#1,2#3 *)",
            "cron(0 8 1 *)",
            "hunter2",
        ] {
            assert_eq!(months(other), None, "{other}");
        }
        assert_eq!(months("cron(0 8 1 1/3 ? *)").as_deref(), Some("1/3"), "its months stay");
        for (rule, every) in [("60", 2), ("90", 3), ("rate(120 days)", 4), ("180", 6), ("365", 12)] {
            let mut firsts = BTreeSet::new();
            for number in 0..200 {
                let expression = schedule(&format!("arn{number}"), &rules(rule), &[]).unwrap();
                let months: Vec<usize> =
                    expression.split(' ').nth(3).unwrap().split(',').map(|month| month.parse().unwrap()).collect();
                assert_eq!(months.len(), 12 / every, "{rule}: {expression}");
                assert!(months.windows(2).all(|pair| pair[1] - pair[0] == every), "{expression}");
                firsts.insert(months[0]);
            }
            assert_eq!(firsts.len(), every, "{rule}: not all months are used");
        }
    }

    #[test]
    fn a_secret_that_keeps_its_rule_is_listed_with_it() {
        let member = |name: &str, text: &str| Member {
            arn: name.to_owned(),
            name: name.to_owned(),
            rules: rules(text),
            ..Member::default()
        };
        let answer =
            spread(&[member("a", "30"), member("b", "7"), member("c", "rate(1 day)"), member("d", "hunter2!")], &[]);
        assert_eq!(answer["schedules"].as_array().unwrap().len(), 1);
        assert_eq!(answer["mostInOneHour"], 1);
        let kept = json!([
            {"secret": "b", "schedule": "rate(7 days)"}, {"secret": "c", "schedule": "rate(1 day)"},
            {"secret": "d", "schedule": "(not a schedule)"},
        ]);
        assert_eq!(answer["kept"], kept);
    }

    #[test]
    fn a_fleet_is_spread_evenly_and_stays_where_it_is() {
        let arn = |number: u32| format!("arn:aws:secretsmanager:us-east-1:1:secret:s{number}-AbCdEf");
        let mut slots = BTreeMap::new();
        for number in 0..6_720 {
            *slots.entry(monthly(&arn(number), &[])).or_insert(0) += 1;
        }
        // Ten in each hour on average.
        assert_eq!(slots.len(), 28 * 24);
        assert!(slots.values().all(|count| *count < 30), "{:?}", slots.values().max());
        assert_eq!(monthly(&arn(1), &[]), monthly(&arn(1), &[]));
    }

    /// "Secrets Manager cron expressions": six fields; minutes are 0; of the days of the month and of the week one is a question mark; the
    /// year is an asterisk.
    #[test]
    fn every_expression_is_one_that_secrets_manager_takes() {
        for number in 0..2_000 {
            let expression = monthly(&format!("arn{number}"), if number % 2 == 0 { &[] } else { &[0, 23] });
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
            let expression = monthly(&format!("arn{number}"), &[2, 3]);
            assert!(expression.starts_with("cron(0 2 ") || expression.starts_with("cron(0 3 "), "{expression}");
        }
    }
}
