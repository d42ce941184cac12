//! Rotations that are stuck.

use super::Script;
use super::support::{attached, fails, postgres, stops_after_set, well};
use integration_tests::malformed::moved;
use integration_tests::merged;
use lab::relay::Mode;
use serde_json::json;

pub async fn stopped_after_set(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert_eq!(secret.holders("AWSCURRENT").await, pending, "the pending version was given up");
    well(&world, &secret).await;
}

pub async fn pending_for_another_server(script: Script<'_>) {
    let world = postgres().await;
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
    let world = postgres().await;
    let secret = world.user("app").await;
    secret.registered().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}
