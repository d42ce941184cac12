//! Uses a key as its owner's program does: over HTTPS, with one connection for each request, and with a pause when the issuer
//! asks for one.

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Answers are a line of JSON.
const LARGEST: usize = 1 << 16;
/// The issuer is on this machine.
const PATIENCE: Duration = Duration::from_secs(10);
/// Tries of a request that is told to come back later.
const TRIES: u32 = 20;

/// A user of keys. It shares no code with the function, which could contain the same mistake.
pub struct Consumer {
    tls: TlsConnector,
    port: u16,
}

/// What the issuer says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// It works, and has this id.
    Works {
        /// The key's id.
        id: String,
    },
    /// It does not work.
    Refused,
}

struct Answer {
    status: u16,
    retry_after: Duration,
    body: Value,
}

impl Consumer {
    /// A consumer of the issuer on this port of this machine, with this CA.
    ///
    /// # Errors
    /// The CA is not a certificate.
    pub fn new(port: u16, ca_pem: &str) -> Result<Self, String> {
        let text = |error: &dyn std::error::Error| error.to_string();
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(ca_pem.as_bytes()).map_err(|error| text(&error))?;
        roots.add(ca).map_err(|error| text(&error))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_safe_default_protocol_versions().map_err(|error| text(&error))?;
        let config = builder.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), port })
    }

    /// Uses a key once.
    ///
    /// # Errors
    /// The issuer does not answer, or with neither a use nor a refusal.
    pub async fn use_key(&self, secret: &str) -> Result<Says, String> {
        for _ in 0..TRIES {
            let answer = tokio::time::timeout(PATIENCE, self.ask(secret)).await;
            let answer = answer.map_err(|_| "no answer".to_owned())??;
            match answer.status {
                200 => {
                    let id = answer.body.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
                    return Ok(Says::Works { id });
                }
                401 => return Ok(Says::Refused),
                429 => tokio::time::sleep(answer.retry_after).await,
                other => return Err(format!("the issuer answered {other}")),
            }
        }
        Err("the issuer only ever answered 429".to_owned())
    }

    async fn ask(&self, secret: &str) -> Result<Answer, String> {
        let name = ServerName::try_from("localhost").map_err(|error| error.to_string())?;
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|error| error.to_string())?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let request = Request::get("/v1/whoami")
            .header(header::HOST, "localhost")
            .header(header::AUTHORIZATION, format!("Bearer {secret}"))
            .body(Body::empty())
            // The error's text is left out: it is not needed, and this way it cannot quote the key.
            .map_err(|_| "the key cannot be sent in a header".to_owned())?;
        let (head, body) = sender.send_request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = to_bytes(Body::new(body), LARGEST).await.map_err(|error| error.to_string())?;
        connection.abort();
        let seconds = head.headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answer {
            status: head.status.as_u16(),
            retry_after: Duration::from_secs(seconds.unwrap_or(1)),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        })
    }
}
