//! The paths of the page.

use super::ask::{ask, status};
use super::{Gantt, Page};
use crate::lambda::{Host, StepError};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use rotation::page::{Html, View, frame, page};
use serde::Deserialize;
use serde_json::{Value, json};

/// How often a browser asks again while a rotation is under way, in seconds.
const REFRESH: &str = "1";

#[derive(Clone)]
struct Parts {
    page: Page,
    host: Host,
}

/// The page's paths but `/`, which AWS's services have for POST.
pub(crate) fn routes<S: Clone + Send + Sync + 'static>(page: Page, host: Host) -> Router<S> {
    Router::new()
        .route("/health", get(|| async { Json(json!({ "status": "ok" })) }))
        .route("/ready", get(ready))
        .route("/status", get(status_json))
        .route("/report.csv", get(report))
        .route("/details", get(details))
        .route("/history", get(history))
        .route("/rotate", get(confirm).post(rotate))
        .with_state(Parts { page, host })
}

/// The page itself.
pub(crate) async fn index(page: &Page, host: &Host, headers: &HeaderMap) -> Response {
    if let Err(refused) = own(headers) {
        return refused.into_response();
    }
    let functions = page.functions();
    if functions.is_empty() {
        return (StatusCode::NOT_FOUND, "The page is that of `cargo lab serve`.\n").into_response();
    }
    let answer = status(host, &functions).await;
    let gantt = Gantt::new(page.rotations());
    let mut body = Html::new();
    body.markup("<div class=\"lockstep auto\">").append(&gantt.html());
    for error in answer.get("errors").and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default();
        body.markup("<p class=\"bad\" role=\"alert\">").text(text("function")).markup(" does not answer: ");
        body.text(text("error")).markup("</p>");
    }
    body.markup("</div>");
    document(&self::page(&answer, &View::of_browser()), &body, gantt.moves())
}

async fn ready(State(parts): State<Parts>) -> Response {
    let ready = parts.page.is_ready();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(json!({ "ready": ready }))).into_response()
}

async fn status_json(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    match own(&headers) {
        Ok(()) => Json(status(&parts.host, &parts.page.functions()).await).into_response(),
        Err(refused) => refused.into_response(),
    }
}

async fn report(State(parts): State<Parts>, headers: HeaderMap) -> Response {
    if let Err(refused) = own(&headers) {
        return refused.into_response();
    }
    let report = rotation::protocol::report::of_status(&status(&parts.host, &parts.page.functions()).await);
    let csv = report.get("csv").and_then(Value::as_str).unwrap_or_default().to_owned();
    ([(header::CONTENT_TYPE, "text/csv; charset=utf-8")], csv).into_response()
}

/// A secret, and the function that rotates it.
#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    function: String,
    #[serde(default)]
    secret: String,
}

async fn details(State(parts): State<Parts>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    answer(&parts, &asked, "diagnose", &headers).await
}

async fn history(State(parts): State<Parts>, Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    answer(&parts, &asked, "history", &headers).await
}

async fn answer(parts: &Parts, asked: &Asked, step: &str, headers: &HeaderMap) -> Response {
    if let Err(refused) = own(headers) {
        return refused.into_response();
    }
    match asked.ask(parts, step).await {
        Ok(answer) => document(&page(&answer, &View::of_browser()), &back(), false),
        Err(error) => failed(&error),
    }
}

/// Asks whether a rotation is meant.
async fn confirm(Query(asked): Query<Asked>, headers: HeaderMap) -> Response {
    if let Err(refused) = own(&headers) {
        return refused.into_response();
    }
    let mut body = Html::new();
    body.markup("<h2>Rotate now?</h2><p>The credential in <strong>");
    body.text(rotation::error::short_name(&asked.secret));
    body.markup("</strong> will be replaced by a new one.</p><form method=\"post\" action=\"/rotate\">");
    body.markup("<input type=\"hidden\" name=\"function\"").attribute("value", &asked.function).markup(">");
    body.markup("<input type=\"hidden\" name=\"secret\"").attribute("value", &asked.secret).markup(">");
    body.markup("<button class=\"btn btn-primary\">Rotate now</button> <a class=\"btn\" href=\"/\">Cancel</a></form>");
    document(&frame(&body, &View::of_browser()), &Html::new(), false)
}

/// Begins a rotation, if the person's own page asks.
async fn rotate(State(parts): State<Parts>, headers: HeaderMap, Form(asked): Form<Asked>) -> Response {
    if let Err(refused) = own(&headers).and_then(|()| own_origin(&headers)) {
        return refused.into_response();
    }
    match asked.ask(&parts, "rotateNow").await {
        Ok(_) => Redirect::to("/").into_response(),
        Err(error) => failed(&error),
    }
}

impl Asked {
    async fn ask(&self, parts: &Parts, step: &str) -> Result<Value, StepError> {
        let known = parts.page.functions().into_iter().find(|name| *name == self.function);
        ask(&parts.host, &known.unwrap_or_default(), &json!({ "Step": step, "SecretId": self.secret })).await
    }
}

/// Why a request is not answered.
#[derive(Debug)]
struct Refused(&'static str);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (StatusCode::FORBIDDEN, self.0).into_response()
    }
}

/// A name of this machine in `Host`. Otherwise a page of a stranger, whose name leads here, could read the answers.
fn own(headers: &HeaderMap) -> Result<(), Refused> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.chars().all(|c| c.is_ascii_digit())).map_or(host, |it| it.0);
    if ["127.0.0.1", "localhost", "[::1]"].contains(&name) {
        return Ok(());
    }
    Err(Refused("The page is for this machine: open it by http://127.0.0.1 or http://localhost.\n"))
}

/// Browsers say from which page a form was sent.
fn own_origin(headers: &HeaderMap) -> Result<(), Refused> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let origin =
        text("origin").is_none_or(|origin| text("host").is_some_and(|host| origin == format!("http://{host}")));
    let site = text("sec-fetch-site").is_none_or(|site| matches!(site, "same-origin" | "none"));
    if origin && site {
        return Ok(());
    }
    Err(Refused("Another page has sent this form.\n"))
}

fn back() -> Html {
    let mut html = Html::new();
    html.markup("<div class=\"lockstep auto\"><p><a href=\"/\">Back to all secrets</a></p></div>");
    html
}

fn failed(error: &StepError) -> Response {
    let mut body = Html::new();
    body.markup("<h2 class=\"bad\" role=\"alert\">Refused</h2><p>").text(&error.error_message);
    body.markup("</p><p><a href=\"/\">Back to all secrets</a></p>");
    let mut response = document(&frame(&body, &View::of_browser()), &Html::new(), false);
    *response.status_mut() = StatusCode::CONFLICT;
    response
}

/// A whole document. The policy keeps a browser from running or loading anything, whatever the page holds.
fn document(page: &str, more: &Html, refreshes: bool) -> Response {
    let mut begin = Html::new();
    begin.markup("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Rotations of the lab</title>");
    begin.markup("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">");
    begin.markup("<style>body{margin:0 auto;max-width:1200px;padding:8px}");
    begin.markup("@media (prefers-color-scheme:dark){body{background:#161e2d}}</style></head><body><main>");
    let mut end = Html::new();
    end.append(more).markup("</main></body></html>");
    let html = format!("{}{page}{}", begin.into_string(), end.into_string());
    let mut response = ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if refreshes {
        headers.insert("refresh", HeaderValue::from_static(REFRESH));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        fields.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn strangers_pages_neither_read_nor_rotate() {
        for host in ["127.0.0.1:4566", "localhost:4566", "localhost", "[::1]:4566"] {
            assert!(own(&headers(&[("host", host)])).is_ok(), "{host}");
        }
        for host in ["", "evil.example:4566", "127.0.0.1.evil.example", "localhost.evil.example:80"] {
            assert!(own(&headers(&[("host", host)])).is_err(), "{host}");
        }
        let here = ("host", "127.0.0.1:4566");
        assert!(own_origin(&headers(&[here])).is_ok(), "curl sends neither");
        assert!(
            own_origin(&headers(&[here, ("origin", "http://127.0.0.1:4566"), ("sec-fetch-site", "same-origin")]))
                .is_ok()
        );
        for other in [("origin", "http://evil.example"), ("origin", "null"), ("sec-fetch-site", "cross-site")] {
            assert!(own_origin(&headers(&[here, other])).is_err(), "{other:?}");
        }
    }
}
