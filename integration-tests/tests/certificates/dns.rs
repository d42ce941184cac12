//! What becomes of the values in Route 53 when an attempt ends early.

use integration_tests::certificates::{Secret, World};
use lab::disturb::Fault;
use lab::servers::pebble::Options;
use serde_json::json;
use std::time::Duration;

const NAME: &str = "_acme-challenge.example.com";
/// Of a step, the function keeps four seconds back.
const SHORT: Duration = Duration::from_secs(9);

/// A world whose steps are shorter than Route 53 takes, with a secret, and the token of its rotation.
async fn slow_world(looks: u32) -> World {
    let world = World::with(Options::default(), |function| function.timeout(SHORT)).await;
    world.route53.syncs_after(looks);
    world
}

/// An attempt that is too short.
async fn too_short(secret: &Secret<'_>, token: &str) {
    let error = secret.step("createSecret", token).await.expect_err("it is too short");
    assert_eq!(error.error_type, "dns-unavailable");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_that_ends_before_dns_is_in_sync_is_continued() {
    let world = slow_world(6).await;
    let secret = world.secret(&["example.com", "*.example.com"], json!({})).await;
    let token = secret.registered().await;
    too_short(&secret, &token).await;
    let there = world.route53.zones().values(NAME);
    assert_eq!(there.len(), 4, "two values and their marks: {there:?}");
    // The next attempts do not wait from the beginning. On a slow machine one of them may end while the CA looks.
    let mut attempts = 0;
    while let Err(error) = secret.step("createSecret", &token).await {
        assert!(["dns-unavailable", "order-pending"].contains(&error.error_type.as_str()), "{error:?}");
        attempts += 1;
        assert!(attempts < 5, "{error:?}");
    }
    assert_eq!(world.route53.batches(), 2, "one to add, one to remove");
    assert_eq!(world.route53.zones().count(), 0);
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn values_go_with_their_order() {
    let world = slow_world(1_000).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    let token = secret.registered().await;
    too_short(&secret, &token).await;
    assert!(!world.route53.zones().values(NAME).is_empty());
    // The secret is edited, and rotated anew: the order is of no use any more.
    let mut value = secret.at("AWSCURRENT").await;
    value["names"] = json!(["example.net"]);
    secret.put(&value).await;
    world.route53.syncs_after(0);
    secret.rotated().await;
    assert_eq!(world.route53.zones().count(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_process_that_died_has_left_behind_is_removed_later() {
    let world = slow_world(1_000).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    let token = secret.registered().await;
    too_short(&secret, &token).await;
    let left = world.route53.zones().values(NAME);
    let [value, mark] = left.as_slice() else { panic!("{left:?}") };
    world.lab.disturb().on_next("DescribeSecret", Fault::KillBefore);
    secret.step("createSecret", &token).await.expect_err("the process is killed");
    world.route53.syncs_after(0);

    // Another process does not know the order. What is recent may be somebody's.
    secret.steps(&["createSecret", "setSecret", "testSecret", "finishSecret"], &token).await;
    assert_eq!(&world.route53.zones().values(NAME), &left);
    // A later rotation finds that it is old.
    let parts: Vec<&str> = mark.split(' ').collect();
    let [word, owner, _, start] = parts.as_slice() else { panic!("{mark}") };
    let old = format!("\"{word} {owner} 1700000000 {start}\"");
    let someone_elses = format!("\"{word} 0123456789abcdef 1700000000 {start}\"");
    world.route53.zones().put("Z1", NAME, "TXT", &[&format!("\"{value}\""), &old, &someone_elses]);
    secret.rotated().await;
    assert_eq!(world.route53.zones().values(NAME), [someone_elses.trim_matches('"')]);
}
