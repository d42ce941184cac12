//! Two invocations at once, steps twice, out of order and too late, lost replies, a slow server, and people who interfere: where
//! the server matters.

use super::connection::Way;
use super::recovery::given_up;
use integration_tests::failure::{code, in_time, retryable};
use integration_tests::{Options, STEPS, Secret, Server, Strategy, World, merged, uuid, world, world_with};
use lab::disturb::Fault;
use lab::relay::Mode;
use lab::servers::Password;
use serde_json::{Value, json};
use std::cell::RefCell;
use std::time::Duration;
use tokio::time::sleep;

on! { (postgres, mysql, mariadb):
    every_step_twice_at_once;
    two_runs_interleaved;
    every_step_run_twice;
    steps_out_of_order_are_refused_and_change_nothing;
    a_step_that_comes_too_late_touches_nothing;
    an_unknown_outcome_of_the_change_is_found_out;
    an_invocation_that_was_overtaken_changes_nothing;
    a_server_slower_than_the_function_may_be_ends_in_our_own_error;
    a_password_changed_by_hand_after_set_is_what_the_next_rotation_starts_from;
}

// ---- two at once

async fn every_step_twice_at_once<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let secret = user(&world, strategy).await;
        for round in 1..=6 {
            let token = secret.registered().await;
            for step in STEPS {
                let at = format!("{strategy:?}, round {round}, {step}");
                let invoke = || world.lab.invoke_step(step, &secret.arn, &token);
                let (first, second) = tokio::join!(invoke(), invoke());
                let outcomes = [&first, &second];
                let failures: Vec<_> = outcomes.into_iter().filter(|outcome| outcome.result().is_err()).collect();
                assert!(failures.len() < 2, "{at}: {:?} {:?}", first.result(), second.result());
                assert!(failures.into_iter().all(retryable), "{at}: {:?} {:?}", first.result(), second.result());
                // In the middle of it, too.
                assert!(!strategy.keeps_previous() || secret.opens("AWSCURRENT").await, "{at}: consumers are refused");
            }
            arrived(&secret, &token, strategy).await;
        }
    }
}

/// All four steps twice with one token, the second run a little later than the first.
async fn two_runs_interleaved<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let secret = user(&world, strategy).await;
        for lag in [0, 5, 10, 20, 30, 45, 60, 80].map(Duration::from_millis) {
            let token = secret.registered().await;
            let run = async |wait: Duration| {
                sleep(wait).await;
                for step in STEPS {
                    let outcome = world.lab.invoke_step(step, &secret.arn, &token).await;
                    if let Err(error) = outcome.result() {
                        assert!(retryable(&outcome), "{strategy:?}, {lag:?} apart, {step}: {error:?}");
                        return;
                    }
                }
            };
            tokio::join!(run(Duration::ZERO), run(lag));
            secret.steps(&STEPS, &token).await;
            arrived(&secret, &token, strategy).await;
        }
    }
}

// ---- steps twice, out of order, and too late

async fn every_step_run_twice<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        // Where that ends no password, it is set whatever is found.
        let again = if strategy.keeps_previous() { "changed" } else { "already-in-effect" };
        let expected = ["proposed", "already-proposed", "changed", again, "verified", "verified", "promoted"];
        let secret = user(&world, strategy).await;
        for _ in 0..2 {
            let token = secret.registered().await;
            let mut outcomes = Vec::new();
            let mut proposed = None;
            for step in STEPS.into_iter().flat_map(|step| [step, step]) {
                outcomes.push(code(secret.step(step, &token).await));
                let pending = secret.at("AWSPENDING").await;
                assert_eq!(proposed.get_or_insert_with(|| pending.clone()), &pending, "{step} changed the value");
            }
            assert_eq!(outcomes[..7], expected, "{strategy:?}");
            assert_eq!(outcomes[7], "already-current", "{strategy:?}");
            arrived(&secret, &token, strategy).await;
        }
    }
}

async fn steps_out_of_order_are_refused_and_change_nothing<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let at = format!("{strategy:?}");
        let secret = user(&world, strategy).await;
        let late = secret.rotated().await.token;
        let old = secret.credential("AWSCURRENT").await;
        let token = secret.registered().await;
        for step in ["setSecret", "finishSecret"] {
            assert_eq!(code(secret.step(step, &token).await), "pending-missing", "{at}: {step} before createSecret");
        }
        // What RotateImmediately=false asks for.
        assert_eq!(code(secret.step("testSecret", &token).await), "configuration-verified", "{at}");
        secret.steps(&["createSecret"], &token).await;
        let before = world.server.hashes().await;
        for step in ["testSecret", "finishSecret"] {
            assert_eq!(code(secret.step(step, &token).await), "pending-rejected", "{at}: {step} before setSecret");
        }
        for step in STEPS {
            assert_eq!(code(secret.step(step, &late).await), "already-current", "{at}: {step} of the one before");
        }
        assert_eq!(world.server.hashes().await, before, "{at}");
        assert_eq!(secret.credential("AWSCURRENT").await, old, "{at}");
        assert!(secret.opens("AWSCURRENT").await, "{at}");
        secret.steps(&["setSecret", "finishSecret"], &token).await;
        arrived(&secret, &token, strategy).await;
    }
}

async fn a_step_that_comes_too_late_touches_nothing<O: Options>(options: O) {
    let world = world(options).await;
    for strategy in world.server.strategies() {
        let secret = user(&world, strategy).await;
        let late = secret.rotated().await.token;
        secret.rotated().await;
        // Another pending version: not the one that the late steps are about.
        let next = secret.registered().await;
        secret.steps(&["createSecret"], &next).await;
        let state = || async { (world.server.hashes().await, secret.labels().await, world.relay.connections()) };
        let before = state().await;
        for step in STEPS {
            assert_eq!(code(secret.step(step, &late).await), "version-not-pending", "{step}");
            assert_eq!(code(secret.step(step, &uuid()).await), "version-unknown", "{step}");
        }
        assert_eq!(state().await, before);
        secret.steps(&STEPS, &next).await;
        arrived(&secret, &next, strategy).await;
    }
}

// ---- replies lost, silence

/// Each answer of the server in setSecret is lost in turn: among them the one to the change itself.
async fn an_unknown_outcome_of_the_change_is_found_out<O: Options>(options: O) {
    let world = world(options).await;
    let strategy = world.server.strategies()[0];
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
        let at = format!("{strategy:?}, flight {flight}: {first:?}");
        let set = secret.opens("AWSPENDING").await;
        assert!(set || first.is_err(), "{at}");
        assert_eq!(secret.opens("AWSCURRENT").await, !set || strategy.keeps_previous(), "{at}");

        let again = secret.step("setSecret", &token).await.unwrap_or_else(|error| panic!("{at}: {error:?}"));
        if set && first.is_err() {
            assert_eq!(code(first), "connection-lost", "{at}");
            assert!(strategy.keeps_previous() || again["outcome"] == "already-in-effect", "{at}: {again}");
            unknown += 1;
        }
        assert_eq!(secret.opens("AWSCURRENT").await, strategy.keeps_previous(), "{at}");
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        arrived(&secret, &token, strategy).await;
        if !fired {
            (sweeps, flight) = (sweeps + 1, 0);
        }
    }
    assert!(unknown > 0, "{strategy:?}: no reply to the change was lost");
}

/// Three seconds are AWS's default for a new function, and less than a login may take.
async fn a_server_slower_than_the_function_may_be_ends_in_our_own_error<O: Options<Server: Way>>(options: O) {
    let limit = Duration::from_secs(3);
    let world = world_with(options, |function| function.timeout(limit)).await;
    let strategy = world.server.strategies()[0];
    let (created, set) = (world.user_of(strategy, "created").await, world.user_of(strategy, "set").await);
    let (created_token, set_token) = (created.registered().await, set.registered().await);
    created.steps(&["createSecret"], &created_token).await;
    set.steps(&["createSecret", "setSecret"], &set_token).await;
    let took = RefCell::new(Vec::new());
    let gives_up = async |step: &str, secret: &Secret<'_, O::Server>, token: &str, mode: Mode| {
        let outcome = world.lab.invoke_step(step, &secret.arn, token).await;
        let error = outcome.result().expect_err(step);
        let silent = error.error_type == "server-silent";
        let spent = error.error_type == "time-spent" && mode != Mode::Silent;
        assert!(silent || spent, "{step}, {mode:?}: {error:?}");
        took.borrow_mut().push(outcome.duration);
        assert!(retryable(&outcome), "{error:?}");
    };
    // The last one lets the login pass and leaves too little for what follows.
    for mode in [Mode::Silent, Mode::Delay(limit), Mode::Delay(world.server.slow_flight())] {
        world.relay.set(mode).await.expect("the relay runs");
        tokio::join!(
            gives_up("setSecret", &created, &created_token, mode),
            gives_up("testSecret", &set, &set_token, mode),
            gives_up("finishSecret", &set, &set_token, mode),
        );
    }
    in_time(&took.into_inner(), limit);
    world.relay.set(Mode::Forward).await.expect("the relay runs");
    for (secret, token) in [(created, created_token), (set, set_token)] {
        secret.steps(&STEPS, &token).await;
        arrived(&secret, &token, strategy).await;
    }
}

/// At its calls in turn, a step is held up, while an operator gives its rotation up and the next one runs. A third of the calls is tried,
/// and all with `LOCKSTEP_ALL`.
async fn an_invocation_that_was_overtaken_changes_nothing<O: Options>(options: O) {
    let held_up = Duration::from_millis(900);
    let stride = if std::env::var_os("LOCKSTEP_ALL").is_some() { 1 } else { 3 };
    let world = world(options).await;
    for (place, strategy) in world.server.strategies().into_iter().enumerate() {
        for step in ["setSecret", "finishSecret"] {
            let secret = world.user_of(strategy, &format!("{strategy:?}{}", &step[..3]).to_lowercase()).await;
            let before = STEPS.iter().position(|one| *one == step).expect("a step");
            // Other calls for each strategy and step.
            for number in (1 + (place + before) % stride..).step_by(stride) {
                let late = secret.registered().await;
                secret.steps(&STEPS[..before], &late).await;
                world.lab.disturb().restart();
                world.lab.disturb().on_call(number, Fault::Delay(held_up));
                let overtaking = async {
                    sleep(held_up / 3).await;
                    given_up(&world, &secret, &late).await;
                    let token = secret.registered().await;
                    for step in STEPS {
                        if secret.step(step, &token).await.is_err() {
                            break;
                        }
                    }
                    token
                };
                let (held, token) = tokio::join!(secret.step(step, &late), overtaking);
                let at = format!("{strategy:?}, {step}, call {number}: {held:?}");
                if world.lab.disturb().fired() == 0 {
                    break;
                }
                // The overtaking rotation may have waited for the lock, or for what the late one did.
                let mut token = token;
                if secret.holders("AWSCURRENT").await != [token.as_str()] {
                    let mut again = Ok(Value::Null);
                    for step in STEPS {
                        again = again.and(secret.step(step, &token).await);
                    }
                    if let Err(error) = again {
                        // The late version was promoted, and is of the user whose turn it is. What the error says leads out.
                        assert_eq!(error.error_type, "pending-mismatch", "{at}");
                        assert!(secret.opens("AWSCURRENT").await, "{at}");
                        given_up(&world, &secret, &token).await;
                        token = secret.rotated().await.token;
                    }
                }
                secret.arrived(&token).await;
            }
        }
    }
}

// ---- people who interfere

async fn a_password_changed_by_hand_after_set_is_what_the_next_rotation_starts_from<O: Options>(options: O) {
    let world = world(options).await;
    let strategy = world.server.strategies()[0];
    let secret = world.user_of(strategy, "app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let password = Password::random();
    world.server.set_password("app", password.expose()).await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"password": password.expose()}))).await;
    for step in &STEPS[1..] {
        assert_eq!(code(secret.step(step, &token).await), "version-unknown", "{step}");
    }
    assert!(secret.opens("AWSCURRENT").await);
    let token = secret.rotated().await.token;
    arrived(&secret, &token, strategy).await;
}

// ---- helpers

/// A user that rotates in this way; several can be in one world.
async fn user<S: Server>(world: &World<S>, strategy: Strategy) -> Secret<'_, S> {
    let name = if strategy == Strategy::AlternatingUsers { "base" } else { "app" };
    world.user_of(strategy, name).await
}

/// The version is current, nothing else is pending, and what has to open the server does.
async fn arrived<S: Server>(secret: &Secret<'_, S>, token: &str, strategy: Strategy) {
    secret.arrived(token).await;
    assert_eq!(secret.opens("AWSPREVIOUS").await, strategy.keeps_previous(), "the previous credential");
}
