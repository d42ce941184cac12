//! Applications that log in all the time while their secret rotates.
//!
//! Half of the consumers read AWSCURRENT before each login. The others keep a version, as a cache does: they read AWSCURRENT just
//! before a rotation begins, and use that until the next rotation begins. Each login is a new connection with TLS.
//!
//! Rotations are days apart in practice, and a fraction of a second here. So a rotation begins only when no login is under way any
//! more whose credential was read before the rotation before. Otherwise a login that is slow because this machine is busy would look
//! like an application that used a credential for two rotations.

use super::kind::Kind;
use super::server::{Credential, Server};
use super::timeline::{Answer, Consumer, Login, Record, Rotation};
use super::{Error, Progress};
use crate::lambda::StepReport;
use crate::stack::Lab;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often a single consumer logs in. Many consumers with a pause are more like a fleet of applications than a few without one.
const EACH: Duration = Duration::from_millis(100);
/// Between reading the secret and the login, as a network would have it: up to so many milliseconds, in turn.
const READING: u64 = 10;
/// Before the first rotation, between rotations, and after the last one. Some logins fall into it.
pub(super) const PAUSE: Duration = Duration::from_millis(100);
/// Between two looks for logins that are still under way.
const LOOK: Duration = Duration::from_millis(1);

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Consumption {
    /// Rotations, one after another.
    pub times: u32,
    /// Logins in a second, of all consumers together. A busy machine may do fewer.
    pub logins_per_second: u32,
}

/// Rotates one secret of this kind while consumers log in with it.
///
/// # Errors
/// A server could not be set up, or a rotation failed.
pub async fn consume(kind: Kind, function: &Path, plan: Consumption, progress: Progress<'_>) -> Result<Record, Error> {
    let server = Server::start(kind.engine).await.map_err(Error::Setup)?;
    let lab = Server::function(kind.engine, function, &[&server]).start().await;
    let lab = lab.map_err(|error| Error::Setup(error.to_string()))?;
    let secret = store(&lab, &server, kind).await?;
    let first = current(&lab, &secret).await.map_err(Error::Setup)?;
    let world = World { server, lab, secret, state: Mutex::new(State::new(first)), began: Instant::now() };
    run(kind, Arc::new(world), plan, progress).await
}

async fn store(lab: &Lab, server: &Server, kind: Kind) -> Result<String, Error> {
    let setup = |error: crate::stack::ServiceError| Error::Setup(error.to_string());
    let manager = lab.create_secret("load/manager", &server.manager().to_string()).await.map_err(setup)?;
    let values = server.add(&[("app".to_owned(), kind.strategy)], &manager).await.map_err(Error::Setup)?;
    let value = values.first().map(ToString::to_string).unwrap_or_default();
    lab.create_secret("load/app", &value).await.map_err(setup)
}

async fn current(lab: &Lab, secret: &str) -> Result<Credential, String> {
    let value = lab.secret_value(secret, "AWSCURRENT").await;
    value.map(|value| Credential::of(&value)).map_err(|error| format!("the secret could not be read: {error}"))
}

async fn run(kind: Kind, world: Arc<World>, plan: Consumption, progress: Progress<'_>) -> Result<Record, Error> {
    let mut consumers = JoinSet::new();
    let number = u32::try_from(u128::from(plan.logins_per_second) * EACH.as_millis() / 1000).unwrap_or(u32::MAX).max(2);
    for consumer in 0..number {
        consumers.spawn(consume_for_ever(Arc::clone(&world), consumer, EACH * consumer / number));
    }
    let mut rotations = Vec::new();
    for number in 0..plan.times {
        progress(to_usize(number), to_usize(plan.times));
        tokio::time::sleep(PAUSE).await;
        world.begin_rotation().await?;
        let report = world.lab.rotate(&world.secret).await.map_err(|error| failed(kind, number, error))?;
        if !report.rotated() {
            let reason = report.error().map(|error| format!("{}: {}", error.error_type, error.error_message));
            return Err(failed(kind, number, reason.unwrap_or_else(|| format!("{:?}", report.outcome))));
        }
        let rotation = world.rotation(&report.steps);
        rotations.push(rotation.ok_or_else(|| failed(kind, number, "it did not have four steps"))?);
    }
    tokio::time::sleep(PAUSE).await;
    progress(to_usize(plan.times), to_usize(plan.times));
    consumers.shutdown().await;
    let took = world.began.elapsed();
    world.lab.shutdown().await;
    let (logins, failure) = world.seen();
    Ok(Record { logins, rotations, took, failure })
}

fn failed(kind: Kind, number: u32, reason: impl std::fmt::Display) -> Error {
    Error::Rotation(format!("{kind}: rotation {} failed: {reason}", number + 1))
}

fn to_usize(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What the consumers share.
struct World {
    // Dropped in this order: first the users of the server, then that itself.
    lab: Lab,
    server: Server,
    secret: String,
    state: Mutex<State>,
    began: Instant,
}

struct State {
    /// The version that is kept until the next rotation begins.
    kept: Credential,
    /// How many rotations have begun.
    rotation: u32,
    /// The logins under way, by the rotations that had begun before the credential was read.
    under_way: BTreeMap<u32, usize>,
    logins: Vec<Login>,
    failure: Option<String>,
}

impl State {
    fn new(kept: Credential) -> Self {
        Self { kept, rotation: 0, under_way: BTreeMap::new(), logins: Vec::new(), failure: None }
    }
}

impl World {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All logins, and what the first one said that failed.
    fn seen(&self) -> (Vec<Login>, Option<String>) {
        let mut state = self.state();
        (std::mem::take(&mut state.logins), state.failure.take())
    }

    /// Has the keeping consumers read the secret, and waits for logins with what was read before the rotation before this one.
    async fn begin_rotation(&self) -> Result<(), Error> {
        let kept = current(&self.lab, &self.secret).await.map_err(Error::Rotation)?;
        let rotation = {
            let mut state = self.state();
            state.kept = kept;
            state.rotation += 1;
            state.rotation
        };
        // A login has a time limit of its own, so this ends.
        while self.state().under_way.range(..rotation).any(|(_, logins)| *logins > 0) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(())
    }

    fn rotation(&self, steps: &[StepReport]) -> Option<Rotation> {
        let spans = steps.iter().map(|step| (step.began - self.began, step.ended - self.began));
        spans.collect::<Vec<_>>().try_into().ok()
    }

    async fn log_in(&self, consumer: Consumer, reading: Duration) {
        let under_way = UnderWay::begin(self);
        let credential = match consumer {
            Consumer::Keeping => Ok(self.state().kept.clone()),
            Consumer::Rereading => current(&self.lab, &self.secret).await,
        };
        tokio::time::sleep(reading).await;
        let began = self.began.elapsed();
        let answer = match credential {
            Ok(credential) => self.server.opens(&credential).await,
            Err(error) => Err(error),
        };
        let ended = self.began.elapsed();
        let mut state = self.state();
        let answer = match answer {
            Ok(true) => Answer::Accepted,
            Ok(false) => Answer::Refused,
            Err(error) => {
                state.failure.get_or_insert(error);
                Answer::Failed
            }
        };
        state.logins.push(Login { consumer, began, ended, answer });
        drop(state);
        drop(under_way);
    }
}

/// A login under way, from before its credential is read. It ends when dropped.
struct UnderWay<'a> {
    world: &'a World,
    rotation: u32,
}

impl<'a> UnderWay<'a> {
    fn begin(world: &'a World) -> Self {
        let mut state = world.state();
        let rotation = state.rotation;
        *state.under_way.entry(rotation).or_default() += 1;
        Self { world, rotation }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(logins) = self.world.state().under_way.get_mut(&self.rotation) {
            *logins -= 1;
        }
    }
}

async fn consume_for_ever(world: Arc<World>, number: u32, first: Duration) {
    let consumer = if number.is_multiple_of(2) { Consumer::Rereading } else { Consumer::Keeping };
    tokio::time::sleep(first).await;
    let mut interval = tokio::time::interval(EACH);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for turn in u64::from(number).. {
        interval.tick().await;
        world.log_in(consumer, Duration::from_millis(turn % (READING + 1))).await;
    }
}
