//! Elasticsearch: keys with role descriptors, which are invalidated by a DELETE with a body.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, random};
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

#[derive(Clone)]
struct Elasticsearch {
    keys: Keys,
    /// The ids of invalidated keys, which Elasticsearch remembers for a day.
    invalidated: Arc<Mutex<Vec<String>>>,
    password: String,
}

fn roles() -> Value {
    json!({"logs": {"indices": [{"names": ["logs-*"], "privileges": ["read"]}]}})
}

impl Elasticsearch {
    fn new() -> Self {
        Self { keys: Keys::default(), invalidated: Arc::default(), password: random(20) }
    }

    fn admin(&self) -> Value {
        json!({"host": "es.example.com:9200", "username": "rotation", "password": self.password})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        let expected = json!({"name": name, "expiration": "5184000s", "role_descriptors": roles()});
        if name.is_empty() || body != expected {
            return error(400, "action_request_validation_exception");
        }
        let key = self.mint(name);
        let api_key = decoded(&key.secret).split_once(':').map(|(_, key)| key.to_owned());
        answer(200, json!({"id": key.id, "name": name, "expiration": 1, "api_key": api_key, "encoded": key.secret}))
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let Some(prefix) = query.get("name").and_then(|name| name.strip_suffix('*')) else {
            return error(400, "action_request_validation_exception");
        };
        if query.get("active_only").map(String::as_str) != Some("true") {
            return error(400, "illegal_argument_exception");
        }
        let named = self.keys.all().into_iter().filter(|key| key.name.starts_with(prefix));
        let shown =
            named.map(|key| json!({"id": key.id, "name": key.name, "invalidated": false, "username": "rotation"}));
        answer(200, json!({"api_keys": shown.collect::<Vec<_>>()}))
    }

    fn invalidate(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let id = body["ids"][0].as_str().unwrap_or_default().to_owned();
        if body != json!({"ids": [id]}) {
            return error(400, "action_request_validation_exception");
        }
        let mut invalidated = self.invalidated.lock().expect("no double panics with it");
        let (mut now, mut before) = (Vec::new(), Vec::new());
        if self.keys.remove(&id) {
            invalidated.push(id.clone());
            now.push(id);
        } else if invalidated.contains(&id) {
            before.push(id);
        }
        answer(200, json!({"invalidated_api_keys": now, "previously_invalidated_api_keys": before, "error_count": 0}))
    }

    fn authenticate(&self, call: &Call) -> Response {
        let key = call.header("authorization").and_then(|value| value.strip_prefix("ApiKey "));
        match self.keys.with_secret(key) {
            Some(key) => answer(
                200,
                json!({"username": "rotation", "authentication_type": "api_key", "api_key": {"id": key.id, "name": key.name}}),
            ),
            None => error(401, "security_exception"),
        }
    }
}

impl Double for Elasticsearch {
    fn answer(&self, call: &Call) -> Response {
        let is_admin = call.basic().is_some_and(|(user, password)| user == "rotation" && password == self.password);
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["_security", "_authenticate"]) => self.authenticate(call),
            _ if !is_admin => error(401, "security_exception"),
            ("POST", ["_security", "api_key"]) => self.create(call),
            ("GET", ["_security", "api_key"]) => self.list(call),
            ("DELETE", ["_security", "api_key"]) => self.invalidate(call),
            _ => error(404, "resource_not_found_exception"),
        }
    }
}

fn made(name: &str) -> Key {
    let id = random(20);
    let secret = BASE64_STANDARD.encode(format!("{id}:{}", random(22)));
    Key { id, name: name.to_owned(), secret, more: Value::Null }
}

fn decoded(text: &str) -> String {
    String::from_utf8(BASE64_STANDARD.decode(text).expect("base64")).expect("text")
}

fn error(status: u16, kind: &str) -> Response {
    answer(status, json!({"error": {"type": kind, "root_cause": [{"type": kind}]}, "status": status}))
}

fn lifecycle(double: &Elasticsearch) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    let written = json!({"apiKey": by_hand.secret, "apiKeyId": by_hand.id, "roleDescriptors": roles()});
    Lifecycle {
        issuer: "elasticsearch",
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written,
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_verified_and_invalidated() {
    let double = Elasticsearch::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_none(), "the API says whose it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_does_not_stay() {
    lifecycle(&Elasticsearch::new()).survives_a_lost_reply(30, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_was_invalidated_before_is_done_with() {
    let double = Elasticsearch::new();
    let Lifecycle { router, admin, by_hand, written, .. } = lifecycle(&double);
    let world = World::start("elasticsearch", router, admin).await;
    let secret = world.secret(written).await;
    secret.rotated().await;
    // In one form, and in the other.
    double.keys.remove(&by_hand.id);
    double.invalidated.lock().expect("no double panics with it").push(by_hand.id);
    for _ in 0..2 {
        let report = secret.rotated().await;
        let answers = report.steps.iter().filter_map(|step| step.result().ok());
        assert!(answers.into_iter().all(|answer| answer["warnings"].as_array().is_none_or(Vec::is_empty)));
        double.keys.remove(&secret.field("AWSPREVIOUS", "apiKeyId").await);
    }
}
