//! LaunchDarkly: a reset ends the old value at once, unless it is asked for a time.

use super::support::{Call, Double, answer, empty, random};
use axum::response::Response;
use integration_tests::issuer::World;
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

const HOUR: u64 = 3_600_000;

/// One token with its values, and when each ends, in milliseconds since the epoch.
#[derive(Clone)]
struct LaunchDarkly {
    id: String,
    admin: String,
    values: Arc<Mutex<Values>>,
}

type Values = Vec<(String, Option<u64>)>;

impl LaunchDarkly {
    fn new() -> Self {
        let values = Arc::new(Mutex::new(vec![(value(), None)]));
        Self { id: random(24), admin: value(), values }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.admin})
    }

    fn written(&self) -> Value {
        json!({"apiKey": self.values().last().expect("a value").0, "apiKeyId": self.id})
    }

    /// All values that there ever were.
    fn values(&self) -> Vec<(String, Option<u64>)> {
        self.values.lock().expect("no panics").clone()
    }

    /// The values that do not end.
    fn endless(&self) -> Vec<Value> {
        self.values().into_iter().filter(|(_, end)| end.is_none()).map(|(value, _)| json!(value)).collect()
    }

    fn works(&self, sent: &str) -> bool {
        self.values().iter().any(|(value, end)| value == sent && end.is_none_or(|end| end > now()))
    }

    /// In how many milliseconds this value ends.
    fn remaining(&self, sent: &Value) -> u64 {
        let values = self.values();
        let (_, end) = values.iter().find(|(value, _)| sent == value).expect("a value that was given");
        end.expect("a value that ends").saturating_sub(now())
    }

    fn reset(&self, call: &Call) -> Response {
        let end = match call.query().get("expiry").map(|expiry| expiry.parse::<u64>()) {
            None => now(),
            Some(Ok(end)) => end,
            Some(Err(_)) => return error(400, "invalid_request"),
        };
        let fresh = value();
        let mut values = self.values.lock().expect("no panics");
        // Whether a value that ends already would end sooner is not documented.
        for (_, ends) in values.iter_mut().filter(|(_, ends)| ends.is_none()) {
            *ends = Some(end);
        }
        values.push((fresh.clone(), None));
        answer(200, json!({"_id": self.id, "name": "by hand", "token": fresh, "serviceToken": true, "_links": {}}))
    }
}

impl Double for LaunchDarkly {
    fn answer(&self, call: &Call) -> Response {
        let sent = call.header("authorization").unwrap_or_default();
        let is_admin = sent == self.admin;
        if !is_admin && !self.works(sent) {
            return error(401, "unauthorized");
        }
        let id = if is_admin { "the admin's" } else { self.id.as_str() };
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["api", "v2", "caller-identity"]) => answer(200, json!({"tokenId": id, "serviceToken": true})),
            _ if !is_admin => error(403, "forbidden"),
            ("POST", ["api", "v2", "tokens", id, "reset"]) if *id == self.id => self.reset(call),
            ("DELETE", ["api", "v2", "tokens", id]) if *id == self.id => {
                self.values.lock().expect("no panics").clear();
                empty(204)
            }
            _ => error(404, "not_found"),
        }
    }
}

fn value() -> String {
    format!("api-{}", integration_tests::uuid())
}

fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("now is after 1970");
    u64::try_from(since.as_millis()).expect("milliseconds fit")
}

fn error(status: u16, code: &str) -> Response {
    answer(status, json!({"code": code, "message": code}))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_reset_and_the_old_value_works_on_for_a_day() {
    let double = LaunchDarkly::new();
    let world = World::start("launchdarkly", double.router(), double.admin()).await;
    let secret = world.secret(double.written()).await;
    secret.rotated().await;
    secret.rotated().await;
    let (current, previous) = (secret.at("AWSCURRENT").await, secret.at("AWSPREVIOUS").await);
    for version in [&current, &previous] {
        assert!(double.works(version["apiKey"].as_str().expect("a key")));
        assert_eq!(version["apiKeyId"], double.id);
    }
    assert_eq!(double.endless(), [current["apiKey"].clone()]);
    assert!((23 * HOUR..=24 * HOUR).contains(&double.remaining(&previous["apiKey"])));
    assert_eq!(double.values().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reset_whose_reply_was_lost_leaves_the_old_value_its_time() {
    let double = LaunchDarkly::new();
    let world = World::start("launchdarkly", double.router(), double.admin()).await;
    let before = double.written()["apiKey"].clone();
    let secret = world.secret(double.written()).await;
    world.lab.disturb().on_next("issuer POST", Fault::LoseReply);
    secret.rotate().await;
    assert!(double.works(before.as_str().expect("a key")));
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    // The value that nobody has ends, too.
    assert_eq!(double.endless(), [current["apiKey"].clone()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_may_not_reset_resets_nothing() {
    let double = LaunchDarkly::new();
    let admin = json!({"apiKey": double.written()["apiKey"]});
    let world = World::start("launchdarkly", double.router(), admin).await;
    let secret = world.secret(double.written()).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    assert_eq!(double.values().len(), 1);
    assert!(double.works(secret.at("AWSCURRENT").await["apiKey"].as_str().expect("a key")));
}
