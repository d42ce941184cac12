//! `diagnose` and `watch`: what the real function says about secrets, without changing anything.

use integration_tests::issuer::{self, World as Issuers, lab_description};
use integration_tests::runbook::search_path;
use integration_tests::{STEPS, Secret, Server as _, World, merged, program};
use lab::Lab;
use lab::disturb::Fault;
use lab::issuer::Options as IssuerOptions;
use lab::relay::Mode;
use lab::servers::mysql::MySql;
use lab::servers::postgres::{Options, Postgres};
use serde_json::{Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(24 * 3_600);

/// The function's answer about a secret. Neither it nor the log may hold any of the secret's passwords.
async fn diagnosed(world: &World, secret: &Secret<'_>) -> Value {
    let before = secret.labels().await;
    let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
    let answer = outcome.result().expect("a diagnosis");
    assert_eq!(secret.labels().await, before, "something was changed");
    let said = format!("{answer}{}", String::from_utf8_lossy(&outcome.log));
    let (_, password) = secret.credential("AWSCURRENT").await;
    assert!(!said.contains(&password), "the diagnosis shows the password");
    answer
}

/// The credentials in the order current, pending, previous, as far as there are versions.
fn credentials(answer: &Value) -> Vec<&str> {
    answer["versions"].as_array().expect("versions").iter().filter_map(|one| one["credential"].as_str()).collect()
}

#[tokio::test]
async fn each_state_of_a_database_user_is_found_and_what_is_advised_helps() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let healthy = diagnosed(&world, &secret).await;
    assert_eq!((&healthy["healthy"], &healthy["finding"]), (&json!(true), &json!("healthy")), "{healthy}");
    assert_eq!(credentials(&healthy), ["works", "not-tried"]);
    assert!(healthy["secondsSinceRotation"].as_u64().expect("a time") < 60, "{healthy}");

    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    let begun = diagnosed(&world, &secret).await;
    assert_eq!(begun["finding"], "pending-in-effect", "{begun}");
    assert_eq!(credentials(&begun), ["rejected", "works", "not-tried"]);
    assert_eq!(begun["versions"][0]["error"]["code"], "current-rejected", "{begun}");
    // What it advises comes to this; the runbooks' tests do it by the service.
    secret.steps(&STEPS[2..], &token).await;
    assert_eq!(diagnosed(&world, &secret).await["finding"], "healthy");

    world.sql("ALTER ROLE app PASSWORD 'somebody else''s'").await;
    let lost = diagnosed(&world, &secret).await;
    assert_eq!(lost["finding"], "locked-out", "{lost}");
    // An older version was tried as well.
    assert_eq!(credentials(&lost), ["rejected", "rejected", "rejected"]);
}

/// Runs each command that an answer names, word for word.
async fn followed(world: &World, answer: &Value) {
    let next = answer["nextAction"].as_str().expect("an action");
    let commands: Vec<_> = next.split('`').filter(|part| part.starts_with("aws ")).collect();
    assert!(!commands.is_empty(), "{next}");
    for command in commands {
        let mut shell = tokio::process::Command::from(program("bash"));
        shell.args(["-c", command]).env("PATH", search_path().await).env("AWS_ENDPOINT_URL", world.lab.url());
        let output = shell.output().await.expect("bash runs");
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// CancelRotateSecret leaves AWSPENDING, and RotateSecret then does nothing, whatever it answers.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_advised_after_rotation_was_turned_off_leads_out() {
    let world = World::with(Options::default(), |function| function.clock_behind(DAY)).await;
    for (user, finding) in [("before", "rotation-unfinished"), ("after", "pending-in-effect")] {
        let secret = world.user(user).await;
        secret.attached().await;
        match finding {
            "pending-in-effect" => world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::KillBefore),
            _ => world.relay.set(Mode::Refuse).await.expect("the relay refuses"),
        }
        assert!(!secret.rotate().await.rotated(), "nothing stopped it");
        world.relay.set(Mode::Forward).await.expect("the relay forwards");
        world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.expect("rotation is turned off");
        let answer = diagnosed(&world, &secret).await;
        assert_eq!(answer["finding"], finding, "{answer}");
        let before = secret.version("AWSCURRENT").await;
        followed(&world, &answer).await;
        secret.settled().await;
        assert!(secret.opens("AWSCURRENT").await && secret.version("AWSCURRENT").await != before, "{answer}");
        assert_eq!(diagnosed(&world, &secret).await["finding"], "healthy");
    }
}

#[tokio::test]
async fn a_dead_network_is_told_from_a_wrong_password() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    world.relay.set(Mode::Refuse).await.expect("the relay refuses");
    let answer = diagnosed(&world, &secret).await;
    assert_eq!((&answer["finding"], &answer["healthy"]), (&json!("unclear"), &json!(false)), "{answer}");
    assert_eq!(credentials(&answer), ["unreachable", "not-tried"]);
    let next = answer["nextAction"].as_str().expect("an action");
    assert!(answer["error"]["message"].as_str().expect("a message").contains(next), "{answer}");
}

#[tokio::test]
async fn the_superusers_credential_is_tried_as_well() {
    let world = World::start().await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    let answer = diagnosed(&world, &secret).await;
    assert_eq!(
        (&answer["finding"], &answer["companion"]["credential"]),
        (&json!("healthy"), &json!("works")),
        "{answer}"
    );
    let superuser = answer["companion"]["secret"].as_str().expect("an ARN").to_owned();
    let wrong = json!({"SecretId": superuser, "SecretString": world.document("postgres", "wrong").to_string()});
    world.lab.call("PutSecretValue", wrong).await.expect("stored");
    let answer = diagnosed(&world, &secret).await;
    assert_eq!(
        (&answer["finding"], &answer["companion"]["credential"]),
        (&json!("companion-fails"), &json!("rejected")),
        "{answer}"
    );
    assert_eq!(answer["error"]["code"], "superuser-rejected", "{answer}");
    assert!(answer["error"]["message"].as_str().expect("a message").contains(&superuser), "which secret: {answer}");
}

/// Between setSecret and finishSecret of the superuser's own rotation, the server refuses its AWSCURRENT version.
#[tokio::test(flavor = "multi_thread")]
async fn a_superuser_that_is_being_rotated_is_waited_for() {
    let world = World::start().await;
    let superuser = world.user("admin").await;
    world.sql("ALTER ROLE admin SUPERUSER").await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    secret.rotated().await;
    let token = superuser.registered().await;
    superuser.steps(&STEPS[..2], &token).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "companion-rotating", "{error:?}");
    assert!(error.error_message.contains(&format!("otherSecret={:?}", superuser.arn)), "{error:?}");
    let output = world.lab.function_output();
    let line = output.lines().find(|line| line.contains(r#""code":"companion-rotating""#)).expect("it is logged");
    assert!(line.contains(r#""class":"retryable""#), "{line}");
    assert_eq!(diagnosed(&world, &superuser).await["finding"], "pending-in-effect");
    superuser.steps(&STEPS[2..], &token).await;
    // What it advises: nothing but another attempt.
    secret.rotated().await;
}

/// The same with the admin's credential of an issuer.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_whose_credential_is_being_rotated_is_waited_for() {
    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| function).await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    let put = async |token: &str, label: &str| {
        let value = json!({"issuer": "lab", "token": token}).to_string();
        let request = json!({"SecretId": world.admin(), "SecretString": value, "VersionStages": [label]});
        world.lab.call("PutSecretValue", request).await.expect("the value is stored");
    };
    put("labadmin_outdated", "AWSCURRENT").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "admin-rejected", "{error:?}");
    assert!(error.error_message.contains(world.admin()), "which secret: {error:?}");
    put(issuer.admin_token(), "AWSPENDING").await;
    assert_eq!(secret.refused().await.error_type, "companion-rotating");
    put(issuer.admin_token(), "AWSCURRENT").await;
    secret.rotated().await;
}

/// The service has one code for this and for other states of a secret, and CloudTrail would not tell more.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_scheduled_for_deletion_is_named_and_can_be_restored() {
    let world = World::start().await;
    let (superuser, alone) = (world.superuser().await, world.user("alone").await);
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    secret.rotated().await;
    for (deleted, asked, fact) in [(&superuser, &secret, "otherSecret"), (&alone, &alone, "secret")] {
        world.lab.call("DeleteSecret", json!({"SecretId": deleted.arn})).await.expect("it is scheduled for deletion");
        let message = match world.lab.invoke(&json!({"Step": "diagnose", "SecretId": asked.arn})).await.result() {
            Ok(answer) => {
                assert_eq!(answer["finding"], "companion-fails", "{answer}");
                assert_eq!(asked.refused().await.error_type, "secret-not-found");
                answer["error"]["message"].as_str().expect("a message").to_owned()
            }
            Err(error) => error.error_message,
        };
        let named = format!("{fact}={:?}", deleted.arn);
        assert!(message.starts_with("[secret-not-found]") && message.contains(&named), "{message}");
        world.lab.call("RestoreSecret", json!({"SecretId": deleted.arn})).await.expect("it is restored");
        asked.rotated().await;
    }
}

/// The same with an issuer's admin secret.
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_secret_that_is_scheduled_for_deletion_is_named() {
    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| function).await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    world.lab.call("DeleteSecret", json!({"SecretId": world.admin()})).await.expect("it is scheduled for deletion");
    let error = secret.refused().await;
    assert_eq!(error.error_type, "secret-not-found", "{error:?}");
    assert!(error.error_message.contains(&format!("otherSecret={:?}", world.admin())), "{error:?}");
    world.lab.call("RestoreSecret", json!({"SecretId": world.admin()})).await.expect("it is restored");
    secret.rotated().await;
}

#[tokio::test]
async fn a_secret_that_is_not_json_is_unclear_and_says_why() {
    let world = World::start().await;
    let secret = world.secret_text("a plain password").await;
    let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
    let answer = outcome.result().expect("a diagnosis");
    assert_eq!(
        (&answer["finding"], &answer["error"]["code"]),
        (&json!("unclear"), &json!("secret-not-json")),
        "{answer}"
    );
    assert!(!answer.to_string().contains("a plain password"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_dead_is_found_and_what_is_advised_helps() {
    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| function).await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    let ask = || async {
        let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
        outcome.result().expect("a diagnosis")
    };
    secret.rotated().await;
    let answer = ask().await;
    assert_eq!(
        (&answer["finding"], &answer["companion"]["credential"]),
        (&json!("healthy"), &json!("works")),
        "{answer}"
    );
    let dead = merged(secret.at("AWSCURRENT").await, json!({"apiKey": "dead"}));
    secret.put(&dead).await;
    assert_eq!(ask().await["finding"], "previous-in-effect");
    secret.put(&merged(dead, json!({"apiKey": "dead, too"}))).await;
    assert_eq!(ask().await["finding"], "rescue-possible");
    // What it advises.
    secret.rotated().await;
    assert_eq!(ask().await["finding"], "healthy");
}

/// No issuer sets a key that the secret already holds, so `recover` only moves the label.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_with_a_dead_key_is_recovered_from_its_previous_version() {
    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| {
        function.env("ALLOW_RECOVER", "true")
    })
    .await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    secret.rotated().await;
    let (version, works) = (secret.version("AWSCURRENT").await, secret.at("AWSCURRENT").await);
    let recover = async || world.lab.invoke(&json!({"Step": "recover", "SecretId": secret.arn})).await.result();
    let dead = merged(works.clone(), json!({"apiKey": "dead"}));
    secret.put(&dead).await;
    let answer = recover().await.expect("AWSPREVIOUS works");
    assert_eq!((&answer["outcome"], &answer["version"]), (&json!("current-moved"), &json!(version)), "{answer}");
    assert_eq!(secret.at("AWSCURRENT").await, works);
    assert_eq!(recover().await.expect("it works")["outcome"], "nothing-to-do");

    secret.put(&dead).await;
    secret.put(&merged(dead, json!({"apiKey": "dead, too"}))).await;
    let error = recover().await.expect_err("a new key is made by a rotation");
    assert_eq!(error.error_type, "recover-refused", "{error:?}");
    assert!(error.error_message.contains("found=\"rescue-possible\""), "{error:?}");
    secret.rotated().await;
}

/// Each attempt finds the stored key again, so without what the error says the rotation would fail for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_pending_key_that_is_dead_is_given_up_as_the_error_says() {
    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| {
        function.clock_behind(DAY).timeout(Duration::from_secs(10))
    })
    .await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    secret.attached().await;
    world.lab.disturb().on_every("issuer POST", Fault::Fail(503));
    secret.refused().await;
    world.lab.disturb().restart();
    // As after a deletion at the issuer.
    let dead = merged(secret.at("AWSCURRENT").await, json!({"apiKeyId": "key_dead", "apiKey": "lab_dead"}));
    let pending = secret.version("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": pending, "SecretString": dead.to_string(),
        "VersionStages": ["AWSPENDING"]});
    world.lab.call("PutSecretValue", request).await.expect("the value is stored");
    for _ in 0..2 {
        let error = secret.refused().await;
        assert_eq!(error.error_type, "pending-rejected", "{error:?}");
        assert!(error.error_message.contains("remove AWSPENDING from the version"), "{error:?}");
    }
    let answer = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await.result().expect("one");
    assert_eq!(answer["finding"], "rotation-unfinished", "{answer}");
    assert!(answer["nextAction"].as_str().expect("an action").contains("unless the error"), "{answer}");
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": pending});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    secret.rotated().await;
}

/// What `watch` answers, and what it logs.
async fn watched(lab: &Lab) -> (Value, String) {
    let outcome = lab.invoke(&json!({"Step": "watch"})).await;
    (outcome.result().expect("an answer"), String::from_utf8_lossy(&outcome.log).into_owned())
}

/// By the clock of a service in which the last rotation was weeks ago.
#[tokio::test]
async fn a_watch_names_the_secrets_whose_rotation_is_late() {
    for (behind, late) in [(Duration::ZERO, false), (30 * DAY, false), (32 * DAY, true)] {
        let world = World::with(Options::default(), |function| function.clock_behind(behind)).await;
        let (one, other) = (world.user("one").await, world.user("other").await);
        one.rotated().await;
        one.attached_on(json!({"AutomaticallyAfterDays": 30})).await;
        // As old as the other one, attached and never rotated, and not due for long.
        let fresh = world.user("fresh").await;
        fresh.attached_on(json!({"ScheduleExpression": "rate(300 days)"})).await;
        // A secret of another function, and one that nobody rotates.
        other.registered().await;
        world.user("third").await;
        let (answer, log) = watched(&world.lab).await;
        let expected = if late { json!([{"secret": one.arn, "late": "overdue"}]) } else { json!([]) };
        assert_eq!((&answer["served"], &answer["late"]), (&json!(2), &expected), "{behind:?}");
        assert!(log.contains(&format!("\"SecretsOverdue\":{}", u8::from(late))), "{log}");
        assert_eq!(log.contains(&one.arn), late, "{log}");
        // A diagnosis agrees, by the same dates.
        let answer = diagnosed(&world, &one).await;
        assert_eq!(answer["finding"], if late { "rotation-overdue" } else { "healthy" }, "{answer}");
        assert!(!late || answer["what"].as_str().expect("words").contains(answer["due"].as_str().expect("a date")));
        // What it advises, in the present.
        world.lab.set_clock_behind(Duration::ZERO);
        one.rotated().await;
        assert_eq!(diagnosed(&world, &one).await["finding"], "healthy");
    }
}

/// By the clock of a service in which it was begun more than a day ago.
#[tokio::test]
async fn a_watch_names_the_secrets_whose_rotation_was_never_finished() {
    for (behind, stuck) in [(Duration::ZERO, false), (2 * DAY, true)] {
        let world = World::with(Options::default(), |function| function.clock_behind(behind)).await;
        let secret = world.user("one").await;
        world.sql("ALTER ROLE one NOLOGIN").await;
        secret.refused().await;
        let (answer, log) = watched(&world.lab).await;
        let expected = if stuck { json!([{"secret": secret.arn, "late": "unfinished"}]) } else { json!([]) };
        assert_eq!((&answer["served"], &answer["late"]), (&json!(1), &expected), "{behind:?}");
        assert!(log.contains(&format!("\"SecretsStuck\":{}", u8::from(stuck))), "{log}");
    }
}

#[tokio::test]
async fn every_function_can_be_asked_which_rotations_are_late() {
    for function in [Postgres::function().await, MySql::function().await, issuer::function().await] {
        let lab = Lab::builder(&function).start().await.expect("the lab starts");
        let (answer, _) = watched(&lab).await;
        assert_eq!((&answer["served"], &answer["late"]), (&json!(0), &json!([])), "{}", function.display());
    }
}

#[tokio::test]
async fn a_question_about_nothing_names_the_field() {
    let world = World::start().await;
    let error = world.lab.invoke(&json!({"Step": "diagnose"})).await.result().expect_err("no secret is named");
    assert_eq!(error.error_type, "event-malformed", "{}", error.error_message);
    assert!(error.error_message.contains("field=\"SecretId\""), "{}", error.error_message);
}
