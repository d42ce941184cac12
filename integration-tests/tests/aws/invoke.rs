//! Ways to send an event by hand, as `events/README.md` shows them: `cargo lambda invoke`, and the console's test button.

use super::support::{provisioned, root, shell};
use integration_tests::{Secret, World, merged, program};
use lab::provision;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::process::Output;

/// A file of `events/`, with the secret of the test in it.
fn event(name: &str, arn: &str) -> Value {
    let text = fs::read_to_string(root().join("events").join(name)).expect("the file is there");
    merged(serde_json::from_str(&text).expect("JSON"), json!({"SecretId": arn}))
}

async fn attached(world: &World) -> Secret<'_> {
    let secret = world.user("app").await;
    secret.attached().await;
    secret.rotated().await;
    secret
}

/// The page's lines that begin with `cargo lambda invoke`.
fn lines() -> Vec<String> {
    let page = fs::read_to_string(root().join("events/README.md")).expect("the page is there");
    page.lines().filter(|line| line.starts_with("cargo lambda invoke ")).map(str::to_owned).collect()
}

/// Runs a line of the page with another file and another address.
async fn cargo_lambda(line: &str, world: &World, file: &Path) -> Output {
    let (url, program_path) = (world.lab.url(), provisioned(provision::cargo_lambda).await);
    let port = url.rsplit(':').next().expect("a port");
    let line = line.split('#').next().unwrap_or_default().trim_start_matches("cargo ");
    let name = world.lab.function_arn().rsplit(':').next().expect("a name");
    let line = line.replace("lockstep-postgres", name).replace("4566", port);
    let line = line.replace("events/testSecret.json", file.to_str().expect("text"));
    let mut command = program(program_path);
    command.args(line.split_whitespace()).env("CARGO_LAMBDA_COLOR", "never");
    if line.contains("--remote") {
        command.args(["--endpoint-url", &url]);
    }
    tokio::process::Command::from(command).kill_on_drop(true).output().await.expect("it runs")
}

#[tokio::test(flavor = "multi_thread")]
async fn cargo_lambda_sends_an_event_and_shows_the_answer() {
    let world = World::start().await;
    let secret = attached(&world).await;
    let directory = tempfile::tempdir().expect("a directory");
    let lines = lines();
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in &lines {
        for (name, answer) in [
            ("diagnose.json", "\"finding\":\"healthy\""),
            ("watch.json", "\"late\":[]"),
            ("testSecret.json", "version-unknown"),
        ] {
            let file = directory.path().join(name);
            fs::write(&file, event(name, &secret.arn).to_string()).expect("the file is written");
            let output = cargo_lambda(line, &world, &file).await;
            let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
            assert!(said.contains(answer), "{line}: {name}: {said}");
            // The command itself fails only if it asks Lambda's API, which says that the function failed.
            let failed = answer == "version-unknown" && line.contains("--remote");
            assert_eq!(output.status.success(), !failed, "{line}: {name}: {said}");
        }
    }
    let password = secret.credential("AWSCURRENT").await.1;
    assert!(secret.opens("AWSCURRENT").await && !world.lab.function_output().contains(&password));
}

/// The button calls Invoke, waits for the answer, and asks for the end of the log.
#[tokio::test(flavor = "multi_thread")]
async fn the_consoles_test_button_shows_the_answer_and_the_log() {
    let world = World::start().await;
    let secret = attached(&world).await;
    let directory = tempfile::tempdir().expect("a directory");
    let name = world.lab.function_arn().rsplit(':').next().expect("a name");
    let default = fs::read_to_string(root().join("events/malformed/lambda-console-default.json")).expect("the file");
    for (sent, answer, log) in [
        (default, "\"errorType\":\"event-malformed\"", "[event-malformed]"),
        (event("diagnose.json", &secret.arn).to_string(), "\"finding\":\"healthy\"", "REPORT RequestId: "),
        (event("recover.json", &secret.arn).to_string(), "\"errorType\":\"recover-off\"", "[recover-off]"),
        (event("finishSecret.json", &secret.arn).to_string(), "\"errorType\":\"version-unknown\"", "[version-unknown]"),
    ] {
        fs::write(directory.path().join("event.json"), &sent).expect("the file is written");
        let said = shell(&[
            format!("cd '{}'", directory.path().display()),
            format!("export AWS_ENDPOINT_URL={}", world.lab.url()),
            format!(
                "aws lambda invoke --function-name {name} --invocation-type RequestResponse --log-type Tail \
                 --payload file://event.json answer.json --query LogResult --output text | base64 --decode"
            ),
            "echo && cat answer.json".to_owned(),
        ])
        .await;
        assert!(said.contains(answer), "{sent}: {said}");
        assert!(said.contains(log) && said.contains("START RequestId: "), "{sent}: {said}");
    }
}
