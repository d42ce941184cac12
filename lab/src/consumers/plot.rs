//! A picture of the queries that failed, as SVG: a bar for each way to follow a rotation.

use super::summary::Summary;
use crate::load::title;
use crate::picture::{BAD, Drawing, FAINT, GOOD, LINE, TEXT};

const WIDTH: f64 = 960.0;
/// Where the bars begin and end.
const LEFT: f64 = 350.0;
const RIGHT: f64 = 800.0;
/// Above the first group, its heading, a bar, and below the last group.
const HEAD: f64 = 82.0;
const HEADING: f64 = 30.0;
const ROW: f64 = 20.0;
const FOOT: f64 = 40.0;

struct Bar {
    name: String,
    queries: usize,
    failed: usize,
    /// Of this project: the crate, or an example.
    ours: bool,
}

/// The bars of each secret, below its engine and strategy.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a picture has few rows")]
pub fn svg(summaries: &[Summary]) -> String {
    let groups: Vec<_> = summaries.iter().map(|summary| (summary, bars(summary))).collect();
    let rows: usize = groups.iter().map(|(_, bars)| bars.len()).sum();
    let height = HEAD + HEADING * groups.len() as f64 + ROW * rows as f64 + FOOT;
    let heading = "Failed queries while a secret rotates";
    let mut out = Drawing::card(WIDTH, height, heading, &described(&groups));
    let sub = "Applications query all the time, each in its way to follow a rotation. The bars are failed queries, in percent of all.";
    out.text(24.0, 58.0, "start", 12, FAINT, "normal", sub);
    let mut top = HEAD;
    for (summary, bars) in &groups {
        let name = format!("{}, {}: {} rotations", title(summary.engine), summary.strategy, summary.rotations);
        out.text(24.0, top + 14.0, "start", 14, TEXT, "bold", &name);
        top += HEADING;
        out.add(format_args!(
            "<path d=\"M{LEFT} {:.1}V{:.1}\" stroke=\"{LINE}\"/>\n",
            top - 6.0,
            top + ROW * bars.len() as f64 - 6.0
        ));
        for bar in bars {
            draw(&mut out, top, bar);
            top += ROW;
        }
    }
    let foot = "Bold: this project's crate and examples. The others have their defaults, or what their name says.";
    out.text(24.0, height - 16.0, "start", 12, FAINT, "normal", foot);
    out.finish()
}

#[expect(clippy::cast_precision_loss, reason = "a run has few queries")]
fn draw(out: &mut Drawing, top: f64, bar: &Bar) {
    let all = (bar.queries + bar.failed).max(1);
    let share = bar.failed as f64 / all as f64;
    let weight = if bar.ours { "bold" } else { "normal" };
    out.text(LEFT - 10.0, top + 8.0, "end", 12, TEXT, weight, &bar.name);
    let length = (RIGHT - LEFT) * share;
    if bar.failed > 0 {
        let y = top - 2.0;
        out.add(format_args!(
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"12\" rx=\"2\" fill=\"{BAD}\"/>\n",
            length.max(1.5)
        ));
    }
    let (colour, text) = match bar.failed {
        0 => (GOOD, format!("0 of {all}")),
        failed => (BAD, format!("{failed} of {all} ({:.1} %)", 100.0 * share)),
    };
    out.text(LEFT + length + 8.0, top + 8.0, "start", 11, colour, weight, &text);
}

/// The crate's adapters together, and each program. What is counted there as queries has the failed ones among it.
fn bars(summary: &Summary) -> Vec<Bar> {
    let queries = summary.rows.iter().map(|row| row.queries).sum();
    let failed = summary.rows.iter().map(|row| row.failed).sum();
    let name = format!("Rust, lockstep-secret: {} adapters", summary.rows.len() / 2);
    let programs = summary.programs.iter().map(|row| Bar {
        name: row.program.to_owned(),
        queries: row.seen.queries.saturating_sub(row.seen.failed),
        failed: row.seen.failed,
        ours: row.ours,
    });
    [Bar { name, queries, failed, ours: true }].into_iter().chain(programs).collect()
}

/// The same in words, for people who cannot see it.
fn described(groups: &[(&Summary, Vec<Bar>)]) -> String {
    let group = |(summary, bars): &(&Summary, Vec<Bar>)| {
        let bar = |bar: &Bar| format!("{}: {} of {} failed", bar.name, bar.failed, bar.queries + bar.failed);
        let bars = bars.iter().map(bar).collect::<Vec<_>>().join("; ");
        format!("{}, {}: {bars}.", title(summary.engine), summary.strategy)
    };
    groups.iter().map(group).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::programs::{ProgramRow, ProgramSeen};
    use super::*;
    use crate::load::{Engine, Kind, Strategy};

    #[test]
    fn a_bar_is_as_long_as_its_share_and_a_program_is_named() {
        let mut summary = Summary::new(Kind { engine: Engine::Postgres, strategy: Strategy::SingleUser });
        let seen = |queries, failed| ProgramSeen { queries, failed, longest_milliseconds: 1, first: None };
        summary.programs.push(ProgramRow { program: "half <of them>", ours: false, seen: seen(10, 5) });
        summary.programs.push(ProgramRow { program: "none", ours: true, seen: seen(10, 0) });
        let text = svg(&[summary]);
        assert!(text.contains("width=\"225.0\" height=\"12\""), "{text}");
        assert!(text.contains(">half &lt;of them></text>"), "{text}");
        assert!(text.contains(">5 of 10 (50.0 %)</text>") && text.contains(">0 of 10</text>"), "{text}");
        assert_eq!(text.matches(BAD).count(), 2, "one bar and its figure: {text}");
    }
}
