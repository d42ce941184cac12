//! Accounts are registered, and their keys are rolled.

use integration_tests::certificates::World;
use lab::servers::pebble::Options;
use serde_json::json;

const HMAC: &str = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rotation_of_an_account_registers_it() {
    let world = World::without_account(Options::default(), json!({"contact": ["mailto:a@example.com"]}), |it| it).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    assert_eq!(secret.refused().await.error_type, "account-missing");
    let account = world.secret_of(&world.account);
    account.rotated().await;
    assert!(account.field("AWSCURRENT", "accountKey").await.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_bound_to_the_cas_customer() {
    let options = || Options::default().binding("kid-1", HMAC);
    let world = World::without_account(options(), json!({}), |it| it).await;
    let account = world.secret_of(&world.account);
    assert_eq!(account.refused().await.error_type, "binding-required");

    let binding = |id: &str, key: &str| json!({"externalAccountBinding": {"keyId": id, "hmacKey": key}});
    for wrong in [binding("kid-1", "aHVudGVyMg"), binding("kid-2", HMAC)] {
        let world = World::without_account(options(), wrong, |it| it).await;
        assert_eq!(world.secret_of(&world.account).refused().await.error_type, "binding-required");
    }

    let world = World::without_account(options(), binding("kid-1", HMAC), |it| it).await;
    world.secret_of(&world.account).rotated().await;
    world.secret(&["example.com"], json!({})).await.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accounts_key_is_rolled_and_certificates_go_on() {
    let world = World::start(Options::default()).await;
    let account = world.secret_of(&world.account);
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    let first = account.field("AWSCURRENT", "accountKey").await;
    let report = account.rotated().await;
    assert!(String::from_utf8_lossy(&report.steps[1].outcome.payload).contains("changed"), "{:?}", report.steps[1]);
    assert_ne!(account.field("AWSCURRENT", "accountKey").await, first);
    secret.rotated().await;

    // Between setSecret and finishSecret the CA knows the new key alone. A certificate waits for that.
    let token = account.registered().await;
    account.steps(&["createSecret", "setSecret"], &token).await;
    assert_eq!(secret.refused().await.error_type, "companion-rotating");
    account.steps(&["testSecret", "finishSecret"], &token).await;
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_the_ca_has_forgotten_is_told() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    // Pebble keeps nothing.
    world.pebble.stop().unwrap();
    world.pebble.again().await.unwrap();
    let error = secret.refused().await;
    assert_eq!(error.error_type, "admin-rejected");
    assert!(error.error_message.contains("accountKey"), "{}", error.error_message);
    let account = world.secret_of(&world.account);
    assert_eq!(account.refused().await.error_type, "current-rejected");

    // What the error advises leads out.
    let mut value = account.at("AWSCURRENT").await;
    value.as_object_mut().unwrap().remove("accountKey");
    account.put(&value).await;
    account.rotated().await;
    let mut value = secret.at("AWSCURRENT").await;
    value["rotation"]["roots"] = world.pebble.root().await.unwrap().into();
    secret.put(&value).await;
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_was_deactivated_is_replaced_as_the_error_advises() {
    let world = World::start(Options::default()).await;
    let (account, secret) = (world.secret_of(&world.account), world.secret(&["example.com"], json!({})).await);
    secret.rotated().await;
    let first = account.field("AWSCURRENT", "accountKey").await;
    world.deactivate_account().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "admin-rejected");
    let advice = "remove `accountKey` from the account secret and rotate it";
    assert!(error.error_message.contains(advice), "{}", error.error_message);
    let error = account.refused().await;
    assert_eq!(error.error_type, "current-rejected");
    let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": account.arn})).await;
    let diagnosis: serde_json::Value = serde_json::from_slice(&outcome.payload).expect("an answer");
    let told = &diagnosis["versions"][0]["error"];
    assert!(told["code"] == "current-rejected" && told.to_string().contains(advice), "{diagnosis}");
    assert!(
        ["deactivated", "unauthorized", advice].iter().all(|part| error.error_message.contains(part)),
        "{}",
        error.error_message
    );

    let mut value = account.at("AWSCURRENT").await;
    value.as_object_mut().unwrap().remove("accountKey");
    account.put(&value).await;
    account.rotated().await;
    assert_ne!(account.field("AWSCURRENT", "accountKey").await, first);
    secret.rotated().await;
    account.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_given_up_after_set_secret_loses_no_account() {
    let world = World::start(Options::default()).await;
    let account = world.secret_of(&world.account);
    for _ in 0..2 {
        let token = account.registered().await;
        account.steps(&["createSecret", "setSecret"], &token).await;
        let request = json!({"SecretId": account.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        world.lab.call("UpdateSecretVersionStage", request).await.expect("the rotation is given up");
    }
    let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": account.arn})).await;
    let answer: serde_json::Value = serde_json::from_slice(&outcome.payload).expect("an answer");
    assert_ne!(answer["finding"], "healthy", "{answer}");
    // The key that the CA knows is in a version without a label.
    account.rotated().await;
    world.secret(&["example.com"], json!({})).await.rotated().await;
}
