//! What situations are made of.

use super::Script;
use integration_tests::issuer::{self, lab_description};
use integration_tests::{Secret, Server, World};
use lab::Lab;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use lab::servers::mysql::MySql;
use lab::servers::postgres;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// Rotations of this age are not under way any more, but stuck.
pub const AGE: Duration = Duration::from_secs(3600);
/// Long enough for any step here that succeeds; those that wait for what does not come spend it.
pub const SHORT: Duration = Duration::from_secs(10);

pub async fn postgres() -> World {
    World::with(postgres::Options::default(), |function| function.clock_behind(AGE)).await
}

pub async fn mysql() -> World<MySql> {
    World::mysql_with(Default::default(), |function| function.clock_behind(AGE)).await
}

/// The secret of the database user `app`, which the function rotates from now on.
pub async fn attached<S: Server>(world: &World<S>) -> Secret<'_, S> {
    let secret = world.user("app").await;
    secret.attached().await;
    secret
}

/// A rotation that has to fail, and what the function says of it.
pub async fn fails(lab: &Lab, arn: &str) -> String {
    let report = lab.rotate(arn).await.expect("the rotation begins");
    report.error().expect("a step fails").error_message
}

/// A rotation whose function dies with the promotion.
pub async fn stops_after_set<S: Server>(world: &World<S>, secret: &Secret<'_, S>) {
    world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::KillBefore);
    let report = secret.rotate().await;
    assert!(!report.rotated(), "nothing stopped it");
    assert!(secret.opens("AWSPENDING").await && !secret.opens("AWSCURRENT").await);
}

/// Consumers are served, nothing is left pending, and the next rotation succeeds.
pub async fn well<S: Server>(world: &World<S>, secret: &Secret<'_, S>) {
    // The last thing typed may have been a test of the configuration.
    world.lab.service().wait_rotation(&secret.arn).await;
    assert!(secret.opens("AWSCURRENT").await, "AWSCURRENT is refused");
    let (pending, current) = (secret.holders("AWSPENDING").await, secret.holders("AWSCURRENT").await);
    assert!(pending.is_empty() || pending == current, "AWSPENDING is left");
    let described =
        world.lab.call("DescribeSecret", json!({"SecretId": secret.arn})).await.expect("the secret is there");
    assert_eq!(described["RotationEnabled"], true);
    assert_eq!(described["RotationLambdaARN"], world.lab.function_arn());
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

/// A statement by hand has the next rotation fail, and what the page says mends it.
pub async fn broken_by_hand(script: Script<'_>, sql: &str) {
    let world = postgres().await;
    let secret = attached(&world).await;
    world.sql(sql).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

/// The same on MySQL.
pub async fn broken_by_hand_mysql(script: Script<'_>, sql: &str) {
    let world = mysql().await;
    let secret = attached(&world).await;
    world.sql(sql).await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).mysql(&world.server)).await;
    well(&world, &secret).await;
}

/// The lab's own issuer, and a function that knows it.
pub async fn api_keys(settings: impl FnOnce(Builder) -> Builder) -> (issuer::World, Issuer) {
    let aged = |function: Builder| settings(function.clock_behind(AGE));
    issuer::World::lab_with(Options::default(), &lab_description(), aged).await
}

/// A secret with a key that a person has made.
pub async fn by_hand<'a>(world: &'a issuer::World, issuer: &Issuer) -> issuer::Secret<'a> {
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    secret.attached().await;
    secret
}

/// The key works, and no more keys live than the current and the previous one.
pub async fn served(issuer: &Issuer, secret: &issuer::Secret<'_>) {
    // The last thing typed may have been a rotation that still ends keys.
    secret.settled().await;
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await), "the current key is refused");
    secret.rotated().await;
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await), "the new key is refused");
    let kept = [secret.field("AWSCURRENT", "apiKeyId").await, secret.field("AWSPREVIOUS", "apiKeyId").await];
    let live: BTreeSet<_> = issuer.live().into_iter().map(|key| key.id).collect();
    assert_eq!(live, kept.into(), "a key is left over, or lost");
}

/// Stores a value by hand.
pub async fn put(lab: &Lab, arn: &str, value: &Value) {
    let request = json!({"SecretId": arn, "SecretString": value.to_string()});
    lab.call("PutSecretValue", request).await.expect("the value is stored");
}
