//! A fault at one external call of a rotation, and what has to hold after it: right away somebody can still get in, and the
//! same rotation, begun again from createSecret, converges.

use crate::{STEPS, Secret, Server, World, at_rest, uuid};
use lab::disturb::Fault;
use lab::secretsmanager::RotationOutcome;
use lab::stack::RotationReport;
use serde_json::{Value, json};
use std::future::Future;
use std::time::Duration;

/// What stays of a credential that was superseded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Superseded {
    /// It is refused: a single user.
    Ends,
    /// It works: dual passwords, and pairs.
    Works,
}

/// A server's own part of a crash test.
pub trait Scene<S: Server> {
    /// Where everything happens.
    fn world(&self) -> &World<S>;
    /// How many connections of the function the server has.
    fn connections(&self) -> impl Future<Output = usize>;
    /// Whether the base's clone is absent, or cannot be logged in to, or has all that it should.
    fn clone_is_absent_or_complete(&self, base: &str) -> impl Future<Output = bool>;
    /// Fails unless the clone is there with the privileges of its base.
    fn privileges_are_equal(&self, base: &str, at: &str) -> impl Future<Output = ()>;
}

/// Rotates with a fault at the n-th call, then runs the same rotation again without. False if there was no such call.
pub async fn strike<S: Server>(
    scene: &impl Scene<S>,
    secret: &Secret<'_, S>,
    base: Option<&str>,
    superseded: Superseded,
    number: usize,
    fault: Fault,
) -> bool {
    let lab = &scene.world().lab;
    let disturb = lab.disturb();
    let old = secret.credential("AWSCURRENT").await;
    let whole = match base {
        Some(base) => scene.clone_is_absent_or_complete(base).await,
        None => true,
    };
    let token = uuid();
    quiet(scene).await;
    disturb.restart();
    disturb.on_call(number, fault);
    let report = lab.rotate_to(&secret.arn, &token).await.expect("the rotation begins");
    quiet(scene).await;
    let struck = disturb.calls().into_iter().find(|call| call.fault.is_some());
    disturb.restart();
    let at = match &struck {
        Some(call) => format!("{fault:?} at call {number}, {} {:?}", call.operation, call.flight),
        None => format!("{fault:?} never came to call {number}"),
    };

    assert!(struck.is_some() || report.rotated(), "{at}: {:?}", report.error());
    fails_retryably(&report, &at);
    somebody_gets_in(scene.world(), secret, superseded, &at).await;
    if let Some(base) = base {
        assert!(!whole || scene.clone_is_absent_or_complete(base).await, "{at}: half a clone");
    }

    run_again(scene.world(), secret, &token, &at).await;
    converged(secret, &token, &old, &at).await;
    if superseded == Superseded::Works {
        assert!(secret.opens("AWSPREVIOUS").await, "{at}: the previous credential is refused");
    }
    if let Some(base) = base {
        scene.privileges_are_equal(base, &at).await;
    }
    struck.is_some()
}

/// Waits until nothing of the function is under way.
async fn quiet<S: Server>(scene: &impl Scene<S>) {
    let quiet = async {
        while scene.connections().await != 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), quiet).await.expect("the function's connections end");
    at_rest(&scene.world().lab).await;
}

/// What a consumer of the secret finds: AWSCURRENT works or, where a superseded credential ends at once, AWSPENDING.
async fn somebody_gets_in<S: Server>(world: &World<S>, secret: &Secret<'_, S>, superseded: Superseded, at: &str) {
    if secret.opens("AWSCURRENT").await {
        return;
    }
    assert_eq!(superseded, Superseded::Ends, "{at}: AWSCURRENT is refused");
    let pending = world.lab.secret_value(&secret.arn, "AWSPENDING").await;
    assert!(pending.is_ok(), "{at}: AWSCURRENT is refused, and AWSPENDING is no more");
    assert!(secret.opens("AWSPENDING").await, "{at}: AWSCURRENT and AWSPENDING are refused");
}

/// Begins the rotation again from createSecret, as the service does.
async fn run_again<S: Server>(world: &World<S>, secret: &Secret<'_, S>, token: &str, at: &str) {
    let end = world.lab.rotation_end(token);
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": token});
    match world.lab.call("RotateSecret", request).await {
        Err(incomplete) => {
            assert_eq!(incomplete.kind, "InvalidRequestException", "{at}: {incomplete}");
            assert_eq!(end.await, RotationOutcome::Succeeded, "{at}");
        }
        // The version is current already. Whoever invokes the function all the same is told so.
        Ok(_) => {
            for step in STEPS {
                let answer = secret.step(step, token).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
                assert_eq!(answer["outcome"], "already-current", "{at}: {step}");
            }
        }
    }
}

async fn converged<S: Server>(secret: &Secret<'_, S>, token: &str, old: &(String, String), at: &str) {
    let labels = secret.labels().await;
    assert_eq!(secret.holders("AWSCURRENT").await, [token], "{at}: {labels}");
    assert!(secret.holders("AWSPENDING").await.iter().all(|version| version == token), "{at}: {labels}");
    assert_ne!(&secret.credential("AWSCURRENT").await, old, "{at}: the credential is the old one");
    assert!(secret.opens("AWSCURRENT").await, "{at}: the new credential is refused");
    assert_eq!(&secret.credential("AWSPREVIOUS").await, old, "{at}: {labels}");
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
    let retryable = lines.any(|line| line.to_string().contains(r#""class":"retryable""#));
    assert!(retryable, "{at}: {error:?}");
}
