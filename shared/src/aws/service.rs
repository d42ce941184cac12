//! Calls to an AWS service without its SDK: signed with Signature Version 4, and sent with the SDKs' own HTTP client and trusted
//! roots. It serves services of which a function needs one or two calls: their SDK would be larger than the whole function.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use crate::aws::endpoint::{BadEndpoint, Place, signing_region, variable};
use crate::aws::sigv4::{Call, signature};
use crate::aws::throttle::is_throttle;
use crate::clock::{Deadline, since_epoch};
use crate::error::{Code, Error, Fact};
use aws_config::SdkConfig;
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::sync::OnceCell;

/// Services answer in tens of milliseconds, so another attempt helps more than a longer wait.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// A network without a route to a service does not get one within a step. A second attempt tells it from a lost packet.
const UNANSWERED: u32 = 2;
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// As for Secrets Manager: about ten attempts fit into 30 s.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// The description of a database instance has some thousands of bytes, a parameter 8 KB at most.
const MAX_ANSWER: usize = 1024 * 1024;

/// Whether a text is a word, as the names of AWS's errors are: some letters and digits.
pub fn is_word(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric())
}

/// A request that is under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Answer, Failure>> + Send + 'a>>;

/// What carries requests in place of the network: a simulation of the service.
pub trait Sender: Send + Sync {
    /// Carries a request, and repeats it as [`Service::call`] would.
    fn send<'a>(&'a self, request: &'a Request, deadline: Deadline) -> Sending<'a>;
}

/// A service, in the function's region.
pub struct Service {
    name: &'static str,
    sender: Option<Box<dyn Sender>>,
    endpoint: Option<String>,
    ready: OnceCell<Ready>,
    throttles: AtomicU32,
}

/// A request to a service. Its body may hold a secret, so it is not printed.
pub struct Request {
    /// The HTTP method.
    pub method: &'static str,
    /// The path, which begins with a slash. Whatever may not stand in a path is percent-encoded.
    pub path: String,
    /// The body's media type.
    pub media: &'static str,
    /// Further headers.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: String,
}

impl Request {
    /// A POST to the service's root, as the services with JSON and form APIs expect.
    pub fn post(media: &'static str, headers: &[(&'static str, &str)], body: String) -> Self {
        let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { method: "POST", path: "/".to_owned(), media, headers, body }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

/// A service's answer. It may hold a secret, so nothing here prints it.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers, in order. Their names are in small letters.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

/// A call without a useful answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The reason.
    pub trouble: CallError,
    /// The number of attempts.
    pub attempts: u32,
}

/// Why a call has no useful answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The function's environment has no credentials or no region.
    NotConfigured,
    /// A setting for the service's address is one that the function does not follow. Nothing was sent.
    BadEndpoint(BadEndpoint),
    /// There was no connection, or it broke.
    NoConnection,
    /// No answer in time.
    Silent,
    /// The answer is larger than any answer should be.
    TooLarge,
    /// The service kept throttling the call.
    Throttled,
    /// The service kept answering with this status, a server error.
    Unavailable(u16),
}

/// The codes of the errors that a [`Failure`] becomes.
#[derive(Clone, Copy, Debug)]
pub struct Codes {
    /// What passes by itself: no connection, no answer, server errors.
    pub passes: Code,
    /// Throttling, which lasted until the time was spent.
    pub throttled: Code,
    /// What stays until somebody changes something: no credentials, or an answer that is too large.
    pub stays: Code,
}

impl Failure {
    /// The error of a call by this name. A setting for the service's address that is not followed is
    /// [`Code::ConfigurationInvalid`], whatever the codes are: it must not look like an outage.
    pub fn error(self, call: &str, codes: Codes) -> Error {
        let code = match self.trouble {
            CallError::BadEndpoint(misplaced) => return misplaced.error().with(Fact::Call, call),
            CallError::NotConfigured | CallError::TooLarge => codes.stays,
            CallError::Throttled => codes.throttled,
            CallError::NoConnection | CallError::Silent | CallError::Unavailable(_) => codes.passes,
        };
        let error = Error::new(code).with(Fact::Call, call).with(Fact::What, self.trouble.as_str());
        let error = match self.trouble {
            CallError::Unavailable(status) => error.with(Fact::Status, status),
            _ => error,
        };
        error.with(Fact::Attempts, self.attempts)
    }
}

impl CallError {
    /// In a few words, for an error.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotConfigured => "no credentials or no region",
            Self::BadEndpoint(_) => "no address to send to",
            Self::NoConnection => "no connection",
            Self::Silent => "no answer in time",
            Self::TooLarge => "an answer that is too large",
            Self::Throttled => "throttled until the time was spent",
            Self::Unavailable(_) => "server errors until the time was spent",
        }
    }
}

/// What every call needs. The first call makes it.
struct Ready {
    config: SdkConfig,
    client: Connector,
    region: String,
    address: String,
}

impl Service {
    /// A service by its name in addresses and signatures, e.g. `rds`. `endpoint` replaces the address that the SDKs would choose.
    pub fn new(name: &'static str, endpoint: Option<&str>) -> Self {
        let (endpoint, ready) = (endpoint.map(str::to_owned), OnceCell::new());
        Self { name, sender: None, endpoint, ready, throttles: AtomicU32::new(0) }
    }

    /// A service that is not on the network: `sender` answers.
    pub fn over(name: &'static str, sender: Box<dyn Sender>) -> Self {
        Self { sender: Some(sender), ..Self::new(name, None) }
    }

    /// How many answers were throttled since the process began.
    pub fn throttles(&self) -> u32 {
        self.throttles.load(Ordering::Relaxed)
    }

    /// Makes a call that may be repeated, and returns the service's answer, good or bad. Throttled calls and server errors are
    /// tried again until the deadline.
    ///
    /// # Errors
    /// [`Failure`].
    pub async fn call(&self, request: &Request, deadline: Deadline) -> Result<Answer, Failure> {
        if let Some(sender) = &self.sender {
            return sender.send(request, deadline).await;
        }
        let (mut attempts, mut unanswered, mut pause) = (0, 0, FIRST_PAUSE);
        loop {
            attempts += 1;
            let answered = deadline.within(ATTEMPT_TIMEOUT).limit(self.attempt(request)).await;
            let trouble = match answered.unwrap_or(Err(CallError::Silent)) {
                Ok(answer) => match answer.trouble() {
                    None => return Ok(answer),
                    Some(trouble) => trouble,
                },
                Err(trouble) => trouble,
            };
            self.throttles.fetch_add(u32::from(trouble == CallError::Throttled), Ordering::Relaxed);
            unanswered += u32::from(matches!(trouble, CallError::NoConnection | CallError::Silent));
            let passes = !matches!(trouble, CallError::NotConfigured | CallError::BadEndpoint(_) | CallError::TooLarge);
            if !passes || unanswered == UNANSWERED || deadline.left() <= pause {
                return Err(Failure { trouble, attempts });
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn attempt(&self, request: &Request) -> Result<Answer, CallError> {
        let ready = self.ready.get_or_try_init(|| self.prepare()).await?;
        let message = self.message(ready, request).await.ok_or(CallError::NotConfigured)?;
        let response = ready.client.call(message).await.map_err(|_| CallError::NoConnection)?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
        let headers = headers.collect();
        let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        let body =
            body.map_err(
                |error| if error.is::<LengthLimitError>() { CallError::TooLarge } else { CallError::NoConnection },
            )?;
        Ok(Answer { status, headers, body: body.to_bytes().into() })
    }

    async fn prepare(&self) -> Result<Ready, CallError> {
        self.ready_at(&super::config::from_env().await)
    }

    /// Prepares the calls from the SDKs' settings.
    fn ready_at(&self, config: &SdkConfig) -> Result<Ready, CallError> {
        let region = config.region().ok_or(CallError::NotConfigured)?.as_ref().to_owned();
        let place = Place {
            service: self.name,
            endpoint: self.endpoint.as_deref().map(|it| (variable(self.name), it)),
            shared: config.endpoint_url(),
            region: &region,
            fips: config.use_fips() == Some(true),
            dual_stack: config.use_dual_stack() == Some(true),
        };
        let address = place.address().map_err(CallError::BadEndpoint)?;
        // As in the SDKs since 2025, proxies come from the environment. Plain HTTP stays on this machine, so it uses none.
        let proxies = if address.starts_with("https://") { ProxyConfig::from_env() } else { ProxyConfig::disabled() };
        let client =
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).proxy_config(proxies).build();
        Ok(Ready { config: config.clone(), client, region, address })
    }

    /// The signed request. `None` if there are no credentials, or if a header is not valid in HTTP.
    async fn message(&self, ready: &Ready, request: &Request) -> Option<HttpRequest> {
        let credentials = ready.config.credentials_provider()?.provide_credentials().await.ok()?;
        let address = format!("{}{}", ready.address, request.path);
        let mut headers: Vec<(&str, &str)> = vec![("content-type", request.media)];
        headers.extend(request.headers.iter().map(|(name, value)| (*name, value.as_str())));
        let call = Call { method: request.method, address: &address, headers: &headers, body: request.body.as_bytes() };
        let region = signing_region(self.name, &ready.region);
        let signature = signature(&call, credentials, region, self.name, since_epoch())?;
        let mut message = HttpRequest::new(SdkBody::from(request.body.as_str()));
        message.set_method(call.method).ok()?;
        message.set_uri(address.as_str()).ok()?;
        for (name, value) in headers {
            message.headers_mut().try_insert(name.to_owned(), value.to_owned()).ok()?;
        }
        for (name, value) in signature {
            message.headers_mut().try_insert(name, value).ok()?;
        }
        Some(message)
    }
}

impl Answer {
    /// The value of the first header of this name, which is in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The name of the error that the service answered, if the answer is one in a form that AWS uses.
    pub fn error_name(&self) -> Option<String> {
        let text = String::from_utf8_lossy(&self.body);
        let name = Some(error_name(&text)).filter(|name| *name != text)?;
        Some(name.rsplit('#').next().unwrap_or(name).to_owned())
    }

    /// The same name, if it is a word as AWS's names are. What is none is printed nowhere.
    pub fn shown_error_name(&self) -> Option<String> {
        self.error_name().filter(|name| is_word(name))
    }

    /// The error of an answer that is neither a success nor one that its reader expects.
    pub fn refused(&self, call: &str, code: Code) -> Error {
        let error = Error::new(code).with(Fact::Call, call).with(Fact::Status, self.status);
        self.shown_error_name().into_iter().fold(error, |error, name| error.with(Fact::ServiceCode, name))
    }

    /// Why the answer is not useful.
    fn trouble(&self) -> Option<CallError> {
        let asks_to_slow_down = || is_throttle(error_name(&String::from_utf8_lossy(&self.body)));
        match self.status {
            429 => Some(CallError::Throttled),
            400.. if asks_to_slow_down() => Some(CallError::Throttled),
            500.. => Some(CallError::Unavailable(self.status)),
            _ => None,
        }
    }
}

/// The error's name, from XML or JSON; else the whole text. The message is left out, because it quotes names that people chose.
fn error_name(body: &str) -> &str {
    let xml = || body.split_once("<Code>")?.1.split_once('<').map(|(name, _)| name);
    let json = || body.split_once("\"__type\"")?.1.split('"').nth(1);
    xml().or_else(json).unwrap_or(body)
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
    use aws_config::Region;

    #[test]
    fn the_settings_are_those_that_the_sdks_read() {
        let service = Service::new("rds", Some("http://rds.example"));
        let ready = service.ready_at(&SdkConfig::builder().region(Region::from_static("us-east-1")).build());
        let Err(CallError::BadEndpoint(misplaced)) = ready else { panic!("it is not refused") };
        assert_eq!(misplaced.field, "AWS_ENDPOINT_URL_RDS");
        let fips = SdkConfig::builder().region(Region::from_static("us-east-1")).use_fips(true).build();
        let ready = Service::new("rds", None).ready_at(&fips).unwrap_or_else(|trouble| panic!("{trouble:?}"));
        assert_eq!(ready.address, "https://rds-fips.us-east-1.amazonaws.com");
        let dual = SdkConfig::builder().region(Region::from_static("us-east-1")).use_dual_stack(true).build();
        let ready = Service::new("ssm", None).ready_at(&dual).unwrap_or_else(|trouble| panic!("{trouble:?}"));
        assert_eq!(ready.address, "https://ssm.us-east-1.api.aws");
    }

    #[test]
    fn throttles_are_told_from_refusals_and_outages() {
        let trouble = |status, body: &str| Answer { status, headers: Vec::new(), body: body.into() }.trouble();
        assert_eq!(trouble(200, "Throttling"), None);
        assert_eq!(trouble(400, "<Code>Throttling</Code>"), Some(CallError::Throttled));
        assert_eq!(trouble(400, r#"{"__type":"ThrottlingException"}"#), Some(CallError::Throttled));
        assert_eq!(trouble(503, "<Code>Throttling</Code>"), Some(CallError::Throttled));
        assert_eq!(trouble(429, ""), Some(CallError::Throttled));
        assert_eq!(trouble(503, ""), Some(CallError::Unavailable(503)));
        assert_eq!(trouble(403, "<Code>AccessDenied</Code>"), None);
        let quoted = "<Code>AccessDenied</Code><Message>assumed-role/Throttler may not</Message>";
        assert_eq!(trouble(403, quoted), None);
        assert_eq!(trouble(400, r#"{"__type":"AccessDeniedException","Message":"parameter/SlowDown"}"#), None);
        assert_eq!(
            trouble(400, r#"{"message":"a", "__type" : "a.b#ThrottlingException"}"#),
            Some(CallError::Throttled)
        );
        assert_eq!(trouble(400, "Throttling"), Some(CallError::Throttled));
        assert_eq!(trouble(404, ""), None);
    }

    #[test]
    fn each_failure_has_the_code_that_says_whether_it_passes() {
        let codes =
            Codes { passes: Code::OutletUnavailable, throttled: Code::ServiceThrottled, stays: Code::OutletRefused };
        let of = |trouble| Failure { trouble, attempts: 3 }.error("PutObject", codes);
        for (trouble, code) in [
            (CallError::NoConnection, Code::OutletUnavailable),
            (CallError::Silent, Code::OutletUnavailable),
            (CallError::Unavailable(503), Code::OutletUnavailable),
            (CallError::Throttled, Code::ServiceThrottled),
            (CallError::NotConfigured, Code::OutletRefused),
            (CallError::TooLarge, Code::OutletRefused),
        ] {
            let error = of(trouble);
            let facts = (error.fact(Fact::Call), error.fact(Fact::What), error.fact(Fact::Attempts));
            assert_eq!(error.code(), code, "{trouble:?}");
            assert_eq!(facts, (Some("PutObject"), Some(trouble.as_str()), Some("3")));
        }
        assert_eq!(of(CallError::Unavailable(503)).fact(Fact::Status), Some("503"));
        let misplaced = BadEndpoint { field: "AWS_ENDPOINT_URL_S3", found: "a", expected: "b" };
        let error = of(CallError::BadEndpoint(misplaced));
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::ConfigurationInvalid, Some("AWS_ENDPOINT_URL_S3")));
    }

    #[test]
    fn only_a_name_is_shown_of_a_refusal() {
        let refused = |body: &str| {
            let answer = Answer { status: 403, headers: Vec::new(), body: body.into() };
            answer.refused("PutObject", Code::OutletRefused)
        };
        let named = refused("<Error><Code>AccessDenied</Code><Message>hunter2</Message></Error>");
        assert_eq!((named.fact(Fact::ServiceCode), named.fact(Fact::Status)), (Some("AccessDenied"), Some("403")));
        let json = refused(r#"{"__type":"com.amazonaws.ssm#ParameterNotFound","message":"hunter2"}"#);
        assert_eq!(json.fact(Fact::ServiceCode), Some("ParameterNotFound"));
        let long = format!("<Error><Code>{}</Code></Error>", "a".repeat(65));
        for strange in
            ["<Error><Code>hunter2 is it</Code></Error>", r#"{"__type":"the key is hunter2"}"#, "hunter2", &long]
        {
            let error = refused(strange);
            assert_eq!(error.fact(Fact::ServiceCode), None, "{strange}");
            assert!(!format!("{error} {error:?}").contains("hunter2"));
        }
    }
}
