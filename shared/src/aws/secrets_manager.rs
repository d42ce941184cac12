//! The store on the AWS SDK. Only the service's error codes are passed on, and never an error text of the SDK or the service.

use super::attempts::{Attempts, Budget, HEAVIEST_LIST, Throttles};
use super::config;
use super::kms;
use super::service::Service;
use crate::aws::throttle::is_throttle;
use crate::clock::{Deadline, age_of};
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};
use crate::protocol::schedule::{RotatedSecret, days, interval, unqualified};
use crate::protocol::store::{
    Description, EncryptionKey, ListedVersion, PutOutcome, SecretStore, Version, VersionSelector,
};
use crate::secret::{RotationToken, SecretText};
use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::config::retry::{RetryPartition, TokenBucket};
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::primitives::DateTime;
use aws_sdk_secretsmanager::types::SecretListEntry;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// The deadline ends the retries, not this count: 15 minutes at the longest pause have room for fewer attempts.
const MAX_ATTEMPTS: u32 = 500;
/// Writes share 50 calls a second over an account. A pause of at most two seconds lets one rotation try about ten times
/// within a 30 s function.
const MAX_PAUSE: Duration = Duration::from_secs(2);
/// The service answers in tens of milliseconds. A connection that takes longer than this will not come; another attempt, to
/// another address, may succeed.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// The limit of one attempt, for the same reason.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What an error says of an answer beyond [`attempts`](super::attempts)' limits.
const TOO_LARGE: &str = "the answer is larger than any answer should be";
/// Secrets Manager keeps about 100 versions of a secret. Whoever lists many more pages is not it.
const MOST_PAGES: usize = 20;

/// How much memory the secrets of one function may take. Ten thousand of them take 6 MB.
const MOST_KEPT: usize = 32 << 20;
/// The largest page of ListSecrets and ListSecretVersionIds.
const LARGEST_PAGE: i32 = 100;

/// Secrets Manager, as the SDK's environment describes it.
#[derive(Clone)]
pub struct SecretsManager {
    client: Client,
    throttles: Throttles,
    /// Where the keys are that encrypt secrets.
    kms: Arc<Service>,
}

impl SecretsManager {
    /// Region, credentials and endpoint come from the SDK's usual places; `endpoint` replaces the last.
    pub async fn from_env(endpoint: Option<&str>) -> Self {
        Self::over(&config::from_env().await, endpoint)
    }

    /// The same over these settings.
    pub fn over(shared: &SdkConfig, endpoint: Option<&str>) -> Self {
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(Duration::from_millis(200))
            .with_max_backoff(MAX_PAUSE);
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        // By default all calls of a process share one budget of retries. After a few throttled rotations, a warm function would
        // give up at the first throttle. Here each step's deadline limits the retries instead.
        let unrationed = RetryPartition::custom("rotation").token_bucket(TokenBucket::unlimited()).build();
        let mut settings = aws_sdk_secretsmanager::config::Builder::from(shared)
            .retry_config(retries)
            .retry_partition(unrationed)
            .timeout_config(timeouts);
        if let Some(url) = endpoint.map(str::to_owned).or_else(|| config::endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER"))
        {
            settings.set_endpoint_url(Some(url));
        }
        let client = Client::from_conf(settings.build());
        let kms = Service::new("kms", config::endpoint("AWS_ENDPOINT_URL_KMS").as_deref());
        Self { client, throttles: Throttles::default(), kms: Arc::new(kms) }
    }

    /// The error for a refusal. Secrets Manager refuses calls for a secret that is scheduled for deletion with a code that it also
    /// has for other states of a secret, so only DescribeSecret tells.
    async fn refused(&self, failure: Failure, deadline: Deadline) -> Error {
        if failure.code() == Some("InvalidRequestException")
            && let Err(error) = self.describe(&failure.secret, deadline).await
            && error.code() == Code::SecretNotFound
        {
            return error;
        }
        failure.into_error()
    }

    /// RotateSecret, now and by the secret's own schedule and function: the version that the rotation makes. The SDK sends one token
    /// with all attempts, so that an attempt whose reply was lost begins no second rotation.
    ///
    /// # Errors
    /// Those of the service.
    pub(crate) async fn rotate(&self, secret: &str, deadline: Deadline) -> Result<String> {
        let attempts = Attempts::counted(&self.throttles);
        let call = self.client.rotate_secret().secret_id(secret).customize().interceptor(attempts.clone()).send();
        match finish("RotateSecret", secret, deadline, &attempts, call).await? {
            Ok(output) => Ok(output.version_id.unwrap_or_default()),
            Err(failure) => Err(self.refused(failure, deadline).await),
        }
    }

    /// How many answers were throttled since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.throttles.count()
    }
}

#[async_trait]
impl SecretStore for SecretsManager {
    async fn describe(&self, secret: &str, deadline: Deadline) -> Result<Description> {
        let attempts = Attempts::counted(&self.throttles);
        let call = self.client.describe_secret().secret_id(secret).customize().interceptor(attempts.clone()).send();
        let output =
            finish("DescribeSecret", secret, deadline, &attempts, call).await?.map_err(|failure| {
                match failure.code() {
                    Some("ResourceNotFoundException") => Error::new(Code::SecretNotFound).with(Fact::Secret, secret),
                    _ => failure.into_error(),
                }
            })?;
        // DescribeSecret still answers for a secret that is scheduled for deletion; the other calls do not.
        if output.deleted_date.is_some() {
            let error = Error::new(Code::SecretNotFound).with(Fact::Secret, secret);
            return Err(error.with(Fact::Found, "a date of deletion"));
        }
        let moment = |date: Option<DateTime>| date.and_then(since_epoch);
        let rules = output.rotation_rules.as_ref();
        let after_days = rules.and_then(|rules| rules.automatically_after_days);
        Ok(Description {
            rotation_enabled: output.rotation_enabled,
            labels: output.version_ids_to_stages.unwrap_or_default(),
            arn: output.arn,
            tags: output.tags.unwrap_or_default().into_iter().filter_map(|tag| tag.key.zip(tag.value)).collect(),
            last_rotated: moment(output.last_rotated_date),
            next_rotation: moment(output.next_rotation_date),
            created: moment(output.created_date),
            last_changed: moment(output.last_changed_date),
            interval: interval(after_days, rules.and_then(|rules| rules.schedule_expression.as_deref())),
            days: days(after_days),
            expression: rules.and_then(|rules| rules.schedule_expression.clone()),
            rotated_by: output.rotation_lambda_arn,
            scheduled: rules
                .is_some_and(|rules| rules.automatically_after_days.is_some() || rules.schedule_expression.is_some()),
        })
    }

    async fn value(&self, secret: &str, select: VersionSelector<'_>, deadline: Deadline) -> Result<Option<Version>> {
        let request = self.client.get_secret_value().secret_id(secret);
        let request = match select {
            VersionSelector::Current => request.version_stage(CURRENT),
            VersionSelector::Previous => request.version_stage(PREVIOUS),
            VersionSelector::Pending(version) => request.version_id(version).version_stage(PENDING),
            VersionSelector::Any(version) => request.version_id(version),
        };
        let attempts = Attempts::counted(&self.throttles);
        let call = request.customize().interceptor(attempts.clone()).send();
        match finish("GetSecretValue", secret, deadline, &attempts, call).await? {
            Ok(output) => match output.secret_string {
                Some(text) => {
                    let created = output.created_date.and_then(|date| u64::try_from(date.secs()).ok());
                    let age = created.map(|seconds| age_of(Duration::from_secs(seconds)));
                    Ok(Some(Version { id: output.version_id.unwrap_or_default(), text: text.into(), age }))
                }
                None => {
                    Err(Error::new(Code::SecretNotJson).with(Fact::Secret, secret).with(Fact::Found, "a binary value"))
                }
            },
            // The second wording is the service's answer while the version exists without a value.
            Err(failure) if failure.code() == Some("ResourceNotFoundException") => Ok(None),
            Err(failure) => {
                let refused = self.refused(failure, deadline).await;
                match select {
                    // The service also refuses to read a version under a label that it has lost. The labels say that better.
                    VersionSelector::Pending(version) if refused.code() == Code::ServiceRefused => {
                        Err(self.describe(secret, deadline).await?.rotation_state(version).err().unwrap_or(refused))
                    }
                    _ => Err(refused),
                }
            }
        }
    }

    async fn versions(&self, secret: &str, deadline: Deadline) -> Result<Vec<ListedVersion>> {
        let (mut found, mut page, budget) = (Vec::new(), None, Budget::of(HEAVIEST_LIST));
        for _ in 0..MOST_PAGES {
            let attempts = Attempts::counted(&self.throttles).of_a_list(&budget);
            let request = self.client.list_secret_version_ids().secret_id(secret).include_deprecated(true);
            let request = request.max_results(LARGEST_PAGE).set_next_token(page.take());
            let call = request.customize().interceptor(attempts.clone()).send();
            let listed = finish("ListSecretVersionIds", secret, deadline, &attempts, call).await?;
            let output = listed.map_err(Failure::into_error)?;
            found.extend(output.versions.unwrap_or_default().into_iter().filter_map(|version| {
                let labels = version.version_stages.unwrap_or_default();
                Some(ListedVersion {
                    id: version.version_id?,
                    labels,
                    created: version.created_date.and_then(since_epoch),
                })
            }));
            page = output.next_token;
            if page.is_none() {
                return Ok(found);
            }
        }
        let error = Error::new(Code::ServiceUnavailable).with(Fact::Call, "ListSecretVersionIds");
        Err(error.with(Fact::Secret, secret).with(Fact::What, "the list of versions does not end"))
    }

    async fn put_pending(
        &self,
        secret: &str,
        token: &str,
        rotation_token: Option<&RotationToken>,
        value: &SecretText,
        deadline: Deadline,
    ) -> Result<PutOutcome> {
        let attempts = Attempts::counted(&self.throttles);
        let call = self
            .client
            .put_secret_value()
            .secret_id(secret)
            .client_request_token(token)
            .set_rotation_token(rotation_token.map(|token| token.expose().to_owned()))
            .secret_string(value.expose())
            .version_stages(PENDING)
            .customize()
            .interceptor(attempts.clone())
            .send();
        match finish("PutSecretValue", secret, deadline, &attempts, call).await? {
            Ok(_) => Ok(PutOutcome::Stored),
            Err(failure) if failure.code() == Some("ResourceExistsException") => Ok(PutOutcome::OtherValueThere),
            Err(failure) => Err(self.refused(failure, deadline).await),
        }
    }

    async fn promote(&self, secret: &str, to: &str, from: &str, deadline: Deadline) -> Result<()> {
        let attempts = Attempts::counted(&self.throttles);
        let call = self
            .client
            .update_secret_version_stage()
            .secret_id(secret)
            .version_stage(CURRENT)
            .move_to_version_id(to)
            .remove_from_version_id(from)
            .customize()
            .interceptor(attempts.clone())
            .send();
        match finish("UpdateSecretVersionStage", secret, deadline, &attempts, call).await? {
            Ok(_) => Ok(()),
            // RemoveFromVersionId no longer names the version that has the label.
            Err(failure) if failure.code() == Some("InvalidParameterException") => {
                Err(failure.into_error_as(Code::WriteConflict))
            }
            Err(failure) => Err(self.refused(failure, deadline).await),
        }
    }

    async fn mark(&self, secret: &str, label: &str, to: &str, from: Option<&str>, deadline: Deadline) -> Result<()> {
        let attempts = Attempts::counted(&self.throttles);
        let request = self.client.update_secret_version_stage().secret_id(secret).version_stage(label);
        let request = request.move_to_version_id(to).set_remove_from_version_id(from.map(str::to_owned));
        let call = request.customize().interceptor(attempts.clone()).send();
        match finish("UpdateSecretVersionStage", secret, deadline, &attempts, call).await? {
            Ok(_) => Ok(()),
            Err(failure) => Err(self.refused(failure, deadline).await),
        }
    }

    async fn rotate(&self, secret: &str, deadline: Deadline) -> Result<bool> {
        let attempts = Attempts::counted(&self.throttles);
        let call = self.client.rotate_secret().secret_id(secret).customize().interceptor(attempts.clone()).send();
        match finish("RotateSecret", secret, deadline, &attempts, call).await? {
            Ok(_) => Ok(true),
            // "A previous rotation isn't complete": the service goes on with that one.
            Err(failure) if failure.code() == Some("InvalidRequestException") => Ok(false),
            Err(failure) => Err(failure.into_error()),
        }
    }

    async fn encryption_key(&self, key: &str, deadline: Deadline) -> Result<Option<EncryptionKey>> {
        kms::key(&self.kms, key, deadline).await
    }

    async fn served(&self, function: &str, deadline: Deadline) -> Result<Vec<RotatedSecret>> {
        let (mut found, mut page, mut kept) = (Vec::new(), None, 0_usize);
        loop {
            // An account may have half a million secrets. What is kept of them has the limit, besides each page.
            let attempts = Attempts::counted(&self.throttles).of_a_list(&Budget::of(HEAVIEST_LIST));
            let request = self.client.list_secrets().max_results(LARGEST_PAGE).set_next_token(page.take());
            let call = request.customize().interceptor(attempts.clone()).send();
            let output = finish("ListSecrets", "", deadline, &attempts, call).await?.map_err(Failure::into_error)?;
            let entries = output.secret_list.unwrap_or_default();
            for secret in entries.into_iter().filter_map(|entry| served(entry, function)) {
                kept = kept.saturating_add(weight(&secret));
                found.push(secret);
            }
            if kept > MOST_KEPT {
                let error = Error::new(Code::ServiceUnavailable).with(Fact::Call, "ListSecrets");
                return Err(error.with(Fact::What, TOO_LARGE));
            }
            page = output.next_token;
            if page.is_none() {
                return Ok(found);
            }
        }
    }
}

fn since_epoch(date: DateTime) -> Option<Duration> {
    u64::try_from(date.secs()).ok().map(|seconds| Duration::new(seconds, date.subsec_nanos()))
}

/// The facts about rotation in an entry of ListSecrets, if this function rotates the secret.
fn served(entry: SecretListEntry, function: &str) -> Option<RotatedSecret> {
    let rotated_by = entry.rotation_lambda_arn.as_deref().map(unqualified)?;
    if rotated_by != unqualified(function) {
        return None;
    }
    let moment = |date: Option<DateTime>| date.and_then(since_epoch);
    let rules = entry.rotation_rules.as_ref();
    let after_days = rules.and_then(|rules| rules.automatically_after_days);
    Some(RotatedSecret {
        rotation_enabled: entry.rotation_enabled == Some(true),
        labels: entry.secret_versions_to_stages.unwrap_or_default(),
        next_rotation: moment(entry.next_rotation_date),
        last_rotated: moment(entry.last_rotated_date),
        created: moment(entry.created_date),
        last_changed: moment(entry.last_changed_date),
        interval: interval(after_days, rules.and_then(|rules| rules.schedule_expression.as_deref())),
        days: days(after_days),
        expression: rules.and_then(|rules| rules.schedule_expression.clone()),
        kms_key: entry.kms_key_id,
        arn: entry.arn?,
    })
}

/// How much memory a listed secret takes, about. Each label and each version is a text of its own on the heap.
fn weight(secret: &RotatedSecret) -> usize {
    const TEXT: usize = 64;
    let texts = secret.labels.iter().flat_map(|(version, labels)| labels.iter().chain([version]));
    size_of::<RotatedSecret>() + secret.arn.len() + texts.map(|text| TEXT + text.len()).sum::<usize>()
}

/// A call that the service answered with an error.
struct Failure {
    code: Code,
    service_code: Option<String>,
    call: &'static str,
    secret: String,
    attempts: u32,
}

impl Failure {
    fn code(&self) -> Option<&str> {
        self.service_code.as_deref()
    }

    fn into_error(self) -> Error {
        let code = self.code;
        self.into_error_as(code)
    }

    fn into_error_as(self, code: Code) -> Error {
        let mut error = Error::new(code).with(Fact::Call, self.call);
        if !self.secret.is_empty() {
            error = error.with(Fact::Secret, self.secret);
        }
        if let Some(service_code) = self.service_code {
            error = error.with(Fact::ServiceCode, printable(&service_code));
        }
        error.with(Fact::Attempts, self.attempts)
    }
}

/// The error codes that an error may name: those of Secrets Manager (API reference, "Actions" and "Common Errors"), and those of
/// signatures, credentials and throttles.
const SERVICE_CODES: &[&str] = &[
    "AccessDenied",
    "AccessDeniedException",
    "DecryptionFailure",
    "EncryptionFailure",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InternalFailure",
    "InternalServiceError",
    "InvalidAction",
    "InvalidClientTokenId",
    "InvalidNextTokenException",
    "InvalidParameterException",
    "InvalidRequestException",
    "InvalidSignatureException",
    "LimitExceededException",
    "MalformedPolicyDocumentException",
    "MissingAuthenticationToken",
    "NotAuthorized",
    "OptInRequired",
    "PreconditionNotMetException",
    "PublicPolicyException",
    "RequestExpired",
    "ResourceExistsException",
    "ResourceNotFoundException",
    "ServiceUnavailable",
    "SignatureDoesNotMatch",
    "ThrottlingException",
    "TooManyRequestsException",
    "UnknownOperationException",
    "UnrecognizedClientException",
    "ValidationError",
    "ValidationException",
];

/// A service's error code, if it is known. Whoever answers in the service's place may send any text, and has seen the value of
/// PutSecretValue.
fn printable(service_code: &str) -> &str {
    SERVICE_CODES.iter().find(|known| **known == service_code).unwrap_or(&"another error code")
}

/// Waits for a call until the deadline. The inner result is the service's answer, good or bad.
async fn finish<T, E: ProvideErrorMetadata>(
    call: &'static str,
    secret: &str,
    deadline: Deadline,
    attempts: &Attempts,
    work: impl Future<Output = Result<T, SdkError<E>>>,
) -> Result<Result<T, Failure>> {
    let failure = |code, service_code: Option<&str>| Failure {
        code,
        service_code: service_code.map(str::to_owned),
        call,
        secret: secret.to_owned(),
        attempts: attempts.count(),
    };
    match deadline.limit(work).await {
        // The time was spent before anything was sent.
        Err(_) if !attempts.sent() => Err(failure(Code::TimeSpent, None).into_error()),
        // Also if it was read: of an answer that is too large, nothing may be left, and the SDK takes that for an answer without fields.
        _ if attempts.too_large() => {
            Err(failure(Code::ServiceUnavailable, None).into_error().with(Fact::What, TOO_LARGE))
        }
        Err(_) if attempts.throttled() => Err(failure(Code::ServiceThrottled, None).into_error()),
        Err(_) => Err(failure(Code::ServiceUnavailable, None).into_error()),
        Ok(Ok(output)) => Ok(Ok(output)),
        Ok(Err(SdkError::ServiceError(answer))) => {
            let code = answer.err().code();
            Ok(Err(failure(classify(code, answer.raw().status().as_u16()), code)))
        }
        // There was no answer: no credentials, no region, no route, or a connection that broke.
        Ok(Err(other)) => {
            let phase = match other {
                SdkError::ConstructionFailure(_) => "request could not be built: region or credentials missing",
                SdkError::TimeoutError(_) => "no answer in time",
                SdkError::DispatchFailure(_) => "no connection, or no credentials",
                _ => "the answer could not be read",
            };
            Err(failure(Code::ServiceUnavailable, None).into_error().with(Fact::What, phase))
        }
    }
}

fn classify(code: Option<&str>, status: u16) -> Code {
    match code.unwrap_or_default() {
        code if is_throttle(code) => Code::ServiceThrottled,
        // A refusal by KMS arrives as AccessDeniedException or DecryptionFailure.
        "AccessDeniedException" | "AccessDenied" | "DecryptionFailure" | "EncryptionFailure" => Code::ServiceDenied,
        "ExpiredTokenException" | "UnrecognizedClientException" | "InvalidSignatureException" => Code::ServiceDenied,
        _ if status >= 500 => Code::ServiceUnavailable,
        _ => Code::ServiceRefused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_only_looks_like_an_error_code_is_not_printed() {
        assert_eq!(printable("ThrottlingException"), "ThrottlingException");
        assert_eq!(printable("CorrectHorseBatteryStaple"), "another error code");
        assert_eq!(printable("CorrectHorseException"), "another error code");
    }
    use aws_sdk_secretsmanager::operation::describe_secret::DescribeSecretError;

    #[tokio::test(start_paused = true)]
    async fn a_call_that_was_never_sent_blames_the_time_and_not_the_service() {
        let spent = Deadline::after(Duration::ZERO);
        let never = std::future::pending::<Result<(), SdkError<DescribeSecretError>>>();
        let answer = finish("DescribeSecret", "app", spent, &Attempts::default(), never).await;
        assert_eq!(answer.err().map(|error| error.code()), Some(Code::TimeSpent));
    }
}
