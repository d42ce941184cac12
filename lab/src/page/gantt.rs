//! The steps of rotations as bars over time.

use crate::secretsmanager::{RotationEvent, RotationEventKind, Step};
use rotation::error::short_name;
use rotation::page::Html;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// A rotation, as far as it has come.
#[derive(Clone, Debug)]
pub(super) struct Rotation {
    secret: String,
    token: String,
    began: Instant,
    steps: Vec<Bar>,
    /// How it ended.
    ended: Option<&'static str>,
}

#[derive(Clone, Debug)]
struct Bar {
    step: Step,
    began: Duration,
    /// `None` while it runs.
    took: Option<Duration>,
    failed: bool,
}

/// Notes an event. The newest rotation is the first.
pub(super) fn note(rotations: &mut VecDeque<Rotation>, event: RotationEvent) {
    let RotationEvent { secret_arn, token, kind } = event;
    let known = rotations.iter_mut().find(|it| it.secret == secret_arn && it.token == token && it.ended.is_none());
    let rotation = match known {
        Some(known) => known,
        None => {
            let began = Instant::now();
            rotations.push_front(Rotation { secret: secret_arn, token, began, steps: Vec::new(), ended: None });
            let Some(rotation) = rotations.front_mut() else { return };
            rotation
        }
    };
    let now = rotation.began.elapsed();
    match kind {
        RotationEventKind::RotationStarted => {}
        RotationEventKind::StepStarted { step } => {
            rotation.steps.push(Bar { step, began: now, took: None, failed: false });
        }
        RotationEventKind::StepFinished { step, duration, outcome } => {
            if let Some(bar) = rotation.steps.iter_mut().rev().find(|bar| bar.step == step && bar.took.is_none()) {
                bar.took = Some(duration);
                bar.failed = outcome.is_err();
            }
        }
        RotationEventKind::RotationSucceeded => rotation.ended = Some("succeeded"),
        RotationEventKind::RotationFailed { .. } => rotation.ended = Some("failed"),
        RotationEventKind::RotationAbandoned => rotation.ended = Some("abandoned"),
        RotationEventKind::TestRotationSucceeded => rotation.ended = Some("configuration tested"),
        RotationEventKind::TestRotationFailed { .. } => rotation.ended = Some("configuration refused"),
    }
}

const WIDTH: u128 = 640;
const LEFT: u128 = 110;
const RIGHT: u128 = 80;
const ROW: u128 = 22;

/// The bars of some rotations.
#[derive(Clone, Debug)]
pub struct Gantt(Vec<Rotation>);

impl Gantt {
    pub(super) fn new(rotations: Vec<Rotation>) -> Self {
        Self(rotations)
    }

    /// Whether a rotation is under way.
    pub fn moves(&self) -> bool {
        self.0.iter().any(|rotation| rotation.ended.is_none())
    }

    /// The bars as HTML, with a sentence for who does not see them.
    pub fn html(&self) -> Html {
        let mut html = Html::new();
        html.markup("<h3>Rotations since the lab began</h3>");
        if self.0.is_empty() {
            html.markup("<p class=\"dim\">None yet.</p>");
        }
        for rotation in &self.0 {
            rotation.draw(&mut html);
        }
        html
    }
}

impl Rotation {
    fn draw(&self, html: &mut Html) {
        let ended = self.ended.unwrap_or("under way");
        html.markup("<figure style=\"margin:8px 0\"><figcaption>").text(short_name(&self.secret));
        html.markup(": ").markup(ended).markup("</figcaption>");
        let now = self.began.elapsed();
        let end = |bar: &Bar| bar.began + bar.took.unwrap_or_else(|| now.saturating_sub(bar.began));
        let whole = self.steps.iter().map(end).max().unwrap_or_default().as_micros().max(1);
        let height = ROW * self.steps.len() as u128;
        let said: Vec<_> = self.steps.iter().map(Bar::said).collect();
        html.markup("<svg role=\"img\" width=\"100%\" style=\"max-width:760px\"");
        html.attribute("viewBox", &format!("0 0 {WIDTH} {height}"))
            .attribute("aria-label", &said.join(", "))
            .markup(">");
        for (row, bar) in self.steps.iter().enumerate() {
            let at = |time: Duration| LEFT + time.as_micros() * (WIDTH - LEFT - RIGHT) / whole;
            let (left, right, top) = (at(bar.began), at(end(bar)), ROW * row as u128);
            label(0, top, bar.step.name(), html);
            html.markup("<rect rx=\"2\"").attribute("x", &left.to_string()).attribute("y", &(top + 4).to_string());
            html.attribute("width", &right.saturating_sub(left).max(2).to_string()).attribute("height", "14");
            html.markup(if bar.failed { " fill=\"#c2314a\"/>" } else { " fill=\"#2f7fd1\"/>" });
            label(right + 6, top, &bar.time(), html);
        }
        html.markup("</svg></figure>");
    }
}

impl Bar {
    fn time(&self) -> String {
        match self.took {
            Some(took) => format!("{} ms{}", took.as_millis(), if self.failed { ", failed" } else { "" }),
            None => "…".to_owned(),
        }
    }

    fn said(&self) -> String {
        format!("{} {}", self.step.name(), self.took.map_or("is under way".to_owned(), |_| self.time()))
    }
}

fn label(x: u128, top: u128, text: &str, html: &mut Html) {
    html.markup("<text font-size=\"12\" fill=\"currentColor\"").attribute("x", &x.to_string());
    html.attribute("y", &(top + 15).to_string()).markup(">").text(text).markup("</text>");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_become_bars_and_the_newest_rotation_is_first() {
        let mut rotations = VecDeque::new();
        let mut tell = |token: &str, kind| {
            let secret_arn = "arn:aws:secretsmanager:r:1:secret:<b>-AbCdEf".to_owned();
            note(&mut rotations, RotationEvent { secret_arn, token: token.to_owned(), kind });
        };
        for token in ["one", "two"] {
            tell(token, RotationEventKind::RotationStarted);
            tell(token, RotationEventKind::StepStarted { step: Step::CreateSecret });
            let outcome = if token == "one" { Ok(String::new()) } else { Err(String::new()) };
            let duration = Duration::from_millis(7);
            tell(token, RotationEventKind::StepFinished { step: Step::CreateSecret, duration, outcome });
        }
        tell("one", RotationEventKind::RotationSucceeded);
        let gantt = Gantt::new(rotations.into());
        assert!(gantt.moves(), "the second one is under way");
        let html = gantt.html().into_string();
        let (first, second) = html.split_once("</figure>").unwrap();
        assert!(first.contains("under way") && first.contains("createSecret 7 ms, failed"), "{html}");
        assert!(second.contains("succeeded") && second.contains("aria-label=\"createSecret 7 ms\""), "{html}");
        assert!(html.contains("&lt;b&gt;: ") && !html.contains("<b>"), "{html}");
    }
}
