//! How an invocation ends, in AWS's words.

use super::PAYLOAD_LIMIT;
use serde::Deserialize;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

/// No function has this name or ARN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownFunction(
    /// The ARN that was looked for.
    pub String,
);

/// The answer of an invocation and what is known about it.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Identifies the invocation; also in the function's own log lines.
    pub request_id: String,
    /// The function's response, or the error object `{"errorType", "errorMessage"}`.
    pub payload: Vec<u8>,
    /// `Unhandled` where the function failed, as in the `X-Amz-Function-Error` header.
    pub function_error: Option<String>,
    /// The log of this invocation, with `START`, `END` and `REPORT` lines.
    pub log: Vec<u8>,
    /// The file that the log is in, and where it ends there.
    pub(super) log_end: Option<Box<(PathBuf, u64)>>,
    /// From the moment the environment had the event to its answer.
    pub duration: Duration,
    /// How long a new environment took to ask for its first event; `None` for one that was there already.
    pub init_duration: Option<Duration>,
    /// The most memory that the process ever had resident, in bytes; `None` once it is dead.
    pub peak_memory: Option<u64>,
}

/// A function's failure: the two fields of Lambda's error object.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StepError {
    /// The stable code of the failure, or Lambda's own, e.g. `Sandbox.Timedout`.
    #[serde(default)]
    pub error_type: String,
    /// What happened, and what to do.
    #[serde(default)]
    pub error_message: String,
}

impl Outcome {
    /// The JSON that the function answered with, or its error.
    ///
    /// # Errors
    /// The function failed.
    pub fn result(&self) -> Result<Value, StepError> {
        if self.function_error.is_none() {
            return Ok(serde_json::from_slice(&self.payload).unwrap_or_default());
        }
        Err(serde_json::from_slice(&self.payload).unwrap_or_else(|_| StepError {
            error_type: "unreadable".to_owned(),
            error_message: "The function's error is not an error object.".to_owned(),
        }))
    }

    /// An invocation that has not begun.
    pub(super) fn pending() -> Self {
        Self {
            request_id: uuid::Uuid::new_v4().to_string(),
            payload: Vec::new(),
            function_error: None,
            log: Vec::new(),
            log_end: None,
            duration: Duration::ZERO,
            init_duration: None,
            peak_memory: None,
        }
    }

    /// The outcome of invoking a function that is not there, e.g. after a shutdown.
    pub(crate) fn not_run(unknown: &UnknownFunction) -> Self {
        let payload = error_object("ResourceNotFoundException", &unknown.to_string());
        Self { payload, function_error: Some("Unhandled".to_owned()), ..Self::pending() }
    }
}

/// Why an invocation has no response.
#[derive(Debug)]
pub(super) enum Failure {
    /// The function answered with this error object.
    Reported(Vec<u8>),
    /// Its time was up; the environment was killed.
    TimedOut,
    /// The process ended without an answer.
    Exited(ExitStatus),
    /// The process could not be started.
    NotStarted(std::io::ErrorKind),
    /// The response had so many bytes.
    ResponseTooLarge(usize),
}

impl Failure {
    /// The error object that Lambda answers with.
    pub(super) fn payload(self, request_id: &str, timeout: Duration) -> Vec<u8> {
        let (kind, message) = match self {
            Self::Reported(body) => return body,
            Self::TimedOut => {
                ("Sandbox.Timedout", format!("Error: Task timed out after {:.2} seconds", timeout.as_secs_f64()))
            }
            Self::Exited(status) => ("Runtime.ExitError", format!("Error: {}", describe_exit(status))),
            Self::NotStarted(kind) => {
                ("Runtime.InvalidEntrypoint", format!("Error: the binary could not be started: {kind}"))
            }
            Self::ResponseTooLarge(size) => {
                let message = format!(
                    "Response payload size ({size} bytes) exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes)."
                );
                return error_object("Function.ResponseSizeTooLarge", &message);
            }
        };
        error_object(kind, &format!("RequestId: {request_id} {message}"))
    }

    /// The `Status` and `Error Type` fields of the REPORT line.
    pub(super) fn report(&self) -> String {
        let kind = match self {
            Self::Reported(_) => return String::new(),
            Self::TimedOut => return "Status: timeout\t".to_owned(),
            Self::Exited(_) => "Runtime.ExitError",
            Self::NotStarted(_) => "Runtime.InvalidEntrypoint",
            Self::ResponseTooLarge(_) => "Function.ResponseSizeTooLarge",
        };
        format!("Status: error\tError Type: {kind}\t")
    }
}

pub(super) fn error_object(kind: &str, message: &str) -> Vec<u8> {
    json!({ "errorType": kind, "errorMessage": message }).to_string().into_bytes()
}

fn describe_exit(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        (Some(signal), _) => format!("Runtime exited with error: signal: {}", signal_name(signal)),
        (None, Some(0)) => "Runtime exited without providing a reason".to_owned(),
        (None, code) => format!("Runtime exited with error: exit status {}", code.unwrap_or(-1)),
    }
}

/// The names that Go, in which Lambda's supervisor is written, gives to signals.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        4 => "illegal instruction",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        11 => "segmentation fault",
        15 => "terminated",
        other => return other.to_string(),
    };
    name.to_owned()
}
