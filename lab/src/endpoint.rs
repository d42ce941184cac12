//! One HTTP port for what the AWS SDKs and the AWS CLI are pointed at: Secrets Manager and Systems Manager's parameters
//! (JSON 1.1), CloudWatch Logs' FilterLogEvents, RDS and STS's GetCallerIdentity (query protocol), and Lambda's Invoke and GetFunction (REST).
//!
//! Signatures are not checked: any credentials will do. The access key id tells whether an execution environment of the
//! [`Host`] calls; only its calls are counted and disturbed.

use crate::disturb::{Disturb, Fault};
use crate::lambda::{ACCESS_KEY_PREFIX, ACCOUNT, Host, Outcome, PAYLOAD_LIMIT};
use crate::logs::Logs;
use crate::page::{self, Page};
use crate::parameters::Parameters;
use crate::rds::{self, Rds};
use crate::record::Record;
use crate::secretsmanager::{Consistency, Reply, Service};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::{Value, json};
use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};
use tower::ServiceExt;

/// The served port. Dropping it closes all connections.
pub struct Endpoint {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Endpoint {
    /// Binds a loopback port; 0 picks a free one. Nothing is answered before [`Bound::serve`].
    ///
    /// # Errors
    /// The port is taken or may not be used.
    pub async fn bind(port: u16) -> io::Result<Bound> {
        Ok(Bound(TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?))
    }

    /// The URL to give to an SDK as `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A port that is bound but not served yet. Its URL can be passed on already.
pub struct Bound(TcpListener);

impl Bound {
    /// The URL that will be served.
    ///
    /// # Errors
    /// The socket does not tell its address.
    pub fn url(&self) -> io::Result<String> {
        Ok(format!("http://{}", self.0.local_addr()?))
    }

    /// Serves the services and the functions of `host`, under the rules of `disturb`.
    ///
    /// # Errors
    /// The socket does not tell its address, or calls are to be recorded where nothing can be written.
    pub fn serve(self, services: Services, host: Host, disturb: Disturb) -> io::Result<Endpoint> {
        let address = self.0.local_addr()?;
        let record = Record::from_env()?;
        let router = Router::new()
            .route("/", post(query_or_json).get(index))
            .route("/2015-03-31/functions/{function}", get(get_function))
            .route("/2015-03-31/functions/{function}/invocations", post(invoke))
            .merge(page::routes(services.page.clone(), host.clone()))
            .fallback(unknown_operation)
            .layer(DefaultBodyLimit::max(PAYLOAD_LIMIT + 1))
            .with_state(Parts { services, host, disturb, record });
        Ok(Endpoint { address, task: tokio::spawn(accept(self.0, router)) })
    }
}

/// The services behind the port, besides Lambda.
#[derive(Clone)]
pub struct Services {
    /// Secrets Manager.
    pub secrets: Service,
    /// RDS.
    pub rds: Rds,
    /// Systems Manager's parameters.
    pub parameters: Parameters,
    /// The functions' logs.
    pub logs: Logs,
    /// The page for people.
    pub page: Page,
}

#[derive(Clone)]
struct Parts {
    services: Services,
    host: Host,
    disturb: Disturb,
    record: Record,
}

async fn accept(listener: TcpListener, router: Router) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(connections.spawn(serve(stream, router.clone()))),
                // Probably out of file descriptors, which is temporary.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Serves one connection. On hyper rather than `axum::serve`, because a response that must be lost takes the connection
/// with it, which a router cannot ask for.
async fn serve(stream: TcpStream, router: Router) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        // In its own task: if the client hangs up, the request is still carried out, a delayed one too.
        let answer = tokio::spawn(router.clone().oneshot(request.map(Body::new)));
        async move {
            // Only a panic ends the task early.
            let Ok(Ok(response)) = answer.await else { return Err(HangUp) };
            if response.extensions().get::<HangUp>().is_some() { Err(HangUp) } else { Ok(response) }
        }
    });
    // An error concerns only the client: one of the two sides hung up.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// Marks a response that must not be sent: the connection closes instead.
#[derive(Clone, Copy, Debug)]
struct HangUp;

impl std::fmt::Display for HangUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the reply is lost on purpose")
    }
}

impl std::error::Error for HangUp {}

fn hang_up() -> Response {
    let mut response = Response::default();
    response.extensions_mut().insert(HangUp);
    response
}

/// Secrets Manager and Systems Manager by their `X-Amz-Target`, RDS and STS by their forms.
async fn query_or_json(State(parts): State<Parts>, headers: HeaderMap, body: Bytes) -> Response {
    let target = headers.get("x-amz-target").and_then(|value| value.to_str().ok());
    match target.and_then(|target| target.split_once('.')) {
        Some(("secretsmanager", operation)) => secrets_manager(&parts, &headers, operation, body).await,
        Some(("AmazonSSM", operation)) => parameters(&parts, &headers, operation, body).await,
        Some(("Logs_20140328", operation)) => logs(&parts, &headers, operation, body).await,
        None if target.is_none() => {
            let form = form(&body);
            match form.iter().find(|(name, _)| name == "Action").map(|(_, action)| action.as_str()) {
                Some("GetCallerIdentity") => caller_identity(),
                Some(action) => relational_databases(&parts, &headers, action, &form).await,
                None => unknown_operation().await,
            }
        }
        _ => unknown_operation().await,
    }
}

/// The fields of an `application/x-www-form-urlencoded` body.
fn form(body: &[u8]) -> Vec<(String, String)> {
    let query = format!("http://form/?{}", String::from_utf8_lossy(body));
    let parsed = reqwest::Url::parse(&query);
    parsed.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}

async fn secrets_manager(parts: &Parts, headers: &HeaderMap, operation: &str, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    let label = request.get("VersionStage").and_then(Value::as_str);
    let call = Call { service: "secretsmanager", operation, label, refuse: &refuse_json };
    let service = &parts.services.secrets;
    let act = async |consistency| Answered::json(&service.call(operation, &body, consistency).await);
    disturbed(parts, headers, call, act).await
}

async fn parameters(parts: &Parts, headers: &HeaderMap, operation: &str, body: Bytes) -> Response {
    let call = Call { service: "ssm", operation, label: None, refuse: &refuse_json };
    let act = async |_| Answered::json(&parts.services.parameters.call(operation, &body));
    disturbed(parts, headers, call, act).await
}

async fn logs(parts: &Parts, headers: &HeaderMap, operation: &str, body: Bytes) -> Response {
    let call = Call { service: "logs", operation, label: None, refuse: &refuse_json };
    let act = async |_| Answered::json(&parts.services.logs.call(operation, &body));
    disturbed(parts, headers, call, act).await
}

/// The page for people.
async fn index(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    page::index(&parts.services.page, &parts.host, &headers).await
}

async fn relational_databases(parts: &Parts, headers: &HeaderMap, action: &str, form: &[(String, String)]) -> Response {
    let call = Call { service: "rds", operation: action, label: None, refuse: &refuse_xml };
    let act = async |_| {
        // AWS first refuses a signature for another service. The lab checks nothing else of a signature.
        let signed = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let answer = if signed.contains("/rds/aws4_request") {
            parts.services.rds.call(form)
        } else {
            rds::Answer::failure(403, "SignatureDoesNotMatch", "The request is not signed for this service.")
        };
        Answered::xml(answer)
    };
    disturbed(parts, headers, call, act).await
}

/// A call of a service.
struct Call<'a> {
    service: &'static str,
    operation: &'a str,
    /// The label that the call names, on which IAM can make it depend (`secretsmanager:VersionStage`).
    label: Option<&'a str>,
    /// What the service answers with a fault: status, error and message.
    refuse: &'a (dyn Fn(u16, &str) -> Answered + Sync),
}

/// What a service answers, and the error's name if the answer is an error.
struct Answered {
    response: Response,
    error: Option<String>,
}

impl Answered {
    fn json(reply: &Reply) -> Self {
        Self { response: json_1_1(reply), error: reply.error_type.clone() }
    }

    fn xml(answer: rds::Answer) -> Self {
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        set(&mut response, "content-type", "text/xml");
        set(&mut response, "x-amzn-requestid", &uuid::Uuid::new_v4().to_string());
        Self { response, error: answer.error }
    }
}

/// The answer to a fault in JSON; a throttle has status 400 in both protocols.
fn refuse_json(status: u16, kind: &str) -> Answered {
    Answered::json(&Reply { status, ..Reply::failure(kind, message_of(status)) })
}

fn refuse_xml(status: u16, kind: &str) -> Answered {
    // The query protocol's names for the same.
    let code = match kind {
        "ThrottlingException" => "Throttling",
        "AccessDeniedException" => "AccessDenied",
        "InternalServiceError" => "InternalFailure",
        other => other,
    };
    Answered::xml(rds::Answer::failure(status, code, message_of(status)))
}

fn message_of(status: u16) -> &'static str {
    match status {
        400 => "Rate exceeded",
        403 => "The caller is not authorized to perform this operation.",
        _ => "An error occurred on the server side.",
    }
}

/// A call under the rules, if it is a function's. Only such calls are counted, disturbed and recorded.
async fn disturbed<F: Future<Output = Answered>>(
    parts: &Parts,
    headers: &HeaderMap,
    call: Call<'_>,
    act: impl FnOnce(Consistency) -> F,
) -> Response {
    let Some(caller) = access_key(headers).filter(|key| key.starts_with(ACCESS_KEY_PREFIX)) else {
        return act(Consistency::Strong).await.response;
    };
    if let Some(function) = parts.host.function_of(caller) {
        parts.record.call(&function, call.service, call.operation, call.label);
    }
    let ticket = parts.disturb.begin(call.operation, None);
    tokio::time::sleep(ticket.latency).await;
    let refused = |status, kind: &str| {
        let refused = (call.refuse)(status, kind);
        if let Some(error) = &refused.error {
            ticket.error(error);
        }
        refused.response
    };
    let mut consistency = Consistency::Strong;
    match ticket.fault {
        Some(Fault::KillBefore) => {
            parts.disturb.kill(Some(caller.to_owned())).await;
            return hang_up();
        }
        Some(Fault::Throttle) => return refused(400, "ThrottlingException"),
        Some(Fault::Fail(status @ 403)) => return refused(status, "AccessDeniedException"),
        Some(Fault::Fail(status @ 503)) => return refused(status, "ServiceUnavailable"),
        Some(Fault::Fail(status)) => return refused(status, "InternalServiceError"),
        Some(Fault::Delay(_) | Fault::Hold) => ticket.wait().await,
        Some(Fault::StaleRead) => consistency = Consistency::Stale,
        Some(Fault::KillAfter | Fault::LoseReply) | None => {}
    }
    let answered = act(consistency).await;
    if let Some(error) = &answered.error {
        ticket.error(error);
    }
    match ticket.fault {
        Some(Fault::KillAfter) => parts.disturb.kill(Some(caller.to_owned())).await,
        Some(Fault::LoseReply) => {}
        _ => return answered.response,
    }
    hang_up()
}

fn json_1_1(reply: &Reply) -> Response {
    let mut response = Response::new(Body::from(reply.bytes()));
    *response.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    set(&mut response, "content-type", "application/x-amz-json-1.1");
    set(&mut response, "x-amzn-requestid", &uuid::Uuid::new_v4().to_string());
    if let Some(kind) = &reply.error_type {
        set(&mut response, "x-amzn-errortype", kind);
    }
    response
}

/// The access key id in a Signature Version 4 `Authorization` header.
fn access_key(headers: &HeaderMap) -> Option<&str> {
    let authorization = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    authorization.split_once("Credential=")?.1.split('/').next()
}

/// Lambda's [GetFunction](https://docs.aws.amazon.com/lambda/latest/api/API_GetFunction.html), but for the code and the
/// environment, which holds the lab's own settings.
async fn get_function(State(parts): State<Parts>, Path(function): Path<String>) -> Response {
    match parts.host.find(&function) {
        Ok(function) => Json(json!({ "Configuration": {
            "FunctionName": function.name, "FunctionArn": function.arn(), "Version": "$LATEST", "State": "Active",
            "Runtime": "provided.al2023", "Handler": function.handler(), "PackageType": "Zip",
            "MemorySize": function.memory_mb, "Timeout": function.timeout.as_secs(),
        } }))
        .into_response(),
        Err(unknown) => lambda_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &unknown.to_string()),
    }
}

#[derive(Deserialize)]
struct Qualifier {
    #[serde(rename = "Qualifier")]
    qualifier: Option<String>,
}

/// Lambda's [Invoke](https://docs.aws.amazon.com/lambda/latest/api/API_Invoke.html).
async fn invoke(
    State(parts): State<Parts>,
    Path(function): Path<String>,
    Query(Qualifier { qualifier }): Query<Qualifier>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if qualifier.is_some_and(|qualifier| qualifier != "$LATEST") || !parts.host.knows(&function) {
        let message = format!("Function not found: {function}");
        return lambda_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &message);
    }
    let payload = if body.is_empty() { b"{}".to_vec() } else { body.to_vec() };
    if payload.len() > PAYLOAD_LIMIT {
        let message = format!("Request must be smaller than {PAYLOAD_LIMIT} bytes for the InvokeFunction operation");
        return lambda_error(StatusCode::PAYLOAD_TOO_LARGE, "RequestTooLargeException", &message);
    }
    if serde_json::from_slice::<Value>(&payload).is_err() {
        let message = "Could not parse request body into json";
        return lambda_error(StatusCode::BAD_REQUEST, "InvalidRequestContentException", message);
    }
    match text("x-amz-invocation-type").unwrap_or("RequestResponse") {
        "DryRun" => StatusCode::NO_CONTENT.into_response(),
        "Event" => {
            tokio::spawn(async move { parts.host.invoke(&function, payload).await });
            StatusCode::ACCEPTED.into_response()
        }
        "RequestResponse" => match parts.host.invoke(&function, payload).await {
            Ok(outcome) => invoked(outcome, text("x-amz-log-type") == Some("Tail")),
            Err(unknown) => lambda_error(StatusCode::NOT_FOUND, "ResourceNotFoundException", &unknown.to_string()),
        },
        other => {
            let message = format!("InvocationType {other:?} is none of RequestResponse, Event, DryRun");
            lambda_error(StatusCode::BAD_REQUEST, "InvalidParameterValueException", &message)
        }
    }
}

/// How much of the log `LogType=Tail` answers with (API reference, Invoke: "last 4 KB").
const TAIL: usize = 4096;

fn invoked(outcome: Outcome, tail: bool) -> Response {
    let mut response = Response::new(Body::from(outcome.payload));
    set(&mut response, "content-type", "application/json");
    set(&mut response, "x-amzn-requestid", &outcome.request_id);
    set(&mut response, "x-amz-executed-version", "$LATEST");
    if let Some(error) = &outcome.function_error {
        set(&mut response, "x-amz-function-error", error);
    }
    if tail {
        let last = outcome.log.get(outcome.log.len().saturating_sub(TAIL)..).unwrap_or_default();
        set(&mut response, "x-amz-log-result", &BASE64_STANDARD.encode(last));
    }
    response
}

fn lambda_error(status: StatusCode, kind: &str, message: &str) -> Response {
    let mut response = (status, Json(json!({ "Type": "User", "Message": message }))).into_response();
    set(&mut response, "x-amzn-errortype", kind);
    set(&mut response, "x-amzn-requestid", &uuid::Uuid::new_v4().to_string());
    response
}

fn caller_identity() -> Response {
    let id = uuid::Uuid::new_v4();
    let body = format!(
        "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><GetCallerIdentityResult>\
         <Arn>arn:aws:iam::{ACCOUNT}:user/lab</Arn><UserId>AIDALOCKSTEPLAB000000</UserId><Account>{ACCOUNT}</Account>\
         </GetCallerIdentityResult><ResponseMetadata><RequestId>{id}</RequestId></ResponseMetadata></GetCallerIdentityResponse>"
    );
    ([(header::CONTENT_TYPE, "text/xml")], body).into_response()
}

async fn unknown_operation() -> Response {
    let message = "The lab serves Secrets Manager, Lambda's Invoke and GetFunction, RDS's DescribeDBInstances and DescribeDBClusters, \
                   Systems Manager's GetParameter, CloudWatch Logs' FilterLogEvents and STS's GetCallerIdentity.";
    json_1_1(&Reply { status: 404, ..Reply::failure("UnknownOperationException", message) })
}

fn set(response: &mut Response, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        response.headers_mut().insert(name, value);
    }
}
