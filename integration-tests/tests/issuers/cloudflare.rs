//! Cloudflare's tokens of an account: made anew with their policies, or rolled, which ends the old value at once.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, only_kept_live, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// "Account API token quota: 500."
const CAP: usize = 500;

#[derive(Clone)]
struct Cloudflare {
    keys: Keys,
    account: String,
    admin: String,
    /// How often the next new token is still unknown where it is verified.
    unknown: Arc<AtomicUsize>,
}

impl Cloudflare {
    fn new() -> Self {
        Self { keys: Keys::default(), account: random(32), admin: random(40), unknown: Arc::default() }
    }

    fn admin(&self) -> Value {
        json!({"apiToken": self.admin})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn written(&self, key: &Key) -> Value {
        json!({"apiToken": key.secret, "apiTokenId": key.id, "accountId": self.account, "policies": policies()})
    }

    /// What a secret says whose token is rolled.
    fn written_to_roll(&self, key: &Key) -> Value {
        json!({"apiToken": key.secret, "apiTokenId": key.id, "accountId": self.account})
    }

    fn verify(&self, key: &Key) -> Response {
        let is_unknown =
            || self.unknown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if key.name != BY_HAND && is_unknown() {
            return error(401, 1000, "Invalid API Token");
        }
        good(json!({"id": key.id, "status": "active"}))
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let number = |name: &str, default| query.get(name).map_or(Ok(default), |text| text.parse::<usize>());
        let (Ok(size @ 5..=50), Ok(number @ 1..)) = (number("per_page", 20), number("page", 1)) else {
            return error(400, 1001, "Invalid page");
        };
        let keys = self.keys.all();
        good(page(&keys, (number - 1) * size, size).iter().map(shown).collect())
    }

    fn create(&self, call: &Call) -> Response {
        let body = call.json().unwrap_or_default();
        let name = body["name"].as_str().unwrap_or_default();
        if name.is_empty() || name.len() > 120 || !is_policies(&body["policies"]) {
            return error(400, 1001, "Invalid token");
        }
        // What comes with it is not documented.
        if self.keys.all().len() >= CAP {
            return error(400, 1002, "Too many tokens");
        }
        let key = Key { more: body["policies"].clone(), ..made(name) };
        self.keys.add(key.clone());
        let mut made = shown(&key);
        made["value"] = json!(key.secret);
        good(made)
    }

    fn roll(&self, call: &Call, id: &str) -> Response {
        let Some(key) = self.keys.with_id(id) else { return error(404, 1003, "Token not found") };
        if call.json() != Some(json!({})) {
            return error(400, 1001, "Invalid body");
        }
        let rolled = Key { secret: random(40), ..key };
        self.keys.remove(id);
        self.keys.add(rolled.clone());
        good(json!(rolled.secret))
    }
}

impl Double for Cloudflare {
    fn answer(&self, call: &Call) -> Response {
        let is_admin = call.bearer() == Some(self.admin.as_str());
        let key = self.keys.with_secret(call.bearer());
        let (method, path) = call.route();
        let ["client", "v4", "accounts", account, "tokens", path @ ..] = &path[..] else {
            // Among others /user/tokens/verify, which knows no token of an account.
            return error(401, 1000, "Invalid API Token");
        };
        if !is_admin && key.is_none() || *account != self.account {
            return error(401, 1000, "Invalid API Token");
        }
        match (method, path) {
            ("GET", ["verify"]) => key.map_or_else(|| good(json!({"status": "active"})), |key| self.verify(&key)),
            _ if !is_admin => error(403, 9109, "Unauthorized to access requested resource"),
            ("GET", []) => self.list(call),
            ("POST", []) => self.create(call),
            ("PUT", [id, "value"]) => self.roll(call, id),
            ("DELETE", [id]) if self.keys.remove(id) => good(json!({"id": id})),
            _ => error(404, 1003, "Token not found"),
        }
    }
}

const BY_HAND: &str = "by hand";

fn made(name: &str) -> Key {
    Key { id: random(32), name: name.to_owned(), secret: random(40), more: policies() }
}

fn policies() -> Value {
    json!([{
        "effect": "allow",
        "resources": {"com.cloudflare.api.account.zone.eb78d65290b24279ba6f44721b3ea3c4": "*"},
        "permission_groups": [{"id": "c8fed203ed3043cba015a93ad1616f1f"}],
    }])
}

fn is_policies(value: &Value) -> bool {
    let is_policy = |policy: &Value| {
        policy["effect"].is_string() && policy["resources"].is_object() && policy["permission_groups"].is_array()
    };
    value.as_array().is_some_and(|policies| !policies.is_empty() && policies.iter().all(is_policy))
}

fn shown(key: &Key) -> Value {
    json!({"id": key.id, "name": key.name, "status": "active", "policies": key.more})
}

fn good(result: Value) -> Response {
    answer(200, json!({"result": result, "success": true, "errors": [], "messages": []}))
}

fn error(status: u16, code: u32, message: &str) -> Response {
    let errors = json!([{"code": code, "message": message}]);
    answer(status, json!({"result": null, "success": false, "errors": errors, "messages": []}))
}

fn lifecycle(double: &Cloudflare) -> Lifecycle<'_> {
    let by_hand = double.mint(BY_HAND);
    Lifecycle {
        issuer: "cloudflare",
        id: "apiTokenId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: double.written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_created_verified_and_revoked() {
    let double = Cloudflare::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    let current = lifecycle.runs().await;
    assert!(double.keys.with_id(&by_hand.id).is_none(), "the API says whose it is");
    let current = double.keys.with_secret(current["apiToken"].as_str()).expect("it lives");
    assert_eq!(current.more, policies());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_whose_reply_was_lost_is_found_on_a_later_page() {
    lifecycle(&Cloudflare::new()).survives_a_lost_reply(120, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_that_is_not_known_yet_is_waited_for() {
    let double = Cloudflare::new();
    let world = World::start("cloudflare", double.router(), double.admin()).await;
    let by_hand = double.mint(BY_HAND);
    let secret = world.secret(double.written(&by_hand)).await;
    double.unknown.store(2, Ordering::SeqCst);
    secret.rotated().await;
    only_kept_live(&double.keys, &by_hand, &secret, "apiTokenId").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolled_token_keeps_its_id_and_ends_the_old_value() {
    let double = Cloudflare::new();
    let world = World::start("cloudflare-roll", double.router(), double.admin()).await;
    let by_hand = double.mint(BY_HAND);
    let secret = world.secret(double.written_to_roll(&by_hand)).await;
    secret.rotated().await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert_eq!(double.keys.live(), std::slice::from_ref(&by_hand.id));
    assert_eq!(double.keys.with_secret(current["apiToken"].as_str()).map(|key| key.id), Some(by_hand.id));
    assert!(double.keys.with_secret(Some(&by_hand.secret)).is_none());
    assert!(double.keys.with_secret(secret.at("AWSPREVIOUS").await["apiToken"].as_str()).is_none());
}

/// A secret that was copied, for a test environment perhaps, has the original's key.
#[tokio::test(flavor = "multi_thread")]
async fn the_rotation_of_a_copy_ends_no_key_of_the_original() {
    let double = Cloudflare::new();
    let world = World::start("cloudflare", double.router(), double.admin()).await;
    let original = world.secret(double.written(&double.mint(BY_HAND))).await;
    original.rotated().await;
    let copy = world.secret_text(&original.at("AWSCURRENT").await.to_string()).await;
    for _ in 0..3 {
        copy.rotated().await;
    }
    let current = original.at("AWSCURRENT").await;
    assert!(double.keys.with_secret(current["apiToken"].as_str()).is_some());
}

/// Whoever may write the secret, and no more, must not get somebody else's token with the admin's help.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_the_secret_only_names_is_not_rolled() {
    let double = Cloudflare::new();
    let world = World::start("cloudflare-roll", double.router(), double.admin()).await;
    let somebodys = double.mint("somebody's");
    let mut claimed = double.written_to_roll(&somebodys);
    claimed["apiToken"] = json!("a-guess");
    let secret = world.secret(claimed).await;
    assert_eq!(secret.refused().await.error_type, "key-unproven");
    assert_eq!(double.keys.with_id(&somebodys.id).expect("it lives").secret, somebodys.secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_whose_reply_was_lost_is_done_again() {
    let double = Cloudflare::new();
    let world = World::start("cloudflare-roll", double.router(), double.admin()).await;
    let by_hand = double.mint(BY_HAND);
    let secret = world.secret(double.written_to_roll(&by_hand)).await;
    // From the first rotation on there is a proof that the token is this secret's to roll, even when its value is dead.
    secret.rotated().await;
    world.lab.disturb().on_next("issuer PUT", Fault::LoseReply);
    secret.rotate().await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert_eq!(double.keys.with_secret(current["apiToken"].as_str()).map(|key| key.id), Some(by_hand.id));
}
