//! A run between two invocations: which wave, which part of it, what was done, and whether it stops. Pure.

use super::item::{Job, Outcome};
use super::lane::{Done, Lane};
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order};
use crate::plan::{lanes, place};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// How many secrets a part has at most. A part is one Map of the state machine, and its results pass through one state of 256 KiB.
pub const PART: usize = 100;
/// How many failures, and how many secrets with the time of their credential's death, a report names. The rest is counted; the log has
/// them all.
const NAMED: usize = 400;

/// What the state machine does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doing {
    /// Invokes this function again.
    #[default]
    Next,
    /// Waits for `seconds` first.
    Wait,
    /// Works on the lanes.
    Work,
    /// Writes the report.
    Report,
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State {
    /// What was asked for.
    pub order: Order,
    /// The execution, for the record.
    pub execution: Value,
    /// When this execution of the run began, in milliseconds since the Unix epoch.
    pub began: u64,
    /// How many secrets were selected.
    pub count: usize,
    /// The sizes of the waves.
    pub waves: Vec<usize>,
    /// The wave that is under way, from 0.
    pub wave: usize,
    /// How many secrets of it have had their turn.
    pub taken: usize,
    /// The place in the run's order up to which secrets have had their turn.
    pub cursor: String,
    /// The pause before this wave is over.
    pub paused: bool,
    /// How many ended how.
    pub tally: BTreeMap<Outcome, usize>,
    /// Failures.
    pub failures: Vec<Done>,
    /// When leaked credentials died.
    pub deaths: Vec<Done>,
    /// Secrets with versions under an old key.
    pub old_key: Vec<Done>,
    /// The longest time from the beginning to a credential's death.
    pub longest: u64,
    /// What comes next.
    pub doing: Doing,
    /// How long to wait.
    pub seconds: u64,
    /// The lanes to work on.
    pub lanes: Vec<Lane>,
    /// How many of them at a time.
    pub concurrency: usize,
    /// What the lanes became. The state machine puts it here.
    #[serde(default)]
    pub results: Vec<Value>,
    /// Why the run ended. Empty: it goes on.
    pub outcome: String,
}

impl State {
    /// A run that has not done anything.
    pub fn new(order: Order, execution: Value, members: &[Member], now: u64) -> Self {
        Self {
            waves: order.waves(members.len()),
            count: members.len(),
            order,
            execution,
            began: now,
            wave: 0,
            taken: 0,
            cursor: String::new(),
            paused: true,
            tally: BTreeMap::new(),
            failures: Vec::new(),
            deaths: Vec::new(),
            old_key: Vec::new(),
            longest: 0,
            doing: Doing::Next,
            seconds: 0,
            lanes: Vec::new(),
            concurrency: 0,
            results: Vec::new(),
            outcome: String::new(),
        }
    }

    /// Takes what the lanes became into the account, and returns it. A lane that the state machine lost counts as failed.
    pub fn fold(&mut self) -> Vec<Done> {
        let (results, lanes) = (std::mem::take(&mut self.results), std::mem::take(&mut self.lanes));
        let mut ended = Vec::new();
        for result in results {
            let Ok(lane) = Lane::deserialize(result) else { continue };
            ended.extend(lane.done);
            ended.extend(lane.todo.iter().map(|item| Done::of(item, Outcome::Failed, "lane-lost")));
        }
        let known: std::collections::BTreeSet<_> = ended.iter().map(|done| done.secret.clone()).collect();
        let all = lanes.iter().flat_map(|lane| &lane.todo);
        let lost =
            all.filter(|item| !known.contains(&item.secret)).map(|item| Done::of(item, Outcome::Failed, "lane-lost"));
        ended.extend(lost.collect::<Vec<_>>());
        for done in &ended {
            *self.tally.entry(done.outcome).or_default() += 1;
            self.longest = self.longest.max(done.dead_after.unwrap_or_default());
            let named = |list: &mut Vec<Done>| {
                if list.len() < NAMED {
                    list.push(done.clone());
                }
            };
            if done.outcome == Outcome::Failed {
                named(&mut self.failures);
            }
            if self.order.mode == Mode::Emergency {
                named(&mut self.deaths);
            }
            if !done.old_key.is_empty() {
                named(&mut self.old_key);
            }
        }
        ended
    }

    /// How many ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tally.get(&outcome).copied().unwrap_or_default()
    }

    /// The gate: whether the run may go on, and if not, why. The state machine then writes the report.
    pub fn gate(&mut self, stopped: bool) {
        let failures = self.count(Outcome::Failed);
        if failures >= self.order.stops_at(self.count) {
            self.finish("stopped-by-failures");
        } else if stopped {
            self.finish("stopped-by-flag");
        }
    }

    /// Ends the run.
    pub fn finish(&mut self, outcome: &str) {
        (self.doing, self.outcome) = (Doing::Report, outcome.to_owned());
    }

    /// How many secrets the next part has; none if the state machine waits first, or the run is over.
    pub fn part(&mut self, now: u64) -> Option<usize> {
        if !self.outcome.is_empty() {
            return None;
        }
        let size = |wave: usize| self.waves.get(wave).copied().unwrap_or_default();
        if self.taken >= size(self.wave) {
            (self.wave, self.taken, self.paused) = (self.wave + 1, 0, false);
        }
        if self.wave >= self.waves.len() {
            self.finish("finished");
            return None;
        }
        let pause = if self.paused { 0 } else { self.order.waves.pause_seconds };
        self.paused = true;
        let window = self.order.window.as_ref().filter(|_| self.order.mode != Mode::Emergency);
        let wait = window.map_or(0, |window| window.opens_in((now / 1_000) + pause)) + pause;
        if wait > 0 {
            (self.doing, self.seconds) = (Doing::Wait, wait);
            return None;
        }
        Some(PART.min(self.waves.get(self.wave).copied().unwrap_or_default() - self.taken))
    }

    /// The secrets of the next part: the first ones after the cursor. Secrets that a run has changed may not be selected any more, and
    /// the cursor is past them.
    pub fn after_cursor(&self, members: Vec<Member>, size: usize) -> Vec<Member> {
        let mut placed: Vec<_> =
            members.into_iter().map(|member| (place(&self.order.name, &member.arn), member)).collect();
        placed.retain(|(place, _)| *place > self.cursor);
        placed.sort_by(|one, other| one.0.cmp(&other.0));
        placed.truncate(size);
        placed.into_iter().map(|(_, member)| member).collect()
    }

    /// Plans the next part.
    pub fn plan(&mut self, members: &[Member], now: u64) {
        let Some(last) = members.last() else {
            // They were deleted, or left the selection.
            self.finish("finished");
            return;
        };
        self.cursor = place(&self.order.name, &last.arn);
        self.taken += members.len();
        let stops_at = self.order.stops_at(self.count).saturating_sub(self.count(Outcome::Failed)).max(1);
        let job = Job {
            run: self.order.name.clone(),
            mode: self.order.mode,
            of: self.order.of.clone(),
            kms_key: self.order.kms_key.clone(),
            patience: self.order.patience_seconds * 1_000,
            run_began: self.began,
            part_began: now,
            stops_at,
        };
        let lanes = lanes::lanes(&self.order, members);
        self.concurrency = lanes.len().min(self.order.pace.hosts.saturating_mul(self.order.pace.per_host)).max(1);
        let lane = |todo| Lane {
            job: job.clone(),
            todo,
            progress: None,
            done: Vec::new(),
            doing: super::lane::Doing::Look,
            seconds: 0,
            ask: Value::Null,
            answer: Value::Null,
        };
        (self.lanes, self.doing) = (lanes.into_iter().map(lane).collect(), Doing::Work);
    }

    /// The report.
    pub fn report(&self, now: u64) -> Value {
        let order = &self.order;
        let moved = self.count(Outcome::RolledBack);
        json!({
            "run": order.name,
            "mode": order.mode.as_str(),
            "outcome": self.outcome,
            "why": order.why,
            "askedBy": order.asked_by,
            "execution": self.execution,
            "secrets": self.count,
            "wave": (self.wave + 1).min(self.waves.len()),
            "waves": self.waves,
            "seconds": now.saturating_sub(self.began) / 1_000,
            "tally": self.tally,
            "notReached": self.count.saturating_sub(self.tally.values().sum()),
            "failures": self.failures,
            "leaked": self.deaths,
            "slowestDeathMilliseconds": (order.mode == Mode::Emergency).then_some(self.longest),
            "rolledBackPercent": (order.mode == Mode::RollBack).then(|| (moved * 100).checked_div(self.count).unwrap_or_default()),
            "versionsUnderAnOldKey": self.old_key,
            "next": self.advice(),
        })
    }

    fn advice(&self) -> &'static str {
        match self.outcome.as_str() {
            "finished" if self.failures.is_empty() => "Nothing.",
            "finished" => "Look at the failures: docs/runbooks/rotation-failed.md.",
            "stopped-by-flag" => {
                "Take the flag away, and start an execution with the same order and the same name to go on."
            }
            _ => {
                "Look at the failures, and correct their cause. Then start an execution with the same order and the same name: what is \
                 done is not done twice. Or undo the run: mode roll-back."
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::lanes::Item;

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

    /// Runs to the end, with a failure wherever `fails` says so. Returns the secrets in their order.
    fn run(state: &mut State, all: &[Member], mut fails: impl FnMut(&Item) -> bool) -> Vec<String> {
        let mut turns = Vec::new();
        for _ in 0..1_000 {
            state.fold();
            state.gate(false);
            if let Some(size) = state.part(0) {
                let part = state.after_cursor(all.to_vec(), size);
                state.plan(&part, 0);
            }
            if state.doing == Doing::Report {
                return turns;
            }
            if state.doing == Doing::Wait {
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
            let mut state = State::new(order(&json!({})), Value::Null, &all, 0);
            let mut turns = run(&mut state, &all, |_| false);
            assert_eq!((state.outcome.as_str(), turns.len()), ("finished", count));
            turns.sort();
            turns.dedup();
            assert_eq!(turns.len(), count, "nobody twice");
            assert_eq!(state.report(0)["notReached"], 0);
        }
    }

    #[test]
    fn the_run_stops_after_the_wave_in_which_too_many_fail() {
        let all = members(200);
        let mut state = State::new(order(&json!({"tolerate": 1})), Value::Null, &all, 0);
        let mut seen = 0;
        let turns = run(&mut state, &all, |_| {
            seen += 1;
            (15..=16).contains(&seen)
        });
        // The failures are in the second wave, which is one part.
        assert_eq!((state.outcome.as_str(), turns.len()), ("stopped-by-failures", 50));
        let report = state.report(0);
        assert_eq!(
            (&report["tally"]["failed"], &report["tally"]["rotated"], &report["notReached"]),
            (&json!(2), &json!(48), &json!(150))
        );
        assert_eq!(report["failures"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn a_tolerated_failure_and_an_emergency_go_on() {
        let all = members(50);
        let mut tolerant = State::new(order(&json!({"tolerate": "2%"})), Value::Null, &all, 0);
        assert_eq!(run(&mut tolerant, &all, |item| item.secret == "arn7").len(), 50);
        let mut urgent = State::new(order(&json!({"mode": "emergency"})), Value::Null, &all, 0);
        assert_eq!(run(&mut urgent, &all, |_| true).len(), 50);
        assert_eq!(urgent.report(0)["leaked"].as_array().unwrap().len(), 50, "each secret is reported");
    }

    #[test]
    fn a_lost_lane_counts_as_failed() {
        let all = members(3);
        let mut state = State::new(order(&json!({"waves": {"canary": 3, "pauseSeconds": 0}})), Value::Null, &all, 0);
        let size = state.part(0).unwrap();
        state.plan(&all[..size], 0);
        state.results = vec![json!({"Error": "Lambda.Unknown"})];
        assert_eq!(state.fold().len(), 3);
        assert_eq!(state.count(Outcome::Failed), 3);
    }

    #[test]
    fn a_flag_and_a_window_hold_the_run() {
        let all = members(10);
        let mut state = State::new(order(&json!({"window": {"fromHour": 2, "hours": 1}})), Value::Null, &all, 0);
        assert_eq!(state.part(0), None);
        assert_eq!((state.doing, state.seconds), (Doing::Wait, 7_200));
        assert_eq!(state.part(7_200_000), Some(1));
        state.gate(true);
        assert_eq!((state.doing, state.outcome.as_str()), (Doing::Report, "stopped-by-flag"));
    }

    /// A pause between waves is one.
    #[test]
    fn waves_are_apart() {
        let mut state =
            State::new(order(&json!({"waves": {"canary": 1, "pauseSeconds": 60}})), Value::Null, &members(5), 0);
        assert_eq!(state.part(0), Some(1), "none before the first wave");
        state.taken = 1;
        assert_eq!((state.part(0), state.seconds), (None, 60));
        assert_eq!(state.part(60_000), Some(4));
    }

    /// 256 KiB hold the state of a run with a part under way and all that a report names.
    #[test]
    fn the_state_fits_into_step_functions() {
        let arn = |number: usize| {
            format!("arn:aws:secretsmanager:eu-central-1:123456789012:secret:shop/production/orders-{number:05}-AbCdEf")
        };
        let all: Vec<_> = (0..PART)
            .map(|number| Member {
                arn: arn(number),
                function: "arn:aws:lambda:eu-central-1:123456789012:function:lockstep-postgres".to_owned(),
                ..Member::default()
            })
            .collect();
        let mut state = State::new(order(&json!({"mode": "emergency"})), Value::Null, &all, 0);
        state.plan(&all, 0);
        let item = |number| Item { secret: arn(number), ..state.lanes[0].todo[0].clone() };
        let done =
            |number| Done { dead_after: Some(100_000), took: 100_000, ..Done::of(&item(number), Outcome::Rotated, "") };
        state.deaths = (0..NAMED).map(done).collect();
        state.failures = (0..NAMED / 4)
            .map(|number| Done::of(&item(number), Outcome::Failed, "stands-still: rotation-unfinished"))
            .collect();
        let bytes = serde_json::to_string(&state).unwrap().len();
        assert!(bytes < 200 * 1_024, "{bytes}");
    }
}
