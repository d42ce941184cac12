//! Serves an issuer over TLS on a loopback port, disturbs it, and records what it was asked.

use crate::disturb::{Disturb, Fault, ISSUER, Ticket};
use crate::servers::CONTAINERS_HOST;
use crate::servers::certificates::{Certificate, TestCa};
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header, request};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt as _;

/// The name that is connected to, what it resolves to, and the name that containers have for this machine: all are in the certificate.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", CONTAINERS_HOST];

/// No issuer takes as much. A request beyond it ends the connection.
const BODY_LIMIT: usize = 1 << 20;

/// What [`Fault::Throttle`] asks a client to wait, in seconds: the least that the header can say.
const RETRY_AFTER: u64 = 1;

/// A router behind TLS, on its own loopback port. Dropping it closes all its connections.
///
/// Every request is an external call of the function under test, in the same count as its Secrets Manager calls, and
/// named [`ISSUER`] with the method: `issuer POST`. A request does not show its sender. So a test looks at its issuer through
/// the Rust value, never over HTTP, and a kill ends every execution environment.
pub struct Https {
    scheme: &'static str,
    port: u16,
    ca_pem: String,
    record: Record,
    task: JoinHandle<()>,
}

/// A request that was served.
#[derive(Clone)]
#[non_exhaustive]
pub struct Recorded {
    /// Its method.
    pub method: Method,
    /// Its path, with the query if there is one.
    pub path: String,
    /// Its headers. Sensitive: keys are among them.
    pub headers: HeaderMap,
    /// Its body. Sensitive, too.
    pub body: Bytes,
    /// The status that it was answered with; `None` while it is under way, and where the reply was lost.
    pub status: Option<u16>,
}

/// In the extensions of a request that is to be answered as of a moment ago; see [`Fault::StaleRead`]. A router that
/// does not look for it is never stale.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale;

impl Https {
    /// Serves `router` on a free port, with a certificate of a new CA, under the rules of `disturb`.
    ///
    /// # Errors
    /// No port could be bound, or the system's cryptography failed.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(router: Router, disturb: Disturb) -> io::Result<Self> {
        let certificate = TestCa::new("Lockstep lab CA").and_then(|ca| ca.issue(&NAMES)).map_err(io::Error::other)?;
        let tls = TlsAcceptor::from(Arc::new(server_config(&certificate).map_err(io::Error::other)?));
        Self::serving(router, disturb, Some(tls), certificate.ca_pem().to_owned())
    }

    /// The same without TLS, for doubles of AWS's services: the SDKs trust no CA of a test.
    ///
    /// # Errors
    /// No port could be bound.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn without_tls(router: Router, disturb: Disturb) -> io::Result<Self> {
        Self::serving(router, disturb, None, String::new())
    }

    fn serving(router: Router, disturb: Disturb, tls: Option<TlsAcceptor>, ca_pem: String) -> io::Result<Self> {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let listener = listen()?;
        let port = listener.local_addr()?.port();
        let record = Record::default();
        let server = Server { router, disturb, record: record.clone() };
        let task = tokio::spawn(accept(listener, tls, server));
        Ok(Self { scheme, port, ca_pem, record, task })
    }

    /// The URL to send requests to, without a slash at the end.
    pub fn url(&self) -> String {
        format!("{}://localhost:{}", self.scheme, self.port)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the CA to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// What was asked so far, a line each in the order of arrival: `POST /v1/keys 201`, or `POST /v1/keys lost` where no
    /// reply was sent.
    pub fn requests(&self) -> Vec<String> {
        self.record.lock().iter().map(ToString::to_string).collect()
    }

    /// The same with headers and bodies.
    pub fn record(&self) -> Vec<Recorded> {
        self.record.lock().clone()
    }
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl fmt::Debug for Https {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Https").field("port", &self.port).finish_non_exhaustive()
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ", self.method, self.path)?;
        match self.status {
            Some(status) => write!(f, "{status}"),
            None => f.write_str("lost"),
        }
    }
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Recorded({self})")
    }
}

fn server_config(certificate: &Certificate) -> Result<ServerConfig, Box<dyn std::error::Error + Send + Sync>> {
    let chain = vec![CertificateDer::from_pem_slice(certificate.cert_pem().as_bytes())?];
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem().as_bytes())?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// Binds without waiting, so that starting need not wait either.
fn listen() -> io::Result<TcpListener> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

async fn accept(listener: TcpListener, tls: Option<TlsAcceptor>, server: Server) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, tls.clone(), server.clone()))),
                // Probably out of file descriptors, which is temporary.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, tls: Option<TlsAcceptor>, server: Server) {
    let _ = stream.set_nodelay(true);
    match tls {
        None => converse(stream, server).await,
        // A client that does not trust us ends the handshake; it knows why.
        Some(tls) => {
            if let Ok(stream) = tls.accept(stream).await {
                converse(stream, server).await;
            }
        }
    }
}

/// Serves one connection. A service that fails is what makes hyper close it without a reply.
async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, server: Server) {
    // In its own task: if the client hangs up, the request is still carried out, a delayed one too.
    let service = service_fn(move |request| {
        let answer = tokio::spawn(server.clone().answer(request));
        // Only a panic of the router ends the task early.
        async move { answer.await.unwrap_or_else(|_| Ok(failed(500))) }
    });
    // An error concerns only the client: one of the two sides hung up.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The reply is not sent.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the reply is lost on purpose")]
struct Lost;

#[derive(Clone)]
struct Server {
    router: Router,
    disturb: Disturb,
    record: Record,
}

impl Server {
    async fn answer(self, request: Request<Incoming>) -> Result<Response, Lost> {
        let (head, body) = request.into_parts();
        let body = to_bytes(Body::new(body), BODY_LIMIT).await.map_err(|_| Lost)?;
        let recorded = self.record.begin(&head, &body);
        let ticket = self.disturb.begin(&format!("{ISSUER} {}", head.method), None);
        let response = self.disturbed(&ticket, Request::from_parts(head, Body::from(body))).await?;
        let status = response.status();
        if !status.is_success() {
            ticket.error(&format!("HTTP {}", status.as_u16()));
        }
        self.record.answered(recorded, status);
        Ok(response)
    }

    /// Lets the router act on the request as far as the fault allows.
    async fn disturbed(&self, ticket: &Ticket, mut request: Request<Body>) -> Result<Response, Lost> {
        tokio::time::sleep(ticket.latency).await;
        match ticket.fault {
            Some(Fault::KillBefore) => {
                self.disturb.kill(None).await;
                return Err(Lost);
            }
            Some(Fault::Throttle) => return Ok(throttled(RETRY_AFTER)),
            Some(Fault::Fail(status)) => return Ok(failed(status)),
            Some(Fault::Delay(_) | Fault::Hold) => ticket.wait().await,
            Some(Fault::StaleRead) => drop(request.extensions_mut().insert(Stale)),
            Some(Fault::KillAfter | Fault::LoseReply) | None => {}
        }
        let Ok(response) = self.router.clone().oneshot(request).await;
        match ticket.fault {
            Some(Fault::KillAfter) => self.disturb.kill(None).await,
            Some(Fault::LoseReply) => {}
            _ => return Ok(response),
        }
        Err(Lost)
    }
}

/// 429, with the seconds to wait.
pub(super) fn throttled(retry_after: u64) -> Response {
    let headers = [(header::RETRY_AFTER, retry_after.to_string())];
    (StatusCode::TOO_MANY_REQUESTS, headers, Json(json!({ "error": "rate_limited" }))).into_response()
}

fn failed(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(json!({ "error": "unavailable" }))).into_response()
}

/// What was asked, shared by the connections and the test.
#[derive(Clone, Default)]
struct Record(Arc<Mutex<Vec<Recorded>>>);

impl Record {
    fn begin(&self, head: &request::Parts, body: &Bytes) -> usize {
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let (method, headers) = (head.method.clone(), head.headers.clone());
        let mut requests = self.lock();
        requests.push(Recorded { method, path, headers, body: body.clone(), status: None });
        requests.len() - 1
    }

    fn answered(&self, number: usize, status: StatusCode) {
        if let Some(request) = self.lock().get_mut(number) {
            request.status = Some(status.as_u16());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Recorded>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
