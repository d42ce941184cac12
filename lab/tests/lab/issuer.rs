//! The lab's issuer over HTTPS, as a client of it sees it: its rules, and each disturbance.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, header};
use axum::routing::{get, post};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use lab::Lab;
use lab::disturb::{Disturb, Fault};
use lab::issuer::{Https, Issuer, Options};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Longer than a few requests take on a busy machine.
const LAG: Duration = Duration::from_secs(5);

/// What no wait here may exceed.
const PATIENCE: Duration = Duration::from_secs(30);

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    fn error(&self) -> (u16, &str) {
        (self.status, self.body["error"].as_str().unwrap())
    }

    fn retry_after(&self) -> &str {
        self.headers[header::RETRY_AFTER].to_str().unwrap()
    }
}

async fn tls(server: &Https, name: &str, ca_pem: &str) -> io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca_pem.as_bytes()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(builder.with_root_certificates(roots).with_no_client_auth());
    let stream = TcpStream::connect(("127.0.0.1", server.port())).await?;
    TlsConnector::from(config).connect(ServerName::try_from(name.to_owned()).unwrap(), stream).await
}

async fn connect(server: &Https) -> SendRequest<Body> {
    let stream = tls(server, "localhost", server.ca_pem()).await.unwrap();
    let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(method: &str, path: &str, bearer: Option<&str>, body: Option<&Value>) -> Request<Body> {
    let mut request = Request::builder().method(method).uri(path).header(header::HOST, "localhost");
    if let Some(token) = bearer {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    match body {
        Some(body) => {
            request.header(header::CONTENT_TYPE, "application/json").body(Body::from(body.to_string())).unwrap()
        }
        None => request.body(Body::empty()).unwrap(),
    }
}

async fn send_on(connection: &mut SendRequest<Body>, request: Request<Body>) -> hyper::Result<Answer> {
    let (head, body) = connection.send_request(request).await?.into_parts();
    let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap();
    let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
    Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
}

async fn send(server: &Https, request: Request<Body>) -> hyper::Result<Answer> {
    send_on(&mut connect(server).await, request).await
}

/// `POST /things` counts; `GET /things` answers 200 and counts nothing.
struct Counter {
    server: Https,
    disturb: Disturb,
    things: Arc<AtomicUsize>,
}

impl Counter {
    fn start(disturb: &Disturb) -> Self {
        let things = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&things);
        let add = async move || {
            count.fetch_add(1, Ordering::SeqCst);
            "\"added\""
        };
        let router = Router::new().route("/things", post(add).get(async || "\"seen\""));
        Self { server: Https::start(router, disturb.clone()).unwrap(), disturb: disturb.clone(), things }
    }

    async fn add(&self) -> hyper::Result<Answer> {
        send(&self.server, request("POST", "/things", None, Some(&json!({ "thing": 1 })))).await
    }

    fn things(&self) -> usize {
        self.things.load(Ordering::SeqCst)
    }
}

/// An issuer and its server, and its API in short.
struct Served {
    issuer: Issuer,
    server: Https,
    disturb: Disturb,
}

impl Served {
    fn start(options: Options) -> Self {
        let (issuer, disturb) = (Issuer::new(options), Disturb::new());
        let server = Https::start(issuer.router(), disturb.clone()).unwrap();
        Self { issuer, server, disturb }
    }

    async fn admin(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        send(&self.server, request(method, path, Some(self.issuer.admin_token()), body)).await.unwrap()
    }

    async fn create(&self, name: &str) -> Answer {
        self.admin("POST", "/v1/keys", Some(&json!({ "name": name }))).await
    }

    /// The id and the secret of a new key.
    async fn created(&self, name: &str) -> (String, String) {
        let answer = self.create(name).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
        let text = |field: &str| answer.body[field].as_str().unwrap().to_owned();
        (text("id"), text("secret"))
    }

    async fn delete(&self, id: &str) -> Answer {
        self.admin("DELETE", &format!("/v1/keys/{id}"), None).await
    }

    /// Id and `active` of each key of a page.
    async fn page(&self, query: &str) -> (Vec<(String, bool)>, Option<String>) {
        let answer = self.admin("GET", &format!("/v1/keys{query}"), None).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
        let key = |key: &Value| (key["id"].as_str().unwrap().to_owned(), key["active"].as_bool().unwrap());
        let keys = answer.body["data"].as_array().unwrap().iter().map(key).collect();
        (keys, answer.body["next"].as_str().map(str::to_owned))
    }

    async fn whoami(&self, secret: &str) -> Answer {
        send(&self.server, request("GET", "/v1/whoami", Some(secret), None)).await.unwrap()
    }

    /// How long it takes until the key is answered with this status.
    async fn until(&self, secret: &str, status: u16) -> Duration {
        let began = Instant::now();
        while self.whoami(secret).await.status != status {
            assert!(began.elapsed() < PATIENCE, "never {status}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }

    fn live(&self) -> Vec<String> {
        self.issuer.live().into_iter().map(|key| key.id).collect()
    }
}

// The server.

#[tokio::test]
async fn its_certificate_is_for_name_and_address_and_of_a_ca_of_its_own() {
    let server = Counter::start(&Disturb::new()).server;
    for name in ["localhost", "127.0.0.1"] {
        tls(&server, name, server.ca_pem()).await.unwrap();
    }
    assert!(tls(&server, "example.com", server.ca_pem()).await.is_err());
    let other = Counter::start(&Disturb::new()).server;
    assert!(tls(&server, "localhost", other.ca_pem()).await.is_err());
    assert_eq!(server.url(), format!("https://localhost:{}", server.port()));
}

#[tokio::test]
async fn requests_are_recorded_whole() {
    let counter = Counter::start(&Disturb::new());
    counter.disturb.on_call(3, Fault::LoseReply);
    let mut connection = connect(&counter.server).await;
    let body = json!({ "thing": 1 });
    send_on(&mut connection, request("POST", "/things?a=b%20c", Some("token"), Some(&body))).await.unwrap();
    send_on(&mut connection, request("GET", "/nothing", None, None)).await.unwrap_or_else(|error| panic!("{error}"));
    assert!(send_on(&mut connection, request("GET", "/things", None, None)).await.is_err());
    assert_eq!(counter.server.requests(), ["POST /things?a=b%20c 200", "GET /nothing 404", "GET /things lost"]);
    let first = counter.server.record().remove(0);
    assert_eq!(first.headers[header::AUTHORIZATION], "Bearer token");
    assert_eq!(serde_json::from_slice::<Value>(&first.body).unwrap(), body);
    assert_eq!(format!("{first:?}"), "Recorded(POST /things?a=b%20c 200)", "without what is secret");
}

#[tokio::test]
async fn throttles_and_failures_are_answers_and_nothing_is_done() {
    let counter = Counter::start(&Disturb::new());
    counter.disturb.on_call(1, Fault::Throttle);
    counter.disturb.on_call(2, Fault::Fail(503));
    counter.disturb.on_call(3, Fault::Fail(500));
    let throttled = counter.add().await.unwrap();
    assert_eq!((throttled.error(), throttled.retry_after()), ((429, "rate_limited"), "1"));
    assert_eq!(counter.add().await.unwrap().error(), (503, "unavailable"));
    assert_eq!(counter.add().await.unwrap().error(), (500, "unavailable"));
    assert_eq!(counter.things(), 0);
    assert_eq!(counter.add().await.unwrap().status, 200);
    assert_eq!(counter.things(), 1);
    let errors: Vec<_> = counter.disturb.calls().into_iter().map(|call| call.error.unwrap_or_default()).collect();
    assert_eq!(errors, ["HTTP 429", "HTTP 503", "HTTP 500", ""]);
}

#[tokio::test]
async fn a_lost_reply_was_acted_on() {
    let counter = Counter::start(&Disturb::new());
    counter.disturb.on_next("issuer POST", Fault::LoseReply);
    let error = counter.add().await.err().unwrap();
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<io::Error>());
    assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::UnexpectedEof), "{error:?}");
    assert_eq!(counter.things(), 1);
    counter.add().await.unwrap();
}

#[tokio::test]
async fn a_rule_is_for_its_method() {
    let counter = Counter::start(&Disturb::new());
    counter.disturb.on_every("issuer GET", Fault::Fail(500));
    assert_eq!(counter.add().await.unwrap().status, 200);
    assert_eq!(send(&counter.server, request("GET", "/things", None, None)).await.unwrap().status, 500);
}

#[tokio::test]
async fn delay_and_latency_come_before_the_effect() {
    let counter = Counter::start(&Disturb::new());
    let wait = Duration::from_secs(3);
    counter.disturb.on_next("issuer POST", Fault::Delay(wait));
    let impatient = tokio::time::timeout(wait / 2, counter.add()).await;
    assert!(impatient.is_err(), "it was not delayed");
    assert_eq!(counter.things(), 0);
    // Nobody waits for it any more; it happens all the same.
    let carried_out = async {
        while counter.things() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, carried_out).await.expect("the delayed request is carried out");

    counter.disturb.restart();
    let wait = Duration::from_millis(400);
    counter.disturb.latency(wait);
    let began = Instant::now();
    counter.add().await.unwrap();
    assert!(began.elapsed() >= wait);
}

#[tokio::test]
async fn a_kill_ends_the_function_before_or_after_the_effect() {
    for (fault, things) in [(Fault::KillBefore, 0), (Fault::KillAfter, 1)] {
        let lab = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).start().await.unwrap();
        let counter = Counter::start(lab.disturb());
        lab.disturb().on_next("GetRandomPassword", Fault::Delay(PATIENCE));
        lab.disturb().on_next("issuer POST", fault);
        let call = json!({ "do": "call", "operations": ["GetRandomPassword"], "body": {} });
        let (outcome, answer) = tokio::join!(lab.invoke(&call), async {
            // Only what runs can be killed.
            while lab.calls().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            counter.add().await
        });
        let outcome: Value = serde_json::from_slice(&outcome.payload).unwrap();
        assert_eq!(outcome["errorType"], "Runtime.ExitError", "{fault:?}");
        assert!(answer.is_err(), "{fault:?}");
        assert_eq!(counter.things(), things, "{fault:?}");
    }
}

#[tokio::test]
async fn its_requests_and_secrets_managers_are_one_sequence() {
    let lab = Lab::builder(env!("CARGO_BIN_EXE_scripted-function")).start().await.unwrap();
    let counter = Counter::start(lab.disturb());
    let call = json!({ "do": "call", "operations": ["GetRandomPassword"], "body": {} });
    let mut connection = connect(&counter.server).await;
    lab.invoke(&call).await;
    for method in ["POST", "GET"] {
        send_on(&mut connection, request(method, "/things", None, None)).await.unwrap();
    }
    lab.invoke(&call).await;
    let calls: Vec<_> = lab.calls().into_iter().map(|call| (call.number, call.operation)).collect();
    let expected = ["GetRandomPassword", "issuer POST", "issuer GET", "GetRandomPassword"];
    assert_eq!(calls, expected.into_iter().enumerate().map(|(at, call)| (at + 1, call.to_owned())).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_leave_half_an_operation() {
    let done = Arc::new(AtomicUsize::new(0));
    let (count, begun) = (Arc::clone(&done), Arc::new(tokio::sync::Notify::new()));
    let begin = Arc::clone(&begun);
    let slow = async move || {
        begin.notify_one();
        tokio::time::sleep(Duration::from_millis(300)).await;
        count.fetch_add(1, Ordering::SeqCst);
    };
    let server = Https::start(Router::new().route("/", get(slow)), Disturb::new()).unwrap();
    tokio::select! {
        _ = send(&server, request("GET", "/", None, None)) => panic!("it was to be slow"),
        () = begun.notified() => {}
    }
    let began = Instant::now();
    while done.load(Ordering::SeqCst) == 0 {
        assert!(began.elapsed() < PATIENCE, "the operation was abandoned");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn it_ends_with_its_value() {
    let counter = Counter::start(&Disturb::new());
    let mut connection = connect(&counter.server).await;
    send_on(&mut connection, request("GET", "/things", None, None)).await.unwrap();
    let port = counter.server.port();
    drop(counter);
    let began = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
        assert!(began.elapsed() < PATIENCE, "the port is still served");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(send_on(&mut connection, request("GET", "/things", None, None)).await.is_err());
}

// The issuer.

#[tokio::test]
async fn a_key_is_created_recognised_listed_and_deleted() {
    let served = Served::start(Options::default());
    let created = served.create("app one").await;
    assert_eq!(created.status, 201);
    let text = |field: &str| created.body[field].as_str().unwrap();
    let (id, secret, created_at) = (text("id"), text("secret"), text("createdAt"));
    assert!(id.starts_with("key_") && secret.starts_with("lab_") && created_at.ends_with('Z'), "{}", created.body);
    let whoami = served.whoami(secret).await;
    assert_eq!((whoami.status, whoami.body), (200, json!({ "id": id, "name": "app one" })));

    let listed = served.admin("GET", "/v1/keys", None).await.body;
    let entry = json!({ "id": id, "name": "app one", "createdAt": created_at, "active": true });
    assert_eq!(listed, json!({ "data": [entry], "next": null }), "and no secret");

    let deleted = served.delete(id).await;
    assert_eq!((deleted.status, deleted.body), (204, Value::Null));
    assert_eq!(served.whoami(secret).await.error(), (401, "unauthorized"));
    assert_eq!(served.page("").await, (vec![], None));
    assert_eq!(served.delete(id).await.error(), (404, "not_found"));
}

#[tokio::test]
async fn only_the_admin_token_administers_and_only_a_key_is_somebody() {
    let served = Served::start(Options::default());
    let (id, secret) = served.issuer.mint("app");
    let ended = served.issuer.mint("ended");
    assert_eq!(served.delete(&ended.0).await.status, 204);
    let body = json!({ "name": "new" });
    for (method, path, body) in [
        ("POST", "/v1/keys".to_owned(), Some(&body)),
        ("GET", "/v1/keys".to_owned(), None),
        ("DELETE", format!("/v1/keys/{id}"), None),
    ] {
        for (token, error) in [
            (None, (401, "unauthorized")),
            (Some("nonsense"), (401, "unauthorized")),
            (Some(ended.1.as_str()), (401, "unauthorized")),
            (Some(secret.as_str()), (403, "forbidden")),
        ] {
            let answer = send(&served.server, request(method, &path, token, body)).await.unwrap();
            assert_eq!(answer.error(), error, "{method}");
        }
    }
    assert_eq!((served.live(), served.issuer.created()), (vec![id], 0));
    for token in [None, Some(served.issuer.admin_token())] {
        let answer = send(&served.server, request("GET", "/v1/whoami", token, None)).await.unwrap();
        assert_eq!(answer.error(), (401, "unauthorized"));
    }
}

#[tokio::test]
async fn a_wrong_request_is_told_what_is_wrong() {
    let served = Served::start(Options::default());
    let (longest, too_long) = ("n".repeat(64), "n".repeat(65));
    for (method, path, body, error) in [
        ("POST", "/v1/keys", Some(json!({})), (400, "invalid_body")),
        ("POST", "/v1/keys", Some(json!({ "name": 1 })), (400, "invalid_body")),
        ("POST", "/v1/keys", Some(json!({ "name": "a", "scope": "all" })), (400, "invalid_body")),
        ("POST", "/v1/keys", Some(json!({ "name": "" })), (400, "invalid_name")),
        ("POST", "/v1/keys", Some(json!({ "name": too_long })), (400, "invalid_name")),
        ("POST", "/v1/keys", None, (415, "unsupported_media_type")),
        ("GET", "/v1/keys?cursor=1", None, (400, "invalid_cursor")),
        ("GET", "/v1/keys?name=a", None, (400, "invalid_query")),
        ("PUT", "/v1/keys", None, (405, "method_not_allowed")),
        ("DELETE", "/v1/keys/key_unknown", None, (404, "not_found")),
        ("GET", "/v2/keys", None, (404, "not_found")),
    ] {
        assert_eq!(served.admin(method, path, body.as_ref()).await.error(), error, "{method} {path} {body:?}");
    }
    assert_eq!(served.issuer.created(), 0);
    assert_eq!(served.create(&longest).await.status, 201);
}

#[tokio::test]
async fn a_new_key_is_refused_until_it_has_spread() {
    let served = Served::start(Options { propagation: LAG, ..Options::default() });
    let began = Instant::now();
    let (id, secret) = served.created("app").await;
    assert_eq!(served.whoami(&secret).await.status, 401);
    assert!(!served.issuer.works(&secret));
    assert_eq!(served.live(), std::slice::from_ref(&id), "nobody has to do anything for it to work");
    assert_eq!(served.page("").await.0, [(id, true)]);
    served.until(&secret, 200).await;
    assert!(began.elapsed() >= LAG);
    assert!(served.issuer.works(&secret));
    assert!(served.issuer.works(&served.issuer.mint("by hand").1), "one made by hand does so at once");
}

#[tokio::test]
async fn a_deleted_key_works_on_for_a_while_and_is_listed_as_inactive() {
    let served = Served::start(Options { revocation_lag: LAG, ..Options::default() });
    let (id, secret) = served.created("app").await;
    let began = Instant::now();
    assert_eq!(served.delete(&id).await.status, 204);
    assert_eq!(served.whoami(&secret).await.status, 200);
    assert_eq!(served.page("").await.0, [(id.clone(), false)]);
    assert_eq!(served.delete(&id).await.status, 404);
    assert_eq!(served.live(), [id]);
    served.until(&secret, 401).await;
    assert!(began.elapsed() >= LAG);
    assert_eq!(served.page("").await.0, []);
    assert_eq!(served.live(), Vec::<String>::new());
}

#[tokio::test]
async fn the_cap_and_names_in_use_are_conflicts_with_a_code() {
    let served = Served::start(Options { max_keys: Some(2), unique_names: true, ..Options::default() });
    let (first, _) = served.created("one").await;
    assert_eq!(served.create("one").await.error(), (409, "name_taken"));
    served.issuer.mint("by hand");
    assert_eq!(served.create("two").await.error(), (409, "key_limit_reached"));
    served.delete(&first).await;
    served.created("one").await;
    assert_eq!(served.issuer.created(), 2);
}

#[tokio::test]
async fn beyond_the_rate_nothing_is_done() {
    let served = Served::start(Options { rate_limit: Some(1), ..Options::default() });
    let mut connection = connect(&served.server).await;
    let create = || {
        let body = json!({ "name": "app" });
        request("POST", "/v1/keys", Some(served.issuer.admin_token()), Some(&body))
    };
    assert_eq!(send_on(&mut connection, create()).await.unwrap().status, 201);
    let throttled = send_on(&mut connection, create()).await.unwrap();
    assert_eq!((throttled.error(), throttled.retry_after()), ((429, "rate_limited"), "1"));
    assert_eq!(served.issuer.created(), 1);
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(send_on(&mut connection, create()).await.unwrap().status, 201, "as Retry-After said");
}

#[tokio::test]
async fn a_slow_reply_comes_after_the_effect() {
    let served = Served::start(Options { latency: LAG, ..Options::default() });
    let began = Instant::now();
    tokio::select! {
        _ = served.create("app") => panic!("it was to be slow"),
        () = async { while served.issuer.created() == 0 { tokio::time::sleep(Duration::from_millis(10)).await } } => {}
    }
    assert!(began.elapsed() < LAG);
    let began = Instant::now();
    served.created("another").await;
    assert!(began.elapsed() >= LAG);
}

#[tokio::test]
async fn the_list_comes_in_pages_of_what_begins_with_the_prefix() {
    let served = Served::start(Options { page_size: 2, ..Options::default() });
    let ids: Vec<_> = ["a-1", "b-1", "a-2", "a-3"].iter().map(|name| served.issuer.mint(name).0).collect();
    let active = |ids: &[&String]| ids.iter().map(|id| ((*id).clone(), true)).collect::<Vec<_>>();
    let (first, next) = served.page("?prefix=a-").await;
    assert_eq!(first, active(&[&ids[0], &ids[2]]));
    let (second, end) = served.page(&format!("?prefix=a-&cursor={}", next.unwrap())).await;
    assert_eq!((second, end), (active(&[&ids[3]]), None));
    assert_eq!(served.page("?prefix=c").await, (vec![], None));
}

#[tokio::test]
async fn a_stale_read_misses_what_was_just_done() {
    let served = Served::start(Options::default());
    let (id, secret) = served.created("app").await;
    served.disturb.on_call(2, Fault::StaleRead);
    served.disturb.on_call(3, Fault::StaleRead);
    assert_eq!(served.page("").await.0, []);
    assert_eq!(served.whoami(&secret).await.status, 401);
    assert_eq!(served.page("").await.0, [(id.clone(), true)]);
    assert_eq!(served.whoami(&secret).await.status, 200);

    served.disturb.restart();
    served.disturb.on_next("issuer DELETE", Fault::StaleRead);
    assert_eq!(served.delete(&id).await.status, 204, "only reads are stale");
    served.disturb.on_next("issuer GET", Fault::StaleRead);
    assert_eq!(served.whoami(&secret).await.status, 200);
    assert_eq!(served.whoami(&secret).await.status, 401);
}

#[tokio::test]
async fn a_test_sees_what_was_done_and_its_own_looking_does_not_count() {
    let served = Served::start(Options::default());
    let (by_hand, secret) = served.issuer.mint("by hand");
    assert!(served.issuer.works(&secret) && !served.issuer.works("nonsense"));
    assert_eq!((served.issuer.created(), served.issuer.uses(), served.server.requests()), (0, vec![], vec![]));
    let (id, _) = served.created("app").await;
    assert_eq!(served.issuer.live().into_iter().map(|key| key.name).collect::<Vec<_>>(), ["by hand", "app"]);
    served.whoami(&secret).await;
    served.whoami("nonsense").await;
    served.delete(&by_hand).await;
    served.whoami(&secret).await;
    assert!(!served.issuer.works(&secret));
    assert_eq!((served.issuer.created(), served.issuer.revoked(), served.live()), (1, vec![by_hand.clone()], vec![id]));
    let uses: Vec<_> = served.issuer.uses().into_iter().map(|used| (used.id, used.accepted)).collect();
    assert_eq!(uses, [(Some(by_hand.clone()), true), (None, false), (Some(by_hand), false)]);
    assert_eq!(served.disturb.calls().len(), 5);
}

#[tokio::test]
async fn what_is_secret_is_not_shown() {
    let served = Served::start(Options::default());
    let (_, secret) = served.issuer.mint("app");
    served.whoami(&secret).await;
    let shown = format!("{:?} {:?} {:?}", served.issuer, served.server, served.server.record());
    assert!(shown.contains("/v1/whoami") && !shown.contains(&secret), "{shown}");
    assert!(!shown.contains(served.issuer.admin_token()), "{shown}");
}
