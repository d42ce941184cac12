//! A picture of logins over a rotation, as SVG.

use super::profile::{Bin, Profile};
use super::timeline::{Summary, Times, Window};
use crate::picture::{BAD, Drawing, FAINT, GOOD, TEXT};

/// Where the rows' plots begin and end, and how wide the picture is.
const LEFT: f64 = 235.0;
const RIGHT: f64 = 925.0;
const WIDTH: f64 = 960.0;
/// Above the first row, per row, and below the last one.
const HEAD: f64 = 118.0;
const ROW: f64 = 122.0;
const FOOT: f64 = 40.0;
/// How high the largest bar is, above and below a row's line.
const BAR: f64 = 38.0;

const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

const ACCEPTED: &str = "#7fb2e5";
const REFUSED: &str = BAD;

/// One row for each kind: its summary, and its logins over a rotation.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "a picture has few rows")]
pub fn svg(rows: &[(Summary, Profile)]) -> String {
    let height = HEAD + ROW * rows.len() as f64 + FOOT;
    let mut out = Drawing::card(WIDTH, height, "Refused logins over a rotation", &described(rows));
    let sub = "Applications log in over TLS all the time while their secret rotates. Time runs from left to right; each step of all \
               rotations is drawn";
    out.text(24.0, 56.0, "start", 12, FAINT, "normal", sub);
    let sub = "at its median length. Above each line: applications that read AWSCURRENT before each login. Below it: applications \
               that keep the version";
    out.text(24.0, 72.0, "start", 12, FAINT, "normal", sub);
    out.text(24.0, 88.0, "start", 12, FAINT, "normal", "from before the rotation until the next rotation begins.");
    for (x, colour, label) in [(690.0, ACCEPTED, "accepted logins"), (820.0, REFUSED, "refused logins")] {
        out.add(format_args!("<rect x=\"{x}\" y=\"26\" width=\"12\" height=\"12\" rx=\"2\" fill=\"{colour}\"/>\n"));
        out.text(x + 18.0, 36.0, "start", 12, TEXT, "normal", label);
    }
    for (number, (summary, profile)) in rows.iter().enumerate() {
        row(&mut out, HEAD + ROW * number as f64, summary, profile);
    }
    let foot = "milliseconds since the rotation began; bars are logins per second (each row has its own scales)";
    out.text((LEFT + RIGHT) / 2.0, height - 16.0, "middle", 12, FAINT, "normal", foot);
    out.finish()
}

/// The same in words, for people who cannot see it.
fn described(rows: &[(Summary, Profile)]) -> String {
    let row = |summary: &Summary| {
        let logins = summary.rereading.all() + summary.keeping.all();
        let refused = summary.rereading.refused + summary.keeping.refused;
        format!("{} {}: {refused} of {logins} logins refused.", summary.engine, summary.strategy)
    };
    rows.iter().map(|(summary, _)| row(summary)).collect::<Vec<_>>().join(" ")
}

fn row(out: &mut Drawing, top: f64, summary: &Summary, profile: &Profile) {
    let axis = top + 14.0 + BAR;
    let bins = profile.rereading.len().max(1);
    #[expect(clippy::cast_precision_loss, reason = "a row has few bins")]
    let pixels = (RIGHT - LEFT) / bins as f64;
    let x = |milliseconds: f64| LEFT + (milliseconds - profile.from) / profile.width * pixels;
    let most = profile
        .rereading
        .iter()
        .chain(&profile.keeping)
        .map(|bin| bin.accepted + bin.refused)
        .max()
        .unwrap_or(0)
        .max(1);

    // The steps, as bands with their names.
    for (number, (name, bounds)) in STEPS.iter().zip(profile.bounds.windows(2)).enumerate() {
        let &[from, until] = bounds else { continue };
        let (from, until) = (x(from), x(until));
        if number % 2 == 1 {
            let (y, width, height) = (axis - BAR - 14.0, until - from, BAR * 2.0 + 14.0);
            out.add(format_args!(
                "<rect x=\"{from:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"#f0f3f6\"/>\n"
            ));
        }
        // A name that does not fit would cover its neighbour's.
        if until - from > 62.0 {
            out.text((from + until) / 2.0, axis - BAR - 4.0, "middle", 10, FAINT, "normal", name);
        }
    }
    for (number, (up, down)) in profile.rereading.iter().zip(&profile.keeping).enumerate() {
        #[expect(clippy::cast_precision_loss, reason = "a row has few bins")]
        let left = LEFT + number as f64 * pixels;
        bar(out, left, pixels, axis, *up, most, -1.0);
        bar(out, left, pixels, axis, *down, most, 1.0);
    }
    out.add(format_args!("<path d=\"M{LEFT} {axis:.1}H{RIGHT}\" stroke=\"{FAINT}\"/>\n"));
    for tick in ticks(profile.bounds.last().copied().unwrap_or_default()) {
        let (at, y) = (x(tick), axis + BAR + 12.0);
        out.add(format_args!("<path d=\"M{at:.1} {:.1}v4\" stroke=\"{FAINT}\"/>\n", axis + BAR));
        out.text(at, y + 2.0, "middle", 10, FAINT, "normal", &format!("{tick}"));
    }

    // The scale of the bars, which is the same above and below.
    #[expect(clippy::cast_precision_loss, reason = "a run has few rotations")]
    let seconds = (summary.rotations.max(1) as f64) * profile.width / 1000.0;
    let scale = format!("{:.0}/s", f64::from(most) / seconds);
    for y in [axis - BAR, axis + BAR] {
        out.add(format_args!("<path d=\"M{:.1} {y:.1}h4\" stroke=\"{FAINT}\"/>\n", LEFT - 4.0));
        out.text(LEFT - 6.0, y + 3.5, "end", 9, FAINT, "normal", &scale);
    }

    let (engine, strategy) = (title(summary.engine), summary.strategy);
    let logins = summary.rereading.all() + summary.keeping.all();
    let (above, below) = (summary.rereading.refused, summary.keeping.refused);
    let mut lines = vec![
        (14, TEXT, "bold", engine.to_owned()),
        (13, TEXT, "normal", strategy.to_owned()),
        (11, FAINT, "normal", format!("{} rotations, {logins} logins", summary.rotations)),
    ];
    if above + below == 0 {
        lines.push((12, GOOD, "bold", "0 refused".to_owned()));
    } else {
        lines.push((11, REFUSED, "bold", format!("refused: {above} above, {below} below")));
    }
    if let Some(Window { milliseconds: Times { median, p99, .. }, .. }) = summary.window {
        lines.push((11, FAINT, "normal", format!("window: median {median} ms,")));
        lines.push((11, FAINT, "normal", format!("99th percentile {p99} ms")));
    }
    let mut y = axis - 30.0;
    for (size, colour, weight, line) in lines {
        out.text(24.0, y, "start", size, colour, weight, &line);
        y += 16.0;
    }
}

/// One bin's logins: the refused ones next to the axis. `side` is -1 above it and 1 below.
fn bar(out: &mut Drawing, left: f64, pixels: f64, axis: f64, bin: Bin, most: u32, side: f64) {
    let height = |logins: u32| f64::from(logins) / f64::from(most) * BAR;
    let mut from = axis;
    for (logins, colour) in [(bin.refused, REFUSED), (bin.accepted, ACCEPTED)] {
        if logins == 0 {
            continue;
        }
        let (height, width) = (height(logins), (pixels - 0.6).max(0.4));
        let top = if side < 0.0 { from - height } else { from };
        out.add(format_args!(
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" fill=\"{colour}\"/>\n"
        ));
        from += side * height;
    }
}

/// Round numbers from zero on, at most ten.
fn ticks(until: f64) -> Vec<f64> {
    let rough = (until / 5.0).max(f64::MIN_POSITIVE);
    let power = 10_f64.powf(rough.log10().floor());
    let step =
        [1.0, 2.0, 5.0, 10.0].into_iter().map(|factor| factor * power).find(|step| *step >= rough).unwrap_or(rough);
    (0..=10).map(|number| f64::from(number) * step).take_while(|tick| *tick <= until).collect()
}

/// What people call a server.
pub(crate) fn title(engine: &str) -> &str {
    match engine {
        "postgres" => "PostgreSQL",
        "mysql" => "MySQL",
        "mariadb" => "MariaDB",
        "api-key" => "API key",
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::timeline::Count;
    use super::*;

    fn summary(strategy: &'static str, refused: usize) -> Summary {
        let times = Times { median: 7.0, p99: 9.0, longest: 9.5 };
        let window = Window { rotations: 3, milliseconds: times, set_to_finish_milliseconds: times };
        Summary {
            engine: "mysql",
            strategy,
            rotations: 3,
            seconds: 1.0,
            logins_per_second: 8.0,
            rereading: Count { accepted: 5, refused, failed: 0 },
            keeping: Count { accepted: 3, refused: 0, failed: 0 },
            rotation_milliseconds: times,
            window: (refused > 0).then_some(window),
            problems: Vec::new(),
        }
    }

    fn profile(refused: u32) -> Profile {
        let rereading =
            vec![Bin { accepted: 2, refused: 0 }, Bin { accepted: 0, refused }, Bin { accepted: 3, refused: 0 }];
        let keeping = vec![Bin { accepted: 1, refused: 0 }; 3];
        Profile { bounds: [0.0, 20.0, 60.0, 80.0, 100.0], from: -10.0, width: 40.0, rereading, keeping }
    }

    fn count(text: &str, part: &str) -> usize {
        text.matches(part).count()
    }

    #[test]
    fn a_bar_is_red_where_logins_were_refused_and_nowhere_else() {
        let fill = format!("fill=\"{REFUSED}\"/>");
        let quiet = svg(&[(summary("dual-password", 0), profile(0))]);
        assert_eq!(count(&quiet, &fill), 1, "the legend alone");
        assert!(quiet.contains(">0 refused<"));
        let refused = svg(&[(summary("dual-password", 0), profile(0)), (summary("single-user", 4), profile(4))]);
        assert_eq!(count(&refused, &fill), 2);
        assert!(refused.contains(">refused: 4 above, 0 below<") && refused.contains("window: median 7 ms"));
        assert!(refused.contains("mysql single-user: 4 of 12 logins refused."));
    }

    #[test]
    fn it_is_one_document_with_balanced_elements_inside_its_frame() {
        let text = svg(&[(summary("single-user", 4), profile(4))]);
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert_eq!(count(&text, "<text "), count(&text, "</text>"));
        assert!(!text.contains("NaN") && !text.contains("inf"));
        for part in text.split("<rect x=\"").skip(1) {
            let x: f64 = part.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=WIDTH).contains(&x), "{x}");
        }
    }

    #[test]
    fn a_bar_is_as_high_as_its_share_of_the_largest() {
        let text = svg(&[(summary("single-user", 4), profile(4))]);
        // Four refused logins are the most of any bin, three accepted ones are three quarters of it.
        assert!(text.contains(&format!("height=\"38.0\" fill=\"{REFUSED}\"")), "{text}");
        assert!(text.contains(&format!("height=\"28.5\" fill=\"{ACCEPTED}\"")), "{text}");
    }

    #[test]
    fn ticks_are_round_and_reach_no_further_than_the_rotation() {
        assert_eq!(ticks(100.0), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        assert_eq!(ticks(1_234.0), [0.0, 500.0, 1_000.0]);
        assert_eq!(ticks(0.0), [0.0]);
    }
}
