//! What Secrets Manager answers, and what the application is told.

use integration_tests::Server as _;
use lab::Lab;
use lab::disturb::Fault;
use lab::lambda::ACCESS_KEY_PREFIX;
use lab::servers::postgres::Postgres;
use lockstep_secret::aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use lockstep_secret::aws_sdk_secretsmanager::{Client, Config};
use lockstep_secret::source::SecretsManager;
use lockstep_secret::{Builder, Cause, Error, Label, RotatingSecret};
use serde_json::json;
use std::time::Duration;

async fn lab() -> Lab {
    Lab::builder(Postgres::function().await).start().await.expect("the lab starts")
}

/// A client whose calls the lab's rules disturb, as they disturb a function's.
fn client(url: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new(format!("{ACCESS_KEY_PREFIX}CONSUMERS"), "lab", None, None, "lab"))
        .endpoint_url(url);
    Client::from_conf(config.build())
}

fn secret(url: &str, name: &str) -> Builder {
    RotatingSecret::builder(SecretsManager::new(client(url), name)).start_within(Duration::from_secs(2))
}

async fn cause(builder: Builder) -> Cause {
    match builder.start().await.expect_err("it cannot be read") {
        Error::Source(error) => error.cause,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_secret_is_read_with_its_labels_and_its_age() {
    let lab = lab().await;
    lab.create_secret("app", r#"{"username": "app", "password": "one"}"#).await.unwrap();
    let secret = secret(&lab.url(), "app").start().await.unwrap();
    let first = secret.current().unwrap();
    assert_eq!((first.label(), first.username(), first.password()), (Label::Current, Ok("app"), Ok("one")));
    assert!(secret.version(Label::Pending).await.unwrap().is_none());
    let stages = json!(["AWSPENDING"]);
    let pending = json!({"SecretId": "app", "SecretString": r#"{"password": "two"}"#, "VersionStages": stages});
    lab.call("PutSecretValue", pending).await.unwrap();
    lab.call("PutSecretValue", json!({"SecretId": "app", "SecretString": r#"{"password": "three"}"#})).await.unwrap();
    assert_eq!(secret.refresh().await.unwrap().password(), Ok("three"));
    let previous = secret.version(Label::Previous).await.unwrap().expect("there is one now");
    assert_eq!((previous.label(), previous.version_id()), (Label::Previous, first.version_id()));
    let labels = lab.labels("app").await.unwrap();
    assert!(labels.get(secret.current().unwrap().version_id()).is_some(), "{labels}");
}

#[tokio::test]
async fn each_thing_that_can_be_wrong_has_its_cause() {
    let lab = lab().await;
    let url = lab.url();
    assert_eq!(cause(secret(&url, "nobody")).await, Cause::NotFound);
    let arn = lab.create_secret("app", "{}").await.unwrap();
    for (fault, expected) in [
        (Fault::Fail(403), Cause::Denied),
        (Fault::Throttle, Cause::Throttled),
        (Fault::Fail(500), Cause::Unavailable),
        (Fault::Fail(503), Cause::Unavailable),
        (Fault::LoseReply, Cause::Unavailable),
    ] {
        lab.disturb().restart();
        lab.disturb().on_every("GetSecretValue", fault);
        assert_eq!(cause(secret(&url, &arn)).await, expected, "{fault:?}");
    }
    lab.disturb().restart();
    lab.call("CreateSecret", json!({"Name": "empty"})).await.unwrap();
    let error = secret(&url, "empty").start().await.unwrap_err();
    assert_eq!(error, Error::NoValue { secret: "empty".to_owned() });
    lab.call("CreateSecret", json!({"Name": "binary", "SecretBinary": "AAEC"})).await.unwrap();
    assert_eq!(cause(secret(&url, "binary")).await, Cause::Invalid);
    lab.call("DeleteSecret", json!({"SecretId": "app"})).await.unwrap();
    assert_eq!(cause(secret(&url, "app")).await, Cause::NotFound);
    drop(lab);
    assert_eq!(cause(secret(&url, "app")).await, Cause::Unavailable);
}

/// Secrets Manager is down later, and comes back.
#[tokio::test]
async fn an_outage_later_leaves_the_version_in_use_and_ends_by_itself() {
    let lab = lab().await;
    lab.create_secret("app", r#"{"password": "one"}"#).await.unwrap();
    let secret = secret(&lab.url(), "app").refresh_every(Duration::from_millis(50)).start().await.unwrap();
    lab.disturb().on_every("GetSecretValue", Fault::Fail(403));
    let failing = || secret.health().failed_reads > 0;
    until(failing).await;
    assert_eq!(secret.current().unwrap().password(), Ok("one"));
    assert_eq!(secret.health().cause, Some(Cause::Denied));
    lab.call("PutSecretValue", json!({"SecretId": "app", "SecretString": r#"{"password": "two"}"#})).await.unwrap();
    lab.disturb().restart();
    until(|| secret.current().unwrap().password() == Ok("two")).await;
    assert_eq!(secret.health().cause, None);
}

async fn until(done: impl Fn() -> bool) {
    for _ in 0..1000 {
        if done() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it never happened");
}

/// A thousand tasks that ask at once make one call.
#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_tasks_make_one_call() {
    let lab = lab().await;
    lab.create_secret("app", "{}").await.unwrap();
    let secret = secret(&lab.url(), "app").start().await.unwrap();
    lab.disturb().restart();
    // So long that all tasks have asked before the answer comes.
    lab.disturb().latency(Duration::from_millis(500));
    let tasks: Vec<_> = (0..1000)
        .map(|_| {
            let secret = secret.clone();
            tokio::spawn(async move { secret.refresh().await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let calls = lab.disturb().calls().into_iter().filter(|call| call.operation == "GetSecretValue").count();
    assert_eq!(calls, 1);
}
