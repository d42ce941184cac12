//! What verifiers really fetch: through caches, or from a place that nobody meant.

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use integration_tests::signing::{World, id, ids};
use integration_tests::{merged, uuid};
use lab::disturb::Disturb;
use lab::issuer::Https;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;

const OBJECT: &str = "keys/jwks.json";
const PLACE: &str = "s3://tokens.example.com/keys/jwks.json";
/// What no log may repeat.
const MARK: &str = "S3cr3t-of-the-site";

/// What a site answers.
#[derive(Clone)]
enum Shown {
    /// What is at this URL now.
    Through(String),
    /// This, whatever was changed since.
    Copy(Value),
    /// A status with this body, and the address of another place.
    Other(u16, String),
}

/// A site between a place and verifiers.
struct Site {
    https: Https,
    shown: Arc<Mutex<Shown>>,
}

impl Site {
    fn start() -> Self {
        let shown = Arc::new(Mutex::new(Shown::Other(404, String::new())));
        let router = Router::new().fallback(answered).with_state(Arc::clone(&shown));
        Self { https: Https::start(router, Disturb::new()).expect("a port"), shown }
    }

    fn show(&self, shown: Shown) {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) = shown;
    }

    fn host(&self) -> String {
        format!("localhost:{}", self.https.port())
    }

    fn url(&self) -> String {
        format!("https://{}/jwks.json", self.host())
    }

    /// A world whose function may ask the site.
    async fn world(&self) -> World {
        let (host, ca) = (self.host(), self.https.ca_pem().to_owned());
        let world = World::with(|function| function.env("VERIFY_HOSTS", host).env("CA_BUNDLE", ca)).await;
        self.show(Shown::Through(world.url(OBJECT)));
        world
    }

    fn rotation(&self) -> Value {
        json!({"rotation": {"publish": [PLACE], "verifyAt": self.url()}})
    }
}

async fn answered(State(shown): State<Arc<Mutex<Shown>>>) -> Response {
    let shown = shown.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let (status, body) = match shown {
        Shown::Through(url) => {
            let answer = reqwest::get(url).await.expect("the place answers");
            (answer.status().as_u16(), answer.text().await.expect("a body"))
        }
        Shown::Copy(value) => (200, value.to_string()),
        Shown::Other(status, body) => (status, body),
    };
    let answer = Response::builder().status(status).header("location", "https://169.254.169.254/");
    answer.body(Body::from(body)).expect("an answer")
}

async fn cache() {
    sleep(Duration::from_millis(2100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_may_be_old_but_has_to_know_the_key_that_signs_next() {
    let site = Site::start();
    let world = site.world().await;
    let fields = merged(json!({"maxTokenLifetime": 9, "maxCache": 8}), site.rotation());
    let secret = world.secret(&[], fields).await;
    secret.rotated().await;
    sleep(Duration::from_millis(8100)).await;
    // A copy from before this rotation lacks its new key, which does not sign yet.
    let old = world.object(OBJECT).await.1;
    site.show(Shown::Copy(old.clone()));
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert!(!ids(&old).contains(&id(&current, "next")) && ids(&old).contains(&id(&current, "current")));
    assert_eq!(world.look().await["noticed"], Value::Null);
    // The same copy is too old for the next one.
    sleep(Duration::from_millis(8100)).await;
    let looked = world.look().await;
    let told = looked["noticed"][0].as_str().expect("a notice");
    assert!(told.starts_with("[served-set-differs]") && told.contains(&id(&current, "next")), "{looked}");
    let error = secret.refused().await;
    assert_eq!(error.error_type, "served-set-differs");
    assert!(
        error.error_message.contains("localhost") && error.error_message.contains(&id(&current, "next")),
        "{error:?}"
    );
    assert_eq!(secret.at("AWSCURRENT").await, current, "the key that verifiers do not know signs");
    let diagnose = json!({"Step": "diagnose", "SecretId": secret.arn});
    let found = world.lab.invoke(&diagnose).await.result().expect("a diagnosis");
    assert!(found.to_string().contains("served-set-differs"), "{found}");
    site.show(Shown::Through(world.url(OBJECT)));
    secret.rotated().await;
    assert_eq!(id(&secret.at("AWSCURRENT").await, "current"), id(&current, "next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_no_set_stops_the_rotation_and_is_not_repeated() {
    let site = Site::start();
    let world = site.world().await;
    let secret = world.secret(&[], merged(json!({"maxCache": 1}), site.rotation())).await;
    secret.rotated().await;
    let before = secret.at("AWSCURRENT").await;
    let mut other = world.object(OBJECT).await.1;
    let set = other.to_string();
    let keys = other["keys"].as_array_mut().expect("keys");
    keys[0]["x"] = keys[1]["x"].clone();
    for shown in [
        Shown::Other(302, set),
        Shown::Other(403, MARK.to_owned()),
        Shown::Other(200, format!("<html>{MARK}</html>")),
        Shown::Other(200, "{\"keys\":[]}".to_owned()),
        Shown::Copy(other),
    ] {
        cache().await;
        site.show(shown);
        assert_eq!(secret.refused().await.error_type, "served-set-differs");
    }
    site.show(Shown::Other(200, " ".repeat(300_000)));
    assert_eq!(secret.refused().await.error_type, "answer-too-large");
    // The rotation is under way still, and the daily look asks all the same.
    assert_ne!(secret.holders("AWSPENDING").await, secret.holders("AWSCURRENT").await);
    let looked = world.look().await;
    assert!(looked["noticed"].to_string().contains("answer-too-large"), "{looked}");
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(!world.lab.function_output().contains(MARK));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_the_deployer_does_not_name_is_not_asked() {
    let (site, other) = (Site::start(), Site::start());
    let world = site.world().await;
    for url in [
        other.url(),
        "https://169.254.169.254/latest/".to_owned(),
        format!("https://localhost:{}/a", world.moto.port()),
    ] {
        let rotation = json!({"rotation": {"publish": [PLACE], "verifyAt": url}});
        let error = world.secret(&[], rotation).await.refused().await;
        assert!(error.error_type == "host-denied" && error.error_message.contains("VERIFY_HOSTS"), "{error:?}");
    }
    assert!(other.https.requests().is_empty());
    // A host that is named, and shows a certificate of a CA that nobody trusts.
    let (host, url) = (other.host(), other.url());
    let world = World::with(|function| function.env("VERIFY_HOSTS", host)).await;
    let secret = world.secret(&[], json!({"maxCache": 1, "rotation": {"publish": [PLACE], "verifyAt": url}})).await;
    // The first rotation warns, unless it takes as long as `maxCache`.
    secret.rotate().await;
    cache().await;
    assert_eq!(secret.refused().await.error_type, "tls-unknown-issuer");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_goes_on_and_a_leaked_key_that_is_still_served_is_told() {
    let site = Site::start();
    let world = site.world().await;
    let secret = world.secret(&[], merged(json!({"maxCache": 1}), site.rotation())).await;
    secret.rotated().await;
    cache().await;
    let (before, old) = (secret.at("AWSCURRENT").await, world.object(OBJECT).await.1);
    let leaked = id(&before, "current");
    let rotation = merged(site.rotation()["rotation"].clone(), json!({"emergency": {"leaked": leaked}}));
    secret.put(&merged(before, json!({"rotation": rotation}))).await;
    site.show(Shown::Other(503, MARK.to_owned()));
    secret.rotated().await;
    assert!(world.lab.function_output().contains("the emergency goes on"));
    assert!(!ids(&world.object(OBJECT).await.1).contains(&leaked));
    // A cache keeps the old set.
    let mut stale = world.object(OBJECT).await.1;
    stale["keys"].as_array_mut().expect("keys").extend(old["keys"].as_array().expect("keys").iter().take(1).cloned());
    site.show(Shown::Copy(stale));
    cache().await;
    let looked = world.look().await;
    assert!(
        looked["noticed"].to_string().contains("a leaked key") && looked["noticed"].to_string().contains(&leaked),
        "{looked}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_publishes_only_where_the_deployer_lets_it() {
    let allowed = format!("test/allowed-*={PLACE},ssm:/app/*");
    let world = World::with(|function| function.env("PLACES", allowed)).await;
    for (places, works) in [(vec![PLACE], false), (vec!["ssm:/other"], false), (vec!["ssm:/app/jwks"], true)] {
        let secret = world.secret(&places, json!({})).await;
        if works {
            secret.rotated().await;
        } else {
            let report = secret.rotate().await;
            let error = report.error().expect("it is refused");
            assert!(error.error_type == "outlet-refused" && error.error_message.contains("PLACES"), "{error:?}");
            assert_eq!(report.steps.len(), 1, "nothing is made");
            assert!(secret.at("AWSCURRENT").await.get("current").is_none());
        }
    }
    let value = json!({"algorithm": "ES256", "maxTokenLifetime": 9, "maxCache": 1, "rotation": {"publish": [PLACE]}});
    let arn = world.lab.create_secret(&format!("test/allowed-{}", uuid()), &value.to_string()).await.expect("a secret");
    let secret = world.secret_of(arn);
    secret.rotated().await;
    // Whoever edits a secret whose keys are there already gets no further.
    let value = secret.at("AWSCURRENT").await;
    secret.put(&merged(value, json!({"rotation": {"publish": ["ssm:/other"]}}))).await;
    let looked = world.look().await;
    assert!(looked["noticed"].to_string().contains("PLACES"), "{looked}");
    let parameters = world.ssm("DescribeParameters", json!({})).await.to_string();
    assert!(parameters.contains("/app/jwks") && !parameters.contains("/other"), "{parameters}");
}
