//! The Runtime API of one execution environment.

use super::outcome::error_object;
use super::{Function, PAYLOAD_LIMIT};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// An event on its way to the function.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) request_id: String,
    pub(super) payload: Vec<u8>,
    pub(super) deadline: SystemTime,
}

/// What the function told the Runtime API.
#[derive(Debug)]
pub(super) enum Message {
    /// It asks for an event: it is initialised, and done with the one before.
    Next,
    Response(Vec<u8>),
    ResponseTooLarge(usize),
    Error(Vec<u8>),
    InitError(Vec<u8>),
}

/// The Runtime API of one environment, serving until dropped.
pub(super) struct RuntimeApi {
    pub(super) address: SocketAddr,
    pub(super) work: mpsc::Sender<Work>,
    pub(super) messages: mpsc::UnboundedReceiver<Message>,
    task: JoinHandle<()>,
}

impl RuntimeApi {
    pub(super) async fn start(function: &Function) -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (work, queue) = mpsc::channel(1);
        let (outbox, messages) = mpsc::unbounded_channel();
        let session = Arc::new(Session {
            arn: function.arn(),
            queue: tokio::sync::Mutex::new(queue),
            outbox,
            phase: Mutex::new(Phase::Initializing),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(session);
        let task = tokio::spawn(async move {
            // It ends with the task, never by itself.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self { address, work, messages, task })
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Session {
    arn: String,
    queue: tokio::sync::Mutex<mpsc::Receiver<Work>>,
    outbox: mpsc::UnboundedSender<Message>,
    phase: Mutex<Phase>,
}

#[derive(Debug, PartialEq)]
enum Phase {
    Initializing,
    Waiting,
    Busy(String),
    InitFailed,
}

impl Session {
    fn tell(&self, message: Message) {
        // Without a listener the environment is being torn down.
        let _ = self.outbox.send(message);
    }

    fn enter(&self, phase: Phase) -> Phase {
        std::mem::replace(&mut self.phase.lock().unwrap_or_else(PoisonError::into_inner), phase)
    }

    /// Ends the invocation `id` if it is the one under way.
    fn finish(&self, id: &str) -> Result<(), Box<Response>> {
        let mut phase = self.phase.lock().unwrap_or_else(PoisonError::into_inner);
        match &*phase {
            Phase::Busy(current) if current == id => {
                *phase = Phase::Waiting;
                Ok(())
            }
            _ => Err(Box::new(refusal(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID"))),
        }
    }
}

async fn next(State(session): State<Arc<Session>>) -> Response {
    if let Phase::Busy(_) = session.enter(Phase::Waiting) {
        // lambda_runtime always answers first; whoever does not has lost the event.
        session.tell(Message::Error(error_object(
            "Runtime.NoResponse",
            "The runtime asked for the next event without answering this one.",
        )));
    }
    session.tell(Message::Next);
    let Some(work) = session.queue.lock().await.recv().await else {
        return refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", "The environment is shutting down");
    };
    session.enter(Phase::Busy(work.request_id.clone()));
    let epoch = work.deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("lambda-runtime-aws-request-id", work.request_id.clone()),
        ("lambda-runtime-deadline-ms", epoch.as_millis().to_string()),
        ("lambda-runtime-invoked-function-arn", session.arn.clone()),
        ("lambda-runtime-trace-id", trace_id(epoch.as_secs())),
    ];
    let mut response = Response::new(Body::from(work.payload));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

async fn response(State(session): State<Arc<Session>>, Path(id): Path<String>, body: Body) -> Response {
    let body = to_bytes(body, usize::MAX).await.map(Vec::from).unwrap_or_default();
    if let Err(refused) = session.finish(&id) {
        return *refused;
    }
    let size = body.len();
    if size > PAYLOAD_LIMIT {
        session.tell(Message::ResponseTooLarge(size));
        return refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            "RequestEntityTooLarge",
            &format!("Exceeded maximum allowed payload size ({PAYLOAD_LIMIT} bytes)."),
        );
    }
    session.tell(Message::Response(body));
    accepted()
}

async fn error(State(session): State<Arc<Session>>, Path(id): Path<String>, body: Body) -> Response {
    let body = to_bytes(body, PAYLOAD_LIMIT).await.map(Vec::from).unwrap_or_default();
    if let Err(refused) = session.finish(&id) {
        return *refused;
    }
    session.tell(Message::Error(body));
    accepted()
}

async fn init_error(State(session): State<Arc<Session>>, body: Body) -> Response {
    let body = to_bytes(body, PAYLOAD_LIMIT).await.map(Vec::from).unwrap_or_default();
    match session.enter(Phase::InitFailed) {
        Phase::Initializing => {
            session.tell(Message::InitError(body));
            accepted()
        }
        earlier => {
            session.enter(earlier);
            let message = "State transition to InitError failed: the runtime is initialised already";
            refusal(StatusCode::FORBIDDEN, "InvalidStateTransition", message)
        }
    }
}

fn accepted() -> Response {
    (StatusCode::ACCEPTED, [(header::CONTENT_TYPE, "application/json")], r#"{"status":"OK"}"#).into_response()
}

fn refusal(status: StatusCode, kind: &str, message: &str) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], error_object(kind, message)).into_response()
}

/// An X-Ray header of a trace that is not sampled.
fn trace_id(seconds: u64) -> String {
    let random = uuid::Uuid::new_v4().simple().to_string();
    let (trace, parent) = random.split_at(24);
    format!("Root=1-{seconds:08x}-{trace};Parent={parent:0<16};Sampled=0")
}
