//! A parameter of Systems Manager. It has no conditional write, but each write has a number: a number that is not the next one tells that
//! somebody else wrote in between, and the earlier version is still there to be read.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use super::answer::{Found, Mark, Written, refused, set_of, unanswered};
use crate::published::PublishedSet;
use rotation::Result;
use rotation::aws::service::{Answer, Request, Service};
use rotation::clock::Deadline;
use serde_json::{Value, json};

const MEDIA: &str = "application/x-amz-json-1.1";

pub(super) async fn read(ssm: &Service, name: &str, deadline: Deadline) -> Result<Found> {
    let answer = call(ssm, "AmazonSSM.GetParameter", "GetParameter", &json!({"Name": name}), deadline).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let value = body.pointer("/Parameter/Value").and_then(Value::as_str);
    let version = body.pointer("/Parameter/Version").and_then(Value::as_u64);
    match (answer.status, value.zip(version)) {
        (200, Some((value, version))) => Ok(Found { set: set_of(value)?, mark: Mark::Version(version) }),
        (400, _) if answer.error_name().as_deref() == Some("ParameterNotFound") => {
            Ok(Found { set: PublishedSet::default(), mark: Mark::Nothing })
        }
        _ => Err(refused("GetParameter", &answer)),
    }
}

pub(super) async fn write(
    ssm: &Service,
    name: &str,
    set: &PublishedSet,
    mark: &Mark,
    deadline: Deadline,
) -> Result<Written> {
    let before = match mark {
        Mark::Version(version) => Some(*version),
        Mark::Nothing | Mark::Tag(_) => None,
    };
    // A standard parameter holds 4 KB, which RSA keys may exceed.
    let body = json!({
        "Name": name, "Value": set.text(), "Type": "String", "Overwrite": before.is_some(), "Tier": "Intelligent-Tiering",
    });
    let answer = call(ssm, "AmazonSSM.PutParameter", "PutParameter", &body, deadline).await?;
    if answer.status != 200 {
        return match answer.error_name().as_deref() {
            // It was not there when it was read.
            Some("ParameterAlreadyExists") => Ok(Written::Conflict),
            _ => Err(refused("PutParameter", &answer)),
        };
    }
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let version = body.get("Version").and_then(Value::as_u64).ok_or_else(|| refused("PutParameter", &answer))?;
    match version.checked_sub(1) {
        Some(previous) if Some(previous) != before && previous > 0 => {
            let between = read(ssm, &format!("{name}:{previous}"), deadline).await?;
            Ok(Written::Overwrote(Found { set: between.set, mark: Mark::Version(version) }))
        }
        _ => Ok(Written::Done),
    }
}

async fn call(
    ssm: &Service,
    target: &'static str,
    name: &'static str,
    body: &Value,
    deadline: Deadline,
) -> Result<Answer> {
    let request = Request::post(MEDIA, &[("x-amz-target", target)], body.to_string());
    ssm.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))
}
