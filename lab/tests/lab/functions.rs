//! Functions that are more than one binary: programs with arguments, several in one lab, and what they print.

use crate::lambda_host::{PATIENCE, host, payload};
use lab::Lab;
use lab::lambda::{Follower, Function, Host, Outcome};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SCRIPTED: &str = env!("CARGO_BIN_EXE_scripted-function");

/// A shell that runs `script` with the scripted function as `$0`.
fn shell(script: &str) -> Function {
    let mut function = Function::new("wrapped", "/bin/sh");
    (function.timeout, function.init_timeout) = (PATIENCE, PATIENCE);
    function.arguments = ["-c", script, SCRIPTED].map(str::to_owned).into();
    function
}

async fn invoke(host: &Host, event: Value) -> Outcome {
    host.invoke("wrapped", event.to_string().into_bytes()).await.unwrap()
}

async fn ends(pid: &Value) {
    let (path, limit) = (format!("/proc/{pid}/exe"), Instant::now() + PATIENCE);
    while std::fs::exists(&path).unwrap() {
        assert!(Instant::now() < limit, "process {pid} still lives");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_program_is_told_its_handler_and_runs_in_its_directory() {
    let directory = tempfile::tempdir().unwrap();
    let mut function = shell("exec \"$0\"");
    function.arguments.push("app.handler".into());
    function.directory = Some(directory.path().into());
    let host = host(function);
    let variables = payload(&invoke(&host, json!({"do": "environment"})).await);
    assert_eq!(variables["_HANDLER"], "app.handler");
    let root = directory.path().canonicalize().unwrap();
    assert_eq!(std::path::Path::new(variables["PWD"].as_str().unwrap()), root, "the shell's own directory");
    assert_eq!(variables["LAMBDA_TASK_ROOT"], directory.path().to_str().unwrap());
}

/// Not `exec`: the shell waits for the program, which a signal to the shell does not reach.
const WAITS: &str = "\"$0\"; exit 5";

#[tokio::test]
async fn what_a_wrapper_has_started_ends_with_it() {
    for end in ["shutdown", "drop", "timeout", "crash"] {
        let mut function = shell(WAITS);
        if end == "timeout" {
            function.timeout = Duration::from_secs(2);
        }
        let host = host(function);
        let pid = payload(&invoke(&host, json!({"do": "sleep"})).await);
        assert!(pid.is_u64() && std::fs::exists(format!("/proc/{pid}/exe")).unwrap(), "{end}: {pid}");
        match end {
            "shutdown" => host.shutdown().await,
            "drop" => drop(host),
            "timeout" => {
                let outcome = invoke(&host, json!({"do": "sleep", "ms": 60_000})).await;
                assert_eq!(payload(&outcome)["errorType"], "Sandbox.Timedout");
            }
            _ => {
                let outcome = invoke(&host, json!({"do": "exit", "code": 1})).await;
                let message = payload(&outcome)["errorMessage"].to_string();
                assert!(message.contains("exit status 5"), "that of the wrapper: {message}");
            }
        }
        ends(&pid).await;
    }
    // A wrapper that ends, and leaves something behind that its runtime does not need.
    let host = host(shell("sleep 300 & echo $!; exec \"$0\""));
    let left = String::from_utf8(invoke(&host, json!({"do": "exit", "code": 1})).await.log).unwrap();
    let pid: u32 = left.lines().next().unwrap().parse().unwrap();
    ends(&pid.into()).await;
}

#[tokio::test]
async fn what_a_function_prints_is_followed_without_lambdas_own_lines() {
    let host = host(shell("exec \"$0\""));
    let mut follower = Follower::new(host.clone(), vec!["wrapped".into()]);
    let mut nothing = Follower::new(host.clone(), vec!["another".into()]);
    let said = |text: &str| vec![("wrapped".to_owned(), text.to_owned())];
    let first = invoke(&host, json!({"do": "print", "text": "one\n"})).await;
    let second = invoke(&host, json!({"do": "print", "text": "two\nand a half"})).await;
    assert_eq!(follower.news_of(&first), [said("initialising"), said("one")].concat(), "and not the next invocation's");
    assert_eq!(follower.news_of(&first), []);
    // Lambda's next line follows in the same one.
    assert_eq!(follower.news(), [said("two"), said("and a half")].concat());
    assert_eq!(follower.news_of(&second), []);
    assert_eq!((nothing.news(), nothing.news_of(&first)), (vec![], vec![]));
}

#[tokio::test]
async fn each_secret_is_rotated_by_the_function_that_it_names_and_an_unknown_one_is_refused() {
    let lab = Lab::builder(SCRIPTED).name("one").start().await.unwrap();
    let two = lab.deploy(Lab::builder(SCRIPTED).name("two"));
    let secrets = [lab.create_secret("a", "{}").await.unwrap(), lab.create_secret("b", "{}").await.unwrap()];
    let rotate = async |secret: &str, function: &str| {
        let request = json!({"SecretId": secret, "RotationLambdaARN": function});
        let answer = lab.call("RotateSecret", request).await;
        lab.service().wait_rotation(secret).await;
        answer
    };
    for unknown in [two.replace(":two", ":three"), two.replace("us-east-1", "eu-west-1"), "two".to_owned()] {
        let refused = rotate(&secrets[0], &unknown).await.unwrap_err();
        assert_eq!(refused.kind, "AccessDeniedException", "{unknown}");
        assert!(refused.message.contains("cannot invoke the specified Lambda function"), "{refused}");
    }
    let described = lab.call("DescribeSecret", json!({"SecretId": secrets[0]})).await.unwrap();
    assert_eq!((described.get("RotationLambdaARN"), described.get("RotationEnabled")), (None, None), "{described}");
    assert_eq!(lab.labels(&secrets[0]).await.unwrap().as_object().unwrap().len(), 1, "nothing was registered");
    assert_eq!(lab.host().environments(), 0);

    let invocations = |function: &str| lab.host().output(function).matches("\nSTART RequestId").count();
    rotate(&secrets[0], lab.function_arn()).await.unwrap();
    assert_eq!((invocations("one"), invocations("two")), (1, 0));
    rotate(&secrets[1], &format!("{two}:$LATEST")).await.unwrap();
    assert_eq!((invocations("one"), invocations("two")), (1, 1));

    // As on AWS, a function can go while a secret names it.
    lab.host().delete(&two);
    let described = lab.call("DescribeSecret", json!({"SecretId": secrets[1]})).await.unwrap();
    assert!(described["RotationLambdaARN"].as_str().unwrap().contains(":two"), "{described}");
    assert_eq!(rotate(&secrets[1], "").await.unwrap_err().kind, "AccessDeniedException");
}
