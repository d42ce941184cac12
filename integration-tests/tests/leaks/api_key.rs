//! The promise "never prints one": rotations that succeed and rotations that fail in every way, with all logged that can be,
//! against an issuer that quotes what it was sent; and nothing that the function puts out holds a key, the admin's credential,
//! a token, or a body.

use super::search::Secrets;
use super::wiretap::Wiretap;
use crate::api_key::support::{described, id};
use axum::Json;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use integration_tests::issuer::{Secret, World};
use integration_tests::merged;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use lab::lambda::StepEvent;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::TryRecvError;

/// How the admin signs in: with a token that never changes, or with one that it is given for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Admin {
    Bearer,
    OAuth2,
}

impl Admin {
    fn description(self) -> String {
        let oauth2 = "  admin: {oauth2: {token: /oauth/token, clientId: \"{{admin.clientId}}\", clientSecret: \"{{admin.clientSecret}}\"}}\n";
        let slow = ("every: 1s, upTo: 30s", "every: 100ms, upTo: 300ms");
        match self {
            Self::Bearer => described(&[slow]),
            Self::OAuth2 => described(&[slow, ("  admin: {bearer: \"{{admin.token}}\"}\n", oauth2)]),
        }
    }
}

/// A method, a path, and the status to answer.
type Quoted = (Method, &'static str, u16);

/// What the issuer was sent and what it answered, and how it is to answer.
#[derive(Clone)]
struct Quoting {
    issuer: Issuer,
    /// Values that must not be printed, and what they are.
    known: Arc<Mutex<BTreeSet<(&'static str, String)>>>,
    tokens: Arc<Mutex<BTreeSet<String>>>,
    /// Requests of this method to this path are answered with this status, and all that came with them.
    quotes: Arc<Mutex<Option<Quoted>>>,
}

impl Quoting {
    fn learn(&self, what: &'static str, value: &str) {
        if value.len() >= 12 {
            self.known.lock().expect("nobody panicked").insert((what, value.to_owned()));
        }
    }

    async fn answer(self, request: Request, next: Next) -> Response {
        let (mut head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("the body arrives");
        let sent = head.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let credential = sent.split_once(' ').map(|(_, credential)| credential.to_owned()).unwrap_or_default();
        self.learn("a credential in a header", &credential);
        let quotes = self.quotes.lock().expect("nobody panicked").clone();
        if let Some((_, _, status)) =
            quotes.filter(|(method, path, _)| head.method == *method && head.uri.path().starts_with(path))
        {
            return quoted(status, &head.headers, &body);
        }
        if head.uri.path() == "/oauth/token" {
            return self.token(&credential);
        }
        if head.uri.path().starts_with("/v1/keys") && self.tokens.lock().expect("nobody panicked").contains(&credential)
        {
            let admin = format!("Bearer {}", self.issuer.admin_token());
            head.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&admin).expect("a header"));
        }
        let response = next.run(Request::from_parts(head, Body::from(body))).await;
        let (head, body) = response.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("a body");
        let secret =
            serde_json::from_slice::<Value>(&body).ok().and_then(|body| body["secret"].as_str().map(str::to_owned));
        self.learn("a new key", &secret.unwrap_or_default());
        Response::from_parts(head, Body::from(body))
    }

    fn token(&self, credential: &str) -> Response {
        let basic = BASE64_STANDARD.decode(credential).expect("base64");
        assert!(basic.starts_with(b"client-4711"), "the client's id comes first");
        let token = format!("access{}", integration_tests::uuid().replace('-', ""));
        self.learn("an access token", &token);
        self.tokens.lock().expect("nobody panicked").insert(token.clone());
        Json(json!({"access_token": token, "token_type": "Bearer", "expires_in": 60})).into_response()
    }
}

/// An answer that repeats what was asked, as error pages do.
fn quoted(status: u16, headers: &HeaderMap, body: &Bytes) -> Response {
    let sent = headers.get(header::AUTHORIZATION).cloned().unwrap_or(HeaderValue::from_static("nothing"));
    let text = format!("{sent:?} {}", String::from_utf8_lossy(sent.as_bytes()));
    let body = json!({"error": text, "createdAt": String::from_utf8_lossy(body), "message": text});
    let headers = [(header::WWW_AUTHENTICATE, sent.clone()), (header::LOCATION, sent)];
    (StatusCode::from_u16(status).expect("a status"), headers, Json(body)).into_response()
}

struct Bench {
    world: World,
    quoting: Quoting,
    tap: Wiretap,
    steps: Receiver<StepEvent>,
    tls_keys: std::path::PathBuf,
}

impl Bench {
    async fn start(admin: Admin, levels: &'static [(&'static str, &'static str)]) -> Self {
        let tap = Wiretap::start().await;
        let tls_keys = std::env::temp_dir().join(format!("lockstep-tls-keys-{}", integration_tests::uuid()));
        let issuer = Issuer::new(Options::default());
        let quoting =
            Quoting { issuer: issuer.clone(), known: Arc::default(), tokens: Arc::default(), quotes: Arc::default() };
        let client_secret = format!("clientsecret{}", integration_tests::uuid());
        quoting.learn("the client's secret", &client_secret);
        quoting.learn("the admin's token", issuer.admin_token());
        let fields = match admin {
            Admin::Bearer => json!({"token": issuer.admin_token()}),
            Admin::OAuth2 => json!({"clientId": "client-4711", "clientSecret": client_secret}),
        };
        let layer = quoting.clone();
        let router =
            issuer.router().layer(from_fn(move |request: Request, next: Next| layer.clone().answer(request, next)));
        let (url, keys) = (tap.url(), tls_keys.to_str().expect("text").to_owned());
        let settings = move |function: Builder| {
            let function = function.timeout(Duration::from_secs(12)).env("AWS_ENDPOINT_URL_SECRETS_MANAGER", url);
            let function = function.env("SSLKEYLOGFILE", keys).env("RUST_BACKTRACE", "full");
            levels.iter().fold(function, |function, (name, value)| function.env(name, *value))
        };
        let world = World::described(&admin.description(), router, fields, settings).await;
        tap.forward_to(&world.lab.url());
        let steps = world.lab.watch_steps();
        Self { world, quoting, tap, steps, tls_keys }
    }

    /// A secret with a key made by hand, and other fields.
    async fn secret(&self, change: Value) -> Secret<'_> {
        let (id, key) = self.quoting.issuer.mint("by hand");
        self.quoting.learn("a key made by hand", &key);
        self.world.secret(merged(json!({"apiKey": key, "apiKeyId": id}), change)).await
    }

    /// A random text that must not be printed.
    fn misplaced(&self) -> String {
        let text = format!("misplaced{}", integration_tests::uuid());
        self.quoting.learn("a misplaced value", &text);
        text
    }

    async fn rotations_succeed(&self) {
        let secret = self.secret(json!({})).await;
        for _ in 0..4 {
            secret.rotated().await;
        }
    }

    async fn the_issuer_quotes_what_it_is_sent(&self) {
        let places = [
            (Method::GET, "/v1/keys"),
            (Method::POST, "/v1/keys"),
            (Method::GET, "/v1/whoami"),
            (Method::DELETE, "/v1/keys"),
            (Method::POST, "/oauth/token"),
        ];
        for (method, path) in places {
            for status in [200, 201, 302, 400, 401, 403, 404, 409, 422] {
                let secret = self.secret(json!({"rotation": {"revokePreviousAfterHours": 0}})).await;
                *self.quoting.quotes.lock().expect("nobody panicked") = Some((method.clone(), path, status));
                secret.rotate().await;
                *self.quoting.quotes.lock().expect("nobody panicked") = None;
            }
        }
    }

    async fn the_issuer_fails(&self) {
        let secret = self.secret(json!({})).await;
        for (method, fault) in [
            ("POST", Fault::KillAfter),
            ("POST", Fault::LoseReply),
            ("POST", Fault::Fail(500)),
            ("GET", Fault::Throttle),
            ("GET", Fault::KillBefore),
            ("DELETE", Fault::Fail(403)),
        ] {
            self.world.lab.disturb().on_next(&format!("issuer {method}"), fault);
            secret.rotate().await;
            self.world.lab.disturb().restart();
            secret.rotate().await;
        }
        let operation = "PutSecretValue";
        self.world.lab.disturb().on_every(operation, Fault::Fail(500));
        secret.refused().await;
        self.world.lab.disturb().restart();
        secret.rotated().await;
        assert_ne!(id(&secret, "AWSCURRENT").await, id(&secret, "AWSPREVIOUS").await);
    }

    async fn secrets_are_malformed(&self) {
        let text = || self.misplaced();
        for change in [
            json!({"apiKey": [text()]}),
            json!({"apiKey": {"value": text()}}),
            json!({"apiKey": format!("{}\0{}", text(), text())}),
            json!({"apiKeyId": {"value": text()}}),
            json!({"rotation": {"value": text()}}),
            json!({"rotation": {"value": {"kind": text()}}}),
            json!({"rotation": {"journal": text()}}),
            json!({"rotation": {"journal": {"retire": [{"id": text(), "proof": [text()]}]}}}),
            json!({"rotation": {"journal": {"proof": {"a": text()}}}}),
            json!({"rotation": {"revokePreviousAfterHours": text()}}),
        ] {
            let text = change.to_string();
            let report = self.secret(change).await.rotate().await;
            assert!(!report.rotated(), "{text} is accepted");
        }
        // The admin replaces a key that is wrong, whatever it is.
        for wrong in [text(), format!("{}\r\nX-Injected: {}", text(), text())] {
            self.secret(json!({"apiKey": wrong})).await.rotated().await;
        }
        for broken in
            [text(), json!([text()]).to_string(), format!("{{\"issuer\": \"lab\", \"apiKey\": \"{}\"", text())]
        {
            self.world.secret_text(&broken).await.refused().await;
        }
        // The admin's secret can be just as wrong.
        let wrong = json!({"issuer": "lab", "token": [text()], "clientSecret": {"a": text()}});
        let of_another = json!({"issuer": text(), "token": text()});
        for admin in [text(), wrong.to_string(), of_another.to_string(), json!({"issuers": text()}).to_string()] {
            let arn = self.world.lab.create_secret(&integration_tests::uuid(), &admin).await.expect("it is created");
            self.secret(json!({"rotation": {"adminSecretArn": arn}})).await.refused().await;
        }
    }

    async fn events_are_wrong(&self) {
        let secret = self.secret(json!({})).await;
        let (token, rotation_token) = (secret.registered().await, self.misplaced());
        let event = json!({"SecretId": secret.arn, "ClientRequestToken": token, "Step": "createSecret",
            "RotationToken": rotation_token});
        for change in [json!({}), json!({"Step": null}), json!({"RotationToken": [self.misplaced()]})] {
            let outcome = self.world.lab.invoke(&merged(event.clone(), change)).await;
            self.judge_text("an event's answer", &String::from_utf8_lossy(&outcome.payload));
            assert!(outcome.result().is_err());
        }
    }

    fn secrets(&self) -> Secrets {
        let mut secrets = Secrets::default();
        for (what, value) in &*self.quoting.known.lock().expect("nobody panicked") {
            secrets.add(what, value);
        }
        for token in self.tap.rotation_tokens() {
            secrets.add("the service's RotationToken", &token);
        }
        secrets
    }

    fn judge_text(&self, place: &str, text: &str) {
        let found = self.secrets().found_in(text).into_iter().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(found, [""; 0], "in {place}");
    }

    fn judge(mut self) {
        let mut texts = vec![("the output".to_owned(), self.world.lab.function_output())];
        loop {
            match self.steps.try_recv() {
                Ok(StepEvent::Ended(report)) => {
                    let (answer, log) = (&report.outcome.payload, &report.outcome.log);
                    texts.push((report.step.clone(), String::from_utf8_lossy(answer).into_owned()));
                    texts.push((format!("{}'s log", report.step), String::from_utf8_lossy(log).into_owned()));
                }
                // What was said before stands in the output, too: each error is logged.
                Ok(StepEvent::Started { .. }) | Err(TryRecvError::Lagged(_)) => {}
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let secrets = self.secrets();
        assert!(secrets.len() > 100 && texts.len() > 40, "{} secrets, {} texts", secrets.len(), texts.len());
        assert!(self.tap.rotation_tokens().len() > 20, "the wiretap heard too few tokens");
        for (place, text) in &texts {
            let found = secrets.found_in(text);
            assert!(found.is_empty(), "{found:?} in {place}");
            // Members of bodies that no line of ours has.
            for word in ["createdAt", "access_token", "X-Injected", "panicked at", "[internal]", "Bearer "] {
                assert!(!text.contains(word), "{word} in {place}");
            }
        }
        assert!(!self.tls_keys.exists(), "the keys of TLS connections were written to a file");
        // The search finds what is there: the ids of keys are in warnings, and no secrets.
        let (_, output) = &texts[0];
        assert!(output.contains("key_") && output.contains("answer-unexpected"), "the output is not the function's");
        let shown = format!("{output} {}", self.quoting.issuer.admin_token());
        assert!(!secrets.found_in(&shown).is_empty(), "the search does not find what is there");
    }
}

const EVERYTHING: &[(&str, &str)] = &[("RUST_LOG", "trace"), ("LOG_LEVEL", "trace"), ("AWS_LAMBDA_LOG_LEVEL", "TRACE")];

const DEPENDENCIES: &[(&str, &str)] = &[
    ("RUST_LOG", "trace,hyper=trace,rustls=trace,aws=trace,aws_smithy_runtime=trace,lambda_runtime=trace"),
    ("AWS_LAMBDA_LOG_FORMAT", "JSON"),
];

async fn no_output_holds_a_secret(admin: Admin, levels: &'static [(&'static str, &'static str)]) {
    let bench = Bench::start(admin, levels).await;
    bench.rotations_succeed().await;
    bench.the_issuer_quotes_what_it_is_sent().await;
    bench.the_issuer_fails().await;
    bench.secrets_are_malformed().await;
    bench.events_are_wrong().await;
    bench.judge();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_when_all_is_logged() {
    no_output_holds_a_secret(Admin::Bearer, EVERYTHING).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_printed_where_tokens_are_fetched() {
    no_output_holds_a_secret(Admin::OAuth2, DEPENDENCIES).await;
}
