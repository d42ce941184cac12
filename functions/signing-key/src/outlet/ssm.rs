//! A parameter of Systems Manager. It has no conditional write, but each write has a number: a number that is not the next one tells that
//! somebody else wrote in between, and the earlier versions are still there to be read (the last hundred of them).
//!
//! **Invariant:** after a write, all versions since the read are looked at. The answer to a write may be lost and the write repeated, so the
//! version before may be one's own. Otherwise the write of somebody else between the two would be undone, a leaked key's removal, for
//! example. Test: `a_write_by_somebody_else_is_found_behind_ones_own`.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use super::answer::{Found, Mark, Written, refused, set_of, unanswered};
use crate::published::PublishedSet;
use rotation::Result;
use rotation::aws::service::{Answer, Request, Service};
use rotation::clock::Deadline;
use serde_json::{Value, json};

const MEDIA: &str = "application/x-amz-json-1.1";

/// The set in a parameter, and its mark.
///
/// # Errors
/// Those of [`Outlets::read`](super::Outlets::read).
pub(super) async fn read(ssm: &Service, name: &str, deadline: Deadline) -> Result<Found> {
    match value(ssm, name, deadline).await? {
        Some((text, version)) => Ok(Found { set: set_of(&text)?, mark: Mark::Version(version) }),
        None => Ok(Found { set: PublishedSet::default(), mark: Mark::Nothing }),
    }
}

/// A parameter's text and its version. `None` if it is not there.
async fn value(ssm: &Service, name: &str, deadline: Deadline) -> Result<Option<(String, u64)>> {
    let answer = call(ssm, "AmazonSSM.GetParameter", "GetParameter", &json!({"Name": name}), deadline).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let value = body.pointer("/Parameter/Value").and_then(Value::as_str);
    let version = body.pointer("/Parameter/Version").and_then(Value::as_u64);
    match (answer.status, value.zip(version), answer.error_name().as_deref()) {
        (200, Some((value, version)), _) => Ok(Some((value.to_owned(), version))),
        (400, _, Some("ParameterNotFound" | "ParameterVersionNotFound")) => Ok(None),
        _ => Err(refused("GetParameter", &answer)),
    }
}

/// Writes a set, and finds out whether somebody else has written since the read.
///
/// # Errors
/// Those of [`Outlets::write`](super::Outlets::write).
pub(super) async fn write(
    ssm: &Service,
    name: &str,
    set: &PublishedSet,
    mark: &Mark,
    deadline: Deadline,
) -> Result<Written> {
    let before = match mark {
        Mark::Version(version) => Some(*version),
        Mark::Nothing | Mark::Tag(_) | Mark::Group(_) => None,
    };
    let ours = set.text();
    // A standard parameter holds 4 KB, which RSA keys may exceed.
    let body = json!({
        "Name": name, "Value": ours, "Type": "String", "Overwrite": before.is_some(), "Tier": "Intelligent-Tiering",
    });
    let version = match call(ssm, "AmazonSSM.PutParameter", "PutParameter", &body, deadline).await {
        Ok(answer) if answer.status == 200 => {
            let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
            body.get("Version").and_then(Value::as_u64).ok_or_else(|| refused("PutParameter", &answer))?
        }
        // It was not there when it was read.
        Ok(answer) if answer.error_name().as_deref() == Some("ParameterAlreadyExists") => return Ok(Written::Conflict),
        Ok(answer) => return Err(refused("PutParameter", &answer)),
        // It may have been written all the same.
        Err(error) => match value(ssm, name, deadline).await {
            Ok(Some((there, version))) if there == ours && Some(version) != before => version,
            _ => return Err(error),
        },
    };
    let history = Parameter { ssm, name, deadline };
    match others(before, version, &ours, &history).await? {
        Some(text) => Ok(Written::Overwrote(Found { set: set_of(&text)?, mark: Mark::Version(version) })),
        None => Ok(Written::Done),
    }
}

/// The versions of a parameter.
trait History {
    /// The text of a version. `None` if it is gone.
    fn text(&self, version: u64) -> impl Future<Output = Result<Option<String>>> + Send;
}

struct Parameter<'a> {
    ssm: &'a Service,
    name: &'a str,
    deadline: Deadline,
}

impl History for Parameter<'_> {
    async fn text(&self, version: u64) -> Result<Option<String>> {
        let found = value(self.ssm, &format!("{}:{version}", self.name), self.deadline).await?;
        Ok(found.map(|(text, _)| text))
    }
}

/// The newest text that somebody else wrote after the version `before` and before the version `written`.
async fn others(before: Option<u64>, written: u64, ours: &str, history: &impl History) -> Result<Option<String>> {
    // A smaller number is that of a parameter that was deleted and made anew.
    let first = before.filter(|before| *before < written).map_or(1, |before| before + 1);
    for version in (first..written).rev() {
        match history.text(version).await? {
            Some(text) if text != ours => return Ok(Some(text)),
            _ => {}
        }
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::*;

    impl History for &[&str] {
        async fn text(&self, version: u64) -> Result<Option<String>> {
            Ok(self.get(usize::try_from(version).unwrap() - 1).map(|text| (*text).to_owned()))
        }
    }

    /// What is found by a writer of "ours" that read the version `before` and has the answer `written`.
    async fn found(before: Option<u64>, written: u64, history: &[&str]) -> Option<String> {
        others(before, written, "ours", &history).await.unwrap()
    }

    #[tokio::test]
    async fn a_write_by_somebody_else_is_found_behind_ones_own() {
        assert_eq!(found(Some(1), 2, &["read", "ours"]).await, None);
        assert_eq!(found(Some(1), 3, &["read", "theirs", "ours"]).await.as_deref(), Some("theirs"));
        // The answer to a write was lost, and it was repeated.
        assert_eq!(found(Some(1), 3, &["read", "ours", "ours"]).await, None);
        assert_eq!(found(Some(1), 4, &["read", "theirs", "ours", "ours"]).await.as_deref(), Some("theirs"));
        assert_eq!(found(Some(1), 5, &["read", "old", "ours", "new", "ours"]).await.as_deref(), Some("new"));
        // It was deleted and made anew.
        assert_eq!(found(Some(7), 2, &["theirs", "ours"]).await.as_deref(), Some("theirs"));
        assert_eq!(found(None, 1, &["ours"]).await, None);
    }
}
