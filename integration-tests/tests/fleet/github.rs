//! From GitHub's webhook to the value in the alert: the value is fetched, and nothing that a delivery holds chooses from where.

use super::leak::{WEBHOOK, date, password, signed, status, with_fingerprints};
use super::support::values;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use lab::disturb::Disturb;
use lab::issuer::Https;
use serde_json::{Value, json};
use std::sync::{Arc, OnceLock};

const TOKEN: &str = "github_pat_0123456789";

/// The alerts of one repository, as GitHub documents them:
/// <https://docs.github.com/en/rest/secret-scanning/secret-scanning#get-a-secret-scanning-alert>
fn github(leaked: Arc<OnceLock<String>>) -> Router {
    let alert =
        async |State(leaked): State<Arc<OnceLock<String>>>, Path(number): Path<u64>, headers: HeaderMap| -> Response {
            let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
            if header("user-agent").is_empty() || header("accept") != "application/vnd.github+json" {
                return StatusCode::FORBIDDEN.into_response();
            }
            if header("authorization") != format!("Bearer {TOKEN}") {
                return (StatusCode::UNAUTHORIZED, Json(json!({"message": "Bad credentials"}))).into_response();
            }
            let alert = json!({"number": number, "state": "open", "secret_type": "generic", "secret": leaked.get()});
            match number {
                1 => Json(alert).into_response(),
                2 => (StatusCode::FOUND, [(header::LOCATION, "/elsewhere")]).into_response(),
                3 => "x".repeat(300 * 1024).into_response(),
                4 => (StatusCode::FORBIDDEN, [("x-ratelimit-remaining", "0")]).into_response(),
                _ => StatusCode::NOT_FOUND.into_response(),
            }
        };
    Router::new()
        .route("/api/v3/repos/octo-org/octo-repo/secret-scanning/alerts/{number}", get(alert))
        .with_state(leaked)
}

/// A delivery as GitHub sends it: without the value, and with addresses that nobody may follow.
fn delivery(repository: &str, number: u64) -> Value {
    let elsewhere = "https://127.0.0.1:1/repos/octo-org/octo-repo/secret-scanning/alerts/1";
    let alert = json!({"action": "created", "alert": {
        "number": number, "created_at": date(), "secret_type": "generic", "url": elsewhere,
        "html_url": "https://github.com/octo-org/octo-repo/security/secret-scanning/1"},
        "repository": {"full_name": repository, "url": elsewhere}});
    signed(&alert, WEBHOOK)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_of_an_alert_is_fetched_and_leads_to_its_secret() {
    // The double has to be there before the function, and the value is known afterwards.
    let value = Arc::new(OnceLock::new());
    let double = Https::start(github(Arc::clone(&value)), Disturb::new()).expect("a port");
    let url = format!("{}/api/v3", double.url());
    let settings = [("GITHUB_TOKEN_SECRET", "fleet/token"), ("GITHUB_API_URL", &url), ("CA_BUNDLE", double.ca_pem())];
    let fleet = with_fingerprints(&settings).await;
    let all = values(&fleet).await;
    let (secret, _, leaked) = &all[0];
    value.set(password(leaked)).expect("it is set once");

    // Without a token people are told, and the delivery may come again.
    let first = delivery("octo-org/octo-repo", 1);
    let missing = fleet.ask_leaks(&first).await.expect_err("there is no token").to_string();
    assert!(missing.contains("GITHUB_TOKEN_SECRET"), "{missing}");
    fleet.lab().create_secret("fleet/token", "another token").await.unwrap();
    let refused = fleet.ask_leaks(&first).await.expect_err("the token is refused").to_string();
    assert!(refused.contains("GITHUB_TOKEN_SECRET") && refused.contains("401"), "{refused}");
    assert!(fleet.printed().contains("a credential may have leaked"), "{}", fleet.printed());
    let token = json!({"SecretId": "fleet/token", "SecretString": format!("{TOKEN}\n")});
    fleet.lab().call("PutSecretValue", token).await.unwrap();

    // What a forger with the webhook's secret can send.
    for wrong in ["octo-org/..", "octo-org/octo-repo/../../x", "127.0.0.1:1/x", "octo-org", "a/b?c"] {
        assert_eq!(status(&fleet, &delivery(wrong, 1)).await.0, 400, "{wrong}");
    }
    for (number, code, words) in [
        (2, "alert-unread", "a redirect, which is not followed"),
        (3, "answer-too-large", "larger"),
        (4, "alert-unread", "a limit of requests"),
        (5, "configuration-invalid", "404"),
    ] {
        let error = fleet.ask_leaks(&delivery("octo-org/octo-repo", number)).await.expect_err(words).to_string();
        assert!(error.contains(code) && error.contains(words), "{error}");
        assert!(error.contains("hand it over"), "{error}");
    }
    assert!(!fleet.printed().contains("a credential has leaked"), "nothing was found so far");

    assert_eq!(status(&fleet, &first).await, (202, json!({"accepted": true})));
    let printed = fleet.printed();
    assert!(printed.contains("a credential has leaked") && printed.contains(secret), "{printed}");
    assert!(!printed.contains(&password(leaked)) && !printed.contains(TOKEN), "nothing secret is printed");
    assert_eq!(status(&fleet, &first).await.0, 409, "a replay");
    let asked = double.requests();
    let path = |number: u64| format!("GET /api/v3/repos/octo-org/octo-repo/secret-scanning/alerts/{number}");
    let expected = [(1, 401), (2, 302), (3, 200), (4, 403), (5, 404), (1, 200)];
    let expected: Vec<_> = expected.iter().map(|(number, status)| format!("{} {status}", path(*number))).collect();
    assert_eq!(asked, expected, "no other path, and none twice");
    fleet.shutdown().await;
}
