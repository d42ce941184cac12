//! One request, one connection, one answer: always TLS, no redirect, no private address that nobody allowed, and a limit for everything.

use http::{HeaderMap, HeaderName, Method, header};
use http_body_util::Full;
use hyper::body::Bytes;
use rotation::clock::Deadline;
use rotation::net::http::{converse, retry_after, secured};
use rotation::net::tls::Verifier;
use rotation::net::{address, tcp};
use rotation::{Code, Error, Fact, Result};
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
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
    Network {
        tls: TlsConnector,
        /// The places that may have private and loopback addresses.
        private: Arc<[Url]>,
    },
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

    /// How long the CA asks to wait.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after(&self.headers, LONGEST_WAIT)
    }
}

impl Client {
    /// A client that trusts the public roots and the deployer's CA. The hosts of `private` may have private and loopback addresses.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub fn new(ca_bundle: Option<&str>, private: impl IntoIterator<Item = Url>) -> Result<Self> {
        let extra: Vec<_> = ca_bundle.iter().map(|pem| ("CA_BUNDLE", *pem)).collect();
        let verifier = Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &extra)?;
        let way = Way::Network { tls: TlsConnector::from(verifier.config()), private: private.into_iter().collect() };
        Ok(Self { way })
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
        let (tls, private) = match &self.way {
            Way::Network { tls, private } => (tls, may_be_private(private, url)),
            Way::Over(sender) => return sender.send(method, url, body.map(|(_, body)| body), deadline).await,
        };
        let message = message(method, url, body)?;
        let tcp = connect(url, private, deadline).await.map_err(advised)?;
        let stream = secured(tls, &url.host, tcp, deadline).await?;
        let answer = deadline.limit(converse(stream, message, MAX_ANSWER)).await;
        let (head, body) = answer.map_err(|_| Error::new(Code::ServerSilent))?.map_err(Error::new)?;
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

/// Whether a host may have a private address.
///
/// **Invariant:** only a host that the deployer has named. Otherwise the writer of a secret could have the function connect to what
/// is in its network. Test: `a_directory_inside_is_refused_unless_the_deployer_names_it`.
fn may_be_private(named: &[Url], url: &Url) -> bool {
    named.iter().any(|allowed| allowed.same_place(url))
}

/// The error of an address that is not allowed, with what a deployer can do.
fn advised(error: Error) -> Error {
    if error.code() != Code::HostDenied {
        return error;
    }
    let next = "If the CA is your own and in a private network, name its directory in DIRECTORIES (the template's parameter Directories). \
                Otherwise find out who wrote `directory` into the secret.";
    error.with(Fact::NextAction, next)
}

/// Opens a connection to the first address that answers. `private` says whether it may be a private one.
///
/// # Errors
/// Those of [`address::resolve`] and [`tcp::connect`].
pub(crate) async fn connect(url: &Url, private: bool, deadline: Deadline) -> Result<TcpStream> {
    let addresses = address::resolve(&url.host, url.port, private, deadline).await?;
    tcp::connect(addresses, CONNECT_TIMEOUT, deadline).await
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

    #[tokio::test]
    async fn a_directory_inside_is_refused_unless_the_deployer_names_it() {
        let at = |text: &str| Url::parse(text).unwrap();
        let client = Client::new(None, [at("https://127.0.0.1:1/dir"), at("https://169.254.169.254:1/dir")]).unwrap();
        let deadline = Deadline::after(Duration::from_secs(5));
        let sent = async |text: &str| client.send(Method::GET, &at(text), None, deadline).await.unwrap_err();
        assert_eq!(sent("https://127.0.0.1:1/new-order").await.code(), Code::ConnectionRefused);
        for inside in [
            "https://127.0.0.1:2/dir",
            "https://localhost:1/dir",
            "https://10.0.0.1/dir",
            "https://169.254.169.254:1/dir",
        ] {
            let error = sent(inside).await;
            assert_eq!(error.code(), Code::HostDenied, "{inside}");
            assert!(error.fact(Fact::NextAction).unwrap().contains("DIRECTORIES"), "{error:?}");
        }
    }
}
