//! `cargo lab chaos`: histories of rotations, tried by a machine.

use super::bar::Bar;
use super::named::named;
use super::screen::{Screen, Style};
use super::stop::Stop;
use crate::chaos::{Explored, History, Judged, Plan, Strategy, Target, explore, replay};
use clap::Args;
use serde::Serialize;
use std::time::{Duration, Instant};

/// The options of the command.
#[derive(Args, Clone, Debug)]
pub(super) struct Chaos {
    /// The database server, `issuer`, `signing-key` or `tls`: names with commas between them [default: all].
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = named(&Target::ALL, Target::name, "no such target"))]
    target: Vec<Target>,
    /// How a credential is replaced [default: all that the target has].
    #[arg(long, value_parser = named(&Strategy::ALL, Strategy::name, "no such strategy"))]
    strategy: Option<Strategy>,
    /// The most faults and acts in one history. Up to --full-depth all are tried, beyond it a sample.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=6))]
    depth: u32,
    /// Up to how many faults and acts all histories are tried.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=3))]
    full_depth: u32,
    /// How many deeper histories are tried for each history of depth one.
    #[arg(long, default_value_t = 10)]
    samples: u32,
    /// Extend histories that violate something already, too. The longer ones show the same, as a rule.
    #[arg(long)]
    extend_violating: bool,
    /// After how many rotations a history begins. May be given several times [default: 0, 1 and 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(0..=9))]
    before: Vec<u32>,
    /// Which sample.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Try this one history, and print what happens in it.
    #[arg(long, value_name = "TEXT", conflicts_with_all = ["target", "strategy", "depth"])]
    replay: Option<String>,
    /// Print one JSON object to stdout at the end; everything else goes to stderr.
    #[arg(long)]
    pub(super) json: bool,
}

/// Tries histories, or one of them.
pub(super) fn chaos(screen: &Screen, arguments: &Chaos) -> Result<(), Stop> {
    match &arguments.replay {
        Some(text) => one(screen, text),
        None => all(screen, arguments),
    }
}

#[derive(Serialize)]
struct Replayed<'a> {
    history: String,
    violations: Vec<Line<'a>>,
    stated: Option<&'a str>,
}

#[derive(Serialize)]
struct Line<'a> {
    kind: &'a str,
    what: &'a str,
}

fn one(screen: &Screen, text: &str) -> Result<(), Stop> {
    let history = History::parse(text).map_err(Stop::Usage)?;
    let Judged { violations, journal, stated, .. } = replay(&history, None).map_err(untried)?;
    journal.iter().for_each(|line| screen.line(line));
    for violation in &violations {
        screen.settle(false, &format!("{}: {} (after call {})", violation.kind, violation.what, violation.at));
    }
    if violations.is_empty() {
        screen.settle(true, "no violation");
    }
    if let Some(code) = &stated {
        screen.line(&format!("  rotations ended in an error, and its advice led out: {code}"));
    }
    let lines = violations.iter().map(|violation| Line { kind: &violation.kind, what: &violation.what }).collect();
    screen.json(&Replayed { history: history.to_string(), violations: lines, stated: stated.as_deref() });
    if violations.is_empty() { Ok(()) } else { Err(Stop::Failed) }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn untried(error: std::io::Error) -> Stop {
    Stop::Setup(format!("the histories could not be tried: {error}"))
}

fn all(screen: &Screen, arguments: &Chaos) -> Result<(), Stop> {
    let wanted = &arguments.target;
    let targets = Target::ALL.into_iter().filter(|target| wanted.is_empty() || wanted.contains(target));
    let cases: Vec<_> = targets
        .flat_map(|target| target.strategies().iter().map(move |strategy| (target, *strategy)))
        .filter(|(_, strategy)| arguments.strategy.is_none_or(|wanted| wanted == *strategy))
        .collect();
    if cases.is_empty() {
        return Err(Stop::Usage("this target does not have this strategy".to_owned()));
    }
    let plan = Plan {
        cases,
        depth: arguments.depth,
        full_depth: arguments.full_depth,
        samples: arguments.samples,
        before: if arguments.before.is_empty() { vec![0, 1, 2] } else { arguments.before.clone() },
        extend_violating: arguments.extend_violating,
        mutation: None,
        seed: arguments.seed,
    };
    let (began, bar) = (Instant::now(), Bar::default());
    let explored = explore(&plan, &|done, of| bar.show(done, of)).map_err(untried)?;
    show(screen, &explored, began.elapsed())?;
    if explored.found.is_empty() { Ok(()) } else { Err(Stop::Failed) }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    histories: u64,
    histories_by_depth: Vec<u64>,
    seconds: f64,
    per_second: u64,
    strategies: Vec<Row<'a>>,
    violations: Vec<Kind<'a>>,
    advice_led_out: &'a std::collections::BTreeMap<String, u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    target: &'a str,
    strategy: &'a str,
    histories: u64,
    with_violations: u64,
    at_limit: u64,
    longest_window_in_calls: u32,
}

#[derive(Serialize)]
struct Kind<'a> {
    target: &'a str,
    strategy: &'a str,
    kind: &'a str,
    histories: u64,
    shortest: String,
    what: &'a str,
    /// What happens in the shortest history, line by line. Only the first kinds have it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    journal: Vec<String>,
}

/// How many kinds of violations are shown with the journal of their shortest history. A journal has about a hundred lines.
const WITH_JOURNAL: usize = 3;

/// The kinds of violations, the first ones with the journal of their shortest history.
fn kinds(explored: &Explored) -> Result<Vec<Kind<'_>>, Stop> {
    let with_journal = explored.found.iter().enumerate().map(|(index, ((target, strategy, kind), found))| {
        let journal =
            if index < WITH_JOURNAL { replay(&found.history, None).map_err(untried)?.journal } else { Vec::new() };
        Ok(Kind {
            target: target.name(),
            strategy: strategy.name(),
            kind,
            histories: found.count,
            shortest: found.history.to_string(),
            what: &found.what,
            journal,
        })
    });
    with_journal.collect()
}

fn show(screen: &Screen, explored: &Explored, took: Duration) -> Result<(), Stop> {
    let rows = explored.counts.iter().map(|((target, strategy), count)| Row {
        target: target.name(),
        strategy: strategy.name(),
        histories: count.histories,
        with_violations: count.violating,
        at_limit: count.at_limit,
        longest_window_in_calls: count.window,
    });
    let kinds = kinds(explored)?;
    let histories = explored.by_depth.values().sum();
    let per_second = u128::from(histories) * 1000 / took.as_millis().max(1);
    let summary = Summary {
        histories,
        histories_by_depth: explored.by_depth.values().copied().collect(),
        seconds: took.as_secs_f64(),
        per_second: u64::try_from(per_second).unwrap_or(u64::MAX),
        strategies: rows.collect(),
        violations: kinds,
        advice_led_out: &explored.stated,
    };
    for kind in &summary.violations {
        screen.settle(false, &format!("{}: {} (in {} histories)", kind.kind, kind.what, kind.histories));
        screen.line(&format!("      {}", screen.paint(Style::Dim, &format!("--replay '{}'", kind.shortest))));
        for line in &kind.journal {
            screen.line(&format!("      {}", screen.paint(Style::Dim, line)));
        }
    }
    let heading = format!(
        "{:<13}{:<24}{:>11}{:>12}{:>10}{:>8}",
        "target", "strategy", "histories", "violations", "at limit", "window"
    );
    screen.heading(&heading);
    for row in &summary.strategies {
        screen.line(&format!(
            "{:<13}{:<24}{:>11}{:>12}{:>10}{:>8}",
            row.target, row.strategy, row.histories, row.with_violations, row.at_limit, row.longest_window_in_calls
        ));
    }
    screen.line(&format!(
        "\n{} histories in {:.1} s, {} a second",
        summary.histories, summary.seconds, summary.per_second
    ));
    screen.json(&summary);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::Found;

    #[test]
    fn the_first_kinds_have_the_journal_of_their_shortest_history() {
        let mut explored = Explored::default();
        for strategy in Strategy::ALL.into_iter().filter(|strategy| Target::Postgres.strategies().contains(strategy)) {
            let history = format!("postgres/{}+0 2:strip-pending", strategy.name());
            let found = Found { count: 1, history: History::parse(&history).unwrap(), what: "seen".to_owned() };
            explored.found.insert((Target::Postgres, strategy, "kind".to_owned()), found);
        }
        let kinds = kinds(&explored).ok().unwrap();
        assert!(kinds.len() > WITH_JOURNAL);
        for (index, kind) in kinds.iter().enumerate() {
            let shown = kind.journal.iter().any(|line| line.contains("! strip-pending"));
            assert_eq!(shown, index < WITH_JOURNAL, "{}", kind.shortest);
            let json = serde_json::to_value(kind).unwrap();
            assert_eq!(json.get("journal").is_some(), index < WITH_JOURNAL);
        }
    }
}
