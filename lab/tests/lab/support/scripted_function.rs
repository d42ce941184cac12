//! A Lambda function that does what its payload says, to test the host without any rotation.
//!
//! `{"do": "echo"}` and so on, see `act`. The environment variable `INIT` makes it fail to initialise.

use serde_json::{Value, json};
use std::io::{Read, Write};
use std::time::Duration;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), reqwest::Error> {
    let api = std::env::var("AWS_LAMBDA_RUNTIME_API").unwrap_or_default();
    let runtime = format!("http://{api}/2018-06-01/runtime");
    let http = reqwest::Client::new();
    let _ = writeln!(std::io::stderr(), "initialising");
    match std::env::var("INIT").as_deref() {
        Ok("exit") => std::process::exit(9),
        Ok("hang") => tokio::time::sleep(Duration::from_secs(3600)).await,
        Ok("error") => {
            let error = json!({"errorType": "Init.Failed", "errorMessage": "no"});
            http.post(format!("{runtime}/init/error")).json(&error).send().await?;
            return Ok(());
        }
        _ => {}
    }
    loop {
        let next = http.get(format!("{runtime}/invocation/next")).send().await?;
        let headers = next.headers().clone();
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("").to_owned();
        let id = header("lambda-runtime-aws-request-id");
        let event: Value = next.json().await?;
        let context = json!({
            "arn": header("lambda-runtime-invoked-function-arn"),
            "deadline": header("lambda-runtime-deadline-ms"),
            "trace": header("lambda-runtime-trace-id"),
        });
        let answer = if event.get("do").is_some_and(|what| what == "misbehave") {
            misbehave(&http, &runtime).await?
        } else {
            act(&http, &event, context).await
        };
        let (path, body) = match answer {
            Ok(body) => ("response", body),
            Err(body) => ("error", body),
        };
        http.post(format!("{runtime}/invocation/{id}/{path}")).json(&body).send().await?;
    }
}

async fn act(http: &reqwest::Client, event: &Value, context: Value) -> Result<Value, Value> {
    match event["do"].as_str().unwrap_or("") {
        "echo" => Ok(event.clone()),
        "context" => Ok(context),
        "environment" => Ok(std::env::vars().collect()),
        "error" => Err(json!({"errorType": "some-code", "errorMessage": "[some-code] it failed"})),
        "exit" => std::process::exit(event["code"].as_i64().unwrap_or(0).try_into().unwrap_or(1)),
        "abort" => std::process::abort(),
        "sleep" => {
            tokio::time::sleep(Duration::from_millis(event["ms"].as_u64().unwrap_or(0))).await;
            Ok(json!(std::process::id()))
        }
        "print" => {
            let _ = write!(std::io::stdout(), "{}", event["text"].as_str().unwrap_or(""));
            let _ = std::io::stdout().flush();
            Ok(Value::Null)
        }
        "large" => Ok(json!("x".repeat(usize::try_from(event["bytes"].as_u64().unwrap_or(0)).unwrap_or(0)))),
        "call" => call(http, event).await,
        "connect" => connect(event).map_err(|error| json!({"errorType": "io", "errorMessage": error.to_string()})),
        _ => Err(json!({"errorType": "unknown", "errorMessage": "what?"})),
    }
}

/// Makes the Secrets Manager requests named in `operations`, one after another, and answers with their status codes.
async fn call(http: &reqwest::Client, event: &Value) -> Result<Value, Value> {
    let failed = |error: reqwest::Error| json!({"errorType": "http", "errorMessage": error.to_string()});
    let endpoint = std::env::var("AWS_ENDPOINT_URL_SECRETS_MANAGER").unwrap_or_default();
    let key = std::env::var("AWS_ACCESS_KEY_ID").unwrap_or_default();
    let mut statuses = Vec::new();
    for operation in event["operations"].as_array().into_iter().flatten() {
        let _ = writeln!(std::io::stdout(), "calling {operation}");
        let request = http
            .post(&endpoint)
            .header("X-Amz-Target", format!("secretsmanager.{}", operation.as_str().unwrap_or("")))
            .header("Authorization", format!("AWS4-HMAC-SHA256 Credential={key}/20261121/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0"))
            .body(event["body"].to_string());
        let answer = request.send().await.map_err(failed)?;
        statuses.push(json!([answer.status().as_u16(), answer.json::<Value>().await.map_err(failed)?]));
    }
    Ok(Value::Array(statuses))
}

/// Sends `flights` pings to a TCP port.
fn connect(event: &Value) -> std::io::Result<Value> {
    let port = u16::try_from(event["port"].as_u64().unwrap_or(0)).unwrap_or(0);
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port))?;
    for _ in 0..event["flights"].as_u64().unwrap_or(0) {
        stream.write_all(b"ping")?;
        stream.read_exact(&mut [0; 4])?;
        let _ = writeln!(std::io::stdout(), "pong");
    }
    Ok(Value::Null)
}

/// Does what a runtime must not, and answers with the status codes it got.
async fn misbehave(http: &reqwest::Client, runtime: &str) -> Result<Result<Value, Value>, reqwest::Error> {
    let mut statuses = Vec::new();
    for path in ["invocation/not-the-id/response", "invocation/not-the-id/error", "init/error"] {
        statuses.push(http.post(format!("{runtime}/{path}")).body("{}").send().await?.status().as_u16());
    }
    Ok(Ok(json!(statuses)))
}
