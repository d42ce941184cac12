//! One secret that rotates, and its applications.

use super::client::Adapter;
use super::clients::{Place, client};
use super::programs::{Applications, Runtimes};
use super::summary::{Row, Summary};
use super::trouble::{Troubles, trouble};
use super::worker::Workers;
use crate::lambda::{ACCESS_KEY_PREFIX, REGION};
use crate::load::server::{Credential, Server};
use crate::load::{Error, Kind, Progress, Strategy};
use crate::relay::Relay;
use crate::stack::{Lab, ServiceError};
use lockstep_secret::aws_sdk_secretsmanager::config::retry::RetryConfig;
use lockstep_secret::aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use lockstep_secret::aws_sdk_secretsmanager::{Client as ServiceClient, Config};
use lockstep_secret::source::SecretsManager;
use lockstep_secret::{Builder, RotatingSecret};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::runtime::{self, Runtime};

/// Before the first rotation and after the last one, and at most between two.
const PAUSE: u64 = 300;
/// How often a rotation is repeated that ended in an error because of the trouble.
const REPETITIONS: usize = 5;
/// A refreshing secret reads several times in a rotation.
const REFRESH: Duration = Duration::from_millis(100);
/// A keeping secret reads nothing by itself between two rotations.
const KEEP: Duration = Duration::from_secs(60);
/// A search takes 30 seconds at most.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Within so much time connections of an old version close.
const RETIRE: Duration = Duration::from_millis(500);
/// Rotations are days apart in practice and a second here, so refused logins cause more reads than the crate's default allows.
const FORCED: (u32, Duration) = (50, Duration::from_millis(20));

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Rotations, one after another.
    pub times: u32,
    /// Workers for each adapter and each of its two secrets in memory.
    pub workers: u32,
    /// Whether logins and calls are cut, delayed, refused and throttled.
    pub trouble: bool,
    /// The least time between two rotations.
    pub every: Duration,
    /// What the trouble is drawn by.
    pub seed: u64,
}

/// Rotates one secret of this kind while workers query through every adapter.
///
/// # Errors
/// A server could not be set up, or a rotation failed again and again.
pub async fn run(
    kind: Kind,
    function: &Path,
    plan: Plan,
    programs: Option<&Runtimes>,
    progress: Progress<'_>,
) -> Result<Summary, Error> {
    let server = Server::start(kind.engine).await.map_err(Error::Setup)?;
    let lab = Server::function(kind.engine, function, &[&server]).start().await;
    let lab = lab.map_err(|error| Error::Setup(error.to_string()))?;
    let secret = store(&lab, &server, kind).await?;
    let relay = Relay::start(server.port(), crate::disturb::Disturb::new()).await;
    let relay = relay.map_err(|error| Error::Setup(error.to_string()))?;
    let scene = Scene { kind, plan, relay, lab, server, secret };
    scene.play(programs, progress).await
}

async fn store(lab: &Lab, server: &Server, kind: Kind) -> Result<String, Error> {
    let setup = |error: ServiceError| Error::Setup(error.to_string());
    let manager = lab.create_secret("consumers/manager", &server.manager().to_string()).await.map_err(setup)?;
    let values = server.add(&[("app".to_owned(), kind.strategy)], &manager).await.map_err(Error::Setup)?;
    let value = values.first().map(ToString::to_string).unwrap_or_default();
    lab.create_secret("consumers/app", &value).await.map_err(setup)
}

struct Scene {
    kind: Kind,
    plan: Plan,
    // Dropped in this order: first the users of the server, then that itself.
    relay: Relay,
    lab: Lab,
    server: Server,
    secret: String,
}

/// The workers of an adapter.
struct Team {
    adapter: Adapter,
    refreshing: bool,
    secret: RotatingSecret,
    workers: Workers,
    _process: Process,
}

/// A runtime with threads of its own, as an application has a process of its own. What is computed for the lab, for the function's
/// logins and for other applications does not hold this one's tasks up. `sqlx` gives way 819 times in one login to PostgreSQL.
struct Process(Option<Runtime>);

impl Process {
    fn start() -> Result<Self, Error> {
        let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        runtime.map(|runtime| Self(Some(runtime))).map_err(|error| Error::Setup(format!("no threads: {error}")))
    }

    /// Runs something there.
    async fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> Option<T> {
        self.0.as_ref()?.spawn(what).await.ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A runtime may not be waited for within another one.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Scene {
    async fn play(self, programs: Option<&Runtimes>, progress: Progress<'_>) -> Result<Summary, Error> {
        let began = Instant::now();
        let mut summary = Summary::new(self.kind);
        let mut teams = Vec::new();
        for adapter in Adapter::of(self.kind.engine) {
            for refreshing in [true, false] {
                teams.push(self.team(*adapter, refreshing).await?);
            }
        }
        let applications = match programs {
            Some(runtimes) => {
                let (engine, ca) = (self.kind.engine, self.server.ca_pem());
                Some(Applications::start(runtimes, engine, &self.lab, &self.secret, ca).await.map_err(Error::Setup)?)
            }
            None => None,
        };
        let made = Mutex::new(Troubles::default());
        let rotated = {
            let rotating = self.rotate(&mut summary, &teams, progress);
            let disturb = self.lab.disturb();
            tokio::select! {
                rotated = rotating => rotated,
                () = trouble(&self.relay, disturb, self.plan.seed, &made), if self.plan.trouble => Ok(()),
            }
        };
        // What the trouble has left behind. The last queries are to end.
        self.lab.disturb().restart();
        let _ = self.relay.set(crate::relay::Mode::Forward).await;
        rotated?;
        for team in teams {
            let seen = team.workers.finish().await;
            let counts = team.secret.health().counts;
            summary.add(Row::new(team.adapter.name(), team.refreshing, &seen, counts), &seen);
        }
        if let Some(applications) = applications {
            applications.finish().await.map_err(Error::Setup)?.into_iter().for_each(|row| summary.add_program(row));
        }
        summary.troubles = *made.lock().unwrap_or_else(PoisonError::into_inner);
        summary.seconds = began.elapsed().as_secs_f64();
        if self.kind.strategy == Strategy::SingleUser && summary.refused_without == 0 {
            summary.problems.push("no login was refused without the crate, so this shows nothing".to_owned());
        }
        self.lab.shutdown().await;
        Ok(summary)
    }

    async fn team(&self, adapter: Adapter, refreshing: bool) -> Result<Team, Error> {
        let place =
            Place { port: self.relay.port(), ca: self.server.ca_pem().to_owned(), connections: self.plan.workers };
        let builder = self.rotating_secret(refreshing);
        let (engine, workers) = (self.kind.engine, self.plan.workers);
        let process = Process::start()?;
        let start = async move {
            let secret = builder.start().await.map_err(|error| error.to_string())?;
            let client = client(engine, adapter, &secret, &place)?;
            Ok((secret, Workers::start(client, workers)))
        };
        let started = process.run(start).await.unwrap_or_else(|| Err("an application panicked".to_owned()));
        let (secret, workers) = started.map_err(Error::Setup)?;
        Ok(Team { adapter, refreshing, secret, workers, _process: process })
    }

    fn rotating_secret(&self, refreshing: bool) -> Builder {
        // The lab makes trouble for calls with such an access key.
        let key = format!("{ACCESS_KEY_PREFIX}CONSUMERS");
        let config = Config::builder()
            .behavior_version(BehaviorVersion::v2026_01_12())
            .region(Region::from_static(REGION))
            .credentials_provider(Credentials::new(key, "lab", None, None, "lab"))
            .endpoint_url(self.lab.url())
            .retry_config(RetryConfig::standard().with_initial_backoff(Duration::from_millis(100)))
            .build();
        let source = SecretsManager::new(ServiceClient::from_conf(config), &self.secret);
        RotatingSecret::builder(source)
            .refresh_every(if refreshing { REFRESH } else { KEEP })
            .retire_over(RETIRE)
            .forced_fetches(FORCED.0, FORCED.1)
    }

    async fn rotate(&self, summary: &mut Summary, teams: &[Team], progress: Progress<'_>) -> Result<(), Error> {
        let times = usize::try_from(self.plan.times).unwrap_or(usize::MAX);
        for number in 0..times {
            progress(number, times);
            // Not always the same, so that rotations meet the workers in all phases.
            let pause = Duration::from_millis(50 + (u64::try_from(number).unwrap_or(0) * 37) % PAUSE);
            tokio::time::sleep(pause + self.plan.every).await;
            let before = self.current().await.map_err(Error::Rotation)?;
            self.rotate_once(number, summary).await?;
            let queries: Vec<_> = teams.iter().map(|team| team.workers.ended()).collect();
            // The application without the crate.
            if !self.server.opens(&before).await.map_err(Error::Rotation)? {
                summary.refused_without += 1;
            }
            caught_up(teams, &queries).await;
        }
        tokio::time::sleep(Duration::from_millis(PAUSE)).await;
        progress(times, times);
        Ok(())
    }

    async fn rotate_once(&self, number: usize, summary: &mut Summary) -> Result<(), Error> {
        let failed = |reason: String| Error::Rotation(format!("{}: rotation {}: {reason}", self.kind, number + 1));
        let mut reason = String::new();
        for _ in 0..REPETITIONS {
            let report = self.lab.rotate(&self.secret).await.map_err(|error| failed(error.to_string()))?;
            if report.rotated() {
                summary.rotations += 1;
                return Ok(());
            }
            summary.repeated_rotations += 1;
            let error = report.error().map(|error| format!("{}: {}", error.error_type, error.error_message));
            reason = error.unwrap_or_else(|| format!("{:?}", report.outcome));
        }
        Err(failed(reason))
    }

    async fn current(&self) -> Result<Credential, String> {
        let value = self.lab.secret_value(&self.secret, "AWSCURRENT").await;
        value.map(|value| Credential::of(&value)).map_err(|error| format!("the secret could not be read: {error}"))
    }
}

/// Waits until each adapter has ended a query since the rotation. Rotations are days apart in practice, and no login takes that long. On
/// a busy machine it can take longer than a rotation.
async fn caught_up(teams: &[Team], before: &[usize]) {
    let behind = || teams.iter().zip(before).any(|(team, before)| team.workers.ended() <= *before);
    // A query ends by itself, as an error if need be. The limit is for an adapter that hangs, which the numbers then show.
    let patience = Instant::now() + CATCH_UP;
    while behind() && Instant::now() < patience {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
