//! Two invocations at once, steps out of order, lost replies and people who interfere: as `disturbed.rs` for PostgreSQL, where
//! the server matters.

use integration_tests::failure::{in_time, retryable};
use integration_tests::{STEPS, Secret, World, merged};
use lab::disturb::Fault;
use lab::lambda::StepError;
use lab::relay::Mode;
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql, Options, literal};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

/// How a user rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strategy {
    DualPassword,
    SingleUser,
    AlternatingUsers,
}

use Strategy::{AlternatingUsers, DualPassword, SingleUser};

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

/// What there is on each kind of server.
fn strategies(kind: Kind) -> [Strategy; 2] {
    match kind {
        Kind::MySql => [DualPassword, AlternatingUsers],
        Kind::MariaDb => [SingleUser, AlternatingUsers],
    }
}

async fn user(world: &World<MySql>, strategy: Strategy) -> Secret<'_, MySql> {
    match strategy {
        DualPassword => world.dual_password_user("app").await,
        SingleUser => world.user("app").await,
        AlternatingUsers => world.alternating_user("base").await,
    }
}

// ---- two at once

#[tokio::test(flavor = "multi_thread")]
async fn every_step_twice_at_once() {
    for kind in KINDS {
        let world = World::of(kind).await;
        for strategy in strategies(kind) {
            each_step_twice_at_once(&world, strategy).await;
        }
    }
}

async fn each_step_twice_at_once(world: &World<MySql>, strategy: Strategy) {
    let secret = user(world, strategy).await;
    for round in 1..=4 {
        let token = secret.registered().await;
        for step in STEPS {
            let at = format!("{strategy:?} on {}, round {round}, {step}", world.server);
            let invoke = || world.lab.invoke_step(step, &secret.arn, &token);
            let (first, second) = tokio::join!(invoke(), invoke());
            let failures: Vec<_> = [&first, &second].into_iter().filter(|outcome| outcome.result().is_err()).collect();
            assert!(failures.len() < 2, "{at}: {:?} {:?}", first.result(), second.result());
            assert!(failures.into_iter().all(retryable), "{at}: {:?} {:?}", first.result(), second.result());
            // In the middle of it, too.
            assert!(strategy == SingleUser || secret.opens("AWSCURRENT").await, "{at}: consumers are refused");
        }
        arrived(&secret, &token, strategy).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_runs_interleaved() {
    for kind in KINDS {
        let world = World::of(kind).await;
        for strategy in strategies(kind) {
            runs_interleaved(&world, strategy).await;
        }
    }
}

/// Runs all four steps twice with one token, the second run a little later than the first.
async fn runs_interleaved(world: &World<MySql>, strategy: Strategy) {
    let secret = user(world, strategy).await;
    for lag in [0, 5, 20, 60].map(Duration::from_millis) {
        let token = secret.registered().await;
        let run = async |wait: Duration| {
            sleep(wait).await;
            for step in STEPS {
                let outcome = world.lab.invoke_step(step, &secret.arn, &token).await;
                if let Err(error) = outcome.result() {
                    let at = format!("{strategy:?} on {}, {lag:?} apart, {step}", world.server);
                    assert!(retryable(&outcome), "{at}: {error:?}");
                    return;
                }
            }
        };
        tokio::join!(run(Duration::ZERO), run(lag));
        secret.steps(&STEPS, &token).await;
        arrived(&secret, &token, strategy).await;
    }
}

// ---- replies lost, silence

/// Each answer of the server in setSecret is lost in turn: among them the one to the change itself.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_of_the_change_is_found_out() {
    tokio::join!(
        each_reply_to_set_is_lost(Kind::MySql, DualPassword),
        each_reply_to_set_is_lost(Kind::MariaDb, SingleUser)
    );
}

async fn each_reply_to_set_is_lost(kind: Kind, strategy: Strategy) {
    let world = World::of(kind).await;
    let secret = user(&world, strategy).await;
    let (mut unknown, mut sweeps) = (0, 0);
    let mut flight = 0;
    // How many flights a handshake takes varies with the load, so the change's own flight can be missed.
    while sweeps == 0 || (unknown == 0 && sweeps < 4) || flight > 0 {
        flight += 1;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let calls_of_the_service = 3;
        world.lab.disturb().restart();
        world.lab.disturb().on_call(calls_of_the_service + flight, Fault::LoseReply);
        let first = secret.step("setSecret", &token).await;
        let fired = world.lab.disturb().fired() > 0;
        world.lab.disturb().restart();
        let at = format!("{kind}, {strategy:?}, flight {flight}: {first:?}");
        let set = secret.opens("AWSPENDING").await;
        assert!(set || first.is_err(), "{at}");
        assert_eq!(secret.opens("AWSCURRENT").await, !set || strategy == DualPassword, "{at}");

        let again = secret.step("setSecret", &token).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
        if set && first.is_err() {
            assert_eq!(code(first), "connection-lost", "{at}");
            assert!(strategy == DualPassword || again["outcome"] == "already-in-effect", "{at}: {again}");
            unknown += 1;
        }
        assert_eq!(secret.opens("AWSCURRENT").await, strategy == DualPassword, "{at}");
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        arrived(&secret, &token, strategy).await;
        if !fired {
            (sweeps, flight) = (sweeps + 1, 0);
        }
    }
    assert!(unknown > 0, "{kind}, {strategy:?}: no reply to the change was lost");
}

/// Three seconds are AWS's default for a new function, and less than a login may take.
#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_is_told_from_an_absent_one_also_by_a_function_with_little_time() {
    let limit = Duration::from_secs(3);
    let world = World::mysql_with(Options::default(), |function| function.timeout(limit)).await;
    let secret = user(&world, DualPassword).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    world.relay.set(Mode::Silent).await.expect("the relay runs");
    let mut took = Vec::new();
    for _ in 0..3 {
        let outcome = world.lab.invoke_step("setSecret", &secret.arn, &token).await;
        took.push(outcome.duration);
        let error = outcome.result().expect_err("nothing is said");
        assert_eq!(error.error_type, "server-silent", "{error:?}");
    }
    in_time(&took, limit);
}

// ---- steps out of order

#[tokio::test(flavor = "multi_thread")]
async fn steps_out_of_order_are_refused_and_change_nothing() {
    for kind in KINDS {
        let world = World::of(kind).await;
        for strategy in strategies(kind) {
            steps_out_of_order(&world, strategy).await;
        }
    }
}

async fn steps_out_of_order(world: &World<MySql>, strategy: Strategy) {
    let secret = user(world, strategy).await;
    let at = format!("{strategy:?} on {}", world.server);
    let late = secret.rotated().await.token;
    let old = secret.credential("AWSCURRENT").await;
    let token = secret.registered().await;
    for step in ["setSecret", "finishSecret"] {
        assert_eq!(code(secret.step(step, &token).await), "pending-missing", "{at}: {step} before createSecret");
    }
    secret.steps(&["createSecret"], &token).await;
    let before = hashes(world).await;
    for step in ["testSecret", "finishSecret"] {
        assert_eq!(code(secret.step(step, &token).await), "pending-rejected", "{at}: {step} before setSecret");
    }
    for step in STEPS {
        assert_eq!(code(secret.step(step, &late).await), "already-current", "{at}: {step} of the one before");
    }
    assert_eq!(hashes(world).await, before, "{at}");
    assert_eq!(secret.credential("AWSCURRENT").await, old, "{at}");
    assert!(secret.opens("AWSCURRENT").await, "{at}");
    secret.steps(&["setSecret", "finishSecret"], &token).await;
    arrived(&secret, &token, strategy).await;
    assert_eq!(code(secret.step("setSecret", &late).await), "version-not-pending", "{at}");
}

// ---- people who interfere

#[tokio::test(flavor = "multi_thread")]
async fn a_password_changed_by_hand_between_set_and_finish_is_what_the_next_rotation_starts_from() {
    for (kind, strategy) in [(Kind::MySql, DualPassword), (Kind::MariaDb, SingleUser)] {
        let world = World::of(kind).await;
        let secret = user(&world, strategy).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret"], &token).await;
        let password = Password::random();
        world.sql(&format!("ALTER USER app IDENTIFIED BY {}", literal(password.expose()))).await;
        secret.put(&merged(secret.at("AWSCURRENT").await, json!({"password": password.expose()}))).await;
        for step in &STEPS[1..] {
            assert_eq!(code(secret.step(step, &token).await), "version-unknown", "{kind}: {step}");
        }
        assert!(secret.opens("AWSCURRENT").await, "{kind}");
        let token = secret.rotated().await.token;
        arrived(&secret, &token, strategy).await;
    }
}

/// A person saves the secret as it was while the server has the new password already. With dual passwords nobody notices: the
/// old one still works, and the next rotation keeps it so.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_put_by_hand_after_set_still_works_under_dual_passwords() {
    let world = World::mysql().await;
    let secret = user(&world, DualPassword).await;
    secret.rotated().await;
    let given_up = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &given_up).await;
    let (_, orphan) = secret.credential("AWSPENDING").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "as before"}))).await;
    assert_eq!(code(secret.step("finishSecret", &given_up).await), "version-unknown");
    assert!(secret.opens("AWSCURRENT").await);

    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    // The consumers' password, which is the account's older one, was not ended by a third.
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
    assert!(!world.opens("app", &orphan).await, "what nobody was ever given works");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    arrived(&secret, &token, DualPassword).await;
}

/// Where there is one password only, that is a lock-out: nothing is made worse, the error says so, and the version that the
/// rotation made mends it.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_put_by_hand_after_set_is_a_lock_out_for_a_single_user() {
    let world = World::mariadb().await;
    let secret = user(&world, SingleUser).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "as before, or so it seems"}))).await;
    let before = hashes(&world).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "locked-out", "{error:?}");
    assert_eq!(hashes(&world).await, before);

    let request = json!({"SecretId": secret.arn, "VersionId": token});
    let kept = world.lab.call("GetSecretValue", request).await.expect("versions stay for a day");
    secret.put(&serde_json::from_str(kept["SecretString"].as_str().expect("text")).expect("JSON")).await;
    let token = secret.rotated().await.token;
    arrived(&secret, &token, SingleUser).await;
}

// ---- helpers

/// The version is current, nothing else is pending, and what has to open the server does.
async fn arrived(secret: &Secret<'_, MySql>, token: &str, strategy: Strategy) {
    let labels = secret.labels().await;
    assert_eq!(secret.holders("AWSCURRENT").await, [token], "{labels}");
    assert!(secret.holders("AWSPENDING").await.iter().all(|version| version == token), "{labels}");
    assert!(secret.opens("AWSCURRENT").await, "the current credential is refused");
    assert_eq!(secret.opens("AWSPREVIOUS").await, strategy != SingleUser, "the previous credential");
}

/// Every account with its hashes, the secondary one included.
async fn hashes(world: &World<MySql>) -> Vec<Vec<Option<String>>> {
    let secondary = match world.server.kind() {
        Kind::MySql => "User_attributes",
        Kind::MariaDb => "NULL",
    };
    let sql = format!("SELECT User, Host, HEX(authentication_string), {secondary} FROM mysql.user ORDER BY User, Host");
    world.server.rows(&sql).await.expect("the accounts")
}

/// The code of a failure, or the outcome.
fn code(answer: Result<Value, StepError>) -> String {
    match answer {
        Ok(answer) => answer["outcome"].as_str().unwrap_or_default().to_owned(),
        Err(error) => error.error_type,
    }
}
