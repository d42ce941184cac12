//! One call to an AWS service: signed as the SDKs sign (Signature Version 4), and sent with their HTTP client over what they
//! trust. For a service of which one or two calls are needed, and whose own SDK would be larger than a whole function.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use crate::clock::{Deadline, since_epoch};
use crate::store::is_throttle;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::ProvideCredentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4::SigningParams;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};
use tokio::sync::OnceCell;

/// Services answer in tens of milliseconds; another attempt is worth more than a longer wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// A network without a route to a service does not get one within a step. Two attempts tell it from a lost packet.
const UNANSWERED: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// As for Secrets Manager: about ten attempts within a 30 s function.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// A database instance takes some thousands of bytes, a parameter 8 KB at most.
const MAX_ANSWER: usize = 1024 * 1024;

/// A service, in the function's region.
pub struct Service {
    name: &'static str,
    endpoint: Option<String>,
    ready: OnceCell<Ready>,
    throttles: AtomicU32,
}

/// A POST to a service's root.
#[derive(Debug)]
pub struct Request {
    /// The body's media type.
    pub media: &'static str,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
    /// The body.
    pub body: String,
}

/// What a service answered. It may hold what is secret: nothing here prints it.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// No answer, or none but requests to come back later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub trouble: Trouble,
    /// After how many attempts.
    pub attempts: u32,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The function's environment has no credentials, no region, or an address that is none.
    NotConfigured,
    /// No connection, or none that lasted.
    NoConnection,
    /// No answer in time.
    Silent,
    /// More bytes than any answer should have.
    TooLarge,
    /// The service kept asking to slow down.
    Throttled,
    /// The service kept answering with this status, a server error.
    Unavailable(u16),
}

impl Trouble {
    /// In a few words, for an error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "no credentials or no region",
            Self::NoConnection => "no connection",
            Self::Silent => "no answer in time",
            Self::TooLarge => "an answer that is too large",
            Self::Throttled => "throttled until the time was spent",
            Self::Unavailable(_) => "server errors until the time was spent",
        }
    }
}

/// What every call needs, made at the first one.
struct Ready {
    config: SdkConfig,
    client: Connector,
    region: String,
    address: String,
}

impl Service {
    /// The service of this name in addresses and signatures, e.g. `rds`. `endpoint` is where it is, if not at the SDKs' own choice.
    pub fn new(name: &'static str, endpoint: Option<&str>) -> Self {
        Self { name, endpoint: endpoint.map(str::to_owned), ready: OnceCell::new(), throttles: AtomicU32::new(0) }
    }

    /// How many answers have asked to slow down, since the process began.
    pub fn throttles(&self) -> u32 {
        self.throttles.load(Ordering::Relaxed)
    }

    /// The answer, good or bad, to a call that may be repeated. Throttles and server errors are waited for until the deadline.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, request: &Request, deadline: Deadline) -> Result<Answer, Failure> {
        let (mut attempts, mut unanswered, mut pause) = (0, 0, FIRST_PAUSE);
        loop {
            attempts += 1;
            let answered = deadline.within(ATTEMPT_TIMEOUT).limit(self.attempt(request)).await;
            let trouble = match answered.unwrap_or(Err(Trouble::Silent)) {
                Ok(answer) => match answer.trouble() {
                    None => return Ok(answer),
                    Some(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            self.throttles.fetch_add(u32::from(trouble == Trouble::Throttled), Ordering::Relaxed);
            unanswered += u32::from(matches!(trouble, Trouble::NoConnection | Trouble::Silent));
            let useless = matches!(trouble, Trouble::NotConfigured | Trouble::TooLarge) || unanswered == UNANSWERED;
            if useless || deadline.left() <= pause {
                return Err(Failure { trouble, attempts });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, Trouble> {
        let ready = self.ready.get_or_try_init(|| self.prepare()).await?;
        let message = self.message(ready, request).await.ok_or(Trouble::NotConfigured)?;
        let response = ready.client.call(message).await.map_err(|_| Trouble::NoConnection)?;
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body = body
            .map_err(|error| if error.is::<LengthLimitError>() { Trouble::TooLarge } else { Trouble::NoConnection })?;
        Ok(Answer { status, body: body.to_bytes().into() })
    }

    async fn prepare(&self) -> Result<Ready, Trouble> {
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await;
        let region = config.region().ok_or(Trouble::NotConfigured)?.as_ref().to_owned();
        let own = self.endpoint.as_deref().or_else(|| config.endpoint_url());
        let address = own.map_or_else(|| usual_address(self.name, &region), str::to_owned);
        let address = address.trim_end_matches('/').to_owned();
        // What the SDKs build for themselves since 2025: proxies are those of the environment.
        let client = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::AwsLc))
            .proxy_config(ProxyConfig::from_env())
            .build();
        Ok(Ready { config, client, region, address })
    }

    /// The signed request; `None` without credentials, or if HTTP cannot carry it.
    async fn message(&self, ready: &Ready, request: &Request) -> Option<HttpRequest> {
        let credentials = ready.config.credentials_provider()?.provide_credentials().await.ok()?;
        let address = format!("{}/", ready.address);
        let headers: Vec<_> =
            std::iter::once(("content-type", request.media)).chain(request.headers.iter().copied()).collect();
        let call = Call { method: "POST", address: &address, headers: &headers, body: request.body.as_bytes() };
        let signature = signature(&call, credentials, &ready.region, self.name, since_epoch())?;
        let mut message = HttpRequest::new(SdkBody::from(request.body.as_str()));
        message.set_method(call.method).ok()?;
        message.set_uri(address.as_str()).ok()?;
        for (name, value) in headers {
            message.headers_mut().try_insert(name, value).ok()?;
        }
        for (name, value) in signature {
            message.headers_mut().try_insert(name, value).ok()?;
        }
        Some(message)
    }
}

impl Answer {
    /// Why the answer is none.
    fn trouble(&self) -> Option<Trouble> {
        let asks_to_slow_down = || is_throttle(&String::from_utf8_lossy(&self.body));
        match self.status {
            429 => Some(Trouble::Throttled),
            400.. if asks_to_slow_down() => Some(Trouble::Throttled),
            500.. => Some(Trouble::Unavailable(self.status)),
            _ => None,
        }
    }
}

/// A request, as far as it is signed.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    /// The HTTP method.
    pub method: &'a str,
    /// The whole URL.
    pub address: &'a str,
    /// All headers but `host`.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a [u8],
}

/// The headers with which a call at this time, given since the Unix epoch, is signed. `None` if it is no request.
pub fn signature(
    call: &Call<'_>,
    credentials: Credentials,
    region: &str,
    service: &str,
    now: Duration,
) -> Option<Vec<(String, String)>> {
    let identity = credentials.into();
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(region)
        .name(service)
        .time(SystemTime::UNIX_EPOCH + now)
        .settings(SigningSettings::default())
        .build()
        .ok()?
        .into();
    let body = SignableBody::Bytes(call.body);
    let request = SignableRequest::new(call.method, call.address, call.headers.iter().copied(), body).ok()?;
    let (instructions, _) = sign(request, &parameters).ok()?.into_parts();
    Some(instructions.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

/// Where a service is in a region. Of the partitions that are closed to the public none is known here: for those there are the
/// endpoint variables.
///
/// <https://docs.aws.amazon.com/general/latest/gr/rande.html>
fn usual_address(service: &str, region: &str) -> String {
    let suffix = match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("https://{service}.{region}.{suffix}")
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_where_its_partition_has_it() {
        assert_eq!(usual_address("rds", "eu-central-1"), "https://rds.eu-central-1.amazonaws.com");
        assert_eq!(usual_address("ssm", "cn-north-1"), "https://ssm.cn-north-1.amazonaws.com.cn");
        assert_eq!(usual_address("rds", "us-gov-west-1"), "https://rds.us-gov-west-1.amazonaws.com");
        assert_eq!(usual_address("rds", "eusc-de-east-1"), "https://rds.eusc-de-east-1.amazonaws.eu");
    }

    #[test]
    fn throttles_are_told_from_refusals_and_outages() {
        let trouble = |status, body: &str| Answer { status, body: body.into() }.trouble();
        assert_eq!(trouble(200, "Throttling"), None);
        assert_eq!(trouble(400, "<Code>Throttling</Code>"), Some(Trouble::Throttled));
        assert_eq!(trouble(400, r#"{"__type":"ThrottlingException"}"#), Some(Trouble::Throttled));
        assert_eq!(trouble(503, "<Code>Throttling</Code>"), Some(Trouble::Throttled));
        assert_eq!(trouble(429, ""), Some(Trouble::Throttled));
        assert_eq!(trouble(503, ""), Some(Trouble::Unavailable(503)));
        assert_eq!(trouble(403, "<Code>AccessDenied</Code>"), None);
        assert_eq!(trouble(404, ""), None);
    }

    /// The credentials and the service are those of AWS's own examples of Signature Version 4.
    #[test]
    fn a_call_is_signed_for_its_region_and_service() {
        let credentials = Credentials::new("AKIDEXAMPLE", "secret", None, None, "test");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let call =
            Call { method: "POST", address: "https://rds.eu-west-1.amazonaws.com/", headers: &headers, body: b"a=b" };
        let now = Duration::from_secs(1_440_938_160);
        let signed = signature(&call, credentials, "eu-west-1", "rds", now).unwrap();
        let header = |name: &str| signed.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str()).unwrap();
        assert_eq!(header("x-amz-date"), "20150830T123600Z");
        let begins = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/eu-west-1/rds/aws4_request, \
                      SignedHeaders=content-type;host;x-amz-date, Signature=";
        assert!(header("authorization").starts_with(begins), "{}", header("authorization"));
    }
}
