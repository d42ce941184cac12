//! `cargo lab versions`: a rotation of each strategy on each version of each server.

use super::bar::Bar;
use super::database::{DatabaseUser, set_up};
use super::named::named;
use super::rotate::rotate;
use super::screen::Screen;
use super::setup::{Bench, function, setup};
use super::stop::Stop;
use super::target::{Engine, Function, Strategy, Target};
use crate::build::Profile;
use crate::provision::{Release, Version};
use clap::Args;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How many servers run at a time: each rotation mostly waits, and each server takes a hundred megabytes.
const AT_A_TIME: usize = 4;

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(super) struct Versions {
    /// Only this server [default: all].
    #[arg(long, value_parser = named(&Engine::ALL, Engine::name, "no such server"))]
    engine: Option<Engine>,
    /// How many rotations of each strategy on each version.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    times: u32,
    /// Print one JSON object for each server and strategy to stdout, and a last one for the whole; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
    /// Build the functions optimised, as they are deployed. That takes minutes.
    #[arg(long)]
    release: bool,
}

/// What came of the rotations on one server with one strategy.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    server: String,
    /// As the server itself tells it.
    version: String,
    strategy: String,
    /// How many rotations were proved.
    rotations: u32,
    outcome: &'static str,
    /// What the command printed until it failed.
    #[serde(skip)]
    log: String,
}

#[derive(Serialize)]
struct Last {
    outcome: &'static str,
}

/// Rotates on every version, and prints a table of it in Markdown.
pub(super) async fn versions(screen: &Screen, arguments: &Versions) -> Result<(), Stop> {
    let profile = if arguments.release { Profile::Release } else { Profile::Dev };
    let engines: Vec<Engine> =
        Engine::ALL.into_iter().filter(|engine| arguments.engine.is_none_or(|only| only == *engine)).collect();
    for package in ["lockstep-postgres", "lockstep-mysql"] {
        if engines.iter().any(|engine| engine.function() == package) {
            // Before the others ask for it at once.
            function(screen, package, &Function::Built(profile)).await?;
        }
    }
    let targets: Vec<Target> = engines.into_iter().flat_map(|engine| targets(engine, profile)).collect();
    let count = targets.len();
    let slots = Arc::new(Semaphore::new(AT_A_TIME));
    let mut running = JoinSet::new();
    for (index, target) in targets.into_iter().enumerate() {
        let (slots, times) = (Arc::clone(&slots), arguments.times);
        running.spawn(async move {
            let _slot = slots.acquire_owned().await.map_err(setup)?;
            row(&target, times).await.map(|row| (index, row))
        });
    }
    let (bar, mut rows) = (Bar::default(), Vec::new());
    while let Some(done) = running.join_next().await {
        rows.push(done.map_err(setup)?.inspect_err(|_| bar.clear())?);
        bar.show(rows.len(), count);
    }
    rows.sort_unstable_by_key(|(index, _)| *index);
    let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
    report(screen, &rows)
}

fn report(screen: &Screen, rows: &[Row]) -> Result<(), Stop> {
    rows.iter().for_each(|row| screen.json(row));
    screen.line(&table(rows));
    let mut failed = rows.iter().filter(|row| row.outcome != ROTATED).peekable();
    let all = failed.peek().is_none();
    for row in failed {
        screen.heading(&format!("{} {}, {}", row.server, row.version, row.strategy));
        screen.line(&row.log);
    }
    screen.json(&Last { outcome: if all { ROTATED } else { FAILED } });
    if all { Ok(()) } else { Err(Stop::Failed) }
}

const ROTATED: &str = "rotated";
const FAILED: &str = "failed";

/// The strategies on every version of a server.
fn targets(engine: Engine, profile: Profile) -> Vec<Target> {
    let all = |strategies: &[Strategy], versioned: &dyn Fn(Target) -> Target| -> Vec<Target> {
        let target = |&strategy| versioned(Target::new(engine, strategy, Function::Built(profile)));
        strategies.iter().map(target).collect()
    };
    let (single, dual, two) = (Strategy::SingleUser, Strategy::DualPassword, Strategy::AlternatingUsers);
    match engine {
        Engine::Postgres => {
            let of = |version| all(&[single, two], &move |target| Target { postgres: Some(version), ..target });
            Version::ALL.into_iter().flat_map(of).collect()
        }
        Engine::Mysql => all(&[single, dual, two], &|target| target),
        Engine::Mariadb => {
            let of = |release| all(&[single, two], &move |target| Target { mariadb: Some(release), ..target });
            Release::MARIADB.into_iter().flat_map(of).collect()
        }
    }
}

/// Rotates, and keeps what that prints.
///
/// # Errors
/// If the server could not be set up.
async fn row(target: &Target, times: u32) -> Result<Row, Stop> {
    let kept = Screen::kept();
    let bench: Bench<DatabaseUser> = set_up(&kept, target).await?;
    let (server, version) = bench.opened.database.name_and_version().await.map_err(setup)?;
    let outcome = rotate(&kept, bench, times).await;
    let proved = outcome.is_ok();
    let (rotations, outcome) = if proved { (times, ROTATED) } else { (0, FAILED) };
    Ok(Row { server, version, strategy: target.strategy.to_string(), rotations, outcome, log: kept.text() })
}

/// The table, with one row for each server.
fn table(rows: &[Row]) -> String {
    let mut text = "| server | version | strategies | rotations of each, all proved |\n|---|---|---|---|".to_owned();
    for same in rows.chunk_by(|a, b| (&a.server, &a.version) == (&b.server, &b.version)) {
        let Some(first) = same.first() else { continue };
        let strategies: Vec<&str> = same.iter().map(|row| row.strategy.as_str()).collect();
        let failed: Vec<&str> =
            same.iter().filter(|row| row.outcome != ROTATED).map(|row| row.strategy.as_str()).collect();
        let proved = match failed.as_slice() {
            [] => first.rotations.to_string(),
            failed => format!("**failed**: {}", failed.join(", ")),
        };
        text.push_str(&format!("\n| {} | {} | {} | {proved} |", first.server, first.version, strategies.join(", ")));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(server: &str, strategy: &str, outcome: &'static str) -> Row {
        let (server, strategy) = (server.to_owned(), strategy.to_owned());
        Row { server, version: "1.2".to_owned(), strategy, rotations: 3, outcome, log: String::new() }
    }

    #[test]
    fn a_server_has_one_row_and_a_failure_is_named_in_it() {
        let rows = [row("A", "one", ROTATED), row("A", "two", ROTATED), row("B", "one", FAILED)];
        let table = table(&rows);
        let lines: Vec<&str> = table.lines().skip(2).collect();
        assert_eq!(lines, ["| A | 1.2 | one, two | 3 |", "| B | 1.2 | one | **failed**: one |"]);
    }

    #[test]
    fn every_version_and_strategy_is_tried() {
        let count = |engine| targets(engine, Profile::Dev).len();
        assert_eq!([Engine::Postgres, Engine::Mysql, Engine::Mariadb].map(count), [8, 3, 6]);
    }
}
