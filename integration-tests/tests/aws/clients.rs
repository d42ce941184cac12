//! The lab as its clients see it: boto3, the AWS CLI and psql notice no difference to AWS in what they read.

use super::support::{BUILD, PATIENCE, Serve, cargo_lab, commands, python, root, shell};
use integration_tests::{World, function};
use lab::Lab;
use serde_json::json;
use std::fs;
use std::path::Path;

#[tokio::test(flavor = "multi_thread")]
async fn boto3_reads_a_secret_rotates_it_and_reads_it_again() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let directory = tempfile::tempdir().expect("a directory");
    let ca = directory.path().join("ca.pem");
    fs::write(&ca, world.server.ca_pem()).expect("the CA is written");
    let ca = ca.to_str().expect("text");
    let said = python("rotate.py", &world.lab.url(), &[&secret.arn, ca, world.lab.function_arn()]).await;
    assert_eq!(said.trim(), "rotated");
    // Once more, with the function that the secret has by now.
    let said = python("rotate.py", &world.lab.url(), &[&secret.arn, ca]).await;
    assert_eq!(said.trim(), "rotated");
}

#[tokio::test(flavor = "multi_thread")]
async fn boto3_finds_the_types_and_the_exceptions_of_aws_model() {
    let lab = Lab::builder(function().await).start().await.expect("the lab starts");
    let event = root().join("events/testSecret.json");
    let said = python("operations.py", &lab.url(), &[lab.function_arn(), event.to_str().expect("text")]).await;
    assert_eq!(said.trim(), "ok");
}

/// What `cargo lab serve` tells people to type is typed.
#[tokio::test(flavor = "multi_thread")]
async fn the_lines_that_serve_shows_work() {
    // Built before the clock of the next line starts.
    function().await;
    let mut serve = tokio::task::spawn_blocking(|| Serve::start(&[])).await.expect("no panic");
    let lines = serve.read_until("Ctrl-C", BUILD);
    let commands = commands(&lines);
    let rotation = commands.iter().position(|line| line.contains("rotate-secret")).expect("a line that rotates");
    let (before, after) = commands.split_at(rotation + 1);
    let exports: Vec<_> = commands.iter().filter(|line| line.starts_with("export ")).cloned().collect();
    assert_eq!(exports.len(), 2, "{commands:#?}");

    let first = shell(before).await;
    assert!(first.contains("\"SecretString\"") && first.contains("\"VersionId\""), "{first}");
    let rotated = serve.read_until("finishSecret", PATIENCE);
    assert_eq!(rotated.iter().filter(|line| line.contains('✓')).count(), 4, "{rotated:#?}");
    let second = shell(&[exports.as_slice(), after].concat()).await;
    assert!(second.contains("\"RotationEnabled\": true") && second.contains("\"AWSPREVIOUS\""), "{second}");
    // psql was given a query, and answers last.
    assert_eq!(second.lines().last(), Some("app"), "{second}");
    assert_ne!(password(&first), password(&shell(before).await), "the password is still the same");
    serve.read_until("finishSecret", PATIENCE);

    // The line of events/README.md. Version 1 of the CLI takes raw payloads without being told to.
    let readme = fs::read_to_string(root().join("events/README.md")).expect("the file is there");
    let invoke = readme.split("aws lambda invoke").nth(1).and_then(|rest| rest.split("```").next()).expect("a command");
    let invoke = format!("aws lambda invoke{}", invoke.replace("--cli-binary-format raw-in-base64-out", ""));
    let answer = serve.directory.path().join("answer.json");
    let invoke = invoke.replace("answer.json", answer.to_str().expect("text"));
    let said = shell(&[exports.as_slice(), &[invoke]].concat()).await;
    assert!(said.contains("\"FunctionError\": \"Unhandled\""), "{said}");
    let answer = fs::read_to_string(answer).expect("an answer");
    assert!(answer.contains("\"errorType\":\"secret-not-found\""), "{answer}");

    // And a program instead of the CLI.
    let value = |name: &str| exports.iter().find_map(|line| line.split(' ').find_map(|it| it.strip_prefix(name)));
    let url = value("AWS_ENDPOINT_URL=").expect("a URL");
    let ca = after.iter().find_map(|line| line.split("sslrootcert=").nth(1)).expect("a CA").trim_end_matches('\'');
    assert_eq!(python("rotate.py", url, &["lab/postgres", ca]).await.trim(), "rotated");
    is_recovered(url, &exports).await;
    serve.interrupt();
    assert!(!Path::new(ca).exists(), "the CA's file is left");
}

/// Somebody moves AWSCURRENT back to a password that the server refuses. `cargo lab` tells so, and repairs it.
async fn is_recovered(url: &str, exports: &[String]) {
    let asked = async |command: &str| {
        let (code, answer, _) = cargo_lab(url, &[command]).await;
        (code, answer)
    };
    let (code, answer) = asked("diagnose").await;
    assert_eq!((code, &answer["finding"]), (Some(0), &json!("healthy")), "{answer}");
    let version = |label: &str| {
        let filter = format!(".VersionIdsToStages | to_entries[] | select(.value | index(\"{label}\")) | .key");
        format!("$(aws secretsmanager describe-secret --secret-id lab/postgres --output json | jq -r '{filter}')")
    };
    let moved = format!(
        "aws secretsmanager update-secret-version-stage --secret-id lab/postgres --version-stage AWSCURRENT \
         --move-to-version-id {} --remove-from-version-id {}",
        version("AWSPREVIOUS"),
        version("AWSCURRENT")
    );
    shell(&[exports, &[moved]].concat()).await;
    let (code, answer) = asked("diagnose").await;
    assert_eq!((code, &answer["finding"]), (Some(1), &json!("previous-in-effect")), "{answer}");
    let (code, answer) = asked("recover").await;
    assert_eq!((code, &answer["recovery"]["outcome"]), (Some(0), &json!("current-moved")), "{answer}");
    assert_eq!(answer["diagnosis"]["finding"], "healthy", "{answer}");
}

/// The password in what `get-secret-value` printed.
fn password(output: &str) -> String {
    let line = output.lines().find(|line| line.contains("\"SecretString\"")).expect("a value");
    let value = line.split("password").nth(1).expect("a password");
    value.split("\\\"").nth(2).expect("its text").to_owned()
}
