//! Gitea and Forgejo: tokens that only a password can make, under names that are used once.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, page, random};
use axum::response::Response;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const USER: &str = "app";

#[derive(Clone)]
struct Gitea {
    keys: Keys,
    password: String,
    last_id: Arc<AtomicU64>,
}

impl Gitea {
    fn new() -> Self {
        Self { keys: Keys::default(), password: random(20), last_id: Arc::default() }
    }

    fn made(&self, name: &str) -> Key {
        let id = self.last_id.fetch_add(1, Ordering::SeqCst) + 1;
        Key { id: id.to_string(), name: name.to_owned(), secret: random(40), more: Value::Null }
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let number = |name: &str, default| query.get(name).map_or(Ok(default), |text| text.parse::<usize>());
        let (Ok(size @ 1..=50), Ok(number @ 1..)) = (number("limit", 30), number("page", 1)) else {
            return answer(422, json!({"message": "bad page"}));
        };
        answer(200, page(&self.keys.all(), (number - 1) * size, size).iter().map(shown).collect())
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        if name.is_empty() || body != json!({"name": name, "scopes": ["read:repository", "read:user"]}) {
            return answer(400, json!({"message": "access token must have a scope"}));
        }
        if self.keys.all().iter().any(|key| key.name == name) {
            return answer(400, json!({"message": "access token name has been used already"}));
        }
        let key = self.made(name);
        self.keys.add(key.clone());
        let mut whole = shown(&key);
        whole["sha1"] = json!(key.secret);
        answer(201, whole)
    }
}

impl Double for Gitea {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        let ["api", "v1", path @ ..] = &path[..] else { return empty(404) };
        let token = call.header("authorization").and_then(|value| value.strip_prefix("token "));
        let by_password = call.basic() == Some((USER.to_owned(), self.password.clone()));
        match (method, path) {
            ("GET", ["user"]) => match self.keys.with_secret(token) {
                Some(_) => answer(200, json!({"id": 7, "login": USER})),
                None => answer(401, json!({"message": "invalid username, password or token"})),
            },
            // "auth required": a token does not do.
            _ if !by_password => answer(401, json!({"message": "auth required"})),
            ("GET", ["users", USER, "tokens"]) => self.list(call),
            ("POST", ["users", USER, "tokens"]) => self.create(call),
            ("DELETE", ["users", USER, "tokens", id]) if self.keys.remove(id) => empty(204),
            _ => empty(404),
        }
    }
}

fn shown(key: &Key) -> Value {
    let id: u64 = key.id.parse().expect("ids are numbers");
    json!({"id": id, "name": key.name, "sha1": "", "token_last_eight": &key.secret[32..], "scopes": ["read:repository", "read:user"]})
}

fn lifecycle(double: &Gitea) -> Lifecycle<'_> {
    let by_hand = double.made("by hand");
    double.keys.add(by_hand.clone());
    let id: u64 = by_hand.id.parse().expect("ids are numbers");
    let written = json!({"apiKey": by_hand.secret, "apiKeyId": id.to_string(), "username": USER,
        "scopes": ["read:repository", "read:user"]});
    let admin = json!({"host": "git.example.com", "username": USER, "password": double.password});
    Lifecycle { issuer: "gitea", id: "apiKeyId", router: double.router(), admin, keys: &double.keys, written, by_hand }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_verified_and_deleted() {
    lifecycle(&Gitea::new()).runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_reply_was_lost_is_found_on_a_later_page() {
    let double = Gitea::new();
    lifecycle(&double).survives_a_lost_reply(120, |name| double.made(name), None).await;
}
