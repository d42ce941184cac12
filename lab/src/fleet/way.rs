//! The way of the fleet's functions to Step Functions and KMS, which moto has: it notes each call, and can answer in their place.

use crate::lambda::Host;
use crate::load::Error;
use crate::record::Record;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Response, StatusCode, header};
use serde_json::Value;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What becomes of a call.
#[derive(Clone, Debug)]
pub enum Sent {
    /// The service answers.
    On,
    /// This status and body are the answer.
    Answered(u16, Value),
    /// Nobody answers.
    Nowhere,
}

/// Decides by the operation and its request.
type Script = dyn Fn(&str, &Value) -> Sent + Send + Sync;

#[derive(Clone)]
struct Parts {
    to: String,
    host: Host,
    record: Record,
    client: reqwest::Client,
    script: Arc<Mutex<Arc<Script>>>,
}

/// The served way. Dropping it closes it.
pub(super) struct Way {
    url: String,
    script: Arc<Mutex<Arc<Script>>>,
    task: JoinHandle<()>,
}

impl Way {
    /// Begins to hand calls of the host's functions on to the URL `to`.
    pub(super) async fn start(to: String, host: Host) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Setup(error.to_string());
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(|error| failed(&error))?;
        let url = format!("http://{}", listener.local_addr().map_err(|error| failed(&error))?);
        let client = reqwest::Client::builder().build().map_err(|error| failed(&error))?;
        let record = Record::from_env().map_err(|error| failed(&error))?;
        let script: Arc<Mutex<Arc<Script>>> = Arc::new(Mutex::new(Arc::new(|_: &str, _: &Value| Sent::On)));
        let parts = Parts { to, host, record, client, script: Arc::clone(&script) };
        let router = Router::new().fallback(handed_on).with_state(parts);
        let task = tokio::spawn(async move { drop(axum::serve(listener, router).await) });
        Ok(Self { url, script, task })
    }

    /// Where functions call the services.
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Decides from now on what becomes of calls.
    pub(super) fn set(&self, script: impl Fn(&str, &Value) -> Sent + Send + Sync + 'static) {
        *self.script.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(script);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn handed_on(State(parts): State<Parts>, headers: HeaderMap, body: Bytes) -> Response<Body> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (service, operation) = text("x-amz-target").split_once('.').unwrap_or_default();
    let service = if service == "TrentService" { "kms" } else { "states" };
    let key = text("authorization").split_once("Credential=").and_then(|(_, rest)| rest.split('/').next());
    if let Some(function) = key.and_then(|key| parts.host.function_of(key)) {
        parts.record.call(&function, service, operation, None);
    }
    let script = Arc::clone(&parts.script.lock().unwrap_or_else(PoisonError::into_inner));
    match script(operation, &serde_json::from_slice(&body).unwrap_or_default()) {
        Sent::Nowhere => std::future::pending().await,
        Sent::Answered(status, answer) => answered(status, answer.to_string().into()),
        Sent::On => {
            let mut request = parts.client.post(&parts.to).body(body);
            for name in [header::AUTHORIZATION.as_str(), header::CONTENT_TYPE.as_str(), "x-amz-target", "x-amz-date"] {
                request = request.header(name, text(name));
            }
            match request.send().await {
                Ok(answer) => answered(answer.status().as_u16(), answer.bytes().await.unwrap_or_default()),
                Err(_) => answered(503, Bytes::new()),
            }
        }
    }
}

fn answered(status: u16, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
