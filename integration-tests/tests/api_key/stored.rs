//! Keys whose id and value the function chooses: stored first, created by setSecret, and completed by further calls. And keys of
//! the issuer's own that are completed so.

use super::crash::{FAULTS, Stage, each_call};
use super::support::{by_hand, described, id, in_use, kept, live, warnings};
use integration_tests::issuer::{Secret, World};
use integration_tests::{merged, uuid};
use lab::Lab;
use lab::disturb::Fault;
use lab::issuer::{Issuer, Options};
use serde_json::json;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const GRANTS: &[&str] = &["read", "write"];

/// The description that people are told to copy, under the name of the lab's issuer.
fn chosen() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/issuers/lab-chosen.yaml");
    let text = fs::read_to_string(path).expect("the description is there");
    text.replacen("issuer: lab-chosen\n", "issuer: lab\n", 1)
}

/// The same grants for keys that the issuer makes.
fn made_there() -> String {
    let create = "  extract: {id: /id, secret: /secret}\n";
    let after = format!(
        "{create}  after:\n    - put: \"/v1/keys/{{{{key.id}}}}/grants/read\"\n    - put: \"/v1/keys/{{{{key.id}}}}/grants/write\"\n"
    );
    described(&[(create, &after)])
}

async fn start(description: &str, options: Options) -> (World, Issuer) {
    World::lab_with(options, description, |function| function).await
}

/// A secret with a key that a person has made, with its grants.
async fn granted<'a>(world: &'a World, issuer: &Issuer) -> Secret<'a> {
    let secret = by_hand(world, issuer).await;
    let first = id(&secret, "AWSCURRENT").await;
    assert!(GRANTS.iter().all(|scope| issuer.grant(&first, scope)));
    secret
}

/// Each call of a first rotation and of a later one, with one kind of fault.
async fn sweep(description: &str, fault: Fault) {
    let (world, issuer) = start(description, Options::default()).await;
    let mut others = BTreeSet::new();
    let first = each_call(async |call| {
        let secret = granted(&world, &issuer).await;
        let stage = Stage::new(&issuer, secret, others.clone()).granted(GRANTS);
        let struck = stage.strike(call, fault).await;
        others.extend(kept(&stage.secret).await);
        struck
    });
    first.await;
    let (world, issuer) = start(description, Options::default()).await;
    let secret = granted(&world, &issuer).await;
    secret.rotated().await;
    secret.rotated().await;
    let stage = Stage::new(&issuer, secret, BTreeSet::new()).granted(GRANTS);
    each_call(async |call| stage.strike(call, fault).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_before_each_call_of_a_stored_key() {
    sweep(&chosen(), Fault::KillBefore).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_after_each_call_of_a_stored_key() {
    sweep(&chosen(), Fault::KillAfter).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_reply_of_a_stored_key_is_lost() {
    sweep(&chosen(), Fault::LoseReply).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_each_call_of_a_key_with_grants() {
    for fault in FAULTS {
        sweep(&made_there(), fault).await;
    }
}

/// Nothing is sent to the issuer before the secret has the key.
#[tokio::test(flavor = "multi_thread")]
async fn a_stored_key_is_created_by_set_secret() {
    let (world, issuer) = start(&chosen(), Options::default()).await;
    let secret = granted(&world, &issuer).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(issuer.created(), 0);
    let stored = id(&secret, "AWSPENDING").await;
    assert_eq!(secret.step("setSecret", &token).await.expect("it is created")["outcome"], "changed");
    assert_eq!((issuer.created(), issuer.grants(&stored)), (1, vec!["read".to_owned(), "write".to_owned()]));
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
    assert_eq!(issuer.created(), 1, "the same key again");
    assert!(issuer.works(&secret.field("AWSCURRENT", "apiKey").await));
}

/// Whoever may write the secret, and no more, must not set a password of somebody else's user with the admin's help.
#[tokio::test(flavor = "multi_thread")]
async fn a_user_that_the_secret_only_names_keeps_its_password() {
    let (world, issuer) = start(&chosen(), Options::default()).await;
    let (victim, password) = issuer.mint("root");
    let secret = granted(&world, &issuer).await;
    secret.rotated().await;
    let current = secret.at("AWSCURRENT").await;
    // Under the name of another user; of the current key; and of one that only looks like the function's.
    let token = uuid();
    let own = current["apiKeyId"].as_str().expect("an id").to_owned();
    let (prefix, _) = own.rsplit_once('-').and_then(|(rest, _)| rest.rsplit_once('-')).expect("a name has parts");
    let forged = format!("{prefix}-{}-0", base36(&token));
    for name in [victim.as_str(), own.as_str(), forged.as_str()] {
        let token = if name == forged { token.clone() } else { uuid() };
        register(&secret, &token).await;
        let value = merged(current.clone(), json!({"apiKeyId": name, "apiKey": "chosen-by-the-writer-of-the-secret"}));
        let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "SecretString": value.to_string(),
            "VersionStages": ["AWSPENDING"]});
        world.lab.call("PutSecretValue", request).await.expect("the value is stored");
        assert_eq!(secret.step("setSecret", &token).await.expect("nothing is done")["outcome"], "already-in-effect");
        assert!(secret.step("testSecret", &token).await.is_err(), "{name}");
        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        world.lab.call("UpdateSecretVersionStage", request).await.expect("the rotation is given up");
    }
    assert!(issuer.works(&password), "the user has another password");
    assert!(issuer.works(current["apiKey"].as_str().expect("a key")), "the current key has another value");
    assert!(!live(&issuer).contains(&forged), "a user was created without a proof");
    assert!(live(&issuer).contains(&victim));
}

/// Registers a version as RotateSecret does.
async fn register(secret: &Secret<'_>, token: &str) {
    let lab = secret.lab();
    let end = lab.rotation_end(token);
    let nobody = lab.deploy(Lab::builder("/nonexistent/bootstrap").name("nobody"));
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "RotationLambdaARN": nobody});
    lab.call("RotateSecret", request).await.expect("the rotation is registered");
    end.await;
}

/// The id of a version as it stands in a name.
fn base36(token: &str) -> String {
    let mut number = u128::from_str_radix(&token.replace('-', ""), 16).expect("a UUID");
    let mut digits = Vec::new();
    while number > 0 {
        digits.push(char::from_digit(u32::try_from(number % 36).expect("a digit"), 36).expect("a digit"));
        number /= 36;
    }
    digits.iter().rev().collect()
}

/// The issuer asks to wait, and is full, in the middle of a creation.
#[tokio::test(flavor = "multi_thread")]
async fn a_creation_that_stops_in_the_middle_goes_on() {
    let (world, issuer) = start(&chosen(), Options::default()).await;
    let secret = granted(&world, &issuer).await;
    for fault in [Fault::Throttle, Fault::Fail(503), Fault::LoseReply] {
        world.lab.disturb().restart();
        world.lab.disturb().on_next("issuer PUT", fault);
        let report = in_use(&secret, &issuer, secret.rotated()).await;
        assert_eq!((world.lab.disturb().fired(), warnings(&report)), (1, Vec::new()), "{fault:?}");
        assert_eq!(issuer.grants(&id(&secret, "AWSCURRENT").await), GRANTS, "{fault:?}");
    }
    let (world, issuer) = start(&chosen(), Options { max_keys: Some(1), ..Options::default() }).await;
    let secret = granted(&world, &issuer).await;
    assert_eq!(secret.refused().await.error_type, "key-limit-reached");
    assert_eq!(live(&issuer).len(), 1);
}

/// A key that lacks its grants is not stored, and does not stay.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_gets_no_grant_does_not_stay() {
    let wrong = made_there().replace("/grants/write", "/nothing");
    let (world, issuer) = start(&wrong, Options::default()).await;
    let secret = by_hand(&world, &issuer).await;
    assert_eq!(secret.refused().await.error_type, "issuer-refused");
    assert_eq!((issuer.created(), live(&issuer).len()), (1, 1), "one was created, and removed again");
}
