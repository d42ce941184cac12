//! MongoDB Atlas: a service account holds two secrets, all of them expire, and a new one cuts the life of the old to 7 days.

use super::support::{Call, Double, Key, Keys, answer, empty, kept, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const MEDIA: &str = "application/vnd.atlas.2024-08-05+json";

/// "A Service Account can hold at most two secrets, and expired secrets are not deleted automatically."
const CAP: usize = 2;

/// "Creating a new secret shortens the lifetime of every existing secret": to 7 days.
const OVERLAP: u64 = 7 * 24;

#[derive(Clone)]
struct Atlas {
    keys: Keys,
    /// How many hours each secret has left.
    hours: Arc<Mutex<BTreeMap<String, u64>>>,
    org: String,
    client: String,
    admin: (String, String),
    access_token: String,
    loses_next: Arc<AtomicBool>,
}

impl Atlas {
    fn new() -> Self {
        Self {
            keys: Keys::default(),
            hours: Arc::default(),
            org: random(24),
            // The specification allows capital digits, too.
            client: format!("mdb_sa_id_{}", random(24).to_uppercase()),
            admin: (format!("mdb_sa_id_{}", random(24)), format!("mdb_sa_sk_{}", random(40))),
            access_token: format!("eyJ.{}", random(40)),
            loses_next: Arc::default(),
        }
    }

    fn admin(&self) -> Value {
        json!({"clientId": self.admin.0, "clientSecret": self.admin.1})
    }

    fn mint(&self, hours: u64) -> Key {
        let key =
            Key { id: random(24), name: String::new(), secret: format!("mdb_sa_sk_{}", random(40)), more: Value::Null };
        let mut left = self.hours.lock().expect("no double panics with it");
        left.values_mut().for_each(|left| *left = OVERLAP.min(*left));
        left.insert(key.id.clone(), hours);
        self.keys.add(key.clone());
        key
    }

    fn written(&self, key: &Key) -> Value {
        json!({"orgId": self.org, "clientId": self.client, "clientSecret": key.secret, "clientSecretId": key.id,
            "expiresAfterHours": 720})
    }

    fn hours_left(&self, version: &Value) -> u64 {
        let id = version["clientSecretId"].as_str().expect("the version has an id");
        self.hours.lock().expect("no double panics with it")[id]
    }

    fn expire(&self, id: &str) {
        self.hours.lock().expect("no double panics with it").insert(id.to_owned(), 0);
    }

    fn works(&self, secret: &str) -> bool {
        let key = self.keys.with_secret(Some(secret));
        key.is_some_and(|key| self.hours.lock().expect("no double panics with it")[&key.id] > 0)
    }

    fn token(&self, call: &Call) -> Response {
        let form = call.form().unwrap_or_default();
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return answer(400, json!({"error": "invalid_request"}));
        }
        let token = match call.basic() {
            Some(admin) if admin == self.admin => self.access_token.clone(),
            Some((client, secret)) if client == self.client && self.works(&secret) => format!("eyJ.{}", random(40)),
            // Its body is not documented.
            _ => return answer(401, json!({"error": "invalid_client"})),
        };
        answer(200, json!({"access_token": token, "expires_in": 3600, "token_type": "Bearer"}))
    }

    fn shown(&self, key: &Key) -> Value {
        let date = "2026-08-05T00:00:00Z";
        json!({"id": key.id, "createdAt": date, "expiresAt": date, "maskedSecretValue": "mdb_sa_sk_****"})
    }

    fn account(&self) -> Response {
        let secrets: Vec<_> = self.keys.all().iter().map(|key| self.shown(key)).collect();
        answer(200, json!({"clientId": self.client, "name": "example", "roles": ["ORG_READ_ONLY"], "secrets": secrets}))
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json_as(MEDIA).unwrap_or_default();
        let hours = body["secretExpiresAfterHours"].as_u64().unwrap_or_default();
        // "Anywhere from 8 hours to 365 days."
        if !(8..=365 * 24).contains(&hours) || body != json!({"secretExpiresAfterHours": hours}) {
            return error(400, "INVALID_ATTRIBUTE");
        }
        // Neither status nor code is documented.
        if self.keys.all().len() >= CAP {
            return error(400, "SERVICE_ACCOUNT_SECRETS_EXHAUSTED");
        }
        let key = self.mint(hours);
        if self.loses_next.swap(false, Ordering::SeqCst) {
            return error(500, "UNEXPECTED_ERROR");
        }
        let mut made = self.shown(&key);
        made["secret"] = json!(key.secret);
        answer(201, made)
    }
}

impl Double for Atlas {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        if (method, &path[..]) == ("POST", &["api", "oauth", "token"][..]) {
            return self.token(call);
        }
        let ["api", "atlas", "v2", "orgs", org, "serviceAccounts", client, path @ ..] = &path[..] else {
            return error(404, "RESOURCE_NOT_FOUND");
        };
        match (method, path) {
            // The version of the API is part of the media type, and has no default.
            _ if call.header("accept") != Some(MEDIA) => error(406, "INVALID_VERSION_DATE"),
            _ if call.bearer() != Some(self.access_token.as_str()) => error(401, "UNAUTHORIZED"),
            _ if *org != self.org || *client != self.client => error(404, "SERVICE_ACCOUNT_NOT_FOUND"),
            ("GET", []) => self.account(),
            ("POST", ["secrets"]) => self.create(call),
            ("DELETE", ["secrets", id]) if self.keys.remove(id) => empty(204),
            _ => error(404, "SERVICE_ACCOUNT_SECRET_NOT_FOUND"),
        }
    }
}

fn error(status: u16, code: &str) -> Response {
    answer(
        status,
        json!({"error": status, "errorCode": code, "reason": "Refused", "detail": "Refused.", "parameters": []}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_than_two_secrets() {
    let double = Atlas::new();
    let world = World::start("mongodb-atlas", double.router(), double.admin()).await;
    let secret = world.secret(double.written(&double.mint(2160))).await;
    for _ in 0..3 {
        secret.rotated().await;
        let (current, previous) = (secret.at("AWSCURRENT").await, secret.at("AWSPREVIOUS").await);
        assert_eq!((double.hours_left(&current), double.hours_left(&previous)), (720, OVERLAP));
        assert_eq!(double.keys.live(), kept(&secret, "clientSecretId").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_have_all_expired_are_no_obstacle() {
    let double = Atlas::new();
    let world = World::start("mongodb-atlas", double.router(), double.admin()).await;
    let secret = world.secret(double.written(&double.mint(2160))).await;
    secret.rotated().await;
    double.keys.live().iter().for_each(|id| double.expire(id));
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert!(double.works(current["clientSecret"].as_str().expect("a secret")));
    assert_eq!(double.keys.live(), kept(&secret, "clientSecretId").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_whose_reply_was_lost_blocks_the_way_and_harms_nobody() {
    let double = Atlas::new();
    let by_hand = double.mint(2160);
    let world = World::start("mongodb-atlas", double.router(), double.admin()).await;
    let secret = world.secret(double.written(&by_hand)).await;
    double.loses_next.store(true, Ordering::SeqCst);
    secret.refused().await;
    assert_eq!(secret.refused().await.error_type, "issuer-refused");
    assert!(double.works(&by_hand.secret));
    let lost = double.keys.live().into_iter().find(|id| *id != by_hand.id).expect("the one that nobody was told of");
    double.keys.remove(&lost);
    secret.rotated().await;
    assert_eq!(double.keys.live(), kept(&secret, "clientSecretId").await);
}
