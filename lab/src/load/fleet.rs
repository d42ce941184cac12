//! Many secrets that rotate at a time, in one account, under the service's own limits.

use super::kind::{Engine, Kind};
use super::server::{Credential, Server, TIMEOUT};
use super::timeline::Times;
use super::{Error, Functions, Progress, memory};
use crate::lambda::StepReport;
use crate::secretsmanager::Limits;
use crate::stack::{Lab, RotationReport, ServiceError};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How long whoever asks for a rotation waits after a throttled call. Twice as long each time, up to the second one.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often a throttled RotateSecret is asked for again.
const ATTEMPTS: u32 = 10;
/// How many problems are told. The rest is counted.
const TOLD: usize = 10;

/// What is to be rotated.
#[derive(Clone, Debug)]
pub struct FleetPlan {
    /// How many secrets, of the kinds in turn.
    pub secrets: usize,
    /// How many rotate at a time. The Lambda host starts a process for each step that no idle one can take.
    pub concurrency: usize,
    /// Calls a second of PutSecretValue, UpdateSecret and UpdateSecretVersionStage that the service allows.
    pub writes_per_second: u32,
    /// What the secrets hold, in turn.
    pub kinds: Vec<Kind>,
}

/// How a fleet's rotation went.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fleet {
    /// How many secrets there are.
    pub secrets: usize,
    /// How many rotated at a time.
    pub concurrency: usize,
    /// How many were rotated, and hold a credential that works.
    pub rotated: usize,
    /// From the first RotateSecret to the end of the last rotation.
    pub seconds: f64,
    /// `secrets` by `seconds`.
    pub rotations_per_second: f64,
    /// Whole rotations.
    pub rotation_milliseconds: Times,
    /// Each step.
    pub step_milliseconds: BTreeMap<String, Times>,
    /// The time limit of a step.
    pub limit_milliseconds: f64,
    /// Calls that the service refused with ThrottlingException.
    pub throttled: BTreeMap<String, u64>,
    /// The most memory that the lab had resident, with all its secrets and consumers, in bytes.
    pub lab_memory: Option<u64>,
    /// The most memory that a process of each function had resident, in bytes.
    pub function_memory: BTreeMap<String, u64>,
    /// How many processes of functions were started.
    pub processes: usize,
    /// Why this is no success.
    pub problems: Vec<String>,
}

/// A secret of an account.
#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) kind: Kind,
    pub(crate) secret: String,
}

struct Ended {
    member: usize,
    report: Result<RotationReport, ServiceError>,
}

/// Rotates many secrets once each.
///
/// # Errors
/// A server, a port or a secret could not be set up.
pub async fn rotate_fleet(plan: &FleetPlan, functions: &Functions, progress: Progress<'_>) -> Result<Fleet, Error> {
    memory::forget_peak();
    let limits = Limits::with_writes(plan.writes_per_second);
    let account = Account::start(plan, functions, limits.clone()).await?;
    let members = account.store(plan).await?;
    let throttled_before = limits.throttled();
    let account = Arc::new(account);
    let began = Instant::now();
    let ended = rotate_all(&account, &Arc::new(members), plan.concurrency, progress).await;
    let seconds = began.elapsed();
    let (ended, members) = ended?;
    let mut fleet = summary(plan, &ended, &members, seconds);
    fleet.lab_memory = memory::peak();
    fleet.processes = account.lab.host().environments();
    fleet.throttled = limits.throttled();
    for (operation, before) in throttled_before {
        if let Some(calls) = fleet.throttled.get_mut(&operation) {
            *calls -= before;
        }
    }
    fleet.throttled.retain(|_, calls| *calls > 0);
    account.prove(&mut fleet, &ended, &members).await;
    account.lab.shutdown().await;
    Ok(fleet)
}

/// One account: a lab with all functions, and a server of each engine.
pub(crate) struct Account {
    // Dropped in this order: first the users of the servers, then those.
    pub(crate) lab: Lab,
    pub(crate) arns: BTreeMap<Engine, String>,
    pub(crate) servers: BTreeMap<Engine, Server>,
}

impl Account {
    pub(crate) async fn start(plan: &FleetPlan, functions: &Functions, limits: Limits) -> Result<Self, Error> {
        let engines: BTreeSet<_> = plan.kinds.iter().map(|kind| kind.engine).collect();
        let mut servers = BTreeMap::new();
        for engine in engines {
            servers.insert(engine, Server::start(engine).await.map_err(Error::Setup)?);
        }
        let mut builders = BTreeMap::new();
        for engine in servers.keys() {
            let package = engine.function();
            let binary =
                functions.get(package).ok_or_else(|| Error::Setup(format!("there is no function {package}")))?;
            let same = servers.iter().filter(|(other, _)| other.function() == package);
            let same: Vec<_> = same.map(|(_, server)| server).collect();
            // An emergency of a fleet ends credentials early.
            let function = || Server::function(*engine, binary, &same).env("ALLOW_RETIRE", "true");
            builders.entry(package).or_insert_with(function);
        }
        let setup = |error: std::io::Error| Error::Setup(error.to_string());
        let first =
            builders.values().next().cloned().ok_or_else(|| Error::Setup("there is nothing to rotate".to_owned()))?;
        let lab = first.limits(limits).start().await.map_err(setup)?;
        let deployed: BTreeMap<_, _> =
            builders.into_iter().map(|(name, function)| (name, lab.deploy(function))).collect();
        let arn = |engine: &Engine| deployed.get(engine.function()).cloned().unwrap_or_default();
        let arns = servers.keys().map(|engine| (*engine, arn(engine))).collect();
        Ok(Self { lab, arns, servers })
    }

    /// Makes the users and the keys, and a secret for each.
    pub(crate) async fn store(&self, plan: &FleetPlan) -> Result<Vec<Member>, Error> {
        let kinds = plan.kinds.iter().cycle().take(plan.secrets);
        let named: Vec<_> = kinds.enumerate().map(|(number, kind)| (number, format!("app{number}"), *kind)).collect();
        let mut members = BTreeMap::new();
        for (engine, server) in &self.servers {
            let manager = self.create(&format!("load/manager/{}", engine.name()), &server.manager()).await?;
            let own = named.iter().filter(|(_, _, kind)| kind.engine == *engine);
            let names: Vec<_> = own.clone().map(|(_, name, kind)| (name.clone(), kind.strategy)).collect();
            let values = server.add(&names, &manager).await.map_err(Error::Setup)?;
            for ((number, name, kind), value) in own.zip(values) {
                let secret = self.create(&format!("load/{name}"), &value).await?;
                members.insert(*number, Member { kind: *kind, secret });
            }
        }
        // In turn again, so that no engine has to bear all rotations of a moment.
        Ok(members.into_values().collect())
    }

    async fn create(&self, name: &str, value: &Value) -> Result<String, Error> {
        let text = value.to_string();
        let created = patiently(|| self.lab.create_secret(name, &text)).await;
        created.map_err(|error| Error::Setup(error.to_string()))
    }

    /// Asks for a rotation, and again where the service is busy, and waits for its end.
    async fn rotate(&self, member: &Member) -> Result<RotationReport, ServiceError> {
        let token = uuid::Uuid::new_v4().to_string();
        let arn = self.arns.get(&member.kind.engine).map(String::as_str).unwrap_or_default();
        patiently(|| self.lab.rotate_by(arn, &member.secret, &token)).await
    }

    /// Logs in with AWSCURRENT of each secret, and with AWSPREVIOUS where that has to work.
    async fn prove(&self, fleet: &mut Fleet, ended: &[Ended], members: &[Member]) {
        for Ended { member, report } in ended {
            let Some(member) = members.get(*member) else { continue };
            let proved = match report {
                Err(error) => Err(format!("RotateSecret was refused: {error}")),
                Ok(report) if !report.rotated() => Err(match report.error() {
                    Some(error) => format!("{}: {}", error.error_type, error.error_message),
                    None => format!("the rotation ended as {:?}", report.outcome),
                }),
                Ok(_) => self.prove_one(member).await,
            };
            match proved {
                Ok(()) => fleet.rotated += 1,
                Err(problem) => fleet.problems.push(format!("{} {}: {problem}", member.kind, member.secret)),
            }
        }
        let more = fleet.problems.len().saturating_sub(TOLD);
        if more > 0 {
            fleet.problems.truncate(TOLD);
            fleet.problems.push(format!("and {more} more"));
        }
    }

    async fn prove_one(&self, member: &Member) -> Result<(), String> {
        let Some(server) = self.servers.get(&member.kind.engine) else { return Err("it has no server".to_owned()) };
        for (label, works) in [("AWSCURRENT", true), ("AWSPREVIOUS", member.kind.strategy.keeps_previous())] {
            let value = self.lab.secret_value(&member.secret, label).await.map_err(|error| error.to_string())?;
            if server.opens(&Credential::of(&value)).await? != works {
                return Err(format!("{label} is {}", if works { "refused" } else { "still accepted" }));
            }
        }
        Ok(())
    }
}

/// Calls Secrets Manager again where it is busy, as AWS's SDKs do.
async fn patiently<T, F>(call: impl Fn() -> F) -> Result<T, ServiceError>
where
    F: Future<Output = Result<T, ServiceError>>,
{
    let (mut pause, most) = BACK_OFF;
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) if error.kind == "ThrottlingException" => tokio::time::sleep(pause).await,
            other => return other,
        }
        pause = (pause * 2).min(most);
    }
    call().await
}

type All = (Vec<Ended>, Arc<Vec<Member>>);

async fn rotate_all(
    account: &Arc<Account>,
    members: &Arc<Vec<Member>>,
    concurrency: usize,
    progress: Progress<'_>,
) -> Result<All, Error> {
    let (next, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut workers = JoinSet::new();
    for _ in 0..concurrency.clamp(1, members.len().max(1)) {
        let (account, members) = (Arc::clone(account), Arc::clone(members));
        let (next, ended) = (Arc::clone(&next), Arc::clone(&ended));
        workers.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(member) = members.get(number) else { return };
                let report = account.rotate(member).await;
                ended.lock().unwrap_or_else(PoisonError::into_inner).push(Ended { member: number, report });
            }
        });
    }
    let done = || ended.lock().unwrap_or_else(PoisonError::into_inner).len();
    let mut shown = tokio::time::interval(Duration::from_millis(100));
    loop {
        tokio::select! {
            worker = workers.join_next() => match worker {
                Some(Ok(())) => {}
                Some(Err(error)) => return Err(Error::Rotation(format!("a rotation was not carried out: {error}"))),
                None => break,
            },
            _ = shown.tick() => progress(done(), members.len()),
        }
    }
    progress(done(), members.len());
    let ended = std::mem::take(&mut *ended.lock().unwrap_or_else(PoisonError::into_inner));
    Ok((ended, Arc::clone(members)))
}

#[expect(clippy::cast_precision_loss, reason = "counts of secrets are far below 2^52")]
fn summary(plan: &FleetPlan, ended: &[Ended], members: &[Member], took: Duration) -> Fleet {
    let reports: Vec<_> = ended.iter().filter_map(|ended| ended.report.as_ref().ok()).collect();
    let steps = || reports.iter().flat_map(|report| &report.steps);
    let names: BTreeSet<_> = steps().map(|step| step.step.clone()).collect();
    let of = |name: &str| Times::of(steps().filter(|step| step.step == name).map(took_by));
    let mut function_memory = BTreeMap::new();
    for Ended { member, report } in ended {
        let (Some(member), Ok(report)) = (members.get(*member), report) else { continue };
        let most = report.steps.iter().filter_map(|step| step.outcome.peak_memory).max().unwrap_or_default();
        let known = function_memory.entry(member.kind.engine.function().to_owned()).or_insert(0);
        *known = most.max(*known);
    }
    let late = steps().filter(|step| took_by(step) > TIMEOUT).count();
    let problems =
        if late > 0 { vec![format!("{late} steps took longer than {} s", TIMEOUT.as_secs())] } else { vec![] };
    let seconds = took.as_secs_f64();
    Fleet {
        secrets: members.len(),
        concurrency: plan.concurrency,
        seconds: (seconds * 10.0).round() / 10.0,
        rotations_per_second: (members.len() as f64 / seconds.max(0.001) * 10.0).round() / 10.0,
        rotation_milliseconds: Times::of(
            reports.iter().filter_map(|report| Some(report.steps.last()?.ended - report.steps.first()?.began)),
        ),
        step_milliseconds: names.into_iter().map(|name| (name.clone(), of(&name))).collect(),
        limit_milliseconds: TIMEOUT.as_secs_f64() * 1000.0,
        function_memory,
        problems,
        ..Fleet::default()
    }
}

/// What counts against the time limit: not the start of a new process.
fn took_by(step: &StepReport) -> Duration {
    step.outcome.duration
}
