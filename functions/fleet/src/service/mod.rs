//! The calls to AWS. Each error has a code and facts, and never a text of the service.

mod others;
mod runs;

use crate::plan::member::{Facts, Member, Rules};
use crate::run::progress::Seen;
use rotation::aws::service::{CallError, Codes, Failure, Request, Service};
use rotation::clock::Deadline;
use rotation::environment::Environment;
use rotation::error::{Code, Error, Fact, Result};
use rotation::secret::SecretText;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const JSON: &str = "application/x-amz-json-1.1";
/// Pages of ListSecrets. An account has 500,000 secrets at most, and a page up to 50 of them.
const PAGE: u32 = 50;
/// An answer may have 1 MB, which 50 secrets with 50 long tags each exceed, and these cannot.
const SMALL_PAGE: u32 = 10;
const MOST_PAGES: usize = 60_000;
/// Pages of the versions of one secret, which has about 100 of them.
const MOST_VERSION_PAGES: usize = 20;
/// One call may be tried again for so long. The item that needs it is looked at again anyway.
const PATIENCE: Duration = Duration::from_secs(12);

/// Secrets Manager, and the parameter with the stop flag.
#[derive(Debug)]
pub struct Aws {
    secrets: Service,
    parameters: Service,
    machines: Service,
    keys: Service,
    stop: Option<String>,
}

/// Whether a run has to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flag {
    /// It goes on.
    Go,
    /// It stops.
    Stop,
}

macro_rules! targets {
    ($($operation:literal => $target:literal,)*) => {
        fn headers(operation: &str) -> &'static [(&'static str, &'static str)] {
            match operation {
                $($operation => &[("x-amz-target", $target)],)*
                _ => &[],
            }
        }
    };
}

targets! {
    "DescribeSecret" => "secretsmanager.DescribeSecret",
    "GetSecretValue" => "secretsmanager.GetSecretValue",
    "ListSecrets" => "secretsmanager.ListSecrets",
    "ListSecretVersionIds" => "secretsmanager.ListSecretVersionIds",
    "RotateSecret" => "secretsmanager.RotateSecret",
    "TagResource" => "secretsmanager.TagResource",
    "UpdateSecret" => "secretsmanager.UpdateSecret",
    "UpdateSecretVersionStage" => "secretsmanager.UpdateSecretVersionStage",
    "GetParameter" => "AmazonSSM.GetParameter",
    "PutParameter" => "AmazonSSM.PutParameter",
    "DescribeKey" => "TrentService.DescribeKey",
    "DescribeExecution" => "AWSStepFunctions.DescribeExecution",
    "ListExecutions" => "AWSStepFunctions.ListExecutions",
    "StartExecution" => "AWSStepFunctions.StartExecution",
}

/// A version of a secret.
#[derive(Debug)]
pub(crate) struct Version {
    pub(crate) id: String,
    pub(crate) text: SecretText,
}

/// An answer that says no, by its name.
struct Refused {
    name: String,
}

impl Aws {
    /// Reads `SECRETS_MANAGER_ENDPOINT`, and `AWS_ENDPOINT_URL_SECRETS_MANAGER`, `AWS_ENDPOINT_URL_SSM`, `AWS_ENDPOINT_URL_SFN` and
    /// `AWS_ENDPOINT_URL_KMS`: other addresses than the usual ones; and `STOP_PARAMETER`, the name of the parameter with the stop flag.
    ///
    /// # Errors
    /// [`Code::ConfigurationInvalid`].
    pub fn new(environment: &Environment) -> Result<Self> {
        // The service itself checks the usual ones, and names them.
        let service = |name, usual: &str| {
            let endpoint = environment.text(usual)?;
            Ok::<_, Error>(Service::new(name, endpoint.as_deref()))
        };
        let secrets = match environment.service("SECRETS_MANAGER_ENDPOINT")? {
            Some(own) => Service::new("secretsmanager", Some(&own)),
            None => service("secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
        };
        Ok(Self {
            secrets,
            parameters: service("ssm", "AWS_ENDPOINT_URL_SSM")?,
            machines: service("states", "AWS_ENDPOINT_URL_SFN")?,
            keys: service("kms", "AWS_ENDPOINT_URL_KMS")?,
            stop: environment.text("STOP_PARAMETER")?,
        })
    }

    async fn call(
        service: &Service,
        operation: &'static str,
        body: &Value,
        deadline: Deadline,
    ) -> Result<Result<Value, Refused>> {
        let media = if operation.contains("Execution") { "application/x-amz-json-1.0" } else { JSON };
        let request = Request::post(media, headers(operation), body.to_string());
        let answer = service.call(&request, deadline.within(PATIENCE)).await;
        let answer = answer.map_err(|failure| unanswered(operation, failure))?;
        let read: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status == 200 {
            return Ok(Ok(read));
        }
        Ok(Err(Refused { name: answer.shown_error_name().unwrap_or_default() }))
    }

    async fn ask(&self, operation: &'static str, body: &Value, deadline: Deadline) -> Result<Result<Value, Refused>> {
        Self::call(&self.secrets, operation, body, deadline).await
    }

    async fn get(&self, operation: &'static str, secret: &str, body: &Value, deadline: Deadline) -> Result<Value> {
        self.ask(operation, body, deadline).await?.map_err(|refused| refused.error(operation, secret))
    }

    /// All secrets of the account. No value is read.
    ///
    /// # Errors
    /// ListSecrets failed.
    pub async fn members(&self, deadline: Deadline) -> Result<Vec<Member>> {
        let (mut found, mut token) = (Vec::new(), Value::Null);
        for _ in 0..MOST_PAGES {
            let page = match self.page(PAGE, &token, deadline).await {
                Err(error) if error.fact(Fact::What) == Some(CallError::TooLarge.as_str()) => {
                    self.page(SMALL_PAGE, &token, deadline).await?
                }
                page => page?,
            };
            // A page that is none would make the list end.
            let Some(entries) = page.get("SecretList").and_then(Value::as_array) else {
                let error = Error::new(Code::ServiceUnavailable).with(Fact::Call, "ListSecrets");
                return Err(error.with(Fact::What, "an answer without a list"));
            };
            found.extend(entries.iter().filter_map(|entry| member(entry, "SecretVersionsToStages")));
            token = page.get("NextToken").cloned().unwrap_or_default();
            if token.is_null() {
                return Ok(found);
            }
        }
        let error = Error::new(Code::ServiceUnavailable).with(Fact::Call, "ListSecrets");
        Err(error.with(Fact::What, "the list of secrets does not end"))
    }

    async fn page(&self, size: u32, token: &Value, deadline: Deadline) -> Result<Value> {
        let mut body = json!({"MaxResults": size});
        if let (Some(body), false) = (body.as_object_mut(), token.is_null()) {
            body.insert("NextToken".to_owned(), token.clone());
        }
        // The limit of one call is not that of the list.
        self.get("ListSecrets", "", &body, deadline).await
    }

    /// One secret by its name or ARN. No value is read. `None` if there is none, or this function may not see it: a role that allows secrets
    /// by what they are refuses one that is not there, too.
    ///
    /// # Errors
    /// DescribeSecret failed for another reason.
    pub async fn member(&self, secret: &str, deadline: Deadline) -> Result<Option<Member>> {
        match self.ask("DescribeSecret", &json!({"SecretId": secret}), deadline).await? {
            Ok(described) => Ok(member(&described, "VersionIdsToStages")),
            Err(refused) if refused.name == "ResourceNotFoundException" || refused.is_denied() => Ok(None),
            Err(refused) => Err(refused.error("DescribeSecret", secret)),
        }
    }

    /// What a secret's value says about where and how it is used. `None` if the function may not read it, or it is not JSON.
    ///
    /// # Errors
    /// The service did not answer.
    pub async fn facts(&self, secret: &str, deadline: Deadline) -> Result<Option<Facts>> {
        let answer = self.ask("GetSecretValue", &json!({"SecretId": secret}), deadline).await?;
        Ok(answer.ok().and_then(|answer| Facts::of(answer.get("SecretString")?.as_str()?)))
    }

    /// The version with this label, to be turned into fingerprints. `None` if there is none, or it has no text.
    ///
    /// # Errors
    /// The service did not answer, or refused.
    pub(crate) async fn version(&self, secret: &str, label: &str, deadline: Deadline) -> Result<Option<Version>> {
        let body = json!({"SecretId": secret, "VersionStage": label});
        let answer = match self.ask("GetSecretValue", &body, deadline).await? {
            Ok(answer) => answer,
            Err(refused) if refused.name == "ResourceNotFoundException" => return Ok(None),
            Err(refused) => return Err(refused.error("GetSecretValue", secret)),
        };
        let text = |name: &str| answer.get(name).and_then(Value::as_str);
        Ok(text("SecretString")
            .zip(text("VersionId"))
            .map(|(text, id)| Version { id: id.to_owned(), text: text.into() }))
    }

    /// The text of the version with this label: a key of the function's own.
    ///
    /// # Errors
    /// As for [`version`](Self::version).
    pub(crate) async fn text(&self, secret: &str, label: &str, deadline: Deadline) -> Result<Option<SecretText>> {
        Ok(self.version(secret, label, deadline).await?.map(|version| version.text))
    }

    /// When each version was made, with or without a label, in milliseconds since the Unix epoch.
    ///
    /// # Errors
    /// ListSecretVersionIds failed.
    pub async fn created(&self, secret: &str, deadline: Deadline) -> Result<BTreeMap<String, u64>> {
        let listed = self.versions(secret, deadline).await?;
        let id = |version: &Value| version.get("VersionId").and_then(Value::as_str).map(str::to_owned);
        let at = |version: &Value| milliseconds(version, "CreatedDate").unwrap_or_default();
        Ok(listed.iter().filter_map(|version| Some((id(version)?, at(version)))).collect())
    }

    /// All versions of a secret, those without a label as well.
    async fn versions(&self, secret: &str, deadline: Deadline) -> Result<Vec<Value>> {
        let (mut found, mut token) = (Vec::new(), Value::Null);
        for _ in 0..MOST_VERSION_PAGES {
            let mut body = json!({"SecretId": secret, "IncludeDeprecated": true, "MaxResults": 100});
            if let (Some(body), false) = (body.as_object_mut(), token.is_null()) {
                body.insert("NextToken".to_owned(), token);
            }
            let mut page = self.get("ListSecretVersionIds", secret, &body, deadline).await?;
            if let Some(Value::Array(versions)) = page.get_mut("Versions").map(Value::take) {
                found.extend(versions);
            }
            token = page.get_mut("NextToken").map(Value::take).unwrap_or_default();
            if token.as_str().is_none_or(str::is_empty) {
                return Ok(found);
            }
        }
        let error = Error::new(Code::ServiceUnavailable).with(Fact::Call, "ListSecretVersionIds");
        Err(error.with(Fact::Secret, secret).with(Fact::What, "the list of versions does not end"))
    }

    /// The labels of a secret.
    ///
    /// # Errors
    /// DescribeSecret failed.
    pub async fn labels(&self, secret: &str, deadline: Deadline) -> Result<Seen> {
        let answer = self.get("DescribeSecret", secret, &json!({"SecretId": secret}), deadline).await?;
        let versions = answer.get("VersionIdsToStages").and_then(Value::as_object);
        let with = |label: &str| {
            let mut versions = versions.into_iter().flatten();
            let has = |labels: &Value| labels.as_array().is_some_and(|labels| labels.iter().any(|it| it == label));
            versions.find(|(_, labels)| has(labels)).map(|(version, _)| version.clone())
        };
        Ok(Seen {
            deleted: is_deleted(&answer),
            enabled: answer.get("RotationEnabled").and_then(Value::as_bool) == Some(true),
            current: with("AWSCURRENT"),
            pending: with("AWSPENDING"),
            previous: with("AWSPREVIOUS"),
            changed: seconds(&answer, "LastChangedDate").unwrap_or_default() * 1_000,
            key: answer.get("KmsKeyId").and_then(Value::as_str).map(str::to_owned),
        })
    }

    /// Asks for a rotation. `true`: it was accepted. `false`: another one is not finished, or this one is on its way.
    ///
    /// # Errors
    /// RotateSecret failed for another reason.
    pub async fn rotate(&self, secret: &str, token: &str, deadline: Deadline) -> Result<bool> {
        let body = json!({"SecretId": secret, "ClientRequestToken": token});
        match self.ask("RotateSecret", &body, deadline).await? {
            Ok(_) => Ok(true),
            // "A previous rotation isn't complete. That rotation will be reattempted." The labels tell which one it is.
            Err(refused) if matches!(refused.name.as_str(), "InvalidRequestException" | "ResourceExistsException") => {
                Ok(false)
            }
            Err(refused) => Err(refused.error("RotateSecret", secret)),
        }
    }

    /// Moves AWSCURRENT. `false`: it is on another version than `from` by now.
    ///
    /// # Errors
    /// UpdateSecretVersionStage failed for another reason.
    pub async fn promote(&self, secret: &str, to: &str, from: &str, deadline: Deadline) -> Result<bool> {
        let body = json!({
            "SecretId": secret, "VersionStage": "AWSCURRENT", "MoveToVersionId": to, "RemoveFromVersionId": from,
        });
        match self.ask("UpdateSecretVersionStage", &body, deadline).await? {
            Ok(_) => Ok(true),
            Err(refused) if refused.name == "InvalidParameterException" => Ok(false),
            Err(refused) => Err(refused.error("UpdateSecretVersionStage", secret)),
        }
    }

    /// Encrypts the versions with AWSCURRENT, AWSPENDING and AWSPREVIOUS with another key.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_UpdateSecret.html>
    ///
    /// # Errors
    /// UpdateSecret failed.
    pub async fn rekey(&self, secret: &str, key: &str, deadline: Deadline) -> Result<()> {
        self.get("UpdateSecret", secret, &json!({"SecretId": secret, "KmsKeyId": key}), deadline).await.map(drop)
    }

    /// The versions that are not under this key, whose ARN it is.
    ///
    /// # Errors
    /// ListSecretVersionIds failed.
    pub async fn under_another_key(&self, secret: &str, key: &str, deadline: Deadline) -> Result<Vec<String>> {
        let listed = self.versions(secret, deadline).await?;
        let id = key.rsplit('/').next().unwrap_or(key);
        let same = |known: &Value| {
            known.as_str().is_some_and(|known| known == key || known == id || known.ends_with(&format!("/{id}")))
        };
        let under_it = |version: &&Value| {
            let keys = version.get("KmsKeyIds").and_then(Value::as_array);
            keys.is_some_and(|keys| !keys.is_empty() && keys.iter().all(same))
        };
        let version_id = |version: &Value| version.get("VersionId").and_then(Value::as_str).map(str::to_owned);
        Ok(listed.iter().filter(|version| !under_it(version)).filter_map(version_id).collect())
    }

    /// Sets a tag.
    ///
    /// # Errors
    /// TagResource failed.
    pub async fn tag(&self, secret: &str, key: &str, value: &str, deadline: Deadline) -> Result<()> {
        let body = json!({"SecretId": secret, "Tags": [{"Key": key, "Value": value}]});
        self.get("TagResource", secret, &body, deadline).await.map(drop)
    }
}

impl Refused {
    fn is_denied(&self) -> bool {
        self.name.starts_with("AccessDenied")
    }

    fn error(&self, operation: &'static str, secret: &str) -> Error {
        let code = match self.name.as_str() {
            "ResourceNotFoundException" => Code::SecretNotFound,
            name if self.is_denied() || name.contains("Token") => Code::ServiceDenied,
            _ => Code::ServiceRefused,
        };
        let error = Error::new(code).with(Fact::Call, operation).with(Fact::ServiceCode, &self.name);
        if secret.is_empty() { error } else { error.with(Fact::Secret, secret) }
    }
}

fn unanswered(operation: &'static str, failure: Failure) -> Error {
    let codes =
        Codes { passes: Code::ServiceUnavailable, throttled: Code::ServiceThrottled, stays: Code::ServiceRefused };
    failure.error(operation, codes)
}

fn milliseconds(entry: &Value, name: &str) -> Option<u64> {
    let seconds = entry.get(name)?.as_f64()?;
    u64::try_from(Duration::try_from_secs_f64(seconds).ok()?.as_millis()).ok()
}

fn seconds(entry: &Value, name: &str) -> Option<u64> {
    milliseconds(entry, name).map(|milliseconds| milliseconds / 1_000)
}

/// Whether a secret is scheduled for deletion. DescribeSecret shows it until then.
fn is_deleted(entry: &Value) -> bool {
    entry.get("DeletedDate").is_some_and(|date| !date.is_null())
}

/// A secret of ListSecrets or DescribeSecret, which name the labels differently. One that is scheduled for deletion is left out.
fn member(entry: &Value, labels: &str) -> Option<Member> {
    let text = |name: &str| entry.get(name).and_then(Value::as_str).map(str::to_owned);
    if is_deleted(entry) {
        return None;
    }
    let tags = entry.get("Tags").and_then(Value::as_array);
    let tag = |tag: &Value| Some((tag.get("Key")?.as_str()?.to_owned(), tag.get("Value")?.as_str()?.to_owned()));
    let versions = entry.get(labels).and_then(Value::as_object);
    let rule = |name: &str| entry.get("RotationRules").and_then(|rules| rules.get(name));
    let rules = Rules {
        days: rule("AutomaticallyAfterDays").and_then(Value::as_i64),
        expression: rule("ScheduleExpression").and_then(Value::as_str).map(str::to_owned),
    };
    let of_version = |(version, labels): (&String, &Value)| {
        let labels = labels.as_array().into_iter().flatten().filter_map(Value::as_str);
        labels.map(|label| (label.to_owned(), version.clone())).collect::<Vec<_>>()
    };
    Some(Member {
        arn: text("ARN")?,
        name: text("Name")?,
        function: text("RotationLambdaARN").unwrap_or_default(),
        enabled: entry.get("RotationEnabled").and_then(Value::as_bool) == Some(true),
        tags: tags.into_iter().flatten().filter_map(tag).collect(),
        // The date of the last change is that of a tag, too.
        changed: seconds(entry, "LastRotatedDate").or_else(|| seconds(entry, "CreatedDate")),
        versions: versions.into_iter().flatten().map(|(version, _)| version.clone()).collect(),
        rules,
        labels: versions.into_iter().flatten().flat_map(of_version).collect(),
        value: None,
    })
}
