//! A server that fails in the middle of a step: while the n-th external call of the step is held, the server is stopped,
//! restarted, frozen, made read-only or filled with connections. The step then ends by itself, with an error that says so if it
//! had anything left to do at the server. Once the trouble is over, the same rotation goes on to its end.
//!
//! Each test tries a third of the calls, or a sixth where the server hangs, and all calls with `LOCKSTEP_ALL`.

use integration_tests::failure::retryable;
use integration_tests::{Options, STEPS, Secret, Server, Strategy, World, admitted, world_with};
use lab::disturb::Fault;
use lab::servers::mysql::{Kind, MySql};
use lab::servers::postgres::Postgres;
use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

on! { (postgres, mysql, mariadb):
    a_server_that_is_stopped;
    a_server_that_is_restarted;
    a_server_that_hangs;
    a_server_that_becomes_read_only;
    a_server_that_runs_out_of_connections;
}

/// Enough for a step with a healthy server, and short for one that waits for a frozen server.
const SHORT: Duration = Duration::from_secs(4);
/// What the template gives a step.
const USUAL: Duration = Duration::from_secs(30);
/// How a step ends that waits for longer than it may.
const SILENT: &[&str] = &["server-silent", "time-spent"];
/// A step that succeeds in spite of the trouble.
const UNNOTICED: &str = "nothing noticed";
/// Few, so that they are soon used up.
const CONNECTIONS: &str = "20";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Stopped,
    Restarted,
    Frozen,
    ReadOnly,
    Full,
}

impl Trouble {
    /// The codes of the trouble, in which a step may end then. All but the one about a read-only server say that trying again helps.
    fn codes(self) -> &'static [&'static str] {
        match self {
            Self::Stopped => &["connection-refused", "connection-lost"],
            Self::Restarted => &["connection-lost"],
            Self::Frozen => SILENT,
            // A server that becomes read-only by a restart ends its connections.
            Self::ReadOnly => &["server-read-only", "connection-lost"],
            Self::Full => &["too-many-connections"],
        }
    }
}

/// How a server is brought into trouble.
trait Troubled: Server {
    /// No user can change anything any more, or again can.
    fn read_only(&self, on: bool) -> impl Future<Output = ()>;
    /// A session of the superuser, if the server lets one in.
    fn knock(&self) -> impl Future<Output = Result<Self::Session, lab::servers::Error>>;
    /// Counts the server's sessions.
    const SESSIONS: &'static str;
    fn freeze(&self);
    fn thaw(&self);
}

async fn a_server_that_is_stopped<O: Options<Server: Troubled>>(options: O) {
    in_the_middle(options, Trouble::Stopped).await;
}

async fn a_server_that_is_restarted<O: Options<Server: Troubled>>(options: O) {
    in_the_middle(options, Trouble::Restarted).await;
}

async fn a_server_that_hangs<O: Options<Server: Troubled>>(options: O) {
    in_the_middle(options, Trouble::Frozen).await;
}

async fn a_server_that_becomes_read_only<O: Options<Server: Troubled>>(options: O) {
    in_the_middle(options, Trouble::ReadOnly).await;
}

async fn a_server_that_runs_out_of_connections<O: Options<Server: Troubled>>(options: O) {
    in_the_middle(options, Trouble::Full).await;
}

async fn in_the_middle<O: Options<Server: Troubled>>(options: O, trouble: Trouble) {
    let options = options.setting("max_connections", CONNECTIONS);
    let limit = if trouble == Trouble::Frozen { SHORT } else { USUAL };
    let world = world_with(options, |function| function.timeout(limit)).await;
    let stride = match trouble {
        _ if std::env::var_os("LOCKSTEP_ALL").is_some() => 1,
        // Each takes as long as the step may.
        Trouble::Frozen => 6,
        _ => 3,
    };
    let mut ends = BTreeMap::new();
    for strategy in world.server.strategies() {
        let name = if strategy == Strategy::AlternatingUsers { "base" } else { "app" };
        let secret = world.user_of(strategy, name).await;
        for (place, step) in STEPS.into_iter().enumerate().skip(1) {
            // Other places for each kind of trouble and step.
            let mut number = 1 + (place + trouble as usize) % stride;
            while let Some(end) = strike(&world, &secret, strategy, (step, number), trouble).await {
                *ends.entry(end).or_insert(0) += 1;
                number += stride;
            }
        }
    }
    // A trouble that nobody notices is none.
    assert!(trouble.codes().iter().any(|code| ends.contains_key(*code)), "{trouble:?}: {ends:?}");
}

/// Rotates with trouble at this call of the step, and then to the end. Returns how the step ended; none if there was no such call.
async fn strike<S: Troubled>(
    world: &World<S>,
    secret: &Secret<'_, S>,
    strategy: Strategy,
    (step, number): (&str, usize),
    trouble: Trouble,
) -> Option<String> {
    let at = format!("{strategy:?}, {step}, call {number}, {trouble:?}");
    let token = secret.registered().await;
    let before = STEPS.iter().take_while(|one| **one != step).copied().collect::<Vec<_>>();
    for step in before {
        patiently(secret, step, &token, &at).await;
    }
    let disturb = world.lab.disturb();
    disturb.restart();
    disturb.on_call(number, Fault::Hold);
    let mut invoked = pin!(world.lab.invoke_step(step, &secret.arn, &token));
    let outcome = tokio::select! {
        outcome = &mut invoked => match outcome.result() {
            Ok(_) => None,
            // A slow machine: the step has spent its time before it came to the call.
            Err(error) if SILENT.contains(&error.error_type.as_str()) => Some(outcome),
            Err(error) => panic!("{at}, undisturbed: {error:?}"),
        },
        () = disturb.held() => {
            let crowd = begin(&world.server, trouble).await;
            disturb.release();
            let outcome = invoked.await;
            drop(crowd);
            end(&world.server, trouble).await;
            Some(outcome)
        }
    };
    let end = outcome.map(|outcome| match outcome.result() {
        Ok(_) => UNNOTICED.to_owned(),
        Err(error) => {
            // The trouble takes its time to come, and the call is held meanwhile.
            let stated = [trouble.codes(), SILENT].concat().contains(&error.error_type.as_str());
            assert!(stated, "{at}: {error:?}");
            assert!(retryable(&outcome) || error.error_type == "server-read-only", "{at}: {error:?}");
            error.error_type
        }
    });
    disturb.restart();
    assert!(!strategy.keeps_previous() || secret.opens("AWSCURRENT").await, "{at}: consumers are refused");
    if end.as_deref().is_none_or(|end| end == UNNOTICED) {
        // What the step said to have done is done.
        let label = if step == "finishSecret" { "AWSCURRENT" } else { "AWSPENDING" };
        assert_eq!(secret.holders(label).await, [token.as_str()], "{at}");
        assert!(secret.opens(label).await, "{at}: {label} is refused");
    }
    for step in STEPS {
        patiently(secret, step, &token, &format!("{at}, then")).await;
    }
    secret.arrived(&token).await;
    end
}

/// A step that has to succeed. Secrets Manager repeats one that has spent its time, which is short here, and one that has met the lock
/// of a session whose end the server has not noticed yet.
async fn patiently<S: Server>(secret: &Secret<'_, S>, step: &str, token: &str, at: &str) {
    for _ in 0..3 {
        match secret.step(step, token).await {
            Ok(_) => return,
            Err(error) if [SILENT, &["lock-timeout"]].concat().contains(&error.error_type.as_str()) => {}
            Err(error) => panic!("{at} {step}: {error:?}"),
        }
    }
    panic!("{at} {step}: three attempts were not enough");
}

async fn begin<S: Troubled>(server: &S, trouble: Trouble) -> Vec<S::Session> {
    let mut crowd = Vec::new();
    match trouble {
        Trouble::Stopped => server.down(),
        Trouble::Restarted => {
            server.down();
            server.up().await;
        }
        Trouble::Frozen => server.freeze(),
        Trouble::ReadOnly => server.read_only(true).await,
        Trouble::Full => {
            while let Ok(session) = server.knock().await {
                crowd.push(session);
            }
            assert!(crowd.len() > 10, "only {} sessions", crowd.len());
        }
    }
    crowd
}

async fn end<S: Troubled>(server: &S, trouble: Trouble) {
    match trouble {
        Trouble::Stopped => server.up().await,
        Trouble::Restarted => {}
        Trouble::Frozen => server.thaw(),
        Trouble::ReadOnly => server.read_only(false).await,
        Trouble::Full => {
            let session = admitted(async || server.knock().await).await;
            // Sessions that were closed just now keep their slots for a moment.
            let few = async || match S::asked(&session, S::SESSIONS).await.first().and_then(|count| count.parse().ok())
            {
                Some(0..=5_u32) => Ok(()),
                count => Err(count),
            };
            admitted(few).await;
        }
    }
}

impl Troubled for Postgres {
    /// As after a failover: the primary has become a standby.
    async fn read_only(&self, on: bool) {
        let signal = self.data_dir().join("standby.signal");
        Server::down(self);
        if on {
            fs::write(signal, "").unwrap();
        } else {
            fs::remove_file(signal).unwrap();
        }
        Server::up(self).await;
    }
    async fn knock(&self) -> Result<Self::Session, lab::servers::Error> {
        self.connect_superuser().await
    }
    const SESSIONS: &'static str = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    fn freeze(&self) {
        self.freeze().unwrap();
    }
    fn thaw(&self) {
        self.thaw().unwrap();
    }
}

impl Troubled for MySql {
    async fn read_only(&self, on: bool) {
        let setting = match (self.kind(), on) {
            (Kind::MySql, true) => "super_read_only = ON",
            (Kind::MySql, false) | (Kind::MariaDb, false) => "read_only = OFF",
            // This server's superuser may write all the same.
            (Kind::MariaDb, true) => "read_only = ON",
        };
        Server::sql(self, &format!("SET GLOBAL {setting}")).await;
    }
    async fn knock(&self) -> Result<Self::Session, lab::servers::Error> {
        self.connect_superuser().await.map(tokio::sync::Mutex::new)
    }
    const SESSIONS: &'static str = "SELECT COUNT(*) FROM information_schema.PROCESSLIST";
    fn freeze(&self) {
        self.freeze().unwrap();
    }
    fn thaw(&self) {
        self.thaw().unwrap();
    }
}
