//! Issuers of API keys in trouble.

use super::Script;
use super::support::{SHORT, api_keys, by_hand, fails, served};
use integration_tests::issuer;
use lab::disturb::Fault;

pub async fn issuer_throttled(script: Script<'_>) {
    fails_until(script, &["GET", "POST"], Fault::Throttle, "throttling-ends").await;
}

pub async fn issuer_down(script: Script<'_>) {
    fails_until(script, &["GET", "POST", "DELETE"], Fault::Fail(503), "issuer-returns").await;
}

pub async fn journal_not_draining(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    trouble(&world, &["DELETE"], Fault::Fail(503));
    for _ in 0..2 {
        let report = secret.rotated().await;
        let last = report.steps.last().expect("a step").result().expect("it succeeds");
        assert!(last["warnings"].to_string().contains("key-not-revoked"), "{last}");
    }
    assert_eq!(issuer.live().len(), 4);
    until(script, &world, &secret, "", "issuer-returns").await;
    assert_eq!(issuer.live().len(), 2, "the journal has not drained");
    served(&issuer, &secret).await;
}

pub async fn key_by_hand(script: Script<'_>) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    // From here on the journal has a key that lives: that of AWSPREVIOUS.
    secret.rotated().await;
    trouble(&world, &["GET", "POST"], Fault::Fail(503));
    let said = fails(&world.lab, &secret.arn).await;
    let play = script.about(&world.lab, &secret.arn).said(&said);
    play.play(script.terminal, async |what| match what {
        "key-made-by-hand" => {
            let (id, key) = issuer.mint("by hand, in need");
            format!("export ID={id} KEY={key}\n")
        }
        "issuer-returns" => {
            world.lab.disturb().restart();
            String::new()
        }
        other => panic!("what is {other}?"),
    })
    .await;
    served(&issuer, &secret).await;
}

/// A rotation fails; at this word in the page the issuer is well again.
async fn fails_until(script: Script<'_>, methods: &[&str], fault: Fault, end: &str) {
    let (world, issuer) = api_keys(|function| function.timeout(SHORT)).await;
    let secret = by_hand(&world, &issuer).await;
    trouble(&world, methods, fault);
    let said = fails(&world.lab, &secret.arn).await;
    until(script, &world, &secret, &said, end).await;
    served(&issuer, &secret).await;
}

/// Every request with these methods ends like this.
fn trouble(world: &issuer::World, methods: &[&str], fault: Fault) {
    for method in methods {
        world.lab.disturb().on_every(&format!("issuer {method}"), fault);
    }
}

/// Types everything; at this word the issuer is well again.
async fn until(script: Script<'_>, world: &issuer::World, secret: &issuer::Secret<'_>, said: &str, end: &str) {
    let play = script.about(&world.lab, &secret.arn).said(said);
    play.play(script.terminal, async |what| {
        assert_eq!(what, end);
        world.lab.disturb().restart();
        String::new()
    })
    .await;
}
