//! `cargo lab consumers`: applications with the crate `lockstep-secret` while their secret rotates.

use super::bar::Bar;
use super::kinds::{built, check_picture, chosen, write_picture};
use super::named::named;
use super::rotate::setup_json;
use super::screen::{Screen, Style};
use super::setup::setup;
use super::stop::Stop;
use crate::consumers::{Plan, ProgramRow, Row, Runtimes, Summary, run, svg};
use crate::load::{Engine, Error, Strategy, Times};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(super) struct Consumers {
    /// Only this server [default: all].
    #[arg(long, value_parser = named(&Engine::ALL, Engine::name, "no such server"))]
    engine: Option<Engine>,
    /// Only this strategy [default: all that the server has].
    #[arg(long, value_parser = named(&Strategy::ALL, Strategy::name, "no such strategy"))]
    strategy: Option<Strategy>,
    /// How often the secret of each strategy rotates.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    times: u32,
    /// Workers for each adapter and each of its two secrets in memory.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=20))]
    workers: u32,
    /// Cut, delay and throttle nothing.
    #[arg(long)]
    calm: bool,
    /// Also applications in Python and Node, undisturbed: those in examples/consumers, and AWS's own libraries.
    #[arg(long)]
    programs: bool,
    /// AWS's agent, for --programs: the program `aws_secretsmanager_agent`, which AWS publishes as source.
    #[arg(long, value_name = "PATH", requires = "programs")]
    agent: Option<PathBuf>,
    /// The least time between two rotations, in seconds [default: 0, or 6 with --programs].
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(0..=3_600))]
    every: Option<u32>,
    /// Write a picture (SVG) of the queries that failed.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// What the cuts, delays and throttles are drawn by.
    #[arg(long, default_value_t = 4711)]
    seed: u64,
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
    consumers: &'a [Summary],
}

/// Lets applications query while secrets rotate, and tells whether a query failed.
pub(super) async fn consumers(screen: &Screen, arguments: &Consumers) -> Result<(), Stop> {
    all(screen, arguments).await.inspect_err(|stop| setup_json(screen, stop))
}

async fn all(screen: &Screen, arguments: &Consumers) -> Result<(), Stop> {
    let kinds = chosen(arguments.engine, arguments.strategy)?;
    if let Some(path) = &arguments.plot {
        check_picture(path)?;
    }
    let functions = built(screen, &kinds, arguments.release).await?;
    let &Consumers { times, workers, seed, programs, .. } = arguments;
    // The others have no means against it, and what they lose is to be the rotations' doing.
    let calm = arguments.calm || programs;
    let every = Duration::from_secs(arguments.every.unwrap_or(if programs { 6 } else { 0 }).into());
    let runtimes = match programs {
        true => Some(runtimes(screen, arguments.agent.clone()).await?),
        false => None,
    };
    screen.heading(&format!("Consumers: {times} rotations each, {}", if calm { "undisturbed" } else { "disturbed" }));
    let plan = Plan { times, workers, trouble: !calm, every, seed };
    let mut summaries = Vec::new();
    for (number, kind) in kinds.iter().enumerate() {
        let bar = Bar::default();
        let progress = |done: usize, of: usize| bar.show(number * of + done, kinds.len() * of);
        let Some(binary) = functions.get(kind.engine.function()) else { continue };
        let summary = run(*kind, binary, plan, runtimes.as_ref(), &progress).await;
        bar.clear();
        let summary = summary.map_err(|error| stopped(screen, error))?;
        show(screen, &summary);
        summaries.push(summary);
    }
    if let Some(path) = &arguments.plot {
        write_picture(screen, path, svg(&summaries))?;
    }
    let failed = summaries.iter().any(|summary| !summary.problems.is_empty());
    screen.json(&Report { outcome: if failed { "failed" } else { "ok" }, consumers: &summaries });
    if failed { Err(Stop::Failed) } else { Ok(()) }
}

async fn runtimes(screen: &Screen, agent: Option<PathBuf>) -> Result<Runtimes, Stop> {
    let obtained = tokio::task::spawn_blocking(Runtimes::obtain).await.map_err(|error| setup(error.to_string()))?;
    let runtimes = obtained.map_err(|error| setup(error.to_string()))?.and_others(agent);
    if !runtimes.has_node() {
        screen.line("  Node and npm are not in PATH (Debian: nodejs npm). Their applications are left out.");
    }
    Ok(runtimes)
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

fn show(screen: &Screen, summary: &Summary) {
    let queries: usize = summary.rows.iter().map(|row| row.queries).sum();
    let failed: usize = summary.rows.iter().map(|row| row.failed).sum();
    let name = format!("{} {}", summary.engine, summary.strategy);
    screen.settle(
        summary.problems.is_empty(),
        &format!("{name:<28} {queries:>6} queries, {failed} failed, {} rotations", summary.rotations),
    );
    let line = |text: &str| screen.line(&format!("      {text}"));
    let head = format!(
        "{:<30} {:>7} {:>6} {:>10} {:>10} {:>10} {:>8} {:>7}",
        "", "queries", "failed", "median", "99th perc.", "longest", "refused", "forced"
    );
    line(&screen.paint(Style::Dim, &head));
    for row in &summary.rows {
        let Row { adapter, queries, failed, wait_milliseconds: Times { median, p99, longest }, counts, .. } = row;
        let name = format!("{adapter}, {}", if row.refreshing { "refreshing" } else { "keeping" });
        line(&format!(
            "{name:<30} {queries:>7} {failed:>6} {median:>7.1} ms {p99:>7.1} ms {longest:>7.1} ms {:>8} {:>7}",
            counts.refused_logins, counts.forced_fetches
        ));
    }
    for ProgramRow { program, seen, .. } in &summary.programs {
        let first = seen.first.as_ref().map(|first| format!(", first {first}")).unwrap_or_default();
        line(&format!(
            "{program:<45} {:>7} queries, {:>5} failed, longest {:>6} ms{first}",
            seen.queries, seen.failed, seen.longest_milliseconds
        ));
    }
    let without = format!("without the crate: {} of {} logins refused", summary.refused_without, summary.rotations);
    line(&screen.paint(Style::Dim, &without));
    let troubles = format!(
        "{} cuts and delays on the way to the server, {} at Secrets Manager, {} rotations repeated",
        summary.troubles.ways, summary.troubles.calls, summary.repeated_rotations
    );
    line(&screen.paint(Style::Dim, &troubles));
    summary.problems.iter().for_each(|problem| line(&screen.paint(Style::Bad, problem)));
}
