//! `cargo lab load`: rotations under load.

use super::bar::Bar;
use super::kinds::{built, check_picture, chosen, write_picture};
use super::named::named;
use super::rotate::setup_json;
use super::screen::{Screen, Style};
use super::setup::setup;
use super::stop::Stop;
use crate::load::{
    self, Consumption, Engine, Error, Fleet, FleetPlan, Functions, Kind, Strategy, Summary, Times, consume,
    rotate_fleet, svg,
};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// How finely the picture shows a rotation.
const BINS: usize = 120;
/// What the picture shows before and after a rotation, at most: less than half of the pause between two.
const MARGIN: Duration = Duration::from_millis(45);

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(super) struct Load {
    /// Only this server [default: all].
    #[arg(long, value_parser = named(&Engine::ALL, Engine::name, "no such server"))]
    engine: Option<Engine>,
    /// Only this strategy [default: all that the server has].
    #[arg(long, value_parser = named(&Strategy::ALL, Strategy::name, "no such strategy"))]
    strategy: Option<Strategy>,
    /// How often the secret of each strategy rotates while consumers log in. 0 leaves this part out.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=1000))]
    times: u32,
    /// Logins in a second, of all consumers of a secret together.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(20..=5000))]
    logins: u32,
    /// How many secrets the fleet has, of all strategies in turn. Each rotates once. 0 leaves this part out.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    secrets: u32,
    /// How many secrets of the fleet rotate at a time.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
    concurrency: u32,
    /// Calls in a second that write values and labels, which the service allows the fleet. Fewer than the service's 50 are what other
    /// programs of the account leave.
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=50))]
    writes: u32,
    /// Write a picture of the logins over a rotation to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Print one JSON object to stdout at the end; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
    /// Build the functions optimised, as they are deployed. That takes minutes.
    #[arg(long)]
    release: bool,
}

#[derive(Serialize)]
struct Report<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    consumers: Option<&'a [Summary]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fleet: Option<&'a Fleet>,
}

/// Puts rotations under load, and tells what that shows.
pub(super) async fn load(screen: &Screen, arguments: &Load) -> Result<(), Stop> {
    run(screen, arguments).await.inspect_err(|stop| setup_json(screen, stop))
}

async fn run(screen: &Screen, arguments: &Load) -> Result<(), Stop> {
    let kinds = kinds(arguments)?;
    let functions = built(screen, &kinds, arguments.release).await?;
    let rows = if arguments.times > 0 { consumers(screen, arguments, &kinds, &functions).await? } else { Vec::new() };
    if let Some(path) = &arguments.plot {
        write_picture(screen, path, svg(&rows))?;
    }
    let fleet = if arguments.secrets > 0 { Some(fleet(screen, arguments, kinds, &functions).await?) } else { None };
    let summaries: Vec<_> = rows.into_iter().map(|(summary, _)| summary).collect();
    let problems = summaries.iter().flat_map(|summary| &summary.problems);
    let failed = problems.chain(fleet.iter().flat_map(|fleet| &fleet.problems)).next().is_some();
    screen.json(&Report {
        outcome: if failed { "failed" } else { "ok" },
        consumers: (!summaries.is_empty()).then_some(&summaries),
        fleet: fleet.as_ref(),
    });
    if failed { Err(Stop::Failed) } else { Ok(()) }
}

/// What is to be rotated, if the arguments fit together.
fn kinds(arguments: &Load) -> Result<Vec<Kind>, Stop> {
    let usage = |text: &str| Err(Stop::Usage(text.to_owned()));
    let kinds = chosen(arguments.engine, arguments.strategy)?;
    if arguments.times == 0 && arguments.secrets == 0 {
        return usage("--times 0 and --secrets 0 leave nothing to do");
    }
    if let Some(path) = &arguments.plot {
        if arguments.times == 0 {
            return usage("--plot shows the logins of consumers, and --times 0 leaves them out");
        }
        check_picture(path)?;
    }
    Ok(kinds)
}

fn stopped(screen: &Screen, error: Error) -> Stop {
    match error {
        Error::Setup(reason) => setup(reason),
        Error::Rotation(reason) => {
            screen.settle(false, &reason);
            screen.json(&serde_json::json!({ "outcome": "failed", "problems": [reason] }));
            Stop::Failed
        }
    }
}

async fn consumers(
    screen: &Screen,
    arguments: &Load,
    kinds: &[Kind],
    functions: &Functions,
) -> Result<Vec<(Summary, load::Profile)>, Stop> {
    let plan = Consumption { times: arguments.times, logins_per_second: arguments.logins };
    screen.heading(&format!(
        "Consumers: {} logins a second wanted, {} rotations each",
        arguments.logins, arguments.times
    ));
    let mut rows: Vec<(Summary, load::Profile)> = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        let bar = Bar::default();
        let times = usize::try_from(plan.times).unwrap_or(usize::MAX);
        let progress = |done: usize, _| bar.show(number * times + done, kinds.len() * times);
        let Some(binary) = functions.get(kind.engine.function()) else { continue };
        let record = consume(*kind, binary, plan, &progress).await;
        bar.clear();
        let record = record.map_err(|error| stopped(screen, error))?;
        let summary = record.summary(*kind);
        show_consumers(screen, *kind, &summary);
        rows.push((summary, record.profile(BINS, MARGIN)));
    }
    Ok(rows)
}

fn show_consumers(screen: &Screen, kind: Kind, summary: &Summary) {
    let Summary { rereading, keeping, logins_per_second, rotations, .. } = summary;
    let name = kind.to_string();
    screen.settle(
        summary.problems.is_empty(),
        &format!(
            "{name:<28} {:>6} logins ({logins_per_second:.0} a second), {rotations} rotations",
            rereading.all() + keeping.all()
        ),
    );
    let line = |text: &str| screen.line(&format!("      {text}"));
    line(&format!("refused: {} of {} that read the secret before each login", rereading.refused, rereading.all()));
    line(&format!("         {} of {} that keep a version until the next rotation", keeping.refused, keeping.all()));
    if let Some(window) = &summary.window {
        let Times { median, p99, longest } = window.milliseconds;
        let seen = window.rotations;
        line(&format!(
            "window:  median {median} ms, 99th percentile {p99} ms, longest {longest} ms (seen in {seen} rotations)"
        ));
    }
    let Times { median, p99, .. } = summary.rotation_milliseconds;
    line(&screen.paint(Style::Dim, &format!("a rotation took {median} ms (median), {p99} ms (99th percentile)")));
    summary.problems.iter().for_each(|problem| line(&screen.paint(Style::Bad, problem)));
}

async fn fleet(screen: &Screen, arguments: &Load, kinds: Vec<Kind>, functions: &Functions) -> Result<Fleet, Stop> {
    let count = |number: u32| usize::try_from(number).unwrap_or(usize::MAX);
    let plan = FleetPlan {
        secrets: count(arguments.secrets),
        concurrency: count(arguments.concurrency),
        writes_per_second: arguments.writes,
        kinds,
    };
    screen.heading(&format!(
        "Fleet: {} secrets, {} at a time, under the service's limits ({} writes a second)",
        plan.secrets, plan.concurrency, plan.writes_per_second
    ));
    let bar = Bar::default();
    let fleet = rotate_fleet(&plan, functions, &|done, of| bar.show(done, of)).await;
    bar.clear();
    let fleet = fleet.map_err(|error| stopped(screen, error))?;
    show_fleet(screen, &fleet);
    Ok(fleet)
}

fn show_fleet(screen: &Screen, fleet: &Fleet) {
    screen.settle(
        fleet.problems.is_empty(),
        &format!(
            "{} of {} rotated in {:.1} s, {:.1} a second",
            fleet.rotated, fleet.secrets, fleet.seconds, fleet.rotations_per_second
        ),
    );
    let line = |text: &str| screen.line(&format!("      {text}"));
    let times = |name: &str, Times { median, p99, longest }: Times| {
        line(&format!("{name:<14}{median:>9.1} ms {p99:>9.1} ms {longest:>9.1} ms"));
    };
    line(&screen.paint(Style::Dim, &format!("{:<14}{:>12} {:>12} {:>12}", "", "median", "99th perc.", "longest")));
    for name in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
        if let Some(step) = fleet.step_milliseconds.get(name) {
            times(name, *step);
        }
    }
    times("rotation", fleet.rotation_milliseconds);
    line(&format!("limit of a step: {:.0} ms", fleet.limit_milliseconds));
    let throttled: Vec<_> = fleet.throttled.iter().map(|(operation, calls)| format!("{operation} {calls}")).collect();
    line(&format!("throttled calls: {}", if throttled.is_empty() { "none".to_owned() } else { throttled.join(", ") }));
    let megabytes = |bytes: u64| format!("{} MB", bytes.div_ceil(1 << 20));
    let lab = fleet.lab_memory.map_or_else(|| "unknown".to_owned(), megabytes);
    line(&format!("most memory: the lab {lab}; {} processes of functions:", fleet.processes));
    for (name, bytes) in &fleet.function_memory {
        line(&format!("  {name} {}", megabytes(*bytes)));
    }
    fleet.problems.iter().for_each(|problem| line(&screen.paint(Style::Bad, problem)));
}
