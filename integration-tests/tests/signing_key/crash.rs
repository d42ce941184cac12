//! A fault at each call of a rotation in turn: the n-th request to Secrets Manager, S3 or Systems Manager. Whatever happens, the published
//! set has every key that may have signed, and the same rotation, begun again, goes on to its end.

use integration_tests::crash::{run_again, struck};
use integration_tests::signing::{Secret, World, id, ids};
use integration_tests::{at_rest, uuid};
use lab::disturb::Fault;
use serde_json::json;
use std::time::Duration;
use tokio::time::sleep;

/// Ten calls to Secrets Manager, and some to each of the places.
const FEWEST_CALLS: usize = 20;
const OBJECT: &str = "jwks.json";
const PLACES: [&str; 2] = ["s3://tokens.example.com/jwks.json", "ssm:/app/jwks"];

/// Fails unless every key of AWSCURRENT is published everywhere, once something was.
async fn all_are_public(world: &World, secret: &Secret<'_>, at: &str) {
    let current = secret.at("AWSCURRENT").await;
    if current.get("next").is_none() {
        return;
    }
    for set in [world.object(OBJECT).await.1, world.parameter("/app/jwks").await] {
        for name in ["current", "next"] {
            assert!(ids(&set).contains(&id(&current, name)), "{at}: {name} is missing in {set}");
        }
        for key in current["previous"].as_array().expect("a list") {
            let retired = key["kid"].as_str().expect("kid");
            let over = key["retireAt"].as_u64().expect("seconds") <= rotation_time();
            assert!(over || ids(&set).contains(&retired.to_owned()), "{at}: {retired} is missing in {set}");
        }
    }
}

fn rotation_time() -> u64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs()
}

async fn sweep(fault: Fault) {
    let world = World::start().await;
    let secret = world.secret(&PLACES, json!({"maxTokenLifetime": 2, "maxCache": 1})).await;
    let mut number = 1;
    loop {
        let token = uuid();
        let (hit, at) = struck(&secret, &token, (number, fault), at_rest(&world.lab)).await;
        all_are_public(&world, &secret, &at).await;
        if !hit {
            break;
        }
        run_again(&secret, &token, Duration::ZERO, &at).await;
        all_are_public(&world, &secret, &at).await;
        assert_eq!(secret.version("AWSCURRENT").await, token, "{at}");
        sleep(Duration::from_millis(1100)).await;
        number += 1;
    }
    assert!(number > FEWEST_CALLS, "{number}");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_any_call() {
    sweep(Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_any_call() {
    sweep(Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_reply_to_any_call_is_lost() {
    sweep(Fault::LoseReply).await;
}
