//! The daily look begins the renewals that the CA suggests.

use integration_tests::certificates::{Secret, World};
use lab::servers::pebble::Options;
use serde_json::{Value, json};

async fn watched(world: &World) -> Value {
    let outcome = world.lab.invoke(&json!({"Step": "watch"})).await;
    serde_json::from_slice(&outcome.payload).expect("an answer")
}

async fn suggests(world: &World, secret: &Secret<'_>, start: &str, end: &str) {
    let certificate = secret.field("AWSCURRENT", "certificate").await;
    world.pebble.set_renewal(&certificate, start, end).await.expect("Pebble takes it");
}

/// A moment in RFC 3339.
fn moment(words: &str) -> String {
    let mut date = std::process::Command::new("date");
    let output = date.args(["-u", "-d", words, "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date runs");
    String::from_utf8(output.stdout).expect("a date").trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_is_renewed_when_the_ca_suggests_it() {
    let world = World::start(Options::default()).await;
    // Without a profile Pebble chooses one at random.
    let long = json!({"rotation": {"profile": "default"}});
    let secret = world.secret(&["example.com", "*.example.com"], long.clone()).await;
    secret.rotated().await;
    let other = world.secret(&["example.net"], long).await;
    other.rotated().await;
    let first = secret.field("AWSCURRENT", "certificate").await;

    let answer = watched(&world).await;
    assert_eq!((&answer["served"], &answer["renewed"], &answer["warnings"]), (&json!(3), &json!([]), &json!([])));
    assert_eq!((&answer["daysLeft"], &answer["expiring"]), (&json!(89), &json!([])), "{answer}");

    // The CA always answers with the past: a certificate that is new stays.
    suggests(&world, &secret, "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z").await;
    assert_eq!(watched(&world).await["renewed"], json!([]));
    // The window is reached.
    suggests(&world, &secret, &moment("now"), &moment("+1 hour")).await;
    let answer = watched(&world).await;
    assert_eq!(answer["renewed"], json!([secret.arn]), "{answer}");
    secret.settled().await;
    assert_ne!(secret.field("AWSCURRENT", "certificate").await, first);
    assert_eq!(secret.field("AWSPREVIOUS", "certificate").await, first);
    // The new certificate has a window of its own.
    assert_eq!(watched(&world).await["renewed"], json!([]));
    // The window is far away, although a third of a life is not left: the CA knows better.
    suggests(&world, &secret, "2099-01-01T00:00:00Z", "2099-01-02T00:00:00Z").await;
    assert_eq!(watched(&world).await["renewed"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_short_life_is_not_told_as_short_and_its_order_names_what_it_replaces() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"profile": "shortlived"}})).await;
    secret.rotated().await;
    let answer = watched(&world).await;
    assert_eq!((&answer["daysLeft"], &answer["expiring"], &answer["renewed"]), (&json!(5), &json!([]), &json!([])));
    // Two orders replace the same certificate: the second one is refused, and made without.
    let first = secret.at("AWSCURRENT").await;
    secret.rotated().await;
    secret.put(&first).await;
    secret.rotated().await;
    assert_eq!(watched(&world).await["daysLeft"], 5, "Pebble gives another profile to who asks for none, now and then");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_diagnosis_tells_of_a_certificate_that_serves_nobody() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    let diagnosed = async || {
        let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
        serde_json::from_slice::<Value>(&outcome.payload).expect("an answer")
    };
    assert_eq!(diagnosed().await["finding"], "healthy");
    let mut value = secret.at("AWSCURRENT").await;
    value["privateKey"] = "hunter2".into();
    secret.put(&value).await;
    let answer = diagnosed().await;
    assert_eq!(answer["finding"], "previous-in-effect", "{answer}");
    assert!(!answer.to_string().contains("hunter2"));
    secret.rotated().await;
    assert_eq!(diagnosed().await["finding"], "healthy");
}

/// The number of secrets behind a directory that is silent.
const BEHIND: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_is_silent_holds_up_nobody() {
    let world = World::start(Options::default().brief()).await;
    let brief = json!({"rotation": {"profile": "brief"}});
    let mut behind = Vec::new();
    for _ in 0..BEHIND {
        behind.push(world.secret(&["example.com"], brief.clone()).await);
    }
    let last = world.secret(&["example.net"], brief).await;
    last.rotated().await;
    behind[0].rotated().await;
    let mut value = behind[0].at("AWSCURRENT").await;
    value["directory"] = world.silent_directory().into();
    for secret in &behind {
        secret.attached().await;
        secret.put(&value).await;
    }
    // A certificate that lives for thirty hours is due at each look, whatever its CA says.
    let answer = watched(&world).await;
    assert_eq!(world.asked_in_vain(), 1);
    assert_eq!((&answer["served"], &answer["warnings"]), (&json!(BEHIND + 2), &json!([])), "{answer}");
    let renewed = answer["renewed"].as_array().expect("secrets");
    for secret in behind.iter().chain([&last]) {
        assert!(renewed.contains(&json!(secret.arn)), "{answer}");
        secret.settled().await;
    }
}
