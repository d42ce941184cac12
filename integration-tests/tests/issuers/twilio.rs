//! Twilio: forms and basic authentication, keys that may not manage keys, and pages that name the next one by its path.

use super::support::{Call, Double, Key, Keys, Lifecycle, answer, empty, page, random};
use axum::response::Response;
use integration_tests::issuer::World;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// There is a cap (error 70151); which is not documented.
const CAP: usize = 150;

/// The documentation allows pages of 1,000. Smaller ones here, so that there are several.
const PAGE: usize = 50;

#[derive(Clone)]
struct Twilio {
    keys: Keys,
    account: String,
    /// A Main key's SID and secret.
    admin: (String, String),
}

impl Twilio {
    fn new() -> Self {
        let account = format!("AC{}", random(32));
        Self { keys: Keys::default(), account, admin: (format!("SK{}", random(32)), random(32)) }
    }

    fn admin(&self) -> Value {
        json!({"username": self.admin.0, "password": self.admin.1})
    }

    fn mint(&self, name: &str) -> Key {
        let key = made(name);
        self.keys.add(key.clone());
        key
    }

    fn written(&self, key: &Key) -> Value {
        json!({"apiKey": key.secret, "apiKeyId": key.id, "accountSid": self.account})
    }

    fn list(&self, call: &Call) -> Response {
        let query = call.query();
        let size = query.get("PageSize").map_or(Ok(50), |size| size.parse::<usize>());
        let (Ok(size @ 1..=1000), Some(from)) = (size, self.page_start(&query)) else {
            return error(400, 20001, "Invalid page");
        };
        let keys = self.keys.all();
        let shown: Vec<_> = page(&keys, from, size.min(PAGE)).iter().map(shown).collect();
        let end = from + shown.len();
        let next = (end < keys.len()).then(|| {
            let account = &self.account;
            format!("/2010-04-01/Accounts/{account}/Keys.json?PageSize={size}&Page={}&PageToken=PA{end}", end / PAGE)
        });
        answer(200, json!({"keys": shown, "page_size": size, "start": from, "end": end, "next_page_uri": next}))
    }

    /// "Page: this value is simply for client state." Only the token says where a page begins.
    fn page_start(&self, query: &BTreeMap<String, String>) -> Option<usize> {
        query.get("PageToken").map_or(Some(0), |token| token.strip_prefix("PA")?.parse().ok())
    }

    fn create(&self, call: &Call) -> Response {
        let form = call.form().unwrap_or_default();
        let Some(name) = form.get("FriendlyName").filter(|name| form.len() == 1 && name.len() <= 64) else {
            return error(400, 20001, "Invalid FriendlyName");
        };
        if self.keys.all().len() >= CAP {
            return error(400, 70151, "Maximum Number Of API Keys Exceeded");
        }
        let key = self.mint(name);
        let mut made = shown(&key);
        made["secret"] = json!(key.secret);
        answer(201, made)
    }
}

impl Double for Twilio {
    fn answer(&self, call: &Call) -> Response {
        let Some((user, password)) = call.basic() else { return unauthorized() };
        let is_admin = self.admin == (user.clone(), password.clone());
        let is_key = self.keys.with_secret(Some(&password)).is_some_and(|key| key.id == user);
        let (method, path) = call.route();
        let ["2010-04-01", "Accounts", account, path @ ..] = &path[..] else { return not_found() };
        match (method, path) {
            _ if *account != self.account || !(is_admin || is_key) => unauthorized(),
            ("GET", ["Messages.json"]) => answer(200, json!({"messages": [], "page": 0, "next_page_uri": null})),
            // A Standard key: "access to all Twilio API resources, except for Accounts or Keys".
            _ if !is_admin => unauthorized(),
            ("GET", ["Keys.json"]) => self.list(call),
            ("POST", ["Keys.json"]) => self.create(call),
            ("DELETE", ["Keys", id]) if id.strip_suffix(".json").is_some_and(|id| self.keys.remove(id)) => empty(204),
            _ => not_found(),
        }
    }
}

fn made(name: &str) -> Key {
    Key { id: format!("SK{}", random(32)), name: name.to_owned(), secret: random(32), more: Value::Null }
}

fn shown(key: &Key) -> Value {
    let date = "Mon, 13 Jun 2016 22:50:08 +0000";
    json!({"sid": key.id, "friendly_name": key.name, "date_created": date, "date_updated": date})
}

fn error(status: u16, code: u32, message: &str) -> Response {
    let more = format!("https://www.twilio.com/docs/errors/{code}");
    answer(status, json!({"code": code, "message": message, "more_info": more, "status": status}))
}

fn unauthorized() -> Response {
    error(401, 20003, "Authenticate")
}

fn not_found() -> Response {
    error(404, 20404, "The requested resource was not found")
}

fn lifecycle(double: &Twilio) -> Lifecycle<'_> {
    let by_hand = double.mint("by hand");
    Lifecycle {
        issuer: "twilio",
        id: "apiKeyId",
        router: double.router(),
        admin: double.admin(),
        keys: &double.keys,
        written: double.written(&by_hand),
        by_hand,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_created_verified_and_revoked() {
    let double = Twilio::new();
    let lifecycle = lifecycle(&double);
    let by_hand = lifecycle.by_hand.clone();
    lifecycle.runs().await;
    // A key's id is its user, so that the first one, which a person made, is known to be the one of its id.
    assert!(double.keys.with_id(&by_hand.id).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_whose_reply_was_lost_is_found_on_a_later_page() {
    lifecycle(&Twilio::new()).survives_a_lost_reply(2 * PAGE + 7, made, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standard_key_manages_no_keys() {
    let double = Twilio::new();
    let by_hand = double.mint("by hand");
    let admin = json!({"username": by_hand.id, "password": by_hand.secret});
    let world = World::start("twilio", double.router(), admin).await;
    let secret = world.secret(double.written(&by_hand)).await;
    assert_eq!(secret.refused().await.error_type, "admin-rejected");
    assert_eq!(double.keys.live(), [by_hand.id]);
}

#[tokio::test(flavor = "multi_thread")]
async fn at_the_cap_nothing_is_lost() {
    lifecycle(&Twilio::new()).stops_at_the_limit(CAP, made, "key-limit-reached").await;
}
