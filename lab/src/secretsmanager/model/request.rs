//! Requests: parsing and the checks that need nothing but the request.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::Operation;
use super::version::SecretValue;
use crate::secretsmanager::ServiceError;

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Tag {
    pub(crate) key: String,
    #[serde(default)]
    pub(crate) value: String,
}

/// The largest value (CreateSecret, SecretBinary and SecretString).
const MAX_VALUE_BYTES: usize = 65_536;
/// The most labels that one PutSecretValue may name (SecretVersionStagesType).
const MAX_STAGES: usize = 20;

pub(crate) fn parse<T: DeserializeOwned>(operation: Operation, body: &[u8]) -> Result<T, ServiceError> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body)
        .map_err(|error| ServiceError::serialization(operation.name(), error.line(), error.column()))
}

/// A request of nothing but `SecretId`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ById {
    pub(crate) secret_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct CreateSecret {
    pub(crate) name: Option<String>,
    pub(crate) client_request_token: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) secret_binary: Option<String>,
    pub(crate) secret_string: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    pub(crate) add_replica_regions: Option<Value>,
    pub(crate) r#type: Option<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecret {
    pub(crate) secret_id: Option<String>,
    pub(crate) client_request_token: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) secret_binary: Option<String>,
    pub(crate) secret_string: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutSecretValue {
    pub(crate) secret_id: Option<String>,
    pub(crate) client_request_token: Option<String>,
    pub(crate) secret_binary: Option<String>,
    pub(crate) secret_string: Option<String>,
    pub(crate) version_stages: Option<Vec<String>>,
    pub(crate) rotation_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetSecretValue {
    pub(crate) secret_id: Option<String>,
    pub(crate) version_id: Option<String>,
    pub(crate) version_stage: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateSecretVersionStage {
    pub(crate) secret_id: Option<String>,
    pub(crate) version_stage: Option<String>,
    pub(crate) remove_from_version_id: Option<String>,
    pub(crate) move_to_version_id: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DeleteSecret {
    pub(crate) secret_id: Option<String>,
    pub(crate) recovery_window_in_days: Option<i64>,
    #[serde(default)]
    pub(crate) force_delete_without_recovery: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagResource {
    pub(crate) secret_id: Option<String>,
    pub(crate) tags: Option<Vec<Tag>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagResource {
    pub(crate) secret_id: Option<String>,
    pub(crate) tag_keys: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutResourcePolicy {
    pub(crate) secret_id: Option<String>,
    pub(crate) resource_policy: Option<String>,
}

/// A required string member.
pub(crate) fn required<'a>(value: Option<&'a String>, member: &str) -> Result<&'a str, ServiceError> {
    value.map(String::as_str).ok_or_else(|| ServiceError::missing(member))
}

/// Checks the length of a member, in characters as the shapes count them.
pub(crate) fn check_length(value: &str, member: &str, min: usize, max: usize) -> Result<(), ServiceError> {
    let length = value.chars().count();
    let bound = if length < min {
        format!("greater than or equal to {min}")
    } else if length > max {
        format!("less than or equal to {max}")
    } else {
        return Ok(());
    };
    Err(ServiceError::constraint(Some(value), member, &format!("Member must have length {bound}")))
}

/// The value that a request carries, if any.
pub(crate) fn value(string: Option<String>, binary: Option<&String>) -> Result<Option<SecretValue>, ServiceError> {
    match (string, binary) {
        (Some(_), Some(_)) => Err(ServiceError::invalid_parameter(
            "You can't specify both a binary secret value and a string secret value in the same secret.",
        )),
        (Some(text), None) => {
            check_value_size(text.len(), "secretString")?;
            Ok(Some(SecretValue::Text(text)))
        }
        (None, Some(encoded)) => {
            let bytes = BASE64.decode(encoded).map_err(|_| {
                ServiceError::constraint(None, "secretBinary", "Member must be base64-encoded binary data")
            })?;
            check_value_size(bytes.len(), "secretBinary")?;
            Ok(Some(SecretValue::Binary(bytes)))
        }
        (None, None) => Ok(None),
    }
}

fn check_value_size(bytes: usize, member: &str) -> Result<(), ServiceError> {
    let bound = match bytes {
        0 => "greater than or equal to 1".to_owned(),
        1..=MAX_VALUE_BYTES => return Ok(()),
        _ => format!("less than or equal to {MAX_VALUE_BYTES}"),
    };
    Err(ServiceError::constraint(None, member, &format!("Member must have length {bound}")))
}

/// Checks the id of a version, which a client request token becomes.
pub(crate) fn check_version_id(id: &str, member: &str) -> Result<(), ServiceError> {
    check_length(id, member, 32, 64)
}

/// The client request token. SDKs fill it in; the service itself insists on it (recorded).
pub(crate) fn client_request_token(token: Option<String>) -> Result<String, ServiceError> {
    let token = token.ok_or_else(|| ServiceError::invalid_request(MISSING_TOKEN))?;
    check_version_id(&token, "clientRequestToken")?;
    Ok(token)
}

/// *Recorded*; RotateSecret says it as an InvalidParameterException, the others as an InvalidRequestException.
pub(crate) const MISSING_TOKEN: &str = "You must provide a ClientRequestToken value. We recommend a UUID-type value.";

/// The staging labels that PutSecretValue names.
pub(crate) fn stages(stages: Option<Vec<String>>) -> Result<Option<BTreeSet<String>>, ServiceError> {
    let Some(stages) = stages else { return Ok(None) };
    if stages.is_empty() || stages.len() > MAX_STAGES {
        return Err(ServiceError::constraint(
            None,
            "versionStages",
            &format!("Member must have length between 1 and {MAX_STAGES}"),
        ));
    }
    for stage in &stages {
        check_length(stage, "versionStages", 1, 256)?;
    }
    Ok(Some(stages.into_iter().collect()))
}

/// Encodes a binary value for an answer.
pub(crate) fn encode_binary(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}
