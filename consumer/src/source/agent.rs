//! AWS's local agent over HTTP.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/secrets-manager-agent.html>

use super::{Fetched, Source};
use crate::error::Cause;
use crate::label::Label;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};
use tokio::fs;
use tokio::net::TcpStream;
use zeroize::Zeroizing;

/// The agent's own default.
const PORT: u16 = 2773;
/// Where the agent's installation puts the token.
const TOKEN_FILE: &str = "/var/run/awssmatoken";
/// A secret has 64 KiB at most. In JSON, a control character takes six.
const LARGEST: usize = 512 * 1024;

/// A secret, read through AWS's agent on this machine.
///
/// The agent caches for 5 minutes unless it is told otherwise. So a rotation is noticed later by up to that time, and after a refused login
/// this source asks the agent to read anew (`refreshNow`, which the agent has since version 1.1).
#[derive(Clone, Debug)]
pub struct Agent {
    secret: String,
    port: u16,
    token_file: PathBuf,
}

impl Agent {
    /// A secret by its name or ARN. The agent listens on port 2773, and its token is in `/var/run/awssmatoken`, unless given.
    pub fn new(secret: impl Into<String>) -> Self {
        Self { secret: secret.into(), port: PORT, token_file: TOKEN_FILE.into() }
    }

    /// The port that the agent listens on, on this machine.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// The file with the agent's token. It is read again for each call, because the token changes when the agent starts.
    #[must_use]
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = path.into();
        self
    }

    async fn ask(&self, path: &str) -> Result<(StatusCode, Zeroizing<Vec<u8>>), Cause> {
        // Without the agent there is no token either.
        let token = fs::read_to_string(&self.token_file).await.map(Zeroizing::new).map_err(|_| Cause::Denied)?;
        let request = Request::get(path)
            .header(header::HOST, format!("localhost:{}", self.port))
            .header("X-Aws-Parameters-Secrets-Token", token.trim())
            .body(Empty::<Bytes>::new())
            .map_err(|_| Cause::Denied)?;
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.map_err(|_| Cause::Unavailable)?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|_| Cause::Unavailable)?;
        let exchange = async {
            let answer = sender.send_request(request).await.map_err(|_| Cause::Unavailable)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), LARGEST).collect().await.map_err(|_| Cause::Unavailable)?;
            Ok((status, Zeroizing::new(body.to_bytes().to_vec())))
        };
        tokio::pin!(exchange);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection may end before the answer is read to its end.
            _ = connection => exchange.await,
        }
    }
}

#[async_trait::async_trait]
impl Source for Agent {
    fn name(&self) -> String {
        self.secret.clone()
    }

    fn origin(&self) -> &'static str {
        "the agent"
    }

    async fn fetch(&self, label: Label, forced: bool) -> Result<Option<Fetched>, Cause> {
        let secret = utf8_percent_encode(&self.secret, NON_ALPHANUMERIC);
        let mut path = format!("/secretsmanager/get?secretId={secret}&versionStage={label}");
        if forced {
            path.push_str("&refreshNow=true");
        }
        let (status, body) = self.ask(&path).await?;
        if status == StatusCode::OK {
            let answer: Answer = serde_json::from_slice(&body).map_err(|_| Cause::Invalid)?;
            return Ok(Some(answer.fetched()));
        }
        let failure: Failure = serde_json::from_slice(&body).unwrap_or_default();
        match cause(&failure, status.as_u16()) {
            Cause::NotFound if label != Label::Current || failure.message.contains("staging label") => Ok(None),
            cause => Err(cause),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    version_id: String,
    secret_string: String,
    /// Seconds since the Unix epoch, as a text.
    #[serde(default)]
    created_date: Option<String>,
}

impl Answer {
    fn fetched(self) -> Fetched {
        let seconds = self.created_date.and_then(|text| text.parse::<f64>().ok());
        let since = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let created = since.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        Fetched { version_id: self.version_id, value: self.secret_string.into(), created }
    }
}

/// The agent passes on the service's error.
#[derive(Default, Deserialize)]
struct Failure {
    #[serde(default, rename = "__type")]
    kind: String,
    #[serde(default)]
    message: String,
}

fn cause(failure: &Failure, status: u16) -> Cause {
    match failure.kind.as_str() {
        "ResourceNotFoundException" | "InvalidRequestException" => Cause::NotFound,
        "AccessDeniedException"
        | "DecryptionFailure"
        | "UnrecognizedClientException"
        | "InvalidSignatureException"
        | "ExpiredTokenException" => Cause::Denied,
        "ThrottlingException" => Cause::Throttled,
        _ if status == 429 => Cause::Throttled,
        // The agent's token is not the right one.
        _ if status == 401 || status == 403 => Cause::Denied,
        _ if status >= 500 => Cause::Unavailable,
        _ => Cause::Invalid,
    }
}
