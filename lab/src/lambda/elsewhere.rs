//! Functions that run elsewhere: behind another Lambda endpoint on this machine, such as that of `sam local start-lambda`.
//!
//! Source: Lambda API reference, "Invoke".

use super::Function;
use super::outcome::{Outcome, error_object};
use reqwest::{Client, Response};
use serde_json::Value;
use std::time::{Duration, Instant};

/// The longest time that Lambda gives a function. What runs it in a container may first have to make the container's image.
const LIMIT: Duration = Duration::from_secs(15 * 60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Invokes the function of this name at `endpoint`. Whatever goes wrong there is a failure of the function, as the caller sees it.
pub(super) async fn invoke(endpoint: &str, function: &Function, payload: Vec<u8>) -> Outcome {
    let mut outcome = Outcome::pending();
    let began = Instant::now();
    let (payload, function_error) = match answer(endpoint, function, payload).await {
        Ok(answer) => answer,
        Err((kind, message)) => (error_object(kind, &message), Some("Unhandled".to_owned())),
    };
    outcome.duration = began.elapsed();
    (outcome.payload, outcome.function_error) = (payload, function_error);
    outcome
}

/// The function's answer and the mark of its failure; or else the kind of error and a message.
async fn answer(
    endpoint: &str,
    function: &Function,
    payload: Vec<u8>,
) -> Result<(Vec<u8>, Option<String>), (&'static str, String)> {
    let url = format!("{}/2015-03-31/functions/{}/invocations", endpoint.trim_end_matches('/'), function.name);
    // The environment's proxy would not find this machine.
    let client = Client::builder().no_proxy().connect_timeout(CONNECT_LIMIT).timeout(LIMIT).build().unwrap_or_default();
    let request = client.post(url).header("content-type", "application/json").body(payload);
    let response = request.send().await.map_err(|error| failed(endpoint, &error))?;
    let error = response.headers().get("x-amz-function-error").and_then(|value| value.to_str().ok()).map(str::to_owned);
    if response.status().is_success() {
        let body = response.bytes().await.map_err(|error| failed(endpoint, &error))?;
        return Ok((body.to_vec(), error));
    }
    Err(("LambdaEndpoint.Refused", refusal(endpoint, &function.name, response).await))
}

fn failed(endpoint: &str, error: &reqwest::Error) -> (&'static str, String) {
    if error.is_connect() {
        let what = format!(
            "Nothing answers at {endpoint}. Start `sam local start-lambda`, or what else serves Lambda's Invoke there."
        );
        ("LambdaEndpoint.Unreachable", what)
    } else if error.is_timeout() {
        ("LambdaEndpoint.Silent", format!("{endpoint} has not answered in {} minutes.", LIMIT.as_secs() / 60))
    } else {
        ("LambdaEndpoint.Lost", format!("The connection to {endpoint} broke before it had answered."))
    }
}

/// What the endpoint says: its status, and the message of Lambda's error object if there is one.
async fn refusal(endpoint: &str, function: &str, response: Response) -> String {
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap_or_default();
    let said = body.get("Message").or_else(|| body.get("message")).and_then(Value::as_str).unwrap_or("no message");
    format!("{endpoint} did not invoke {function}: HTTP {status}, {said}")
}
