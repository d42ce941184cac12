//! Disturbances as a function sees them, with a scripted function that calls the endpoint and a relay.

use lab::Lab;
use lab::disturb::{DATABASE, Fault, critical_path};
use lab::lambda::Outcome;
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

async fn lab() -> Lab {
    Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).start().await.unwrap()
}

fn payload(outcome: &Outcome) -> Value {
    serde_json::from_slice(&outcome.payload).unwrap()
}

/// Calls GetRandomPassword `times` times, one after another.
fn calls(times: usize) -> Value {
    json!({ "do": "call", "operations": vec!["GetRandomPassword"; times], "body": {} })
}

async fn secret(lab: &Lab) -> String {
    lab.create_secret("app", "old").await.unwrap()
}

fn put(arn: &str) -> Value {
    let token = "00000000-0000-4000-8000-000000000000";
    let body = json!({ "SecretId": arn, "ClientRequestToken": token, "SecretString": "new" });
    json!({ "do": "call", "operations": ["PutSecretValue"], "body": body })
}

#[tokio::test]
async fn the_functions_calls_are_recorded_and_ours_are_not() {
    let lab = lab().await;
    let arn = secret(&lab).await;
    lab.disturb().latency(Duration::from_millis(5));
    let outcome = lab
        .invoke(&json!({ "do": "call", "operations": ["GetSecretValue", "Nonsense"], "body": { "SecretId": arn } }))
        .await;
    assert_eq!(payload(&outcome)[0][0], 200, "{}", lab.function_output());
    let calls = lab.calls();
    let seen: Vec<_> = calls.iter().map(|call| (call.number, call.operation.as_str(), call.error.is_some())).collect();
    assert_eq!(seen, [(1, "GetSecretValue", false), (2, "Nonsense", true)]);
    assert_eq!(critical_path(&calls), 2);
}

#[tokio::test]
async fn killed_before_a_call_it_has_no_effect_and_after_it_has() {
    for (fault, expected) in [(Fault::KillBefore, "old"), (Fault::KillAfter, "new")] {
        let lab = lab().await;
        let arn = secret(&lab).await;
        lab.disturb().on_next("PutSecretValue", fault);
        let outcome = lab.invoke(&put(&arn)).await;
        let message = format!("RequestId: {} Error: Runtime exited with error: signal: killed", outcome.request_id);
        assert_eq!(payload(&outcome), json!({ "errorType": "Runtime.ExitError", "errorMessage": message }));
        assert_eq!(lab.secret_value(&arn, "AWSCURRENT").await.unwrap(), expected, "{fault:?}");
        assert_eq!(lab.disturb().fired(), 1);
        assert_eq!(lab.invoke(&calls(1)).await.function_error, None, "a new environment serves");
    }
}

#[tokio::test]
async fn a_kill_hits_the_nth_call_exactly() {
    let lab = lab().await;
    lab.disturb().on_call(3, Fault::KillBefore);
    let outcome = lab.invoke(&calls(5)).await;
    assert_eq!(payload(&outcome)["errorType"], "Runtime.ExitError");
    assert_eq!(lab.calls().len(), 3);
    assert_eq!(lab.function_output().matches("calling").count(), 3);
}

#[tokio::test]
async fn a_kill_spares_the_other_environments() {
    let lab = lab().await;
    let sleep = json!({ "do": "sleep", "ms": 1000 });
    let (sleeper, killed) = tokio::join!(lab.invoke(&sleep), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        lab.disturb().on_call(1, Fault::KillBefore);
        lab.invoke(&calls(1)).await
    });
    assert_eq!(sleeper.function_error, None);
    assert_eq!(payload(&killed)["errorType"], "Runtime.ExitError");
}

#[tokio::test]
async fn throttles_and_failures_look_like_awss() {
    let lab = lab().await;
    for (fault, status, kind) in [
        (Fault::Throttle, 400, "ThrottlingException"),
        (Fault::Fail(500), 500, "InternalServiceError"),
        (Fault::Fail(503), 503, "ServiceUnavailable"),
    ] {
        lab.disturb().restart();
        lab.disturb().on_call(2, fault);
        let answers = payload(&lab.invoke(&calls(3)).await);
        let statuses = [&answers[0][0], &answers[1][0], &answers[2][0]];
        assert_eq!(statuses, [&json!(200), &json!(status), &json!(200)], "{answers}");
        assert_eq!(answers[1][1]["__type"], kind);
        assert_eq!(lab.calls()[1].error.as_deref(), Some(kind));
    }
}

#[tokio::test]
async fn a_lost_reply_was_acted_on() {
    let lab = lab().await;
    let arn = secret(&lab).await;
    lab.disturb().on_every("PutSecretValue", Fault::LoseReply);
    let outcome = lab.invoke(&put(&arn)).await;
    assert_eq!(payload(&outcome)["errorType"], "http", "the connection closed");
    assert_eq!(lab.secret_value(&arn, "AWSCURRENT").await.unwrap(), "new");
}

#[tokio::test]
async fn a_stale_read_misses_what_was_just_written() {
    let lab = lab().await;
    let arn = secret(&lab).await;
    let read = json!({ "do": "call", "operations": ["GetSecretValue"], "body": { "SecretId": arn } });
    lab.call("PutSecretValue", json!({ "SecretId": arn, "SecretString": "new" })).await.unwrap();
    lab.disturb().on_next("GetSecretValue", Fault::StaleRead);
    assert_eq!(payload(&lab.invoke(&read).await)[0][1]["SecretString"], "old");
    assert_eq!(payload(&lab.invoke(&read).await)[0][1]["SecretString"], "new");
}

#[tokio::test]
async fn a_delay_delays() {
    let lab = lab().await;
    lab.invoke(&calls(1)).await;
    lab.disturb().on_next("GetRandomPassword", Fault::Delay(Duration::from_millis(400)));
    let began = Instant::now();
    lab.invoke(&calls(1)).await;
    assert!(began.elapsed() >= Duration::from_millis(400));
}

#[tokio::test]
async fn what_was_delayed_happens_also_when_the_function_is_gone() {
    let lab = lab().await;
    let arn = secret(&lab).await;
    lab.disturb().on_next("PutSecretValue", Fault::Delay(Duration::from_secs(3)));
    let put = put(&arn);
    let kill = async {
        while lab.calls().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        lab.host().kill(None).await;
    };
    let (outcome, ()) = tokio::join!(lab.invoke(&put), kill);
    assert_eq!(payload(&outcome)["errorType"], "Runtime.ExitError");
    assert_eq!(lab.secret_value(&arn, "AWSCURRENT").await.unwrap(), "old");
    let ended = async {
        while lab.calls()[0].ended.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), ended).await.unwrap();
    assert_eq!(lab.secret_value(&arn, "AWSCURRENT").await.unwrap(), "new");
}

#[tokio::test]
async fn database_flights_and_calls_are_one_sequence_and_a_flight_can_kill() {
    let server = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = server.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = server.accept().await {
            let mut buffer = [0; 64];
            while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                let _ = stream.write_all(&buffer[..length]).await;
            }
        }
    });
    let lab = lab().await;
    let relay = lab.relay(port).await.unwrap();
    let connect = json!({ "do": "connect", "port": relay.port(), "flights": 3 });
    lab.invoke(&calls(1)).await;
    lab.invoke(&connect).await;
    let operations: Vec<_> = lab.calls().into_iter().map(|call| call.operation).collect();
    assert_eq!(operations, ["GetRandomPassword", DATABASE, DATABASE, DATABASE]);

    for (fault, pongs) in [(Fault::KillBefore, 1), (Fault::KillAfter, 1), (Fault::LoseReply, 1)] {
        lab.disturb().restart();
        lab.disturb().on_call(2, fault);
        let before = lab.function_output().matches("pong").count();
        let outcome = lab.invoke(&connect).await;
        assert!(outcome.function_error.is_some(), "{fault:?}");
        assert_eq!(lab.function_output().matches("pong").count() - before, pongs, "{fault:?}");
        let killed = payload(&outcome)["errorType"] == "Runtime.ExitError";
        assert_eq!(killed, fault != Fault::LoseReply);
    }
}

#[tokio::test]
async fn lambda_invoke_over_http() {
    let lab = lab().await;
    let http = reqwest::Client::new();
    let url = |name: &str| format!("{}/2015-03-31/functions/{name}/invocations", lab.url());
    let send = |name: &str, headers: &[(&str, &str)], body: &Value| {
        let request = headers.iter().fold(http.post(url(name)), |request, (name, value)| request.header(*name, *value));
        request.body(body.to_string()).send()
    };
    let header = |response: &reqwest::Response, name: &str| {
        response.headers().get(name).map(|value| value.to_str().unwrap().to_owned())
    };

    let echoed = send("scripted-function", &[("X-Amz-Log-Type", "Tail")], &json!({ "do": "echo" })).await.unwrap();
    assert_eq!(echoed.status(), 200);
    assert_eq!(header(&echoed, "x-amz-executed-version").unwrap(), "$LATEST");
    assert_eq!(header(&echoed, "x-amz-function-error"), None);
    assert!(header(&echoed, "x-amz-log-result").is_some());
    assert_eq!(echoed.json::<Value>().await.unwrap(), json!({ "do": "echo" }));

    let by_arn = lab.function_arn().replace(':', "%3A");
    let failed = send(&by_arn, &[], &json!({ "do": "error" })).await.unwrap();
    assert_eq!(
        (failed.status().as_u16(), header(&failed, "x-amz-function-error").unwrap().as_str()),
        (200, "Unhandled")
    );

    for (kind, status) in [("DryRun", 204), ("Event", 202), ("Later", 400)] {
        let answer =
            send("scripted-function", &[("X-Amz-Invocation-Type", kind)], &json!({ "do": "echo" })).await.unwrap();
        assert_eq!(answer.status(), status, "{kind}");
    }
    let unknown = send("nobody", &[], &json!({})).await.unwrap();
    assert_eq!(unknown.status(), 404);
    assert_eq!(header(&unknown, "x-amzn-errortype").unwrap(), "ResourceNotFoundException");
    let malformed = http.post(url("scripted-function")).body("{").send().await.unwrap();
    assert_eq!(malformed.status(), 400);
}

#[tokio::test]
async fn sts_says_who_we_are() {
    let form = "Action=GetCallerIdentity&Version=2011-06-15";
    let lab = lab().await;
    let answer = reqwest::Client::new().post(lab.url()).body(form).send().await.unwrap().text().await.unwrap();
    assert!(answer.contains("<Account>123456789012</Account>"), "{answer}");
}
