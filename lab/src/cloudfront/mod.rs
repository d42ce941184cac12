//! CloudFront, as far as a rotation of the keys that sign URLs asks it: public keys and key groups.
//!
//! moto has all of it but UpdateKeyGroup; a test compares the two where both answer.
//! <https://docs.aws.amazon.com/cloudfront/latest/APIReference/>, version 2020-05-31.

mod groups;

pub use groups::{GroupConfig, Groups, Kept, KeyConfig, Refusal};

use crate::xml::{elements, escaped, unescaped};
use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const XMLNS: &str = "xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\"";
/// The moment of every change.
const MOMENT: &str = "2026-01-01T00:00:00Z";

/// The keys of a page: so few that who rotates needs two.
const PAGE: usize = 3;

/// CloudFront. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct CloudFront(Arc<Mutex<Groups>>);

impl CloudFront {
    /// The keys and groups, for tests.
    pub fn groups(&self) -> MutexGuard<'_, Groups> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The API.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/2020-05-31/public-key", post(create_key).get(list_keys))
            .route("/2020-05-31/public-key/{id}", get(get_key).delete(delete_key))
            .route("/2020-05-31/key-group", post(create_group))
            .route("/2020-05-31/key-group/{id}", get(get_group).put(update_group))
            .with_state(self.clone())
    }
}

async fn create_key(State(cloudfront): State<CloudFront>, body: String) -> Response {
    let one = |name: &str| elements(&body, name).next().map(unescaped).unwrap_or_default();
    let config = KeyConfig {
        caller_reference: one("CallerReference"),
        name: one("Name"),
        encoded_key: one("EncodedKey"),
        comment: one("Comment"),
    };
    let mut groups = cloudfront.groups();
    match groups.create_key(config) {
        Ok(id) => key_answer(&groups, &id, StatusCode::CREATED),
        Err(refusal) => refused(&refusal),
    }
}

async fn get_key(State(cloudfront): State<CloudFront>, Path(id): Path<String>) -> Response {
    key_answer(&cloudfront.groups(), &id, StatusCode::OK)
}

fn key_answer(groups: &Groups, id: &str, status: StatusCode) -> Response {
    let Kept { config, tag } = match groups.key(id) {
        Ok(key) => key,
        Err(refusal) => return refused(&refusal),
    };
    let body = format!(
        "<PublicKey {XMLNS}><Id>{id}</Id><CreatedTime>{MOMENT}</CreatedTime><PublicKeyConfig><CallerReference>{}</CallerReference>\
         <Name>{}</Name><EncodedKey>{}</EncodedKey><Comment>{}</Comment></PublicKeyConfig></PublicKey>",
        escaped(&config.caller_reference),
        escaped(&config.name),
        escaped(&config.encoded_key),
        escaped(&config.comment),
    );
    answer(status, Some(tag.as_str()), &body)
}

/// A page after the key that the marker names, which is the last one of the page before.
///
/// <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_ListPublicKeys.html>
async fn list_keys(State(cloudfront): State<CloudFront>, RawQuery(query): RawQuery) -> Response {
    let groups = cloudfront.groups();
    let marker = query.as_deref().unwrap_or_default().split('&').find_map(|part| part.strip_prefix("Marker="));
    let first = marker.map_or(0, |marker| groups.keys().take_while(|(id, _)| *id != marker).count() + 1);
    let page: Vec<_> = groups.keys().skip(first).take(PAGE).collect();
    let mut items = String::new();
    for (id, Kept { config, .. }) in &page {
        let _ = write!(
            items,
            "<PublicKeySummary><Id>{id}</Id><Name>{}</Name><CreatedTime>{MOMENT}</CreatedTime><EncodedKey>{}</EncodedKey>\
             <Comment>{}</Comment></PublicKeySummary>",
            escaped(&config.name),
            escaped(&config.encoded_key),
            escaped(&config.comment),
        );
    }
    let more = groups.keys().count() > first + page.len();
    let next = page.last().filter(|_| more).map(|(id, _)| format!("<NextMarker>{id}</NextMarker>")).unwrap_or_default();
    let count = page.len();
    let body = format!(
        "<PublicKeyList {XMLNS}>{next}<MaxItems>100</MaxItems><Quantity>{count}</Quantity><Items>{items}</Items></PublicKeyList>"
    );
    answer(StatusCode::OK, None, &body)
}

async fn delete_key(State(cloudfront): State<CloudFront>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    match cloudfront.groups().delete_key(&id, if_match(&headers)) {
        Ok(()) => StatusCode::NO_CONTENT.into_response(),
        Err(refusal) => refused(&refusal),
    }
}

async fn create_group(State(cloudfront): State<CloudFront>, body: String) -> Response {
    let mut groups = cloudfront.groups();
    match groups.create_group(group_config(&body)) {
        Ok(id) => group_answer(&groups, &id, StatusCode::CREATED),
        Err(refusal) => refused(&refusal),
    }
}

async fn get_group(State(cloudfront): State<CloudFront>, Path(id): Path<String>) -> Response {
    group_answer(&cloudfront.groups(), &id, StatusCode::OK)
}

async fn update_group(
    State(cloudfront): State<CloudFront>,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let mut groups = cloudfront.groups();
    match groups.update_group(&id, group_config(&body), if_match(&headers)) {
        Ok(()) => group_answer(&groups, &id, StatusCode::OK),
        Err(refusal) => refused(&refusal),
    }
}

fn group_config(body: &str) -> GroupConfig {
    let one = |name: &str| elements(body, name).next().map(unescaped).unwrap_or_default();
    GroupConfig {
        name: one("Name"),
        items: elements(body, "PublicKey").map(unescaped).collect(),
        comment: one("Comment"),
    }
}

fn group_answer(groups: &Groups, id: &str, status: StatusCode) -> Response {
    let Kept { config, tag } = match groups.group(id) {
        Ok(group) => group,
        Err(refusal) => return refused(&refusal),
    };
    let items: String = config.items.iter().map(|id| format!("<PublicKey>{id}</PublicKey>")).collect();
    let body = format!(
        "<KeyGroup {XMLNS}><Id>{id}</Id><LastModifiedTime>{MOMENT}</LastModifiedTime><KeyGroupConfig><Name>{}</Name>\
         <Items>{items}</Items><Comment>{}</Comment></KeyGroupConfig></KeyGroup>",
        escaped(&config.name),
        escaped(&config.comment),
    );
    answer(status, Some(tag.as_str()), &body)
}

fn if_match(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::IF_MATCH)?.to_str().ok()
}

fn answer(status: StatusCode, tag: Option<&str>, body: &str) -> Response {
    let mut answer =
        (status, [(header::CONTENT_TYPE, "text/xml")], format!("<?xml version=\"1.0\"?>\n{body}")).into_response();
    if let Some(tag) = tag.and_then(|tag| tag.parse().ok()) {
        answer.headers_mut().insert(header::ETAG, tag);
    }
    answer
}

fn refused(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status).unwrap_or(StatusCode::BAD_REQUEST);
    let body = format!(
        "<ErrorResponse {XMLNS}><Error><Type>Sender</Type><Code>{}</Code><Message>-</Message></Error></ErrorResponse>",
        refusal.code
    );
    answer(status, None, &body)
}
