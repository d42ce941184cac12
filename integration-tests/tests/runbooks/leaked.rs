//! Credentials that somebody else knows.

use super::Script;
use super::support::{api_keys, attached, by_hand, mysql, postgres, served, well};
use integration_tests::World;
use lab::servers::mysql::MySql;
use serde_json::json;
use std::time::Duration;

pub async fn leaked_single_user(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    let thief = world.server.connect(&user, &leaked.as_str().into(), "postgres").await.expect("it opens the database");
    script.typed(script.about(&world.lab, &secret.arn).psql(&world.server)).await;
    thief.batch_execute("SELECT 1").await.expect_err("the session goes on");
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

pub async fn leaked_dual_password(script: Script<'_>) {
    let world = mysql().await;
    let secret = world.dual_password_user("app").await;
    secret.attached().await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    let _thief = world.server.connect(&user, &leaked.as_str().into(), None).await.expect("it opens the server");
    script.typed(script.about(&world.lab, &secret.arn).mysql(&world.server)).await;
    ended(&world, "app").await;
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

/// KILL only says that a session is to end.
async fn ended(world: &World<MySql>, user: &str) {
    let sessions = format!("SELECT id FROM information_schema.processlist WHERE user = '{user}'");
    let gone = async {
        while !world.ask(&sessions).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), gone).await.expect("the session goes on");
}

pub async fn leaked_alternating(script: Script<'_>) {
    let world = postgres().await;
    let secret = world.alternating_user("app").await;
    secret.attached().await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert!(!world.opens(&user, &leaked).await, "what leaked still works");
    well(&world, &secret).await;
}

pub async fn leaked_api_key(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    let leaked = secret.field("AWSCURRENT", "apiKey").await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    assert!(!issuer.works(&leaked), "what leaked still works");
    served(&issuer, &secret).await;
}

pub async fn leaked_superuser(script: Script<'_>) {
    let world = postgres().await;
    let superuser = world.superuser().await;
    let secrets = [
        world.user_with("one", json!({"masterarn": superuser.arn})).await,
        world.user_with("other", json!({"masterarn": superuser.arn})).await,
    ];
    let mut leaked = Vec::new();
    for secret in &secrets {
        secret.attached().await;
        leaked.push(secret.credential("AWSCURRENT").await);
    }
    let bystander = attached(&world).await;
    let before = bystander.holders("AWSCURRENT").await;
    let play = script.about(&world.lab, &secrets[0].arn);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "leaked-secret");
        format!("export LEAKED={}\n", superuser.arn)
    })
    .await;
    for (secret, (user, password)) in secrets.iter().zip(leaked) {
        assert!(!world.opens(&user, &password).await, "what was within reach still works");
        well(&world, secret).await;
    }
    assert_eq!(bystander.holders("AWSCURRENT").await, before, "a secret that does not name the superuser was rotated");
}
