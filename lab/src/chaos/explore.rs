//! All histories of a depth, or a sample of them, on all cores.

use super::case::{Case, Strategy, Target};
use super::history::{Act, Event, Fault, History, What};
use super::run::{Judged, run, runtime};
use super::world::{Kind, Mutation};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// What to explore.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The targets and strategies.
    pub cases: Vec<(Target, Strategy)>,
    /// The most events of a history.
    pub depth: u32,
    /// Of histories deeper than this one: as many as [`samples`](Self::samples).
    pub full_depth: u32,
    /// How many deeper histories of each case are sampled.
    pub samples: u32,
    /// How many rotations a history begins after. The first, second and third rotation of a pair differ.
    pub before: Vec<u32>,
    /// Whether a history that violates something is extended by further events. The longer ones show the same, as a rule.
    pub extend_violating: bool,
    /// A mistake that is made on purpose.
    pub mutation: Option<Mutation>,
    /// Where the sample begins.
    pub seed: u64,
}

/// The counts of a target and strategy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Histories that were tried.
    pub histories: u64,
    /// Histories with a violation.
    pub violating: u64,
    /// Histories that ended in an error whose advice led out.
    pub stated: u64,
    /// Histories in which AWSCURRENT was refused by what docs/reliability.md names as a limit.
    pub at_limit: u64,
    /// The most calls during which AWSCURRENT of a single user was refused.
    pub window: u32,
}

/// A kind of violation.
#[derive(Clone, Debug)]
pub struct Found {
    /// In how many histories.
    pub count: u64,
    /// The shortest one.
    pub history: History,
    /// What was seen.
    pub what: String,
}

/// What an exploration has found.
#[derive(Clone, Debug, Default)]
pub struct Explored {
    /// For each target and strategy.
    pub counts: BTreeMap<(Target, Strategy), Count>,
    /// For each number of events.
    pub by_depth: BTreeMap<usize, u64>,
    /// For each target, strategy and kind.
    pub found: BTreeMap<(Target, Strategy, String), Found>,
    /// How often an error's advice led out.
    pub stated: BTreeMap<String, u64>,
}

/// Explores.
///
/// # Errors
/// No runtime could be started.
pub fn explore(plan: &Plan, progress: &(dyn Fn(usize, usize) + Sync)) -> io::Result<Explored> {
    let cases = plan
        .cases
        .iter()
        .flat_map(|&(target, strategy)| plan.before.iter().map(move |&before| Case { target, strategy, before }));
    let mut roots = Vec::new();
    let mut explored = Explored::default();
    let main = runtime()?;
    for case in cases {
        let history = History { case, events: Vec::new() };
        let judged = main.block_on(run(&history, false, plan.mutation));
        explored.count(&history, &judged);
        roots.extend(next(&history, &judged));
    }
    drop(main);
    if plan.depth == 0 {
        return Ok(explored);
    }
    let (at, shared) = (AtomicUsize::new(0), Mutex::new(explored));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let outcomes: Vec<io::Result<()>> = std::thread::scope(|scope| {
        let work = || -> io::Result<()> {
            let runtime = runtime()?;
            let mut own = Explored::default();
            loop {
                let index = at.fetch_add(1, Ordering::Relaxed);
                let Some(history) = roots.get(index) else { break };
                progress(index, roots.len());
                runtime.block_on(below(plan, history, index, &mut own));
            }
            shared.lock().unwrap_or_else(PoisonError::into_inner).merge(own);
            Ok(())
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let ended = |handle: std::thread::ScopedJoinHandle<'_, _>| {
            handle
                .join()
                .unwrap_or_else(|_| Err(io::Error::other("a history ended in a panic, which is printed above")))
        };
        handles.into_iter().map(ended).collect()
    });
    outcomes.into_iter().collect::<io::Result<()>>()?;
    progress(roots.len(), roots.len());
    Ok(shared.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// A history of depth one, and those that begin with it.
async fn below(plan: &Plan, history: &History, index: usize, explored: &mut Explored) {
    let judged = run(history, false, plan.mutation).await;
    explored.count(history, &judged);
    let first = (history.clone(), judged.clone());
    let mut level = vec![(history.clone(), judged)];
    for depth in 2..=plan.depth {
        if depth > plan.full_depth {
            sample(plan, &first, depth, index, explored).await;
            continue;
        }
        let mut deeper = Vec::new();
        for (history, judged) in &level {
            for next in next(history, judged) {
                let judged = run(&next, false, plan.mutation).await;
                explored.count(&next, &judged);
                if depth < plan.full_depth {
                    deeper.push((next, judged));
                }
            }
        }
        level = deeper;
    }
}

/// Histories of this depth that begin with `first`, at random.
async fn sample(plan: &Plan, first: &(History, Judged), depth: u32, index: usize, explored: &mut Explored) {
    let mut rng = StdRng::seed_from_u64(plan.seed ^ (index as u64) << 8 ^ u64::from(depth));
    for _ in 0..plan.samples {
        let (mut history, mut judged) = first.clone();
        while history.events.len() < depth as usize {
            if !plan.extends(&judged) {
                break;
            }
            let mut all = next(&history, &judged);
            if all.is_empty() {
                return;
            }
            history = all.swap_remove(rng.random_range(0..all.len()));
            judged = run(&history, false, plan.mutation).await;
        }
        if history.events.len() > plan.full_depth as usize {
            explored.count(&history, &judged);
        }
    }
}

/// The histories with one more event, at the last event's call or after it.
fn next(history: &History, judged: &Judged) -> Vec<History> {
    let last = history.events.last().copied();
    let from = last.map_or(1, |last| last.at);
    let mut all = Vec::new();
    for (at, &(first, _, kind)) in (1..).zip(&judged.calls) {
        if at < from {
            continue;
        }
        let same = last.filter(|last| last.at == at).map(|last| last.what);
        let mut push = |what| {
            let mut events = history.events.clone();
            events.push(Event { at, what });
            all.push(History { case: history.case, events });
        };
        // At one call what people do comes first, and a fault is the last.
        match same {
            Some(What::Fault(_)) => continue,
            Some(What::Act(_)) => {}
            None => Act::all().filter(|act| is_possible(history, *act)).for_each(|act| push(What::Act(act))),
        }
        Fault::all().filter(|fault| suffers(kind, *fault, first)).for_each(|fault| push(What::Fault(fault)));
    }
    all
}

fn suffers(kind: Kind, fault: Fault, first: u32) -> bool {
    kind.suffers(fault, first == 1)
}

fn is_possible(history: &History, act: Act) -> bool {
    let case = history.case;
    let strategy = case.strategy;
    let is_database = matches!(case.target, Target::Postgres | Target::Mysql | Target::Mariadb);
    match act {
        Act::Restore => history.events.iter().any(|event| event.what == What::Act(Act::Delete)),
        Act::RevokeKey | Act::RevokePendingKey => strategy.mints() || strategy == Strategy::Roll,
        Act::ChangeKey => matches!(strategy, Strategy::Roll | Strategy::SetValue),
        Act::RotateAdmin => {
            strategy == Strategy::Certificate || case.target == Target::Issuer && strategy != Strategy::Generate
        }
        Act::RestoreDatabase | Act::ChangePassword | Act::DropCurrentUser => is_database,
        Act::DropBase | Act::DropClone => strategy.is_pair(),
        Act::RotateSuperuser => strategy.has_superuser(),
        Act::RestoreOlderDatabase => is_database && case.before > 0,
        Act::LeakCurrent
        | Act::LeakNext
        | Act::DropPublished
        | Act::EmptyPublished
        | Act::DeletePublished
        | Act::AddPublished => case.target == Target::SigningKey,
        Act::ClearTxt => strategy == Strategy::Certificate,
        Act::DailyLook => matches!(case.target, Target::SigningKey | Target::Tls),
        _ => true,
    }
}

impl Plan {
    fn extends(&self, judged: &Judged) -> bool {
        self.extend_violating || judged.violations.is_empty()
    }
}

impl Explored {
    fn count(&mut self, history: &History, judged: &Judged) {
        let Case { target, strategy, .. } = history.case;
        *self.by_depth.entry(history.events.len()).or_default() += 1;
        let count = self.counts.entry((target, strategy)).or_default();
        count.histories += 1;
        count.violating += u64::from(!judged.violations.is_empty());
        count.stated += u64::from(judged.stated.is_some());
        count.at_limit += u64::from(judged.at_limit);
        count.window = count.window.max(judged.window);
        if let Some(code) = &judged.stated {
            *self.stated.entry(code.clone()).or_default() += 1;
        }
        for violation in &judged.violations {
            let found = Found { count: 1, history: history.clone(), what: violation.what.clone() };
            self.add((target, strategy, violation.kind.clone()), found);
        }
    }

    fn add(&mut self, key: (Target, Strategy, String), found: Found) {
        // A history without people says more.
        let acts = |history: &History| history.events.iter().filter(|event| matches!(event.what, What::Act(_))).count();
        let length = |history: &History| (history.events.len(), acts(history), history.clone());
        match self.found.get_mut(&key) {
            None => drop(self.found.insert(key, found)),
            Some(known) => {
                known.count += found.count;
                if length(&found.history) < length(&known.history) {
                    known.history = found.history;
                    known.what = found.what;
                }
            }
        }
    }

    fn merge(&mut self, other: Self) {
        for (key, count) in other.counts {
            let known = self.counts.entry(key).or_default();
            known.histories += count.histories;
            known.violating += count.violating;
            known.stated += count.stated;
            known.at_limit += count.at_limit;
            known.window = known.window.max(count.window);
        }
        for (depth, count) in other.by_depth {
            *self.by_depth.entry(depth).or_default() += count;
        }
        for (code, count) in other.stated {
            *self.stated.entry(code).or_default() += count;
        }
        for (key, found) in other.found {
            self.add(key, found);
        }
    }
}
