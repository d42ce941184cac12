//! Rotations that are stuck.

use super::Script;
use super::support::{self, attached, fails, stops_after_set, well};
use integration_tests::malformed::moved;
use integration_tests::{Secret, World, merged, uuid};
use lab::relay::Mode;
use lab::servers::postgres;
use serde_json::json;
use std::time::Duration;

/// The interval of [`attached`], and the days after which a rotation is overdue.
const MONTH: Duration = Duration::from_secs(32 * 24 * 3_600);

pub async fn stopped_after_set(script: Script<'_>) {
    let world = support::postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert_eq!(secret.holders("AWSCURRENT").await, pending, "the pending version was given up");
    well(&world, &secret).await;
}

pub async fn overdue(script: Script<'_>) {
    let world = World::with(postgres::Options::default(), |function| function.clock_behind(MONTH)).await;
    let secret = attached(&world).await;
    secret.rotated().await;
    world.lab.set_clock_behind(Duration::ZERO);
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn cancelled_after_set(script: Script<'_>) {
    let world = support::postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    cancelled(&world, &secret).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn cancelled_before_set(script: Script<'_>) {
    let world = support::postgres().await;
    let secret = attached(&world).await;
    world.relay.set(Mode::Refuse).await.expect("the relay is closed");
    fails(&world.lab, &secret.arn).await;
    world.relay.set(Mode::Forward).await.expect("the relay is opened");
    cancelled(&world, &secret).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

/// Turns rotation off, and shows that RotateSecret then does nothing about the rotation that was begun.
async fn cancelled(world: &World, secret: &Secret<'_>) {
    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
    let before = secret.labels().await;
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": uuid()});
    world.lab.call("RotateSecret", request).await.expect_err("an earlier rotation is not complete");
    secret.settled().await;
    assert_eq!(secret.labels().await, before);
}

pub async fn pending_for_another_server(script: Script<'_>) {
    let world = support::postgres().await;
    let secret = attached(&world).await;
    world.relay.set(Mode::Refuse).await.expect("the relay is closed");
    fails(&world.lab, &secret.arn).await;
    world.relay.set(Mode::Forward).await.expect("the relay is opened");
    let elsewhere = merged(secret.at("AWSCURRENT").await, json!({"host": "127.0.0.1"}));
    moved(&world, &secret, &elsewhere).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said)).await;
    well(&world, &secret).await;
}

pub async fn function_gone(script: Script<'_>) {
    let world = support::postgres().await;
    let secret = world.user("app").await;
    secret.registered().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}
