//! What a rotation does with keys, and when it does not.

use integration_tests::signing::{World, id, ids};
use integration_tests::uuid;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::sleep;

// Not under `.well-known`, where moto answers for Cognito.
const OBJECT: &str = "keys/jwks.json";
const PLACE: &str = "s3://tokens.example.com/keys/jwks.json";

/// So short that a test can wait for it.
fn short() -> Value {
    json!({"maxTokenLifetime": 2, "maxCache": 1})
}

fn rotation_time() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

async fn cache() {
    sleep(Duration::from_millis(2100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_public_before_it_signs_and_after() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE, "ssm:/app/jwks"], short()).await;
    secret.rotated().await;
    let first = secret.at("AWSCURRENT").await;
    let (signs, next) = (id(&first, "current"), id(&first, "next"));
    let (cached, set) = world.object(OBJECT).await;
    assert_eq!(cached, "public, max-age=0");
    assert_eq!(ids(&set).len(), 2);
    assert_eq!(ids(&set), ids(&world.parameter("/app/jwks").await));

    cache().await;
    secret.rotated().await;
    let second = secret.at("AWSCURRENT").await;
    assert_eq!((id(&second, "current"), second["previous"][0]["kid"].as_str()), (next, Some(signs.as_str())));
    assert!(second["previous"][0].get("privateKey").is_none(), "the private part is dropped");
    let (_, set) = world.object(OBJECT).await;
    let (all, in_secret) = (ids(&set), ids(&second["jwks"]));
    assert_eq!((all.len(), &all), (3, &in_secret));

    // The time of the first key is over, once one second for `maxCache` and two for `maxTokenLifetime` have passed.
    cache().await;
    cache().await;
    let looked = world.look().await;
    assert_eq!(looked["noticed"], Value::Null);
    let (_, set) = world.object(OBJECT).await;
    assert!(ids(&set).len() == 2 && !ids(&set).contains(&signs), "{set}");
    assert_eq!(ids(&set), ids(&world.parameter("/app/jwks").await));

    let printed = world.lab.function_output();
    for version in [&first, &second] {
        for name in ["current", "next"] {
            let pem = version[name]["privateKey"].as_str().expect("a private part");
            let line = pem.lines().nth(1).expect("a line of base64");
            assert!(!printed.contains(line) && !set.to_string().contains(line), "{name} is printed");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_sooner_than_caches_look_again_is_refused() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({"maxCache": 3})).await;
    secret.rotated().await;
    let before = world.object(OBJECT).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "too-soon", "{error:?}");
    assert_eq!(world.object(OBJECT).await, before);
    sleep(Duration::from_millis(3100)).await;
    // The service goes on with the same version.
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_algorithm_rotates_also_without_a_place() {
    let world = World::start().await;
    for algorithm in ["ES384", "EdDSA", "RS256", "PS256"] {
        let secret = world.secret(&[], json!({"algorithm": algorithm, "maxCache": 1})).await;
        secret.rotated().await;
        cache().await;
        secret.rotated().await;
        let current = secret.at("AWSCURRENT").await;
        assert_eq!((ids(&current["jwks"]).len(), &current["current"]["algorithm"]), (3, &json!(algorithm)));
    }
    // A key for one algorithm signs on while the secret asks for another one.
    let secret = world.secret(&[], short()).await;
    secret.rotated().await;
    let edited = integration_tests::merged(secret.at("AWSCURRENT").await, json!({"algorithm": "RS256"}));
    secret.put(&edited).await;
    cache().await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    assert_eq!((&current["current"]["algorithm"], &current["next"]["algorithm"]), (&json!("ES256"), &json!("RS256")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_is_refused_at_once_and_never_comes_back() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({})).await;
    secret.rotated().await;
    let before = secret.at("AWSCURRENT").await;
    let leaked = id(&before, "current");
    assert_eq!(secret.refused().await.error_type, "too-soon");
    // It is given up: an edit of AWSCURRENT would be lost otherwise.
    let rotation = json!({"publish": [PLACE], "emergency": {"leaked": leaked}});
    secret.put(&integration_tests::merged(before.clone(), json!({"rotation": rotation}))).await;
    let report = secret.rotated().await;
    let said: Vec<_> = report.steps.iter().map(|step| String::from_utf8_lossy(&step.outcome.payload)).collect();
    assert!(!said[0].contains("tokens-revoked"), "nothing was taken away yet: {}", said[0]);
    let said = said.last().expect("finishSecret");
    assert!(said.contains("tokens-revoked") && said.contains(&leaked), "{said}");
    let after = secret.at("AWSCURRENT").await;
    assert_eq!(id(&after, "current"), id(&before, "next"));
    assert_eq!((&after["previous"], &after["revoked"][0]["kid"]), (&json!([]), &json!(leaked)));
    let (_, set) = world.object(OBJECT).await;
    assert!(!ids(&set).contains(&leaked) && ids(&set) == ids(&after["jwks"]), "{set}");

    // A repeated look, and a set that somebody restored from a backup.
    let with_leaked = integration_tests::merged(set, json!({"keys": before["jwks"]["keys"]}));
    world.write(OBJECT, &with_leaked).await;
    world.look().await;
    assert_eq!(ids(&world.object(OBJECT).await.1), ids(&after["jwks"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_for_an_unknown_key_changes_nothing() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({})).await;
    secret.rotated().await;
    let before = world.object(OBJECT).await;
    let emergency = json!({"rotation": {"publish": [PLACE], "emergency": {"leaked": "a typo"}}});
    secret.put(&integration_tests::merged(secret.at("AWSCURRENT").await, emergency)).await;
    let error = secret.refused().await;
    assert!(error.error_type == "field-invalid" && error.error_message.contains("emergency.leaked"), "{error:?}");
    assert_eq!(world.object(OBJECT).await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_brings_signs_on_under_its_own_id() {
    let world = World::start().await;
    let source = world.secret(&[], json!({})).await;
    source.rotated().await;
    let made = source.at("AWSCURRENT").await;
    let own = json!({"current": {"kid": "2019", "privateKey": made["current"]["privateKey"]}, "maxCache": 1});
    let secret = world.secret(&[PLACE], own).await;
    // As it was published so far, by hand.
    let mut jwk = made["jwks"]["keys"][0].clone();
    jwk["kid"] = json!("2019");
    world.write(OBJECT, &json!({"keys": [jwk]})).await;
    secret.rotated().await;
    let first = secret.at("AWSCURRENT").await;
    assert_eq!(id(&first, "current"), "2019");
    assert_eq!(ids(&world.object(OBJECT).await.1), ids(&first["jwks"]));
    cache().await;
    secret.rotated().await;
    let second = secret.at("AWSCURRENT").await;
    assert_eq!(second["previous"][0]["kid"], "2019");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_given_up_takes_no_key_away() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], short()).await;
    secret.rotated().await;
    cache().await;
    let before = secret.at("AWSCURRENT").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
    let (_, grown) = world.object(OBJECT).await;
    assert!(ids(&before["jwks"]).iter().all(|kid| ids(&grown).contains(kid)));
    assert_eq!(ids(&grown).len(), 3);
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
    // The key that was never promoted leaves with the next look, which says so. All others stay.
    secret.attached().await;
    let looked = world.look().await;
    let noticed = looked["noticed"].as_array().expect("a list");
    assert!(noticed.len() == 1 && looked.to_string().contains("given up"), "{looked}");
    assert_eq!(ids(&world.object(OBJECT).await.1), ids(&before["jwks"]));
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_version_that_no_rotation_made_is_not_published() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], short()).await;
    let other = world.secret(&[], short()).await;
    secret.rotated().await;
    other.rotated().await;
    cache().await;
    let before = world.object(OBJECT).await;
    let token = secret.registered().await;
    // It is sound in itself, but its key was never the next one of this secret.
    let (own, foreign) = (secret.at("AWSCURRENT").await, other.at("AWSCURRENT").await);
    let (signs, next) = (&own["jwks"]["keys"][0], &own["jwks"]["keys"][1]);
    let jwks = json!({"keys": [foreign["jwks"]["keys"][0], next, signs]});
    let previous = json!([{"kid": signs["kid"], "retireAt": rotation_time() + 9, "publicKey": signs}]);
    let changes = json!({"current": foreign["current"], "previous": previous, "jwks": jwks});
    let forged = integration_tests::merged(own, changes);
    let put = json!({
        "SecretId": secret.arn, "SecretString": forged.to_string(), "ClientRequestToken": token, "VersionStages": ["AWSPENDING"],
    });
    world.lab.call("PutSecretValue", put).await.unwrap();
    let error = secret.step("setSecret", &token).await.unwrap_err();
    assert_eq!(error.error_type, "pending-mismatch");
    assert_eq!(world.object(OBJECT).await, before);
    assert!(secret.step("finishSecret", &uuid()).await.is_err());
}
