//! Rotations that failed, and one that did not.

use super::Script;
use super::support::{AGE, attached, broken_by_hand, broken_by_hand_mysql, fails, mysql, postgres, put, well};
use integration_tests::{World, merged};
use lab::disturb::{DATABASE, Fault};
use lab::servers::postgres;
use lab::stack::Builder;
use serde_json::json;

pub async fn healthy(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn cut_once(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.lab.disturb().on_next(DATABASE, Fault::Fail(500));
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

pub async fn rotation_off(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn wrong_field(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.user_with("app", json!({"engine": null})).await;
    secret.attached().await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

pub async fn wrong_field_of_a_pair(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    secret.attached().await;
    secret.rotated().await;
    // The clone is current, and AWSPREVIOUS says so as well once a value is stored by hand.
    put(&world.lab, &secret.arn, &merged(secret.at("AWSCURRENT").await, json!({"engine": null}))).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

pub async fn unknown_ca(script: Script<'_>) {
    let trust_none = |function: Builder| function.clock_behind(AGE).env("CA_BUNDLE", "");
    let world = World::with(postgres::Options::default(), trust_none).await;
    let secret = attached(&world).await;
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said).file("ca.pem", world.server.ca_pem());
    script.typed(play).await;
    well(&world, &secret).await;
}

pub async fn password_refused(script: Script<'_>) {
    let world = mysql().await;
    let secret = attached(&world).await;
    world.sql("INSTALL COMPONENT 'file://component_validate_password'; SET GLOBAL validate_password.length = 40").await;
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said).mysql(&world.server);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "longer-passwords");
        world.lab.set_env("PASSWORD_LENGTH", "40");
        // The settings are right now, and the stored password is not.
        assert!(fails(&world.lab, &secret.arn).await.starts_with("[password-refused]"), "one rotation was enough");
        String::new()
    })
    .await;
    assert_eq!(secret.credential("AWSCURRENT").await.1.chars().count(), 40);
    well(&world, &secret).await;
}

pub async fn account_locked(script: Script<'_>) {
    broken_by_hand_mysql(script, "ALTER USER app ACCOUNT LOCK").await;
}

pub async fn role_cannot_log_in(script: Script<'_>) {
    broken_by_hand(script, "ALTER ROLE app NOLOGIN").await;
}

pub async fn role_held(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let holder = world.server.connect_superuser().await.expect("the superuser logs in");
    holder.batch_execute("BEGIN").await.expect("a transaction begins");
    holder.batch_execute("ALTER ROLE app CONNECTION LIMIT 50").await.expect("the role is held");
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    holder.batch_execute("COMMIT").await.expect_err("the session is ended");
    well(&world, &secret).await;
}
