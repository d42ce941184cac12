//! Secrets that cannot be right. Each is refused with the code and the field that say what to correct, without a word of what
//! the secret holds, before anything is sent anywhere, and with nothing lost.

use integration_tests::malformed::{self, field, marked, moved, never_tried, planted, refused};
use integration_tests::{STEPS, World, merged};
use lab::servers::mysql::Kind;
use serde_json::{Value, json};

const DISCARD: &str = "rotation.discardPreviousPasswordAfterHours";

// ---- the secret's own value

#[tokio::test]
async fn a_malformed_secret_is_refused_with_the_field_that_is_wrong() {
    let world = World::mysql().await;
    let password = marked();
    let with = |more: Value| merged(world.document("app", &password), more).to_string();
    let discard = |hours: Value| with(json!({"rotation": {"discardPreviousPasswordAfterHours": hours}}));
    let mut cases = malformed::secrets(&world, &password);
    cases.push((with(json!({"engine": "postgres"})), "engine-mismatch", "aurora-mysql".to_owned()));
    for hours in [json!(-1), json!(9000), json!(1.5), json!(true), json!("soon"), json!(""), json!([1])] {
        cases.push((discard(hours), "field-invalid", field(DISCARD)));
    }
    let pair = json!({"masterarn": "arn", "rotation": {"discardPreviousPasswordAfterHours": 1}});
    cases.push((with(pair), "field-invalid", field(DISCARD)));
    cases.extend([
        (with(json!({"username": "x".repeat(33)})), "name-too-long", "33 characters".to_owned()),
        (
            with(json!({"username": "é".repeat(27), "masterarn": "arn"})),
            "name-too-long",
            format!("user=\"{}_clone\"", "é".repeat(27)),
        ),
        (with(json!({"engine": "aurora-mysql", "username": "x".repeat(33)})), "name-too-long", "32".to_owned()),
        (with(json!({"engine": "mariadb", "username": "x".repeat(81)})), "name-too-long", "81 characters".to_owned()),
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
async fn the_longest_name_is_rotated() {
    for (kind, characters) in [(Kind::MySql, 32), (Kind::MariaDb, 80)] {
        let world = World::of(kind).await;
        for letter in ["x", "é"] {
            let secret = world.user(&letter.repeat(characters)).await;
            secret.rotated().await;
            assert!(secret.opens("AWSCURRENT").await, "{kind}: {letter}");
        }
    }
}

#[tokio::test]
async fn a_name_that_no_certificate_can_be_for_is_refused_before_the_login() {
    let world = World::mysql().await;
    let secret = world.user_with("app", json!({"rotation": {"tlsServerName": "a b"}})).await;
    let (error, step) = refused(&world, &secret).await;
    assert_eq!((error.error_type.as_str(), step.as_str()), ("field-invalid", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("rotation.tlsServerName"), "{}", error.error_message);
    assert_eq!(world.relay.connections(), 0);
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn a_binary_secret_is_refused() {
    let world = World::mysql().await;
    // {"password":"S3cr3t"}
    let request = json!({"Name": "binary", "SecretBinary": "eyJwYXNzd29yZCI6IlMzY3IzdCJ9"});
    let created = world.lab.call("CreateSecret", request).await.unwrap();
    let secret = world.known(created["ARN"].as_str().unwrap());
    let (error, _) = refused(&world, &secret).await;
    assert_eq!(error.error_type, "secret-not-json");
    assert!(error.error_message.contains("a binary value"), "{}", error.error_message);
    assert!(!world.lab.function_output().contains("S3cr3t"));
    assert_eq!(world.relay.connections(), 0);
}

// ---- what it names

#[tokio::test]
async fn a_superuser_secret_that_cannot_serve_is_refused_before_its_password_is_sent() {
    let world = World::mysql().await;
    let password = marked();
    let superuser = world.document("root", &password);
    let with = |more: Value| merged(superuser.clone(), more).to_string();
    let text = async |text: String| world.secret_text(&text).await.arn;
    let nobody = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf".to_owned();
    let alone = |password: &str| json!({"username": "root", "password": password}).to_string();
    let cases = [
        (nobody, "secret-not-found", "nobody-AbCdEf"),
        (text(password.clone()).await, "secret-not-json", "text that is not JSON"),
        (text(with(json!({"engine": "postgres"}))).await, "engine-mismatch", "postgres"),
        (text(with(json!({"host": "other.example.com"}))).await, "superuser-mismatch", "other.example.com"),
        (text(with(json!({"port": 1}))).await, "superuser-mismatch", "localhost:1"),
        (text(with(json!({"password": null}))).await, "field-missing", "field=\"password\""),
        (text(alone("")).await, "field-invalid", "field=\"password\""),
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
    // Secrets that RDS manages are like this. Over TLS the server may ask for the password itself.
    let arn = text(alone(&password)).await;
    let secret = world.user_with("unproven", json!({"masterarn": arn})).await;
    let (error, step) = refused(&world, &secret).await;
    let found = (error.error_type.as_str(), step.as_str());
    assert_eq!(found, ("superuser-address-unproven", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("user=\"root\""), "{}", error.error_message);
    assert_eq!(world.relay.connections(), 0);

    let arn = text(superuser.to_string()).await;
    let secret = world.user_with("app", json!({"masterarn": arn})).await;
    let (error, _) = refused(&world, &secret).await;
    assert_eq!(error.error_type, "superuser-rejected", "{}", error.error_message);
    assert!(error.error_message.contains("user=\"root\""), "{}", error.error_message);
    assert_eq!(world.relay.connections(), 1);
    assert!(secret.opens("AWSCURRENT").await);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

/// MySQL answers for a user that does not exist as for one with a plugin that it makes up from the name, which may be
/// `sha256_password`.
#[tokio::test]
async fn a_user_that_does_not_exist_is_named() {
    for kind in [Kind::MySql, Kind::MariaDb] {
        let world = World::of(kind).await;
        let password = marked();
        for number in 0..8 {
            let user = format!("nobody{number}");
            let secret = world.secret(world.document(&user, &password)).await;
            let (error, step) = refused(&world, &secret).await;
            let message = &error.error_message;
            assert_eq!(step, "setSecret", "{message}");
            assert!(message.contains(&format!("user=\"{user}\"")), "{message}");
            match error.error_type.as_str() {
                "locked-out" => {}
                "authentication-unsupported" if kind == Kind::MySql => {
                    assert!(message.contains("sha256_password") && message.contains("does not exist"), "{message}");
                }
                code => panic!("{kind}: {code}: {message}"),
            }
        }
        // A superuser does tell.
        let superuser = world.superuser().await;
        let document = merged(world.document("nobody", &password), json!({"masterarn": superuser.arn}));
        let secret = world.secret(document).await;
        let (error, step) = refused(&world, &secret).await;
        let found = (error.error_type.as_str(), step.as_str());
        assert_eq!(found, ("role-missing", "setSecret"), "{}", error.error_message);
        assert!(error.error_message.contains("user=\"nobody\""), "{}", error.error_message);
        assert_eq!(world.ask("SELECT User FROM mysql.user WHERE User LIKE 'nobody%'").await, [""; 0]);
        assert!(!world.lab.function_output().contains("S3cr3t"));
    }
}

// ---- a pending version that createSecret did not make

#[tokio::test]
async fn a_pending_version_about_something_else_is_never_tried() {
    let world = World::mysql().await;
    let superuser = world.superuser().await;
    let elsewhere = world.lab.relay(world.server.port()).await.unwrap();
    let single = world.user("single").await;
    let pair = world.user_with("pair", json!({"masterarn": superuser.arn})).await;
    let cases = [
        (&single, json!({"host": "127.0.0.1"}), "pending-mismatch", "host"),
        (&single, json!({"port": elsewhere.port()}), "pending-mismatch", "port"),
        (&single, json!({"dbname": "mysql"}), "pending-mismatch", "dbname"),
        (&single, json!({"ssl": false}), "pending-mismatch", "ssl"),
        (&single, json!({"username": "pair"}), "pending-mismatch", "username"),
        (&single, json!({"username": "SINGLE"}), "pending-mismatch", "username"),
        (&single, json!({"username": "single_clone"}), "pending-mismatch", "username"),
        (&single, json!({"masterarn": superuser.arn}), "pending-mismatch", "masterarn"),
        (&single, json!({"rotation": {"caBundle": world.server.ca_pem()}}), "pending-mismatch", "rotation.caBundle"),
        (&single, json!({"rotation": {"tlsServerName": "127.0.0.1"}}), "pending-mismatch", "rotation.tlsServerName"),
        (&single, json!({"rotation": {"discardPreviousPasswordAfterHours": 0}}), "pending-mismatch", DISCARD),
        (&single, json!({"rotation": {"no": 1}}), "option-unknown", ""),
        (&single, json!({"engine": "postgres"}), "engine-mismatch", ""),
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
    let world = World::mysql().await;
    let discard = json!({"rotation": {"discardPreviousPasswordAfterHours": 0}});
    for (user, change) in [("host", json!({"host": "127.0.0.1"})), ("discard", discard)] {
        let secret = world.user(user).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        // Somebody moves AWSCURRENT to a version with another option, and leaves AWSPENDING where it is.
        let other = merged(secret.at("AWSCURRENT").await, change);
        moved(&world, &secret, &other).await;
        for step in &STEPS[1..] {
            let error = secret.step(step, &token).await.unwrap_err();
            assert_eq!(error.error_type, "pending-mismatch", "{}", error.error_message);
        }
        assert_eq!(secret.at("AWSCURRENT").await, other);
    }
    assert_eq!(world.relay.connections(), 0);
}
