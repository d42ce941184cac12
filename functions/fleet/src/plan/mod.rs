//! What a run will do. Everything here is pure: the same account, order and time give the same plan.

pub(crate) mod invalid;
pub mod lanes;
pub mod member;
pub mod order;
pub mod rounds;
pub mod select;
pub mod spread;
pub mod waves;
pub mod window;

use crate::digest;
use lanes::rounds;
use member::Member;
use order::{Mode, Order};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many secrets a plan names. The rest is counted: an answer of Lambda has 6 MB, a state of Step Functions 256 KiB.
const NAMED: usize = 300;
/// How many secrets that are left out it names.
const NAMED_LEFT_OUT: usize = 50;

/// A secret's place in a run's order. It comes from a hash, so that a canary wave is a sample of all kinds, and so that a part of a
/// run is found again by the place where the part before ended.
pub fn place(run: &str, arn: &str) -> String {
    digest::key(&["order", run, arn])
}

/// The plan as people read it. `members` are the selected secrets, in the run's order, with their facts where they were read.
pub fn shown(order: &Order, members: &[Member], now: u64) -> Value {
    let waves = order.waves(members.len());
    let all_rounds: Vec<_> = members.iter().map(|member| rounds(order, member)).collect();
    let (least, most) = all_rounds
        .iter()
        .fold((0_u64, 0_u64), |(least, most), rounds| (least + u64::from(rounds.least), most + u64::from(rounds.most)));
    let mut hosts: BTreeMap<String, u64> = BTreeMap::new();
    for member in members {
        *hosts.entry(member.place()).or_default() += 1;
    }
    let mut ends = waves
        .iter()
        .scan(0, |end, size| {
            *end += size;
            Some(*end)
        })
        .collect::<Vec<_>>()
        .into_iter()
        .enumerate()
        .peekable();
    let named = members.iter().zip(&all_rounds).enumerate().take(NAMED).map(|(number, (member, rounds))| {
        while ends.next_if(|(_, end)| *end <= number).is_some() {}
        json!({
            "secret": member.name,
            "wave": ends.peek().map_or(0, |(wave, _)| wave + 1),
            "host": member::shown_place(&member.place()),
            "strategy": member.value.as_ref().map(|facts| facts.strategy),
            "rounds": if rounds.least == rounds.most { rounds.most.to_string() } else { format!("{} to {}", rounds.least, rounds.most) },
            "rotationEnabled": member.enabled,
        })
    });
    let off = members.iter().filter(|member| !member.enabled).count();
    // Each rotation of a busy host waits for the one before.
    let busiest = hosts.values().max().copied().unwrap_or_default();
    json!({
        "mode": order.mode.as_str(),
        "name": order.name,
        "secrets": members.len(),
        "rotations": if order.mode == Mode::Rekey || order.mode == Mode::RollBack { json!(0) } else { json!({"least": least, "most": most}) },
        "waves": waves,
        "stopsAtFailures": if order.mode == Mode::Emergency { Value::Null } else { json!(order.stops_at(members.len())) },
        "rotationOff": off,
        "hosts": hosts.len(),
        "busiestHost": busiest,
        "secondsAtLeast": least / u64::from(order.pace.per_second.max(1)),
        "opensInSeconds": order.window.as_ref().filter(|_| order.mode != Mode::Emergency).map_or(0, |window| window.opens_in(now)),
        "items": named.collect::<Vec<_>>(),
        "notNamed": members.len().saturating_sub(NAMED),
    })
}

/// Who is left out, and why: how many for each reason, and the first names.
pub fn left_out(all: &[(String, &'static str)]) -> Value {
    let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
    for (_, why) in all {
        *reasons.entry(why).or_default() += 1;
    }
    let named = all.iter().take(NAMED_LEFT_OUT).map(|(secret, why)| json!({"secret": secret, "why": why}));
    json!({"secrets": all.len(), "why": reasons, "named": named.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_says_who_rotates_when_and_how_often() {
        let order = json!({"select": {"names": ["*"]}, "mode": "emergency", "waves": {"canary": 1}});
        let order = Order::read(&order, "e").unwrap();
        let members: Vec<_> = (0..5).map(|number| Member { name: format!("s{number}"), ..Member::default() }).collect();
        let plan = shown(&order, &members, 0);
        assert_eq!(plan["waves"], json!([5]));
        assert_eq!(plan["rotations"], json!({"least": 5, "most": 10}));
        let rotate = Order { mode: Mode::Rotate, ..order };
        let plan = shown(&rotate, &members, 0);
        assert_eq!(plan["waves"], json!([1, 4]));
        let waves: Vec<_> =
            plan["items"].as_array().unwrap().iter().map(|item| item["wave"].as_u64().unwrap()).collect();
        assert_eq!(waves, [1, 2, 2, 2, 2]);
    }
}
