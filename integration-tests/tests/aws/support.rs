//! What these tests share: `cargo lab serve` as a process, and the clients that people use.

use integration_tests::program;
use integration_tests::runbook::search_path;
use lab::process::Process;
use lab::provision;
use rustix::process::Signal;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt as _;

/// A rotation takes a second; the clients are Python programs, which take that long to start.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// `cargo lab serve` may have to build itself and the functions first.
pub const BUILD: Duration = Duration::from_secs(1500);

/// A child process that serves, as people start it.
pub struct Serve {
    process: Process,
    lines: Receiver<String>,
    /// For files of the test.
    pub directory: tempfile::TempDir,
}

impl Serve {
    /// Starts `cargo lab serve` on a free port, with these arguments.
    pub fn start(arguments: &[&str]) -> Self {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command
            .args(["lab", "serve", "--port", "0"])
            .args(arguments)
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
    pub fn read_until(&self, end: &str, limit: Duration) -> Vec<String> {
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
    pub fn interrupt(&mut self) {
        self.process.signal(Signal::INT).expect("it runs");
        let status = self.process.wait_for(PATIENCE).expect("its own child").expect("it ends");
        assert_eq!(status.code(), Some(130));
    }
}

/// The lines that are to be typed: the indented ones after the first heading, with continued lines joined.
pub fn commands(output: &[String]) -> Vec<String> {
    let shown = output.iter().skip_while(|line| !line.contains("In another terminal"));
    let typed: Vec<_> = shown.filter_map(|line| line.strip_prefix("  ")).collect();
    let typed = typed.join("\n").replace("\\\n", "");
    typed.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// Runs lines in bash, with a query for psql as its input, and returns what they print.
pub async fn shell(lines: &[String]) -> String {
    let script = format!("set -euo pipefail\n{}", lines.join("\n"));
    let mut command = program("bash");
    command.args(["-c", &script]).current_dir(root()).env("PATH", search_path().await);
    run(command, "\\pset format unaligned\n\\pset tuples_only on\nSELECT current_user;\n").await
}

/// Runs a Python program that stands beside this file with boto3 pointed to a lab.
pub async fn python(name: &str, url: &str, arguments: &[&str]) -> String {
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

/// Obtains something in a thread that may block.
pub async fn provisioned(what: fn() -> provision::Result<PathBuf>) -> PathBuf {
    let obtained = tokio::task::spawn_blocking(what).await.expect("no panic");
    obtained.unwrap_or_else(|error| panic!("{error}"))
}

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Asks the lab at this URL, as a person does with `cargo lab`: the exit code, the JSON that is printed, and what is said besides.
pub async fn cargo_lab(url: &str, arguments: &[&str]) -> (Option<i32>, Value, String) {
    let port = url.rsplit(':').next().expect("a port");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = tokio::process::Command::new(cargo);
    command.arg("lab").args(arguments).args(["--port", port, "--json"]).current_dir(root());
    let output = command.output().await.expect("cargo starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), said)
}
