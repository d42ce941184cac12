//! Calls the lab as any user would: over HTTP.

use crate::stack::{ServiceError, with_idempotency_token};
use serde_json::{Value, json};

/// A Secrets Manager client. It does not sign, as the lab does not check.
pub(super) struct Client {
    http: reqwest::Client,
    url: String,
}

impl Client {
    pub(super) fn new(url: String) -> Self {
        // The lab is on this machine, and the environment's proxy would not find it. Only a TLS back end can fail to build.
        let http = reqwest::Client::builder().no_proxy().build().unwrap_or_default();
        Self { http, url }
    }

    pub(super) async fn call(&self, operation: &str, request: Value) -> Result<Value, ServiceError> {
        let request = with_idempotency_token(operation, request);
        let unreachable =
            |error: reqwest::Error| ServiceError { kind: "Unreachable".to_owned(), message: error.to_string() };
        let request =
            self.http.post(&self.url).header("X-Amz-Target", format!("secretsmanager.{operation}")).json(&request);
        let response = request.send().await.map_err(unreachable)?;
        let failed = !response.status().is_success();
        let kind = response.headers().get("x-amzn-errortype").and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body: Value = response.json().await.map_err(unreachable)?;
        if failed { Err(ServiceError::from_reply(kind.unwrap_or_default(), &body)) } else { Ok(body) }
    }

    /// Invokes a function. The answer may be an error of the function, with `errorType`.
    pub(super) async fn invoke(&self, function: &str, event: &Value) -> reqwest::Result<Value> {
        let url = format!("{}/2015-03-31/functions/{function}/invocations", self.url);
        self.http.post(url).json(event).send().await?.json().await
    }

    /// The secret's value with this label, parsed.
    pub(super) async fn credential(&self, secret: &str, stage: &str) -> Result<Value, ServiceError> {
        let answer = self.call("GetSecretValue", json!({ "SecretId": secret, "VersionStage": stage })).await?;
        let text = answer.get("SecretString").and_then(Value::as_str).unwrap_or_default();
        Ok(serde_json::from_str(text).unwrap_or_default())
    }

    /// The version that holds a label, if one does.
    pub(super) async fn version(&self, secret: &str, stage: &str) -> Result<Option<String>, ServiceError> {
        let answer = self.call("DescribeSecret", json!({ "SecretId": secret })).await?;
        let versions = answer.get("VersionIdsToStages").and_then(Value::as_object);
        let holds = |stages: &Value| stages.as_array().is_some_and(|stages| stages.iter().any(|it| it == stage));
        Ok(versions.into_iter().flatten().find(|(_, stages)| holds(stages)).map(|(version, _)| version.clone()))
    }
}
