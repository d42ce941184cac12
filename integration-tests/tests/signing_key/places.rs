//! The places that keys are published in, and others who write there.

use integration_tests::signing::{World, id, ids};
use integration_tests::{at_rest, merged};
use lab::disturb::Fault;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const OBJECT: &str = "jwks.json";
const PLACE: &str = "s3://tokens.example.com/jwks.json";
const PARAMETER: &str = "ssm:/app/jwks";

async fn cache() {
    sleep(Duration::from_millis(2100)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_was_emptied_is_filled_first() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({"maxTokenLifetime": 9, "maxCache": 2})).await;
    secret.rotated().await;
    cache().await;
    world.delete(OBJECT).await;
    let before = secret.at("AWSCURRENT").await;
    assert_eq!(secret.refused().await.error_type, "too-soon");
    assert_eq!(ids(&world.object(OBJECT).await.1), ids(&before["jwks"]), "what signs is public again");
    assert_eq!(secret.at("AWSCURRENT").await, before);
    cache().await;
    secret.rotated().await;
    assert_eq!(id(&secret.at("AWSCURRENT").await, "current"), id(&before, "next"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_of_another_secret_is_left_alone() {
    let world = World::start().await;
    for (place, read) in [(PLACE, true), (PARAMETER, false)] {
        let published = async || if read { world.object(OBJECT).await.1 } else { world.parameter("/app/jwks").await };
        world.secret(&[place], json!({})).await.rotated().await;
        let before = published().await;
        let error = world.secret(&[place], json!({})).await.refused().await;
        assert_eq!(error.error_type, "outlet-taken", "{place}: {error:?}");
        assert_eq!(published().await, before);
    }
    world.write("page.json", &json!({"not": "keys"})).await;
    let secret = world.secret(&["s3://tokens.example.com/page.json"], json!({})).await;
    assert_eq!(secret.refused().await.error_type, "outlet-taken");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_look_notices_what_somebody_changed() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({})).await;
    secret.rotated().await;
    let (_, set) = world.object(OBJECT).await;
    let foreign =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "evil", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let changed = merged(set.clone(), json!({"keys": [set["keys"][0], foreign]}));
    world.write(OBJECT, &changed).await;
    let looked = world.look().await;
    let noticed: Vec<_> = looked["noticed"].as_array().unwrap().iter().map(|one| one.as_str().unwrap()).collect();
    assert_eq!(noticed.len(), 2, "{looked}");
    assert!(noticed.iter().all(|one| one.starts_with("[published-set-changed]")), "{looked}");
    assert!(noticed.iter().any(|one| one.contains("evil")), "{looked}");
    assert!(world.lab.function_output().contains("published-set-changed"));
    let after = ids(&world.object(OBJECT).await.1);
    assert!(after.len() == 3 && ids(&set).iter().all(|kid| after.contains(kid)), "the missing key is back: {after:?}");
    world.write(OBJECT, &set).await;
    assert_eq!(world.look().await["noticed"], Value::Null);

    let diagnose = json!({"Step": "diagnose", "SecretId": secret.arn});
    let diagnosed = async || world.lab.invoke(&diagnose).await.result().unwrap();
    assert_eq!(diagnosed().await["finding"], "healthy");
    world.delete(OBJECT).await;
    let found = diagnosed().await;
    assert!(found["finding"] == "unclear" && found.to_string().contains("published-set-changed"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_refuses_is_named_and_nothing_is_promoted() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE, "s3://no-such-bucket/jwks.json"], json!({})).await;
    let error = secret.refused().await;
    assert!(
        error.error_type == "outlet-refused" && error.error_message.contains("s3://no-such-bucket/jwks.json"),
        "{error:?}"
    );
    assert!(secret.at("AWSCURRENT").await.get("current").is_none());
    world.relay.set(lab::relay::Mode::Refuse).await.unwrap();
    assert_eq!(secret.refused().await.error_type, "outlet-unavailable");
}

/// A rotation that stays unfinished must not blind the daily look.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_added_is_told_during_a_rotation_and_whatever_the_notes_say() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({"maxTokenLifetime": 9, "maxCache": 1})).await;
    secret.rotated().await;
    cache().await;
    // A pending version of a secret that names the function: the daily look leaves out all others.
    let put = json!({
        "SecretId": secret.arn, "SecretString": secret.at("AWSCURRENT").await.to_string(), "ClientRequestToken": integration_tests::uuid(),
        "VersionStages": ["AWSPENDING"],
    });
    world.lab.call("PutSecretValue", put).await.unwrap();
    assert_eq!(world.look().await["noticed"], Value::Null);
    let (_, set) = world.object(OBJECT).await;
    let mut changed = set.clone();
    add_evil(&mut changed);
    world.write(OBJECT, &changed).await;
    let looked = world.look().await;
    let noticed = looked["noticed"].as_array().expect("a list");
    assert!(noticed.len() == 1 && looked.to_string().contains("evil"), "{looked}");
    assert_eq!(world.look().await["noticed"], looked["noticed"], "nothing is changed during a rotation");
}

/// The look tells what it did, and each way out that it names leads out.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_somebody_replaced_during_a_rotation_stands_until_the_advice_is_followed() {
    let world = World::start().await;
    for gives_up in [false, true] {
        let (object, lab) = (format!("replaced-{gives_up}.json"), &world.lab);
        let place = format!("s3://tokens.example.com/{object}");
        let secret = world.secret(&[&place], json!({"maxTokenLifetime": 9, "maxCache": 1})).await;
        secret.rotated().await;
        cache().await;
        // The rotation is not finished, as long as the label cannot be moved.
        lab.disturb().on_every("UpdateSecretVersionStage", Fault::Fail(403));
        secret.refused().await;
        lab.disturb().restart();
        let token = secret.version("AWSPENDING").await;
        let signs = id(&secret.at("AWSPENDING").await, "current");
        let (_, mut set) = world.object(&object).await;
        let entry = set["keys"].as_array_mut().expect("a list").iter_mut().find(|key| key["kid"] == signs.as_str());
        let evil =
            json!({"kty": "OKP", "crv": "Ed25519", "kid": signs, "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        *entry.expect("the key that is about to sign is public") = evil;
        world.write(&object, &set).await;

        let told = world.look().await["noticed"].to_string();
        assert!(told.contains(&signs) && told.contains("was not put right"), "{told}");
        assert!(told.contains("Nothing was written") && !told.contains("is as it was"), "{told}");
        let published = async || reqwest::get(world.url(&object)).await.expect("moto answers").json::<Value>().await;
        assert_eq!(published().await.expect("JSON"), set);

        if gives_up {
            let strip = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
            lab.call("UpdateSecretVersionStage", strip).await.expect("it is given up");
            let told = world.look().await["noticed"].to_string();
            assert!(told.contains(&signs) && told.contains("is as it was"), "{told}");
        } else {
            let again = lab.invoke_step("setSecret", &secret.arn, &token).await.result();
            assert_eq!(again.expect_err("verifiers do not know the key again yet").error_type, "too-soon");
            cache().await;
            secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
        }
        let expected = ids(&secret.at("AWSCURRENT").await["jwks"]);
        let after = world.object(&object).await.1;
        assert!(expected.iter().all(|kid| ids(&after).contains(kid)), "{after}");
        assert!(!after.to_string().contains("Ed25519"), "{after}");
        assert_eq!(world.look().await["noticed"], Value::Null);
    }
}

/// Whoever can write one place all the time must not keep a leaked key in the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_others_keep_writing_stops_no_emergency() {
    const OTHERS: &str = "s3://tokens.example.com/contested.json";
    let world = World::start().await;
    let secret = world.secret(&[OTHERS, PARAMETER], json!({"maxTokenLifetime": 1, "maxCache": 1})).await;
    secret.rotated().await;
    cache().await;
    let before = secret.at("AWSCURRENT").await;
    let leaked = id(&before, "current");
    let rotation = json!({"publish": [OTHERS, PARAMETER], "emergency": {"leaked": leaked}});
    secret.put(&merged(before, json!({"rotation": rotation}))).await;
    let (_, set) = world.object("contested.json").await;
    let contest = async {
        for number in 0_u64.. {
            world.write("contested.json", &merged(set.clone(), json!({"changed": number}))).await;
        }
    };
    tokio::select! {
        () = contest => unreachable!("it goes on for ever"),
        () = async {
            let token = secret.registered().await;
            secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
        } => {}
    }
    assert!(world.lab.function_output().contains("others keep changing it"), "the place was not contested");
}

/// A key that somebody has added and noted as one of a rotation.
fn add_evil(set: &mut Value) {
    let evil =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "evil", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    set["keys"].as_array_mut().expect("a list").push(evil);
    set["lockstep"]["since"]["evil"] = json!(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_rotation_a_key_of_somebody_else_is_told_and_an_old_one_is_not() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE], json!({"maxTokenLifetime": 1, "maxCache": 1})).await;
    for _ in 0..4 {
        secret.rotated().await;
        cache().await;
    }
    assert!(!world.lab.function_output().contains("published-set-changed"));
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
    let mut set = world.object(OBJECT).await.1;
    add_evil(&mut set);
    world.write(OBJECT, &set).await;
    let ended = secret.step("finishSecret", &token).await.expect("it succeeds");
    assert!(ended["warnings"].to_string().contains("evil"), "{ended}");
    assert!(!ids(&world.object(OBJECT).await.1).contains(&"evil".to_owned()));
}

/// Whoever can spoil one place must not keep a leaked key in the others.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_place_stops_nothing_in_the_others() {
    let world = World::start().await;
    let secret = world.secret(&[PLACE, PARAMETER], json!({"maxTokenLifetime": 1, "maxCache": 1})).await;
    secret.rotated().await;
    cache().await;
    secret.rotated().await;
    world.write(OBJECT, &json!({"not": "keys"})).await;
    cache().await;
    let looked = world.look().await;
    assert!(looked["noticed"][0].as_str().is_some_and(|one| one.starts_with("[outlet-taken]")), "{looked}");
    assert_eq!(ids(&world.parameter("/app/jwks").await).len(), 2, "the look goes on to the next place");

    assert_eq!(secret.refused().await.error_type, "outlet-taken");
    let before = secret.at("AWSCURRENT").await;
    let leaked = id(&before, "current");
    let rotation = json!({"publish": [PLACE, PARAMETER], "emergency": {"leaked": leaked}});
    secret.put(&merged(before, json!({"rotation": rotation}))).await;
    secret.rotated().await;
    assert!(!ids(&world.parameter("/app/jwks").await).contains(&leaked));
    assert!(world.lab.function_output().contains("the emergency goes on without this place"));
}

/// A setSecret that is held up at one of its calls, while its rotation is given up and the next one takes a leaked key away.
#[tokio::test(flavor = "multi_thread")]
async fn a_writer_that_was_held_up_changes_nothing() {
    // Three calls to Secrets Manager, two reads of the place, the labels again, and the write.
    const CALLS: usize = 7;
    for parameter in [false, true] {
        let world = World::start().await;
        for number in 1..=CALLS {
            held_up(&world, number, parameter).await;
        }
    }
}

async fn held_up(world: &World, number: usize, parameter: bool) {
    let (key, name) = (format!("{number}.json"), format!("/app/{number}"));
    let place = if parameter { format!("ssm:{name}") } else { format!("s3://tokens.example.com/{key}") };
    let published = async || if parameter { world.parameter(&name).await } else { world.object(&key).await.1 };
    let (lab, disturb) = (&world.lab, world.lab.disturb());
    let secret = world.secret(&[&place], json!({"maxTokenLifetime": 1, "maxCache": 1})).await;
    secret.rotated().await;
    cache().await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    disturb.restart();
    disturb.on_call(number, Fault::Hold);
    let step = async { lab.invoke_step("setSecret", &secret.arn, &token).await.result() };
    let meanwhile = async {
        timeout(Duration::from_secs(30), disturb.held()).await.expect("the step makes so many calls");
        let before = secret.at("AWSCURRENT").await;
        let leaked = id(&before, "current");
        let rotation = json!({"publish": [place], "emergency": {"leaked": leaked}});
        // This takes AWSPENDING from the version that is held up, too.
        secret.put(&merged(before, json!({"rotation": rotation}))).await;
        secret.rotated().await;
        let set = published().await;
        assert!(!ids(&set).contains(&leaked), "{place}, call {number}");
        disturb.release();
        set
    };
    let (step, set) = tokio::join!(step, meanwhile);
    let error = step.expect_err("a step that was overtaken succeeded");
    assert!(
        ["version-not-pending", "version-unknown", "write-conflict"].contains(&error.error_type.as_str()),
        "{error:?}"
    );
    at_rest(lab).await;
    assert_eq!(ids(&published().await), ids(&set), "{place}: the late call {number} counted");
    disturb.restart();
}
