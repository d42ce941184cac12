//! Fastly: an automation token is made in sudo mode, which takes the password of a superuser.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// "If blank, sudo access expires five minutes after the request."
const SUDO: Duration = Duration::from_secs(300);

#[derive(Clone)]
struct Fastly {
    keys: Keys,
    user_token: String,
    password: String,
    sudo_until: Arc<Mutex<Option<Instant>>>,
    /// Acts on the next creation, and answers that it could not.
    loses_next: Arc<AtomicBool>,
    /// Whether the next deletion is answered 204.
    empty_answer: Arc<AtomicBool>,
}

impl Fastly {
    fn new() -> Self {
        let (sudo_until, loses_next, empty_answer) = Default::default();
        Self {
            keys: Keys::default(),
            user_token: random(32),
            password: random(20),
            sudo_until,
            loses_next,
            empty_answer,
        }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.user_token, "username": "rotation@example.com", "password": self.password})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn sudo(&self, call: &Call) -> Response {
        let form = call.form().unwrap_or_default();
        let fields: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        if fields != [("password", self.password.as_str()), ("username", "rotation@example.com")] {
            return error(403, "The supplied username/password combination is not correct.");
        }
        *self.sudo_until.lock().expect("no double panics with it") = Some(Instant::now() + SUDO);
        answer(200, json!({"expiry_time": "2026-01-01T00:05:00Z"}))
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let number = |name: &str, default| query.get(name).map_or(Ok(default), |text| text.parse::<usize>());
        let (Ok(size @ 1..=100), Ok(number @ 1..)) = (number("per_page", 20), number("page", 1)) else {
            return error(400, "Bad request");
        };
        let keys = self.keys.all();
        let data: Vec<_> = page(&keys, (number - 1) * size, size).iter().map(shown).collect();
        let meta = json!({"current_page": number, "per_page": size, "record_count": keys.len(), "total_pages": keys.len().div_ceil(size)});
        answer(200, json!({"data": data, "meta": meta}))
    }

    fn create(&self, call: &Call) -> Response {
        // Sudo mode is for one token here: a description must not count on somebody else's five minutes.
        let sudo = self.sudo_until.lock().expect("no double panics with it").take();
        if sudo.is_none_or(|until| until < Instant::now()) {
            return error(403, "You must be in sudo mode to create automation tokens");
        }
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        if name.is_empty()
            || body
                != json!({"name": name, "role": "engineer", "scope": "purge_select", "services": ["5NyZwPHXXwEDdWb8p9ZhAB"]})
        {
            return error(400, "Bad request");
        }
        let key = self.mint(name);
        if self.loses_next.swap(false, Ordering::SeqCst) {
            return error(503, "Service unavailable");
        }
        let mut made = shown(&key);
        made["access_token"] = json!(key.secret);
        answer(200, made)
    }
}

impl Double for Fastly {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["tokens", "self"]) => match self.keys.with_secret(call.header("fastly-key")) {
                Some(key) => answer(200, shown(&key)),
                // "A 403 for invalid access token."
                None => error(403, "Provided credentials are missing or invalid"),
            },
            _ if call.header("fastly-key") != Some(self.user_token.as_str()) => {
                error(403, "Provided credentials are missing or invalid")
            }
            ("POST", ["sudo"]) => self.sudo(call),
            ("GET", ["automation-tokens"]) => self.list(call),
            ("POST", ["automation-tokens"]) => self.create(call),
            // The reference has 200, recorded answers have 204.
            ("DELETE", ["automation-tokens", id]) if self.keys.remove(id) => {
                match self.empty_answer.fetch_not(Ordering::SeqCst) {
                    true => empty(204),
                    false => answer(200, json!({"status": "ok"})),
                }
            }
            _ => error(404, "Record not found"),
        }
    }
}

fn made(name: &str) -> Key {
    Key { id: random(22), name: name.to_owned(), secret: random(32), more: Value::Null }
}

fn shown(key: &Key) -> Value {
    json!({"id": key.id, "name": key.name, "role": "engineer", "scope": "purge_select", "services": ["5NyZwPHXXwEDdWb8p9ZhAB"],
        "customer_id": "x4xCwxxJxGCx123Rx5xTx", "created_at": "2026-01-01T00:00:00Z", "deleted_at": null, "expires_at": null})
}

fn error(status: u16, message: &str) -> Response {
    answer(status, json!({"msg": message}))
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.secret, "apiKeyId": key.id, "scope": "purge_select", "services": ["5NyZwPHXXwEDdWb8p9ZhAB"]})
}

fn lifecycle(double: &Fastly) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: "fastly",
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_in_sudo_mode_verified_and_revoked() {
    let double = Fastly::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_none(), "the API says whose it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_reply_was_lost_is_found_on_a_later_page() {
    let double = Fastly::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.survives_a_lost_reply(120, made, Some(&double.loses_next)).await;
    assert!(double.keys.with_id(&by_hand.id).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_password_nothing_is_made() {
    let double = Fastly::new();
    let mut admin = double.admin();
    admin["password"] = json!(random(20));
    let by_hand = double.mint("by hand");
    let world = World::start("fastly", double.router(), admin).await;
    let secret = world.secret(written(&by_hand)).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    assert_eq!(double.keys.live(), [by_hand.id]);
    assert_eq!(secret.at("AWSCURRENT").await["apiKey"], by_hand.secret);
}
