//! The world of one history: numbered calls, processes that crash or are held up, and the journal.
//!
//! One thread runs it in virtual time, so each run of a history takes the same course. Passwords come from the product's own
//! generator. Nothing is decided by them.

use super::case::{Case, INTERVAL, SECRET, Strategy, Target};
use super::history::{Act, Event as Planned, Fault, What};
use super::issuer::Issuer;
use super::judge::{All, At, Judge, Outside};
use super::labels::Labels;
use super::pki::Pki;
use super::places::Places;
use super::server::{Server, Users};
use super::settings::Settings;
use super::time::Time;
use super::verifiers::{Moment, Verifiers};
use crate::secretsmanager::{Consistency, Invocation, Invoker, Options, Service};
use rotation::clock::Deadline;
use rotation::protocol::event::{Event, Step};
use rotation::protocol::label::CURRENT;
use rotation::protocol::watch::Watched;
use rotation::protocol::{Outcome, StepReport};
use rotation::{Code, Error, Fact};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinError, JoinHandle};

/// Lambda's longest timeout. No step waits that long for anything but an invocation that is held up.
const TIMEOUT: Duration = Duration::from_secs(900);
/// How long a second invocation, or a rotation that a person began, gets before the first one goes on. It is longer than all
/// pauses of a step, and shorter than a wait for a lock.
const TOGETHER: Duration = Duration::from_secs(3);

/// How long a call takes, where the product acts by the clock.
const CALL: Duration = Duration::from_secs(1);

/// The step of the daily look.
const LOOK: &str = "watch";

pub(super) const FUNCTION: &str = "arn:aws:lambda:us-east-1:000000000000:function:rotation";

/// The world of one history.
pub(super) struct World {
    pub(super) case: Case,
    pub(super) service: Service,
    pub(super) time: Arc<Time>,
    settings: Arc<Settings>,
    verbose: bool,
    pub(super) mutation: Option<Mutation>,
    hooks: Hooks,
    inner: Mutex<Inner>,
}

/// A mistake that is made on purpose, to show that it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mutation {
    /// No lock is taken.
    NoLock,
    /// The lock is taken after the labels were asked.
    LockAfterLabels,
    /// A clone gets its password before its privileges.
    PasswordBeforeGrants,
    /// A second run of a change on MySQL retains the new password as the previous one.
    RetainsTwice,
}

/// What changes in it.
pub(super) struct Inner {
    pub(super) server: Server,
    pub(super) issuer: Issuer,
    pub(super) places: Places,
    pub(super) pki: Pki,
    pub(super) verifiers: Verifiers,
    /// The server as it was before the tested rotation, and before the one before that.
    pub(super) snapshots: Vec<Users>,
    pub(super) judge: Judge,
    /// The last error that a step of the tested secret ended in.
    pub(super) last_error: Option<Error>,
    /// The token of the tested rotation.
    pub(super) tested: Option<String>,
    pub(super) journal: Vec<String>,
    pub(super) calls: u32,
    pub(super) names: Vec<(u32, &'static str, Kind)>,
    /// Distinguishes versions.
    tokens: u32,
    armed: bool,
    events: Vec<Planned>,
    logs: BTreeMap<String, Vec<Labels>>,
    warm: Option<Arc<Lambda>>,
    held: Vec<Held>,
    background: Vec<JoinHandle<()>>,
}

/// What kind of call it is. It decides which faults make sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Read,
    Write,
    Connect,
    /// Anything on a connection.
    Session,
    /// A request to an issuer that changes nothing.
    Ask,
    /// A request to an issuer that may change something.
    Order,
    /// A read of an AWS service that is strongly consistent.
    Get,
    /// A write to an AWS service that is strongly consistent.
    Put,
    /// A signed request to a CA that may change something. Its nonce lets it arrive once only.
    Signed,
}

impl Kind {
    /// Whether a fault can happen to such a call. `first` tells whether it is the first call of its step.
    pub(super) fn suffers(self, fault: Fault, first: bool) -> bool {
        match fault {
            Fault::CrashBefore | Fault::TimeOut | Fault::HeldUp | Fault::AtOnce => true,
            // A read without a reply is a read that timed out, and after it nothing has changed.
            Fault::CrashAfter | Fault::ReplyLost => {
                matches!(self, Self::Write | Self::Session | Self::Order | Self::Put | Self::Signed)
            }
            Fault::BadGateway => matches!(self, Self::Ask | Self::Order | Self::Signed),
            Fault::Throttle => !matches!(self, Self::Connect | Self::Session),
            Fault::ReadOnly => self == Self::Session,
            Fault::StaleRead => matches!(self, Self::Read | Self::Ask),
            Fault::SentTwice => matches!(self, Self::Write | Self::Order | Self::Put),
            Fault::DeliveredTwice => first,
        }
    }
}

/// An invocation that is held up.
struct Held {
    release: Arc<Notify>,
    process: Arc<Process>,
    task: JoinHandle<Result<(), String>>,
}

/// The product's four steps over the simulated seams.
pub(super) trait Steps: Send + Sync {
    /// Carries out one step.
    fn run<'a>(&'a self, event: &'a Event, deadline: Deadline)
    -> Pin<Box<dyn Future<Output = StepReport> + Send + 'a>>;

    /// Looks at all secrets, as once a day.
    fn look<'a>(&'a self, deadline: Deadline) -> Pin<Box<dyn Future<Output = Looked> + Send + 'a>>;
}

/// How a daily look ended.
pub(super) type Looked = Result<Watched, Error>;

/// What an invocation is asked for.
enum Work {
    Step(Event),
    Look,
}

/// A person who acts.
pub(super) type Acting<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What the world does without knowing how.
#[derive(Clone, Copy)]
pub(super) struct Hooks {
    /// Makes a process's steps.
    pub(super) steps: fn(Arc<Process>, Case, &Settings) -> Box<dyn Steps>,
    /// Lets a person act.
    pub(super) act: for<'a> fn(&'a Arc<World>, Act) -> Acting<'a>,
}

/// A process of the function: warm, once it has ended an invocation.
struct Lambda {
    process: Arc<Process>,
    steps: Box<dyn Steps>,
}

/// What a process's calls go through.
pub(super) struct Process {
    world: Weak<World>,
    state: Mutex<ProcessState>,
}

#[derive(Default)]
struct ProcessState {
    /// For the journal.
    label: String,
    payload: Value,
    /// Whether its calls are numbered.
    tracked: bool,
    again: bool,
    first: bool,
    refused: u32,
    /// How many calls there were before the invocation.
    began: u32,
    /// The number of its last question to Secrets Manager.
    asked: u32,
    /// The TXT values that a createSecret which failed has left for the next one.
    values: BTreeSet<String>,
    end: Option<oneshot::Sender<End>>,
}

enum End {
    Crashed,
    HeldUp(Arc<Notify>),
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Normal,
    TimeOut,
    ReplyLost,
    Throttle,
    Stale,
    SentTwice,
    ReadOnly,
    BadGateway,
}

/// A call that has begun.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pass {
    pub(super) verdict: Verdict,
    crash_after: bool,
    kind: Kind,
    number: Option<u32>,
}

struct Function(Weak<World>);

impl Invoker for Function {
    fn invoke<'a>(&'a self, _: &'a str, payload: Vec<u8>) -> Pin<Box<dyn Future<Output = Invocation> + Send + 'a>> {
        Box::pin(async move {
            let failed = |reason: String| Invocation {
                payload: reason.into_bytes(),
                function_error: Some("Unhandled".to_owned()),
            };
            let Some(world) = self.0.upgrade() else { return failed("over".to_owned()) };
            let payload = serde_json::from_slice(&payload).unwrap_or_default();
            match world.deliver(payload).await {
                Ok(()) => Invocation { payload: b"{}".to_vec(), function_error: None },
                Err(reason) => failed(reason),
            }
        })
    }
}

impl World {
    pub(super) fn new(
        case: Case,
        events: &[Planned],
        verbose: bool,
        mutation: Option<Mutation>,
        hooks: Hooks,
    ) -> Result<Arc<Self>, Error> {
        let time = Arc::new(Time::new(case.keeps_time()));
        let clock = {
            let time = time.clone();
            Arc::new(move || time.look())
        };
        let service = Service::new(Options { seed: Some(1), clock, ..Options::default() });
        let settings = Settings::shared()?;
        let issuer = Issuer::new(case.strategy);
        let inner = Inner {
            server: Server::new(case.target),
            snapshots: Vec::new(),
            judge: Judge::new(case, [issuer.admin(), issuer.first().secret.clone()]),
            issuer,
            places: Places::new(case.strategy),
            pki: Pki::new(case.strategy, time.clone()),
            verifiers: Verifiers::default(),
            last_error: None,
            tested: None,
            journal: Vec::new(),
            calls: 0,
            names: Vec::new(),
            tokens: 0,
            armed: false,
            events: events.to_vec(),
            logs: BTreeMap::new(),
            warm: None,
            held: Vec::new(),
            background: Vec::new(),
        };
        let world =
            Arc::new(Self { case, service, time, settings, verbose, mutation, hooks, inner: Mutex::new(inner) });
        world.service.set_invoker(Arc::new(Function(Arc::downgrade(&world))));
        Ok(world)
    }

    pub(super) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn note(&self, line: impl FnOnce() -> String) {
        if self.verbose {
            let line = line();
            self.inner().journal.push(line);
        }
    }

    /// From now on calls are numbered, and the planned events happen.
    pub(super) fn arm(&self, armed: bool) {
        self.inner().armed = armed;
    }

    /// The id of another version.
    pub(super) fn token(&self) -> String {
        let mut inner = self.inner();
        inner.tokens += 1;
        format!("00000000-0000-4000-8000-{:012}", inner.tokens)
    }

    /// A call of a person to Secrets Manager.
    pub(super) async fn service(&self, operation: &str, body: Value) -> Result<Value, String> {
        let reply = self.service.call(operation, body.to_string().as_bytes(), Consistency::Strong).await;
        reply.error_type.map_or(Ok(reply.body), Err)
    }

    /// The labels of a secret, noted for later reads that are outdated.
    pub(super) fn labels(&self, secret: &str) -> Labels {
        let of = self.service.labels(secret).unwrap_or_default();
        let name = name_of(secret);
        let mut inner = self.inner();
        let log = inner.logs.entry(name.to_owned()).or_default();
        let known = log.last().map(|last| last.filled.clone()).unwrap_or_default();
        let filled = of.keys().filter(|id| known.contains(*id) || self.service.value(secret, id).is_some());
        let labels = Labels { filled: filled.cloned().collect(), of };
        if log.last() != Some(&labels) {
            log.push(labels.clone());
        }
        labels
    }

    /// The labels of a secret, newest first.
    pub(super) fn earlier_labels(&self, secret: &str) -> Vec<Labels> {
        self.labels(secret);
        let inner = self.inner();
        inner.logs.get(name_of(secret)).map(|log| log.iter().rev().cloned().collect()).unwrap_or_default()
    }

    /// Looks whether all that must hold at every instant does.
    pub(super) fn judge(&self, by_person: bool) {
        let calls = self.inner().calls;
        self.judge_call(by_person, None, calls.saturating_add(1), calls);
    }

    /// The same after a call of an invocation, which began then and has last asked Secrets Manager then.
    fn judge_call(&self, by_person: bool, call: Option<u32>, began: u32, asked: u32) {
        let labels = self.labels(SECRET);
        let mut inner = self.inner();
        let Inner { judge, server, issuer, places, pki, verifiers, calls, .. } = &mut *inner;
        let outside = Outside::of(self.case, (server, issuer, places, pki));
        let at = At { calls: *calls, call: call.unwrap_or(*calls), began, asked, by_person };
        judge.look(&self.service, outside, &labels, at);
        if self.case.strategy == Strategy::Certificate {
            pki.look(began);
        }
        if self.case.target == Target::SigningKey {
            let current = labels.holder(CURRENT);
            let value = current.and_then(|id| self.service.value(SECRET, id));
            let version = current.zip(value.as_deref());
            let moment = Moment { now: self.time.now(), by_person, acted: judge.acted_since(began), began };
            let seen = verifiers.look(places, version, moment);
            seen.into_iter().for_each(|(kind, what)| judge.violated(kind, what));
        }
    }

    /// A new process of the function.
    pub(super) fn process(self: &Arc<Self>) -> Arc<Process> {
        Arc::new(Process { world: Arc::downgrade(self), state: Mutex::default() })
    }

    fn lambda(self: &Arc<Self>) -> Arc<Lambda> {
        let process = self.process();
        let steps = (self.hooks.steps)(process.clone(), self.case, &self.settings);
        Arc::new(Lambda { process, steps })
    }

    /// Delivers a step, as Secrets Manager does: it waits until the invocation ends, and hears that it failed if it crashes or is
    /// held up.
    pub(super) fn deliver(
        self: &Arc<Self>,
        payload: Value,
    ) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send + '_>> {
        Box::pin(async move {
            let is_look = payload.get("Step").is_some_and(|step| step == LOOK);
            let work = if is_look {
                Work::Look
            } else {
                Work::Step(Event::parse(&payload).map_err(|error| error.to_string())?)
            };
            let lambda = self.inner().warm.take().unwrap_or_else(|| self.lambda());
            let process = lambda.process.clone();
            let (tracked, label) = match &work {
                Work::Step(event) => {
                    let label = format!("{}/{}", event.step, event.token.get(32..).unwrap_or_default());
                    (name_of(&event.secret) == SECRET, label)
                }
                Work::Look => (true, LOOK.to_owned()),
            };
            self.note(|| format!("      {label} begins"));
            let began = {
                let mut inner = self.inner();
                if let Work::Step(event) = &work
                    && tracked
                    && inner.armed
                {
                    inner.tested.get_or_insert_with(|| event.token.clone());
                }
                inner.calls
            };
            let ended = process.begin(label, payload.clone(), tracked, began);
            let world = self.clone();
            let task = tokio::spawn(async move {
                let deadline = Deadline::after(TIMEOUT);
                let ended = match work {
                    Work::Step(event) => {
                        let report = lambda.steps.run(&event, deadline).await;
                        if tracked {
                            world.reported(&lambda.process, &event, &report, began);
                        }
                        report.outcome.map(drop).map_err(|error| error.code().to_string())
                    }
                    Work::Look => {
                        let looked = lambda.steps.look(deadline).await;
                        world.looked(&looked, began);
                        looked.map(drop).map_err(|error| error.code().to_string())
                    }
                };
                world.inner().warm = Some(lambda);
                ended
            });
            let ended = self.watch(&process, task, ended).await;
            if process.state().again {
                process.state().again = false;
                self.note(|| "      the step is delivered again".to_owned());
                return self.deliver(payload).await;
            }
            ended
        })
    }

    async fn watch(
        &self,
        process: &Arc<Process>,
        mut task: JoinHandle<Result<(), String>>,
        ended: oneshot::Receiver<End>,
    ) -> Result<(), String> {
        let end = tokio::select! {
            biased;
            ended = &mut task => return ended.unwrap_or_else(|error| self.panicked(&error)),
            end = ended => end,
        };
        if let Ok(End::HeldUp(release)) = end {
            self.inner().held.push(Held { release, process: process.clone(), task });
            return Err("timed out".to_owned());
        }
        task.abort();
        // The task's sessions end only when it is dropped.
        let _ = task.await;
        Err("crashed".to_owned())
    }

    /// An invocation has no result. A panic of the function is a violation, although its step can be repeated.
    fn panicked(&self, error: &JoinError) -> Result<(), String> {
        if error.is_panic() {
            self.inner().judge.violated("panic", "a step panicked");
        }
        Err("the process ended".to_owned())
    }

    /// Lets every invocation that is held up go on, and waits for all that is under way.
    pub(super) async fn release(&self) {
        loop {
            let held = std::mem::take(&mut self.inner().held);
            let background = std::mem::take(&mut self.inner().background);
            if held.is_empty() && background.is_empty() {
                return;
            }
            for Held { release, process, task } in held {
                self.note(|| format!("      {} goes on", process.state().label));
                let (sender, ended) = oneshot::channel();
                process.state().end = Some(sender);
                release.notify_one();
                let _ = self.watch(&process, task, ended).await;
            }
            for task in background {
                let _ = task.await;
            }
        }
    }

    /// Whether anything is held up or under way.
    pub(super) fn is_busy(&self) -> bool {
        let inner = self.inner();
        !inner.held.is_empty() || !inner.background.is_empty()
    }

    /// Ends what would keep this world in memory.
    pub(super) fn end(&self) {
        let (warm, held) = {
            let mut inner = self.inner();
            (inner.warm.take(), std::mem::take(&mut inner.held))
        };
        held.iter().for_each(|held| held.task.abort());
        drop((warm, held));
    }

    /// The daily look. The error is that of the look itself, or says how its invocation ended.
    pub(super) async fn look(self: &Arc<Self>) -> Result<(), String> {
        self.note(|| "    the daily look".to_owned());
        self.deliver(json!({"Step": LOOK})).await
    }

    fn looked(&self, looked: &Looked, began: u32) {
        self.judge_call(false, None, began, began);
        let warnings = looked.as_ref().map_or(&[][..], |watched| &watched.noticed);
        // What a look finds in the midst of a rotation is what that rotation has left.
        let failed = warnings.iter().any(|warning| warning.code() != Code::PublishedSetChanged);
        self.ended(began, looked.is_err() || failed);
        for warning in warnings {
            self.note(|| {
                format!("      notices: [{}] {}", warning.code(), warning.fact(Fact::What).unwrap_or_default())
            });
        }
        let mut inner = self.inner();
        inner.judge.printed(&format!("{looked:?}"));
    }

    /// What must hold of a certificate after a step. While an order is tried again its TXT values stay, so a createSecret that fails leaves
    /// them to the next one of the same process.
    fn certified(&self, process: &Process, step: Step, report: &StepReport, began: u32) {
        let told = report.notes.warnings.iter().chain(report.outcome.as_ref().err());
        let told = told.map(Error::code).any(|code| matches!(code, Code::DnsUnavailable | Code::DnsRefused));
        let done = matches!(&report.outcome, Ok(Outcome::Promoted(Ok(_)) | Outcome::AlreadyPromoted(Ok(_))));
        let mut state = process.state();
        let mut inner = self.inner();
        let Inner { judge, pki, .. } = &mut *inner;
        state.values.extend(pki.left_by(began));
        state.values.retain(|value| pki.has(value));
        match &report.outcome {
            Ok(outcome) if step == Step::Create && !told => {
                let left = !std::mem::take(&mut state.values).is_empty();
                // Otherwise another process has got the certificate, and a later rotation removes what is left of this order.
                if left && *outcome == Outcome::Proposed {
                    judge.violated("txt-left", "createSecret has ended, and a TXT value of its order is still there");
                }
            }
            _ if told => state.values.clear(),
            _ => {}
        }
        if done {
            let seen = pki.done(&judge.current_user());
            seen.into_iter().for_each(|(kind, what)| judge.violated(kind, what));
        }
    }

    fn ended(&self, began: u32, failed: bool) {
        let mut inner = self.inner();
        let Inner { judge, verifiers, .. } = &mut *inner;
        verifiers.ended(began, failed).into_iter().for_each(|(kind, what)| judge.violated(kind, what));
    }

    fn reported(&self, process: &Process, event: &Event, report: &StepReport, began: u32) {
        self.judge_call(false, None, began, began);
        self.ended(began, report.outcome.is_err());
        self.certified(process, event.step, report, began);
        let mut inner = self.inner();
        let word = match &report.outcome {
            Ok(outcome) => outcome.as_str().to_owned(),
            Err(error) => format!("[{}] {}", error.code(), error.fact(Fact::What).unwrap_or_default()),
        };
        inner.judge.reported(report, began);
        match &report.outcome {
            // createSecret says no more than that there is nothing to make.
            Ok(Outcome::AlreadyCurrent) if event.step == Step::Create => {}
            Ok(outcome @ (Outcome::AlreadyCurrent | Outcome::Promoted(_) | Outcome::AlreadyPromoted(_))) => {
                let kept = |warning: &Error| matches!(warning.code(), Code::KeyNotRevoked | Code::KeyNotOurs);
                let kept = report.notes.warnings.iter().any(kept);
                inner.judge.called_done(&word, began, outcome.retired().is_ok() && !kept);
            }
            _ => {}
        }
        if let Err(error) = &report.outcome {
            inner.last_error = Some(error.clone());
        }
        drop(inner);
        for warning in &report.notes.warnings {
            self.note(|| format!("      warning: [{}]", warning.code()));
        }
        self.note(|| format!("      {} ends: {word}", event.step));
    }

    /// RotateSecret, and the rotation to its end. The error is the service's own, or says how the rotation failed.
    pub(super) async fn rotate(&self, secret: &str) -> Result<(), String> {
        self.time.pass(INTERVAL);
        self.rotate_now(secret).await
    }

    /// The same, without the time that passes between two rotations.
    async fn rotate_now(&self, secret: &str) -> Result<(), String> {
        self.note(|| format!("    RotateSecret {secret}"));
        let token = self.token();
        let body = json!({"SecretId": secret, "RotationLambdaARN": FUNCTION, "ClientRequestToken": token});
        let begun = self.service("RotateSecret", body).await;
        let outcome = self.service.wait_rotation(secret).await;
        match (begun, outcome) {
            (Ok(_), Some(crate::secretsmanager::RotationOutcome::Succeeded)) => Ok(()),
            // An unfinished rotation was run again.
            (Err(error), Some(crate::secretsmanager::RotationOutcome::Succeeded))
                if error == "InvalidRequestException" =>
            {
                Ok(())
            }
            (Err(error), _) if error != "InvalidRequestException" => Err(error),
            (_, outcome) => Err(format!("{outcome:?}")),
        }
    }
}

impl Inner {
    /// What credentials open.
    pub(super) fn outside(&self) -> All<'_> {
        (&self.server, &self.issuer, &self.places, &self.pki)
    }
}

impl Process {
    fn state(&self) -> MutexGuard<'_, ProcessState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, label: String, payload: Value, tracked: bool, began: u32) -> oneshot::Receiver<End> {
        let (sender, ended) = oneshot::channel();
        let end = Some(sender);
        let mut state = self.state();
        let values = std::mem::take(&mut state.values);
        *state = ProcessState {
            label,
            payload,
            tracked,
            first: true,
            began,
            asked: began,
            values,
            end,
            ..ProcessState::default()
        };
        ended
    }

    pub(super) fn world(&self) -> Result<Arc<World>, Error> {
        self.world.upgrade().ok_or_else(|| Error::new(Code::Internal))
    }

    /// A refused login: how many the invocation has made of the user.
    pub(super) fn refused(&self) -> u32 {
        let mut state = self.state();
        state.refused += 1;
        state.refused
    }

    pub(super) fn is_tracked(&self) -> bool {
        self.state().tracked
    }

    /// Begins a call: what people do before it, and what happens to it.
    pub(super) async fn enter(self: &Arc<Self>, name: &'static str, kind: Kind, about: &str) -> Result<Pass, Error> {
        let world = self.world()?;
        let mut pass = Pass { verdict: Verdict::Normal, crash_after: false, kind, number: None };
        let number = {
            let (tracked, first) = {
                let mut state = self.state();
                (state.tracked, std::mem::take(&mut state.first))
            };
            let mut inner = world.inner();
            if !inner.armed || !tracked {
                return Ok(pass);
            }
            inner.calls += 1;
            let number = inner.calls;
            inner.names.push((u32::from(first), name, kind));
            number
        };
        pass.number = Some(number);
        world.time.pass(CALL);
        if kind == Kind::Read {
            self.state().asked = number;
        }
        world.note(|| format!("{number:>4}  {} {name} {about}", self.state().label));
        let events: Vec<What> = {
            let mut inner = world.inner();
            let now = inner.events.iter().filter(|event| event.at == number).map(|event| event.what).collect();
            inner.events.retain(|event| event.at != number);
            now
        };
        let mut is_held = false;
        for what in events {
            world.note(|| format!("    ! {}", what.name()));
            match what {
                What::Act(act) => (world.hooks.act)(&world, act).await,
                What::Fault(fault) => {
                    world.inner().judge.faulted = true;
                    is_held |= self.suffer(&world, fault, &mut pass).await;
                }
            }
        }
        if is_held {
            self.hold().await;
        }
        Ok(pass)
    }

    /// Another invocation will run beside this one.
    fn note_beside(&self, world: &World) {
        let creates = self.state().label.starts_with(Step::Create.as_str());
        world.inner().judge.created_at_once |= creates;
    }

    /// Returns whether the invocation is held up here once all events of the call have happened.
    async fn suffer(self: &Arc<Self>, world: &Arc<World>, fault: Fault, pass: &mut Pass) -> bool {
        match fault {
            Fault::CrashBefore => self.crash().await,
            Fault::CrashAfter => pass.crash_after = true,
            Fault::ReplyLost => pass.verdict = Verdict::ReplyLost,
            Fault::TimeOut => pass.verdict = Verdict::TimeOut,
            Fault::Throttle => pass.verdict = Verdict::Throttle,
            Fault::StaleRead => {
                let mut inner = world.inner();
                let calls = inner.calls;
                inner.judge.answered_late(calls);
                pass.verdict = Verdict::Stale;
            }
            Fault::ReadOnly => pass.verdict = Verdict::ReadOnly,
            Fault::BadGateway => pass.verdict = Verdict::BadGateway,
            Fault::SentTwice => pass.verdict = Verdict::SentTwice,
            Fault::DeliveredTwice => self.state().again = true,
            Fault::AtOnce => {
                self.note_beside(world);
                let (payload, twin) = (self.state().payload.clone(), world.clone());
                let task = tokio::spawn(async move { drop(twin.deliver(payload).await) });
                together(world, task).await;
            }
            Fault::HeldUp => self.note_beside(world),
        }
        fault == Fault::HeldUp
    }

    /// Ends a call whose effect has happened.
    pub(super) async fn leave(self: &Arc<Self>, pass: Pass) {
        if let Some(world) = self.world.upgrade() {
            let changed = match pass.kind {
                Kind::Read | Kind::Connect | Kind::Ask | Kind::Get => false,
                Kind::Write => true,
                Kind::Session | Kind::Order | Kind::Put | Kind::Signed => {
                    let inner = world.inner();
                    inner.judge.is_behind(Outside::of(world.case, inner.outside()))
                }
            };
            // What a rotation of another secret does is a person's doing.
            if changed {
                let (tracked, began, asked) = {
                    let state = self.state();
                    (state.tracked, state.began, state.asked)
                };
                world.judge_call(!tracked, pass.number, began, asked);
            }
        }
        if pass.crash_after {
            self.crash().await;
        }
    }

    async fn crash(&self) {
        let end = self.state().end.take();
        if let Some(end) = end {
            let _ = end.send(End::Crashed);
        }
        std::future::pending::<()>().await;
    }

    async fn hold(&self) {
        let release = Arc::new(Notify::new());
        let end = self.state().end.take();
        if let Some(end) = end {
            let _ = end.send(End::HeldUp(release.clone()));
            release.notified().await;
        }
    }
}

/// Waits until the task has ended or is stuck, and leaves it running then.
async fn together(world: &Arc<World>, mut task: JoinHandle<()>) {
    if tokio::time::timeout(TOGETHER, &mut task).await.is_err() {
        world.inner().background.push(task);
    }
}

/// Runs a rotation beside what is under way, for as long as a person waits.
pub(super) async fn rotate_beside(world: &Arc<World>, secret: &'static str) {
    let beside = world.clone();
    let task = tokio::spawn(async move { drop(beside.rotate_now(secret).await) });
    together(world, task).await;
}

/// The daily look beside what is under way.
pub(super) async fn look_beside(world: &Arc<World>) {
    let beside = world.clone();
    let task = tokio::spawn(async move { drop(beside.look().await) });
    together(world, task).await;
}

/// A secret's name, from its name or its ARN.
pub(super) fn name_of(id: &str) -> &str {
    match id.rsplit_once(':') {
        Some((_, name)) => name.get(..name.len().saturating_sub(7)).unwrap_or(name),
        None => id,
    }
}
