//! One history from its beginning to its judgement.

use super::ca::Ca;
use super::case::{Case, LIFETIME, MAX_CACHE, Owned, SECRET, SUPERUSER_PASSWORD, SUPERUSER_SECRET, Strategy, Target};
use super::history::History;
use super::judge::{Outside, Violation};
use super::labels::Labels;
use super::lambda;
use super::person;
use super::server::Users;
use super::world::{Hooks, Inner, Kind, Mutation, World};
use rotation::Code;
use rotation::protocol::event::Step;
use rotation::protocol::label::CURRENT;
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::runtime::Runtime;

/// A rotation has to succeed within this many attempts once everything is over.
const ATTEMPTS: u32 = 3;

const STEPS: [Step; 4] = [Step::Create, Step::Set, Step::Test, Step::Finish];

/// How a history ended.
#[derive(Clone, Debug, Default)]
pub struct Judged {
    /// What must not happen, and did.
    pub violations: Vec<Violation>,
    /// What happened, line by line, if it was asked for.
    pub journal: Vec<String>,
    /// The error that rotations ended in until its advice was followed, where that is right.
    pub stated: Option<String>,
    /// Whether AWSCURRENT was refused by what docs/reliability.md names as a limit, under "Where it ends".
    pub at_limit: bool,
    /// The most calls during which AWSCURRENT of a single user was refused.
    pub window: u32,
    /// The calls, each with its kind, and 1 if it was the first of its step.
    pub(super) calls: Vec<(u32, &'static str, Kind)>,
}

/// A runtime in virtual time.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build()
}

/// Runs one history, with its journal. A mutation is a mistake that is made on purpose.
///
/// # Errors
/// No runtime could be started.
pub fn replay(history: &History, mutation: Option<Mutation>) -> std::io::Result<Judged> {
    Ok(runtime()?.block_on(run(history, true, mutation)))
}

/// Runs one history.
pub(super) async fn run(history: &History, verbose: bool, mutation: Option<Mutation>) -> Judged {
    let hooks = Hooks { steps: lambda::steps, act: |world, act| Box::pin(person::act(world, act)) };
    let world = match World::new(history.case, &history.events, verbose, mutation, hooks) {
        Ok(world) => world,
        Err(error) => return broken(&error.to_string()),
    };
    if let Err(error) = begin(&world, history.case).await {
        return broken(&error);
    }
    let stated = live(&world).await;
    world.arm(false);
    let mut inner = world.inner();
    let judged = Judged {
        violations: std::mem::take(&mut inner.judge.violations),
        journal: std::mem::take(&mut inner.journal),
        stated,
        at_limit: inner.judge.at_limit || inner.verifiers.at_limit,
        window: inner.judge.longest_window,
        calls: std::mem::take(&mut inner.names),
    };
    drop(inner);
    world.end();
    judged
}

fn broken(what: &str) -> Judged {
    let violation = Violation { kind: "simulation-broken".to_owned(), what: what.to_owned(), at: 0 };
    Judged { violations: vec![violation], ..Judged::default() }
}

/// Makes the secrets, and completes the rotations before the tested one.
async fn begin(world: &Arc<World>, case: Case) -> Result<(), String> {
    let issuer = world.inner().issuer.clone();
    let admin = match (case.target, case.strategy) {
        (Target::Issuer, _) => issuer.admin(),
        (_, Strategy::Certificate) => world.inner().pki.register(),
        _ => SUPERUSER_PASSWORD.to_owned(),
    };
    let secret = case.secret(issuer.first(), &Ca::root());
    for (name, value) in [(SUPERUSER_SECRET, case.superuser(&admin)), (SECRET, secret)] {
        let body = json!({"Name": name, "SecretString": value.to_string(), "ClientRequestToken": world.token()});
        world.service("CreateSecret", body).await?;
    }
    let described = world.service("DescribeSecret", json!({"SecretId": SECRET})).await?;
    let arn = described.get("ARN").and_then(Value::as_str).unwrap_or_default();
    issuer.expect_names(api_key::target::journal::name_prefix(arn));
    for _ in 0..case.before {
        remember(world);
        world.rotate(SECRET).await?;
    }
    remember(world);
    world.judge(false);
    Ok(())
}

fn remember(world: &World) {
    let mut inner = world.inner();
    let users = inner.server.users.clone();
    inner.snapshots.push(users);
}

/// Whether rotations succeed and AWSCURRENT opens the target.
async fn converges(world: &Arc<World>) -> bool {
    world.inner().last_error = None;
    for _ in 0..ATTEMPTS {
        let rotated = world.rotate(SECRET).await;
        world.judge(false);
        if rotated.is_ok() && world.inner().judge.open {
            return true;
        }
    }
    false
}

/// The tested rotation and all that follows. Returns the error whose advice had to be followed.
async fn live(world: &Arc<World>) -> Option<String> {
    world.arm(true);
    let mut well = world.rotate(SECRET).await.is_ok() && world.inner().judge.open;
    if !well {
        repeat(world).await;
        world.note(|| "  the rotation is tried again".to_owned());
        well = converges(world).await;
    }
    while world.is_busy() {
        world.release().await;
        world.judge(false);
        world.note(|| "  nothing is held up any more".to_owned());
        well = well && world.inner().judge.open || converges(world).await;
    }
    world.arm(false);
    let stated = if well { None } else { advise(world).await };
    if well || stated.is_some() {
        afterwards(world).await;
        if world.case.target == Target::SigningKey {
            after_their_time(world).await;
        }
    }
    stated
}

/// The daily look, once the time of all keys is over that signed before AWSCURRENT's.
async fn after_their_time(world: &Arc<World>) {
    world.time.pass(LIFETIME + MAX_CACHE);
    let _ = world.look().await;
    let mut inner = world.inner();
    let Inner { judge, verifiers, places, .. } = &mut *inner;
    verifiers.at_the_end(places).into_iter().for_each(|(kind, what)| judge.violated(kind, what));
}

/// Delivers the steps of the tested rotation once more, until one fails, as the service does after a failure.
async fn repeat(world: &Arc<World>) {
    world.note(|| "  the steps are delivered again".to_owned());
    let token = world.inner().tested.clone();
    for step in STEPS {
        let payload: Value = json!({"SecretId": SECRET, "ClientRequestToken": token, "Step": step.as_str()});
        if world.deliver(payload).await.is_err() {
            return;
        }
    }
    look_for_survivors(world);
}

fn look_for_survivors(world: &World) {
    let labels = world.labels(SECRET);
    let mut inner = world.inner();
    let Inner { judge, server, issuer, places, pki, .. } = &mut *inner;
    judge.look_for_survivors(Outside::of(world.case, (server, issuer, places, pki)), &labels);
}

/// Follows the advice of the errors that rotations end in.
async fn advise(world: &Arc<World>) -> Option<String> {
    let (labels, acts) = (world.labels(SECRET), world.inner().judge.acts.len());
    let created_at_once = world.inner().judge.created_at_once;
    let unlabelled = {
        let inner = world.inner();
        inner.judge.is_unlabelled(Outside::of(world.case, inner.outside()), &labels)
    };
    let mut codes: Vec<&'static str> = Vec::new();
    let (mut healed, mut by_runbook) = (false, false);
    for _ in 0..2 * ATTEMPTS {
        let error = world.inner().last_error.clone();
        let code = error.as_ref().map_or("no rotation begins", |error| error.code().as_str());
        // After another error, the advice of this one is followed once more.
        let again = codes.last() == Some(&code);
        let mut done = person::heed(world).await;
        if done.is_none() && !again {
            codes.push(code);
            if let Some(error) = &error {
                done = person::follow(world, error).await;
            }
        }
        // The first advice of most errors is to rotate again.
        if done.is_none() && again {
            done = person::unstick(world).await;
            by_runbook |= error.is_some() && done.is_some();
        }
        world.note(|| format!("  the advice of {code}: {}", done.unwrap_or("there is none but to rotate again")));
        world.judge(true);
        healed = converges(world).await;
        world.release().await;
        if healed || done.is_none() && again {
            break;
        }
    }
    let chain = codes.last().copied().unwrap_or("the secret is deleted").to_owned();
    let mut inner = world.inner();
    if !healed {
        inner.judge.violated(&format!("nothing-helps: {chain}"), "rotations fail although all advice was followed");
        return None;
    }
    if acts == 0 && !is_documented(world.case, created_at_once, &codes) {
        inner.judge.violated(&format!("stuck: {chain}"), "rotations fail for ever after faults alone");
    } else if unlabelled && codes.contains(&Code::LockedOut.as_str()) {
        let what = "the password is in a version without a label, and no rotation finds it";
        inner.judge.violated(&format!("unlabelled: {chain}"), what);
    } else if by_runbook {
        let what = "the error's advice does not help; what docs/runbooks/stuck-awspending.md says does";
        inner.judge.violated(&format!("advice-does-not-help: {chain}"), what);
    }
    Some(chain)
}

/// Whether faults alone may end in these errors. Of keys that an issuer rolls, docs/issuers.md says that two invocations at once end
/// each other's key, and the description that the first rotation of a key that a person has made ends in `key-unproven` if the
/// answer to the roll is lost.
fn is_documented(case: Case, created_at_once: bool, codes: &[&str]) -> bool {
    let is = |code: &str| {
        created_at_once && code == Code::PendingRejected.as_str()
            || case.before == 0 && code == Code::KeyUnproven.as_str()
    };
    case.strategy == Strategy::Roll && codes.last().is_some_and(|code| is(code))
}

/// What a completed step must not change.
#[derive(PartialEq, Eq)]
struct State {
    users: Users,
    keys: Vec<Owned>,
    labels: Labels,
}

impl State {
    fn of(world: &World) -> Self {
        let labels = world.labels(SECRET);
        let inner = world.inner();
        let mut keys = inner.issuer.living().0;
        keys.extend(inner.places.living());
        keys.extend(inner.pki.living());
        Self { users: inner.server.users.clone(), keys, labels }
    }

    /// A completed step, delivered again, may end what is superseded: an earlier run was kept from it.
    fn may_become(&self, after: &Self) -> bool {
        let without_secondary = |users: &Users| {
            let mut users = users.clone();
            users.values_mut().for_each(|user| user.secondary = None);
            users
        };
        self.labels == after.labels
            && without_secondary(&self.users) == without_secondary(&after.users)
            && after.keys.iter().all(|key| self.keys.contains(key))
    }
}

/// Whether a further rotation succeeds, and AWSCURRENT opens the target.
async fn next_rotation(world: &Arc<World>) -> bool {
    let rotated = world.rotate(SECRET).await;
    world.judge(false);
    rotated.is_ok() && world.inner().judge.open
}

/// Completed steps run again, and a new rotation.
async fn afterwards(world: &Arc<World>) {
    let before = State::of(world);
    // What was handed on too late stands until a step or the daily look finds it.
    let is_handed_on = {
        let inner = world.inner();
        inner.pki.done(&inner.judge.current_user()).is_empty()
    };
    let token = before.labels.holder(CURRENT).map(str::to_owned);
    world.note(|| "  the steps of the completed rotation are delivered again".to_owned());
    for step in STEPS {
        let payload: Value = json!({"SecretId": SECRET, "ClientRequestToken": token, "Step": step.as_str()});
        let _ = world.deliver(payload).await;
    }
    world.inner().judge.at_limit |= !is_handed_on;
    if is_handed_on && !before.may_become(&State::of(world)) {
        world.inner().judge.violated("rerun-changes", "a completed step, delivered again, has changed something");
    }
    look_for_survivors(world);
    // What works of a secret that stays deleted is its owner's.
    person::heed(world).await;
    world.note(|| "  a new rotation".to_owned());
    if next_rotation(world).await {
        let mints = world.case.strategy.mints();
        // The key that the first one supersedes ends after the second.
        if mints && next_rotation(world).await {
            let labels = world.labels(SECRET);
            let mut inner = world.inner();
            let Inner { judge, issuer, .. } = &mut *inner;
            judge.look_for_orphans(issuer, &labels);
        }
        return;
    }
    if !world.inner().judge.acts.is_empty() || world.inner().judge.is_late() {
        // The first rotation did not need what a person has taken away or stored, or what a write that was held up has undone.
        if !converges(world).await {
            advise(world).await;
        }
        return;
    }
    let mut inner = world.inner();
    let code = inner.last_error.as_ref().map_or("no rotation begins", |error| error.code().as_str());
    inner.judge.violated(&format!("next-rotation-fails: {code}"), "the rotation after the recovery fails");
}
