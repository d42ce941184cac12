//! The function is killed before and after its external calls, and replies are lost. The same rotation then goes on to its end, and
//! AWSCURRENT serves its names at every moment.

use integration_tests::certificates::{Secret, World};
use integration_tests::crash::{run_again, struck};
use integration_tests::uuid;
use lab::disturb::Fault;
use lab::servers::pebble::Options;
use serde_json::json;
use std::time::Duration;

/// Each fault takes every so manieth call, beginning with another one: a rotation makes some hundred. More of them with `LOCKSTEP_ALL`.
fn stride() -> usize {
    if std::env::var_os("LOCKSTEP_ALL").is_some() { 7 } else { 13 }
}

async fn each_fault(world: &World, secret: &Secret<'_>, faults: &[(Fault, usize)]) {
    secret.rotated().await;
    let mut struck_at = 0;
    for &(fault, first) in faults {
        for number in (first..).step_by(stride()) {
            let token = uuid();
            let before = secret.at("AWSCURRENT").await;
            let (there, at) = struck(secret, &token, (number, fault), async {}).await;
            if !there {
                break;
            }
            struck_at += 1;
            let now = secret.at("AWSCURRENT").await;
            assert!(now == before || secret.version("AWSCURRENT").await == token, "{at}");
            run_again(secret, &token, Duration::ZERO, &at).await;
            assert_eq!(secret.version("AWSCURRENT").await, token, "{at}");
            let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
            let answer: serde_json::Value = serde_json::from_slice(&outcome.payload).unwrap();
            assert_eq!(answer["finding"], "healthy", "{at}: {answer}");
        }
    }
    assert!(struck_at >= 4, "only {struck_at} calls");
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_a_certificate_is_ordered() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com", "*.example.com"], json!({})).await;
    each_fault(&world, &secret, &[(Fault::KillBefore, 2), (Fault::KillAfter, 5)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_are_lost_while_a_certificate_is_ordered() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com", "*.example.com"], json!({})).await;
    each_fault(&world, &secret, &[(Fault::LoseReply, 3)]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_while_an_accounts_key_is_rolled() {
    let world = World::start(Options::default()).await;
    let account = world.secret_of(&world.account);
    each_fault(&world, &account, &[(Fault::KillBefore, 1), (Fault::KillAfter, 3), (Fault::LoseReply, 4)]).await;
    // Whatever happened, the account is still the one that certificates are ordered with.
    world.secret(&["example.com"], json!({})).await.rotated().await;
}
