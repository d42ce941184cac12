//! Superusers and admins whose secrets are outdated.

use super::Script;
use super::support::{api_keys, by_hand, fails, postgres, put, served, well};
use lab::servers::Password;
use serde_json::json;

pub async fn superuser_outdated(script: Script<'_>) {
    let world = postgres().await;
    world.sql("CREATE ROLE admin SUPERUSER LOGIN").await;
    let superuser = world.secret(world.document("admin", Password::random().expose())).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    secret.attached().await;
    let said = fails(&world.lab, &secret.arn).await;
    script.typed(script.about(&world.lab, &secret.arn).said(&said).psql(&world.server)).await;
    assert!(superuser.opens("AWSCURRENT").await, "the superuser's secret is still wrong");
    well(&world, &secret).await;
}

pub async fn admin_outdated(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function).await;
    let secret = by_hand(&world, &issuer).await;
    put(&world.lab, world.admin(), &json!({"issuer": "lab", "token": "labadmin_outdated"})).await;
    let said = fails(&world.lab, &secret.arn).await;
    let token = issuer.admin_token();
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| match what {
        "new-admin-token" => format!("export NEW={token}\n"),
        other => panic!("what is {other}?"),
    })
    .await;
    served(&issuer, &secret).await;
}
