//! New Relic: one GraphQL endpoint, whose refusals come with HTTP 200.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, only_kept_live, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

const ACCOUNT: u64 = 1_234_567;
const USER: u64 = 1_000_042;

/// How many keys a page has is not documented.
const PAGE: usize = 20;

#[derive(Clone)]
struct NewRelic {
    /// `USER` or `INGEST`.
    kind: &'static str,
    keys: Keys,
    admin: String,
    /// What the admin's user may not do: make keys.
    forbidden: Arc<AtomicBool>,
    /// Whether the reply to the next creation is lost: the key is there, and the answer says nothing.
    loses_creation: Arc<AtomicBool>,
    /// The same for the next deletion.
    loses_deletion: Arc<AtomicBool>,
    /// How often the Metric API does not know a key yet.
    unknown: Arc<AtomicUsize>,
    /// Ids that were to be deleted.
    deletions: Arc<Mutex<Vec<String>>>,
    /// Of the Metric API, and of everything else.
    metrics_host: &'static str,
    host: &'static str,
}

impl NewRelic {
    fn new(kind: &'static str) -> Self {
        Self {
            kind,
            keys: Keys::default(),
            admin: format!("NRAK-{}", random(27)),
            forbidden: Arc::default(),
            loses_creation: Arc::default(),
            loses_deletion: Arc::default(),
            unknown: Arc::default(),
            deletions: Arc::default(),
            metrics_host: "metric-api.newrelic.com",
            host: "api.newrelic.com",
        }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.admin})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn written(&self, key: &Key) -> Value {
        let mut value = json!({"apiKey": key.secret, "apiKeyId": key.id, "accountId": ACCOUNT});
        if self.kind == "USER" {
            value["userId"] = json!(USER);
        }
        value
    }

    fn graphql(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let query = body["query"].as_str().unwrap_or_default();
        let is_key = self.kind == "USER" && self.keys.with_secret(call.header("api-key")).is_some();
        let is_admin = call.header("api-key") == Some(self.admin.as_str());
        if !is_admin && !is_key {
            return bad_api_key();
        }
        if body.get("variables").is_some_and(Value::is_null) {
            return answer(400, json!({"errors": [{"message": "variables is no map"}]}));
        }
        match &body["variables"] {
            _ if query.contains("user { id }") => answer(200, json!({"data": {"actor": {"user": {"id": USER}}}})),
            _ if !is_admin => failed("access denied"),
            variables if query.contains("keySearch(") => self.search(variables),
            variables if query.contains("apiAccessCreateKeys(") => self.create(variables),
            variables if query.contains("apiAccessDeleteKeys(") => self.delete(variables),
            _ => failed("Cannot query field"),
        }
    }

    fn search(&self, variables: &Value) -> Response {
        let scope = match self.kind {
            "USER" => json!({"accountIds": [ACCOUNT], "userIds": [USER]}),
            _ => json!({"accountIds": [ACCOUNT], "ingestTypes": ["LICENSE"]}),
        };
        if variables["query"] != json!({"types": [self.kind], "scope": scope}) {
            return failed("Argument \"query\" has invalid value");
        }
        let cursor = variables["cursor"].as_str().map_or(Some(0), |cursor| cursor.strip_prefix("c-")?.parse().ok());
        let Some(from) = cursor else { return failed("invalid cursor") };
        let keys = self.keys.all();
        let shown: Vec<_> = page(&keys, from, PAGE).iter().map(|key| json!({"id": key.id, "name": key.name})).collect();
        let end = from + shown.len();
        let next = (end < keys.len()).then(|| format!("c-{end}"));
        answer(200, json!({"data": {"actor": {"apiAccess": {"keySearch": {"keys": shown, "nextCursor": next}}}}}))
    }

    fn create(&self, variables: &Value) -> Response {
        let kind = if self.kind == "USER" { "user" } else { "ingest" };
        let name = variables.pointer(&format!("/keys/{kind}/0/name")).and_then(Value::as_str).unwrap_or_default();
        let input = match kind {
            "user" => json!({"accountId": ACCOUNT, "userId": USER, "name": name}),
            _ => json!({"accountId": ACCOUNT, "ingestType": "LICENSE", "name": name}),
        };
        if name.is_empty() || *variables != json!({"keys": {(kind): [input]}}) {
            return failed("Argument \"keys\" has invalid value");
        }
        if self.forbidden.load(Ordering::SeqCst) {
            return refused("apiAccessCreateKeys", "createdKeys", "FORBIDDEN");
        }
        let key = self.mint(name);
        if self.loses_creation.swap(false, Ordering::SeqCst) {
            return answer(502, json!({}));
        }
        let created = json!([{"id": key.id, "key": key.secret, "name": key.name}]);
        answer(200, json!({"data": {"apiAccessCreateKeys": {"createdKeys": created, "errors": []}}}))
    }

    fn delete(&self, variables: &Value) -> Response {
        let list = if self.kind == "USER" { "userKeyIds" } else { "ingestKeyIds" };
        let id = variables.pointer(&format!("/keys/{list}/0")).and_then(Value::as_str).unwrap_or_default();
        if *variables != json!({"keys": {(list): [id]}}) {
            return failed("Argument \"keys\" has invalid value");
        }
        self.deletions.lock().expect("no panics").push(id.to_owned());
        if !self.keys.remove(id) {
            return refused("apiAccessDeleteKeys", "deletedKeys", "NOT_FOUND");
        }
        if self.loses_deletion.swap(false, Ordering::SeqCst) {
            return answer(502, json!({}));
        }
        answer(200, json!({"data": {"apiAccessDeleteKeys": {"deletedKeys": [{"id": id}], "errors": []}}}))
    }

    /// Where a license key sends metrics.
    fn metrics(&self, call: &Call) -> Response {
        let waits = self.unknown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waits| waits.checked_sub(1));
        match call.json() {
            _ if waits.is_ok() || self.keys.with_secret(call.header("api-key")).is_none() => answer(403, json!({})),
            Some(Value::Array(batch)) if batch.iter().all(|metrics| metrics["metrics"].is_array()) => {
                answer(202, json!({"requestId": integration_tests::uuid()}))
            }
            _ => answer(400, json!({})),
        }
    }
}

impl Double for NewRelic {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("POST", ["graphql"]) if call.header("host") == Some(self.host) => self.graphql(call),
            ("POST", ["metric", "v1"]) if self.kind == "INGEST" && call.header("host") == Some(self.metrics_host) => {
                self.metrics(call)
            }
            _ => answer(404, json!({})),
        }
    }
}

fn made(name: &str) -> Key {
    let secret = format!("NRAK-{}", random(27));
    Key { id: random(40), name: name.to_owned(), secret, more: Value::Null }
}

/// A query that was not carried out at all.
fn failed(message: &str) -> Response {
    answer(200, json!({"data": null, "errors": [{"message": message}]}))
}

/// A mutation that was carried out, in vain.
fn refused(mutation: &str, list: &str, error_type: &str) -> Response {
    let error =
        json!({"message": "You do not have permission to create this key.", "type": null, "errorType": error_type});
    answer(200, json!({"data": {(mutation): {(list): null, "errors": [error]}}}))
}

fn bad_api_key() -> Response {
    let error = json!({"message": "Unauthenticated", "extensions": {"error_code": "BAD_API_KEY"}});
    answer(200, json!({"data": null, "errors": [error]}))
}

fn lifecycle(double: &NewRelic) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: if double.kind == "USER" { "newrelic-user" } else { "newrelic-license" },
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: double.written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_key_is_created_verified_and_revoked() {
    let double = NewRelic::new("USER");
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_some(), "nothing proves that it is the function's");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_key_is_created_verified_and_revoked() {
    lifecycle(&NewRelic::new("INGEST")).runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_key_of_another_region_goes_to_the_hosts_of_that_region() {
    for (site, metrics_host, host) in [
        ("eu.newrelic.com", "metric-api.eu.newrelic.com", "api.eu.newrelic.com"),
        ("jp.newrelic.com", "metric-api.jp.nr-data.net", "api.jp.newrelic.com"),
    ] {
        let double = NewRelic { metrics_host, host, ..NewRelic::new("INGEST") };
        let lifecycle = lifecycle(&double);
        let written = integration_tests::merged(lifecycle.written.clone(), json!({"site": site}));
        Lifecycle { written, ..lifecycle }.runs().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_with_http_200_is_a_refusal() {
    let double = NewRelic::new("USER");
    let world = World::start("newrelic-user", double.router(), double.admin()).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(double.written(&by_hand)).await;
    double.forbidden.store(true, Ordering::SeqCst);
    assert_eq!(secret.refused().await.error_type, "answer-unexpected");
    assert_eq!(secret.at("AWSCURRENT").await["apiKey"], by_hand.secret);
    double.forbidden.store(false, Ordering::SeqCst);
    secret.rotated().await;
    only_kept_live(&double.keys, &by_hand, &secret, "apiKeyId").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_is_found_on_a_later_page() {
    let double = NewRelic::new("USER");
    lifecycle(&double).survives_a_lost_reply(2 * PAGE + 5, made, Some(&double.loses_creation)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_found_when_it_is_deleted_is_done_with() {
    let double = NewRelic::new("USER");
    let world = World::start("newrelic-user", double.router(), double.admin()).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(double.written(&by_hand)).await;
    secret.rotated().await;
    secret.rotated().await;
    let previous = secret.at("AWSPREVIOUS").await["apiKeyId"].as_str().expect("an id").to_owned();
    double.loses_deletion.store(true, Ordering::SeqCst);
    secret.rotated().await;
    secret.rotated().await;
    let asked = double.deletions.lock().expect("no panics").iter().filter(|id| **id == previous).count();
    assert_eq!(asked, 2, "once with the answer lost, and once to be told that there is no such key");
    only_kept_live(&double.keys, &by_hand, &secret, "apiKeyId").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_license_key_that_is_not_known_yet_is_waited_for() {
    let double = NewRelic::new("INGEST");
    let world = World::start("newrelic-license", double.router(), double.admin()).await;
    let by_hand = double.mint("by hand");
    let secret = world.secret(double.written(&by_hand)).await;
    double.unknown.store(2, Ordering::SeqCst);
    secret.rotated().await;
    only_kept_live(&double.keys, &by_hand, &secret, "apiKeyId").await;
}
