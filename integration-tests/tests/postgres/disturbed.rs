//! What else can go wrong around a rotation: a service that throttles, fails or lags, a slow database, two invocations at
//! once, steps out of order, and people who interfere.

use integration_tests::failure::{in_time, retryable};
use integration_tests::{STEPS, Secret, World, merged, uuid};
use lab::disturb::{DATABASE, Fault};
use lab::lambda::{Outcome as StepOutcome, StepError, StepEvent};
use lab::relay::Mode;
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
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
            arrived(&secret, &token).await;
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
    arrived(&secret, &token).await;
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
    arrived(&late, &token).await;
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

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_of_the_change_is_found_out() {
    let world = World::start().await;
    let changed_and_failed = async |secret: &Secret<'_>, outcome: &StepOutcome| {
        outcome.result().is_err() && !secret.opens("AWSCURRENT").await
    };
    let (secret, token, answer) = at_the_change(&world, "app", Fault::LoseReply, changed_and_failed).await;
    let error = answer.expect_err("the reply was lost");
    assert_eq!(error.error_type, "connection-lost", "{error:?}");
    assert!(secret.opens("AWSPENDING").await, "the change was made");
    let answer = secret.step("setSecret", &token).await.expect("the pending password is in effect");
    assert_eq!(answer["outcome"], "already-in-effect");
    secret.steps(&STEPS, &token).await;
    arrived(&secret, &token).await;
}

/// Three seconds are AWS's default for a new function.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_slower_than_the_function_may_be_ends_in_our_own_error() {
    let limit = Duration::from_secs(3);
    let world = World::with(Options::default(), |function| function.timeout(limit)).await;
    let (created, set) = (world.user("created").await, world.user("set").await);
    let (created_token, set_token) = (created.registered().await, set.registered().await);
    created.steps(&["createSecret"], &created_token).await;
    set.steps(&["createSecret", "setSecret"], &set_token).await;
    let took = RefCell::new(Vec::new());
    let gives_up = async |step: &str, secret: &Secret<'_>, token: &str, mode: Mode| {
        let outcome = world.lab.invoke_step(step, &secret.arn, token).await;
        let error = outcome.result().expect_err(step);
        assert!(["server-silent", "time-spent"].contains(&error.error_type.as_str()), "{step}, {mode:?}: {error:?}");
        took.borrow_mut().push(outcome.duration);
        assert!(retryable(&outcome), "{error:?}");
    };
    // The last one lets the login pass and leaves too little for what follows.
    for mode in [Mode::Silent, Mode::Delay(limit), Mode::Delay(Duration::from_millis(350))] {
        world.relay.set(mode).await.expect("the relay runs");
        tokio::join!(
            gives_up("setSecret", &created, &created_token, mode),
            gives_up("testSecret", &set, &set_token, mode),
            gives_up("finishSecret", &set, &set_token, mode),
        );
    }
    in_time(&took.into_inner(), limit);
    world.relay.set(Mode::Forward).await.expect("the relay runs");
    created.steps(&STEPS, &created_token).await;
    set.steps(&STEPS, &set_token).await;
    arrived(&created, &created_token).await;
    arrived(&set, &set_token).await;
}

// ---- two at once

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_single_user_twice_at_once() {
    let world = World::start().await;
    every_step_twice_at_once(&world, &world.user("app").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_alternating_users_twice_at_once() {
    let world = World::start().await;
    every_step_twice_at_once(&world, &world.alternating_user("app").await).await;
}

async fn every_step_twice_at_once(world: &World, secret: &Secret<'_>) {
    for round in 1..=6 {
        let token = secret.registered().await;
        for step in STEPS {
            let invoke = || world.lab.invoke_step(step, &secret.arn, &token);
            let (first, second) = tokio::join!(invoke(), invoke());
            let failures: Vec<_> = [&first, &second].into_iter().filter(|outcome| outcome.result().is_err()).collect();
            assert!(failures.len() < 2, "round {round}, {step}: {:?} {:?}", first.result(), second.result());
            for failure in failures {
                assert!(retryable(failure), "round {round}, {step}: {:?}", failure.result());
            }
        }
        arrived(secret, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_of_a_single_users_rotation_interleaved() {
    let world = World::start().await;
    two_runs_interleaved(&world, &world.user("app").await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_of_alternating_users_rotation_interleaved() {
    let world = World::start().await;
    two_runs_interleaved(&world, &world.alternating_user("app").await).await;
}

/// Runs all four steps twice with one token, the second run a little later than the first.
async fn two_runs_interleaved(world: &World, secret: &Secret<'_>) {
    for lag in [0, 5, 10, 20, 30, 45, 60, 80].map(Duration::from_millis) {
        let token = secret.registered().await;
        let run = async |wait: Duration| {
            sleep(wait).await;
            for step in STEPS {
                let outcome = world.lab.invoke_step(step, &secret.arn, &token).await;
                if let Err(error) = outcome.result() {
                    assert!(retryable(&outcome), "{lag:?} apart, {step}: {error:?}");
                    return;
                }
            }
        };
        tokio::join!(run(Duration::ZERO), run(lag));
        secret.steps(&STEPS, &token).await;
        arrived(secret, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_raced_by_another_finisher_is_done() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..3], &token).await;
    let old = version_at(&secret, "AWSCURRENT").await;
    let (answer, ()) = tokio::join!(
        secret.step("finishSecret", &token),
        while_finish_waits(&world, move_current(&world, &secret, &old, &token))
    );
    assert_eq!(answer.expect("the label is where it should be")["outcome"], "promoted");
    arrived(&secret, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn finish_does_not_take_the_label_from_where_somebody_has_just_put_it() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..3], &token).await;
    let (old, older) = (version_at(&secret, "AWSCURRENT").await, version_at(&secret, "AWSPREVIOUS").await);
    let (answer, ()) = tokio::join!(
        secret.step("finishSecret", &token),
        while_finish_waits(&world, move_current(&world, &secret, &old, &older))
    );
    assert_eq!(answer.expect_err("the label has moved").error_type, "write-conflict");
    assert_eq!(version_at(&secret, "AWSCURRENT").await, older);
    // Tried again, it knows of the move.
    secret.steps(&["finishSecret"], &token).await;
    arrived(&secret, &token).await;
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

// ---- steps twice, out of order, and too late

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_a_single_user_run_twice() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let expected = ["proposed", "already-proposed", "changed", "already-in-effect", "verified", "verified", "promoted"];
    each_step_twice(&secret, &expected).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_step_of_alternating_users_run_twice() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    // setSecret converges the pair whatever it finds.
    let expected = ["proposed", "already-proposed", "changed", "changed", "verified", "verified", "promoted"];
    for _ in 0..2 {
        each_step_twice(&secret, &expected).await;
    }
}

async fn each_step_twice(secret: &Secret<'_>, expected: &[&str]) {
    let token = secret.registered().await;
    let mut outcomes = Vec::new();
    let mut proposed = None;
    for step in STEPS.into_iter().flat_map(|step| [step, step]) {
        let answer = secret.step(step, &token).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        outcomes.push(answer["outcome"].as_str().unwrap_or_default().to_owned());
        let pending = secret.at("AWSPENDING").await;
        assert_eq!(proposed.get_or_insert_with(|| pending.clone()), &pending, "{step} changed the pending value");
    }
    assert_eq!(outcomes[..7], *expected);
    assert_eq!(outcomes[7], "already-current");
    arrived(secret, &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_out_of_order_are_refused_and_change_nothing() {
    let world = World::start().await;
    for secret in [world.user("single").await, world.alternating_user("base").await] {
        let old = secret.credential("AWSCURRENT").await;
        let token = secret.registered().await;
        for step in ["setSecret", "finishSecret"] {
            assert_eq!(code(secret.step(step, &token).await), "pending-missing", "{step} before createSecret");
        }
        // What RotateImmediately=false asks for.
        let answer = secret.step("testSecret", &token).await.expect("the configuration is good");
        assert_eq!(answer["outcome"], "configuration-verified");
        secret.steps(&["createSecret"], &token).await;
        let before = passwords(&world).await;
        for step in ["testSecret", "finishSecret"] {
            assert_eq!(code(secret.step(step, &token).await), "pending-rejected", "{step} before setSecret");
        }
        assert_eq!(secret.credential("AWSCURRENT").await, old);
        assert_eq!(passwords(&world).await, before);
        assert!(secret.opens("AWSCURRENT").await);
        secret.steps(&["setSecret", "finishSecret"], &token).await;
        arrived(&secret, &token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_comes_too_late_touches_nothing() {
    let world = World::start().await;
    for secret in [world.user("single").await, world.alternating_user("base").await] {
        let late = secret.rotated().await.token;
        secret.rotated().await;
        // Another pending version: not the one that the late steps are about.
        let next = secret.registered().await;
        secret.steps(&["createSecret"], &next).await;
        let state = || async { (passwords(&world).await, secret.labels().await, world.relay.connections()) };
        let before = state().await;
        for step in STEPS {
            assert_eq!(code(secret.step(step, &late).await), "version-not-pending", "{step}");
            assert_eq!(code(secret.step(step, &uuid()).await), "version-unknown", "{step}");
        }
        assert_eq!(state().await, before);
        secret.steps(&STEPS, &next).await;
        arrived(&secret, &next).await;
    }
}

// ---- people who interfere, and rotations left behind

#[tokio::test(flavor = "multi_thread")]
async fn an_unfinished_rotation_is_taken_up_by_the_next_rotate_secret() {
    let world = World::start().await;
    for secret in [world.user("single").await, world.alternating_user("base").await] {
        world.relay.set(Mode::Refuse).await.expect("the relay runs");
        let report = secret.rotate().await;
        assert_eq!(report.error().expect("setSecret fails").error_type, "connection-refused");
        assert_eq!(version_at(&secret, "AWSPENDING").await, report.token);
        assert!(secret.opens("AWSCURRENT").await);

        world.relay.set(Mode::Forward).await.expect("the relay runs");
        let end = world.lab.rotation_end(&report.token);
        let request = json!({"SecretId": secret.arn});
        let refused = world.lab.call("RotateSecret", request).await.expect_err("the one before comes first");
        assert_eq!(refused.kind, "InvalidRequestException");
        assert_eq!(end.await, RotationOutcome::Succeeded);
        arrived(&secret, &report.token).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_put_by_hand_before_set_ends_the_rotation_and_the_database_is_untouched() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let before = passwords(&world).await;
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
    assert_eq!(passwords(&world).await, before);
    assert_eq!(world.relay.connections(), 0);

    world.lab.disturb().restart();
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
    assert_eq!(secret.at("AWSCURRENT").await["note"], "by hand");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_by_hand_after_set_is_what_the_next_rotation_starts_from() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let password = Password::random();
    world.sql(&format!("ALTER ROLE app PASSWORD '{}'", password.expose().replace('\'', "''"))).await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"password": password.expose()}))).await;
    for step in &STEPS[1..] {
        assert_eq!(code(secret.step(step, &token).await), "version-unknown", "{step}");
    }
    assert!(secret.opens("AWSCURRENT").await);
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

/// Nobody can undo that without a superuser, but nothing is made worse, and the error says which state this is.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_put_by_hand_after_set_is_reported_as_a_lock_out() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let set = secret.credential("AWSPENDING").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "as before, or so it seems"}))).await;
    let before = passwords(&world).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "locked-out", "{error:?}");
    assert_eq!(passwords(&world).await, before);

    // The password in effect is still in the version that the rotation made: putting it back mends it.
    let request = json!({"SecretId": secret.arn, "VersionId": token});
    let kept = world.lab.call("GetSecretValue", request).await.expect("versions stay for a day");
    let kept: Value = serde_json::from_str(kept["SecretString"].as_str().expect("text")).expect("JSON");
    assert_eq!(kept["password"], set.1);
    secret.put(&kept).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

// ---- helpers

/// The version is current, nothing else is pending, and its credential opens the database.
async fn arrived(secret: &Secret<'_>, token: &str) {
    let labels = secret.labels().await;
    assert_eq!(version_at(secret, "AWSCURRENT").await, token, "{labels}");
    let pending = secret.holders("AWSPENDING").await;
    assert!(pending.iter().all(|version| version == token), "{labels}");
    assert!(secret.opens("AWSCURRENT").await, "the current credential is refused");
}

async fn version_at(secret: &Secret<'_>, label: &str) -> String {
    let labels = secret.labels().await;
    let [version] = secret.holders(label).await.try_into().unwrap_or_else(|_| panic!("{label} once: {labels}"));
    version
}

/// Every role with a fingerprint of its stored password.
async fn passwords(world: &World) -> Vec<String> {
    world.ask("SELECT rolname || ' ' || md5(coalesce(rolpassword, '')) FROM pg_authid ORDER BY rolname").await
}

fn code(answer: Result<Value, StepError>) -> String {
    match answer {
        Ok(answer) => format!("succeeded: {answer}"),
        Err(error) => error.error_type,
    }
}

/// A fact in an error's message.
fn fact<'a>(error: &'a StepError, name: &str) -> &'a str {
    let (_, after) = error.error_message.split_once(&format!("{name}=\"")).unwrap_or_default();
    after.split_once('"').unwrap_or_default().0
}
