//! SendGrid: 100 keys and no more, full access unless scopes are named, and one new key every few seconds.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, random};
use axum::http::HeaderValue;
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// "There is a limit of 100 API Keys on your account."
const CAP: usize = 100;

/// Some of the scopes there are: what a key has that was made without any.
const FULL_ACCESS: [&str; 5] =
    ["api_keys.create", "api_keys.delete", "api_keys.read", "mail.send", "user.profile.update"];

#[derive(Clone)]
struct SendGrid {
    keys: Keys,
    admin: String,
    /// How long nobody can make a key after one was made.
    pause: Duration,
    last: Arc<Mutex<Option<Instant>>>,
}

impl SendGrid {
    fn new() -> Self {
        Self { keys: Keys::default(), admin: made("admin").secret, pause: Duration::ZERO, last: Arc::default() }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.admin})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn create(&self, call: &Call) -> Response {
        if self.is_too_soon() {
            return too_soon(self.pause);
        }
        let body = call.json().unwrap_or_default();
        let Some(name) = body["name"].as_str().filter(|name| !name.is_empty()) else {
            return error(400, Some("name"), "missing required argument");
        };
        let scopes = match body.get("scopes") {
            None | Some(Value::Null) => json!(FULL_ACCESS),
            Some(Value::Array(scopes)) if scopes.is_empty() => json!(FULL_ACCESS),
            Some(scopes) => scopes.clone(),
        };
        let known = |scope: &Value| FULL_ACCESS.iter().any(|known| scope == known);
        if !scopes.as_array().is_some_and(|scopes| scopes.iter().all(known)) {
            return error(400, Some("scopes"), "invalid or unassignable scopes were given");
        }
        if self.keys.all().len() >= CAP {
            return error(403, None, "maximum number of api keys reached");
        }
        let key = Key { more: scopes, ..made(name) };
        self.keys.add(key.clone());
        *self.last.lock().expect("no panics") = Some(Instant::now());
        answer(201, json!({"api_key": key.secret, "api_key_id": key.id, "name": key.name, "scopes": key.more}))
    }

    fn is_too_soon(&self) -> bool {
        let last = *self.last.lock().expect("no panics");
        last.is_some_and(|last| last.elapsed() < self.pause)
    }
}

impl Double for SendGrid {
    fn answer(&self, call: &Call) -> Response {
        let is_admin = call.bearer() == Some(self.admin.as_str());
        let key = self.keys.with_secret(call.bearer());
        let (method, path) = call.route();
        match (method, &path[..]) {
            _ if call.bearer().is_none() => error(401, None, "authorization required"),
            _ if !is_admin && key.is_none() => {
                error(401, None, "The provided authorization grant is invalid, expired, or revoked")
            }
            ("GET", ["v3", "scopes"]) => answer(200, json!({"scopes": key.map_or(json!(FULL_ACCESS), |key| key.more)})),
            // No key that is rotated here has the scopes for what follows.
            _ if !is_admin => error(403, None, "access forbidden"),
            ("GET", ["v3", "api_keys"]) => {
                let listed = |key: &Key| json!({"api_key_id": key.id, "name": key.name});
                answer(200, json!({"result": self.keys.all().iter().map(listed).collect::<Vec<_>>()}))
            }
            ("POST", ["v3", "api_keys"]) => self.create(call),
            ("DELETE", ["v3", "api_keys", id]) if self.keys.remove(id) => empty(204),
            _ => error(404, None, "not found"),
        }
    }
}

fn made(name: &str) -> Key {
    let id = random(22);
    let secret = format!("SG.{id}.{}", random(43));
    Key { id, name: name.to_owned(), secret, more: json!(["mail.send"]) }
}

fn error(status: u16, field: Option<&str>, message: &str) -> Response {
    answer(status, json!({"errors": [{"field": field, "message": message}]}))
}

/// There is no Retry-After, but a moment in seconds since the epoch.
fn too_soon(pause: Duration) -> Response {
    let mut response = error(429, None, "too many requests");
    let reset = (SystemTime::now() + pause).duration_since(UNIX_EPOCH).expect("now is after 1970").as_secs();
    response.headers_mut().insert("x-ratelimit-remaining", HeaderValue::from_static("0"));
    response.headers_mut().insert("x-ratelimit-reset", HeaderValue::from(reset));
    response
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.secret, "apiKeyId": key.id, "scopes": ["mail.send"]})
}

fn lifecycle(double: &SendGrid) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: "sendgrid",
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_verified_and_revoked() {
    let double = SendGrid::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_some(), "nothing proves that it is the function's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_does_not_stay() {
    lifecycle(&SendGrid::new()).survives_a_lost_reply(0, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_may_do_what_the_secret_says_and_no_more() {
    let double = SendGrid::new();
    let world = World::start("sendgrid", double.router(), double.admin()).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(written(&by_hand)).await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    let key = double.keys.with_secret(current["apiKey"].as_str()).expect("the current key lives");
    assert_eq!(key.more, json!(["mail.send"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_scopes_no_key_is_made() {
    for scopes in [None, Some(json!(null)), Some(json!([]))] {
        let double = SendGrid::new();
        let world = World::start("sendgrid", double.router(), double.admin()).await;
        let by_hand = double.mint("by hand");
        let mut value = json!({"apiKey": by_hand.secret, "apiKeyId": by_hand.id});
        if let Some(scopes) = scopes {
            value["scopes"] = scopes;
        }
        world.secret(value).await.refused().await;
        assert_eq!(double.keys.live(), [by_hand.id]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_cap_nothing_is_lost() {
    lifecycle(&SendGrid::new()).stops_at_the_limit(CAP, made, "key-limit-reached").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_comes_too_soon_after_another_is_waited_for() {
    let double = SendGrid { pause: Duration::from_secs(5), ..SendGrid::new() };
    let world = World::start("sendgrid", double.router(), double.admin()).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(written(&by_hand)).await;
    // As if somebody else had just made one.
    *double.last.lock().expect("no panics") = Some(Instant::now());
    secret.rotated().await;
    assert!(world.https.requests().iter().any(|request| request.ends_with(" 429")), "nobody was too soon");
    assert_eq!(double.keys.live().len(), 2);
}
