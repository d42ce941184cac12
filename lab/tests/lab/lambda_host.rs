//! The Lambda host, with a scripted function.

use lab::disturb::Disturb;
use lab::lambda::{Function, Host, Outcome};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// What no invocation here comes near, however busy the machine, unless a time-out is what it is for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

fn function() -> Function {
    let mut function = Function::new("scripted", env!("CARGO_BIN_EXE_scripted-function"));
    (function.timeout, function.init_timeout) = (PATIENCE, PATIENCE);
    function
}

pub(crate) fn host(function: Function) -> Host {
    let host = Host::new(&Disturb::new()).unwrap();
    host.deploy(function);
    host
}

async fn invoke(host: &Host, event: Value) -> Outcome {
    host.invoke("scripted", event.to_string().into_bytes()).await.unwrap()
}

pub(crate) fn payload(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.payload).unwrap()
}

fn log(outcome: &Outcome) -> String {
    String::from_utf8(outcome.log.clone()).unwrap()
}

#[tokio::test]
async fn an_environment_is_used_again() {
    let host = host(function());
    let first = invoke(&host, json!({"do": "sleep"})).await;
    let second = invoke(&host, json!({"do": "sleep"})).await;
    assert_eq!(first.function_error, None, "{}", log(&first));
    assert!(first.init_duration.is_some() && second.init_duration.is_none());
    assert_eq!(payload(&first), payload(&second), "the process id");
    assert_eq!(host.environments(), 1);
}

#[tokio::test]
async fn concurrent_invocations_get_an_environment_each() {
    let host = host(function());
    let event = json!({"do": "sleep", "ms": 300});
    let (one, two) = tokio::join!(invoke(&host, event.clone()), invoke(&host, event));
    assert_ne!(payload(&one), payload(&two));
    assert_eq!(host.environments(), 2);
}

#[tokio::test]
async fn the_context_is_complete() {
    let host = host(function());
    let context = payload(&invoke(&host, json!({"do": "context"})).await);
    assert_eq!(context["arn"], "arn:aws:lambda:us-east-1:123456789012:function:scripted");
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let deadline: u128 = context["deadline"].as_str().unwrap().parse().unwrap();
    assert!(deadline > now && deadline <= now + PATIENCE.as_millis(), "{deadline} {now}");
    assert!(context["trace"].as_str().unwrap().starts_with("Root=1-"), "{context}");
}

#[tokio::test]
async fn the_environment_holds_what_lambda_sets_and_nothing_of_ours() {
    let mut function = function();
    function.environment = vec![("PASSWORD_LENGTH".into(), "40".into()), ("TZ".into(), "UTC".into())];
    let variables = payload(&invoke(&host(function), json!({"do": "environment"})).await);
    assert_eq!(variables["PASSWORD_LENGTH"], "40");
    assert_eq!(variables["TZ"], "UTC", "the function's configuration wins");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_NAME"], "scripted");
    assert_eq!(variables["AWS_LAMBDA_FUNCTION_MEMORY_SIZE"], "128");
    assert_eq!(variables["AWS_ACCESS_KEY_ID"].as_str().unwrap().len(), 20);
    assert_eq!(variables.get("HOME"), None);
    assert_eq!(variables.get("CARGO_MANIFEST_DIR"), None);
}

#[tokio::test]
async fn an_error_is_passed_on_and_the_environment_lives() {
    let host = host(function());
    let outcome = invoke(&host, json!({"do": "error"})).await;
    assert_eq!(outcome.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(payload(&outcome), json!({"errorType": "some-code", "errorMessage": "[some-code] it failed"}));
    invoke(&host, json!({"do": "echo"})).await;
    assert_eq!(host.environments(), 1);
}

#[tokio::test]
async fn a_timeout_kills_the_environment() {
    let mut function = function();
    function.timeout = Duration::from_millis(500);
    let host = host(function);
    let outcome = invoke(&host, json!({"do": "sleep", "ms": 60_000})).await;
    let message = format!("RequestId: {} Error: Task timed out after 0.50 seconds", outcome.request_id);
    assert_eq!(payload(&outcome), json!({"errorType": "Sandbox.Timedout", "errorMessage": message}));
    assert_eq!(outcome.function_error.as_deref(), Some("Unhandled"));
    assert!(log(&outcome).contains("Status: timeout"), "{}", log(&outcome));
    // It has half a second for its answer, too: whether it comes in time is not the point.
    assert!(invoke(&host, json!({"do": "echo"})).await.init_duration.is_some(), "a new environment");
    assert_eq!(host.environments(), 2);
}

#[tokio::test]
async fn overtime_is_given_and_not_told() {
    let mut function = function();
    (function.timeout, function.overtime) = (Duration::from_millis(500), PATIENCE);
    let host = host(function);
    let context = payload(&invoke(&host, json!({"do": "context"})).await);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
    let deadline: u128 = context["deadline"].as_str().unwrap().parse().unwrap();
    assert!(deadline <= now + 500, "{deadline} {now}");
    let outcome = invoke(&host, json!({"do": "sleep", "ms": 1_000})).await;
    assert_eq!((outcome.function_error, host.environments()), (None, 1));
}

#[tokio::test]
async fn a_crash_is_reported_as_aws_does() {
    let host = host(function());
    for (event, text) in [
        (json!({"do": "exit", "code": 3}), "Runtime exited with error: exit status 3"),
        (json!({"do": "exit", "code": 0}), "Runtime exited without providing a reason"),
        (json!({"do": "abort"}), "Runtime exited with error: signal: aborted"),
    ] {
        let outcome = invoke(&host, event).await;
        let message = format!("RequestId: {} Error: {text}", outcome.request_id);
        assert_eq!(payload(&outcome), json!({"errorType": "Runtime.ExitError", "errorMessage": message}));
        assert!(outcome.init_duration.is_some(), "a new environment each time");
    }
}

#[tokio::test]
async fn a_failed_init_is_tried_once_more() {
    for (init, kind) in [("exit", "Runtime.ExitError"), ("error", "Init.Failed"), ("hang", "Sandbox.Timedout")] {
        let mut function = function();
        function.environment = vec![("INIT".into(), init.into())];
        if init == "hang" {
            function.timeout = Duration::from_millis(700);
            function.init_timeout = Duration::from_millis(700);
        }
        let host = host(function);
        let outcome = invoke(&host, json!({"do": "echo"})).await;
        assert_eq!(payload(&outcome)["errorType"], kind, "{init}");
        assert_eq!(host.environments(), 2, "{init}");
        assert!(host.output("scripted").contains("INIT_REPORT"), "{init}");
    }
}

#[tokio::test]
async fn a_binary_that_is_not_there_is_an_error() {
    let host = host(Function::new("scripted", "/nonexistent/bootstrap"));
    let outcome = invoke(&host, json!({})).await;
    assert_eq!(payload(&outcome)["errorType"], "Runtime.InvalidEntrypoint");
}

#[tokio::test]
async fn a_response_over_the_limit_is_refused() {
    let host = host(function());
    let outcome = invoke(&host, json!({"do": "large", "bytes": 6_291_555})).await;
    assert_eq!(payload(&outcome)["errorType"], "Function.ResponseSizeTooLarge");
    // Two quotes make the largest that fits.
    let outcome = invoke(&host, json!({"do": "large", "bytes": 6_291_554})).await;
    assert_eq!((outcome.function_error, outcome.payload.len()), (None, 6_291_556));
}

#[tokio::test]
async fn calls_out_of_order_are_refused() {
    let outcome = invoke(&host(function()), json!({"do": "misbehave"})).await;
    assert_eq!(payload(&outcome), json!([400, 400, 403]));
}

#[tokio::test]
async fn the_log_holds_every_line_even_of_a_killed_function() {
    let host = host(function());
    let first = invoke(&host, json!({"do": "print", "text": "hello\n"})).await;
    let text = log(&first);
    let id = &first.request_id;
    for line in [
        "initialising\n",
        &format!("START RequestId: {id} Version: $LATEST\n"),
        "hello\n",
        &format!("END RequestId: {id}\n"),
    ] {
        assert!(text.contains(line), "{line:?} in {text}");
    }
    assert!(text.contains("\tMemory Size: 128 MB\t") && text.contains("Init Duration: "), "{text}");
    assert!(first.peak_memory.unwrap() > 1_000_000);
    let crashed = invoke(&host, json!({"do": "exit", "code": 1})).await;
    assert!(!log(&crashed).contains("hello"), "an invocation's log is its own");
    assert!(host.output("scripted").contains(&log(&first)) && host.output("scripted").contains(&log(&crashed)));
}

#[tokio::test]
async fn shutdown_and_drop_leave_no_process() {
    for explicit in [true, false] {
        let host = host(function());
        let pid = payload(&invoke(&host, json!({"do": "sleep"})).await);
        let path = format!("/proc/{pid}");
        assert!(std::fs::exists(&path).unwrap());
        if explicit {
            host.shutdown().await;
            assert!(!std::fs::exists(&path).unwrap());
        } else {
            drop(host);
            let limit = Instant::now() + PATIENCE;
            while std::fs::exists(&path).unwrap() {
                assert!(Instant::now() < limit, "process {pid} still lives");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
async fn recycling_makes_the_next_start_cold() {
    let host = host(function());
    invoke(&host, json!({"do": "echo"})).await;
    host.recycle().await;
    assert!(invoke(&host, json!({"do": "echo"})).await.init_duration.is_some());
}

#[tokio::test]
async fn a_caller_who_hangs_up_does_not_abort_the_function() {
    let host = host(function());
    let gone = tokio::time::timeout(Duration::from_millis(200), invoke(&host, json!({"do": "sleep", "ms": 600}))).await;
    assert!(gone.is_err());
    let limit = Instant::now() + PATIENCE;
    while !host.output("scripted").contains("\nEND RequestId") {
        assert!(Instant::now() < limit, "{}", host.output("scripted"));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
