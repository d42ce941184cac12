//! Confluent Cloud: keys for its own API and for Kafka clusters, which are not known everywhere at once.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const OWNER: &str = "sa-12mgdv";
const CLUSTER: &str = "lkc-c29js0";
const ENVIRONMENT: &str = "env-a12b34";

/// Of the organization. The real one is set by contract.
const QUOTA: usize = 250;

#[derive(Clone)]
struct Confluent {
    keys: Keys,
    admin: (String, String),
    /// How long a new key is not known.
    propagation: Duration,
    works_from: Arc<Mutex<BTreeMap<String, Instant>>>,
    /// What a key that is not known yet was answered.
    refusals: Arc<Mutex<Vec<u16>>>,
}

impl Confluent {
    fn new() -> Self {
        Self {
            keys: Keys::default(),
            admin: (id(), random(64)),
            propagation: Duration::ZERO,
            works_from: Arc::default(),
            refusals: Arc::default(),
        }
    }

    fn admin(&self) -> Value {
        json!({"apiKey": self.admin.0, "apiSecret": self.admin.1})
    }

    fn mint(&self, resource: &str) -> Key {
        let key = Key { more: json!({"resource": resource}), ..made("by hand") };
        self.keys.add(key.clone());
        key
    }

    fn is_admin(&self, call: &Call) -> bool {
        call.basic().as_ref() == Some(&self.admin)
    }

    /// The key that asks, or how it is refused. "Status codes for unsynced API Keys might change over time": 401 or 403.
    fn caller(&self, call: &Call, resource: &str) -> Result<Key, Box<Response>> {
        let asks = |key: &Key| call.basic().is_some_and(|(user, password)| user == key.id && password == key.secret);
        let Some(key) = self.keys.all().into_iter().find(|key| key.more["resource"] == resource && asks(key)) else {
            return Err(Box::new(unauthenticated()));
        };
        let works_from = self.works_from.lock().expect("no double panics with it").get(&key.id).copied();
        if works_from.is_none_or(|moment| moment <= Instant::now()) {
            return Ok(key);
        }
        let mut refusals = self.refusals.lock().expect("no double panics with it");
        let status = if refusals.len().is_multiple_of(2) { 403 } else { 401 };
        refusals.push(status);
        Err(Box::new(if status == 401 {
            unauthenticated()
        } else {
            error(403, "user_unauthorized", "User Access Unauthorized")
        }))
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let size = query.get("page_size").map_or(Ok(10), |size| size.parse::<usize>());
        let from = query.get("page_token").map_or(Ok(0), |token| token.parse::<usize>());
        let (Ok(size @ 1..=100), Ok(from)) = (size, from) else {
            return error(400, "invalid_filter", "Invalid Filter");
        };
        let of_owner = query.get("spec.owner").is_none_or(|owner| owner == OWNER);
        let resource = query.get("spec.resource");
        let counts = |key: &Key| of_owner && resource.is_none_or(|resource| key.more["resource"] == resource.as_str());
        let keys: Vec<_> = self.keys.all().into_iter().filter(counts).collect();
        let data: Vec<_> = page(&keys, from, size).iter().map(|key| shown(key, false)).collect();
        let next = (from + size < keys.len()).then(|| {
            let filter = resource.map_or_else(String::new, |resource| format!("&spec.resource={resource}"));
            let token = from + size;
            format!("https://api.confluent.cloud/iam/v2/api-keys?spec.owner={OWNER}{filter}&page_size={size}&page_token={token}")
        });
        let metadata = json!({"first": "https://api.confluent.cloud/iam/v2/api-keys", "next": next});
        answer(200, json!({"api_version": "iam/v2", "kind": "ApiKeyList", "metadata": metadata, "data": data}))
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let spec = &body["spec"];
        let name = spec["display_name"].as_str().unwrap_or_default();
        let mut expected = json!({"display_name": name, "description": spec["description"], "owner": {"id": OWNER}});
        let resource = match spec.get("resource") {
            None => "cloud",
            Some(_) => {
                expected["resource"] = json!({"id": CLUSTER, "environment": ENVIRONMENT});
                CLUSTER
            }
        };
        if body != json!({"spec": expected}) {
            return error(422, "invalid_configuration", "Validation Failed");
        }
        if self.keys.all().len() >= QUOTA {
            return error(402, "quota_exceeded", "API Keys Per Org Quota Exceeded");
        }
        let key = Key { more: json!({"resource": resource}), ..made(name) };
        let works_from = Instant::now() + self.propagation;
        self.works_from.lock().expect("no double panics with it").insert(key.id.clone(), works_from);
        self.keys.add(key.clone());
        answer(202, shown(&key, true))
    }
}

impl Double for Confluent {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["org", "v2", "environments"]) => match self.caller(call, "cloud") {
                Ok(_) => {
                    answer(200, json!({"api_version": "org/v2", "kind": "EnvironmentList", "metadata": {}, "data": []}))
                }
                Err(refusal) => *refusal,
            },
            ("GET", ["kafka", "v3", "clusters", CLUSTER, "topics"]) => match self.caller(call, CLUSTER) {
                Ok(_) => answer(200, json!({"kind": "KafkaTopicList", "metadata": {"next": null}, "data": []})),
                Err(_) => answer(401, json!({"error_code": 40101, "message": "Authentication failed"})),
            },
            (_, ["iam", "v2", "api-keys", ..]) if !self.is_admin(call) => unauthenticated(),
            ("GET", ["iam", "v2", "api-keys"]) => self.list(call),
            ("POST", ["iam", "v2", "api-keys"]) => self.create(call),
            ("DELETE", ["iam", "v2", "api-keys", id]) if self.keys.remove(id) => empty(204),
            // As Confluent's Terraform provider has recorded it for a key that is gone.
            (_, ["iam", "v2", "api-keys", _]) => error(403, "forbidden_access", "Forbidden Access"),
            _ => error(404, "not_found", "Not Found"),
        }
    }
}

fn id() -> String {
    random(16).to_uppercase()
}

fn made(name: &str) -> Key {
    Key {
        id: id(),
        name: name.to_owned(),
        secret: format!("{}/+{}", random(31), random(31)),
        more: json!({"resource": "cloud"}),
    }
}

fn shown(key: &Key, whole: bool) -> Value {
    let mut spec = json!({"display_name": key.name, "owner": {"id": OWNER}, "resource": {"id": key.more["resource"]}});
    if whole {
        spec["secret"] = json!(key.secret);
    }
    json!({"api_version": "iam/v2", "kind": "ApiKey", "id": key.id, "metadata": {}, "spec": spec})
}

fn error(status: u16, code: &str, title: &str) -> Response {
    answer(status, json!({"errors": [{"id": random(32), "status": status.to_string(), "code": code, "title": title}]}))
}

fn unauthenticated() -> Response {
    error(401, "user_unauthenticated", "Authentication Required")
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.id, "apiSecret": key.secret, "ownerId": OWNER})
}

fn written_for_kafka(key: &Key) -> Value {
    json!({"apiKey": key.id, "apiSecret": key.secret, "ownerId": OWNER, "clusterId": CLUSTER, "environmentId": ENVIRONMENT,
        "restHost": "pkc-a1b2c.eu-central-1.aws.confluent.cloud"})
}

fn lifecycle(double: &Confluent) -> Lifecycle<'_> {
    let by_hand = double.mint("cloud");
    Lifecycle {
        issuer: "confluent-cloud",
        id: "apiKey",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_verified_and_revoked() {
    lifecycle(&Confluent::new()).runs().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_a_cluster_is_created_verified_and_revoked() {
    let double = Confluent::new();
    let by_hand = double.mint(CLUSTER);
    let written = written_for_kafka(&by_hand);
    let (router, admin) = (double.router(), double.admin());
    Lifecycle { issuer: "confluent-kafka", id: "apiKey", router, admin, keys: &double.keys, written, by_hand }
        .runs()
        .await;
    assert!(double.keys.all().iter().all(|key| key.more["resource"] == CLUSTER));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_known_everywhere_yet_is_waited_for() {
    // Two tries before it, 5 s apart, also of a function that is slow.
    let double = Confluent { propagation: Duration::from_secs(12), ..Confluent::new() };
    let world = World::start("confluent-cloud", double.router(), double.admin()).await;
    let secret = world.secret(written(&double.mint("cloud"))).await;
    secret.rotated().await;
    let refusals = double.refusals.lock().expect("no double panics with it").clone();
    assert!(refusals.starts_with(&[403, 401]), "both answers of a key that is not known yet were met: {refusals:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_is_found_on_a_later_page() {
    lifecycle(&Confluent::new()).survives_a_lost_reply(203, made, None).await;
}

/// The issuer's answer does not tell a deleted key from one that is out of reach.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_a_person_has_deleted_is_done_with() {
    let double = Confluent::new();
    let by_hand = double.mint("cloud");
    let world = World::start("confluent-cloud", double.router(), double.admin()).await;
    let secret = world.secret(written(&by_hand)).await;
    secret.rotated().await;
    double.keys.remove(&by_hand.id);
    let report = secret.rotated().await;
    let answers = report.steps.iter().filter_map(|step| step.result().ok());
    let warnings: Vec<_> = answers.filter_map(|answer| answer["warnings"].as_array().cloned()).flatten().collect();
    assert_eq!(warnings, [json!(null); 0], "the key is gone");
    assert!(world.https.requests().iter().any(|line| line.starts_with("DELETE") && line.ends_with("403")));
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_quota_nothing_is_lost() {
    lifecycle(&Confluent::new()).stops_at_the_limit(QUOTA, made, "key-limit-reached").await;
}
