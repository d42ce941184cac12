//! The product's store over the lab's Secrets Manager, in process.

use super::case::SECRET;
use super::labels::Labels;
use super::world::{Kind, Process, Verdict, World, name_of};
use async_trait::async_trait;
use rotation::clock::Deadline;
use rotation::protocol::label::{CURRENT, PENDING, PREVIOUS};
use rotation::protocol::schedule::RotatedSecret;
use rotation::protocol::store::{Description, ListedVersion, PutOutcome, SecretStore, Version, VersionSelector};
use rotation::secret::{RotationToken, SecretText};
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// The store of one process.
pub(super) struct Store(pub(super) Arc<Process>);

/// An answer that is an error: the service's own code.
type Answer = Result<Value, String>;

impl Store {
    /// A read, with its strong answer.
    async fn read(&self, world: &World, operation: &str, body: Value) -> Answer {
        world.service(operation, body).await
    }

    /// A write: what came back, or how the call failed.
    async fn write(&self, operation: &'static str, about: &str, body: Value) -> Result<Answer> {
        let pass = self.0.enter(operation, Kind::Write, about).await?;
        let world = self.0.world()?;
        match pass.verdict {
            Verdict::TimeOut => return Err(unavailable(operation)),
            Verdict::Throttle => return Err(throttled(operation)),
            Verdict::SentTwice => drop(world.service(operation, body.clone()).await),
            _ => {}
        }
        let answer = world.service(operation, body).await;
        self.0.leave(pass).await;
        if pass.verdict == Verdict::ReplyLost {
            return Err(unavailable(operation));
        }
        Ok(answer)
    }
}

fn unavailable(call: &str) -> Error {
    Error::new(Code::ServiceUnavailable).with(Fact::Call, call).with(Fact::What, "no answer in time")
}

fn throttled(call: &str) -> Error {
    Error::new(Code::ServiceThrottled).with(Fact::Call, call)
}

/// The store of the product turns the service's codes into these.
fn refused(call: &str, code: String) -> Error {
    let known = match code.as_str() {
        "AccessDeniedException" => Code::ServiceDenied,
        _ => Code::ServiceRefused,
    };
    Error::new(known).with(Fact::Call, call).with(Fact::ServiceCode, code)
}

/// The version that a read finds.
fn found(labels: &Labels, select: VersionSelector<'_>) -> Option<String> {
    let id = match select {
        VersionSelector::Current => labels.holder(CURRENT),
        VersionSelector::Previous => labels.holder(PREVIOUS),
        VersionSelector::Pending(token) => labels.holder(PENDING).filter(|id| *id == token),
        VersionSelector::Any(id) => labels.of.get_key_value(id).map(|(id, _)| id.as_str()),
    };
    id.filter(|id| labels.filled.contains(*id)).map(str::to_owned)
}

/// What a read of this label said before its last change.
fn outdated(world: &World, secret: &str, select: VersionSelector<'_>) -> Option<String> {
    let log = world.earlier_labels(secret);
    let now = log.first().and_then(|labels| found(labels, select));
    log.iter().map(|labels| found(labels, select)).find(|before| *before != now).unwrap_or(now)
}

/// A date, where the product acts by it.
fn date(world: &World, described: &Value, name: &str) -> Option<Duration> {
    described.get(name).and_then(Value::as_f64).filter(|_| world.case.keeps_time()).map(Duration::from_secs_f64)
}

/// The labels before their last change, as DescribeSecret shows them.
fn earlier(world: &World, secret: &str) -> Option<HashMap<String, Vec<String>>> {
    let log = world.earlier_labels(secret);
    let now = log.first()?;
    let shown = log.iter().find(|before| before.of != now.of).unwrap_or(now);
    let labelled = shown.of.iter().filter(|(_, labels)| !labels.is_empty());
    Some(labelled.map(|(id, labels)| (id.clone(), labels.iter().cloned().collect())).collect())
}

#[async_trait]
impl SecretStore for Store {
    async fn describe(&self, secret: &str, _: Deadline) -> Result<Description> {
        let pass = self.0.enter("DescribeSecret", Kind::Read, name_of(secret)).await?;
        match pass.verdict {
            Verdict::TimeOut | Verdict::ReplyLost => return Err(unavailable("DescribeSecret")),
            Verdict::Throttle => return Err(throttled("DescribeSecret")),
            _ => {}
        }
        let world = self.0.world()?;
        let answer = self.read(&world, "DescribeSecret", json!({"SecretId": secret})).await;
        let answer = answer.map_err(|code| match code.as_str() {
            "ResourceNotFoundException" => Error::new(Code::SecretNotFound).with(Fact::Secret, secret),
            _ => refused("DescribeSecret", code),
        })?;
        if answer.get("DeletedDate").is_some() {
            let error = Error::new(Code::SecretNotFound).with(Fact::Secret, secret);
            return Err(error.with(Fact::Found, "a date of deletion"));
        }
        let labels = match pass.verdict {
            Verdict::Stale => earlier(&world, secret),
            _ => answer.get("VersionIdsToStages").cloned().and_then(|labels| serde_json::from_value(labels).ok()),
        };
        self.0.leave(pass).await;
        Ok(Description {
            rotation_enabled: answer.get("RotationEnabled").and_then(Value::as_bool),
            labels: labels.unwrap_or_default(),
            arn: answer.get("ARN").and_then(Value::as_str).map(str::to_owned),
            last_rotated: date(&world, &answer, "LastRotatedDate"),
            last_changed: date(&world, &answer, "LastChangedDate"),
            ..Description::default()
        })
    }

    async fn value(&self, secret: &str, select: VersionSelector<'_>, _: Deadline) -> Result<Option<Version>> {
        let label = match select {
            VersionSelector::Current => CURRENT,
            VersionSelector::Previous => PREVIOUS,
            VersionSelector::Pending(_) => PENDING,
            VersionSelector::Any(_) => "",
        };
        let about = format!("{} {label}", name_of(secret));
        let pass = self.0.enter("GetSecretValue", Kind::Read, &about).await?;
        match pass.verdict {
            Verdict::TimeOut | Verdict::ReplyLost => return Err(unavailable("GetSecretValue")),
            Verdict::Throttle => return Err(throttled("GetSecretValue")),
            _ => {}
        }
        let world = self.0.world()?;
        let body = if pass.verdict == Verdict::Stale {
            let Some(id) = outdated(&world, secret, select) else { return Ok(None) };
            json!({"SecretId": secret, "VersionId": id})
        } else if let VersionSelector::Pending(token) = select {
            json!({"SecretId": secret, "VersionId": token, "VersionStage": label})
        } else if let VersionSelector::Any(id) = select {
            json!({"SecretId": secret, "VersionId": id})
        } else {
            json!({"SecretId": secret, "VersionStage": label})
        };
        let answer = self.read(&world, "GetSecretValue", body).await;
        self.0.leave(pass).await;
        let text = |answer: &Value, key: &str| answer.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        match answer {
            Ok(answer) => Ok(Some(Version {
                id: text(&answer, "VersionId"),
                text: text(&answer, "SecretString").into(),
                age: Some(Duration::ZERO),
            })),
            Err(code) if code == "ResourceNotFoundException" => Ok(None),
            Err(code) => Err(refused("GetSecretValue", code)),
        }
    }

    async fn versions(&self, secret: &str, _: Deadline) -> Result<Vec<ListedVersion>> {
        let pass = self.0.enter("ListSecretVersionIds", Kind::Read, name_of(secret)).await?;
        match pass.verdict {
            Verdict::TimeOut | Verdict::ReplyLost => return Err(unavailable("ListSecretVersionIds")),
            Verdict::Throttle => return Err(throttled("ListSecretVersionIds")),
            _ => {}
        }
        let world = self.0.world()?;
        let body = json!({"SecretId": secret, "IncludeDeprecated": true});
        let answer = self.read(&world, "ListSecretVersionIds", body).await;
        self.0.leave(pass).await;
        let answer = answer.map_err(|code| refused("ListSecretVersionIds", code))?;
        let versions = answer.get("Versions").and_then(Value::as_array).into_iter().flatten();
        Ok(versions
            .filter_map(|version| {
                let id = version.get("VersionId")?.as_str()?.to_owned();
                let labels = version.get("VersionStages").cloned().unwrap_or_default();
                let created = version.get("CreatedDate").and_then(Value::as_f64).map(Duration::from_secs_f64);
                Some(ListedVersion { id, labels: serde_json::from_value(labels).unwrap_or_default(), created })
            })
            .collect())
    }

    async fn put_pending(
        &self,
        secret: &str,
        token: &str,
        rotation_token: Option<&RotationToken>,
        value: &SecretText,
        _: Deadline,
    ) -> Result<PutOutcome> {
        let mut body = json!({"SecretId": secret, "ClientRequestToken": token, "SecretString": value.expose(),
            "VersionStages": [PENDING]});
        if let (Some(body), Some(token)) = (body.as_object_mut(), rotation_token) {
            body.insert("RotationToken".to_owned(), json!(token.expose()));
        }
        match self.write("PutSecretValue", token, body).await? {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(code) if code == "ResourceExistsException" => Ok(PutOutcome::OtherValueThere),
            Err(code) => Err(refused("PutSecretValue", code)),
        }
    }

    async fn promote(&self, secret: &str, to: &str, from: &str, _: Deadline) -> Result<()> {
        let body =
            json!({"SecretId": secret, "VersionStage": CURRENT, "MoveToVersionId": to, "RemoveFromVersionId": from});
        match self.write("UpdateSecretVersionStage", to, body).await? {
            Ok(_) => Ok(()),
            Err(code) if code == "InvalidParameterException" => {
                Err(Error::new(Code::WriteConflict).with(Fact::ServiceCode, code))
            }
            Err(code) => Err(refused("UpdateSecretVersionStage", code)),
        }
    }

    async fn mark(&self, secret: &str, label: &str, to: &str, from: Option<&str>, _: Deadline) -> Result<()> {
        let body =
            json!({"SecretId": secret, "VersionStage": label, "MoveToVersionId": to, "RemoveFromVersionId": from});
        let answer = self.write("UpdateSecretVersionStage", to, body).await?;
        answer.map(drop).map_err(|code| refused("UpdateSecretVersionStage", code))
    }

    async fn served(&self, _: &str, _: Deadline) -> Result<Vec<RotatedSecret>> {
        let pass = self.0.enter("ListSecrets", Kind::Read, "").await?;
        match pass.verdict {
            Verdict::TimeOut | Verdict::ReplyLost => return Err(unavailable("ListSecrets")),
            Verdict::Throttle => return Err(throttled("ListSecrets")),
            _ => {}
        }
        let world = self.0.world()?;
        let answer = self.read(&world, "DescribeSecret", json!({"SecretId": SECRET})).await.unwrap_or_default();
        let labels = match pass.verdict {
            Verdict::Stale => earlier(&world, SECRET),
            _ => answer.get("VersionIdsToStages").cloned().and_then(|labels| serde_json::from_value(labels).ok()),
        };
        self.0.leave(pass).await;
        let arn = answer.get("ARN").and_then(Value::as_str).filter(|_| answer.get("DeletedDate").is_none());
        let served = arn.map(|arn| RotatedSecret {
            arn: arn.to_owned(),
            rotation_enabled: answer.get("RotationEnabled").and_then(Value::as_bool) == Some(true),
            labels: labels.unwrap_or_default(),
            last_rotated: date(&world, &answer, "LastRotatedDate"),
            last_changed: date(&world, &answer, "LastChangedDate"),
            ..RotatedSecret::default()
        });
        Ok(served.into_iter().collect())
    }
}
