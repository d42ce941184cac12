//! Grafana: a name is taken once in an organization, and where anonymous access is on a dead token can look alive.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const ACCOUNT: &str = "2";

#[derive(Clone)]
struct Grafana {
    keys: Keys,
    admin: String,
    last_id: Arc<AtomicU64>,
    /// Whether new tokens do not work, for whatever reason. Nobody sees that at /api/org: anonymous access is on.
    makes_dead_tokens: bool,
}

impl Grafana {
    fn new() -> Self {
        Self {
            keys: Keys::default(),
            admin: format!("glsa_{}", random(32)),
            last_id: Arc::default(),
            makes_dead_tokens: false,
        }
    }

    fn admin(&self) -> Value {
        json!({"host": "example.grafana.net", "apiKey": self.admin})
    }

    fn made(&self, name: &str) -> Key {
        let id = self.last_id.fetch_add(1, Ordering::SeqCst) + 1;
        let secret = format!("glsa_{}_{}", random(32), random(8));
        Key { id: id.to_string(), name: name.to_owned(), secret, more: Value::Null }
    }

    fn mint(&self, name: &str) -> Key {
        let key = self.made(name);
        self.keys.add(key.clone());
        key
    }

    fn list(&self) -> Response {
        let shown = |key: &Key| {
            json!({"id": number(key), "name": key.name, "created": "2022-03-23T10:31:02Z", "lastUsedAt": null,
                "expiration": null, "secondsUntilExpiration": 0, "hasExpired": false, "isRevoked": false})
        };
        answer(200, self.keys.all().iter().map(shown).collect())
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        let seconds = body["secondsToLive"].as_i64();
        if name.is_empty() || seconds.is_none() || body != json!({"name": name, "secondsToLive": seconds}) {
            return error(400, "", "Bad request data");
        }
        if seconds < Some(0) {
            return error(400, "serviceaccounts.ErrInvalidInput", "invalid SecondsToLive value");
        }
        if self.keys.all().iter().any(|key| key.name == name) {
            let message = "service account token with given name already exists in the organization";
            return error(400, "serviceaccounts.ErrTokenAlreadyExists", message);
        }
        let mut key = self.made(name);
        let answered = answer(200, json!({"id": number(&key), "name": name, "key": key.secret}));
        if self.makes_dead_tokens {
            key.secret = random(40);
        }
        self.keys.add(key);
        answered
    }

    /// "Signed in, and not as anonymous."
    fn user(&self, call: &Call) -> Response {
        if self.keys.with_secret(call.bearer()).is_none() {
            return error(401, "api-key.invalid", "Invalid API key");
        }
        let uid = format!("service-account:{ACCOUNT}");
        answer(200, json!({"id": 0, "uid": uid, "email": "", "name": "example", "login": "sa-1-example", "orgId": 1}))
    }
}

impl Double for Grafana {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["api", "user"]) => self.user(call),
            // Whoever is not let in with a token is let in as anonymous.
            ("GET", ["api", "org"]) => answer(200, json!({"id": 1, "name": "Main Org."})),
            _ if call.bearer() != Some(self.admin.as_str()) => error(401, "api-key.invalid", "Invalid API key"),
            ("GET", ["api", "serviceaccounts", ACCOUNT, "tokens"]) => self.list(),
            ("POST", ["api", "serviceaccounts", ACCOUNT, "tokens"]) => self.create(call),
            ("DELETE", ["api", "serviceaccounts", ACCOUNT, "tokens", id]) if self.keys.remove(id) => {
                answer(200, json!({"message": "Service account token deleted"}))
            }
            ("DELETE", ["api", "serviceaccounts", ACCOUNT, "tokens", _]) => {
                error(404, "serviceaccounts.ErrTokenNotFound", "service account token not found")
            }
            _ => error(404, "serviceaccounts.ErrNotFound", "service account not found"),
        }
    }
}

fn number(key: &Key) -> u64 {
    key.id.parse().expect("ids are numbers")
}

fn error(status: u16, id: &str, message: &str) -> Response {
    answer(status, json!({"message": message, "messageId": id, "statusCode": status, "traceID": ""}))
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.secret, "apiKeyId": key.id, "serviceAccountId": 2})
}

fn lifecycle(double: &Grafana) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: "grafana",
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_verified_and_revoked() {
    let double = Grafana::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_some(), "nothing proves that it is the function's");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_name_of_a_token_whose_reply_was_lost_is_not_in_the_way() {
    let double = Grafana::new();
    lifecycle(&double).survives_a_lost_reply(30, |name| double.made(name), None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_does_not_work_is_not_promoted_because_anybody_may_look() {
    let double = Grafana { makes_dead_tokens: true, ..Grafana::new() };
    let by_hand = double.mint("by hand");
    let world = World::start("grafana", double.router(), double.admin()).await;
    let secret = world.secret(written(&by_hand)).await;
    assert_eq!(secret.refused().await.error_type, "pending-rejected");
    assert_eq!(secret.at("AWSCURRENT").await["apiKey"], by_hand.secret);
    assert!(double.keys.with_id(&by_hand.id).is_some());
}
