//! A run between two invocations: which wave, which part of it, what was done, and whether it stops. Pure.

use super::lane::{Done, Lane};
use super::progress::{Job, Outcome};
use crate::plan::lanes::{self, Item};
use crate::plan::member::Member;
use crate::plan::order::{Mode, Order};
use crate::plan::place;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// How many secrets a part has at most. A part is one Map of the state machine, and its results pass through one state of 256 KiB.
pub const PART: usize = 100;
/// How many bytes the ARNs of a part have at most. They are in the state, and once more in the results.
const PART_BYTES: usize = 36_000;
/// How many bytes the lists of a report take. The rest is counted; the log has them all.
const NAMED_BYTES: usize = 40_000;
/// So many secrets are remembered by their places, so that none gets lost that leaves the selection during the run.
const MOST_FROZEN: usize = 500;
/// The length of a place.
const PLACE: usize = 16;

/// What the state machine does next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunDoing {
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
    /// The places of the secrets that were selected, one after another; empty if there are too many.
    pub frozen: String,
    /// Secrets whose value could not be read, so that nobody knows whether they meet the criteria.
    pub unread: usize,
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
    /// Lanes that ended before all their secrets had a turn.
    #[serde(default)]
    pub again: Vec<Vec<Item>>,
    /// How many ended how.
    pub tally: BTreeMap<Outcome, usize>,
    /// Failures.
    pub failures: Vec<Done>,
    /// What became of leaked credentials, without the failures.
    pub deaths: Vec<Done>,
    /// Secrets with versions under an old key.
    pub old_key: Vec<Done>,
    /// How many bytes these lists take.
    #[serde(default)]
    pub named: usize,
    /// The longest time from the beginning to a credential's death.
    pub longest: u64,
    /// What comes next.
    pub doing: RunDoing,
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

/// What was selected when the run began.
#[derive(Debug, Default)]
pub struct Selected {
    /// The secrets.
    pub members: Vec<Member>,
    /// Entries of the order that stand for no secret.
    pub missing: Vec<String>,
    /// Entries of `except` that stand for no secret.
    pub excepted_nobody: Vec<String>,
    /// Secrets whose value could not be read.
    pub unread: usize,
    /// The names of all others, each with the criterion that it does not meet.
    pub left_out: Vec<(String, &'static str)>,
}

impl State {
    /// A run that has not done anything.
    pub fn new(order: Order, execution: Value, selected: &Selected, now: u64) -> Self {
        let members = &selected.members;
        let places = members.iter().map(|member| place(&order.name, &member.arn));
        let frozen = if members.len() > MOST_FROZEN { String::new() } else { places.collect() };
        let mut state = Self {
            waves: order.waves(members.len()),
            count: members.len() + selected.missing.len(),
            frozen,
            unread: selected.unread,
            order,
            execution,
            began: now,
            wave: 0,
            taken: 0,
            cursor: String::new(),
            paused: true,
            again: Vec::new(),
            tally: BTreeMap::new(),
            failures: Vec::new(),
            deaths: Vec::new(),
            old_key: Vec::new(),
            named: 0,
            longest: 0,
            doing: RunDoing::Next,
            seconds: 0,
            lanes: Vec::new(),
            concurrency: 0,
            results: Vec::new(),
            outcome: String::new(),
        };
        for entry in &selected.missing {
            state.account(&Done::named(entry, Outcome::Failed, "not-selected"));
        }
        state
    }

    /// Takes what the lanes became into the account, and returns it.
    ///
    /// **Invariant:** whoever loses a lane loses one secret at most. The others have their turn in another lane. Otherwise a secret whose
    /// function answers something that nobody can read would keep others from being rotated. Test: `a_lost_lane_costs_one_secret`.
    pub fn fold(&mut self) -> Vec<Done> {
        let (results, lanes) = (std::mem::take(&mut self.results), std::mem::take(&mut self.lanes));
        let mut ended = Vec::new();
        for result in results {
            let lost = result.get("lost").is_some();
            let Ok(lane) = Lane::deserialize(result) else { continue };
            ended.extend(lane.done);
            let mut todo = lane.todo;
            if lost && !todo.is_empty() {
                ended.push(Done::of(&todo.remove(0), Outcome::Failed, "lane-lost"));
            }
            if !todo.is_empty() {
                self.again.push(todo);
            }
        }
        let known: BTreeSet<_> = ended.iter().map(|done| done.secret.clone()).collect();
        let held: BTreeSet<_> = self.again.iter().flatten().map(|item| item.secret.clone()).collect();
        for lane in lanes {
            let mut items = lane.todo;
            items.retain(|item| !known.contains(&item.secret) && !held.contains(&item.secret));
            // Nothing is left of the lane but what it began with. Its secrets go on one by one, to find the one that was the cause.
            match items.as_slice() {
                [alone] => ended.push(Done::of(alone, Outcome::Failed, "lane-lost")),
                _ => self.again.extend(items.into_iter().map(|item| vec![item])),
            }
        }
        for done in &ended {
            self.account(done);
        }
        ended
    }

    fn account(&mut self, done: &Done) {
        *self.tally.entry(done.outcome).or_default() += 1;
        self.longest = self.longest.max(done.dead_after.unwrap_or_default());
        let list = match done.outcome {
            Outcome::Failed => &mut self.failures,
            _ if self.order.mode == Mode::Emergency => &mut self.deaths,
            _ if done.old_keys > 0 => &mut self.old_key,
            _ => return,
        };
        let size = serde_json::to_string(done).map_or(0, |text| text.len() + 1);
        if self.named + size <= NAMED_BYTES {
            self.named += size;
            list.push(done.clone());
        }
    }

    /// How many ended so.
    pub fn count(&self, outcome: Outcome) -> usize {
        self.tally.get(&outcome).copied().unwrap_or_default()
    }

    /// How many have had their turn.
    pub fn reached(&self) -> usize {
        self.tally.values().sum()
    }

    /// The gate: whether the run may go on, and if not, why. `stopped` is `None` if the flag could not be read: then nobody could stop
    /// the run any more. The state machine then writes the report.
    pub fn gate(&mut self, stopped: Option<bool>) {
        let failures = self.count(Outcome::Failed);
        if failures >= self.order.stops_at(self.count) {
            self.finish("stopped-by-failures");
        } else if stopped == Some(true) {
            self.finish("stopped-by-flag");
        } else if stopped.is_none() && self.order.mode != Mode::Emergency {
            self.finish("stop-flag-unreadable");
        }
    }

    fn finish(&mut self, outcome: &str) {
        (self.doing, self.outcome) = (RunDoing::Report, outcome.to_owned());
    }

    /// Everybody who is there has had a turn.
    ///
    /// **Invariant:** a run that left a secret out is no success, and neither is an emergency with a failure. Otherwise a credential
    /// lives on, and whoever looks at the execution sees that it succeeded. Test: `what_was_not_reached_is_no_success`.
    fn end(&mut self) {
        let (all, failed) = (self.reached() >= self.count, self.count(Outcome::Failed) > 0);
        self.finish(match self.order.mode {
            _ if !all => "not-all-reached",
            Mode::Emergency if failed || self.unread > 0 => "finished-with-failures",
            _ => "finished",
        });
    }

    /// How many secrets the next part has; none if the state machine waits first, works on what was left, or the run is over.
    pub fn part(&mut self, now: u64) -> Option<usize> {
        if !self.outcome.is_empty() {
            return None;
        }
        let size = |wave: usize| self.waves.get(wave).copied().unwrap_or_default();
        if self.again.is_empty() && self.taken >= size(self.wave) && self.wave < self.waves.len() {
            (self.wave, self.taken, self.paused) = (self.wave + 1, 0, self.wave + 1 >= self.waves.len());
        }
        let pause = if self.paused { 0 } else { self.order.waves.pause_seconds };
        self.paused = true;
        let window = self.order.window.as_ref().filter(|_| self.order.mode != Mode::Emergency);
        let wait = window.map_or(0, |window| window.opens_in((now / 1_000) + pause)) + pause;
        if wait > 0 {
            (self.doing, self.seconds) = (RunDoing::Wait, wait);
            return None;
        }
        if !self.again.is_empty() {
            self.work_again(now);
            return None;
        }
        // Whoever came into the selection since has a turn after the last wave.
        Some(self.waves.get(self.wave).map_or(PART, |size| PART.min(size - self.taken)))
    }

    /// The secrets of the next part: the first ones after the cursor. Secrets that a run has changed may not be selected any more, and
    /// the cursor is past them.
    pub fn after_cursor(&self, members: Vec<Member>, size: usize) -> Vec<Member> {
        let mut placed: Vec<_> =
            members.into_iter().map(|member| (place(&self.order.name, &member.arn), member)).collect();
        placed.retain(|(place, _)| *place > self.cursor);
        placed.sort_by(|one, other| one.0.cmp(&other.0));
        placed.truncate(size);
        let mut bytes = 0;
        let fits = |(_, member): &(String, Member)| {
            bytes += member.arn.len() + member.function.len();
            bytes <= PART_BYTES
        };
        placed.into_iter().take_while(fits).map(|(_, member)| member).collect()
    }

    /// Whether a secret belongs to the run. `meets` says whether it meets the order's criteria now.
    pub fn has(&self, member: &Member, meets: impl Fn(&Member) -> bool) -> bool {
        if self.frozen.is_empty() {
            return meets(member);
        }
        let place = place(&self.order.name, &member.arn);
        self.frozen.as_bytes().chunks(PLACE).any(|known| known == place.as_bytes())
    }

    /// Whether the criteria decide who belongs to the run, and not a list.
    pub fn selects_anew(&self) -> bool {
        self.frozen.is_empty()
    }

    /// Plans the next part.
    pub fn plan(&mut self, members: &[Member], now: u64) {
        let Some(last) = members.last() else {
            self.end();
            return;
        };
        self.cursor = place(&self.order.name, &last.arn);
        self.taken += members.len();
        self.count = self.count.max(self.reached() + members.len());
        self.work(lanes::lanes(&self.order, members), now);
    }

    fn work_again(&mut self, now: u64) {
        let (mut lanes, mut items) = (Vec::new(), 0);
        while let Some(mut lane) = self.again.pop() {
            items += lane.len();
            if items > PART && !lanes.is_empty() {
                self.again.push(lane);
                break;
            }
            for item in &mut lane {
                item.after = 0;
            }
            lanes.push(lane);
        }
        self.work(lanes, now);
    }

    fn work(&mut self, lanes: Vec<Vec<Item>>, now: u64) {
        let closes = self.order.window.as_ref().filter(|_| self.order.mode != Mode::Emergency);
        let job = Job {
            run: self.order.key(),
            mode: self.order.mode,
            of: self.order.of.clone(),
            kms_key: self.order.kms_key.clone(),
            end_early: self.order.end_early,
            end_sessions: self.order.end_sessions,
            closes: closes.and_then(|window| window.closes(now / 1_000)).map(|closes| closes * 1_000),
            patience: self.order.patience_seconds * 1_000,
            run_began: self.began,
            part_began: now,
            stops_at: self.order.stops_at(self.count).saturating_sub(self.count(Outcome::Failed)).max(1),
        };
        self.concurrency = lanes.len().min(self.order.pace.hosts.saturating_mul(self.order.pace.per_host)).max(1);
        let lane = |todo| Lane {
            job: job.clone(),
            todo,
            progress: None,
            done: Vec::new(),
            doing: super::lane::LaneDoing::Look,
            seconds: 0,
            ask: Value::Null,
            answer: Value::Null,
        };
        (self.lanes, self.doing) = (lanes.into_iter().map(lane).collect(), RunDoing::Work);
    }
}

#[cfg(test)]
mod tests;
