//! One rotation, shown step by step while it happens.

use super::screen::{Screen, Style};
use super::setup::Bench;
use super::stop::Stop;
use crate::lambda::{StepError, StepEvent, StepReport};
use crate::secretsmanager::RotationOutcome;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::broadcast;

/// A rotation that succeeded.
pub(super) struct Rotated {
    pub(super) token: String,
    pub(super) steps: Vec<StepReport>,
}

impl Rotated {
    /// The four steps together.
    pub(super) fn duration(&self) -> Duration {
        self.steps.iter().map(StepReport::duration).sum()
    }
}

/// Calls RotateSecret and shows the steps. `number` counts rotations, for the JSON.
pub(super) async fn rotate<O>(bench: &Bench<O>, screen: &Screen, number: u32) -> Result<Rotated, Stop> {
    let token = uuid::Uuid::new_v4().to_string();
    let mut steps = Vec::new();
    let mut events = bench.lab.watch_steps();
    let request = json!({
        "SecretId": bench.secret,
        "ClientRequestToken": token,
        "RotationLambdaARN": bench.lab.function_arn(),
    });
    if let Err(error) = bench.client.call("RotateSecret", request).await {
        return Err(refused(screen, number, &error.kind, &error.message));
    }
    let end = bench.lab.service().wait_rotation(bench.secret);
    tokio::pin!(end);
    let outcome = loop {
        tokio::select! {
            // Steps first: the end comes after the last of them.
            biased;
            Ok(event) = events.recv() => show(screen, number, event, &mut steps),
            outcome = &mut end => break outcome.unwrap_or(RotationOutcome::Abandoned),
        }
    };
    drain(screen, number, &mut events, &mut steps);
    if outcome == RotationOutcome::Succeeded {
        return Ok(Rotated { token, steps });
    }
    Err(failed(screen, number, &outcome, steps.last()))
}

fn drain(screen: &Screen, number: u32, events: &mut broadcast::Receiver<StepEvent>, steps: &mut Vec<StepReport>) {
    while let Ok(event) = events.try_recv() {
        show(screen, number, event, steps);
    }
}

fn show(screen: &Screen, number: u32, event: StepEvent, steps: &mut Vec<StepReport>) {
    match event {
        StepEvent::Started { step, .. } => screen.pending(&step),
        StepEvent::Ended(report) => {
            show_report(screen, &report, "");
            screen.json(&StepLine::new(number, &report));
            steps.push(*report);
        }
    }
}

/// The line of a step that is over, with `aside` at its end, and below it, what is wrong.
pub(super) fn show_report(screen: &Screen, report: &StepReport, aside: &str) {
    let time = format!("{:>6.0} ms", milliseconds(report.duration()));
    let cold = match report.outcome.init_duration {
        Some(init) => screen.paint(Style::Dim, &format!("  (cold start {:.0} ms)", milliseconds(init))),
        None => String::new(),
    };
    match report.result() {
        Ok(result) => screen.settle(true, &format!("{:<13}{time}  {}{cold}{aside}", report.step, describe(&result))),
        Err(StepError { error_type, error_message }) => {
            let code = screen.paint(Style::Bad, &error_type);
            screen.settle(false, &format!("{:<13}{time}  {code}{aside}", report.step));
            screen.line(&format!("    {error_message}"));
        }
    }
}

/// The function's result in words: its outcome and its facts, e.g. "changed as superuser".
fn describe(result: &Value) -> String {
    let outcome = result.get("outcome").and_then(Value::as_str).unwrap_or("done").replace('-', " ");
    let facts = result.as_object().into_iter().flatten().filter(|(key, _)| !matches!(key.as_str(), "outcome" | "step"));
    let (reasons, facts): (Vec<_>, Vec<_>) = facts.partition(|(key, _)| *key == "because");
    let facts = facts.into_iter().chain(reasons);
    let facts: Vec<_> = facts.map(|(key, value)| format!("{} {}", words(key), plain(value))).collect();
    match facts.join(", ") {
        facts if facts.is_empty() => outcome,
        // "changed as superuser" contains "changed".
        facts if facts.starts_with(&outcome) => facts,
        facts => format!("{outcome}: {facts}"),
    }
}

/// `changedAs` as "changed as".
fn words(key: &str) -> String {
    let mut words = String::new();
    for letter in key.chars() {
        if letter.is_ascii_uppercase() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

/// A step in `--json`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StepLine<'a> {
    rotation: u32,
    step: &'a str,
    outcome: &'static str,
    milliseconds: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cold_start_milliseconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<Value>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    error: Option<ErrorFields>,
}

#[derive(Serialize)]
struct ErrorFields {
    code: String,
    message: String,
}

/// The last line of `--json` where something failed.
#[derive(Serialize)]
pub(super) struct FailedLine<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    rotation: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    step: Option<&'a str>,
    code: &'a str,
    message: &'a str,
}

impl<'a> FailedLine<'a> {
    pub(super) fn new(rotation: Option<u32>, step: Option<&'a str>, code: &'a str, message: &'a str) -> Self {
        Self { outcome: "failed", rotation, step, code, message }
    }
}

impl<'a> StepLine<'a> {
    fn new(rotation: u32, report: &'a StepReport) -> Self {
        let (outcome, result, error) = match report.result() {
            Ok(result) => ("ok", Some(result), None),
            Err(StepError { error_type: code, error_message: message }) => {
                ("failed", None, Some(ErrorFields { code, message }))
            }
        };
        Self {
            rotation,
            step: &report.step,
            outcome,
            milliseconds: rounded(report.duration()),
            cold_start_milliseconds: report.outcome.init_duration.map(rounded),
            result,
            error,
        }
    }
}

fn refused(screen: &Screen, number: u32, kind: &str, message: &str) -> Stop {
    screen.settle(false, &format!("RotateSecret  {}", screen.paint(Style::Bad, kind)));
    screen.line(&format!("    {message}"));
    screen.json(&FailedLine::new(Some(number), None, kind, message));
    Stop::Failed
}

/// The error code if no step failed and the secret is still not rotated.
const INCOMPLETE: &str = "rotation-incomplete";

fn failed(screen: &Screen, number: u32, outcome: &RotationOutcome, last: Option<&StepReport>) -> Stop {
    let outcome = match outcome {
        RotationOutcome::Succeeded => "succeeded",
        RotationOutcome::Failed(reason) => reason,
        RotationOutcome::Abandoned => "somebody else changed the secret during the rotation",
    };
    let error = last.and_then(|report| report.result().err());
    let (code, message) = match error {
        Some(error) => (error.error_type, error.error_message),
        None => (INCOMPLETE.to_owned(), format!("No step failed, but: {outcome}.")),
    };
    if code == INCOMPLETE {
        screen.settle(false, &message);
    }
    screen.line(&screen.paint(Style::Bad, "  not rotated"));
    let step = last.map(|report| report.step.as_str());
    screen.json(&FailedLine::new(Some(number), step, &code, &message));
    Stop::Failed
}

pub(super) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// Milliseconds to a tenth.
pub(super) fn rounded(time: Duration) -> f64 {
    (milliseconds(time) * 10.0).round() / 10.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_put_in_words() {
        for (result, words) in [
            (json!({ "step": "setSecret", "outcome": "changed", "changedAs": "superuser" }), "changed as superuser"),
            (
                json!({ "outcome": "changed", "because": "it must", "changedAs": "current" }),
                "changed as current, because it must",
            ),
            (json!({ "step": "testSecret", "outcome": "already-current" }), "already current"),
            (json!({ "outcome": "created", "grants": 3 }), "created: grants 3"),
            (Value::Null, "done"),
        ] {
            assert_eq!(describe(&result), words);
        }
    }
}
