//! A fault at one external call of a rotation, and the same rotation begun again, whatever the credential is for.

use crate::{STEPS, Secret, at_rest};
use lab::disturb::Fault;
use lab::secretsmanager::RotationOutcome;
use lab::stack::RotationReport;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// Rotates to this version with a fault at the n-th call, and waits until nothing of the function is under way: `quiet` is what else
/// to wait for. Returns whether there was such a call, and words for it.
pub async fn struck<S>(
    secret: &Secret<'_, S>,
    token: &str,
    (number, fault): (usize, Fault),
    quiet: impl Future<Output = ()>,
) -> (bool, String) {
    let disturb = secret.lab.disturb();
    disturb.restart();
    disturb.on_call(number, fault);
    let report = secret.lab.rotate_to(&secret.arn, token).await.expect("the rotation begins");
    quiet.await;
    at_rest(secret.lab).await;
    let struck = disturb.calls().into_iter().find(|call| call.fault.is_some());
    disturb.restart();
    let at = match &struck {
        Some(call) => format!("{fault:?} at call {number}, {} {:?}", call.operation, call.flight),
        None => format!("{fault:?} never came to call {number}"),
    };
    assert!(struck.is_some() || report.rotated(), "{at}: {:?}", report.error());
    fails_retryably(&report, &at);
    (struck.is_some(), at)
}

/// A step that failed was killed, or says that trying again will help.
fn fails_retryably(report: &RotationReport, at: &str) {
    let Some(error) = report.error() else { return };
    if error.error_type == "Runtime.ExitError" {
        return;
    }
    let log =
        report.steps.last().map(|step| String::from_utf8_lossy(&step.outcome.log).into_owned()).unwrap_or_default();
    let mut lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    assert!(lines.any(|line| line["class"] == "retryable"), "{at}: {error:?}");
}

/// Begins the rotation again from createSecret, as the service does. It has to succeed, or for so long to say that another attempt
/// may be under way.
pub async fn run_again<S>(secret: &Secret<'_, S>, token: &str, patience: Duration, at: &str) {
    let since = Instant::now();
    loop {
        let end = secret.lab.rotation_end(token);
        let request = json!({"SecretId": secret.arn, "ClientRequestToken": token});
        let Err(incomplete) = secret.lab.call("RotateSecret", request).await else { break };
        assert_eq!(incomplete.kind, "InvalidRequestException", "{at}: {incomplete}");
        let failed = match end.await {
            RotationOutcome::Succeeded => return,
            failed => failed,
        };
        let attempt = secret.step("createSecret", token).await;
        // By now it may work.
        let waits = attempt.as_ref().map_or_else(|error| error.error_type == "attempt-under-way", |_| true);
        assert!(waits && since.elapsed() < patience, "{at}: {failed:?} {attempt:?}");
        sleep(Duration::from_secs(1)).await;
    }
    // The version is current already. Whoever invokes the function all the same is told so.
    for step in STEPS {
        let answer = secret.step(step, token).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
        assert_eq!(answer["outcome"], "already-current", "{at}: {step}");
    }
}
