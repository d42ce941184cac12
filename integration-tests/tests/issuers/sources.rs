//! Descriptions of one's own: from a file, an SSM parameter, a secret.

use integration_tests::issuer::World;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};

fn file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/issuers/lab.yaml")
}

fn text() -> String {
    fs::read_to_string(file()).expect("the description is there")
}

async fn rotates(world: &World, issuer: &Issuer) {
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    secret.rotated().await;
    assert_eq!(issuer.live().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_read_from_a_file() {
    let issuer = Issuer::new(Options::default());
    let admin = json!({"token": issuer.admin_token()});
    let source = format!("file:{}", file().display());
    let world = World::with("lab", issuer.router(), admin, |function| function.env("ISSUERS", source)).await;
    rotates(&world, &issuer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_read_from_a_secret() {
    let issuer = Issuer::new(Options::default());
    let admin = json!({"token": issuer.admin_token()});
    let world =
        World::with("lab", issuer.router(), admin, |function| function.env("ISSUERS", "secret:descriptions/lab")).await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "secret-not-found");
    for part in ["ISSUERS", "secret:descriptions/lab"] {
        assert!(error.error_message.contains(part), "{}", error.error_message);
    }
    world.lab.create_secret("descriptions/lab", &text()).await.expect("the secret is created");
    let call = async |operation: &str| {
        world.lab.call(operation, json!({"SecretId": "descriptions/lab"})).await.expect(operation);
    };
    call("DeleteSecret").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "secret-not-found");
    assert!(error.error_message.contains("a date of deletion"), "{}", error.error_message);
    call("RestoreSecret").await;
    secret.rotated().await;
}

/// Systems Manager has the parameter `/lockstep/lab`.
async fn with_parameter(name: &str, issuer: &Issuer) -> World {
    let admin = json!({"token": issuer.admin_token()});
    let sources = format!("ssm:{name}");
    let world = World::with("lab", issuer.router(), admin, |function| function.env("ISSUERS", sources)).await;
    world.lab.parameters().put("/lockstep/lab", &text());
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_read_from_a_parameter() {
    let issuer = Issuer::new(Options::default());
    rotates(&with_parameter("/lockstep/lab", &issuer).await, &issuer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_is_asked_for_again_after_a_throttle_and_not_after_a_refusal() {
    let issuer = Issuer::new(Options::default());
    let world = with_parameter("/lockstep/lab", &issuer).await;
    world.lab.disturb().on_next("GetParameter", Fault::Throttle);
    rotates(&world, &issuer).await;
    let asked = |world: &World| world.lab.calls().iter().filter(|call| call.operation == "GetParameter").count();
    assert_eq!(asked(&world), 2);

    let world = with_parameter("/lockstep/lab", &issuer).await;
    world.lab.disturb().on_every("GetParameter", Fault::Fail(403));
    let (id, key) = issuer.mint("by hand");
    let error = world.secret(json!({"apiKey": key, "apiKeyId": id})).await.refused().await;
    assert_eq!(error.error_type, "description-unreadable");
    assert!(error.error_message.contains("AccessDeniedException"), "{}", error.error_message);
    assert_eq!(asked(&world), 1);
}

/// Nobody has to correct anything: a code that says so would be an alarm for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_asked_passes_by_itself() {
    let issuer = Issuer::new(Options::default());
    for fault in [Fault::Throttle, Fault::Fail(503), Fault::LoseReply] {
        let world = with_parameter("/lockstep/lab", &issuer).await;
        world.lab.disturb().on_every("GetParameter", fault);
        let (id, key) = issuer.mint("by hand");
        let secret = world.secret(json!({"apiKey": key, "apiKeyId": id})).await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, "description-unavailable", "{fault:?}: {}", error.error_message);
        assert!(error.error_message.contains("ssm:/lockstep/lab"), "{}", error.error_message);
        world.lab.disturb().restart();
        secret.rotated().await;
    }
}

/// The session's token would go over the network in clear.
#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_is_not_asked_for_without_tls_over_a_network() {
    let issuer = Issuer::new(Options::default());
    let admin = json!({"token": issuer.admin_token()});
    let world = World::with("lab", issuer.router(), admin, |function| {
        function.env("ISSUERS", "ssm:/lockstep/lab").env("AWS_ENDPOINT_URL_SSM", "http://ssm.example")
    })
    .await;
    let (id, key) = issuer.mint("by hand");
    let error = world.secret(json!({"apiKey": key, "apiKeyId": id})).await.refused().await;
    assert_eq!(error.error_type, "configuration-invalid", "{}", error.error_message);
    assert!(error.error_message.contains("AWS_ENDPOINT_URL_SSM"), "{}", error.error_message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parameter_that_is_not_there_is_named() {
    let issuer = Issuer::new(Options::default());
    let world = with_parameter("/lockstep/other", &issuer).await;
    let (id, key) = issuer.mint("by hand");
    let error = world.secret(json!({"apiKey": key, "apiKeyId": id})).await.refused().await;
    assert_eq!(error.error_type, "description-unreadable");
    for part in ["ssm:/lockstep/other", "ParameterNotFound"] {
        assert!(error.error_message.contains(part), "{}", error.error_message);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_nobody_described_is_named() {
    let issuer = Issuer::new(Options::default());
    let world = World::start("nobody", issuer.router(), Value::Null).await;
    let error = world.secret(json!({"apiKey": "a", "apiKeyId": "b"})).await.refused().await;
    assert_eq!(error.error_type, "issuer-unknown");
    assert!(error.error_message.contains("nobody"), "{}", error.error_message);
}
