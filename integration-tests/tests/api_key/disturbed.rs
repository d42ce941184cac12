//! An issuer that asks to slow down, fails, answers late or not at all.

use super::support::{by_hand, described, id, in_use, kept, live};
use integration_tests::STEPS;
use integration_tests::issuer::{Secret, World};
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use serde_json::json;
use std::pin::pin;
use std::time::{Duration, Instant};

/// What the lab's issuer asks for with 429.
const RETRY_AFTER: Duration = Duration::from_secs(1);

async fn rotated_twice<'a>(world: &'a World, issuer: &Issuer) -> Secret<'a> {
    let secret = by_hand(world, issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    secret
}

fn posts(world: &World) -> usize {
    world.https.requests().iter().filter(|line| line.starts_with("POST")).count()
}

/// 429 says that nothing was done (RFC 6585, section 4): a key may be asked for again.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_asks_to_slow_down_is_waited_for() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = rotated_twice(&world, &issuer).await;
    for method in ["GET", "POST", "DELETE"] {
        let made = issuer.created();
        world.lab.disturb().restart();
        world.lab.disturb().on_next(&format!("issuer {method}"), Fault::Throttle);
        let since = Instant::now();
        in_use(&secret, &issuer, secret.rotated()).await;
        assert!(since.elapsed() >= RETRY_AFTER, "{method}: not waited for");
        assert_eq!((world.lab.disturb().fired(), issuer.created()), (1, made + 1), "{method}");
        assert_eq!(live(&issuer), kept(&secret).await, "{method}");
    }
}

/// So many requests a second, and no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_lower_than_ours_is_kept() {
    let (world, issuer) = World::lab(Options { rate_limit: Some(2), ..Options::default() }).await;
    let secret = rotated_twice(&world, &issuer).await;
    assert_eq!(live(&issuer), kept(&secret).await);
    assert!(world.https.requests().iter().any(|line| line.ends_with("429")), "the limit never mattered");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_never_stops_asking_ends_the_step_in_time() {
    let settings = |function: lab::stack::Builder| function.timeout(Duration::from_secs(12));
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
    let secret = by_hand(&world, &issuer).await;
    for method in ["GET", "POST"] {
        world.lab.disturb().on_every(&format!("issuer {method}"), Fault::Throttle);
        assert_eq!(secret.refused().await.error_type, "issuer-throttled", "{method}");
        world.lab.disturb().restart();
    }
    secret.rotated().await;
    assert_eq!(live(&issuer), kept(&secret).await);
}

/// A key may have been made all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_key_that_fails_is_not_repeated() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = rotated_twice(&world, &issuer).await;
    for status in [500, 502, 503, 504] {
        let before = posts(&world);
        world.lab.disturb().on_next("issuer POST", Fault::Fail(status));
        assert_eq!(secret.refused().await.error_type, "issuer-unavailable", "{status}");
        assert_eq!(posts(&world), before + 1, "{status}: repeated");
        in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!(live(&issuer), kept(&secret).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_for_a_key_whose_reply_is_lost_is_not_repeated() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = rotated_twice(&world, &issuer).await;
    let before = posts(&world);
    world.lab.disturb().on_next("issuer POST", Fault::LoseReply);
    assert_eq!(secret.refused().await.error_type, "reply-lost");
    assert_eq!((posts(&world), live(&issuer).len()), (before + 1, 3), "one request, one orphan");
    in_use(&secret, &issuer, secret.rotated()).await;
    assert_eq!(live(&issuer), kept(&secret).await, "the orphan has ended with the same rotation");
}

/// What changes nothing, or the same thing, may be asked again.
#[tokio::test(flavor = "multi_thread")]
async fn what_fails_or_is_lost_for_once_is_asked_again() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = rotated_twice(&world, &issuer).await;
    for fault in [Fault::Fail(500), Fault::Fail(503), Fault::LoseReply] {
        world.lab.disturb().restart();
        world.lab.disturb().on_next("issuer GET", fault);
        world.lab.disturb().on_next("issuer DELETE", fault);
        let report = in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!(world.lab.disturb().fired(), 2, "{fault:?}");
        assert_eq!(super::support::warnings(&report), [""; 0], "{fault:?}");
        assert_eq!(live(&issuer), kept(&secret).await, "{fault:?}");
    }
}

/// Lambda ends a step that takes too long without a word of why.
#[tokio::test(flavor = "multi_thread")]
async fn an_issuer_that_does_not_answer_is_named_in_time() {
    let settings = |function: lab::stack::Builder| function.timeout(Duration::from_secs(12));
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
    let secret = by_hand(&world, &issuer).await;
    for (method, code) in [("GET", "server-silent"), ("POST", "reply-lost")] {
        world.lab.disturb().on_every(&format!("issuer {method}"), Fault::Delay(Duration::from_secs(20)));
        assert_eq!(secret.refused().await.error_type, code, "{method}");
        world.lab.disturb().restart();
    }
    // The delayed request is carried out late, when nobody waits for it any more.
    let before = live(&issuer);
    let carried_out = async {
        while live(&issuer) == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), carried_out).await.expect("the key that was asked for is made");
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(live(&issuer), kept(&secret).await);
}

/// A key that cannot be ended in time has not failed the rotation.
#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_is_not_answered_does_not_fail_the_rotation() {
    let settings = |function: lab::stack::Builder| function.timeout(Duration::from_secs(15));
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    let first = id(&secret, "AWSPREVIOUS").await;
    world.lab.disturb().on_every("issuer DELETE", Fault::Delay(Duration::from_secs(60)));
    for _ in 0..2 {
        let report = in_use(&secret, &issuer, secret.rotated()).await;
        let warned = super::support::warnings(&report);
        assert!(warned.iter().any(|text| text.starts_with("[key-not-revoked]") && text.contains(&first)), "{warned:?}");
    }
    world.lab.disturb().restart();
    secret.rotated().await;
    assert_eq!(live(&issuer), kept(&secret).await);
}

/// Rotates, and again if an answer was lost meanwhile: on a busy machine the issuer may take too long.
async fn rotated_at_last(secret: &Secret<'_>) {
    let first = secret.rotate().await;
    if !first.rotated() {
        let error = first.error().map(|error| error.error_type);
        assert!(error.as_deref() == Some("reply-lost"), "{error:?}");
        secret.rotated().await;
    }
}

/// Each step is held up at its calls in turn, while an operator gives its rotation up and the next one runs. A sixth of the calls is
/// tried, and all with `LOCKSTEP_ALL`.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_was_overtaken_costs_no_key_in_use_and_leaves_none_behind() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = rotated_twice(&world, &issuer).await;
    let stride = if std::env::var_os("LOCKSTEP_ALL").is_some() { 1 } else { 6 };
    for (place, step) in STEPS.into_iter().enumerate() {
        for number in (1 + place % stride..).step_by(stride) {
            let late = secret.registered().await;
            secret.steps(&STEPS[..place], &late).await;
            world.lab.disturb().restart();
            world.lab.disturb().on_call(number, Fault::Hold);
            let mut invoked = pin!(secret.step(step, &late));
            let overtaken = tokio::select! {
                done = &mut invoked => {
                    done.unwrap_or_else(|error| panic!("{step}, undisturbed: {error:?}"));
                    secret.steps(&STEPS[place + 1..], &late).await;
                    false
                }
                () = world.lab.disturb().held() => {
                    let overtaking = async {
                        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": late});
                        // Gone already, if the step is about to end.
                        let _ = world.lab.call("UpdateSecretVersionStage", request).await;
                        rotated_at_last(&secret).await;
                        world.lab.disturb().release();
                        let _ = invoked.await;
                    };
                    in_use(&secret, &issuer, overtaking).await;
                    true
                }
            };
            world.lab.disturb().restart();
            // The key of a rotation that was given up is written into the journal, has its grace, and ends.
            for _ in 0..3 {
                in_use(&secret, &issuer, rotated_at_last(&secret)).await;
            }
            assert_eq!(live(&issuer), kept(&secret).await, "{step}, call {number}");
            if !overtaken {
                break;
            }
        }
    }
}
