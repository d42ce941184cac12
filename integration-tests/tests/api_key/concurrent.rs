//! The same step twice at once, and once more: one key comes of it.

use super::support::{by_hand, id, in_use, kept, live};
use integration_tests::issuer::World;
use lab::issuer::Options;
use lab::lambda::StepError;
use std::time::Duration;

/// How long each call takes here, and how much later the second invocation begins each time. A createSecret takes six.
const LATENCY: Duration = Duration::from_millis(12);
const LATER: Duration = Duration::from_millis(4);
const ROUNDS: u32 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn two_create_secrets_at_once_end_with_one_key() {
    two_at_once(Options::default()).await;
}

/// The second one may not find a place, and then says so.
#[tokio::test(flavor = "multi_thread")]
async fn two_create_secrets_at_once_end_with_one_key_where_three_are_all() {
    two_at_once(Options { max_keys: Some(3), ..Options::default() }).await;
}

async fn two_at_once(options: Options) {
    let capped = options.max_keys.is_some();
    let (world, issuer) = World::lab(options).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    let (mut made, mut refused) = (0, 0);
    for round in 0..ROUNDS {
        world.lab.disturb().latency(LATENCY);
        let token = secret.registered().await;
        let before = issuer.created();
        let second = async {
            tokio::time::sleep(LATER * round).await;
            secret.step("createSecret", &token).await
        };
        let both = async { tokio::join!(secret.step("createSecret", &token), second) };
        let (one, two) = in_use(&secret, &issuer, both).await;
        world.lab.disturb().restart();
        // Whoever came later did not find a place; whether it saw who has taken it depends on when it looked.
        let late = |error: &StepError| {
            capped && ["attempt-under-way", "key-limit-reached"].contains(&error.error_type.as_str())
        };
        assert!(one.is_ok() || two.is_ok(), "round {round}: {one:?} {two:?}");
        for outcome in [&one, &two] {
            assert!(outcome.as_ref().map_or_else(late, |_| true), "round {round}: {one:?} {two:?}");
            refused += usize::from(outcome.is_err());
        }
        made = made.max(issuer.created() - before);
        assert!(issuer.works(&secret.field("AWSPENDING", "apiKey").await), "round {round}: the pending key is dead");
        assert_eq!(live(&issuer).len(), 3, "round {round}: the loser's key lives on: {one:?} {two:?}");
        in_use(&secret, &issuer, secret.steps(&["setSecret", "testSecret", "finishSecret"], &token)).await;
        in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!(live(&issuer), kept(&secret).await, "round {round}: {one:?} {two:?}");
    }
    let met = if capped { refused > 0 } else { made == 2 };
    assert!(met, "the two never met: this has tested nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_of_every_step_at_once_end_with_one_key() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    for round in 0..ROUNDS / 2 {
        world.lab.disturb().latency(LATENCY);
        let token = secret.registered().await;
        for step in integration_tests::STEPS {
            let second = async {
                tokio::time::sleep(LATER * round).await;
                secret.step(step, &token).await
            };
            let both = async { tokio::join!(secret.step(step, &token), second) };
            let (one, two) = in_use(&secret, &issuer, both).await;
            assert!(one.is_ok() && two.is_ok(), "round {round}, {step}: {one:?} {two:?}");
        }
        world.lab.disturb().restart();
        in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!(live(&issuer), kept(&secret).await, "round {round}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_create_secret_that_is_repeated_makes_nothing() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    let pending = id(&secret, "AWSPENDING").await;
    for _ in 0..3 {
        let answer = secret.step("createSecret", &token).await.expect("it has been done");
        assert_eq!(answer["outcome"], "already-proposed");
    }
    assert_eq!((issuer.created(), id(&secret, "AWSPENDING").await), (1, pending));
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
    assert_eq!(live(&issuer), kept(&secret).await);
}
