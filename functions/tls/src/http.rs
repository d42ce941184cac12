//! One request, one connection, one answer: always TLS, no redirect, and a limit for everything.

use http::{HeaderMap, HeaderName, Method, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rotation::clock::{Deadline, since_epoch};
use rotation::net::tcp;
use rotation::net::tls::{self, Verifier};
use rotation::{Code, Error, Fact, Result};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// The largest answer. A chain of certificates has some thousand bytes; the largest directory that is known has less.
const MAX_ANSWER: usize = 256 * 1024;
/// The time for connecting to one address. An address that answers does so in a tenth of it.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time for one answer. CAs answer within a second; some need longer for an order with a hundred names.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest `Retry-After` that is told: rate limits of CAs last a week.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// A request that is under way.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Answer>> + Send + 'a>>;

/// What carries requests in place of the network: a simulation of a CA.
pub trait Sender: Send + Sync {
    /// Carries a request with this body, if there is one.
    fn send<'a>(&'a self, method: Method, url: &'a Url, body: Option<Vec<u8>>, deadline: Deadline) -> Sending<'a>;
}

/// Sends requests over TLS.
#[derive(Clone)]
pub struct Client {
    way: Way,
}

#[derive(Clone)]
enum Way {
    Network(TlsConnector),
    Over(Arc<dyn Sender>),
}

/// An `https` URL, in the parts that a request needs.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    text: String,
    host: String,
    port: u16,
    /// Path and query.
    path: String,
}

/// An answer. Its text is printed nowhere: CAs quote what they got.
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

impl Url {
    /// Reads a URL. `None` if it is none, or not `https`, or has a user or a fragment.
    pub fn parse(text: &str) -> Option<Self> {
        let uri: http::Uri = text.parse().ok()?;
        let authority = uri.authority()?;
        let plain = uri.scheme_str() == Some("https") && !authority.as_str().contains('@') && !text.contains('#');
        let host = authority.host();
        (plain && !host.is_empty()).then(|| Self {
            text: text.to_owned(),
            host: host.to_owned(),
            port: authority.port_u16().unwrap_or(443),
            path: uri.path_and_query().map_or("/", |path| path.as_str()).to_owned(),
        })
    }

    /// The whole URL.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The host's name, which may be an address in brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Path and query.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Whether both are at the same host and port.
    pub fn same_place(&self, other: &Self) -> bool {
        self.host.eq_ignore_ascii_case(&other.host) && self.port == other.port
    }

    fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

impl Answer {
    /// A header's text.
    pub fn header(&self, name: &HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// `Retry-After` (RFC 9110, section 10.2.3), which is a number of seconds or a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.header(&header::RETRY_AFTER)?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds).min(LONGEST_WAIT));
        }
        let moment = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
        Some(moment.saturating_sub(since_epoch()).min(LONGEST_WAIT))
    }
}

impl Client {
    /// A client that trusts the public roots and the deployer's CA.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub fn new(ca_bundle: Option<&str>) -> Result<Self> {
        let extra: Vec<_> = ca_bundle.iter().map(|pem| ("CA_BUNDLE", *pem)).collect();
        let verifier = Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &extra)?;
        Ok(Self { way: Way::Network(TlsConnector::from(verifier.config())) })
    }

    /// A client that is not on the network: `sender` answers.
    pub fn over(sender: Arc<dyn Sender>) -> Self {
        Self { way: Way::Over(sender) }
    }

    /// Sends a request with a body of this media type, or without one.
    ///
    /// # Errors
    /// Why there is no answer, with host and port: the codes of reaching a target, and [`Code::AnswerTooLarge`].
    pub async fn send(
        &self,
        method: Method,
        url: &Url,
        body: Option<(&str, Vec<u8>)>,
        deadline: Deadline,
    ) -> Result<Answer> {
        let placed = |error: Error| error.with_default(Fact::Host, &url.host).with_default(Fact::Port, url.port);
        let exchange = self.exchange(method, url, body, deadline.within(ANSWER_TIMEOUT));
        exchange.await.map_err(placed)
    }

    async fn exchange(
        &self,
        method: Method,
        url: &Url,
        body: Option<(&str, Vec<u8>)>,
        deadline: Deadline,
    ) -> Result<Answer> {
        let connector = match &self.way {
            Way::Network(connector) => connector,
            Way::Over(sender) => return sender.send(method, url, body.map(|(_, body)| body), deadline).await,
        };
        let message = message(method, url, body)?;
        let tcp = connect(url, deadline).await?;
        let name = tls::server_name(url.host.trim_start_matches('[').trim_end_matches(']'))?;
        let stream = match deadline.limit(connector.connect(name, tcp)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(tls::failure(&error).unwrap_or_else(|| Error::new(Code::ConnectionLost))),
            Err(_) => return Err(Error::new(Code::ServerSilent)),
        };
        let answer = deadline.limit(converse(TokioIo::new(stream), message)).await;
        answer.map_err(|_| Error::new(Code::ServerSilent))?.map_err(Error::new)
    }
}

/// Opens a connection to the first address that answers.
///
/// # Errors
/// [`Code::HostUnresolved`], [`Code::ConnectionRefused`], [`Code::ConnectTimeout`].
pub(crate) async fn connect(url: &Url, deadline: Deadline) -> Result<TcpStream> {
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let unresolved = || Error::new(Code::HostUnresolved);
    let looked_up = deadline.limit(tokio::net::lookup_host((host, url.port))).await.map_err(|_| unresolved())?;
    tcp::connect(looked_up.map_err(|_| unresolved())?, CONNECT_TIMEOUT, deadline).await
}

async fn converse(
    stream: TokioIo<tokio_rustls::client::TlsStream<TcpStream>>,
    message: http::Request<Full<Bytes>>,
) -> Result<Answer, Code> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(stream).await.map_err(|_| Code::ConnectionLost)?;
    let exchange = async {
        let response = sender.send_request(message).await.map_err(|_| Code::ConnectionLost)?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| {
            let too_large = error.is::<http_body_util::LengthLimitError>();
            if too_large { Code::AnswerTooLarge } else { Code::ConnectionLost }
        })?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body: body.to_bytes() })
    };
    tokio::pin!(connection);
    tokio::pin!(exchange);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut exchange => return answer,
            // The connection moves the bytes. The exchange reports how it ended.
            _ = &mut connection, if open => open = false,
        }
    }
}

fn message(method: Method, url: &Url, body: Option<(&str, Vec<u8>)>) -> Result<http::Request<Full<Bytes>>> {
    let impossible = |_| Error::new(Code::FieldInvalid).with(Fact::What, "a URL that HTTP cannot carry");
    let mut message = http::Request::builder().method(method).uri(&url.path);
    message = message.header(header::HOST, url.authority()).header(header::CONNECTION, "close");
    message = message.header(header::USER_AGENT, concat!("lockstep/", env!("CARGO_PKG_VERSION")));
    let body = match body {
        None => Bytes::new(),
        Some((media, body)) => {
            message = message.header(header::CONTENT_TYPE, media);
            body.into()
        }
    };
    message.body(Full::new(body)).map_err(impossible)
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Paths of a CA name accounts and orders.
        write!(f, "Url({}:{})", self.host, self.port)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").field("status", &self.status).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_https_is_followed() {
        let url = Url::parse("https://ca.example/dir?a=b").unwrap();
        assert_eq!((url.host(), url.port(), url.path.as_str()), ("ca.example", 443, "/dir?a=b"));
        assert_eq!(Url::parse("https://ca.example:14000").unwrap().authority(), "ca.example:14000");
        for wrong in
            ["http://ca.example/dir", "ca.example/dir", "/dir", "https://u:p@ca.example/", "https://ca.example/#a", ""]
        {
            assert!(Url::parse(wrong).is_none(), "{wrong}");
        }
        let at = |text: &str| Url::parse(text).unwrap();
        assert!(at("https://ca.example/a").same_place(&at("https://CA.example:443/b")));
        assert!(!at("https://ca.example/a").same_place(&at("https://ca.example:444/a")));
        assert!(!at("https://ca.example/a").same_place(&at("https://cb.example/a")));
    }

    #[test]
    fn a_wait_is_a_number_or_a_date_and_has_a_limit() {
        let wait = |text: &str| {
            let headers = [(header::RETRY_AFTER, text.parse().unwrap())].into_iter().collect();
            Answer { status: 429, headers, body: Bytes::new() }.retry_after()
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("99999999999"), Some(LONGEST_WAIT));
        assert_eq!(wait("soon"), None);
    }
}
