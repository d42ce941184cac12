//! Accounts at a CA in trouble.

use super::Script;
use super::support::fails;
use integration_tests::certificates::World;
use lab::servers::pebble::Options;
use serde_json::json;

pub async fn account_deactivated(script: Script<'_>) {
    let world = World::start(Options::default()).await;
    let account = world.secret_of(&world.account);
    world.deactivate_account().await;
    let said = fails(&world.lab, &account.arn).await;
    script.typed(script.about(&world.lab, &account.arn).woken().said(&said)).await;
    account.rotated().await;
    world.secret(&["example.com"], json!({})).await.rotated().await;
}
