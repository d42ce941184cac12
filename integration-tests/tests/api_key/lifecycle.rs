//! Which keys live, and which end: after rotations that succeed, with each grace, and whatever the secret says.

use super::support::{by_hand, by_hand_with, described, id, in_use, kept, live, warnings, warnings_of};
use integration_tests::issuer::{Secret, World};
use integration_tests::merged;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3600);

fn retired(document: &Value) -> Vec<String> {
    let entries = document["rotation"]["journal"]["retire"].as_array().into_iter().flatten();
    entries.map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

/// Over several pages of the list, and with keys of others among them.
#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_current_and_the_previous_key_live() {
    let (world, issuer) = World::lab(Options { page_size: 1, unique_names: true, ..Options::default() }).await;
    let others: BTreeSet<_> =
        ["somebody's", "lockstep-0123456789-x-1", "lockstep-"].map(|name| issuer.mint(name).0).into();
    let secret = by_hand(&world, &issuer).await;
    let mut superseded = Vec::new();
    for _ in 0..5 {
        let before = id(&secret, "AWSCURRENT").await;
        let report = in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!(warnings(&report), [""; 0]);
        assert_eq!(id(&secret, "AWSPREVIOUS").await, before);
        assert_eq!(live(&issuer), &kept(&secret).await | &others);
        assert_eq!(issuer.revoked(), superseded, "each in its turn, the one made by hand first");
        assert_eq!(retired(&secret.at("AWSCURRENT").await).last(), Some(&before), "the journal is written before");
        assert!(retired(&secret.at("AWSCURRENT").await).len() <= 2, "the journal does not grow");
        superseded.push(before);
    }
    let made = issuer.live().into_iter().find(|key| key.name.len() > 40).expect("a key of the function's");
    assert!(made.name.starts_with("lockstep-") && made.name.len() <= 64, "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_grace_only_the_current_key_lives() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand_with(&world, &issuer, json!({"revokePreviousAfterHours": 0})).await;
    for _ in 0..3 {
        let report = secret.rotated().await;
        assert_eq!(report.steps.last().expect("a step").result().expect("an answer")["retired"], "previous");
        assert_eq!(live(&issuer), [id(&secret, "AWSCURRENT").await].into());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grace_in_hours_is_over_when_the_hours_are() {
    for (behind, over) in [(Duration::ZERO, false), (2 * HOUR, true)] {
        let settings = |function: lab::stack::Builder| function.clock_behind(behind);
        let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
        let secret = by_hand_with(&world, &issuer, json!({"revokePreviousAfterHours": 1})).await;
        secret.rotated().await;
        assert_eq!(live(&issuer), kept(&secret).await, "the grace has just begun");
        // What RotateSecret does with RotateImmediately=false: testSecret alone, for a version without a value.
        let token = secret.registered().await;
        let answer = secret.step("testSecret", &token).await.expect("the configuration is sound");
        assert_eq!(answer["outcome"], "configuration-verified");
        assert_eq!(answer["retired"], if over { json!("previous") } else { Value::Null });
        assert_eq!(live(&issuer).len(), if over { 1 } else { 2 });
        assert!(live(&issuer).contains(&id(&secret, "AWSCURRENT").await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_that_outlive_several_rotations_end_when_their_hours_are_over() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand_with(&world, &issuer, json!({"revokePreviousAfterHours": 1})).await;
    for made in 1..4 {
        secret.rotated().await;
        assert_eq!(live(&issuer).len(), made + 1, "an hour has not passed");
    }
    let document = secret.at("AWSCURRENT").await;
    secret.put(&merged(document.clone(), json!({"rotation": ungraced(&document)}))).await;
    secret.rotated().await;
    assert_eq!(live(&issuer), [id(&secret, "AWSCURRENT").await].into());
}

/// The options without hours of grace left.
fn ungraced(document: &Value) -> Value {
    merged(document["rotation"].clone(), json!({"revokePreviousAfterHours": 0}))
}

/// Nothing here tells whose key is used.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_made_by_hand_lives_where_nothing_proves_whose_it_is() {
    let description = described(&[("  identity: /id\n", "")]);
    let (world, issuer) = World::lab_with(Options::default(), &description, |function| function).await;
    let secret = by_hand(&world, &issuer).await;
    let first: BTreeSet<_> = [id(&secret, "AWSCURRENT").await].into();
    let report = secret.rotated().await;
    let [warning] = &warnings(&report)[..] else { panic!("one warning: {:?}", warnings(&report)) };
    assert!(warning.starts_with("[key-not-ours]"), "{warning}");
    for _ in 0..3 {
        assert_eq!(warnings(&secret.rotated().await), [""; 0]);
        assert_eq!(live(&issuer), &kept(&secret).await | &first);
    }
}

/// Whoever may write one secret would like to see the key of another one end.
struct Attack<'a> {
    issuer: &'a Issuer,
    attacker: Secret<'a>,
    victim: Secret<'a>,
}

impl<'a> Attack<'a> {
    /// Two secrets that were rotated, so that the function has made both their keys.
    async fn new(world: &'a World, issuer: &'a Issuer) -> Self {
        let attack = Self { issuer, attacker: by_hand(world, issuer).await, victim: by_hand(world, issuer).await };
        for secret in [&attack.attacker, &attack.victim] {
            secret.rotated().await;
            secret.rotated().await;
        }
        attack
    }

    /// Fails to end the victim's keys, with a warning; changes the attacker's value, given both values.
    async fn fails(&self, change: impl Fn(Value, Value) -> Value) {
        let warned = self.ends_nothing(change).await;
        assert!(warned.iter().any(|warning| warning.starts_with("[key-not-ours]")), "{warned:?}");
    }

    async fn ends_nothing(&self, change: impl Fn(Value, Value) -> Value) -> Vec<String> {
        let targets = kept(&self.victim).await;
        let value = change(self.attacker.at("AWSCURRENT").await, self.victim.at("AWSCURRENT").await);
        self.attacker.put(&value).await;
        let mut warned = Vec::new();
        for _ in 0..3 {
            warned.extend(warnings(&self.attacker.rotate().await));
            assert!(live(self.issuer).is_superset(&targets), "somebody else's key was ended");
        }
        self.victim.rotated().await;
        assert!(live(self.issuer).is_superset(&kept(&self.victim).await));
        warned
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_id_of_somebody_elses_key_ends_nothing() {
    let (world, issuer) = World::lab(Options::default()).await;
    let attack = Attack::new(&world, &issuer).await;
    attack.fails(|own, other| merged(own, json!({"apiKeyId": other["apiKeyId"]}))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_elses_id_with_a_forged_or_copied_proof_ends_nothing() {
    let (world, issuer) = World::lab(Options::default()).await;
    let attack = Attack::new(&world, &issuer).await;
    for which in 0..3 {
        attack
            .fails(|own, other| {
                let journal = |document: &Value| document["rotation"]["journal"].clone();
                let proof = [json!("0".repeat(32)), journal(&own)["proof"].clone(), journal(&other)["proof"].clone()];
                let forged = json!({"proof": proof[which]});
                let rotation = merged(own["rotation"].clone(), json!({"journal": forged}));
                merged(own, json!({"apiKeyId": other["apiKeyId"], "rotation": rotation}))
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_forged_journal_ends_nothing() {
    let (world, issuer) = World::lab(Options::default()).await;
    let attack = Attack::new(&world, &issuer).await;
    for which in 0..4 {
        let forged = |own, other| forged(own, &other, which, false);
        attack.fails(forged).await;
    }
    // An entry that claims to have been in the list, and is not there, has ended; so there is nothing to warn of.
    attack.ends_nothing(|own, other| forged(own, &other, 1, true)).await;
}

/// One's own value, with the other's key to be ended, and a proof of one of four kinds.
fn forged(own: Value, other: &Value, which: usize, listed: bool) -> Value {
    let (mine, theirs) = (&own["rotation"]["journal"], &other["rotation"]["journal"]);
    let proof = [Value::Null, mine["proof"].clone(), theirs["proof"].clone(), json!("f".repeat(32))];
    let entry = json!({"id": other["apiKeyId"], "proof": proof[which], "since": 1, "listed": listed});
    let journal = merged(mine.clone(), json!({"retire": [entry]}));
    let rotation = merged(own["rotation"].clone(), json!({"journal": journal}));
    merged(own, json!({"rotation": rotation}))
}

/// What an operator does to go back to the version before.
async fn roll_back(world: &World, secret: &Secret<'_>) {
    let (from, to) = (secret.version("AWSCURRENT").await, secret.version("AWSPREVIOUS").await);
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT", "MoveToVersionId": to,
        "RemoveFromVersionId": from});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label moves");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_rolled_back_costs_no_key_in_use() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    let both = kept(&secret).await;
    roll_back(&world, &secret).await;
    assert_eq!(kept(&secret).await, both);
    in_use(&secret, &issuer, secret.rotated()).await;
    assert!(live(&issuer).is_superset(&both), "whoever had read either has it still");
    for _ in 0..2 {
        in_use(&secret, &issuer, secret.rotated()).await;
        assert!(live(&issuer).is_superset(&kept(&secret).await));
    }
    assert_eq!(live(&issuer), kept(&secret).await, "what was rolled back ends in its turn");
}

/// The same while a rotation is under way, whose journal was written when the version before was no longer in use.
#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_rolled_back_during_a_rotation_costs_no_key_in_use() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    let token = secret.registered().await;
    secret.step("createSecret", &token).await.expect("a key is made");
    roll_back(&world, &secret).await;
    let in_use_until_now = id(&secret, "AWSCURRENT").await;
    for step in ["setSecret", "testSecret", "finishSecret"] {
        secret.step(step, &token).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
    }
    assert_eq!(id(&secret, "AWSPREVIOUS").await, in_use_until_now);
    assert!(live(&issuer).contains(&in_use_until_now), "whoever read it a moment ago has it still");
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(live(&issuer), kept(&secret).await, "it ends in its turn");
}

/// The same between the promotion and the end of the previous key.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_current_again_is_not_revoked() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand_with(&world, &issuer, json!({"revokePreviousAfterHours": 0})).await;
    // The only key in the journal of a first rotation is the one that AWSCURRENT goes back to.
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
    world.lab.disturb().restart();
    // finishSecret reads the labels and two values, tries the key, asks and promotes. Then it reads the admin's secret and the labels.
    for call in [7, 8] {
        world.lab.disturb().on_call(call, Fault::Delay(Duration::from_secs(2)));
    }
    let back = async {
        while secret.version("AWSCURRENT").await != token {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        roll_back(&world, &secret).await;
    };
    let (finished, ()) = tokio::join!(secret.step("finishSecret", &token), back);
    assert_eq!(world.lab.disturb().fired(), 2);
    assert_eq!(finished.expect("it was promoted")["notRetired"], "write-conflict");
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await), "AWSCURRENT is dead");
    world.lab.disturb().restart();
    // Whoever goes back gives the version up.
    let given_up = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", given_up).await.expect("the label is removed");
    for _ in 0..2 {
        secret.rotated().await;
    }
    assert_eq!(live(&issuer), [id(&secret, "AWSCURRENT").await].into(), "what was rolled back ends in its turn");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_promoted_once_it_works_everywhere() {
    let (world, issuer) = World::lab(Options { propagation: Duration::from_secs(3), ..Options::default() }).await;
    let secret = by_hand(&world, &issuer).await;
    in_use(&secret, &issuer, secret.rotated()).await;
    in_use(&secret, &issuer, secret.rotated()).await;
    assert!(issuer.uses().iter().any(|used| !used.accepted), "it was tried too soon, as is the point");
    assert_eq!(live(&issuer), kept(&secret).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_goes_on_working_for_a_while_after_its_end_is_ended_once() {
    let (world, issuer) = World::lab(Options { revocation_lag: Duration::from_secs(60), ..Options::default() }).await;
    let secret = by_hand(&world, &issuer).await;
    let mut superseded = BTreeSet::new();
    for _ in 0..4 {
        superseded.insert(id(&secret, "AWSCURRENT").await);
        assert_eq!(warnings(&secret.rotated().await), [""; 0]);
    }
    superseded.remove(&id(&secret, "AWSPREVIOUS").await);
    let revoked = issuer.revoked();
    assert_eq!((revoked.len(), revoked.into_iter().collect()), (superseded.len(), superseded));
}

/// The service for deletions is down for three rotations.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_fails_does_not_fail_the_rotation_and_is_made_good() {
    let settings = |function: lab::stack::Builder| function.timeout(Duration::from_secs(15));
    let (world, issuer) = World::lab_with(Options::default(), &described(&[]), settings).await;
    let secret = by_hand(&world, &issuer).await;
    secret.rotated().await;
    world.lab.disturb().on_every("issuer DELETE", Fault::Fail(503));
    let first = id(&secret, "AWSPREVIOUS").await;
    for down in 1..4 {
        let report = in_use(&secret, &issuer, secret.rotated()).await;
        let warned = warnings(&report);
        assert!(warned.iter().any(|text| text.starts_with("[key-not-revoked]") && text.contains(&first)), "{warned:?}");
        assert_eq!(live(&issuer).len(), 2 + down, "nothing ends");
        assert!(world.lab.function_output().contains(r#""Name":"KeyNotRevoked""#), "no metric");
    }
    world.lab.disturb().restart();
    secret.rotated().await;
    let report = secret.rotated().await;
    assert_eq!(warnings(&report), [""; 0]);
    assert_eq!(live(&issuer), kept(&secret).await);
    assert!(retired(&secret.at("AWSCURRENT").await).len() <= 2);
}

/// A 4xx is not tried again within a step, and is worked off all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_is_refused_without_a_grace_is_made_good() {
    let (world, issuer) = World::lab(Options::default()).await;
    let secret = by_hand_with(&world, &issuer, json!({"revokePreviousAfterHours": 0})).await;
    world.lab.disturb().on_next("issuer DELETE", Fault::Fail(403));
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
    let answer = secret.step("finishSecret", &token).await.expect("the rotation succeeds");
    assert_eq!((&answer["outcome"], &answer["retired"]), (&json!("promoted"), &Value::Null));
    assert!(warnings_of(&answer)[0].starts_with("[key-not-revoked]"), "{answer}");
    assert_eq!(live(&issuer).len(), 2);
    secret.rotated().await;
    assert_eq!(live(&issuer), [id(&secret, "AWSCURRENT").await].into());
}
