//! Ways back to the previous version.

use super::Script;
use super::support::{AGE, api_keys, attached, by_hand, postgres, served, well};
use integration_tests::World;
use lab::stack::Builder;
use std::collections::BTreeSet;

pub async fn roll_back_pair(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    secret.attached().await;
    let before = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    assert_eq!(secret.credential("AWSCURRENT").await, before);
    well(&world, &secret).await;
}

pub async fn roll_back_api_key(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    let before = secret.field("AWSCURRENT", "apiKey").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert_eq!(secret.field("AWSCURRENT", "apiKey").await, before);
    let left = secret.field("AWSPREVIOUS", "apiKeyId").await;
    secret.rotated().await;
    let kept = [secret.field("AWSCURRENT", "apiKeyId").await, secret.field("AWSPREVIOUS", "apiKeyId").await, left];
    let live: BTreeSet<_> = issuer.live().into_iter().map(|key| key.id).collect();
    assert_eq!(live, kept.into(), "the key that was left ends with the rotation after this one");
    served(&issuer, &secret).await;
}

pub async fn previous_in_effect(script: Script<'_>) {
    has_the_previous_password(&postgres().await, script).await;
}

pub async fn recover(script: Script<'_>) {
    let settings = |function: Builder| function.clock_behind(AGE).env("ALLOW_RECOVER", "true");
    has_the_previous_password(&World::with(lab::servers::postgres::Options::default(), settings).await, script).await;
}

/// The server has the password of AWSPREVIOUS.
async fn has_the_previous_password(world: &World, script: Script<'_>) {
    let secret = attached(world).await;
    secret.rotated().await;
    let (_, previous) = secret.credential("AWSPREVIOUS").await;
    world.sql(&format!("ALTER ROLE app PASSWORD '{previous}'")).await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(world, &secret).await;
}

pub async fn roll_back_single_user(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let before = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    assert_eq!(secret.credential("AWSCURRENT").await, before);
    well(&world, &secret).await;
}
