//! Okta: at most two secrets for an application, without names, and only what was deactivated can be deleted.

use super::support::{Call, Double, Key, Keys, answer, empty, kept, random};
use axum::response::Response;
use integration_tests::issuer::World;
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const APP: &str = "0oa1nkheCuDn82XVI0g4";

/// "You can create up to two Secret objects."
const CAP: usize = 2;

#[derive(Clone)]
struct Okta {
    keys: Keys,
    inactive: Arc<Mutex<BTreeSet<String>>>,
    api_token: String,
    /// Acts on the next creation, and answers that it could not.
    loses_next: Arc<AtomicBool>,
}

impl Okta {
    fn new() -> Self {
        let api_token = format!("00{}", random(40));
        Self { keys: Keys::default(), inactive: Arc::default(), api_token, loses_next: Arc::default() }
    }

    fn admin(&self) -> Value {
        json!({"domain": "example.okta.com", "apiToken": self.api_token})
    }

    fn mint(&self) -> Key {
        let key = made();
        self.keys.add(key.clone());
        key
    }

    fn is_active(&self, id: &str) -> bool {
        self.keys.with_id(id).is_some() && !self.inactive.lock().expect("no double panics with it").contains(id)
    }

    fn shown(&self, key: &Key) -> Value {
        let status = if self.is_active(&key.id) { "ACTIVE" } else { "INACTIVE" };
        let date = "2023-02-21T20:08:24.000Z";
        json!({"id": key.id, "status": status, "client_secret": key.secret, "secret_hash": key.secret[..22],
            "created": date, "lastUpdated": date, "_links": {}})
    }

    fn create(&self, call: &Call) -> Response {
        // A secret of one's own could be sent; nothing else.
        if call.json() != Some(json!({})) {
            return error(400, "E0000003", "The request body was not well-formed.");
        }
        if self.keys.all().len() >= CAP {
            return validation("You've reached the maximum number of client secrets per client.");
        }
        let key = self.mint();
        if self.loses_next.swap(false, Ordering::SeqCst) {
            return error(503, "E0000010", "Service is in read only mode");
        }
        answer(201, self.shown(&key))
    }

    fn deactivate(&self, id: &str) -> Response {
        let active = self.keys.all().iter().filter(|key| self.is_active(&key.id)).count();
        match self.keys.with_id(id) {
            None => not_found(),
            Some(_) if self.is_active(id) && active == 1 => {
                validation("You can't deactivate the only active client secret.")
            }
            Some(key) => {
                // Of one that is inactive already: not documented.
                self.inactive.lock().expect("no double panics with it").insert(id.to_owned());
                answer(200, self.shown(&key))
            }
        }
    }

    fn delete(&self, id: &str) -> Response {
        match self.keys.with_id(id) {
            None => not_found(),
            Some(_) if self.is_active(id) => {
                validation("You can't delete an active client secret. Deactivate the secret before deleting it.")
            }
            Some(_) => {
                self.keys.remove(id);
                empty(204)
            }
        }
    }

    fn introspect(&self, call: &Call) -> Response {
        let Some((client, secret)) = call.basic() else {
            return oauth_error(401, "invalid_client", "No client credentials found");
        };
        let key = self.keys.with_secret(Some(&secret)).filter(|key| client == APP && self.is_active(&key.id));
        if key.is_none() {
            return oauth_error(
                401,
                "invalid_client",
                "The client secret supplied for a confidential client is invalid.",
            );
        }
        match call.form().unwrap_or_default().get("token") {
            Some(token) if !token.is_empty() => answer(200, json!({"active": false})),
            _ => oauth_error(400, "invalid_request", "The 'token' parameter is missing."),
        }
    }
}

impl Double for Okta {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        if (method, &path[..]) == ("POST", &["oauth2", "v1", "introspect"][..]) {
            return self.introspect(call);
        }
        if call.header("authorization") != Some(format!("SSWS {}", self.api_token).as_str()) {
            return error(401, "E0000011", "Invalid token provided");
        }
        let ["api", "v1", "apps", APP, "credentials", "secrets", path @ ..] = &path[..] else { return not_found() };
        match (method, path) {
            ("GET", []) => answer(200, self.keys.all().iter().map(|key| self.shown(key)).collect()),
            ("POST", []) => self.create(call),
            ("POST", [id, "lifecycle", "deactivate"]) => self.deactivate(id),
            ("DELETE", [id]) => self.delete(id),
            _ => not_found(),
        }
    }
}

fn made() -> Key {
    Key { id: format!("ocs{}", random(17)), name: String::new(), secret: random(64), more: Value::Null }
}

fn written(key: &Key) -> Value {
    json!({"appId": APP, "clientId": APP, "clientSecret": key.secret, "clientSecretId": key.id})
}

fn error(status: u16, code: &str, summary: &str) -> Response {
    answer(
        status,
        json!({"errorCode": code, "errorSummary": summary, "errorLink": code, "errorId": random(20), "errorCauses": []}),
    )
}

fn validation(cause: &str) -> Response {
    let summary = "Api validation failed: OAuth2ClientSecretMediated";
    let causes = json!([{"errorSummary": cause}]);
    let body = json!({"errorCode": "E0000001", "errorSummary": summary, "errorLink": "E0000001", "errorId": random(20), "errorCauses": causes});
    answer(400, body)
}

fn not_found() -> Response {
    error(404, "E0000007", "Not found: Resource not found")
}

fn oauth_error(status: u16, code: &str, description: &str) -> Response {
    answer(status, json!({"error": code, "error_description": description}))
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_never_more_than_two_secrets() {
    let double = Okta::new();
    let world = World::start("okta", double.router(), double.admin()).await;
    let secret = world.secret(written(&double.mint())).await;
    for _ in 0..3 {
        secret.rotated().await;
        let both = kept(&secret, "clientSecretId").await;
        assert_eq!(double.keys.live(), both);
        assert!(both.iter().all(|id| double.is_active(id)), "consumers may hold either");
    }
    assert_eq!(secret.at("AWSCURRENT").await["clientId"], APP);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_of_somebody_else_is_not_sacrificed_to_the_limit() {
    let double = Okta::new();
    let (by_hand, other) = (double.mint(), double.mint());
    let world = World::start("okta", double.router(), double.admin()).await;
    let secret = world.secret(written(&by_hand)).await;
    assert_eq!(secret.refused().await.error_type, "key-limit-reached");
    assert!(double.is_active(&by_hand.id) && double.is_active(&other.id));
    assert_eq!(secret.at("AWSCURRENT").await["clientSecret"], by_hand.secret);
    double.keys.remove(&other.id);
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_whose_reply_was_lost_blocks_the_way_and_harms_nobody() {
    let double = Okta::new();
    let by_hand = double.mint();
    let world = World::start("okta", double.router(), double.admin()).await;
    let secret = world.secret(written(&by_hand)).await;
    double.loses_next.store(true, Ordering::SeqCst);
    secret.refused().await;
    assert_eq!(secret.refused().await.error_type, "key-limit-reached");
    assert!(double.is_active(&by_hand.id));
    let lost = double.keys.live().into_iter().find(|id| *id != by_hand.id).expect("the one that nobody was told of");
    double.keys.remove(&lost);
    secret.rotated().await;
    assert_eq!(double.keys.live(), kept(&secret, "clientSecretId").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_was_only_deactivated_is_deleted_later() {
    let double = Okta::new();
    let world = World::start("okta", double.router(), double.admin()).await;
    let secret = world.secret(written(&double.mint())).await;
    secret.rotated().await;
    // Between the two calls that end a secret, it is in the list of the active ones no more.
    world.lab.disturb().on_next("issuer DELETE", Fault::KillBefore);
    secret.rotate().await;
    secret.rotated().await;
    assert_eq!(double.keys.live(), kept(&secret, "clientSecretId").await);
}
