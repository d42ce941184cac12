//! What KMS says about a key, in two calls.
//!
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_DescribeKey.html>,
//! <https://docs.aws.amazon.com/kms/latest/APIReference/API_GetKeyRotationStatus.html>

use crate::aws::service::{Answer, Codes, Failure, Request, Service};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::encryption_key::GONE;
use crate::protocol::store::EncryptionKey;
use serde_json::{Value, json};

const MEDIA: &str = "application/x-amz-json-1.1";

/// A key by its id, its ARN or an alias. `None` for a key that AWS manages.
pub(super) async fn key(kms: &Service, id: &str, deadline: Deadline) -> Result<Option<EncryptionKey>> {
    let answer = match call(kms, "TrentService.DescribeKey", "DescribeKey", id, deadline).await {
        Ok(answer) => answer,
        // It was deleted, and all that it encrypted is lost.
        Err(error) if error.fact(Fact::ServiceCode) == Some("NotFoundException") => {
            return Ok(Some(EncryptionKey { arn: id.to_owned(), state: GONE.to_owned(), rotates: None }));
        }
        Err(error) => return Err(error),
    };
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
    let is_denied = answer.shown_error_name().is_some_and(|name| name.starts_with("AccessDenied"));
    answer.refused(call, if is_denied { Code::ServiceDenied } else { Code::ServiceRefused })
}

fn unanswered(call: &'static str, failure: Failure) -> Error {
    let codes =
        Codes { passes: Code::ServiceUnavailable, throttled: Code::ServiceThrottled, stays: Code::ServiceRefused };
    let next = "The daily look leaves the KMS keys out until KMS can be reached (a VPC endpoint of kms, or a NAT). Rotations do not need it.";
    let error = failure.error(call, codes);
    if error.code() == Code::ConfigurationInvalid { error } else { error.with(Fact::NextAction, next) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aws::service::{Sender, Sending};

    /// KMS as it answers for every key.
    struct Kms(u16, &'static str);

    impl Sender for Kms {
        fn send<'a>(&'a self, _: &'a Request, _: Deadline) -> Sending<'a> {
            let body = json!({"__type": self.1, "message": "hunter2"}).to_string().into_bytes();
            Box::pin(async move { Ok(Answer { status: self.0, headers: Vec::new(), body }) })
        }
    }

    #[tokio::test]
    async fn a_key_that_is_not_there_is_lost_and_any_other_refusal_is_told() {
        let ask = async |name| {
            let kms = Service::over("kms", Box::new(Kms(400, name)));
            key(&kms, "alias/a", Deadline::after(std::time::Duration::from_secs(1))).await
        };
        let gone = ask("NotFoundException").await.unwrap().unwrap();
        assert_eq!((gone.arn.as_str(), gone.state.as_str(), gone.rotates), ("alias/a", GONE, None));
        for (name, code) in [
            ("AccessDeniedException", Code::ServiceDenied),
            ("InvalidArnException", Code::ServiceRefused),
            ("KMSInternalException", Code::ServiceRefused),
        ] {
            let error = ask(name).await.unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::ServiceCode)), (code, Some(name)));
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
