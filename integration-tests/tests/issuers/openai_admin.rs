//! OpenAI's admin keys: as powerful as the organization, so that one mints its own successor; and not every 401 is a dead key.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, only_kept_live, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Clone, Default)]
struct OpenAi {
    keys: Keys,
    /// Whether keys that the API made are used from an address that is not allowed.
    outside: Arc<AtomicBool>,
}

impl OpenAi {
    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    /// Why the caller is nobody.
    fn refusal(&self, call: &Call) -> Option<Response> {
        match self.keys.with_secret(call.bearer()) {
            None => Some(error(401, "invalid_api_key")),
            // What the code is called is not documented.
            Some(key) if self.outside.load(Ordering::SeqCst) && key.name != BY_HAND => {
                Some(error(401, "ip_not_authorized"))
            }
            Some(_) => None,
        }
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let Ok(limit @ 1..=100) = query.get("limit").map_or(Ok(20), |limit| limit.parse::<usize>()) else {
            return error(400, "invalid_limit");
        };
        let mut keys = self.keys.all();
        if query.get("order").is_some_and(|order| order == "desc") {
            keys.reverse();
        }
        let after = |after: &String| keys.iter().position(|key| key.id == *after).map(|place| place + 1);
        let Some(from) = query.get("after").map_or(Some(0), after) else { return error(404, "not_found") };
        let data = page(&keys, from, limit);
        let id = |key: Option<&Key>| key.map(|key| key.id.clone());
        answer(
            200,
            json!({
                "object": "list",
                "data": data.iter().map(shown).collect::<Vec<_>>(),
                "first_id": id(data.first()),
                "last_id": id(data.last()),
                "has_more": from + data.len() < keys.len(),
            }),
        )
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let Some(name) = body["name"].as_str() else { return error(400, "missing_required_parameter") };
        if body != json!({"name": name}) {
            return error(400, "unknown_parameter");
        }
        let key = self.mint(name);
        let mut made = shown(&key);
        made["value"] = json!(key.secret);
        answer(200, made)
    }
}

impl Double for OpenAi {
    fn answer(&self, call: &Call) -> Response {
        if let Some(refusal) = self.refusal(call) {
            return refusal;
        }
        let (method, path) = call.route();
        match (method, &path[..]) {
            ("GET", ["v1", "organization", "admin_api_keys"]) => self.list(call),
            ("POST", ["v1", "organization", "admin_api_keys"]) => self.create(call),
            ("DELETE", ["v1", "organization", "admin_api_keys", id]) if self.keys.remove(id) => {
                answer(200, json!({"id": id, "object": "organization.admin_api_key.deleted", "deleted": true}))
            }
            _ => error(404, "not_found"),
        }
    }
}

const BY_HAND: &str = "by hand";

fn made(name: &str) -> Key {
    let secret = format!("sk-admin-{}", random(64));
    Key { id: format!("key_{}", random(16)), name: name.to_owned(), secret, more: Value::Null }
}

fn shown(key: &Key) -> Value {
    let owner = json!({"type": "user", "object": "organization.user", "id": "user_123", "role": "owner"});
    json!({
        "object": "organization.admin_api_key",
        "id": key.id,
        "name": key.name,
        "redacted_value": "sk-admin...",
        "created_at": 1_711_471_533,
        "expires_at": null,
        "owner": owner,
    })
}

fn error(status: u16, code: &str) -> Response {
    answer(status, json!({"error": {"message": code, "type": "invalid_request_error", "param": null, "code": code}}))
}

fn written(key: &Key) -> Value {
    json!({"apiKey": key.secret, "apiKeyId": key.id})
}

fn lifecycle(double: &OpenAi) -> Lifecycle<'_> {
    let by_hand = double.mint(BY_HAND);
    Lifecycle {
        issuer: "openai-admin",
        id: "apiKeyId",
        router: double.router(),
        admin: Value::Null,
        keys: &double.keys,
        written: written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_verified_and_revoked_by_itself() {
    let double = OpenAi::default();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_some(), "nothing proves that it is the function's");
}

/// With `admin: self` the key may end any other. That is no reason to believe an id that somebody wrote beside it.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_the_secret_names_by_a_slip_is_not_ended() {
    let double = OpenAi::default();
    let world = World::start("openai-admin", double.router(), Value::Null).await;
    let (own, used_elsewhere) = (double.mint(BY_HAND), double.mint(BY_HAND));
    let secret = world.secret(json!({"apiKey": own.secret, "apiKeyId": used_elsewhere.id})).await;
    secret.rotated().await;
    secret.rotated().await;
    secret.rotated().await;
    assert!(double.keys.with_id(&used_elsewhere.id).is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_is_found_on_a_later_page() {
    lifecycle(&OpenAi::default()).survives_a_lost_reply(230, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_address_is_not_a_dead_key() {
    let double = OpenAi::default();
    let world = World::start("openai-admin", double.router(), Value::Null).await;
    let by_hand = double.mint(BY_HAND);
    let secret = world.secret(written(&by_hand)).await;
    double.outside.store(true, Ordering::SeqCst);
    assert_eq!(secret.refused().await.error_type, "issuer-unavailable");
    assert_eq!(secret.at("AWSCURRENT").await["apiKeyId"], by_hand.id);
    assert!(double.keys.with_id(&by_hand.id).is_some());
    double.outside.store(false, Ordering::SeqCst);
    secret.rotated().await;
    secret.rotated().await;
    only_kept_live(&double.keys, &by_hand, &secret, "apiKeyId").await;
}
