//! Secrets Manager by the AWS SDK.

use super::{Fetched, Source};
use crate::error::Cause;
use crate::label::Label;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_secretsmanager::Client;
use aws_sdk_secretsmanager::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_secretsmanager::operation::get_secret_value::GetSecretValueError;
use std::error::Error as StdError;
use std::time::{Duration, SystemTime};

/// The SDK waits up to a second before its first repetition, by default. A login may be waiting for this call.
const FIRST_REPETITION: Duration = Duration::from_millis(100);

/// A secret in Secrets Manager. It needs the permission `secretsmanager:GetSecretValue`, and `kms:Decrypt` if the secret has a key of its
/// own. A policy that names `secretsmanager:VersionStage` has to allow AWSCURRENT, AWSPENDING and AWSPREVIOUS.
#[derive(Clone, Debug)]
pub struct SecretsManager {
    client: Client,
    secret: String,
}

impl SecretsManager {
    /// A secret by its name or ARN, asked for by your own client. Its timeouts and retries hold, within
    /// [`fetch_within`](crate::Builder::fetch_within).
    pub fn new(client: Client, secret: impl Into<String>) -> Self {
        Self { client, secret: secret.into() }
    }

    /// The same with a client that takes its settings from the environment: the SDK's default chain of credentials and regions. Without
    /// further features of `aws-config`, that chain knows neither SSO nor `credential_process`.
    pub async fn from_env(secret: impl Into<String>) -> Self {
        let retries = RetryConfig::standard().with_initial_backoff(FIRST_REPETITION);
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).retry_config(retries).load().await;
        Self::new(Client::new(&config), secret)
    }
}

#[async_trait::async_trait]
impl Source for SecretsManager {
    fn name(&self) -> String {
        self.secret.clone()
    }

    fn origin(&self) -> &'static str {
        "Secrets Manager"
    }

    async fn fetch(&self, label: Label, _: bool) -> Result<Option<Fetched>, Cause> {
        let request = self.client.get_secret_value().secret_id(&self.secret).version_stage(label.as_str());
        let answer = match request.send().await {
            Ok(answer) => answer,
            Err(error) => return absent_or(label, &error),
        };
        let created = answer.created_date.and_then(|date| SystemTime::try_from(date).ok());
        // A binary secret has no text.
        let (version_id, value) = answer.version_id.zip(answer.secret_string).ok_or(Cause::Invalid)?;
        Ok(Some(Fetched { version_id, value: value.into(), created }))
    }
}

/// How the service's message says that the secret is there and the label is not. Its error code is the same for both.
const NO_LABEL: &str = "staging label";

fn absent_or(label: Label, error: &SdkError<GetSecretValueError>) -> Result<Option<Fetched>, Cause> {
    let SdkError::ServiceError(answer) = error else { return Err(cause_of_call(error)) };
    let code = answer.err().code().unwrap_or_default();
    let unlabelled = answer.err().message().is_some_and(|message| message.contains(NO_LABEL));
    match cause(code, answer.raw().status().as_u16()) {
        Cause::NotFound if unlabelled || label != Label::Current => Ok(None),
        cause => Err(cause),
    }
}

/// What an error code of the service means
/// ([common errors](https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html)).
pub(super) fn cause(code: &str, status: u16) -> Cause {
    match code {
        "ResourceNotFoundException" => Cause::NotFound,
        // The secret is marked for deletion.
        "InvalidRequestException" => Cause::NotFound,
        "AccessDeniedException" | "AccessDenied" | "DecryptionFailure" | "DecryptionFailureException" => Cause::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "IncompleteSignature"
        | "OptInRequired"
        | "NotAuthorized" => Cause::Denied,
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestLimitExceeded"
        | "TooManyRequestsException" => Cause::Throttled,
        _ if status == 429 => Cause::Throttled,
        _ if status >= 500 => Cause::Unavailable,
        _ if status == 401 || status == 403 => Cause::Denied,
        _ => Cause::Invalid,
    }
}

/// Why a call got no answer of the service.
fn cause_of_call(error: &SdkError<GetSecretValueError>) -> Cause {
    match error {
        // A region or an endpoint is missing.
        SdkError::ConstructionFailure(_) => Cause::Denied,
        // Neither the way nor the time. The SDK may not have come as far as to send anything.
        SdkError::DispatchFailure(failure) if failure.is_other() => cause_of_credentials(error),
        SdkError::ResponseError(answer) if answer.raw().status().is_success() => Cause::Invalid,
        _ => Cause::Unavailable,
    }
}

/// There are no credentials or no region; or the service that lends credentials does not answer now.
fn cause_of_credentials(error: &(dyn StdError + 'static)) -> Cause {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<CredentialsError>() {
            return match error {
                CredentialsError::ProviderTimedOut(_) | CredentialsError::ProviderError(_) => Cause::Unavailable,
                _ => Cause::Denied,
            };
        }
        if NO_WAY_TO_SIGN.iter().any(|text| error.to_string().contains(text)) {
            return Cause::Denied;
        }
        next = error.source();
    }
    Cause::Unavailable
}

/// How the SDK says that it has no credentials, and no region. These errors have no type that a program can ask for.
/// Test: `without_credentials_or_a_region_the_cause_is_denied`.
const NO_WAY_TO_SIGN: [&str; 2] = ["auth scheme", "Missing Region"];
