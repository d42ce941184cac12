//! `cargo lab fleet`: many secrets in waves, or at once, by the state machine of `functions/fleet`.

use super::kinds::{built, chosen};
use super::named::named;
use super::screen::Screen;
use super::setup::{function, setup};
use super::stop::Stop;
use super::target::Function;
use crate::build::Profile;
use crate::fleet::FleetLab;
use crate::load::{Engine, FleetPlan, Strategy};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What hangs is cut off.
const LIMIT: Duration = Duration::from_secs(3_600);
/// So many failures are printed.
const TOLD: usize = 10;

/// What is done.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Say what would be done, and do nothing.
    Plan,
    /// Rotate each secret once, in waves.
    Run,
    /// Rotate until the credentials that are current now are dead.
    Emergency,
}

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(super) struct Fleet {
    /// Say it, do it, or do it after a leak.
    #[arg(value_enum, default_value_t = Mode::Plan)]
    mode: Mode,
    /// How many secrets.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    secrets: u32,
    /// Only this server [default: all].
    #[arg(long, value_parser = named(&Engine::ALL, Engine::name, "no such server"))]
    engine: Option<Engine>,
    /// Only this strategy [default: all that the server has].
    #[arg(long, value_parser = named(&Strategy::ALL, Strategy::name, "no such strategy"))]
    strategy: Option<Strategy>,
    /// The first wave: a number, or a percentage.
    #[arg(long, default_value = "5%")]
    canary: String,
    /// Rotations that begin in a second.
    #[arg(long, default_value_t = 25, value_parser = clap::value_parser!(u32).range(1..=25))]
    per_second: u32,
    /// Secrets of one server at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u32).range(1..=100))]
    per_host: u32,
    /// Calls in a second that write values and labels, which the service allows.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50))]
    writes: u32,
    /// Print one JSON object to stdout at the end; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
    /// Build the functions optimised, as they are deployed. That takes minutes.
    #[arg(long)]
    release: bool,
}

/// Runs the state machine, and tells what it says.
pub(super) async fn fleet(screen: &Screen, arguments: &Fleet) -> Result<(), Stop> {
    let kinds = chosen(arguments.engine, arguments.strategy)?;
    let canary = match arguments.canary.parse::<u64>() {
        Ok(count) => json!(count),
        Err(_) => json!(arguments.canary),
    };
    let functions = built(screen, &kinds, arguments.release).await?;
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let own = function(screen, "lockstep-fleet", &Function::Built(profile)).await?;
    let secrets = usize::try_from(arguments.secrets).unwrap_or(usize::MAX);
    screen.heading(&format!("Fleet: {secrets} secrets"));
    screen.pending("servers, secrets and Step Functions");
    let plan = FleetPlan { secrets, concurrency: 1, writes_per_second: arguments.writes, kinds };
    let fleet = FleetLab::start(&plan, &functions, &own, &[]).await.map_err(setup)?;
    screen.settle(true, "servers, secrets and Step Functions");
    let order = json!({
        "run": !matches!(arguments.mode, Mode::Plan),
        "name": "lab",
        "mode": if matches!(arguments.mode, Mode::Emergency) { "emergency" } else { "rotate" },
        "why": "cargo lab fleet",
        "select": {"names": ["load/app*"]},
        "waves": {"canary": canary, "growth": 4, "pauseSeconds": 0},
        "pace": {"perSecond": arguments.per_second, "perHost": arguments.per_host},
        "patienceSeconds": 120,
    });
    let began = Instant::now();
    let execution = fleet.execute("lab", &order).await.map_err(setup)?;
    let ended = fleet.ended(&execution, LIMIT).await.map_err(setup)?;
    let took = began.elapsed();
    let events = fleet.history(&execution).await.map_err(setup)?.len();
    fleet.shutdown().await;
    let good = ended.status == "SUCCEEDED" && ended.answer.get("failures").is_none_or(|it| it == &json!([]));
    screen.settle(good, &format!("{} in {:.1} s", ended.status.to_lowercase(), took.as_secs_f64()));
    for name in ["waves", "rotations", "rounds", "tally", "slowestDeathMilliseconds", "busiestHost", "secondsAtLeast"] {
        if let Some(value) = ended.answer.get(name).filter(|value| !value.is_null()) {
            screen.fact(name, &value.to_string());
        }
    }
    let failures = ended.answer.get("failures").and_then(Value::as_array);
    failures.into_iter().flatten().take(TOLD).for_each(|failure| screen.problem(&failure.to_string()));
    if ended.answer.get("errorMessage").is_some() {
        screen.problem(&ended.answer.to_string());
    }
    screen.json(&json!({
        "outcome": if good { "ok" } else { "failed" }, "seconds": took.as_secs_f64(), "eventsOfTheExecution": events,
        "answer": ended.answer,
    }));
    if good { Ok(()) } else { Err(Stop::Failed) }
}
