//! One call to an AWS service: signed as the SDKs sign (Signature Version 4), and sent with their HTTP client over what they
//! trust. For a service of which one or two calls are needed, and whose own SDK would be larger than a whole function.
//!
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv.html>

use crate::aws::sigv4::{Call, signature};
use crate::aws::throttle::is_throttle;
use crate::clock::{Deadline, since_epoch};
use crate::error::{Code, Error, Fact};
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::ProvideCredentials;
use aws_smithy_http_client::Connector;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_runtime_api::client::http::HttpConnector;
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
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
    /// The function's environment has no credentials or no region.
    NotConfigured,
    /// The function's environment says where the service is in a way that is not followed. Nothing was sent.
    Misplaced(Misplaced),
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
            Self::Misplaced(_) => "no address to send to",
            Self::NoConnection => "no connection",
            Self::Silent => "no answer in time",
            Self::TooLarge => "an answer that is too large",
            Self::Throttled => "throttled until the time was spent",
            Self::Unavailable(_) => "server errors until the time was spent",
        }
    }
}

/// A setting about a service's address that is not followed: what it names, and nothing that it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Misplaced {
    /// The environment variable.
    pub field: &'static str,
    /// Why it cannot be followed.
    pub found: &'static str,
    /// What can.
    pub expected: &'static str,
}

impl Misplaced {
    /// [`Code::ConfigurationInvalid`].
    pub fn error(self) -> Error {
        let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, self.field);
        error.with(Fact::Found, self.found).with(Fact::Expected, self.expected)
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
            let passes = !matches!(trouble, Trouble::NotConfigured | Trouble::Misplaced(_) | Trouble::TooLarge);
            if !passes || unanswered == UNANSWERED || deadline.left() <= pause {
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
        self.ready_at(&aws_config::defaults(BehaviorVersion::v2026_01_12()).load().await)
    }

    /// With the settings of the SDKs, as they read them.
    fn ready_at(&self, config: &SdkConfig) -> Result<Ready, Trouble> {
        let region = config.region().ok_or(Trouble::NotConfigured)?.as_ref().to_owned();
        let place = Place {
            service: self.name,
            endpoint: self.endpoint.as_deref().map(|it| (variable(self.name), it)),
            shared: config.endpoint_url(),
            region: &region,
            fips: config.use_fips() == Some(true),
            dual_stack: config.use_dual_stack() == Some(true),
        };
        let address = place.address().map_err(Trouble::Misplaced)?;
        // What the SDKs build for themselves since 2025: proxies are those of the environment. What is not encrypted stays on
        // this machine, whatever they are.
        let proxies = if address.starts_with("https://") { ProxyConfig::from_env() } else { ProxyConfig::disabled() };
        let client =
            Connector::builder().tls_provider(Provider::Rustls(CryptoMode::AwsLc)).proxy_config(proxies).build();
        Ok(Ready { config: config.clone(), client, region, address })
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
        let asks_to_slow_down = || is_throttle(error_name(&String::from_utf8_lossy(&self.body)));
        match self.status {
            429 => Some(Trouble::Throttled),
            400.. if asks_to_slow_down() => Some(Trouble::Throttled),
            500.. => Some(Trouble::Unavailable(self.status)),
            _ => None,
        }
    }
}

/// The error's name, if there is one where XML and JSON have it; else all of the text. A message quotes roles and parameters,
/// which may be called anything.
fn error_name(body: &str) -> &str {
    let xml = || body.split_once("<Code>")?.1.split_once('<').map(|(name, _)| name);
    let json = || body.split_once("\"__type\"")?.1.split('"').nth(1);
    xml().or_else(json).unwrap_or(body)
}

/// All that says where a service is.
#[derive(Clone, Copy)]
struct Place<'a> {
    service: &'a str,
    /// The service's own endpoint variable, and what it holds.
    endpoint: Option<(&'static str, &'a str)>,
    /// `AWS_ENDPOINT_URL`.
    shared: Option<&'a str>,
    region: &'a str,
    /// `AWS_USE_FIPS_ENDPOINT`.
    fips: bool,
    /// `AWS_USE_DUALSTACK_ENDPOINT`.
    dual_stack: bool,
}

impl Place<'_> {
    /// Scheme, host and perhaps port and path, without a slash at the end. It is what the SDKs' rules for this service give;
    /// where they give an error, or are not known, so is this.
    ///
    /// `endpoint-rule-set-1.json` of `rds` (2014-10-31) and of `ssm` (2014-11-06) in botocore
    fn address(&self) -> Result<String, Misplaced> {
        match self.endpoint.or(self.shared.map(|url| ("AWS_ENDPOINT_URL", url))) {
            Some((field, url)) => self.stated(field, url),
            None => self.usual(),
        }
    }

    fn stated(&self, field: &'static str, url: &str) -> Result<String, Misplaced> {
        if let Some(field) = self.variant() {
            let found = "true, together with an endpoint of one's own";
            return Err(Misplaced { field, found, expected: "one of the two, as for the AWS SDKs" });
        }
        checked(url).map_err(|found| Misplaced { field, found, expected: EXPECTED })
    }

    fn usual(&self) -> Result<String, Misplaced> {
        let Self { service, region, fips, dual_stack, .. } = *self;
        let label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if region.is_empty() || !region.chars().all(label) {
            let expected = "a region's name, e.g. eu-central-1";
            return Err(Misplaced { field: "AWS_REGION", found: "text that is no region", expected });
        }
        let Some(partition) = Partition::of(region) else {
            return Err(self.unknown());
        };
        let suffix = if dual_stack { partition.dual_stack } else { partition.suffix };
        // GovCloud's usual endpoints are FIPS's, unless they are dual-stack.
        let usual_is_fips = region.starts_with("us-gov-") && !dual_stack;
        let kind = if fips && !usual_is_fips { "-fips" } else { "" };
        Ok(format!("https://{service}{kind}.{region}.{suffix}"))
    }

    /// In a region whose addresses are not known here.
    fn unknown(&self) -> Misplaced {
        match self.variant() {
            Some(field) => {
                let found = "true, in a region whose addresses of that kind this function does not know";
                Misplaced { field, found, expected: "false, and the service's URL in its endpoint variable" }
            }
            None => Misplaced {
                field: variable(self.service),
                found: "nothing, in a region whose addresses this function does not know",
                expected: "the service's URL",
            },
        }
    }

    /// The setting that asks for another kind of endpoint than the usual one, if there is one.
    fn variant(&self) -> Option<&'static str> {
        let dual_stack = self.dual_stack.then_some("AWS_USE_DUALSTACK_ENDPOINT");
        self.fips.then_some("AWS_USE_FIPS_ENDPOINT").or(dual_stack)
    }
}

/// The domains of a partition's services.
struct Partition {
    suffix: &'static str,
    dual_stack: &'static str,
}

impl Partition {
    /// By a region's name. Of the partitions that are closed to the public none is known here: for those there are the endpoint
    /// variables. A region of an unknown name is one of the public partition, as for the SDKs.
    ///
    /// `partitions.json` of botocore
    fn of(region: &str) -> Option<Self> {
        let mut parts = region.split('-');
        let (first, second) = (parts.next(), parts.next());
        match first {
            _ if second.is_some_and(|second| second.starts_with("iso")) => None,
            Some("cn") => Some(Self { suffix: "amazonaws.com.cn", dual_stack: "api.amazonwebservices.com.cn" }),
            Some("eusc") => Some(Self { suffix: "amazonaws.eu", dual_stack: "api.amazonwebservices.eu" }),
            _ => Some(Self { suffix: "amazonaws.com", dual_stack: "api.aws" }),
        }
    }
}

/// The endpoint variable that is one service's own.
fn variable(service: &str) -> &'static str {
    match service {
        "rds" => "AWS_ENDPOINT_URL_RDS",
        "ssm" => "AWS_ENDPOINT_URL_SSM",
        _ => "AWS_ENDPOINT_URL",
    }
}

/// What [`checked`] takes.
pub(crate) const EXPECTED: &str =
    "https://, a host, and perhaps a port and a path; http:// for localhost and loopback addresses alone";

/// A URL that requests may go to, without a slash at the end; else why not. A request carries the session's token, and answers
/// carry secrets, which must not be sent in clear but within this machine.
pub(crate) fn checked(url: &str) -> Result<String, &'static str> {
    let url = url.trim().trim_end_matches('/');
    let (scheme, rest) = url.split_once("://").ok_or("text that is no URL")?;
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let in_path = |c: char| c.is_ascii_alphanumeric() || "/-._~%".contains(c);
    let host = host_of(authority).filter(|_| path.chars().all(in_path)).ok_or("text that is no URL of that kind")?;
    match scheme.as_str() {
        "https" => {}
        "http" if is_loopback(host) => {}
        "http" => return Err("http:// and a host that is not this machine"),
        _ => return Err("text that is no URL of that kind"),
    }
    Ok(format!("{scheme}://{authority}{path}"))
}

/// The host of `host`, `host:port` or `[address]:port`. A user's name, a query or anything else is not expected there.
fn host_of(authority: &str) -> Option<&str> {
    let in_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']').filter(|(host, _)| host.parse::<IpAddr>().is_ok_and(|it| it.is_ipv6()))?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let named = authority.starts_with('[') || (!host.is_empty() && host.chars().all(in_host));
    let port_fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
    (named && port_fits).then_some(host)
}

fn is_port(text: &str) -> bool {
    text.chars().all(|c| c.is_ascii_digit()) && text.parse::<u16>().is_ok_and(|port| port != 0)
}

fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
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

    fn place<'a>(service: &'a str, region: &'a str) -> Place<'a> {
        Place { service, endpoint: None, shared: None, region, fips: false, dual_stack: false }
    }

    #[test]
    fn a_service_is_where_its_partition_has_it() {
        let usual = |service, region| place(service, region).address().unwrap();
        assert_eq!(usual("rds", "eu-central-1"), "https://rds.eu-central-1.amazonaws.com");
        assert_eq!(usual("ssm", "cn-north-1"), "https://ssm.cn-north-1.amazonaws.com.cn");
        assert_eq!(usual("rds", "us-gov-west-1"), "https://rds.us-gov-west-1.amazonaws.com");
        assert_eq!(usual("rds", "eusc-de-east-1"), "https://rds.eusc-de-east-1.amazonaws.eu");
    }

    #[test]
    fn fips_and_dual_stack_are_where_the_sdks_have_them() {
        let at = |region, fips, dual_stack| {
            ["rds", "ssm"].map(|it| Place { fips, dual_stack, ..place(it, region) }.address().unwrap())
        };
        let both = |rest: &str| ["rds", "ssm"].map(|service| format!("https://{service}{rest}"));
        assert_eq!(at("us-east-1", true, false), both("-fips.us-east-1.amazonaws.com"));
        assert_eq!(at("us-east-1", false, true), both(".us-east-1.api.aws"));
        assert_eq!(at("us-east-1", true, true), both("-fips.us-east-1.api.aws"));
        assert_eq!(at("us-gov-west-1", true, false), both(".us-gov-west-1.amazonaws.com"));
        assert_eq!(at("us-gov-west-1", true, true), both("-fips.us-gov-west-1.api.aws"));
        assert_eq!(at("cn-north-1", false, true), both(".cn-north-1.api.amazonwebservices.com.cn"));
        assert_eq!(at("eusc-de-east-1", false, true), both(".eusc-de-east-1.api.amazonwebservices.eu"));
    }

    #[test]
    fn an_address_that_is_not_certain_is_refused_and_the_setting_is_named() {
        let refused = |place: Place<'_>| place.address().unwrap_err().error();
        let own = Some(("AWS_ENDPOINT_URL_RDS", "https://rds.example"));
        let custom = Place { endpoint: own, ..place("rds", "us-east-1") };
        let error = refused(Place { fips: true, ..custom });
        assert_eq!(
            (error.code(), error.fact(Fact::Field)),
            (Code::ConfigurationInvalid, Some("AWS_USE_FIPS_ENDPOINT"))
        );
        let error = refused(Place { dual_stack: true, ..custom });
        assert_eq!(error.fact(Fact::Field), Some("AWS_USE_DUALSTACK_ENDPOINT"));
        let error = refused(Place { endpoint: None, shared: Some("https://a.example"), fips: true, ..custom });
        assert_eq!(error.fact(Fact::Field), Some("AWS_USE_FIPS_ENDPOINT"));

        for region in ["us-iso-east-1", "us-isob-east-1", "eu-isoe-west-1", "us-isof-south-1"] {
            let error = refused(Place { fips: true, ..place("ssm", region) });
            assert_eq!(error.fact(Fact::Field), Some("AWS_USE_FIPS_ENDPOINT"), "{region}");
            assert_eq!(refused(place("ssm", region)).fact(Fact::Field), Some("AWS_ENDPOINT_URL_SSM"), "{region}");
            let stated = Place { endpoint: own, ..place("rds", region) };
            assert_eq!(stated.address().unwrap(), "https://rds.example");
        }
        for region in ["", "us-east-1.evil.example/", "us-east-1#", "a b"] {
            assert_eq!(refused(place("rds", region)).fact(Fact::Field), Some("AWS_REGION"), "{region}");
        }
    }

    #[test]
    fn a_service_has_its_own_variable_before_the_one_that_all_share() {
        let shared = Place { shared: Some("https://all.example/"), ..place("rds", "us-east-1") };
        assert_eq!(shared.address().unwrap(), "https://all.example");
        let own = Place { endpoint: Some((variable("rds"), "https://rds.example:8443/a/")), ..shared };
        assert_eq!(own.address().unwrap(), "https://rds.example:8443/a");
        let error = Place { endpoint: Some((variable("rds"), "http://rds.example")), ..shared }.address().unwrap_err();
        assert_eq!(error.field, "AWS_ENDPOINT_URL_RDS");
        let error = Place { shared: Some("http://all.example"), ..shared }.address().unwrap_err();
        assert_eq!(error.field, "AWS_ENDPOINT_URL");
    }

    #[test]
    fn nothing_is_sent_in_clear_but_within_this_machine() {
        for here in
            ["http://localhost:4566", "http://127.0.0.1:1", "http://127.9.9.9", "http://[::1]:80", "HTTP://LOCALHOST"]
        {
            assert!(checked(here).is_ok(), "{here}");
        }
        for there in [
            "http://rds.us-east-1.amazonaws.com",
            "http://10.0.0.1",
            "http://169.254.169.254",
            "http://[fd00::1]",
            "http://[::ffff:10.0.0.1]",
            "http://localhost.evil.example",
            "http://127.0.0.1.evil.example",
            "http://localhost@evil.example",
            "http://localhost:80@evil.example",
            "http://localhost\\@evil.example",
            "http://localhost#@evil.example",
            "http://localhost?@evil.example",
            "http://2130706433",
            "http://",
            "http:///a",
            "http://[localhost]",
            "http://[127.0.0.1]",
        ] {
            assert!(checked(there).is_err(), "{there}");
        }
        for bad in [
            "",
            "rds.example",
            "ftp://localhost",
            "https://",
            "https://a:0",
            "https://a:99999",
            "https://a:+1",
            "https://a/?b",
            "https://u@a",
            "https://a b",
        ] {
            assert!(checked(bad).is_err(), "{bad}");
        }
        assert!(checked("https://vpce-1.rds.eu-west-1.vpce.amazonaws.com").is_ok());
    }

    #[test]
    fn the_settings_are_those_that_the_sdks_read() {
        let service = Service::new("rds", Some("http://rds.example"));
        let ready = service.ready_at(&SdkConfig::builder().region(Region::from_static("us-east-1")).build());
        let Err(Trouble::Misplaced(misplaced)) = ready else { panic!("it is not refused") };
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
        let trouble = |status, body: &str| Answer { status, body: body.into() }.trouble();
        assert_eq!(trouble(200, "Throttling"), None);
        assert_eq!(trouble(400, "<Code>Throttling</Code>"), Some(Trouble::Throttled));
        assert_eq!(trouble(400, r#"{"__type":"ThrottlingException"}"#), Some(Trouble::Throttled));
        assert_eq!(trouble(503, "<Code>Throttling</Code>"), Some(Trouble::Throttled));
        assert_eq!(trouble(429, ""), Some(Trouble::Throttled));
        assert_eq!(trouble(503, ""), Some(Trouble::Unavailable(503)));
        assert_eq!(trouble(403, "<Code>AccessDenied</Code>"), None);
        let quoted = "<Code>AccessDenied</Code><Message>assumed-role/Throttler may not</Message>";
        assert_eq!(trouble(403, quoted), None);
        assert_eq!(trouble(400, r#"{"__type":"AccessDeniedException","Message":"parameter/SlowDown"}"#), None);
        assert_eq!(trouble(400, r#"{"message":"a", "__type" : "a.b#ThrottlingException"}"#), Some(Trouble::Throttled));
        assert_eq!(trouble(400, "Throttling"), Some(Trouble::Throttled));
        assert_eq!(trouble(404, ""), None);
    }
}
