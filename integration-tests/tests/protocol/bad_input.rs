//! Values that are too large, versions in every state, and settings that cannot be right.

use integration_tests::malformed::{field, marked, refused};
use integration_tests::{STEPS, World, function, merged, uuid};
use lab::Lab;
use lab::servers::Password;
use serde_json::json;

/// The limit for a secret's value.
const MAX_BYTES: usize = 65_536;

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
        // Any other text may be something that was not meant to be the step.
        assert_eq!(error.error_message.contains(step), step != "dropSecret", "{}", error.error_message);
    }
    let nowhere = world.known("arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf");
    assert_eq!(nowhere.step("createSecret", &second).await.unwrap_err().error_type, "secret-not-found");

    world.lab.call("CancelRotateSecret", json!({"SecretId": secret.arn})).await.unwrap();
    for step in STEPS {
        let error = error_at(step, &second).await;
        assert_eq!(error.error_type, "rotation-disabled", "{step}: {}", error.error_message);
        assert!(error.error_message.contains(&secret.arn), "{step}: {}", error.error_message);
    }
    // Whether the current credential works was tried three times, and nothing else was.
    assert_eq!(world.relay.connections(), made + 3);
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
