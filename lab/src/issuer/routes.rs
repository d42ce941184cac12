//! The HTTP API of an [`Issuer`].
//!
//! | request | answers |
//! |---|---|
//! | `POST /v1/keys` `{"name"}` | 201 `{"id", "name", "secret", "createdAt"}`; 409 `key_limit_reached`, `name_taken` |
//! | `PUT /v1/keys/{id}` `{"secret"}`: a key whose id and secret the client chooses; its name is the id | 201, or 204 if there was one; 409 `key_limit_reached` |
//! | `PUT /v1/keys/{id}/grants/{scope}`: the key may do this, too | 204; 404 `not_found` |
//! | `GET /v1/keys?prefix=&cursor=` | 200 `{"data": [{"id", "name", "createdAt", "active"}], "next": cursor or null}` |
//! | `DELETE /v1/keys/{id}` | 204; 404 `not_found` |
//! | `GET /v1/whoami`, as a key | 200 `{"id", "name"}`; 401 `unauthorized` |
//!
//! All but the last are for the admin token: 401 `unauthorized` without, 403 `forbidden` with a key. A request that is
//! wrong is 4xx with `{"error": code}`. A key that was deleted and still works is listed with `"active": false`.

use super::https::{self, Stale};
use super::keys::{Entry, Refused};
use super::state::Issuer;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, get, post, put};
use axum::{Extension, Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// The longest name that is accepted, as many issuers have one.
const NAME_LIMIT: usize = 64;

impl Issuer {
    /// Its HTTP API, to be served by [`Https`](super::Https): `POST`, `GET`, `PUT` and `DELETE` of `/v1/keys`, and `GET /v1/whoami`.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/keys", post(create).get(list))
            .route("/v1/keys/{id}", delete(remove).put(place))
            .route("/v1/keys/{id}/grants/{scope}", put(grant))
            .route("/v1/whoami", get(whoami))
            .fallback(async || Refusal::NOT_FOUND)
            .method_not_allowed_fallback(async || Refusal::METHOD_NOT_ALLOWED)
            .layer(from_fn_with_state(self.clone(), paced))
            .with_state(self.clone())
    }
}

/// An answer without what was asked for.
#[derive(Clone, Copy, Debug)]
struct Refusal(StatusCode, &'static str);

impl Refusal {
    const UNAUTHORIZED: Self = Self(StatusCode::UNAUTHORIZED, "unauthorized");
    const FORBIDDEN: Self = Self(StatusCode::FORBIDDEN, "forbidden");
    const NOT_FOUND: Self = Self(StatusCode::NOT_FOUND, "not_found");
    const METHOD_NOT_ALLOWED: Self = Self(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed");
    const UNSUPPORTED_MEDIA_TYPE: Self = Self(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type");
    const INVALID_BODY: Self = Self(StatusCode::BAD_REQUEST, "invalid_body");
    const INVALID_NAME: Self = Self(StatusCode::BAD_REQUEST, "invalid_name");
    const INVALID_QUERY: Self = Self(StatusCode::BAD_REQUEST, "invalid_query");
    const INVALID_CURSOR: Self = Self(StatusCode::BAD_REQUEST, "invalid_cursor");
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.0, Json(json!({ "error": self.1 }))).into_response()
    }
}

impl From<Refused> for Refusal {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::KeyLimitReached => "key_limit_reached",
            Refused::NameTaken => "name_taken",
        };
        Self(StatusCode::CONFLICT, code)
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        match rejection {
            JsonRejection::MissingJsonContentType(_) => Self::UNSUPPORTED_MEDIA_TYPE,
            _ => Self::INVALID_BODY,
        }
    }
}

impl From<QueryRejection> for Refusal {
    fn from(_: QueryRejection) -> Self {
        Self::INVALID_QUERY
    }
}

/// Keeps the rate limit before anything is done, and is slow only afterwards: whoever does not wait for the reply has
/// been served all the same.
async fn paced(State(issuer): State<Issuer>, request: Request, next: Next) -> Response {
    let admitted = issuer.keys().admit(Instant::now());
    let response = match admitted {
        Ok(()) => next.run(request).await,
        Err(wait) => https::throttled(whole_seconds(wait)),
    };
    tokio::time::sleep(issuer.options().latency).await;
    response
}

/// `Retry-After` has no fractions (RFC 9110, section 10.2.3): too long is right, too short is not.
fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The request carries the admin token.
struct Admin;

impl FromRequestParts<Issuer> for Admin {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, issuer: &Issuer) -> Result<Self, Refusal> {
        match bearer(&parts.headers) {
            Some(token) if token == issuer.admin_token() => Ok(Self),
            Some(token) if issuer.works(token) => Err(Refusal::FORBIDDEN),
            _ => Err(Refusal::UNAUTHORIZED),
        }
    }
}

/// The token of an `Authorization: Bearer` header (RFC 6750, section 2.1).
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Create {
    name: String,
}

async fn create(
    _: Admin,
    State(issuer): State<Issuer>,
    body: Result<Json<Create>, JsonRejection>,
) -> Result<(StatusCode, Json<Value>), Refusal> {
    let Json(Create { name }) = body?;
    if name.is_empty() || name.chars().count() > NAME_LIMIT {
        return Err(Refusal::INVALID_NAME);
    }
    let Entry { id, name, secret, created_at, .. } = issuer.keys().create(&name, Instant::now())?;
    let body = json!({ "id": id, "name": name, "secret": secret, "createdAt": created_at });
    Ok((StatusCode::CREATED, Json(body)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    secret: String,
}

async fn place(
    _: Admin,
    State(issuer): State<Issuer>,
    Path(id): Path<String>,
    body: Result<Json<Place>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let Json(Place { secret }) = body?;
    if id.chars().count() > NAME_LIMIT || secret.is_empty() {
        return Err(Refusal::INVALID_NAME);
    }
    let is_new = issuer.keys().put(&id, &secret, Instant::now())?;
    Ok(if is_new { StatusCode::CREATED } else { StatusCode::NO_CONTENT })
}

async fn grant(
    _: Admin,
    State(issuer): State<Issuer>,
    Path((id, scope)): Path<(String, String)>,
) -> Result<StatusCode, Refusal> {
    if issuer.keys().grant(&id, &scope) { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NOT_FOUND) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    #[serde(default)]
    prefix: String,
    cursor: Option<String>,
}

async fn list(
    _: Admin,
    State(issuer): State<Issuer>,
    stale: Option<Extension<Stale>>,
    query: Result<Query<List>, QueryRejection>,
) -> Result<Json<Value>, Refusal> {
    let Query(List { prefix, cursor }) = query?;
    let place = cursor.map_or(Ok(0), |cursor| after(&cursor).ok_or(Refusal::INVALID_CURSOR))?;
    let page = issuer.keys().page(&prefix, place, stale.is_some(), Instant::now());
    let data: Vec<_> = page.entries.iter().map(listed).collect();
    Ok(Json(json!({ "data": data, "next": page.next.map(cursor_after) })))
}

/// A key as the list has it: without its secret.
fn listed(entry: &Entry) -> Value {
    json!({ "id": entry.id, "name": entry.name, "createdAt": entry.created_at, "active": entry.active() })
}

/// Opaque, so that no client computes one.
fn cursor_after(number: u64) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("after {number}"))
}

fn after(cursor: &str) -> Option<u64> {
    let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    text.strip_prefix("after ")?.parse().ok()
}

async fn remove(_: Admin, State(issuer): State<Issuer>, Path(id): Path<String>) -> Result<StatusCode, Refusal> {
    if issuer.keys().delete(&id, Instant::now()) { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::NOT_FOUND) }
}

async fn whoami(
    State(issuer): State<Issuer>,
    stale: Option<Extension<Stale>>,
    headers: HeaderMap,
) -> Result<Json<Value>, Refusal> {
    let secret = bearer(&headers).ok_or(Refusal::UNAUTHORIZED)?;
    let key = issuer.keys().identify_use(secret, stale.is_some(), Instant::now()).ok_or(Refusal::UNAUTHORIZED)?;
    Ok(Json(json!({ "id": key.id, "name": key.name })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_rounded_up_to_whole_seconds() {
        let rounded = |milliseconds| whole_seconds(Duration::from_millis(milliseconds));
        assert_eq!([rounded(1), rounded(1000), rounded(1001)], [1, 1, 2]);
    }

    #[test]
    fn only_our_own_cursors_are_read() {
        assert_eq!(after(&cursor_after(7)), Some(7));
        assert_eq!(after("7"), None);
        assert_eq!(after(&BASE64_URL_SAFE_NO_PAD.encode("7")), None);
    }
}
