//! Consumers that are refused.

use super::Script;
use super::support::{
    AGE, api_keys, attached, broken_by_hand, broken_by_hand_mysql, fails, postgres, served, stops_after_set, well,
};
use integration_tests::World;
use lab::servers::Password;
use lab::servers::mysql;
use serde_json::json;

pub async fn pending_removed_after_set(script: Script<'_>) {
    let world = postgres().await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending[0]});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    script.typed(script.about(&world.lab, &secret.arn)).await;
    well(&world, &secret).await;
}

pub async fn pending_removed_without_a_search(script: Script<'_>) {
    let settings = |function: lab::stack::Builder| function.clock_behind(AGE).env("MAX_REFUSED_LOGINS", "0");
    let world = World::with(lab::servers::postgres::Options::default(), settings).await;
    let secret = attached(&world).await;
    stops_after_set(&world, &secret).await;
    let pending = secret.holders("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending[0]});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    well(&world, &secret).await;
}

pub async fn password_changed_by_hand(script: Script<'_>) {
    broken_by_hand(script, "ALTER ROLE app PASSWORD 'of nobody'").await;
}

pub async fn password_changed_by_hand_mysql(script: Script<'_>) {
    broken_by_hand_mysql(script, "ALTER USER app IDENTIFIED BY 'of nobody'").await;
}

pub async fn password_changed_by_hand_mariadb(script: Script<'_>) {
    let mariadb = mysql::Options::default().kind(mysql::Kind::MariaDb);
    let world = World::mysql_with(mariadb, |function| function.clock_behind(AGE)).await;
    let password = Password::random();
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    world.sql(&format!("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('{}')", password.expose())).await;
    let secret = world.secret(world.document("app", password.expose())).await;
    secret.attached().await;
    world.sql("SET PASSWORD FOR app = PASSWORD('of nobody')").await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).mysql(&world.server)).await;
    assert_eq!(world.ask("SELECT plugin FROM mysql.user WHERE User = 'app'").await, ["ed25519"]);
    well(&world, &secret).await;
}

pub async fn rescue(script: Script<'_>) {
    let world = postgres().await;
    let (superuser, secret) = (world.superuser().await, world.user("app").await);
    secret.attached().await;
    world.sql("ALTER ROLE app PASSWORD 'of nobody'").await;
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, "superuser-secret");
        format!("export SUPERUSER_SECRET={}\n", superuser.arn)
    })
    .await;
    well(&world, &secret).await;
}

pub async fn key_deleted(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = world.secret(json!({"apiKey": "lab_deleted", "apiKeyId": "key_deleted"})).await;
    secret.attached().await;
    script.typed(script.about(&world.lab, &secret.arn)).await;
    served(&issuer, &secret).await;
}
