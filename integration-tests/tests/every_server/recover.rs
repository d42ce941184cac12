//! The ways to lose a credential of `recovery`, with `recover` in the place of a rotation.

use super::one_user::Users;
use super::recovery::{given_up, most_refused_logins};
use integration_tests::{Options, STEPS, Secret, Server, Strategy, World, merged, world, world_with};
use lab::lambda::StepError;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::time::Duration;

/// An unfinished rotation of this age is not under way.
const AGE: Duration = Duration::from_secs(3_600);

on! { (postgres, mysql, mariadb):
    a_recovery_is_off_by_default;
    a_recovery_moves_the_label_to_a_password_without_a_label;
    a_recovery_follows_a_database_that_was_restored;
    a_recovery_causes_no_more_refused_logins_than_a_search;
    a_recovery_finishes_a_rotation;
    a_recovery_waits_for_a_rotation_that_may_be_under_way;
    a_recovery_while_rotation_is_off_serves_consumers;
    a_recovery_undoes_a_promotion_by_hand;
    a_recovery_lets_the_superuser_set_the_password;
    a_recovery_leaves_a_pair_to_its_rotation;
}

fn allowed(function: Builder) -> Builder {
    function.clock_behind(AGE).env("ALLOW_RECOVER", "true")
}

/// The answer to `recover`. Neither it nor the log may hold a password of the secret.
async fn answered<S: Server>(world: &World<S>, secret: &Secret<'_, S>) -> Result<Value, StepError> {
    let outcome = world.lab.invoke(&json!({"Step": "recover", "SecretId": secret.arn})).await;
    let answer = outcome.result();
    let said = format!("{answer:?}{}", String::from_utf8_lossy(&outcome.log));
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        if !secret.holders(label).await.is_empty() {
            let (_, password) = secret.credential(label).await;
            assert!(!said.contains(&password), "the recovery shows a password");
        }
    }
    answer
}

/// A recovery that has to succeed, with this finding and this outcome. AWSCURRENT opens the server afterwards.
async fn recovered<S: Server>(world: &World<S>, secret: &Secret<'_, S>, finding: &str, outcome: &str) -> Value {
    let answer = answered(world, secret).await.expect("the secret is recovered");
    assert_eq!((&answer["finding"], &answer["outcome"]), (&json!(finding), &json!(outcome)), "{answer}");
    if let Some(version) = answer["version"].as_str() {
        assert_eq!(version, secret.version("AWSCURRENT").await, "{answer}");
    }
    assert!(secret.opens("AWSCURRENT").await, "{answer}");
    answer
}

/// A recovery that refuses, with this finding, and changes nothing.
async fn refused<S: Server>(world: &World<S>, secret: &Secret<'_, S>, finding: &str) -> StepError {
    let before = secret.labels().await;
    let error = answered(world, secret).await.expect_err("the recovery is refused");
    assert_eq!(error.error_type, "recover-refused", "{error:?}");
    assert!(error.error_message.contains(&format!("found={finding:?}")), "{error:?}");
    assert_eq!(secret.labels().await, before);
    error
}

/// The next rotation succeeds.
async fn rotates<S: Server>(secret: &Secret<'_, S>) {
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
}

async fn a_recovery_is_off_by_default<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    let before = secret.labels().await;
    let error = answered(&world, &secret).await.expect_err("it is off");
    assert_eq!(error.error_type, "recover-off", "{error:?}");
    assert!(error.error_message.contains("AllowRecover"), "{error:?}");
    assert_eq!(secret.labels().await, before);
}

/// A rotation gets as far as setSecret, and then the version loses its label.
async fn a_recovery_moves_the_label_to_a_password_without_a_label<O: Options>(options: O) {
    let world = world_with(options, allowed).await;
    for by_hand in [false, true] {
        let secret = world.user(if by_hand { "edited" } else { "stripped" }).await;
        let token = secret.registered().await;
        secret.steps(&STEPS[..2], &token).await;
        if by_hand {
            secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "precious"}))).await;
            // The label would go to a version without the note.
            let error = refused(&world, &secret, "older-in-effect").await;
            assert!(error.error_message.contains("has an edit"), "{error:?}");
        } else {
            given_up(&world, &secret, &token).await;
            recovered(&world, &secret, "older-in-effect", "current-moved").await;
            secret.arrived(&token).await;
            recovered(&world, &secret, "healthy", "nothing-to-do").await;
        }
        rotates(&secret).await;
        assert_eq!(secret.at("AWSCURRENT").await.get("note").is_some(), by_hand, "the edit");
    }
}

async fn a_recovery_follows_a_database_that_was_restored<O: Options>(options: O) {
    let world = world_with(options, |function| allowed(function).env("MAX_REFUSED_LOGINS", "5")).await;
    let secret = world.user("app").await;
    let (_, first) = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    let (_, second) = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    for (old, finding) in [(&second, "previous-in-effect"), (&first, "older-in-effect")] {
        world.server.set_password("app", old).await;
        recovered(&world, &secret, finding, "current-moved").await;
        assert_eq!(secret.credential("AWSCURRENT").await.1, *old);
    }
    rotates(&secret).await;
}

async fn a_recovery_causes_no_more_refused_logins_than_a_search<O: Options<Server: Users>>(options: O) {
    let world = world_with(O::Server::counting(options), allowed).await;
    let most = most_refused_logins(&world);
    let secret = world.user("app").await;
    for _ in 0..6 {
        secret.rotated().await;
    }
    world.server.set_password("app", "changed by hand").await;
    let before = world.server.refused_logins().await;
    let error = refused(&world, &secret, "not-all-tried").await;
    assert!(error.error_message.contains("docs/runbooks/locked-out.md"), "{error:?}");
    assert_eq!(world.server.refused_logins().await - before, most);
    // The diagnosis has tried it, so the steps do not try it again.
    let secret = world.user("other").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    let before = world.server.refused_logins().await;
    recovered(&world, &secret, "pending-in-effect", "rotation-finished").await;
    // MariaDB's current password is tried twice, because the driver may be at fault.
    let once = if world.server.fields()["engine"] == "mariadb" { 2 } else { 1 };
    assert_eq!(world.server.refused_logins().await - before, once);
}

async fn a_recovery_finishes_a_rotation<O: Options>(options: O) {
    let world = world_with(options, allowed).await;
    for strategy in world.server.strategies() {
        for steps in 1..=3 {
            let secret = world.user_of(strategy, &format!("{strategy:?}_{steps}").to_lowercase()).await;
            let token = secret.registered().await;
            secret.steps(&STEPS[..steps], &token).await;
            let refused = steps > 1 && strategy == Strategy::SingleUser;
            let finding = if refused { "pending-in-effect" } else { "rotation-unfinished" };
            recovered(&world, &secret, finding, "rotation-finished").await;
            secret.arrived(&token).await;
        }
    }
}

/// Consumers are served, so there is no hurry.
async fn a_recovery_waits_for_a_rotation_that_may_be_under_way<O: Options>(options: O) {
    let world = world_with(options, |function| function.env("ALLOW_RECOVER", "true")).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..1], &token).await;
    let error = refused(&world, &secret, "rotation-under-way").await;
    assert!(error.error_message.contains("Wait a few minutes"), "{error:?}");
    // Consumers are refused between setSecret and finishSecret, and each step can run twice and beside itself.
    secret.steps(&["setSecret"], &token).await;
    recovered(&world, &secret, "pending-in-effect", "rotation-finished").await;
    secret.arrived(&token).await;
}

/// CancelRotateSecret leaves AWSPENDING, and the service does not go on.
async fn a_recovery_while_rotation_is_off_serves_consumers<O: Options>(options: O) {
    let world = world_with(options, allowed).await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..1], &token).await;
    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
    let error = refused(&world, &secret, "rotation-unfinished").await;
    assert!(error.error_message.contains("--version-stage AWSPENDING --remove-from-version-id"), "{error:?}");
    let (_, pending) = secret.credential("AWSPENDING").await;
    world.server.set_password("app", &pending).await;
    recovered(&world, &secret, "pending-in-effect", "current-moved").await;
    secret.arrived(&token).await;
    recovered(&world, &secret, "rotation-off", "nothing-to-do").await;
    rotates(&secret).await;
}

/// Somebody moves AWSCURRENT to the pending version, which was never set.
async fn a_recovery_undoes_a_promotion_by_hand<O: Options>(options: O) {
    let world = world_with(options, allowed).await;
    let secret = world.user("app").await;
    let (token, before) = (secret.registered().await, secret.version("AWSCURRENT").await);
    secret.steps(&["createSecret"], &token).await;
    let moved = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": token,
        "RemoveFromVersionId": before});
    world.lab.call("UpdateSecretVersionStage", moved).await.expect("the label moves");
    let answer = recovered(&world, &secret, "previous-in-effect", "current-moved").await;
    assert_eq!(answer["version"], json!(before));
    // What the answer advises: another diagnosis, which finds the rotation.
    recovered(&world, &secret, "rotation-unfinished", "rotation-finished").await;
    secret.arrived(&token).await;
}

async fn a_recovery_lets_the_superuser_set_the_password<O: Options<Server: Users>>(options: O) {
    let world = world_with(O::Server::counting(options), allowed).await;
    let superuser = world.superuser().await;
    let more = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    let secret = world.user_with("app", more).await;
    secret.rotated().await;
    for off in [false, true] {
        if off {
            world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is off");
        }
        let (version, before) = (secret.version("AWSCURRENT").await, secret.credential("AWSCURRENT").await);
        world.server.set_password("app", "changed by hand").await;
        let refused = world.server.refused_logins().await;
        recovered(&world, &secret, "rescue-possible", "credential-set").await;
        assert_eq!((secret.version("AWSCURRENT").await, secret.credential("AWSCURRENT").await), (version, before));
        // AWSCURRENT, which MariaDB's driver tries twice, and AWSPREVIOUS: no password is tried again for the change.
        let tried = if world.server.fields()["engine"] == "mariadb" { 3 } else { 2 };
        assert_eq!(world.server.refused_logins().await - refused, tried);
    }
}

/// The next rotation sets the partner's password.
async fn a_recovery_leaves_a_pair_to_its_rotation<O: Options>(options: O) {
    let world = world_with(options, allowed).await;
    let secret = world.user_of(Strategy::AlternatingUsers, "base").await;
    secret.rotated().await;
    for user in ["base", "base_clone"] {
        world.server.set_password(user, "changed by hand").await;
    }
    let error = refused(&world, &secret, "rescue-possible").await;
    assert!(error.error_message.contains("rotate-secret"), "{error:?}");
    rotates(&secret).await;
}
