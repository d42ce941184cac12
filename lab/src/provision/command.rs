//! Runs a program to its end, with a limit on its time, and says how it failed.

use super::{Error, Result};
use crate::process::Process;
use rustix::process::Signal;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::process::{Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Enough of a program's last words to see what was wrong, without a whole download log.
const TAIL_LINES: usize = 8;
/// Short against a program's start, long enough to cost no processor time.
const POLL: Duration = Duration::from_millis(20);
/// How often a waiting person sees that the program still runs.
const SIGN_OF_LIFE: Duration = Duration::from_secs(20);

/// Writes a line of progress, straight to standard error: it must be seen under `cargo test` too.
pub(crate) fn progress(line: &str) {
    // Nobody is left to be told if this fails.
    let _ = writeln!(io::stderr().lock(), "lab: {line}");
}

/// Runs the program and returns its standard output.
///
/// It stays in this process's group, so that the terminal's Ctrl-C ends it too.
///
/// # Errors
/// [`Error::Command`] if it cannot be started, does not succeed, or takes longer than `limit` and was killed.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Result<String> {
    run_with(command, Stdio::null(), limit)
}

/// The same for a program that reads `input` from its standard input.
///
/// # Errors
/// As for [`run`], and [`Error::Io`].
pub(crate) fn run_with_input(command: &mut Command, input: &str, limit: Duration) -> Result<String> {
    let file = || {
        let mut file = tempfile::tempfile()?;
        file.write_all(input.as_bytes())?;
        file.rewind()?;
        Ok(file)
    };
    let file = file().map_err(Error::io("write a program's input to", &std::env::temp_dir()))?;
    run_with(command, file.into(), limit)
}

fn run_with(command: &mut Command, input: Stdio, limit: Duration) -> Result<String> {
    let failed =
        |command: &Command, outcome: String, tail: String| Error::Command { command: shown(command), outcome, tail };
    // Files and not pipes: a full pipe without a reader would stop the program.
    let capture = || tempfile::tempfile();
    let outputs = capture().and_then(|out| Ok((out.try_clone()?, out, capture()?)));
    let (stdout, mut out, mut err) =
        outputs.map_err(|e| failed(command, format!("cannot be recorded ({e})"), String::new()))?;
    let stderr = err.try_clone().map_err(|e| failed(command, format!("cannot be recorded ({e})"), String::new()))?;
    let status = wait(command.stdin(input).stdout(stdout).stderr(stderr), limit);
    let (out, err) = (text(&mut out), text(&mut err));
    match status {
        Ok(Some(status)) if status.success() => Ok(out),
        Ok(Some(status)) => Err(failed(command, format!("failed ({status})"), tail(&out, &err))),
        Ok(None) => Err(failed(command, format!("was not done after {} s", limit.as_secs()), tail(&out, &err))),
        Err(error) => Err(failed(command, format!("cannot be run ({error})"), String::new())),
    }
}

/// The exit status, or `None` if the program was killed because its time ran out.
fn wait(command: &mut Command, limit: Duration) -> io::Result<Option<ExitStatus>> {
    let mut child = Process::spawn(command, Signal::KILL)?;
    let start = Instant::now();
    let mut next_sign = SIGN_OF_LIFE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let elapsed = start.elapsed();
        if elapsed >= limit {
            child.stop()?;
            return Ok(None);
        }
        if elapsed >= next_sign {
            let program = command.get_program().to_string_lossy();
            progress(&format!("  … {program} is still at it after {} s", elapsed.as_secs()));
            next_sign += SIGN_OF_LIFE;
        }
        sleep(POLL);
    }
}

fn text(file: &mut File) -> String {
    let mut bytes = Vec::new();
    // What cannot be read back is missing from an error text at worst.
    let _ = file.rewind().and_then(|()| file.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The last lines, of standard error where there are any.
fn tail(out: &str, err: &str) -> String {
    let said = if err.trim().is_empty() { out } else { err };
    last_lines(said, TAIL_LINES)
}

/// The last `count` lines that are not blank.
pub(crate) fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines.iter().skip(lines.len().saturating_sub(count)).map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn returns_what_the_program_wrote_to_standard_output() {
        assert_eq!(run(&mut sh("echo out; echo err >&2"), Duration::from_secs(10)).unwrap(), "out\n");
    }

    #[test]
    fn a_program_reads_its_input_where_it_is_given_one_and_nothing_otherwise() {
        assert_eq!(run_with_input(&mut sh("cat"), "in", Duration::from_secs(10)).unwrap(), "in");
        assert_eq!(run(&mut sh("cat"), Duration::from_secs(10)).unwrap(), "");
    }

    #[test]
    fn a_failure_shows_the_command_and_its_last_lines() {
        let error = run(&mut sh("seq 1 100 >&2; exit 3"), Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("`sh -c seq 1 100"), "{error}");
        assert!(error.contains("exit status: 3"), "{error}");
        assert!(error.ends_with("  99\n  100") && !error.contains("\n  50"), "{error}");
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let start = Instant::now();
        let error = run(&mut sh("exec sleep 60"), Duration::from_millis(100)).unwrap_err().to_string();
        assert!(error.contains("was not done"), "{error}");
        assert!(start.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("no-such-program"), Duration::from_secs(1)).unwrap_err().to_string();
        assert!(error.starts_with("`no-such-program` cannot be run"), "{error}");
    }
}
