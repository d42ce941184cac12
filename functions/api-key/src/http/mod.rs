//! One request, one connection, one answer: always TLS (but for a trial on this machine), no redirect, no private address, and a limit for everything.

mod address;
pub mod request;

pub(crate) use address::is_host_pattern;
pub use address::{HostPolicy, HostsByIssuer, Place};

use crate::description::Answer;
use crate::http::request::Request;
use ::http::{HeaderMap, Method, header};
use http_body_util::Full;
use hyper::body::Bytes;
use rotation::clock::Deadline;
use rotation::net::http::{converse, retry_after, secured};
use rotation::net::tcp;
use rotation::net::tls::Verifier;
use rotation::net::weight::Weight;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer. One about a key has hundreds of bytes; a page of a list has some thousands for each key.
const MAX_ANSWER: usize = 1024 * 1024;
/// How much memory an answer may take once it is read. A page of a thousand keys, each with three objects and fifty values, weighs about
/// 17 MB. A Lambda function has at least 128 MB.
const HEAVIEST: usize = 32 << 20;
/// The longest `Retry-After`, which is longer than any step.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// The time for connecting to one address. An address that answers does so in a tenth of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The outcome of a request, once it is awaited.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Response, SendError>> + Send + 'a>>;

/// Where a request leaves the process: a [`Client`], or a simulation of issuers.
pub trait Sender: Send + Sync {
    /// Sends a request of an issuer. It may only go to the hosts that its description and the deployer allow for this issuer.
    ///
    /// # Errors
    /// [`SendError`], without any text of the request or the answer.
    fn send<'a>(&'a self, request: Request, of: Place<'a>, deadline: Deadline) -> Sending<'a>;
}

/// Sends requests to issuers over TLS.
#[derive(Clone)]
pub struct Client {
    tls: TlsConnector,
    policy: HostPolicy,
}

/// An answer.
///
/// **Invariant:** of an answer, only the status and ids of keys are printed. A body can hold a key, and a log would keep it.
/// Tests: `nothing_of_a_refusal_is_repeated`, `nothing_secret_is_printed_when_all_is_logged`.
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// `Retry-After` (RFC 9110, section 10.2.3): how long to wait.
    pub retry_after: Option<Duration>,
    /// `Link` (RFC 8288).
    pub link: Option<String>,
    /// The body, if it is JSON.
    pub body: Option<Value>,
    /// The body, if it is text.
    pub text: Option<String>,
}

impl Response {
    /// What predicates look at.
    pub fn answer(&self) -> Answer<'_> {
        Answer { status: self.status, body: self.body.as_ref(), text: self.text.as_deref() }
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

/// Why a request has no answer.
#[derive(Clone, Debug)]
pub enum SendError {
    /// The request was not sent, so it had no effect.
    NotSent(Error),
    /// The request may have been sent, so it may have had its effect.
    Lost(Error),
}

impl From<SendError> for Error {
    fn from(error: SendError) -> Self {
        match error {
            SendError::NotSent(error) | SendError::Lost(error) => error,
        }
    }
}

impl Client {
    /// A client that trusts the public roots and the deployer's CA.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub fn new(ca_bundle: Option<&str>, policy: HostPolicy) -> Result<Self> {
        let extra: Vec<_> = ca_bundle.iter().map(|pem| ("CA_BUNDLE", *pem)).collect();
        let verifier = Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &extra)?;
        Ok(Self { tls: TlsConnector::from(verifier.config()), policy })
    }

    async fn over_tls(&self, request: Request, of: Place<'_>, deadline: Deadline) -> Result<Response, SendError> {
        let deadline = deadline.within(request.timeout);
        let host = self.policy.destination(&request.authority, of).map_err(SendError::NotSent)?;
        let placed = |error: Error| {
            let error = error.with_default(Fact::Call, &request.what).with_default(Fact::Host, &host.name);
            error.with_default(Fact::Port, host.port)
        };
        let unsent = |error| SendError::NotSent(placed(error));
        let tcp = self.connect(&host, deadline).await.map_err(unsent)?;
        let message = message(&request).map_err(unsent)?;
        let answer = if host.plain {
            deadline.limit(converse(tcp, message, MAX_ANSWER)).await
        } else {
            let stream = secured(&self.tls, &host.name, tcp, deadline).await.map_err(unsent)?;
            deadline.limit(converse(stream, message, MAX_ANSWER)).await
        };
        let lost = |code| SendError::Lost(placed(Error::new(code)));
        let (head, body) = answer.map_err(|_| lost(Code::ServerSilent))?.map_err(lost)?;
        if head.status.is_redirection() {
            let error = Error::new(Code::RedirectRefused).with(Fact::Status, head.status.as_u16());
            return Err(SendError::Lost(placed(error)));
        }
        if !Weight::limited_to(HEAVIEST).takes(&body) {
            return Err(lost(Code::AnswerTooLarge));
        }
        Ok(Response {
            status: head.status.as_u16(),
            retry_after: retry_after(&head.headers, LONGEST_WAIT),
            link: joined(&head.headers, header::LINK),
            // serde_json refuses more than 128 levels.
            body: serde_json::from_slice(&body).ok(),
            text: std::str::from_utf8(&body).ok().map(str::to_owned),
        })
    }

    async fn connect(&self, host: &address::Host, deadline: Deadline) -> Result<TcpStream> {
        tcp::connect(self.policy.resolve(host, deadline).await?, CONNECT_TIMEOUT, deadline).await
    }
}

impl Sender for Client {
    fn send<'a>(&'a self, request: Request, of: Place<'a>, deadline: Deadline) -> Sending<'a> {
        Box::pin(self.over_tls(request, of, deadline))
    }
}

/// A request as HTTP carries it.
fn message(request: &Request) -> Result<::http::Request<Full<Bytes>>> {
    let impossible = || Error::new(Code::FieldInvalid).with(Fact::What, "a request that HTTP cannot carry");
    let method = Method::from_bytes(request.method.as_bytes()).map_err(|_| impossible())?;
    let mut message = ::http::Request::builder().method(method).uri(request.path.expose());
    message = message.header(header::HOST, &request.authority).header(header::CONNECTION, "close");
    for (name, value) in &request.headers {
        if !name.eq_ignore_ascii_case("content-type") {
            let mut value = ::http::HeaderValue::from_str(value.expose()).map_err(|_| impossible())?;
            value.set_sensitive(true);
            message = message.header(name, value);
        }
    }
    let body = match &request.body {
        None => {
            // These methods give a body a meaning, and some servers answer 411 to a missing length (RFC 9110, section 8.6).
            if matches!(request.method, "POST" | "PUT" | "PATCH") {
                message = message.header(header::CONTENT_LENGTH, 0);
            }
            Bytes::new()
        }
        Some((media, body)) => {
            // The description's media type may be more precise.
            let own = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
            message = message.header(header::CONTENT_TYPE, own.map_or(*media, |(_, value)| value.expose()));
            Bytes::copy_from_slice(body.expose().as_bytes())
        }
    };
    message.body(Full::new(body)).map_err(|_| impossible())
}

/// All fields of this name as one (RFC 9110, section 5.3).
fn joined(headers: &HeaderMap, name: header::HeaderName) -> Option<String> {
    let values: Vec<_> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &header::HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn links_may_stand_in_several_fields() {
        let headers = headers(&header::LINK, &["</a>; rel=prev", "</b>; rel=next"]);
        assert_eq!(joined(&headers, header::LINK).as_deref(), Some("</a>; rel=prev, </b>; rel=next"));
    }
}
