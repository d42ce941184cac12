//! Descriptions of one's own: from a file, an SSM parameter, a secret.

use crate::support::{Call, Double, answer};
use axum::response::Response;
use integration_tests::issuer::World;
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
    assert_eq!(secret.refused().await.error_type, "secret-not-found");
    world.lab.create_secret("descriptions/lab", &text()).await.expect("the secret is created");
    secret.rotated().await;
}

/// Systems Manager with one parameter.
#[derive(Clone)]
struct Parameters {
    name: &'static str,
    value: String,
}

impl Double for Parameters {
    fn answer(&self, call: &Call) -> Response {
        let signed = call.header("authorization").unwrap_or_default();
        if !(signed.starts_with("AWS4-HMAC-SHA256 Credential=") && signed.contains("/ssm/aws4_request")) {
            return answer(400, json!({"__type": "MissingAuthenticationToken"}));
        }
        if call.header("x-amz-target") != Some("AmazonSSM.GetParameter") {
            return answer(400, json!({"__type": "UnknownOperationException"}));
        }
        match call.json_as("application/x-amz-json-1.1") {
            Some(body) if body == json!({"Name": self.name, "WithDecryption": true}) => {
                answer(200, json!({"Parameter": {"Name": self.name, "Type": "String", "Value": self.value}}))
            }
            _ => answer(400, json!({"__type": "com.amazonaws.ssm#ParameterNotFound", "message": "x"})),
        }
    }
}

/// Its address.
async fn serve(parameters: Parameters) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, parameters.router()).await });
    url
}

async fn with_parameter(name: &str, issuer: &Issuer) -> World {
    let url = serve(Parameters { name: "/lockstep/lab", value: text() }).await;
    let admin = json!({"token": issuer.admin_token()});
    let settings = [("ISSUERS", format!("ssm:{name}")), ("AWS_ENDPOINT_URL_SSM", url)];
    World::with("lab", issuer.router(), admin, |function| {
        settings.into_iter().fold(function, |function, (name, value)| function.env(name, value))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_description_is_read_from_a_parameter() {
    let issuer = Issuer::new(Options::default());
    rotates(&with_parameter("/lockstep/lab", &issuer).await, &issuer).await;
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
