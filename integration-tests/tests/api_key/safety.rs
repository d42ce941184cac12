//! Where requests may go, and what an issuer may answer: nothing it says reaches any output.

use super::support::{by_hand, described, live};
use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use integration_tests::issuer::World;
use lab::disturb::Disturb;
use lab::issuer::{Https, Issuer, Options};
use lab::stack::Builder;
use serde_json::{Value, json};
use std::time::Duration;

/// In the bodies and headers of what is answered here.
const CANARY: &str = "canary-4711-must-not-be-seen";

/// The lab's issuer, which answers otherwise where a request is of this method and begins with this path.
fn answering(issuer: &Issuer, method: &'static str, path: &'static str, answer: fn() -> Response) -> Router {
    issuer.router().layer(from_fn(move |request: Request, next: Next| async move {
        if request.method() == method && request.uri().path().starts_with(path) {
            let mut response = answer();
            // As if a key had been made.
            if method == "POST" && response.status() == StatusCode::OK {
                *response.status_mut() = StatusCode::CREATED;
            }
            return response;
        }
        next.run(request).await
    }))
}

/// A rotation against an issuer that answers one call like this fails with this code, without a word of the answer.
async fn fails_and_tells_nothing(method: &'static str, path: &'static str, answer: fn() -> Response, code: &str) {
    let issuer = Issuer::new(Options::default());
    let router = answering(&issuer, method, path, answer);
    let admin = json!({"token": issuer.admin_token()});
    let settings = |function: Builder| {
        function.env("LOG_LEVEL", "trace").env("RUST_LOG", "trace").timeout(Duration::from_secs(12))
    };
    let world = World::described(&impatient(), router, admin, settings).await;
    let secret = by_hand(&world, &issuer).await;
    let before = secret.field("AWSCURRENT", "apiKey").await;
    let report = secret.rotate().await;
    let error = report.error().expect("the rotation fails");
    assert_eq!(error.error_type, code, "{method} {path}: {error:?}");
    assert_eq!(secret.field("AWSCURRENT", "apiKey").await, before);
    assert!(issuer.works(&before), "{method} {path}: the current key is dead");
    assert!(world.https.requests().iter().any(|line| line.starts_with(&format!("{method} {path}"))), "never asked");
    let printed = format!("{error:?} {}", world.lab.function_output());
    assert!(printed.contains(code), "the output that is searched is the function's");
    assert!(!printed.contains(&CANARY[..10]), "{method} {path}: an answer in the output");
}

/// The answer with a marker in each of its objects, under a name that no description reads, and in a header.
async fn with_markers(answer: Response) -> Response {
    fn mark(value: &mut Value) {
        match value {
            Value::Array(items) => items.iter_mut().for_each(mark),
            Value::Object(fields) => {
                fields.values_mut().for_each(mark);
                fields.insert(format!("note-{CANARY}"), CANARY.into());
            }
            _ => {}
        }
    }
    let (mut head, body) = answer.into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    head.headers.insert("x-request-id", CANARY.parse().expect("a header"));
    let Ok(mut value) = serde_json::from_slice::<Value>(&bytes) else {
        return Response::from_parts(head, Body::from(bytes));
    };
    mark(&mut value);
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(value.to_string()))
}

/// Of what an issuer answers the function prints nothing but the ids of keys, which an error names for a person to look for.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_issuer_says_beside_the_key_is_not_printed() {
    let issuer = Issuer::new(Options::default());
    let router = issuer.router().layer(axum::middleware::map_response(with_markers));
    let admin = json!({"token": issuer.admin_token()});
    let all = |function: Builder| function.env("LOG_LEVEL", "trace").env("RUST_LOG", "trace");
    let world = World::described(&impatient(), router, admin, all).await;
    let secret = by_hand(&world, &issuer).await;
    for _ in 0..3 {
        secret.rotated().await;
    }
    let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
    let printed = format!("{} {}", String::from_utf8_lossy(&outcome.payload), world.lab.function_output());
    assert!(printed.contains(&secret.arn), "the output that is searched is the function's");
    assert!(!printed.contains(&CANARY[..10]), "an answer in the output");
}

/// The description, with no time for a new key to be known everywhere: here, none ever is.
fn impatient() -> String {
    described(&[("every: 1s, upTo: 30s", "every: 100ms, upTo: 300ms")])
}

const CALLS: [(&str, &str); 3] = [("GET", "/v1/keys"), ("POST", "/v1/keys"), ("GET", "/v1/whoami")];

fn huge() -> Response {
    let body = format!("{{\"data\": [], \"id\": \"{CANARY}\", \"more\": \"{}\"}}", "x".repeat(2 << 20));
    ([(header::CONTENT_TYPE, "application/json"), (header::ETAG, CANARY)], body).into_response()
}

fn deep() -> Response {
    let body = format!("{{\"id\": \"{CANARY}\", \"data\": {}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    ([(header::CONTENT_TYPE, "application/json"), (header::ETAG, CANARY)], body).into_response()
}

fn no_json() -> Response {
    let headers = [(header::CONTENT_TYPE, "text/html"), (header::SERVER, CANARY), (header::SET_COOKIE, CANARY)];
    (headers, format!("<html><title>{CANARY}</title>{{\"secret\": \"{CANARY}")).into_response()
}

fn refused() -> Response {
    let headers = [(header::WWW_AUTHENTICATE, CANARY), (header::RETRY_AFTER, CANARY), (header::LINK, CANARY)];
    (StatusCode::UNPROCESSABLE_ENTITY, headers, axum::Json(json!({"error": CANARY, CANARY: CANARY}))).into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_2_mib_is_not_read() {
    for (method, path) in &CALLS[..2] {
        fails_and_tells_nothing(method, path, huge, "answer-too-large").await;
    }
    // Of a key that is being tried, it tells nothing; of a first one, it proves nothing.
    fails_and_tells_nothing("GET", "/v1/whoami", huge, "answer-too-large").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nests_10000_deep_is_not_read() {
    for (method, path) in &CALLS[..2] {
        fails_and_tells_nothing(method, path, deep, "answer-unexpected").await;
    }
    fails_and_tells_nothing("GET", "/v1/whoami", deep, "key-mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_json_is_not_read() {
    for (method, path) in &CALLS[..2] {
        fails_and_tells_nothing(method, path, no_json, "answer-unexpected").await;
    }
    fails_and_tells_nothing("GET", "/v1/whoami", no_json, "key-mismatch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_refusal_is_repeated() {
    for (method, path) in &CALLS[..2] {
        fails_and_tells_nothing(method, path, refused, "issuer-refused").await;
    }
    fails_and_tells_nothing("GET", "/v1/whoami", refused, "issuer-unavailable").await;
}

/// A list, a key made, a key tried: wherever a redirect comes, nothing goes where it points.
#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    for (method, path) in CALLS {
        for status in [301, 302, 303, 307, 308] {
            let issuer = Issuer::new(Options::default());
            let router = issuer.router().layer(from_fn(move |request: Request, next: Next| async move {
                if request.method() == method && request.uri().path().starts_with(path) {
                    return moved(status);
                }
                next.run(request).await
            }));
            let admin = json!({"token": issuer.admin_token()});
            let world = World::described(&impatient(), router, admin, |function| function).await;
            let secret = by_hand(&world, &issuer).await;
            assert_eq!(secret.refused().await.error_type, "redirect-refused", "{status} to {method} {path}");
            let asked = world.https.requests();
            assert!(asked.iter().any(|line| line.ends_with(&status.to_string())), "{asked:?}");
            // To the same server, which is trusted: whoever follows gets there.
            assert!(!asked.iter().any(|line| line.contains("elsewhere")), "{status} was followed: {asked:?}");
            assert!(!world.lab.function_output().contains(CANARY));
        }
    }
}

fn moved(status: u16) -> Response {
    let moved = Response::builder().status(status).header(header::LOCATION, "/elsewhere");
    moved.body(Body::from(CANARY)).expect("a response")
}

/// Addresses inside: a description that leads there does no harm, unless the deployer allows the host.
#[tokio::test(flavor = "multi_thread")]
async fn an_address_inside_is_refused_unless_it_is_allowed() {
    for host in ["localhost", "127.0.0.1", "127.1.2.3"] {
        assert_eq!(led_to(host, "").await, Some("host-denied".to_owned()), "{host}");
    }
    // 127.1.2.3 is not in the certificate; that says that it was connected to.
    for host in ["localhost", "127.0.0.1"] {
        assert_eq!(led_to(host, &format!("lab={host}")).await, None, "{host} is allowed");
        let denied = Some("host-denied".to_owned());
        assert_eq!(led_to(host, &format!("other={host}")).await, denied, "{host} is allowed for another issuer");
        let invalid = Some("configuration-invalid".to_owned());
        assert_eq!(led_to(host, host).await, invalid, "{host} is allowed for no issuer");
    }
    // What clouds keep credentials behind, and what no issuer is.
    for host in ["169.254.169.254", "169.254.170.2", "0.0.0.0", "255.255.255.255", "224.0.0.1"] {
        for allowed in [String::new(), format!("lab={host}")] {
            assert_eq!(led_to(host, &allowed).await, Some("host-denied".to_owned()), "{host}, allowed: {allowed:?}");
        }
    }
    for host in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1"] {
        assert_eq!(led_to(host, "lab=localhost").await, Some("host-denied".to_owned()), "{host}");
    }
}

/// The code with which a rotation fails whose description names a host, at the lab's issuer's port; `None` if it succeeds.
async fn led_to(host: &str, allowed: &str) -> Option<String> {
    let issuer = Issuer::new(Options::default());
    let (disturb, admin) = (Disturb::new(), json!({"token": issuer.admin_token()}));
    let https = Https::start(issuer.router(), disturb).expect("the issuer is served");
    let base = format!("  base: https://{host}:{}\n", https.port());
    let description = described(&[("  base: https://issuer.example.com\n", &base)]);
    let settings = |function: Builder| {
        let function = function.env("CA_BUNDLE", https.ca_pem()).timeout(Duration::from_secs(12));
        function.env("ISSUER_ENDPOINT_URL", "").env("ALLOWED_PRIVATE_HOSTS", allowed)
    };
    let world = World::described(&description, issuer.router(), admin, settings).await;
    let secret = by_hand(&world, &issuer).await;
    let report = secret.rotate().await;
    let asked = https.requests().len();
    assert_eq!(report.rotated(), asked > 0, "{host}: {asked} requests");
    assert_eq!(live(&issuer).len(), if report.rotated() { 2 } else { 1 });
    report.error().map(|error| error.error_type)
}

/// Whoever writes the secret chooses the host, and would be sent the admin's credential.
#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_secret_chooses_is_one_of_those_allowed() {
    let issuer = Issuer::new(Options::default());
    let described = described(&[
        (
            "  base: https://issuer.example.com\n",
            "  base: \"https://{{vars.host}}\"\n  hosts: [issuer.example.com, \"*.eu.example.com\"]\n",
        ),
        ("auth:\n", "vars:\n  host: {default: issuer.example.com}\n\nauth:\n"),
    ]);
    let admin = json!({"token": issuer.admin_token()});
    let settings = |function: Builder| function.env("ALLOWED_HOSTS", "lab=issuer.example.net,other=evil.example.org");
    let world = World::described(&described, issuer.router(), admin, settings).await;
    for (host, code) in [
        ("evil.example.org", "host-denied"),
        ("issuer.example.com.evil.org", "host-denied"),
        ("eu.example.com", "host-denied"),
        ("evil-eu.example.com", "host-denied"),
        ("169.254.169.254", "host-denied"),
        ("localhost", "host-denied"),
    ] {
        let (id, key) = issuer.mint("by hand");
        let secret = world.secret(json!({"apiKey": key, "apiKeyId": id, "host": host})).await;
        assert_eq!(secret.refused().await.error_type, code, "{host}");
    }
    for host in ["issuer.example.com@evil.org", "evil.org/issuer.example.com", "evil.org?issuer.example.com", "a b", ""]
    {
        let (id, key) = issuer.mint("by hand");
        let secret = world.secret(json!({"apiKey": key, "apiKeyId": id, "host": host})).await;
        let code = secret.refused().await.error_type;
        assert!(["host-denied", "field-invalid"].contains(&code.as_str()), "{host:?}: {code}");
    }
    assert_eq!(world.https.requests(), [""; 0], "nothing is sent for these");
    for host in ["issuer.example.com", "a.eu.example.com", "issuer.example.net", "ISSUER.example.com"] {
        let (id, key) = issuer.mint("by hand");
        let secret = world.secret(json!({"apiKey": key, "apiKeyId": id, "host": host})).await;
        secret.rotated().await;
    }
}

/// Whoever writes a secret chooses its issuer. The admin's credential of one issuer is not sent to another one.
#[tokio::test(flavor = "multi_thread")]
async fn an_admins_credential_goes_to_its_own_issuer_alone() {
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), |function| function).await;
    let refused = async |admin: serde_json::Value, named: &str| {
        let arn = world.lab.create_secret(&integration_tests::uuid(), &admin.to_string()).await.expect("it is created");
        let (id, key) = issuer.mint("by hand");
        // The fields of each issuer that is named here.
        let fields = json!({
            "issuer": named, "apiKey": key, "apiKeyId": id, "scopes": ["mail.send"], "rotation": {"adminSecretArn": arn},
        });
        let error = world.secret(fields).await.rotate().await.error();
        error.map(|error| {
            assert!(error.error_message.contains(&arn), "which secret: {error:?}");
            error.error_type
        })
    };
    let token = issuer.admin_token();
    for (admin, named, code) in [
        (json!({"issuer": "lab", "apiKey": token}), "sendgrid", "admin-not-allowed"),
        (json!({"issuer": "lab", "apiKey": token}), "datadog", "admin-not-allowed"),
        (json!({"issuers": ["lab", "okta"], "apiKey": token}), "sendgrid", "admin-not-allowed"),
        (json!({"apiKey": token}), "sendgrid", "field-missing"),
        (json!({"token": token}), "lab", "field-missing"),
        (json!({"issuer": "sendgrid", "token": token}), "lab", "admin-not-allowed"),
    ] {
        assert_eq!(refused(admin, named).await.as_deref(), Some(code), "{named}");
    }
    assert_eq!(world.https.requests(), [""; 0], "nothing is sent for these");
    assert_eq!(refused(json!({"issuers": ["sendgrid", "lab"], "token": token}), "lab").await, None);
}

/// People paste a key or an address with a password into a field for a name.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_name_is_not_printed() {
    let described = described(&[
        ("  base: https://issuer.example.com\n", "  base: \"https://{{vars.host}}\"\n  hosts: [issuer.example.com]\n"),
        ("auth:\n", "vars:\n  host: {default: issuer.example.com}\n\nauth:\n"),
    ]);
    let (world, issuer) = World::lab_with(Options::default(), &described, |function| function).await;
    for fields in [
        json!({"issuer": format!("Bearer {CANARY}")}),
        json!({"issuer": format!("https://{CANARY}@lab")}),
        json!({"host": format!("app:{CANARY}@issuer.example.com")}),
        json!({"host": format!("{CANARY}@issuer.example.com")}),
        json!({"host": format!("issuer.example.com/{CANARY}")}),
        json!({"rotation": {"adminSecretArn": format!("https://app:{CANARY}@lab")}}),
        json!({"rotation": {format!("Bearer {CANARY}"): 1}}),
        json!({"rotation": {"value": {"kind": CANARY}}}),
    ] {
        let (id, key) = issuer.mint("by hand");
        let all = integration_tests::merged(json!({"apiKey": key, "apiKeyId": id}), fields.clone());
        let error = world.secret(all).await.refused().await;
        let printed = format!("{error:?} {}", world.lab.function_output());
        assert!(!printed.contains(&CANARY[..10]), "{fields}: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_nobody_vouches_for_is_sent_nothing() {
    let settings = |function: Builder| function.env("CA_BUNDLE", "");
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
    let secret = by_hand(&world, &issuer).await;
    assert_eq!(secret.refused().await.error_type, "tls-unknown-issuer");
    assert_eq!(world.https.requests(), [""; 0]);
}
