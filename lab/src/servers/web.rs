//! The HTTP API of a throwaway server: as its superuser, and behind the lab's disturbances.

use super::Error;
use super::error::Result;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderName, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// A list of users has some kilobytes.
const LARGEST: usize = 4 << 20;
/// The server is on this machine, which may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Headers of one connection (RFC 9110, section 7.6.1), and those that are made anew.
const NOT_FORWARDED: [HeaderName; 4] =
    [header::CONNECTION, header::HOST, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];

/// The API of a server on this machine, over TLS. Clones are the same.
#[derive(Clone)]
pub struct Web {
    tls: TlsConnector,
    port: u16,
}

impl Web {
    /// The API on this port, whose certificate that CA has issued.
    ///
    /// # Errors
    /// [`Error::Http`] if the CA is not a certificate.
    pub fn new(port: u16, ca_pem: &str) -> Result<Self> {
        let failed = |error: &dyn fmt::Display| failed("cannot trust the server's CA", error);
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|it| failed(&it))?)
            .map_err(|it| failed(&it))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.map_err(|it| failed(&it))?.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), port })
    }

    /// Sends a request, on a connection of its own.
    ///
    /// # Errors
    /// [`Error::Http`] if there is no answer.
    pub async fn send(&self, request: Request<Body>) -> Result<(StatusCode, Bytes)> {
        let (status, _, body) = self.exchange(request).await?;
        Ok((status, body))
    }

    /// Sends JSON, or nothing, with these headers. Returns the status and the JSON of the answer, or null.
    ///
    /// # Errors
    /// As for [`send`](Self::send).
    pub async fn call(&self, method: &str, path: &str, headers: &[(&str, &str)], json: &Value) -> Result<(u16, Value)> {
        let mut request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, "application/json");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = if json.is_null() { Body::empty() } else { Body::from(json.to_string()) };
        let request = request.body(body).map_err(|error| failed(path, &error))?;
        let (status, body) = self.send(request).await?;
        Ok((status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }

    /// Everything that comes is sent on to the server, so that [`Https`](crate::issuer::Https) can count and disturb it.
    pub fn router(&self) -> Router {
        let web = self.clone();
        Router::new().fallback(move |request: Request<Body>| {
            let web = web.clone();
            async move {
                match web.exchange(request).await {
                    Ok((status, headers, body)) => {
                        let mut response = (status, body).into_response();
                        response.headers_mut().extend(
                            headers
                                .into_iter()
                                .filter(|(name, _)| name.as_ref().is_none_or(|name| !NOT_FORWARDED.contains(name))),
                        );
                        response
                    }
                    Err(_) => {
                        Response::builder().status(StatusCode::BAD_GATEWAY).body(Body::empty()).unwrap_or_default()
                    }
                }
            }
        })
    }

    async fn exchange(&self, request: Request<Body>) -> Result<(StatusCode, axum::http::HeaderMap, Bytes)> {
        let what = format!("{} {}", request.method(), request.uri().path());
        let port = self.port;
        let exchange = async {
            let tcp = TcpStream::connect(("127.0.0.1", port)).await.map_err(|it| failed(&what, &it))?;
            let name = ServerName::try_from("localhost").map_err(|it| failed(&what, &it))?;
            let tls = self.tls.connect(name, tcp).await.map_err(|it| failed(&what, &it))?;
            let (mut sender, connection) = handshake(TokioIo::new(tls)).await.map_err(|it| failed(&what, &it))?;
            let (mut head, body) = request.into_parts();
            let body = to_bytes(body, LARGEST).await.map_err(|it| failed(&what, &it))?;
            for name in NOT_FORWARDED {
                head.headers.remove(name);
            }
            let host = format!("localhost:{port}").parse().map_err(|it| failed(&what, &it))?;
            head.headers.insert(header::HOST, host);
            head.headers.insert(header::CONTENT_LENGTH, body.len().into());
            let running = tokio::spawn(connection);
            let answer = sender.send_request(Request::from_parts(head, Body::from(body))).await;
            let (head, body) = answer.map_err(|it| failed(&what, &it))?.into_parts();
            let body = to_bytes(Body::new(body), LARGEST).await.map_err(|it| failed(&what, &it))?;
            running.abort();
            Ok((head.status, head.headers, body))
        };
        tokio::time::timeout(PATIENCE, exchange).await.map_err(|it| failed(&what, &it))?
    }
}

impl fmt::Debug for Web {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Web").field("port", &self.port).finish_non_exhaustive()
    }
}

fn failed(doing: &str, found: &(impl fmt::Display + ?Sized)) -> Error {
    Error::Http { doing: doing.to_owned(), found: found.to_string() }
}
