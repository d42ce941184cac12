//! OpenBao's PKI, which has an ACME server, is a second CA, and a private one.

use integration_tests::OVERTIME;
use integration_tests::certificates::function;
use lab::Lab;
use lab::disturb::Disturb;
use lab::issuer::Https;
use lab::route53::{Names, Route53};
use lab::servers::openbao::OpenBao;
use lab::servers::pebble::{Options, Pebble};
use serde_json::{Value, json};
use std::time::Duration;

/// Its PKI, with an ACME server that wants bindings and asks this name server. Returns the directory's URL, the root, and a binding.
async fn pki(bao: &OpenBao, names: u16) -> (String, String, Value) {
    let ask = async |path: &str, body: Value| {
        let (status, answer) = bao.root("POST", path, body).await.expect(path);
        assert!(status < 300, "{path}: {status} {answer}");
        answer
    };
    let base = format!("https://localhost:{}/v1/pki", bao.port());
    ask("/v1/sys/mounts/pki", json!({"type": "pki", "config": {"max_lease_ttl": "87600h"}})).await;
    let headers = ["Last-Modified", "Location", "Replay-Nonce", "Link", "Retry-After"];
    ask("/v1/sys/mounts/pki/tune", json!({"allowed_response_headers": headers})).await;
    let root = ask("/v1/pki/root/generate/internal", json!({"common_name": "Private CA", "ttl": "80000h"})).await;
    ask("/v1/pki/config/cluster", json!({"path": base})).await;
    let resolver = format!("127.0.0.1:{names}");
    let acme = json!({"enabled": true, "eab_policy": "always-required", "dns_resolver": resolver});
    ask("/v1/pki/config/acme", acme).await;
    let binding = ask("/v1/pki/acme/new-eab", json!({})).await;
    let binding = json!({"keyId": binding["data"]["id"], "hmacKey": binding["data"]["key"]});
    (format!("{base}/acme/directory"), root["data"]["certificate"].as_str().expect("a root").to_owned(), binding)
}

#[tokio::test(flavor = "multi_thread")]
async fn openbaos_pki_issues_and_renews() {
    let bao = OpenBao::start().await.expect("OpenBao starts");
    // Only its name server is used.
    let pebble = Pebble::start(Options::default()).await.expect("Pebble starts");
    let (directory, root, binding) = pki(&bao, pebble.names_port()).await;
    let route53 = Route53::new().answering(Names::new(pebble.names_management()));
    route53.zones().add("Z1", "example.com", false);
    let api = Https::without_tls(route53.router(), Disturb::new()).expect("Route 53 is served");
    let lab = Lab::builder(function().await)
        .overtime(OVERTIME)
        .timeout(Duration::from_secs(60))
        .env("CA_BUNDLE", bao.ca_pem())
        .env("DIRECTORIES", &directory)
        .env("AWS_ENDPOINT_URL_ROUTE_53", api.url());
    let lab = lab.start().await.expect("the lab starts");
    let account = json!({"directory": directory, "externalAccountBinding": binding});
    let account = lab.create_secret("test/account", &account.to_string()).await.expect("the secret is created");
    let secret = json!({"directory": directory, "names": ["example.com", "*.example.com"],
        "rotation": {"accountSecretArn": account, "roots": root}});
    let secret = lab.create_secret("test/web", &secret.to_string()).await.expect("the secret is created");
    let rotated = async |secret: &str| {
        let report = lab.rotate(secret).await.expect("the rotation begins");
        assert!(report.rotated(), "{:?}", report.error());
        let value = lab.secret_value(secret, "AWSCURRENT").await.expect("a value");
        serde_json::from_str::<Value>(&value).expect("JSON")
    };
    rotated(&account).await;
    let first = rotated(&secret).await;
    assert_eq!(route53.zones().count(), 0);
    // OpenBao has no renewal information: the look asks, and nothing is due.
    let outcome = lab.invoke(&json!({"Step": "watch"})).await;
    let answer: Value = serde_json::from_slice(&outcome.payload).expect("an answer");
    assert_eq!((&answer["renewed"], &answer["warnings"]), (&json!([]), &json!([])), "{answer}");
    let second = rotated(&secret).await;
    assert_ne!(first["certificate"], second["certificate"]);
}
