//! The command itself: its exit codes and its behaviour as a Unix program. What it says about rotations is tested with
//! the real function, in integration-tests.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a panic here is a failed test")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

fn lab(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A function that answers every step with an error.
const FUNCTION: &[&str] = &["--function", env!("CARGO_BIN_EXE_scripted-function")];

fn exit_code(mut child: Child) -> Option<i32> {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if Instant::now() > limit {
            child.kill().unwrap();
            panic!("still running");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn wrong_usage_is_2_and_help_is_0() {
    assert_eq!(lab(&["rotate", "postgres", "--times", "none"]).output().unwrap().status.code(), Some(2));
    let help = lab(&["rotate", "postgres", "--help"]).output().unwrap();
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8(help.stdout).unwrap().contains("Exit codes"));
}

#[test]
fn a_function_that_is_not_there_is_3() {
    let output = lab(&["rotate", "postgres", "--json", "--function", "/nonexistent/bootstrap"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8(output.stderr).unwrap().contains("/nonexistent/bootstrap"));
    let last: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&last["outcome"], &last["code"]), (&"failed".into(), &"setup".into()));
}

#[test]
fn a_taken_port_is_named_and_3() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = lab(&["serve", "--port", &port]).args(FUNCTION).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains(&format!("port {port} is taken")) && text.contains("--port"), "{text}");
}

#[test]
fn a_failed_rotation_is_1_and_every_line_is_json() {
    let output = lab(&["rotate", "postgres", "--json"]).args(FUNCTION).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<serde_json::Value> =
        output.stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()).collect();
    let last = lines.last().unwrap();
    assert_eq!((&last["outcome"], &last["step"]), (&"failed".into(), &"createSecret".into()));
    assert_eq!(last["code"], "unknown");
    assert!(!String::from_utf8_lossy(&output.stderr).contains('\x1b'), "colours without a terminal");
}

/// Starts `lab serve` and waits until it serves; returns its server's data directory too.
fn serving() -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = lab(&["serve", "--port", "0"]).args(FUNCTION).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("Ctrl-C") {
        line.clear();
        assert_ne!(output.read_line(&mut line).unwrap(), 0, "ended before it served");
    }
    (child, output)
}

/// The processes that this one started, by whichever of its threads.
fn children(parent: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{parent}/task")).unwrap();
    let lists = threads.map(|thread| std::fs::read_to_string(thread.unwrap().path().join("children")).unwrap());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[test]
fn signals_end_it_with_130_and_no_process_is_left() {
    for signal in ["INT", "TERM"] {
        let (child, _output) = serving();
        let started = children(child.id());
        assert!(!started.is_empty());
        let status = Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap();
        assert!(status.success());
        assert_eq!(exit_code(child), Some(130), "{signal}");
        for process in started {
            assert!(!std::fs::exists(format!("/proc/{process}/exe")).unwrap(), "{process} is left after {signal}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_it_without_a_panic() {
    let mut child = lab(&["rotate", "postgres"]).args(FUNCTION).spawn().unwrap();
    drop(child.stdout.take());
    let mut errors = BufReader::new(child.stderr.take().unwrap());
    assert_eq!(exit_code(child), Some(141));
    let mut text = String::new();
    std::io::Read::read_to_string(&mut errors, &mut text).unwrap();
    assert!(!text.contains("panicked"), "{text}");
}
