//! The product's requests to a CA, in memory.

use super::ca::Reply;
use super::world::{Kind, Process, Verdict};
use axum::body::Bytes;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use rotation::clock::Deadline;
use rotation::{Code, Error, Result};
use std::sync::Arc;
use tls::http::{Answer, Sender, Sending, Url};

/// The requests of one process.
pub(super) struct AcmeLine(pub(super) Arc<Process>);

impl Sender for AcmeLine {
    fn send<'a>(&'a self, method: Method, url: &'a Url, body: Option<Vec<u8>>, _: Deadline) -> Sending<'a> {
        Box::pin(self.exchange(method, url, body))
    }
}

/// The resource in words of RFC 8555, and what kind of request it is.
fn named(method: &Method, path: &str, body: Option<&[u8]>) -> (&'static str, Kind) {
    let resource = match path.split('/').nth(1).unwrap_or_default() {
        "dir" => "directory",
        "nonce" => "newNonce",
        "account" => "newAccount",
        "order" => "newOrder",
        "key-change" => "keyChange",
        "ord" => "order",
        "authz" => "authorization",
        "chal" => "challenge",
        "fin" => "finalize",
        "cert" => "certificate",
        "revoke" => "revokeCert",
        _ => "renewalInfo",
    };
    // An empty payload reads (RFC 8555, section 6.3).
    let body = body.map(String::from_utf8_lossy).unwrap_or_default();
    let reads = *method != Method::POST || body.contains(r#""payload":"""#);
    (resource, if reads { Kind::Get } else { Kind::Signed })
}

impl AcmeLine {
    async fn exchange(&self, method: Method, url: &Url, body: Option<Vec<u8>>) -> Result<Answer> {
        let (resource, kind) = named(&method, url.path(), body.as_deref());
        let pass = self.0.enter(resource, kind, "").await?;
        match pass.verdict {
            Verdict::TimeOut => return Err(Error::new(Code::ServerSilent)),
            Verdict::Throttle => {
                let body = r#"{"type":"urn:ietf:params:acme:error:rateLimited"}"#.to_owned();
                return Ok(answer(Reply { status: 429, location: None, nonce: None, body }));
            }
            _ => {}
        }
        let world = self.0.world()?;
        let reply = {
            let mut inner = world.inner();
            let names = inner.pki.route53.clone();
            inner.pki.ca.answer(method.as_str(), url.path(), body.as_deref(), &names, world.time.now())
        };
        world.note(|| format!("      answers {}", reply.status));
        drop(world);
        self.0.leave(pass).await;
        match pass.verdict {
            Verdict::ReplyLost => Err(Error::new(Code::ConnectionLost)),
            Verdict::BadGateway => Ok(answer(Reply { status: 502, location: None, nonce: None, body: String::new() })),
            _ => Ok(answer(reply)),
        }
    }
}

fn answer(reply: Reply) -> Answer {
    let mut headers = HeaderMap::new();
    let nonce = HeaderName::from_static("replay-nonce");
    for (name, value) in [(header::LOCATION, reply.location), (nonce, reply.nonce)] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_str(&value).ok()) {
            headers.insert(name, value);
        }
    }
    Answer { status: reply.status, headers, body: Bytes::from(reply.body) }
}
