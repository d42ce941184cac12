//! What the tests look at: which keys live, what a step warned of, and a consumer that is never to be refused.

use integration_tests::issuer::{Secret, World, lab_description};
use lab::issuer::Issuer;
use lab::stack::RotationReport;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

/// A secret with a key that a person has made.
pub async fn by_hand<'a>(world: &'a World, issuer: &Issuer) -> Secret<'a> {
    by_hand_with(world, issuer, json!({})).await
}

/// The same with options under `rotation`.
pub async fn by_hand_with<'a>(world: &'a World, issuer: &Issuer, rotation: Value) -> Secret<'a> {
    let (id, key) = issuer.mint("by hand");
    world.secret(json!({"apiKey": key, "apiKeyId": id, "rotation": rotation})).await
}

/// The id in the version with this label.
pub async fn id(secret: &Secret<'_>, label: &str) -> String {
    secret.field(label, "apiKeyId").await
}

/// The ids of the keys that live.
pub fn live(issuer: &Issuer) -> BTreeSet<String> {
    issuer.live().into_iter().map(|key| key.id).collect()
}

/// The ids that have to live: those of the current and the previous version.
pub async fn kept(secret: &Secret<'_>) -> BTreeSet<String> {
    [id(secret, "AWSCURRENT").await, id(secret, "AWSPREVIOUS").await].into()
}

/// What a rotation's steps warned of, as sentences that begin with their code in brackets.
pub fn warnings(report: &RotationReport) -> Vec<String> {
    report.steps.iter().filter_map(|step| step.result().ok()).flat_map(|answer| warnings_of(&answer)).collect()
}

/// What a step warned of.
pub fn warnings_of(answer: &Value) -> Vec<String> {
    let warnings = answer["warnings"].as_array().into_iter().flatten();
    warnings.map(|warning| warning.as_str().expect("a sentence").to_owned()).collect()
}

/// The description with other lines in place of these, which have to be there.
pub fn described(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(lab_description(), |text, (from, to)| {
        assert!(text.contains(from), "no {from} in the description");
        text.replace(from, to)
    })
}

/// Does something while somebody uses the secret: whoever has read AWSCURRENT uses that key until they read it again, one
/// rotation later at most. No key that they use may ever be refused.
pub async fn in_use<T>(secret: &Secret<'_>, issuer: &Issuer, work: impl Future<Output = T>) -> T {
    tokio::select! {
        done = work => done,
        never = consume(secret, issuer) => match never {},
    }
}

async fn consume(secret: &Secret<'_>, issuer: &Issuer) -> Infallible {
    let mut current = secret.field("AWSCURRENT", "apiKey").await;
    let mut held = current.clone();
    loop {
        let works = (issuer.works(&current), issuer.works(&held));
        let now = secret.field("AWSCURRENT", "apiKey").await;
        if now == current {
            // Nothing was promoted since, so both are within their grace.
            assert_eq!(works, (true, true), "a key in use is dead: the current one, and the one before");
        } else {
            held = std::mem::replace(&mut current, now);
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
