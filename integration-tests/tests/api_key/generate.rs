//! Values that are minted here, for services that check them themselves.

use axum::Router;
use integration_tests::issuer::{Secret, World};
use integration_tests::merged;
use serde_json::{Value, json};

async fn world() -> World {
    World::start("generate", Router::new(), json!({})).await
}

async fn minted<'a>(world: &'a World, value: Value) -> Secret<'a> {
    let document = json!({"issuer": "generate", "apiKey": "made by hand", "rotation": {"value": value}});
    world.secret_text(&document.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_looks_as_the_secret_says() {
    let world = world().await;
    let hex = |c: char| c.is_ascii_digit() || ('a'..='f').contains(&c);
    let url = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    let base64 = |c: char| c.is_ascii_alphanumeric() || "+/=".contains(c);
    type Looks = (Value, usize, fn(char) -> bool);
    let kinds: [Looks; 5] = [
        (json!({"kind": "hex", "bytes": 32}), 64, hex),
        (json!({"kind": "base64url", "bytes": 32}), 43, url),
        (json!({"kind": "base64", "bytes": 64}), 88, base64),
        (json!({"kind": "password", "length": 40}), 40, |c| c.is_ascii_graphic() && !"/@\"'\\".contains(c)),
        (json!({"kind": "characters", "length": 50, "alphabet": "ABCDEFGH01234567"}), 50, |c| {
            "ABCDEFGH01234567".contains(c)
        }),
    ];
    for (value, length, looks) in kinds {
        let secret = minted(&world, value.clone()).await;
        let mut keys = vec![secret.field("AWSCURRENT", "apiKey").await];
        for _ in 0..3 {
            secret.rotated().await;
            let key = secret.field("AWSCURRENT", "apiKey").await;
            assert_eq!(key.chars().count(), length, "{value}: length");
            assert!(key.chars().all(looks), "{value}: characters");
            assert_eq!(secret.field("AWSPREVIOUS", "apiKey").await, keys[0], "{value}: the one before");
            assert!(!keys.contains(&key), "{value}: a value came twice");
            keys.insert(0, key);
        }
    }
    assert_eq!(world.https.requests(), [""; 0]);
}

/// As GitHub's tokens have: whoever finds a key knows whose it is, and a typing error shows.
#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_and_a_checksum_are_part_of_the_key() {
    let world = world().await;
    let secret = minted(&world, json!({"kind": "hex", "bytes": 20, "prefix": "acme_", "checksum": "crc32"})).await;
    secret.rotated().await;
    let key = secret.field("AWSCURRENT", "apiKey").await;
    let (random, checksum) = key.strip_prefix("acme_").expect("the prefix").split_at(40);
    assert!(random.chars().all(|c| c.is_ascii_hexdigit()));
    assert!(checksum.len() == 6 && checksum.chars().all(|c| c.is_ascii_alphanumeric()));
    // A value that was changed on its way is not promoted.
    let token = secret.registered().await;
    let mut wrong = secret.at("AWSCURRENT").await;
    let last = if key.ends_with('0') { "1" } else { "0" };
    wrong["apiKey"] = json!(format!("{}{last}", &key[..key.len() - 1]));
    let put = json!({"SecretId": secret.arn, "ClientRequestToken": token, "SecretString": wrong.to_string(),
        "VersionStages": ["AWSPENDING"]});
    world.lab.call("PutSecretValue", put).await.expect("the value is stored");
    for step in ["testSecret", "finishSecret"] {
        assert_eq!(secret.step(step, &token).await.expect_err(step).error_type, "pending-mismatch");
    }
    assert_eq!(secret.field("AWSCURRENT", "apiKey").await, key);
}

/// A fresh secret holds what a person typed. It is in use, nothing is pending, and the first rotation draws a key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_no_rotation_has_made_is_diagnosed_as_such() {
    let world = world().await;
    let secret = minted(&world, json!({"kind": "hex", "bytes": 32})).await;
    let diagnosed = async || {
        let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
        outcome.result().expect("a diagnosis")
    };
    assert_eq!(diagnosed().await["finding"], "rotation-off");
    secret.attached().await;
    let answer = diagnosed().await;
    assert_eq!((&answer["finding"], &answer["versions"][0]["credential"]), (&json!("not-generated"), &json!("works")));
    assert_eq!(answer["error"]["code"], "key-not-generated");
    let next = answer["nextAction"].as_str().expect("an action");
    assert!(next.starts_with("Run `aws secretsmanager rotate-secret`") && !next.contains("AWSPENDING"), "{next}");
    secret.rotated().await;
    assert_eq!(diagnosed().await["finding"], "healthy");
    // Another form is wanted from now on.
    let wider = json!({"rotation": {"value": {"kind": "hex", "bytes": 64}}});
    secret.put(&merged(secret.at("AWSCURRENT").await, wider)).await;
    assert_eq!(diagnosed().await["finding"], "not-generated");
    secret.rotated().await;
    assert_eq!(diagnosed().await["finding"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_good_key_is_refused() {
    let world = world().await;
    for value in [
        json!({"kind": "hex", "bytes": 1}),
        json!({"kind": "hex"}),
        json!({"kind": "hex", "bytes": 32, "length": 3}),
        json!({"kind": "hex", "bytes": 1_000_000}),
        json!({"kind": "characters", "length": 40, "alphabet": "a"}),
        json!({"kind": "characters", "length": 40, "alphabet": "aabb"}),
        json!({"kind": "characters", "length": 2, "alphabet": "abcdefghijklmnop"}),
        json!({"kind": "characters", "length": 40, "alphabet": "äöüßÄÖÜabcdefghi"}),
        json!({"kind": "characters", "length": 40}),
        json!({"kind": "uuid"}),
        json!({"kind": "base64", "bytes": 32, "checksum": "md5"}),
        json!("hex"),
    ] {
        let secret = minted(&world, value.clone()).await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, "field-invalid", "{value}: {error:?}");
        assert!(error.error_message.contains("rotation"), "{value}: {error:?}");
        assert_eq!(secret.field("AWSCURRENT", "apiKey").await, "made by hand");
    }
}

const WITH_PREVIOUS: &str = "issuer: lab
title: A signing secret, with the one before
unchecked: Nothing is called.
strategy: generate
admin: none
value: {kind: base64url, bytes: 64}
output: {signingKey: key.secret, previousSigningKey: previous.secret, rotatedAt: time}
";

/// A service that reads one version of the secret finds both values in it, and when they changed.
#[tokio::test(flavor = "multi_thread")]
async fn the_previous_value_and_the_time_stand_in_the_same_secret() {
    let world = World::described(WITH_PREVIOUS, Router::new(), json!({}), |function| function).await;
    let document = json!({"issuer": "lab", "signingKey": "made by hand", "kid": 7});
    let secret = world.secret_text(&document.to_string()).await;
    let mut before = "made by hand".to_owned();
    for _ in 0..2 {
        secret.rotated().await;
        let now = secret.at("AWSCURRENT").await;
        let key = now["signingKey"].as_str().expect("a key");
        assert_eq!((key.len(), &now["previousSigningKey"], &now["kid"]), (86, &json!(before), &json!(7)));
        let time = now["rotatedAt"].as_str().expect("a time");
        assert!(time.len() == 20 && time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(merged(now.clone(), json!({"rotation": null}))["rotation"], Value::Null);
        before = key.to_owned();
    }
}
