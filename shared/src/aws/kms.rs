//! What KMS says about a key, in two calls.
//!
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>,
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html>

use crate::aws::service::{Answer, CallError, Failure, Request, Service};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::store::EncryptionKey;
use serde_json::{Value, json};

const MEDIA: &str = "application/x-amz-json-1.1";

/// A key by its id, its ARN or an alias. `None` for a key that AWS manages.
pub(super) async fn key(kms: &Service, id: &str, deadline: Deadline) -> Result<Option<EncryptionKey>> {
    let answer = call(kms, "TrentService.DescribeKey", "DescribeKey", id, deadline).await?;
    let text = |name: &str| answer.pointer(&format!("/KeyMetadata/{name}")).and_then(Value::as_str);
    let (Some(arn), Some(state), Some(manager)) = (text("Arn"), text("KeyState"), text("KeyManager")) else {
        return Err(Error::new(Code::ServiceRefused).with(Fact::Call, "DescribeKey").with(Fact::Found, "no key"));
    };
    if manager == "AWS" {
        return Ok(None);
    }
    // KMS rotates no other key, and says nothing about the rotation of a key that goes.
    let can_rotate =
        text("KeySpec") == Some("SYMMETRIC_DEFAULT") && text("Origin") == Some("AWS_KMS") && state == "Enabled";
    let rotates = if can_rotate {
        let status = call(kms, "TrentService.GetKeyRotationStatus", "GetKeyRotationStatus", arn, deadline).await?;
        status.get("KeyRotationEnabled").and_then(Value::as_bool)
    } else {
        None
    };
    Ok(Some(EncryptionKey { arn: arn.to_owned(), state: state.to_owned(), rotates }))
}

async fn call(kms: &Service, target: &str, name: &'static str, key: &str, deadline: Deadline) -> Result<Value> {
    let request = Request::post(MEDIA, &[("x-amz-target", target)], json!({"KeyId": key}).to_string());
    let answer = kms.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))?;
    match answer.status {
        200 => Ok(serde_json::from_slice(&answer.body).unwrap_or_default()),
        _ => Err(refused(name, &answer)),
    }
}

fn refused(call: &'static str, answer: &Answer) -> Error {
    let name = answer.error_name().unwrap_or_default();
    let code = if name.starts_with("AccessDenied") { Code::ServiceDenied } else { Code::ServiceRefused };
    let name: String = name.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    Error::new(code).with(Fact::Call, call).with(Fact::Status, answer.status).with(Fact::ServiceCode, name)
}

fn unanswered(call: &'static str, failure: Failure) -> Error {
    let code = match failure.trouble {
        CallError::BadEndpoint(misplaced) => return misplaced.error(),
        CallError::NotConfigured | CallError::TooLarge => Code::ServiceRefused,
        CallError::Throttled => Code::ServiceThrottled,
        CallError::NoConnection | CallError::Silent | CallError::Unavailable(_) => Code::ServiceUnavailable,
    };
    let next = "The daily look leaves the KMS keys out until KMS can be reached (a VPC endpoint of kms, or a NAT). Rotations do not need it.";
    let error = Error::new(code).with(Fact::Call, call).with(Fact::What, failure.trouble.as_str());
    error.with(Fact::Attempts, failure.attempts).with(Fact::NextAction, next)
}
