//! An issuer of API keys, as the requests of a rotation meet it: the lab's own issuer, and what other APIs make of the same keys.
//!
//! The doubles of Cloudflare's and Auth0's APIs answer what a rotation asks for. `integration-tests/tests/issuers` has whole ones.

use super::case::{ACCOUNT, ADMIN_CLIENT, FIRST_KEY, Owned, Strategy};
use crate::issuer::{Key, Options, Stale};
use api_key::http::Response;
use api_key::http::request::Request;
use axum::Router;
use axum::body::{Body, to_bytes};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tower::ServiceExt as _;

/// The name of a key of the tested secret that a person has made.
const BY_HAND: &str = "made by hand";
/// The largest answer. The lab's issuer has pages of 100 keys.
const MOST: usize = 1 << 20;

/// The issuer. Clones share their state.
#[derive(Clone)]
pub(super) struct Issuer(Arc<Shared>);

struct Shared {
    strategy: Strategy,
    keys: crate::issuer::Issuer,
    /// The lab's issuer over HTTP, once it is needed.
    router: OnceLock<Router>,
    first: Owned,
    state: Mutex<State>,
}

struct State {
    /// The administrator's credential.
    admin: String,
    /// How the names of the tested secret's keys begin, once there is a secret.
    prefix: Option<String>,
}

impl Issuer {
    /// An issuer with a key of the tested secret, which a person has made, and a stranger's.
    pub(super) fn new(strategy: Strategy) -> Self {
        let keys = crate::issuer::Issuer::new(Options::default());
        let (id, secret) = keys.mint(BY_HAND);
        // The last change, so that an outdated read knows the key.
        keys.mint("a stranger's");
        let first = match strategy {
            Strategy::Generate => Owned { id: String::new(), secret: FIRST_KEY.to_owned() },
            _ => Owned { id, secret },
        };
        let state = Mutex::new(State { admin: keys.admin_token().to_owned(), prefix: None });
        Self(Arc::new(Shared { strategy, router: OnceLock::new(), keys, first, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The key that a person has made.
    pub(super) fn first(&self) -> &Owned {
        &self.0.first
    }

    /// Tells how the names of the tested secret's keys begin.
    pub(super) fn expect_names(&self, prefix: String) {
        self.state().prefix = Some(prefix);
    }

    pub(super) fn admin(&self) -> String {
        self.state().admin.clone()
    }

    /// Replaces the administrator's credential.
    pub(super) fn replace_admin(&self, by: &str) {
        by.clone_into(&mut self.state().admin);
    }

    /// Whether a key works, and belongs to this id if one is given.
    pub(super) fn opens(&self, id: &str, secret: &str) -> bool {
        if self.0.strategy == Strategy::Generate {
            return !secret.is_empty();
        }
        self.0.keys.identify(secret, false).is_some_and(|key| id.is_empty() || key.id == id)
    }

    /// Gives a key another secret, by hand. Returns it.
    pub(super) fn renew(&self, id: &str) -> Option<String> {
        self.0.keys.renew(id, None)
    }

    /// Makes another key of the tested secret by hand.
    pub(super) fn make_by_hand(&self) -> Owned {
        let (id, secret) = self.0.keys.mint(BY_HAND);
        Owned { id, secret }
    }

    /// Ends a key by hand.
    pub(super) fn delete(&self, id: &str) {
        self.0.keys.delete(id);
    }

    pub(super) fn changes(&self) -> u64 {
        self.0.keys.changes()
    }

    /// The living keys: those of the tested secret, and others.
    pub(super) fn living(&self) -> (Vec<Owned>, Vec<Owned>) {
        let prefix = self.state().prefix.clone();
        let is_ours = |key: &Key| {
            key.name == BY_HAND || prefix.as_ref().is_some_and(|prefix| key.name.starts_with(prefix.as_str()))
        };
        let (ours, others): (Vec<_>, Vec<_>) = self.0.keys.secrets().into_iter().partition(|(key, _)| is_ours(key));
        let owned = |all: Vec<(Key, String)>| all.into_iter().map(|(Key { id, .. }, secret)| Owned { id, secret });
        (owned(ours).collect(), owned(others).collect())
    }

    /// What the issuer answers, after it has done what it was asked for. `stale`: from what it knew before its last change.
    pub(super) async fn answer(&self, request: &Request, stale: bool) -> Response {
        match self.0.strategy {
            Strategy::Roll => self.cloudflare(request, stale),
            Strategy::SetValue => self.auth0(request, stale),
            _ => self.lab(request, stale).await,
        }
    }

    /// `lab/src/issuer/routes.rs`, as it is.
    async fn lab(&self, request: &Request, stale: bool) -> Response {
        let mut message = axum::http::Request::builder().method(request.method).uri(request.path.expose());
        for (name, value) in &request.headers {
            // The lab's issuer has one administrator for ever.
            let admin = bearer(request).is_some_and(|token| token == self.state().admin);
            let own = format!("Bearer {}", self.0.keys.admin_token());
            let is_credential = name.eq_ignore_ascii_case("authorization");
            let value = match (is_credential, admin, value.expose()) {
                (true, true, _) => own.as_str(),
                (true, false, text) if text == own => "Bearer an-old-one",
                (_, _, text) => text,
            };
            message = message.header(name, value);
        }
        if stale {
            message = message.extension(Stale);
        }
        let body = request.body.as_ref().map(|(media, body)| (*media, body.expose().to_owned()));
        if let Some((media, _)) = &body {
            message = message.header("content-type", *media);
        }
        let Ok(message) = message.body(body.map_or_else(Body::empty, |(_, body)| Body::from(body))) else {
            return answered(400, None);
        };
        let router = self.0.router.get_or_init(|| self.0.keys.router()).clone();
        let Ok(reply) = router.oneshot(message).await;
        let status = reply.status().as_u16();
        let body = to_bytes(reply.into_body(), MOST).await.unwrap_or_default();
        answered(status, serde_json::from_slice(&body).ok())
    }

    /// Tokens of an account, which are rolled in place.
    fn cloudflare(&self, request: &Request, stale: bool) -> Response {
        let good = |result: Value| answered(200, Some(json!({"success": true, "errors": [], "result": result})));
        let bad = |status, code: u32| answered(status, Some(json!({"success": false, "errors": [{"code": code}]})));
        let place = request.path.expose().strip_prefix("/client/v4/accounts/");
        let place = place.and_then(|rest| rest.strip_prefix(ACCOUNT)).and_then(|rest| rest.strip_prefix("/tokens/"));
        let (Some(place), Some(token)) = (place, bearer(request)) else { return bad(401, 1000) };
        if request.method == "GET" && place == "verify" {
            let key = self.0.keys.identify(token, stale);
            return key.map_or_else(|| bad(401, 1000), |key| good(json!({"id": key.id, "status": "active"})));
        }
        match place.strip_suffix("/value") {
            _ if token != self.state().admin => bad(403, 9109),
            Some(id) if request.method == "PUT" => {
                self.0.keys.renew(id, None).map_or_else(|| bad(404, 1003), |secret| good(json!(secret)))
            }
            _ => bad(404, 1003),
        }
    }

    /// An application, whose secret is set.
    fn auth0(&self, request: &Request, stale: bool) -> Response {
        let refused = |status, error: &str| answered(status, Some(json!({"error": error})));
        let token = || format!("token-of-{}", self.state().admin);
        match (request.method, request.path.expose()) {
            ("POST", "/oauth/token") => {
                let form = form(request);
                let is = |name: &str, wanted: &str| form.get(name).is_some_and(|text| text == wanted);
                if is("client_id", ADMIN_CLIENT) && is("client_secret", &self.state().admin) {
                    return answered(200, Some(json!({"access_token": token(), "token_type": "Bearer"})));
                }
                refused(401, "access_denied")
            }
            ("POST", "/oauth/revoke") => {
                let form = form(request);
                let text = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
                let key = self.0.keys.identify(text("client_secret"), stale);
                let works = key.is_some_and(|key| key.id == text("client_id"));
                if works { answered(200, None) } else { refused(401, "invalid_client") }
            }
            ("PATCH", path) => {
                if bearer(request) != Some(&token()) {
                    return refused(401, "Unauthorized");
                }
                let body =
                    request.body.as_ref().and_then(|(_, body)| serde_json::from_str::<Value>(body.expose()).ok());
                let secret = body.as_ref().and_then(|body| body.get("client_secret")?.as_str()).map(str::to_owned);
                let id = path.strip_prefix("/api/v2/clients/");
                let (Some(id), Some(secret)) = (id, secret) else { return refused(400, "Bad Request") };
                let set = self.0.keys.renew(id, Some(secret));
                set.map_or_else(|| refused(404, "Not Found"), |_| answered(200, Some(json!({"client_id": id}))))
            }
            _ => refused(404, "Not Found"),
        }
    }
}

fn answered(status: u16, body: Option<Value>) -> Response {
    Response { status, retry_after: None, link: None, body, text: None }
}

/// The token of an `Authorization: Bearer` header.
fn bearer(request: &Request) -> Option<&str> {
    let (_, value) = request.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("authorization"))?;
    value.expose().strip_prefix("Bearer ")
}

/// The fields of a form.
fn form(request: &Request) -> BTreeMap<String, String> {
    let body = request.body.as_ref().map(|(_, body)| body.expose()).unwrap_or_default();
    let url = reqwest::Url::parse(&format!("http://form.example/?{body}"));
    url.map(|url| url.query_pairs().into_owned().collect()).unwrap_or_default()
}
