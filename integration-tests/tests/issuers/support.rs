//! What the doubles have in common: requests taken apart, answers put together, and keys that are remembered.

use axum::body::{Bytes, to_bytes};
use axum::extract::{Query, Request};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use integration_tests::issuer::{Secret, World};
use lab::disturb::Fault;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

/// An issuer's API, in memory. Clones are the same one, so that a test can look into what the function talks to.
pub trait Double: Clone + Send + Sync + 'static {
    /// Answers a request.
    fn answer(&self, call: &Call) -> Response;

    /// What is to be served.
    fn router(&self) -> Router {
        let double = self.clone();
        Router::new().fallback(move |request: Request| {
            let double = double.clone();
            async move {
                let call = Call::read(request).await;
                if call.lacks_length() { empty(411) } else { double.answer(&call) }
            }
        })
    }
}

/// A request.
pub struct Call {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    async fn read(request: Request) -> Self {
        let (head, body) = request.into_parts();
        let body = to_bytes(body, 1 << 20).await.expect("the body arrives");
        Self { method: head.method, uri: head.uri, headers: head.headers, body }
    }

    /// Whether a method that gives a body a meaning came without a length (RFC 9110, section 8.6).
    fn lacks_length(&self) -> bool {
        let has = |name: &str| self.headers.contains_key(name);
        let has_meaning = [Method::POST, Method::PUT, Method::PATCH].contains(&self.method);
        has_meaning && !has("content-length") && !has("transfer-encoding")
    }

    /// Method and path, for `match` with array patterns: `("GET", ["v1", "keys", id])`.
    pub fn route(&self) -> (&str, Vec<&str>) {
        (self.method.as_str(), self.uri.path().split('/').skip(1).collect())
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are ASCII"))
    }

    /// The token of `Authorization: Bearer`.
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// User and password of `Authorization: Basic`.
    pub fn basic(&self) -> Option<(String, String)> {
        let encoded = self.header("authorization")?.strip_prefix("Basic ")?;
        let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
        text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
    }

    /// The query's parameters.
    pub fn query(&self) -> BTreeMap<String, String> {
        fields(&self.uri)
    }

    /// The body of a request that says it is JSON, and is.
    pub fn json(&self) -> Option<Value> {
        self.json_as("application/json")
    }

    /// The body of a request that says it is JSON of a certain kind, and is.
    pub fn json_as(&self, media_type: &str) -> Option<Value> {
        self.is(media_type).then(|| serde_json::from_slice(&self.body).ok()).flatten()
    }

    /// The fields of a request that says it is a form.
    pub fn form(&self) -> Option<BTreeMap<String, String>> {
        // A query is encoded as a form is.
        let uri: Uri = format!("/?{}", std::str::from_utf8(&self.body).ok()?).parse().ok()?;
        self.is("application/x-www-form-urlencoded").then(|| fields(&uri))
    }

    fn is(&self, media_type: &str) -> bool {
        let sent = self.header("content-type").unwrap_or_default();
        sent.split(';').next().unwrap_or_default().trim() == media_type
    }
}

fn fields(uri: &Uri) -> BTreeMap<String, String> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).expect("the query can be read");
    pairs.into_iter().collect()
}

/// An answer in JSON.
pub fn answer(status: u16, body: Value) -> Response {
    (code(status), Json(body)).into_response()
}

/// An answer without a body.
pub fn empty(status: u16) -> Response {
    code(status).into_response()
}

fn code(status: u16) -> StatusCode {
    StatusCode::from_u16(status).expect("a status")
}

/// A key as its issuer remembers it.
#[derive(Clone, Debug)]
pub struct Key {
    pub id: String,
    pub name: String,
    pub secret: String,
    /// What else this issuer remembers.
    pub more: Value,
}

/// The keys that live, in the order in which they were made.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Vec<Key>>>);

impl Keys {
    /// Another key.
    pub fn add(&self, key: Key) {
        self.lock().push(key);
    }

    /// The key with this id lives no more. Whether it did.
    pub fn remove(&self, id: &str) -> bool {
        let mut keys = self.lock();
        let before = keys.len();
        keys.retain(|key| key.id != id);
        keys.len() < before
    }

    /// All of them.
    pub fn all(&self) -> Vec<Key> {
        self.lock().clone()
    }

    /// The key with this value.
    pub fn with_secret(&self, secret: Option<&str>) -> Option<Key> {
        self.lock().iter().find(|key| Some(key.secret.as_str()) == secret).cloned()
    }

    /// The key with this id.
    pub fn with_id(&self, id: &str) -> Option<Key> {
        self.lock().iter().find(|key| key.id == id).cloned()
    }

    /// The ids of those that are not [`others`](Keys::add_others), sorted.
    pub fn live(&self) -> Vec<String> {
        let mut ids: Vec<_> =
            self.lock().iter().filter(|key| !key.name.starts_with(OTHERS)).map(|key| key.id.clone()).collect();
        ids.sort();
        ids
    }

    /// Keys of other people: no rotation may touch one. `make` makes one with this name.
    pub fn add_others(&self, count: usize, make: impl Fn(&str) -> Key) {
        for number in 0..count {
            self.add(make(&format!("{OTHERS}{number}")));
        }
    }

    /// How many keys of other people there are.
    pub fn others(&self) -> usize {
        self.lock().iter().filter(|key| key.name.starts_with(OTHERS)).count()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Key>> {
        self.0.lock().expect("no double panics with the keys")
    }
}

const OTHERS: &str = "somebody else's ";

/// The ids in the current and the previous version of a secret, sorted: what has to live, and nothing else.
pub async fn kept(secret: &Secret<'_>, id: &str) -> Vec<String> {
    let mut ids = vec![secret.field("AWSCURRENT", id).await, secret.field("AWSPREVIOUS", id).await];
    ids.sort();
    ids
}

/// How keys live and end at an issuer that makes new ones: what is tried at every one.
pub struct Lifecycle<'a> {
    /// The name of the description.
    pub issuer: &'a str,
    /// The field of the secret with the key's id.
    pub id: &'a str,
    /// The double, served.
    pub router: Router,
    /// What the admin's secret says.
    pub admin: Value,
    /// The double's keys.
    pub keys: &'a Keys,
    /// The key that a person has made.
    pub by_hand: Key,
    /// What the secret says with that key.
    pub written: Value,
}

impl Lifecycle<'_> {
    /// Keys are created, verified and revoked: besides the one that a person made, only those of the current and the previous
    /// version live. Returns the current version's value.
    pub async fn runs(self) -> Value {
        let world = World::start(self.issuer, self.router, self.admin).await;
        let secret = world.secret(self.written).await;
        for _ in 0..3 {
            secret.rotated().await;
        }
        only_kept_live(self.keys, &self.by_hand, &secret, self.id).await;
        secret.at("AWSCURRENT").await
    }

    /// A key whose creation was answered by a reply that is lost does not stay, although it is in the list behind so many keys of
    /// other people, which stay. `lose` has the next reply lost; the lab does where it is none.
    pub async fn survives_a_lost_reply(self, others: usize, make: impl Fn(&str) -> Key, lose: Option<&AtomicBool>) {
        let world = World::start(self.issuer, self.router, self.admin).await;
        let secret = world.secret(self.written).await;
        self.keys.add_others(others, make);
        match lose {
            Some(lose) => lose.store(true, Ordering::SeqCst),
            None => world.lab.disturb().on_next("issuer POST", Fault::LoseReply),
        }
        // Whatever becomes of this one, and of the next, nothing is left after one more.
        secret.rotate().await;
        secret.rotated().await;
        secret.rotated().await;
        only_kept_live(self.keys, &self.by_hand, &secret, self.id).await;
        assert_eq!(self.keys.others(), others);
    }

    /// At the limit for keys a rotation fails with this code and nothing is lost; with one key less it succeeds.
    pub async fn stops_at_the_limit(self, limit: usize, make: impl Fn(&str) -> Key, code: &str) {
        let world = World::start(self.issuer, self.router, self.admin).await;
        self.keys.add_others(limit - 1, make);
        let secret = world.secret(self.written).await;
        assert_eq!(secret.refused().await.error_type, code);
        assert_eq!((self.keys.live(), self.keys.others()), (vec![self.by_hand.id], limit - 1));
        let given_up = self.keys.all().pop().expect("a key of somebody else");
        self.keys.remove(&given_up.id);
        secret.rotated().await;
        assert_eq!((self.keys.live().len(), self.keys.others()), (2, limit - 2));
    }
}

/// Besides the key that a person made, only those of the current and the previous version live. The former is ended only where the
/// issuer says whose it is.
pub async fn only_kept_live(keys: &Keys, by_hand: &Key, secret: &Secret<'_>, id: &str) {
    let but = |ids: Vec<String>| ids.into_iter().filter(|id| *id != by_hand.id).collect::<Vec<_>>();
    assert_eq!(but(keys.live()), but(kept(secret, id).await));
}

/// So many hexadecimal digits.
pub fn random(length: usize) -> String {
    let mut text = String::new();
    while text.len() < length {
        text.push_str(&uuid::Uuid::new_v4().simple().to_string());
    }
    text.truncate(length);
    text
}

/// At most `size` of the items, from the one with this number on.
pub fn page<T>(items: &[T], from: usize, size: usize) -> &[T] {
    let from = from.min(items.len());
    &items[from..items.len().min(from + size)]
}
