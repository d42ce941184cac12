//! What the language has for issuers of other kinds: errors that are text, JSON in a form, the last page's number.

use super::support::{Call, Double, Key, Keys, answer, page, random};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const DESCRIPTION: &str = r#"
issuer: lab
title: An issuer of another kind
sources: [https://www.consul.io/api-docs/acl/tokens]
unchecked: For a test.
strategy: create_revoke
vars: {policies: {type: json}, note: {default: ""}}
http: {base: https://issuer.example.com}
auth: {admin: {bearer: "{{admin.token}}"}, key: {bearer: "{{key.secret}}"}}
find:
  get: /tokens
  query: {expired: false}
  items: /tokens
  id: /id
  name: /name
  none: {status: [404], text: no tokens}
  pages: {number: {query: page, last: /pages}}
create:
  post: /tokens
  form: {name: "{{name}}", note: "{{vars.note}}", policies: "{{vars.policies}}", options: {owner: "{{name}}", local: true}}
  extract: {id: /id, secret: /secret}
verify:
  get: /self
  works: {status: [200]}
  rejected: {status: [403], text: ACL not found}
  identity: /id
revoke:
  - delete: "/tokens/{{key.id}}"
    gone: {status: [500], text: no such token}
"#;

#[derive(Clone)]
struct Issuer {
    keys: Keys,
    admin: String,
    pages: Arc<AtomicUsize>,
    deletions: Arc<AtomicUsize>,
}

impl Issuer {
    fn new() -> Self {
        let (keys, pages, deletions) = Default::default();
        Self { keys, admin: random(32), pages, deletions }
    }
}

fn text(status: u16, text: &str) -> Response {
    (StatusCode::from_u16(status).expect("a status"), text.to_owned()).into_response()
}

impl Double for Issuer {
    fn answer(&self, call: &Call) -> Response {
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["self"]) => match self.keys.with_secret(call.bearer()) {
                Some(key) => answer(200, json!({"id": key.id})),
                None => text(403, "rpc error: ACL not found: token does not exist"),
            },
            _ if call.bearer() != Some(self.admin.as_str()) => text(403, "Permission denied"),
            ("GET", ["tokens"]) => {
                let query = call.query();
                self.pages.fetch_add(1, Ordering::SeqCst);
                let number: usize = query.get("page").map_or(1, |page| page.parse().expect("a number"));
                let keys = self.keys.all();
                if keys.is_empty() {
                    return text(404, "rpc error: no tokens");
                }
                // A page after the last one is an error here.
                if query.get("expired").map(String::as_str) != Some("false") || number > keys.len().div_ceil(2).max(1) {
                    return text(400, "bad query");
                }
                let shown: Vec<_> = page(&keys, (number - 1) * 2, 2)
                    .iter()
                    .map(|key| json!({"id": key.id, "name": key.name}))
                    .collect();
                answer(200, json!({"tokens": shown, "pages": keys.len().div_ceil(2)}))
            }
            ("POST", ["tokens"]) => {
                let form = call.form().unwrap_or_default();
                let json_of = |field: &str| serde_json::from_str::<Value>(form.get(field)?).ok();
                let name = form.get("name").cloned().unwrap_or_default();
                let options = json!({"owner": name, "local": true});
                if json_of("policies") != Some(json!([{"read": "a&b"}]))
                    || json_of("options") != Some(options)
                    || form.get("note").map(String::as_str) != Some("")
                {
                    return text(400, "bad form");
                }
                let key = made(&name);
                self.keys.add(key.clone());
                answer(200, json!({"id": key.id, "secret": key.secret}))
            }
            ("DELETE", ["tokens", id]) => {
                self.deletions.fetch_add(1, Ordering::SeqCst);
                if self.keys.remove(id) { answer(200, json!(true)) } else { text(500, "rpc error: no such token") }
            }
            _ => text(404, "no such page"),
        }
    }
}

fn made(name: &str) -> Key {
    Key { id: random(16), name: name.to_owned(), secret: random(32), more: Value::Null }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_answers_with_text_and_takes_json_in_a_form_is_described() {
    let double = Issuer::new();
    double.keys.add_others(4, made);
    let by_hand = made("by hand");
    double.keys.add(by_hand.clone());
    let admin = json!({"token": double.admin});
    let world = World::described(DESCRIPTION, double.router(), admin, |function| function).await;
    let fields = json!({"apiKey": by_hand.secret, "apiKeyId": by_hand.id, "policies": [{"read": "a&b"}]});
    let secret = world.secret(fields).await;
    secret.rotated().await;
    assert_eq!(double.pages.load(Ordering::SeqCst), 3, "five tokens are three pages");
    secret.rotated().await;
    secret.rotated().await;
    let kept = super::support::kept(&secret, "apiKeyId").await;
    assert_eq!((double.keys.live(), double.keys.others()), (kept, 4));
    // A key that somebody has deleted is not asked about again and again, although its status is that of an outage.
    let previous = secret.field("AWSPREVIOUS", "apiKeyId").await;
    double.keys.remove(&previous);
    let before = double.deletions.load(Ordering::SeqCst);
    let warned: Vec<_> = {
        let report = secret.rotated().await;
        report.steps.iter().filter_map(|step| step.result().ok()?["warnings"].as_array().cloned()).flatten().collect()
    };
    assert_eq!(warned, [json!(null); 0]);
    assert!(double.deletions.load(Ordering::SeqCst) - before <= 1, "asked again");
    // A key that does not work is told by its text.
    secret.put(&integration_tests::merged(secret.at("AWSCURRENT").await, json!({"apiKey": random(32)}))).await;
    let answer = secret.attached().await;
    assert!(!matches!(answer, lab::secretsmanager::RotationOutcome::Succeeded));
}

/// Nothing is listed before the first token, and the list says so with an error.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_without_keys_may_be_an_error() {
    let double = Issuer::new();
    let world =
        World::described(DESCRIPTION, double.router(), json!({"token": double.admin}), |function| function).await;
    let fields = json!({"apiKey": random(32), "apiKeyId": random(16), "policies": [{"read": "a&b"}]});
    let secret = world.secret(fields).await;
    secret.rotated().await;
    assert_eq!(double.keys.live(), [secret.field("AWSCURRENT", "apiKeyId").await]);
    assert!(world.https.requests().iter().any(|line| line.starts_with("GET /tokens") && line.ends_with("404")));
}
