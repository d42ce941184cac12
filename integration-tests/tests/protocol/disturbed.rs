//! Secrets Manager in trouble, a slow database, and people who interfere.

use integration_tests::failure::{in_time, retryable};
use integration_tests::{STEPS, Secret, Server, World, merged};
use lab::disturb::{DATABASE, Fault};
use lab::lambda::{Outcome as StepOutcome, StepError, StepEvent};
use lab::relay::Mode;
use lab::secretsmanager::RotationOutcome;
use lab::servers::postgres::Options;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The operations that a rotation needs.
const OPERATIONS: [&str; 4] = ["DescribeSecret", "GetSecretValue", "PutSecretValue", "UpdateSecretVersionStage"];

// ---- Secrets Manager in trouble

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_for_a_while_is_asked_again() {
    let world = World::start().await;
    let secret = world.user("app").await;
    for fault in [Fault::Throttle, Fault::Fail(500), Fault::Fail(503)] {
        let disturb = world.lab.disturb();
        disturb.restart();
        OPERATIONS.into_iter().for_each(|operation| {
            disturb.on_next(operation, fault);
            disturb.on_next(operation, fault);
        });
        secret.rotated().await;
        assert_eq!(disturb.fired(), 2 * OPERATIONS.len(), "{fault:?}");
        assert!(secret.opens("AWSCURRENT").await, "{fault:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_in_trouble_until_the_end_is_named() {
    in_trouble_until_the_end(Fault::Throttle, "service-throttled").await;
    in_trouble_until_the_end(Fault::Fail(500), "service-unavailable").await;
    in_trouble_until_the_end(Fault::Fail(503), "service-unavailable").await;
}

async fn in_trouble_until_the_end(fault: Fault, code: &str) {
    let limit = Duration::from_secs(5);
    let world = World::with(Options::default(), |function| function.timeout(limit)).await;
    let (new, set) = (world.user("new").await, world.user("set").await);
    let (new_token, set_token) = (new.registered().await, set.registered().await);
    set.steps(&["createSecret", "setSecret"], &set_token).await;
    let took = RefCell::new(Vec::new());
    let gives_up = async |step: &str, secret: &Secret<'_>, token: &str, operation: &str| {
        let outcome = world.lab.invoke_step(step, &secret.arn, token).await;
        let error = outcome.result().expect_err(step);
        assert_eq!(error.error_type, code, "{step}, {operation}: {error:?}");
        assert!(error.error_message.contains(&format!("call={operation:?}")), "{error:?}");
        assert!(fact(&error, "attempts").parse::<u32>().expect("a number") > 1, "{error:?}");
        took.borrow_mut().push(outcome.duration);
        assert!(outcome.duration > limit / 2, "{step} gave up after {:?}", outcome.duration);
        assert!(retryable(&outcome), "{error:?}");
    };

    // Each of these is called by one step alone.
    world.lab.disturb().on_every("PutSecretValue", fault);
    world.lab.disturb().on_every("UpdateSecretVersionStage", fault);
    tokio::join!(
        gives_up("createSecret", &new, &new_token, "PutSecretValue"),
        gives_up("finishSecret", &set, &set_token, "UpdateSecretVersionStage"),
    );
    for operation in ["DescribeSecret", "GetSecretValue"] {
        world.lab.disturb().restart();
        world.lab.disturb().on_every(operation, fault);
        tokio::join!(
            gives_up("createSecret", &new, &new_token, operation),
            gives_up("setSecret", &set, &set_token, operation),
            gives_up("testSecret", &set, &set_token, operation),
            gives_up("finishSecret", &set, &set_token, operation),
        );
    }
    in_time(&took.into_inner(), limit);

    world.lab.disturb().restart();
    new.steps(&STEPS, &new_token).await;
    set.steps(&STEPS, &set_token).await;
    assert!(new.opens("AWSCURRENT").await && set.opens("AWSCURRENT").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_that_lag_behind_are_made_again() {
    let world = World::start().await;
    for (position, step) in STEPS.into_iter().enumerate() {
        for operation in ["DescribeSecret", "GetSecretValue"] {
            let secret = world.user(&format!("{step}_{operation}")).await;
            let token = secret.registered().await;
            secret.steps(&STEPS[..position], &token).await;
            world.lab.disturb().restart();
            world.lab.disturb().on_next(operation, Fault::StaleRead);
            world.lab.disturb().on_next(operation, Fault::StaleRead);
            let answer = secret.step(step, &token).await;
            assert!(answer.is_ok(), "{step} with a stale {operation}: {answer:?}");
            assert!(world.lab.disturb().fired() > 0, "{step} does not call {operation}");
            world.lab.disturb().restart();
            secret.steps(&STEPS[position..], &token).await;
            secret.arrived(&token).await;
        }
    }
}

/// finishSecret did its work, its answer was lost, and now it runs again and sees the labels as they were before.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_finish_that_reads_old_labels_finds_the_first() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS, &token).await;
    world.lab.disturb().restart();
    world.lab.disturb().on_next("DescribeSecret", Fault::StaleRead);
    world.lab.disturb().on_next("GetSecretValue", Fault::StaleRead);
    world.lab.disturb().on_next("GetSecretValue", Fault::StaleRead);
    let answer = secret.step("finishSecret", &token).await.expect("the label is where it should be");
    assert_eq!(answer["outcome"], "promoted");
    secret.arrived(&token).await;
}

// ---- a slow database

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_database_is_waited_for() {
    let world = World::start().await;
    let secret = world.user("app").await;
    world.lab.disturb().on_every(DATABASE, Fault::Delay(Duration::from_millis(250)));
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_waited_for_up_to_its_limit() {
    let world = World::start().await;
    let delay = Duration::from_secs(6);
    let took_it = async |_: &Secret<'_>, outcome: &StepOutcome| outcome.duration >= delay;
    let (_, _, answer) = at_the_change(&world, "patient", Fault::Delay(delay), took_it).await;
    assert_eq!(answer.expect("six seconds are within the limit")["outcome"], "changed");

    // The change reaches the server three seconds after the function has given up on it.
    let during_a_statement = async |_: &Secret<'_>, outcome: &StepOutcome| {
        outcome.result().is_err_and(|error| fact(&error, "call") == "a statement")
    };
    let delay = Fault::Delay(Duration::from_secs(12));
    let (late, token, answer) = at_the_change(&world, "late", delay, during_a_statement).await;
    let error = answer.expect_err("twelve seconds are not");
    assert_eq!(error.error_type, "server-silent", "{error:?}");
    late.steps(&STEPS, &token).await;
    late.arrived(&token).await;
}

/// A setSecret in which this happens to the call that changes the password and commits: the secret, the token and the answer.
///
/// On a busy machine a handshake or a good-bye may come in more pieces than one moment before, so that another call is struck.
/// Then it is tried again with another user, until there is `struck`.
async fn at_the_change<'a>(
    world: &'a World,
    user: &str,
    fault: Fault,
    struck: impl AsyncFn(&Secret<'a>, &StepOutcome) -> bool,
) -> (Secret<'a>, String, Result<Value, StepError>) {
    let mut answers = Vec::new();
    for attempt in 0..5 {
        let number = call_before_the_good_bye(world, &format!("{user}_model{attempt}")).await;
        let secret = world.user(&format!("{user}{attempt}")).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        world.lab.disturb().restart();
        world.lab.disturb().on_call(number, fault);
        let outcome = world.lab.invoke_step("setSecret", &secret.arn, &token).await;
        world.lab.disturb().restart();
        if struck(&secret, &outcome).await {
            return (secret, token, outcome.result());
        }
        answers.push(outcome.result());
    }
    panic!("{fault:?} never struck the change: {answers:?}");
}

/// The number of that call, among the external ones of a single user's setSecret.
async fn call_before_the_good_bye(world: &World, user: &str) -> usize {
    let secret = world.user(user).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    world.lab.disturb().restart();
    secret.steps(&["setSecret"], &token).await;
    let flights: Vec<_> = world.lab.calls().into_iter().filter(|call| call.operation == DATABASE).collect();
    flights[flights.len() - 2].number
}

// ---- two finish at once

#[tokio::test(flavor = "multi_thread")]
async fn finish_raced_by_another_finisher_is_done() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..3], &token).await;
    let old = secret.version("AWSCURRENT").await;
    let (answer, ()) = tokio::join!(
        secret.step("finishSecret", &token),
        while_finish_waits(&world, move_current(&world, &secret, &old, &token))
    );
    assert_eq!(answer.expect("the label is where it should be")["outcome"], "promoted");
    secret.arrived(&token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_does_not_take_the_label_from_where_somebody_has_just_put_it() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..3], &token).await;
    let (old, older) = (secret.version("AWSCURRENT").await, secret.version("AWSPREVIOUS").await);
    let (answer, ()) = tokio::join!(
        secret.step("finishSecret", &token),
        while_finish_waits(&world, move_current(&world, &secret, &old, &older))
    );
    assert_eq!(answer.expect_err("the label has moved").error_type, "write-conflict");
    assert_eq!(secret.version("AWSCURRENT").await, older);
    // Tried again, it knows of the move.
    secret.steps(&["finishSecret"], &token).await;
    secret.arrived(&token).await;
}

/// Holds the next UpdateSecretVersionStage of the function back until `work` is done.
async fn while_finish_waits(world: &World, work: impl Future<Output = ()>) {
    let moves = || world.lab.calls().iter().any(|call| call.operation == "UpdateSecretVersionStage");
    world.lab.disturb().restart();
    world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::Delay(Duration::from_secs(3)));
    let seen = async {
        while !moves() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(10), seen).await.expect("finishSecret moves the label");
    work.await;
}

async fn move_current(world: &World, secret: &Secret<'_>, from: &str, to: &str) {
    let request = json!({
        "SecretId": secret.arn, "VersionStage": "AWSCURRENT", "RemoveFromVersionId": from, "MoveToVersionId": to
    });
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label moves");
}

// ---- people who interfere, and rotations left behind

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_rotation_is_taken_up_by_the_next_rotate_secret() {
    let world = World::start().await;
    for secret in [world.user("single").await, world.alternating_user("base").await] {
        world.relay.set(Mode::Refuse).await.expect("the relay runs");
        let report = secret.rotate().await;
        assert_eq!(report.error().expect("setSecret fails").error_type, "connection-refused");
        assert_eq!(secret.version("AWSPENDING").await, report.token);
        assert!(secret.opens("AWSCURRENT").await);

        world.relay.set(Mode::Forward).await.expect("the relay runs");
        let end = world.lab.rotation_end(&report.token);
        let request = json!({"SecretId": secret.arn});
        let refused = world.lab.call("RotateSecret", request).await.expect_err("the one before comes first");
        assert_eq!(refused.kind, "InvalidRequestException");
        assert_eq!(end.await, RotationOutcome::Succeeded);
        secret.arrived(&report.token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_put_by_hand_before_set_ends_the_rotation_and_the_database_is_untouched() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let before = world.server.hashes().await;
    let by_hand = merged(secret.at("AWSCURRENT").await, json!({"note": "by hand"}));
    // Time for a person's call between the steps.
    world.lab.disturb().latency(Duration::from_secs(1));
    let mut steps = world.lab.watch_steps();
    let interfere = async {
        while !matches!(steps.recv().await.expect("steps happen"), StepEvent::Ended(_)) {}
        secret.put(&by_hand).await;
    };
    let (report, ()) = tokio::join!(secret.rotate(), interfere);
    assert_eq!(report.outcome, RotationOutcome::Abandoned);
    // The service may notice before it invokes the function once more.
    assert!(report.error().is_none_or(|error| error.error_type == "version-unknown"), "{:?}", report.error());
    assert_eq!(world.server.hashes().await, before);
    assert_eq!(world.relay.connections(), 0);

    world.lab.disturb().restart();
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
    assert_eq!(secret.at("AWSCURRENT").await["note"], "by hand");
}

// ---- helpers

/// A fact in an error's message.
fn fact<'a>(error: &'a StepError, name: &str) -> &'a str {
    let (_, after) = error.error_message.split_once(&format!("{name}=\"")).unwrap_or_default();
    after.split_once('"').unwrap_or_default().0
}
