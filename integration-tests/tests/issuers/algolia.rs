//! Algolia, by a description that anybody could write: a key is its own id, so its digest stands in the journal, and only the list
//! has its value.

use super::support::{Call, Double, Key, Keys, answer, random};
use axum::response::Response;
use integration_tests::issuer::World;
use lab::disturb::Fault;
use serde_json::{Value, json};

const DESCRIPTION: &str = r#"
issuer: lab
title: Algolia API key
sources: [https://www.algolia.com/doc/rest-api/search/]
unchecked: Written from documentation, for a test.
strategy: create_revoke
vars: {acl: {type: json}}
http: {base: https://app.algolia.example}
auth:
  admin: {headers: {X-Algolia-API-Key: "{{admin.apiKey}}", X-Algolia-Application-Id: APP}}
  key: {headers: {X-Algolia-API-Key: "{{key.secret}}", X-Algolia-Application-Id: APP}}
find: {get: /1/keys, items: /keys, id: /value, name: /description}
create:
  post: /1/keys
  id: "{{key.secret}}"
  json: {acl: "{{vars.acl}}", description: "{{name}}"}
  ok: {status: [201]}
  extract: {secret: /key}
verify:
  get: "/1/keys/{{key.secret}}"
  secretInUrl: true
  works: {status: [200]}
  rejected: {status: [403], where: {/message: Invalid Application-ID or API key}}
  identity: /value
revoke:
  - delete: "/1/keys/{{key.id}}"
    secretInUrl: true
    done: {status: [200]}
"#;

#[derive(Clone)]
struct Algolia {
    keys: Keys,
    admin: String,
}

impl Double for Algolia {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        let asks = call.header("x-algolia-api-key").unwrap_or_default();
        let is_admin = asks == self.admin;
        match (method, &path[..]) {
            ("GET", ["1", "keys", key]) if asks == *key && self.keys.with_id(key).is_some() => {
                answer(200, json!({"value": key, "acl": ["search"]}))
            }
            _ if !is_admin => answer(403, json!({"message": "Invalid Application-ID or API key", "status": 403})),
            ("GET", ["1", "keys"]) => {
                let shown = |key: &Key| json!({"value": key.id, "description": key.name, "acl": ["search"]});
                answer(200, json!({"keys": self.keys.all().iter().map(shown).collect::<Vec<_>>()}))
            }
            ("POST", ["1", "keys"]) => {
                let body = call.json().unwrap_or_default();
                let key = made(body["description"].as_str().unwrap_or_default());
                self.keys.add(key.clone());
                answer(201, json!({"key": key.id, "createdAt": "2026-01-01T00:00:00Z"}))
            }
            ("DELETE", ["1", "keys", key]) if self.keys.remove(key) => answer(200, json!({"deletedAt": "now"})),
            _ => answer(404, json!({"message": "Key does not exist", "status": 404})),
        }
    }
}

fn made(name: &str) -> Key {
    let value = random(32);
    Key { id: value.clone(), name: name.to_owned(), secret: value, more: Value::Null }
}

/// The keys' values in the current and the previous version.
async fn kept(secret: &integration_tests::issuer::Secret<'_>) -> Vec<String> {
    let mut kept = vec![secret.field("AWSCURRENT", "apiKey").await, secret.field("AWSPREVIOUS", "apiKey").await];
    kept.sort();
    kept
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_its_own_id_is_never_written_down() {
    let double = Algolia { keys: Keys::default(), admin: random(32) };
    double.keys.add_others(3, made);
    let by_hand = made("by hand");
    double.keys.add(by_hand.clone());
    let admin = json!({"apiKey": double.admin});
    let world = World::described(DESCRIPTION, double.router(), admin, |function| function).await;
    let secret = world.secret(json!({"apiKey": by_hand.secret, "acl": ["search"]})).await;
    let mut seen = vec![by_hand.secret.clone()];
    for _ in 0..3 {
        let report = secret.rotated().await;
        let version = secret.at("AWSCURRENT").await;
        let journal = version["rotation"]["journal"].to_string();
        let mut output = journal;
        for step in &report.steps {
            output.push_str(&String::from_utf8_lossy(&step.outcome.log));
            output.push_str(&step.result().map(|answer| answer.to_string()).unwrap_or_default());
        }
        seen.push(version["apiKey"].as_str().expect("a key").to_owned());
        assert!(seen.iter().all(|key| !output.contains(key.as_str())), "a key stands in the journal or in an output");
    }
    assert_eq!(double.keys.live(), kept(&secret).await);
    // A lost reply, and the next rotations.
    world.lab.disturb().on_next("issuer POST", Fault::LoseReply);
    secret.rotate().await;
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(double.keys.live(), kept(&secret).await);
    assert_eq!(double.keys.others(), 3);
}
