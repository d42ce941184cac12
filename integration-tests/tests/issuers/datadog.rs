//! Datadog: an organization has at most 50 API keys, and managing them takes two credentials.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};

/// "At most 50 API keys", unless support raises it.
const CAP: usize = 50;

#[derive(Clone)]
struct Datadog {
    keys: Keys,
    api_key: String,
    application_key: String,
}

impl Datadog {
    fn new() -> Self {
        Self { keys: Keys::default(), api_key: random(32), application_key: random(40) }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.api_key, "applicationKey": self.application_key})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn is_admin(&self, call: &Call) -> bool {
        call.header("dd-api-key") == Some(self.api_key.as_str())
            && call.header("dd-application-key") == Some(self.application_key.as_str())
    }

    fn validate(&self, call: &Call) -> Response {
        match call.header("dd-api-key") {
            None => error(403, "API key required"),
            Some(key) if key == self.api_key || self.keys.with_secret(Some(key)).is_some() => {
                answer(200, json!({"valid": true}))
            }
            Some(_) => error(403, "Forbidden"),
        }
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let number = |name: &str, default| query.get(name).map_or(Ok(default), |text| text.parse::<usize>());
        let (Ok(size @ 1..=100), Ok(number)) = (number("page[size]", 10), number("page[number]", 0)) else {
            return error(400, "Bad Request");
        };
        let filter = query.get("filter").map(String::as_str).unwrap_or_default();
        let keys: Vec<_> = self.keys.all().into_iter().filter(|key| key.name.contains(filter)).collect();
        let data: Vec<_> = page(&keys, number * size, size).iter().map(|key| shown(key, false)).collect();
        let meta = json!({"page": {"total_filtered_count": keys.len()}, "max_allowed": CAP});
        answer(200, json!({"data": data, "meta": meta}))
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body.pointer("/data/attributes/name").and_then(Value::as_str).unwrap_or_default();
        if name.is_empty() || body != json!({"data": {"type": "api_keys", "attributes": {"name": name}}}) {
            return error(400, "Bad Request");
        }
        let keys = self.keys.all();
        // Neither answer is documented.
        if keys.iter().any(|key| key.name == name) || keys.len() >= CAP {
            return error(400, "Bad Request");
        }
        answer(201, json!({"data": shown(&self.mint(name), true)}))
    }
}

impl Double for Datadog {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["api", "v1", "validate"]) => self.validate(call),
            _ if !self.is_admin(call) => error(403, "Forbidden"),
            ("GET", ["api", "v2", "api_keys"]) => self.list(call),
            ("POST", ["api", "v2", "api_keys"]) => self.create(call),
            ("DELETE", ["api", "v2", "api_keys", id]) if self.keys.remove(id) => empty(204),
            _ => error(404, "API key not found"),
        }
    }
}

fn made(name: &str) -> Key {
    Key { id: integration_tests::uuid(), name: name.to_owned(), secret: random(32), more: Value::Null }
}

fn shown(key: &Key, whole: bool) -> Value {
    let mut attributes = json!({"name": key.name, "last4": key.secret[28..]});
    if whole {
        attributes["key"] = json!(key.secret);
    }
    json!({"type": "api_keys", "id": key.id, "attributes": attributes})
}

fn error(status: u16, message: &str) -> Response {
    answer(status, json!({"errors": [message]}))
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.secret, "apiKeyId": key.id, "site": "datadoghq.eu"})
}

fn lifecycle(double: &Datadog) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: "datadog",
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
    let double = Datadog::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    let current = lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_some(), "nothing proves that it is the function's");
    assert_eq!(current["site"], "datadoghq.eu");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_does_not_stay() {
    lifecycle(&Datadog::new()).survives_a_lost_reply(0, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_alone_manages_no_keys() {
    let double = Datadog::new();
    let admin = json!({"apiKey": double.api_key, "applicationKey": random(40)});
    let world = World::start("datadog", double.router(), admin).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(written(&by_hand)).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    assert_eq!(double.keys.live(), [by_hand.id]);
    assert_eq!(secret.at("AWSCURRENT").await["apiKey"], by_hand.secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_cap_nothing_is_lost() {
    lifecycle(&Datadog::new()).stops_at_the_limit(CAP, made, "issuer-refused").await;
}
