//! Tokens of RDS's IAM authentication: a login without a stored password.
//!
//! <https://docs.aws.amazon.com/AmazonRDS/latest/UserGuide/UsingWithRDS.IAMDBAuth.html>

use super::{Fetched, Source};
use crate::error::Cause;
use crate::label::Label;
use crate::value::SecretText;
use aws_config::BehaviorVersion;
use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SignatureLocation, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

/// How long the server accepts a token for a login.
const LIFETIME: Duration = Duration::from_secs(15 * 60);
/// A token is renewed after 80 to 100 percent of this, so before its end.
const RENEW_EVERY: Duration = Duration::from_secs(10 * 60);
/// A login may take a while, and clocks differ a little.
const MARGIN: Duration = Duration::from_secs(30);
/// What a query leaves as it is (RFC 3986, 2.3).
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Tokens for one user of one database, which take the place of a password. The user needs the grant of the server's
/// documentation (`rds_iam`, `AWSAuthenticationPlugin`), and the application the permission `rds-db:connect`. The connection needs TLS;
/// MySQL's drivers have to allow the plugin for clear text.
///
/// A token opens new connections for 15 minutes. It is renewed before that, without a call of AWS. Connections outlive their token, so
/// pools do not close them when there is a new one. Where the wall clock jumps, the server refuses the token, and a new one is made at once.
#[derive(Debug)]
pub struct RdsIam {
    credentials: SharedCredentialsProvider,
    region: String,
    host: String,
    port: u16,
    user: String,
    made: AtomicU64,
}

impl RdsIam {
    /// Tokens for a user, signed with these credentials. `host` is the endpoint as RDS names it, not an alias: it is part of what is
    /// signed.
    pub fn new(
        credentials: impl ProvideCredentials + 'static,
        region: impl Into<String>,
        host: impl Into<String>,
        port: u16,
        user: impl Into<String>,
    ) -> Self {
        let credentials = SharedCredentialsProvider::new(credentials);
        let made = AtomicU64::new(0);
        Self { credentials, region: region.into(), host: host.into(), port, user: user.into(), made }
    }

    /// The same with credentials and region from the environment: the SDK's default chain.
    ///
    /// # Errors
    /// [`Cause::Denied`] if the environment has no credentials or no region.
    pub async fn from_env(host: impl Into<String>, port: u16, user: impl Into<String>) -> Result<Self, Cause> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
        let credentials = config.credentials_provider().ok_or(Cause::Denied)?;
        let region = config.region().ok_or(Cause::Denied)?.to_string();
        Ok(Self::new(credentials, region, host, port, user))
    }
}

#[async_trait::async_trait]
impl Source for RdsIam {
    fn name(&self) -> String {
        format!("{}@{}:{}", self.user, self.host, self.port)
    }

    fn origin(&self) -> &'static str {
        "IAM"
    }

    async fn fetch(&self, label: Label, _: bool) -> Result<Option<Fetched>, Cause> {
        if label != Label::Current {
            return Ok(None);
        }
        let credentials = self.credentials.provide_credentials().await.map_err(|error| match error {
            CredentialsError::CredentialsNotLoaded(_) | CredentialsError::InvalidConfiguration(_) => Cause::Denied,
            _ => Cause::Unavailable,
        })?;
        let now = SystemTime::now();
        let token =
            auth_token(credentials, &self.region, &self.host, self.port, &self.user, now).ok_or(Cause::Invalid)?;
        let value = serde_json::json!({
            "username": self.user, "password": token.expose(), "host": self.host, "port": self.port,
        });
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        Ok(Some(Fetched { version_id: format!("token-{number}"), value: value.to_string().into(), created: Some(now) }))
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(RENEW_EVERY)
    }

    fn serve_for(&self) -> Option<Duration> {
        Some(LIFETIME - MARGIN)
    }

    fn makes_versions(&self) -> bool {
        true
    }

    fn retires_connections(&self) -> bool {
        false
    }
}

/// A token, as `aws rds generate-db-auth-token` makes it at this time. `None` if the host is not one, or the time is before 1970.
#[must_use]
pub fn auth_token(
    credentials: Credentials,
    region: &str,
    host: &str,
    port: u16,
    user: &str,
    time: SystemTime,
) -> Option<SecretText> {
    let mut settings = SigningSettings::default();
    settings.signature_location = SignatureLocation::QueryParams;
    settings.expires_in = Some(LIFETIME);
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name("rds-db")
        .time(time)
        .settings(settings)
        .build()
        .ok()?
        .into();
    let mut token = format!("{host}:{port}/?Action=connect&DBUser={}", utf8_percent_encode(user, KEPT));
    let address = format!("https://{token}");
    let request = SignableRequest::new("GET", &address, std::iter::empty(), SignableBody::Bytes(b"")).ok()?;
    let (instructions, _) = sign(request, &parameters).ok()?.into_parts();
    let (_, signed) = instructions.into_parts();
    // The AWS CLI's order. The signature does not depend on it.
    let order = [
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Date",
        "X-Amz-Expires",
        "X-Amz-SignedHeaders",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
    ];
    for name in order {
        if let Some((_, value)) = signed.iter().find(|(it, _)| *it == name) {
            token.push_str(&format!("&{name}={}", utf8_percent_encode(value, KEPT)));
        }
    }
    Some(token.into())
}
