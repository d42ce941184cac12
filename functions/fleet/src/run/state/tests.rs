//! Tests of the run between two invocations.

use super::*;
use crate::run::report::report;
use serde_json::json;

fn order(more: &Value) -> Order {
    let mut order = json!({"select": {"names": ["*"]}, "run": true, "why": "test", "waves": {"pauseSeconds": 0}});
    for (key, value) in more.as_object().unwrap() {
        order[key] = value.clone();
    }
    Order::read(&order, "run").unwrap()
}

fn members(count: usize) -> Vec<Member> {
    (0..count).map(|number| Member { arn: format!("arn{number}"), ..Member::default() }).collect()
}

fn selected(members: &[Member]) -> Selected {
    Selected { members: members.to_vec(), ..Selected::default() }
}

/// Runs to the end, with a failure wherever `fails` says so. Returns the secrets in their order.
fn run(state: &mut State, all: &[Member], mut fails: impl FnMut(&Item) -> bool) -> Vec<String> {
    let mut turns = Vec::new();
    for _ in 0..1_000 {
        state.fold();
        state.gate(Some(false));
        if let Some(size) = state.part(0) {
            let there = all.iter().filter(|member| state.has(member, |_| true)).cloned().collect();
            let part = state.after_cursor(there, size);
            state.plan(&part, 0);
        }
        if state.doing == RunDoing::Report {
            return turns;
        }
        if state.doing == RunDoing::Wait {
            continue;
        }
        let lanes = state.lanes.clone().into_iter().map(|mut lane| {
            for item in std::mem::take(&mut lane.todo) {
                let outcome = if fails(&item) { Outcome::Failed } else { Outcome::Rotated };
                turns.push(item.secret.clone());
                lane.done.push(Done::of(&item, outcome, ""));
            }
            serde_json::to_value(lane).unwrap()
        });
        state.results = lanes.collect();
    }
    panic!("it does not end");
}

#[test]
fn every_secret_has_one_turn() {
    for count in [0, 1, 7, 200, 1_000] {
        let all = members(count);
        let mut state = State::new(order(&json!({})), Value::Null, &selected(&all), 0);
        let mut turns = run(&mut state, &all, |_| false);
        assert_eq!((state.outcome.as_str(), turns.len()), ("finished", count));
        turns.sort();
        turns.dedup();
        assert_eq!(turns.len(), count, "nobody twice");
        assert_eq!(report(&state, 0)["notReached"], 0);
    }
}

#[test]
fn the_run_stops_after_the_wave_in_which_too_many_fail() {
    let all = members(200);
    let mut state = State::new(order(&json!({"tolerate": 1})), Value::Null, &selected(&all), 0);
    let mut seen = 0;
    let turns = run(&mut state, &all, |_| {
        seen += 1;
        (15..=16).contains(&seen)
    });
    // The failures are in the second wave, which is one part.
    assert_eq!((state.outcome.as_str(), turns.len()), ("stopped-by-failures", 50));
    let report = report(&state, 0);
    assert_eq!(
        (&report["tally"]["failed"], &report["tally"]["rotated"], &report["notReached"]),
        (&json!(2), &json!(48), &json!(150))
    );
    assert_eq!(report["failures"].as_array().unwrap().len(), 2);
}

/// A lane ends once the whole run has too many failures, and not only once it has too many itself.
#[test]
fn failures_of_earlier_parts_count_in_the_lanes_of_the_next() {
    let all = members(4);
    let two_by_two = json!({"tolerate": 2, "waves": {"canary": 2, "growth": 1, "pauseSeconds": 0}});
    let mut state = State::new(order(&two_by_two), Value::Null, &selected(&all), 0);
    let plan = |state: &mut State| {
        let size = state.part(0).unwrap();
        let part = state.after_cursor(all.clone(), size);
        state.plan(&part, 0);
    };
    plan(&mut state);
    assert_eq!(state.lanes[0].job.stops_at, 3);
    let mut lane = state.lanes[0].clone();
    lane.done = std::mem::take(&mut lane.todo).iter().map(|item| Done::of(item, Outcome::Failed, "")).collect();
    state.results = vec![serde_json::to_value(lane).unwrap()];
    state.fold();
    plan(&mut state);
    assert_eq!(state.lanes[0].job.stops_at, 1);
}

/// Time begins at midnight in UTC.
#[test]
fn a_window_is_waited_for_and_lanes_know_its_end_but_an_emergency_has_none() {
    let (all, hour) = (members(1), 3_600_000);
    let begun = |mode: &str| {
        let windowed = json!({"mode": mode, "window": {"fromHour": 2, "hours": 2}});
        State::new(order(&windowed), Value::Null, &selected(&all), 0)
    };
    let mut regular = begun("rotate");
    assert_eq!(regular.part(0), None);
    assert_eq!((regular.doing, regular.seconds), (RunDoing::Wait, 2 * 3_600));
    assert_eq!(regular.part(2 * hour + 1), Some(1));
    regular.plan(&all, 2 * hour + 1);
    assert_eq!(regular.lanes[0].job.closes, Some(4 * hour));
    let mut urgent = begun("emergency");
    assert_eq!(urgent.part(0), Some(1));
    urgent.plan(&all, 0);
    assert_eq!(urgent.lanes[0].job.closes, None);
}

#[test]
fn a_tolerated_failure_and_an_emergency_go_on() {
    let all = members(50);
    let mut tolerant = State::new(order(&json!({"tolerate": "2%"})), Value::Null, &selected(&all), 0);
    assert_eq!(run(&mut tolerant, &all, |item| item.secret == "arn7").len(), 50);
    let mut urgent = State::new(order(&json!({"mode": "emergency"})), Value::Null, &selected(&all), 0);
    assert_eq!(run(&mut urgent, &all, |_| true).len(), 50);
    assert_eq!(report(&urgent, 0)["leaked"].as_array().unwrap().len(), 50, "each secret is reported");
}

#[test]
fn a_lost_lane_costs_one_secret() {
    let all = members(3);
    let mut state =
        State::new(order(&json!({"waves": {"canary": 3, "pauseSeconds": 0}})), Value::Null, &selected(&all), 0);
    let size = state.part(0).unwrap();
    state.plan(&all[..size], 0);
    assert_eq!(state.lanes.len(), 1, "they are on one server");
    // The function could not read the lane any more, and gave up.
    let mut lost = serde_json::to_value(&state.lanes[0]).unwrap();
    lost["lost"] = json!({"Error": "event-malformed"});
    state.results = vec![lost];
    assert_eq!(state.fold().len(), 1);
    assert_eq!((state.count(Outcome::Failed), state.again.len(), state.again[0].len()), (1, 1, 2));
    // The rest goes on, and this time nothing at all comes back.
    state.gate(None);
    state.outcome.clear();
    assert_eq!(state.part(0), None);
    assert_eq!((state.doing, state.lanes.len()), (RunDoing::Work, 1));
    state.results = vec![json!({"Error": "States.DataLimitExceeded"})];
    assert!(state.fold().is_empty());
    assert_eq!(state.again.len(), 2, "one by one");
    assert_eq!(state.part(0), None);
    state.results = vec![json!({"Error": "States.DataLimitExceeded"}), json!({"Error": "Lambda.Unknown"})];
    assert_eq!(state.fold().len(), 2);
    assert_eq!(state.count(Outcome::Failed), 3);
}

/// A window closes, or somebody stops the run: the lane ends, and its secrets have their turn later.
#[test]
fn what_was_held_has_its_turn_later() {
    let all = members(4);
    let mut state = State::new(order(&json!({"waves": {"canary": 4}})), Value::Null, &selected(&all), 0);
    let size = state.part(0).unwrap();
    state.plan(&all[..size], 0);
    let mut lane = state.lanes[0].clone();
    let first = lane.todo.remove(0);
    lane.done.push(Done::of(&first, Outcome::Rotated, ""));
    state.results = vec![serde_json::to_value(lane).unwrap()];
    assert_eq!(state.fold().len(), 1);
    assert_eq!((state.part(0), state.doing), (None, RunDoing::Work));
    assert_eq!(state.lanes[0].todo.len(), 3);
    assert_eq!(state.count(Outcome::Failed), 0);
}

#[test]
fn what_was_not_reached_is_no_success() {
    // Some left the account, or the selection.
    let all = members(20);
    let mut state = State::new(order(&json!({})), Value::Null, &selected(&all), 0);
    run(&mut state, &all[..18], |_| false);
    assert_eq!(state.outcome, "not-all-reached");
    // An entry of the order stands for no secret.
    for mode in ["rotate", "emergency"] {
        let few = Selected { missing: vec!["ordres".to_owned()], ..selected(&all) };
        let mut state = State::new(order(&json!({"mode": mode})), Value::Null, &few, 0);
        let turns = run(&mut state, &all, |_| false);
        let expected = if mode == "rotate" { ("stopped-by-failures", 0) } else { ("finished-with-failures", 20) };
        assert_eq!((state.outcome.as_str(), turns.len()), expected);
        assert_eq!((state.failures[0].secret.as_str(), state.failures[0].reason.as_str()), ("ordres", "not-selected"));
    }
}

/// Whoever makes secrets, or tags them, during a run pushes no other out of it.
#[test]
fn newcomers_push_nobody_out() {
    for count in [250, 700] {
        let (all, more) = (members(count), members(count + 300));
        let mut state = State::new(order(&json!({})), Value::Null, &selected(&all), 0);
        let turns: BTreeSet<_> = run(&mut state, &more, |_| false).into_iter().collect();
        assert!(all.iter().all(|member| turns.contains(&member.arn)), "{count}");
        assert_eq!(state.outcome, "finished");
    }
}

#[test]
fn a_flag_that_cannot_be_read_stops_all_but_an_emergency() {
    let gate = |mode: &str| {
        let mut state = State::new(order(&json!({"mode": mode})), Value::Null, &selected(&members(3)), 0);
        state.gate(None);
        state.outcome
    };
    assert_eq!((gate("rotate").as_str(), gate("emergency").as_str()), ("stop-flag-unreadable", ""));
}

#[test]
fn a_flag_and_a_window_hold_the_run() {
    let all = members(10);
    let mut state = State::new(order(&json!({"window": {"fromHour": 2, "hours": 1}})), Value::Null, &selected(&all), 0);
    assert_eq!(state.part(0), None);
    assert_eq!((state.doing, state.seconds), (RunDoing::Wait, 7_200));
    assert_eq!(state.part(7_200_000), Some(1));
    state.gate(Some(true));
    assert_eq!((state.doing, state.outcome.as_str()), (RunDoing::Report, "stopped-by-flag"));
}

/// A pause between waves is one.
#[test]
fn waves_are_apart() {
    let mut state =
        State::new(order(&json!({"waves": {"canary": 1, "pauseSeconds": 60}})), Value::Null, &selected(&members(5)), 0);
    assert_eq!(state.part(0), Some(1), "none before the first wave");
    state.taken = 1;
    assert_eq!((state.part(0), state.seconds), (None, 60));
    assert_eq!(state.part(60_000), Some(4));
}

/// 256 KiB hold the state of a run with a part under way, what its lanes became, and all that a report names; with the longest names,
/// too.
#[test]
fn the_state_fits_into_step_functions() {
    for (length, mode, hosts) in
        [(20, "emergency", 1), (20, "rotate", 100), (200, "emergency", 100), (500, "rekey", 100)]
    {
        let arn = |number: usize| {
            let name = format!("{number:05}{}", "x".repeat(length));
            format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:{name}-AbCdEf")
        };
        let all: Vec<_> = (0..500)
            .map(|number| Member {
                arn: arn(number),
                function: "arn:aws:lambda:eu-central-1:123456789012:function:lockstep-postgres".to_owned(),
                value: Some(crate::plan::member::Facts { host: format!("db{}", number % hosts), ..Default::default() }),
                ..Member::default()
            })
            .collect();
        let more = json!({"mode": mode, "kmsKey": "arn:aws:kms:eu-central-1:123456789012:key/01234567-89ab-cdef-0123-456789abcdef"});
        let mut state = State::new(order(&more), Value::Null, &selected(&all), 0);
        for done in &all {
            let item = Item {
                secret: done.arn.clone(),
                ..lanes::lanes(&state.order, std::slice::from_ref(done))[0][0].clone()
            };
            state.account(&Done::of(&item, Outcome::Failed, "stands-still: rotation-unfinished"));
        }
        let part = state.after_cursor(all, PART);
        state.plan(&part, 0);
        let version = "01234567-89ab-cdef-0123-456789abcdef";
        let result = |lane: &Lane| {
            let done = |item: &Item| Done {
                dead_after: Some(100_000),
                took: 100_000,
                leaked: (mode == "emergency").then(|| version.to_owned()),
                old_key: if mode == "rekey" { vec![version.to_owned(); 3] } else { Vec::new() },
                ..Done::of(item, Outcome::Rotated, "")
            };
            let lane = Lane { done: lane.todo.iter().map(done).collect(), todo: Vec::new(), ..lane.clone() };
            serde_json::to_value(lane).unwrap()
        };
        state.results = state.lanes.iter().map(result).collect();
        let text = serde_json::to_string(&state).unwrap();
        assert!(text.len() < 250 * 1_024, "{length} {mode}: {}", text.len());
        // JSON numbers are doubles in many places.
        assert!(!text.contains("18446744073709551615"));
    }
}
