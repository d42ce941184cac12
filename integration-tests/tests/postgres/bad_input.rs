//! Secrets, labels and settings that cannot be right. Each is refused with the code and the field that say what to correct,
//! without a word of what the secret holds, before anything is sent anywhere, and with nothing lost.

use integration_tests::malformed::{self, field, marked, moved, never_tried, planted, refused};
use integration_tests::{STEPS, World, function, merged, uuid};
use lab::Lab;
use lab::servers::Password;
use serde_json::{Value, json};

/// The limit for a secret's value.
const MAX_BYTES: usize = 65_536;

// ---- the secret's own value

#[tokio::test]
async fn a_malformed_secret_is_refused_with_the_field_that_is_wrong() {
    let world = World::start().await;
    let password = marked();
    let with = |more: Value| merged(world.document("app", &password), more).to_string();
    let mut cases = malformed::secrets(&world, &password);
    cases.extend([
        (with(json!({"engine": "mysql"})), "engine-mismatch", "postgres or aurora-postgresql".to_owned()),
        (
            with(json!({"rotation": {"discardPreviousPasswordAfterHours": 1}})),
            "option-unknown",
            "rotation.discardPreviousPasswordAfterHours".to_owned(),
        ),
        // 63 bytes are the most; the letters have two.
        (with(json!({"username": "é".repeat(32)})), "name-too-long", "64 bytes".to_owned()),
        (
            with(json!({"username": "x".repeat(58), "masterarn": "arn"})),
            "name-too-long",
            format!("user=\"{}_clone\"", "x".repeat(58)),
        ),
    ]);
    for (text, code, named) in cases {
        let secret = world.secret_text(&text).await;
        let (error, step) = refused(&world, &secret).await;
        let message = &error.error_message;
        assert_eq!(error.error_type, code, "{message}");
        assert!(message.contains(&named), "{named}: {message}");
        assert_eq!(step, "createSecret", "{message}");
        assert!(!message.contains("S3cr3t"), "{message}");
    }
    assert!(!world.lab.function_output().contains("S3cr3t"));
    assert_eq!(world.relay.connections(), 0);
}

#[tokio::test]
async fn a_name_that_no_certificate_can_be_for_is_refused_before_the_login() {
    let world = World::start().await;
    let secret = world.user_with("app", json!({"rotation": {"tlsServerName": "a b"}})).await;
    let (error, step) = refused(&world, &secret).await;
    assert_eq!((error.error_type.as_str(), step.as_str()), ("field-invalid", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("rotation.tlsServerName"), "{}", error.error_message);
    assert!(world.lab.calls().iter().all(|call| call.flight.is_none()), "something was sent to the server");
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn a_binary_secret_is_refused() {
    let world = World::start().await;
    // {"password":"S3cr3t"}
    let request = json!({"Name": "binary", "SecretBinary": "eyJwYXNzd29yZCI6IlMzY3IzdCJ9"});
    let created = world.lab.call("CreateSecret", request).await.unwrap();
    let secret = world.known(created["ARN"].as_str().unwrap());
    let (error, _) = refused(&world, &secret).await;
    assert_eq!(error.error_type, "secret-not-json");
    assert!(error.error_message.contains("a binary value"), "{}", error.error_message);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

#[tokio::test]
async fn a_secret_of_the_largest_size_is_rotated_and_never_cut() {
    let world = World::start().await;
    for (user, length, fits) in [("same", 32, true), ("shorter", 31, false)] {
        let password = Password::from(&Password::random().expose()[..length]);
        world.server.create_user(user, &password).await.unwrap();
        let document = merged(world.document(user, password.expose()), json!({"zz": {"1": [null, 2.5]}}));
        let space = MAX_BYTES - document.to_string().len() - r#","note":"""#.len();
        let document = merged(document, json!({"note": "é".repeat(space / 2) + &"x".repeat(space % 2)}));
        assert_eq!(document.to_string().len(), MAX_BYTES);
        let secret = world.secret(document.clone()).await;
        if fits {
            secret.rotated().await;
            let new = secret.at("AWSCURRENT").await;
            assert_eq!(merged(new.clone(), json!({"password": null})), merged(document, json!({"password": null})));
            assert!(new["password"] != password.expose() && secret.opens("AWSCURRENT").await);
        } else {
            let (error, _) = refused(&world, &secret).await;
            assert_eq!(error.error_type, "secret-too-large");
            assert!(error.error_message.contains("65537 bytes"), "{}", error.error_message);
            assert!(secret.opens("AWSCURRENT").await);
        }
    }
}

// ---- what it names

#[tokio::test]
async fn a_superuser_secret_that_cannot_serve_is_refused_before_its_password_is_sent() {
    let world = World::start().await;
    let password = marked();
    let superuser = world.document("postgres", &password);
    let with = |more: Value| merged(superuser.clone(), more).to_string();
    let text = async |text: String| world.secret_text(&text).await.arn;
    let nobody = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf".to_owned();
    let cases = [
        (nobody, "secret-not-found", "nobody-AbCdEf"),
        (text(password.clone()).await, "secret-not-json", "text that is not JSON"),
        (text(with(json!({"engine": "mysql"}))).await, "engine-mismatch", "mysql"),
        (text(with(json!({"host": "other.example.com"}))).await, "superuser-mismatch", "other.example.com"),
        (text(with(json!({"port": 1}))).await, "superuser-mismatch", "localhost:1"),
        (text(with(json!({"password": null}))).await, "field-missing", "field=\"password\""),
        (
            text(json!({"username": "postgres", "password": ""}).to_string()).await,
            "field-invalid",
            "field=\"password\"",
        ),
        (text(json!({"password": password}).to_string()).await, "field-missing", "field=\"username\""),
    ];
    for (number, (arn, code, named)) in cases.into_iter().enumerate() {
        let secret = world.user_with(&format!("app{number}"), json!({"masterarn": arn})).await;
        let (error, step) = refused(&world, &secret).await;
        assert_eq!((error.error_type.as_str(), step.as_str()), (code, "setSecret"), "{}", error.error_message);
        assert!(error.error_message.contains(named), "{}", error.error_message);
        assert!(error.error_message.contains(&arn), "which secret: {}", error.error_message);
        assert!(!error.error_message.contains("S3cr3t"), "{}", error.error_message);
        assert!(secret.opens("AWSCURRENT").await);
    }
    assert_eq!(world.relay.connections(), 0);

    let arn = text(superuser.to_string()).await;
    let secret = world.user_with("app", json!({"masterarn": arn})).await;
    let (error, _) = refused(&world, &secret).await;
    assert_eq!(error.error_type, "superuser-rejected", "{}", error.error_message);
    assert!(error.error_message.contains("user=\"postgres\""), "{}", error.error_message);
    assert!(secret.opens("AWSCURRENT").await);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

#[tokio::test]
async fn a_user_that_does_not_exist_is_named() {
    let world = World::start().await;
    let password = marked();
    // The server does not tell an unknown user from a wrong password.
    let secret = world.secret(world.document("nobody", &password)).await;
    let (error, step) = refused(&world, &secret).await;
    assert_eq!((error.error_type.as_str(), step.as_str()), ("locked-out", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("user=\"nobody\""), "{}", error.error_message);
    // A superuser does tell.
    let superuser = world.superuser().await;
    for rescue in [json!({}), json!({"rotation": {"superuserRescue": true}})] {
        let document = merged(world.document("nobody", &password), json!({"masterarn": superuser.arn}));
        let secret = world.secret(merged(document, rescue)).await;
        let (error, step) = refused(&world, &secret).await;
        assert_eq!(
            (error.error_type.as_str(), step.as_str()),
            ("role-missing", "setSecret"),
            "{}",
            error.error_message
        );
        assert!(error.error_message.contains("user=\"nobody\""), "{}", error.error_message);
    }
    assert_eq!(world.ask("SELECT rolname FROM pg_roles WHERE rolname LIKE 'nobody%'").await, [""; 0]);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

// ---- a pending version that createSecret did not make

#[tokio::test]
async fn a_pending_version_about_something_else_is_never_tried() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    let elsewhere = world.lab.relay(world.server.port()).await.unwrap();
    let single = world.user("single").await;
    let pair = world.user_with("pair", json!({"masterarn": superuser.arn})).await;
    let cases = [
        (&single, json!({"host": "127.0.0.1"}), "pending-mismatch", "host"),
        (&single, json!({"port": elsewhere.port()}), "pending-mismatch", "port"),
        (&single, json!({"dbname": "template1"}), "pending-mismatch", "dbname"),
        (&single, json!({"ssl": false}), "pending-mismatch", "ssl"),
        (&single, json!({"username": "pair"}), "pending-mismatch", "username"),
        (&single, json!({"username": "single_clone"}), "pending-mismatch", "username"),
        (&single, json!({"masterarn": superuser.arn}), "pending-mismatch", "masterarn"),
        (&single, json!({"rotation": {"caBundle": world.server.ca_pem()}}), "pending-mismatch", "rotation.caBundle"),
        (&single, json!({"rotation": {"tlsServerName": "127.0.0.1"}}), "pending-mismatch", "rotation.tlsServerName"),
        (&single, json!({"rotation": {"no": 1}}), "option-unknown", ""),
        (&single, json!({"engine": "mysql"}), "engine-mismatch", ""),
        (&single, json!({"password": ""}), "field-invalid", "password"),
        (&pair, json!({"username": "pair"}), "pending-mismatch", "username"),
        (&pair, json!({"username": "single"}), "pending-mismatch", "username"),
        (&pair, json!({"username": "pair_clone", "masterarn": null}), "pending-mismatch", "masterarn"),
        (&pair, json!({"username": "pair_clone", "masterarn": single.arn}), "pending-mismatch", "masterarn"),
        (
            &pair,
            json!({"username": "pair_clone", "rotation": {"users": ["pair", "pair_clone"]}}),
            "pending-mismatch",
            "rotation.users",
        ),
        (
            &pair,
            json!({"username": "pair", "rotation": {"superuserRescue": true}}),
            "pending-mismatch",
            "rotation.superuserRescue",
        ),
    ];
    for (secret, tampered, code, name) in cases {
        never_tried(&world, secret, tampered, (code, name)).await;
    }
    let token = planted(&world, &single, &marked()).await;
    assert_eq!(single.step("setSecret", &token).await.unwrap_err().error_type, "secret-not-json");
    assert_eq!((world.relay.connections(), elsewhere.connections()), (0, 0));
    assert!(!world.lab.function_output().contains("S3cr3t"));
    assert!(single.opens("AWSCURRENT").await && pair.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn options_that_change_between_create_and_set_end_the_rotation() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    // Somebody moves AWSCURRENT to a version about another server, and leaves AWSPENDING where it is.
    let other = merged(secret.at("AWSCURRENT").await, json!({"host": "127.0.0.1"}));
    moved(&world, &secret, &other).await;
    for step in &STEPS[1..] {
        let error = secret.step(step, &token).await.unwrap_err();
        assert_eq!(error.error_type, "pending-mismatch", "{}", error.error_message);
    }
    assert_eq!(world.relay.connections(), 0);
    assert_eq!(secret.at("AWSCURRENT").await, other);
}

// ---- labels

#[tokio::test]
async fn each_state_of_a_version_has_its_answer() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let (first, second) = (secret.rotated().await.token, secret.rotated().await.token);
    let made = world.relay.connections();
    let before = secret.at("AWSCURRENT").await;
    let error_at = async |step: &str, token: &str| secret.step(step, token).await.unwrap_err();
    for step in STEPS {
        let stranger = uuid();
        for (token, code, named) in
            [(&stranger, "version-unknown", &stranger), (&first, "version-not-pending", &"AWSPREVIOUS".to_owned())]
        {
            let error = error_at(step, token).await;
            assert_eq!(error.error_type, code, "{step}: {}", error.error_message);
            assert!(error.error_message.contains(named), "{step}: {}", error.error_message);
        }
        let answer = secret.step(step, &second).await.unwrap();
        assert_eq!(answer, json!({"step": step, "outcome": "already-current"}));
    }
    for step in ["dropSecret", "CREATESECRET", "create-secret"] {
        let error = error_at(step, &second).await;
        assert_eq!(error.error_type, "step-unknown", "{}", error.error_message);
        assert!(error.error_message.contains(step), "{}", error.error_message);
    }
    let nowhere = world.known("arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf");
    assert_eq!(nowhere.step("createSecret", &second).await.unwrap_err().error_type, "secret-not-found");

    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.unwrap();
    for step in STEPS {
        let error = error_at(step, &second).await;
        assert_eq!(error.error_type, "rotation-disabled", "{step}: {}", error.error_message);
        assert!(error.error_message.contains(&secret.arn), "{step}: {}", error.error_message);
    }
    assert_eq!(world.relay.connections(), made);
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn both_spellings_of_the_steps_rotate() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["create_secret", "set_secret", "test_secret", "finish_secret"], &token).await;
    assert_eq!(secret.labels().await[&token], json!(["AWSCURRENT", "AWSPENDING"]));
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn a_step_out_of_order_promotes_nothing() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let before = secret.at("AWSCURRENT").await;
    let token = secret.registered().await;
    for step in ["setSecret", "finishSecret"] {
        assert_eq!(secret.step(step, &token).await.unwrap_err().error_type, "pending-missing");
    }
    secret.steps(&["createSecret"], &token).await;
    for step in ["testSecret", "finishSecret"] {
        assert_eq!(secret.step(step, &token).await.unwrap_err().error_type, "pending-rejected");
    }
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(secret.opens("AWSCURRENT").await);
    secret.steps(&STEPS[1..], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
}

// ---- the function's settings

#[tokio::test]
async fn a_setting_that_cannot_be_is_the_answer_to_every_step() {
    let cases = [
        ("PASSWORD_LENGTH", "3", "policy-impossible"),
        ("PASSWORD_LENGTH", "0", "policy-impossible"),
        ("PASSWORD_LENGTH", "5000", "policy-impossible"),
        ("PASSWORD_LENGTH", "S3cr3t", "configuration-invalid"),
        ("PASSWORD_LENGTH", "-1", "configuration-invalid"),
        ("EXCLUDE_CHARACTERS", "0123456789", "policy-impossible"),
        ("EXCLUDE_NUMBERS", "S3cr3t", "configuration-invalid"),
        ("ALLOW_MD5", "maybe", "configuration-invalid"),
        ("ALLOW_POWERFUL_ROLES", "2", "configuration-invalid"),
        ("CA_BUNDLE", "/nowhere/S3cr3t.pem", "configuration-invalid"),
        ("LOG_SENSITIVE_BODIES", "true", "unsafe-logging"),
        ("LOG_SENSITIVE_BODIES", "True", "unsafe-logging"),
    ];
    for (name, value, code) in cases {
        let lab = Lab::builder(function().await).env(name, value).start().await.unwrap();
        let text =
            json!({"engine": "postgres", "host": "localhost", "username": "app", "password": marked()}).to_string();
        let arn = lab.create_secret("app", &text).await.unwrap();
        let rotated = lab.rotate(&arn).await.unwrap().error();
        let mut errors = vec![rotated.expect("the rotation fails")];
        for step in STEPS {
            errors.push(lab.invoke_step(step, &arn, &uuid()).await.result().unwrap_err());
        }
        errors.push(lab.invoke(&json!({"not": "an event"})).await.result().unwrap_err());
        for error in errors {
            assert_eq!(error.error_type, code, "{name}={value}: {}", error.error_message);
            assert!(error.error_message.contains(&field(name)), "{name}={value}: {}", error.error_message);
        }
        assert_eq!(lab.secret_value(&arn, "AWSCURRENT").await.unwrap(), text);
        assert!(!lab.function_output().contains("S3cr3t"), "{name}={value}");
        assert!(lab.function_output().contains(code), "{name}={value}: the log does not say it");
    }
}
