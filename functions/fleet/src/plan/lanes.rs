//! Who rotates beside whom. A *lane* is a list of secrets that rotate one after another; lanes run side by side.

use super::member::{Facts, Member, Strategy};
use super::order::{Mode, Order};
use super::rounds::Rounds;
use crate::token::{MOST_ROUNDS, token};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A secret in a lane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Item {
    /// The secret's ARN.
    pub secret: String,
    /// The ARN of its function.
    pub function: String,
    /// How often it rotates.
    pub rounds: Rounds,
    /// It begins so many milliseconds after the first one of its part at the earliest.
    pub after: u64,
    /// A version of this run was there before, and this execution does not go on with a run.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub used: bool,
    /// In an emergency: a rotation alone does not end the leaked key, and the value does not name it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unnamed: bool,
}

/// Whether a rotation in an emergency would end nothing, and use up what the key's own page needs.
fn is_unnamed(order: &Order, member: &Member) -> bool {
    let by_name = |facts: &Facts| matches!(facts.strategy, Strategy::SigningKey | Strategy::Certificate);
    order.mode == Mode::Emergency && member.value.as_ref().is_some_and(|facts| by_name(facts) && !facts.names_leaked)
}

/// The rounds of a secret.
pub fn rounds(order: &Order, member: &Member) -> Rounds {
    match order.mode {
        Mode::Emergency => Rounds::until_dead(member.value.as_ref(), order.end_early),
        Mode::Rotate | Mode::RollBack | Mode::Rekey => Rounds::ONCE,
    }
}

/// Whether a run of this name was here before. Call it before the secret's turn.
fn is_used(order: &Order, member: &Member) -> bool {
    let rotates = matches!(order.mode, Mode::Rotate | Mode::Emergency);
    rotates && !order.goes_on && is_of_run(&order.key(), member)
}

/// Whether a version that has a label is one of this run.
pub fn is_of_run(run: &str, member: &Member) -> bool {
    let own = |version: &String| (1..=MOST_ROUNDS).any(|round| token(run, &member.arn, round) == *version);
    member.versions.iter().any(own)
}

/// The lanes of some secrets. Secrets of one host share `pace.per_host` lanes. The beginnings are `pace.per_second` apart, in turn
/// over the hosts, so that no host waits for another's secrets.
pub fn lanes(order: &Order, members: &[Member]) -> Vec<Vec<Item>> {
    let mut hosts: BTreeMap<String, Vec<&Member>> = BTreeMap::new();
    for member in members {
        hosts.entry(member.place()).or_default().push(member);
    }
    let mut lanes: Vec<Vec<&Member>> = Vec::new();
    for members in hosts.values() {
        let count = order.pace.per_host.clamp(1, members.len().max(1));
        let mut own = vec![Vec::new(); count];
        for (lane, member) in (0..count).cycle().zip(members) {
            if let Some(lane) = own.get_mut(lane) {
                lane.push(*member);
            }
        }
        lanes.extend(own);
    }
    let gap = 1_000 / u64::from(order.pace.per_second.max(1));
    let mut planned = vec![Vec::new(); lanes.len()];
    let longest = lanes.iter().map(Vec::len).max().unwrap_or_default();
    let mut begun = 0;
    for row in 0..longest {
        for (lane, planned) in lanes.iter().zip(&mut planned) {
            let Some(member) = lane.get(row) else { continue };
            planned.push(Item {
                secret: member.arn.clone(),
                function: member.function.clone(),
                rounds: rounds(order, member),
                after: begun * gap,
                used: is_used(order, member),
                unnamed: is_unnamed(order, member),
            });
            begun += 1;
        }
    }
    planned
}

#[cfg(test)]
mod tests {
    use super::super::member::Strategy as How;
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::BTreeSet;

    fn members(hosts: &[u8]) -> Vec<Member> {
        let member = |(number, host): (usize, &u8)| Member {
            arn: format!("arn{number}"),
            value: Some(Facts { host: format!("db{host}"), ..Facts::default() }),
            ..Member::default()
        };
        hosts.iter().enumerate().map(member).collect()
    }

    #[test]
    fn a_version_of_the_run_shows_that_its_name_was_used() {
        let order = json!({"select": {"names": ["*"]}, "name": "november"});
        let order = Order::read(&order, "e").unwrap();
        let member = Member { versions: vec!["v".to_owned(), token("november", "arn0", 1)], ..members(&[0]).remove(0) };
        let used = |order: &Order| lanes(order, std::slice::from_ref(&member))[0][0].used;
        assert!(used(&order));
        assert!(!used(&Order { goes_on: true, ..order.clone() }));
        assert!(!used(&Order { name: "december".to_owned(), ..order.clone() }));
        assert!(!used(&Order { mode: Mode::Emergency, ..order }), "an emergency is another run");
    }

    #[test]
    fn an_emergency_asks_for_the_name_of_a_key_that_ends_by_it() {
        let unnamed = |mode: &str, strategy, names_leaked| {
            let order = json!({"select": {"names": ["*"]}, "mode": mode});
            let value = Some(Facts { strategy, names_leaked, ..Facts::default() });
            lanes(&Order::read(&order, "e").unwrap(), &[Member { value, ..Member::default() }])[0][0].unnamed
        };
        for strategy in [How::SigningKey, How::Certificate] {
            assert!(unnamed("emergency", strategy, false));
            assert!(!unnamed("emergency", strategy, true) && !unnamed("rotate", strategy, false));
        }
        assert!(!unnamed("emergency", How::SingleUser, false));
    }

    proptest! {
        #[test]
        fn all_are_there_once_and_no_host_has_too_many_lanes(
            hosts in proptest::collection::vec(0..5_u8, 0..60),
            per_host in 1..4_usize,
            per_second in 1..=25_u32,
        ) {
            let order = json!({"select": {"names": ["*"]}, "pace": {"perHost": per_host, "perSecond": per_second}});
            let order = Order::read(&order, "e").unwrap();
            let members = members(&hosts);
            let lanes = lanes(&order, &members);
            let place = |item: &Item| members.iter().find(|it| it.arn == item.secret).unwrap().place();
            let planned: Vec<_> = lanes.iter().flatten().map(|item| item.secret.clone()).collect();
            prop_assert_eq!(planned.len(), members.len());
            prop_assert_eq!(planned.into_iter().collect::<BTreeSet<_>>().len(), members.len());
            let mut of_host = BTreeMap::new();
            for lane in &lanes {
                let places: BTreeSet<_> = lane.iter().map(place).collect();
                prop_assert_eq!(places.len(), 1, "a lane is on one host");
                *of_host.entry(places.into_iter().next().unwrap()).or_insert(0) += 1;
            }
            prop_assert!(of_host.values().all(|count| *count <= per_host));
            // In any second at most so many begin.
            let mut begins: Vec<_> = lanes.iter().flatten().map(|item| item.after).collect();
            begins.sort_unstable();
            for window in begins.windows(per_second as usize + 1) {
                prop_assert!(window[per_second as usize] - window[0] >= 1_000 - 1_000 % u64::from(per_second));
            }
            prop_assert!(lanes.iter().all(|lane| lane.is_sorted_by_key(|item| item.after)));
        }
    }
}
