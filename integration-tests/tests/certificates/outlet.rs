//! Certificates are handed to ACM and S3, and servers that serve them are looked at.

use axum::Router;
use axum::extract;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use integration_tests::certificates::{World, python};
use lab::disturb::{Disturb, Fault};
use lab::issuer::Https;
use lab::servers::moto::Moto;
use lab::servers::pebble::Options;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const ARN: &str = "arn:aws:acm:us-east-1:000000000000:certificate/1";

/// What the double of ACM has for one ARN: tags, and the certificates with their chains that were imported, in order.
/// <https://docs.aws.amazon.com/acm/latest/APIReference/API_Operations.html>
#[derive(Clone, Default)]
struct Acm(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    tags: BTreeMap<String, String>,
    imported: Vec<[String; 2]>,
}

impl Acm {
    fn router(&self) -> Router {
        Router::new().fallback(answer).with_state(self.clone())
    }

    fn last(&self) -> String {
        self.0.lock().unwrap().imported.last().cloned().expect("a certificate was imported")[0].clone()
    }

    fn imports(&self) -> usize {
        self.0.lock().unwrap().imported.len()
    }
}

async fn answer(extract::State(acm): extract::State<Acm>, headers: HeaderMap, body: String) -> Response {
    let operation = headers["x-amz-target"].to_str().unwrap().strip_prefix("CertificateManager.").unwrap().to_owned();
    let request: Value = serde_json::from_str(&body).expect("JSON");
    let refused = |kind: &str| {
        let body = json!({"__type": kind, "message": "hunter2"}).to_string();
        (axum::http::StatusCode::BAD_REQUEST, body).into_response()
    };
    if request["CertificateArn"] != ARN {
        return refused("ResourceNotFoundException");
    }
    let mut state = acm.0.lock().unwrap();
    match operation.as_str() {
        "ListTagsForCertificate" => {
            let tags: Vec<_> = state.tags.iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
            json!({"Tags": tags}).to_string().into_response()
        }
        "AddTagsToCertificate" => {
            for tag in request["Tags"].as_array().expect("tags") {
                let [key, value] = ["Key", "Value"].map(|name| tag[name].as_str().expect(name).to_owned());
                state.tags.insert(key, value);
            }
            String::new().into_response()
        }
        "GetCertificate" => match state.imported.last() {
            Some([own, chain]) => json!({"Certificate": own, "CertificateChain": chain}).to_string().into_response(),
            None => refused("RequestInProgressException"),
        },
        "ImportCertificate" => {
            let text = |name: &str| {
                let bytes = BASE64_STANDARD.decode(request[name].as_str().expect(name)).expect("base64");
                String::from_utf8(bytes).expect("PEM")
            };
            assert!(text("PrivateKey").contains("PRIVATE KEY") && text("CertificateChain").contains("CERTIFICATE"));
            state.imported.push([text("Certificate"), text("CertificateChain")]);
            json!({"CertificateArn": ARN}).to_string().into_response()
        }
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_imported_under_the_same_arn() {
    let acm = Acm::default();
    let api = Https::without_tls(acm.router(), Disturb::new()).unwrap();
    let world = World::with(Options::default(), |it| it.env("AWS_ENDPOINT_URL_ACM", api.url())).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await;
    for imports in 1..=3 {
        secret.rotated().await;
        assert_eq!(acm.last(), secret.field("AWSCURRENT", "certificate").await);
        assert_eq!(acm.imports(), imports, "finishSecret finds that it is there");
    }
    let unknown = json!({"rotation": {"acmCertificateArn": "arn:aws:acm:us-east-1:000000000000:certificate/2"}});
    let error = world.secret(&["example.com"], unknown).await.refused().await;
    assert_eq!(error.error_type, "outlet-refused");
    assert!(error.error_message.contains("ResourceNotFoundException"), "{}", error.error_message);
    assert!(!error.error_message.contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_in_acm_belongs_to_one_secret() {
    let acm = Acm::default();
    let api = Https::without_tls(acm.router(), Disturb::new()).unwrap();
    let world = World::with(Options::default(), |it| it.env("AWS_ENDPOINT_URL_ACM", api.url())).await;
    let [one, other] = [
        world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await,
        world.secret(&["example.com"], json!({"rotation": {"acmCertificateArn": ARN}})).await,
    ];
    one.rotated().await;
    let error = other.refused().await;
    assert_eq!(error.error_type, "outlet-taken");
    assert!(error.error_message.contains("remove-tags-from-certificate"), "{}", error.error_message);
    assert_eq!((acm.imports(), acm.last()), (1, one.field("AWSCURRENT", "certificate").await));
    one.rotated().await;
    // What the error advises gives it to the other one.
    acm.0.lock().unwrap().tags.clear();
    other.rotated().await;
    assert_eq!(acm.last(), other.field("AWSCURRENT", "certificate").await);
    assert_eq!(one.refused().await.error_type, "outlet-taken");
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
    };
    let (held, ()) = tokio::join!(secret.step("setSecret", &late), overtaking);
    assert_eq!(held.expect_err("overtaken").error_type, "version-unknown");
    assert_eq!(acm.imports(), 3, "it arrived, and was replaced");
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

#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_s3_belongs_to_one_secret() {
    let moto = Moto::start().await.unwrap();
    python(&moto, "import boto3; boto3.client('s3').create_bucket(Bucket='certificates')").await;
    let world = World::with(Options::default(), |function| {
        moto.environment()
            .filter(|(name, _)| !name.contains("ROUTE_53"))
            .fold(function, |function, (name, url)| function.env(name, url))
    })
    .await;
    let options = json!({"rotation": {"s3Bucket": "certificates", "s3Prefix": "web"}});
    let [one, other] =
        [world.secret(&["example.com"], options.clone()).await, world.secret(&["example.com"], options).await];
    // What another program has put there is left alone, and a certificate that is nobody's is taken.
    let put = async |body: &str| {
        let script = "import boto3, sys\nboto3.client('s3').put_object(Bucket='certificates', Key='web/certificate.pem', Body=BODY)";
        python(&moto, &script.replace("BODY", &json!(body).to_string())).await;
    };
    put("important").await;
    let error = one.refused().await;
    assert_eq!(error.error_type, "outlet-taken");
    assert!(error.error_message.contains("no certificate"), "{}", error.error_message);
    put(&world.root).await;
    one.rotated().await;
    assert_eq!(other.refused().await.error_type, "outlet-taken");
    let script = "import boto3\nprint(boto3.client('s3').get_object(Bucket='certificates', Key='web/certificate.pem')['Body'].read().decode())";
    assert_eq!(python(&moto, script).await.trim(), one.field("AWSCURRENT", "certificate").await.trim());
    one.rotated().await;
}
