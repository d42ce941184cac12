//! A superseded key ends by hand, before its grace: `retire`.

use super::support::{by_hand_with, described, id, kept, live, warnings_of};
use integration_tests::issuer::{Secret, World};
use integration_tests::merged;
use lab::issuer::{Issuer, Options};
use lab::lambda::StepError;
use serde_json::{Value, json};

async fn world() -> (World, Issuer) {
    World::lab_with(Options::default(), &described(&[]), |function| function.env("ALLOW_RETIRE", "true")).await
}

async fn retire(world: &World, secret: &Secret<'_>, version: Option<&str>) -> Result<Value, StepError> {
    world.lab.invoke(&json!({"Step": "retire", "SecretId": secret.arn, "VersionId": version})).await.result()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_key_ends_before_its_grace() {
    let (world, issuer) = world().await;
    for rotation in [json!({}), json!({"revokePreviousAfterHours": 100})] {
        let secret = by_hand_with(&world, &issuer, rotation).await;
        for _ in 0..2 {
            secret.rotated().await;
            assert!(live(&issuer).is_superset(&kept(&secret).await), "the previous key has its grace");
            let answer = retire(&world, &secret, None).await.expect("it is ended");
            assert_eq!((&answer["outcome"], &answer["credential"]), (&json!("credential-ended"), &json!("rejected")));
            assert!(!live(&issuer).contains(&id(&secret, "AWSPREVIOUS").await));
            assert!(live(&issuer).contains(&id(&secret, "AWSCURRENT").await));
            let again = retire(&world, &secret, None).await.expect("it was ended before");
            assert_eq!(again["outcome"], "already-refused");
        }
        // A key has no sessions.
        let event = json!({"Step": "endSessions", "SecretId": secret.arn});
        let answer = world.lab.invoke(&event).await.result().expect("it is answered");
        assert_eq!(answer["outcome"], "no-sessions", "{answer}");
        let current = secret.version("AWSCURRENT").await;
        assert_eq!(retire(&world, &secret, Some(&current)).await.unwrap_err().error_type, "retire-refused");
    }
}

/// The writer of a secret puts another's key, whose value they know, into a version, and into the journal.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_not_the_secrets_does_not_end() {
    let (world, issuer) = world().await;
    let secret = by_hand_with(&world, &issuer, json!({})).await;
    secret.rotated().await;
    let (other, key) = issuer.mint("somebody's");
    let own = secret.at("AWSCURRENT").await;
    secret.put(&merged(own.clone(), json!({"apiKey": key, "apiKeyId": other}))).await;
    let mut journal = own["rotation"]["journal"].clone();
    journal["retire"] = json!([{"id": other, "proof": journal["proof"], "since": 1}]);
    secret
        .put(&merged(own.clone(), json!({"rotation": merged(own["rotation"].clone(), json!({"journal": journal}))})))
        .await;
    let answer = retire(&world, &secret, None).await.expect("it is answered");
    assert_eq!(answer["outcome"], "not-endable", "{answer}");
    assert!(warnings_of(&answer).iter().any(|warning| warning.starts_with("[key-not-ours]")), "{answer}");
    assert!(issuer.works(&key), "another's key");
}
