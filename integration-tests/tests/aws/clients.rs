//! The lab as its clients see it: boto3, the AWS CLI and psql notice no difference to AWS in what they read.

use integration_tests::runbook::search_path;
use integration_tests::{World, function, program};
use lab::process::Process;
use lab::{Lab, provision};
use rustix::process::Signal;
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// A rotation takes a second; the clients are Python programs, which take that long to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// `cargo lab serve` may have to build itself and the function first.
const BUILD: Duration = Duration::from_secs(1500);

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
    let mut serve = tokio::task::spawn_blocking(Serve::start).await.expect("no panic");
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
        let port = url.rsplit(':').next().expect("a port");
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["lab", command, "--port", port, "--json"];
        let output = tokio::process::Command::new(cargo)
            .args(arguments)
            .current_dir(root())
            .output()
            .await
            .expect("cargo starts");
        let answer: Value = serde_json::from_slice(&output.stdout).expect("one JSON object");
        (output.status.code(), answer)
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

/// A child process that serves, as people start it.
struct Serve {
    process: Process,
    lines: Receiver<String>,
    directory: tempfile::TempDir,
}

impl Serve {
    fn start() -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["lab", "serve", "--port", "0"])
            .current_dir(root())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        // SIGTERM, so that it still cleans up if a test fails.
        let mut process = Process::spawn(&mut command, Signal::TERM).expect("cargo starts");
        let output = BufReader::new(process.stdout.take().expect("a pipe"));
        let (sender, lines) = channel();
        // Ends with the process's output.
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { process, lines, directory: tempfile::tempdir().expect("a directory") }
    }

    /// The lines up to the one that contains this.
    fn read_until(&self, end: &str, limit: Duration) -> Vec<String> {
        let start = Instant::now();
        let mut lines = Vec::new();
        while lines.last().is_none_or(|line: &String| !line.contains(end)) {
            let rest = limit.saturating_sub(start.elapsed());
            let line = self.lines.recv_timeout(rest);
            lines.push(line.unwrap_or_else(|_| panic!("no line with {end:?} after {lines:#?}")));
        }
        lines
    }

    /// Ctrl-C, after which it cleans up and says so by its exit code.
    fn interrupt(&mut self) {
        self.process.signal(Signal::INT).expect("it runs");
        let status = self.process.wait_for(PATIENCE).expect("its own child").expect("it ends");
        assert_eq!(status.code(), Some(130));
    }
}

/// The lines that are to be typed: the indented ones after the first heading, with continued lines joined.
fn commands(output: &[String]) -> Vec<String> {
    let shown = output.iter().skip_while(|line| !line.contains("In another terminal"));
    let typed: Vec<_> = shown.filter_map(|line| line.strip_prefix("  ")).collect();
    let typed = typed.join("\n").replace("\\\n", "");
    typed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Runs lines in bash, with a query for psql as its input, and returns what they print.
async fn shell(lines: &[String]) -> String {
    let script = format!("set -euo pipefail\n{}", lines.join("\n"));
    let mut command = program("bash");
    command.args(["-c", &script]).current_dir(root()).env("PATH", search_path().await);
    run(command, "\\pset format unaligned\n\\pset tuples_only on\nSELECT current_user;\n").await
}

/// Runs a Python program that stands beside this file with boto3 pointed to a lab.
async fn python(name: &str, url: &str, arguments: &[&str]) -> String {
    let mut command = program(provisioned(provision::python).await);
    command.arg(root().join("integration-tests/tests/aws").join(name)).args(arguments);
    command.env("AWS_ENDPOINT_URL", url);
    run(command, "").await
}

/// Runs a program, which has to succeed.
async fn run(mut command: Command, input: &'static str) -> String {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = tokio::process::Command::from(command).kill_on_drop(true).spawn().expect("the program starts");
    // A program that does not read its input may have ended by now.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes()).await;
    let output = child.wait_with_output().await.expect("the program is waited for");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{said}\n{complained}", output.status);
    said.into_owned()
}

async fn provisioned(what: fn() -> provision::Result<PathBuf>) -> PathBuf {
    let obtained = tokio::task::spawn_blocking(what).await.expect("no panic");
    obtained.unwrap_or_else(|error| panic!("{error}"))
}

/// The password in what `get-secret-value` printed.
fn password(output: &str) -> String {
    let line = output.lines().find(|line| line.contains("\"SecretString\"")).expect("a value");
    let value = line.split("password").nth(1).expect("a password");
    value.split("\\\"").nth(2).expect("its text").to_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
