//! Certificates are handed to ACM and S3, and servers that serve them are looked at.

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use integration_tests::STEPS;
use integration_tests::certificates::World;
use lab::disturb::{Disturb, Fault};
use lab::issuer::Https;
use lab::servers::moto::Moto;
use lab::servers::pebble::Options;
use serde_json::{Value, json};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ARN: &str = "arn:aws:acm:us-east-1:000000000000:certificate/1";

/// ACM's ImportCertificate, which keeps what it got in order.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_ImportCertificate.html>
#[derive(Clone, Default)]
struct Acm(Arc<Mutex<Vec<String>>>);

impl Acm {
    fn router(&self) -> Router {
        Router::new().fallback(import).with_state(self.clone())
    }

    fn last(&self) -> String {
        self.0.lock().unwrap().last().cloned().expect("a certificate was imported")
    }
}

async fn import(State(acm): State<Acm>, headers: HeaderMap, body: String) -> Response {
    assert_eq!(headers["x-amz-target"], "CertificateManager.ImportCertificate");
    let request: Value = serde_json::from_str(&body).expect("JSON");
    if request["CertificateArn"] != ARN {
        let body = json!({"__type": "ResourceNotFoundException", "message": "hunter2"}).to_string();
        return (axum::http::StatusCode::BAD_REQUEST, body).into_response();
    }
    let text = |name: &str| {
        let bytes = BASE64_STANDARD.decode(request[name].as_str().expect(name)).expect("base64");
        String::from_utf8(bytes).expect("PEM")
    };
    assert!(text("PrivateKey").contains("PRIVATE KEY") && text("CertificateChain").contains("CERTIFICATE"));
    acm.0.lock().unwrap().push(text("Certificate"));
    json!({"CertificateArn": ARN}).to_string().into_response()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_imported_under_the_same_arn() {
    let acm = Acm::default();
    let api = Https::without_tls(acm.router(), Disturb::new()).unwrap();
    let world = World::with(Options::default(), |it| it.env("AWS_ENDPOINT_URL_ACM", api.url())).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await;
    for _ in 0..2 {
        secret.rotated().await;
        assert_eq!(acm.last(), secret.field("AWSCURRENT", "certificate").await);
    }
    let unknown = json!({"rotation": {"acmCertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/2"}});
    let error = world.secret(&["example.com"], unknown).await.refused().await;
    assert_eq!(error.error_type, "outlet-refused");
    assert!(error.error_message.contains("ResourceNotFoundException"), "{}", error.error_message);
    assert!(!error.error_message.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_left_behind_gets_the_current_certificate() {
    let acm = Acm::default();
    let api = Https::without_tls(acm.router(), Disturb::new()).unwrap();
    let world = World::with(Options::default(), |it| it.env("AWS_ENDPOINT_URL_ACM", api.url())).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await;
    secret.rotated().await;
    // setSecret is left out.
    let token = secret.registered().await;
    secret.steps(&["createSecret", "testSecret", "finishSecret"], &token).await;
    assert_eq!(acm.last(), secret.field("AWSCURRENT", "certificate").await);

    // AWSCURRENT is moved by hand to a version that was not handed on.
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    let current = secret.version("AWSCURRENT").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": token,
        "RemoveFromVersionId": current});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is moved");
    secret.steps(&["setSecret"], &token).await;
    assert_eq!(acm.last(), secret.field("AWSCURRENT", "certificate").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_arrives_late_is_replaced_by_the_current_one() {
    let (acm, disturb) = (Acm::default(), Disturb::new());
    let api = Https::without_tls(acm.router(), disturb.clone()).unwrap();
    let world = World::with(Options::default(), |it| it.env("AWS_ENDPOINT_URL_ACM", api.url())).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await;
    secret.rotated().await;
    let late = secret.registered().await;
    secret.steps(&["createSecret"], &late).await;
    disturb.on_next("issuer POST", Fault::Delay(Duration::from_secs(2)));
    let overtaking = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": late});
        world.lab.call("UpdateSecretVersionStage", request).await.expect("the rotation is given up");
        let token = secret.registered().await;
        secret.steps(&STEPS, &token).await;
    };
    let (held, ()) = tokio::join!(secret.step("setSecret", &late), overtaking);
    assert_eq!(held.expect_err("overtaken").error_type, "version-unknown");
    assert_eq!(acm.last(), secret.field("AWSCURRENT", "certificate").await);
}

/// moto is not ours: it shows that the requests are those of the services.
#[tokio::test(flavor = "multi_thread")]
async fn motos_s3_takes_a_certificate() {
    let moto = Moto::start().await.unwrap();
    python(&moto, "import boto3; boto3.client('s3').create_bucket(Bucket='certificates')").await;
    let world = World::with(Options::default(), |function| {
        moto.environment()
            .filter(|(name, _)| !name.contains("ROUTE_53"))
            .fold(function, |function, (name, url)| function.env(name, url))
    })
    .await;
    // moto's ACM takes only certificates whose subject has a common name, which neither Pebble's nor a public CA's newer ones have.
    let options = json!({"s3Bucket": "certificates", "s3Prefix": "web"});
    let secret = world.secret(&["example.com"], json!({"rotation": options})).await;
    secret.rotated().await;
    let script = r#"
import boto3
s3 = boto3.client("s3")
print(sorted(it["Key"] for it in s3.list_objects_v2(Bucket="certificates")["Contents"]))
for name in ("certificate", "chain", "fullchain"):
    print(s3.get_object(Bucket="certificates", Key=f"web/{name}.pem")["Body"].read().decode())
"#;
    let said = python(&moto, script).await;
    let value = secret.at("AWSCURRENT").await;
    for field in ["certificate", "chain", "fullChain"] {
        assert!(said.contains(value[field].as_str().unwrap().trim()), "{field}: {said}");
    }
    assert!(said.contains("['web/certificate.pem', 'web/chain.pem', 'web/fullchain.pem']"), "{said}");
    assert!(!said.contains("PRIVATE KEY"));
}

async fn python(moto: &Moto, script: &str) -> String {
    let program = tokio::task::spawn_blocking(lab::provision::python).await.unwrap().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::new(program);
    command.args(["-c", script]).current_dir(directory.path()).env_clear().env("PATH", "/usr/bin:/bin");
    command.envs(moto.environment()).envs([
        ("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE"),
        ("AWS_SECRET_ACCESS_KEY", "lab"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ]);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// openssl serves what the secret holds. It is started anew after each rotation, as people reload their servers, and a client that
/// trusts the CA alone is never refused. testSecret looks at it while it serves the certificate before.
#[tokio::test(flavor = "multi_thread")]
async fn openssl_serves_twenty_certificates_one_after_the_other() {
    let settings = |function: lab::stack::Builder| function.env("ENDPOINT_HOSTS", "127.0.0.1");
    let world = World::with(Options::default().reuse(100), settings).await;
    let port = lab::port::Reserved::new().unwrap();
    let address = format!("127.0.0.1:{}", port.number());
    let endpoint = json!({"rotation": {"endpoint": address}});
    let secret = world.secret(&["example.com", "*.example.com"], endpoint).await;
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(file("root.pem"), &world.root).unwrap();
    let mut server: Option<tokio::process::Child> = None;
    for round in 0..20 {
        secret.rotated().await;
        let value = secret.at("AWSCURRENT").await;
        std::fs::write(file("chain.pem"), value["fullChain"].as_str().unwrap()).unwrap();
        std::fs::write(file("key.pem"), value["privateKey"].as_str().unwrap()).unwrap();
        if let Some(mut before) = server.take() {
            before.kill().await.unwrap();
        }
        let mut openssl = tokio::process::Command::new("openssl");
        openssl.args(["s_server", "-quiet", "-accept", &address, "-key", &file("key.pem")]);
        openssl.args(["-cert", &file("chain.pem"), "-cert_chain", &file("chain.pem")]);
        openssl.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        server = Some(openssl.spawn().expect("openssl starts"));
        for name in ["example.com", "anything.example.com"] {
            let said = client(&address, name, &file("root.pem")).await;
            assert!(said.contains("Verify return code: 0 (ok)"), "round {round}, {name}: {said}");
        }
    }
    // A server that serves something else is found.
    let other = world.secret(&["example.com", "*.example.com"], json!({"rotation": {"endpoint": address}})).await;
    other.rotated().await;
    assert_eq!(other.refused().await.error_type, "endpoint-differs");
}

/// What a client says that trusts this root alone, once there is a server.
async fn client(address: &str, name: &str, root: &str) -> String {
    for _ in 0..100 {
        let mut client = tokio::process::Command::new("openssl");
        client.args(["s_client", "-connect", address, "-servername", name, "-verify_hostname", name]);
        client.args(["-verify_return_error", "-CAfile", root]);
        let output = client.stdin(Stdio::null()).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if said.contains("Verify return code") {
            return said;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    "nobody listens".to_owned()
}
