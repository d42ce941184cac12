//! Secrets that cannot be right. Each is refused with the code and the field that say what to correct, without a word of what
//! the secret holds, before anything is sent anywhere, and with nothing lost.

use integration_tests::malformed::{self, field, marked, moved, never_tried, planted, refused};
use integration_tests::{Options, STEPS, Server, World, merged, world, world_with};
use lab::servers::Password;
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use serde_json::{Value, json};

on! { (postgres, mysql):
    a_malformed_secret_is_refused_with_the_field_that_is_wrong;
    what_is_no_name_is_not_printed;
    a_field_is_printed_only_if_it_is_on_the_list;
    a_name_that_no_certificate_can_be_for_is_refused_before_the_login;
    a_binary_secret_is_refused;
    a_superuser_secret_that_cannot_serve_is_refused_before_its_password_is_sent;
    a_pending_version_about_something_else_is_never_tried;
    options_that_change_between_create_and_set_end_the_rotation;
}

on! { (postgres, mysql, mariadb):
    a_user_that_does_not_exist_is_named;
    optional_keys_that_are_empty_mean_none;
}

/// An engine that is another function's.
fn other_engine<S: Server>(server: &S) -> &'static str {
    if server.fields()["engine"] == "postgres" { "mysql" } else { "postgres" }
}

/// In what functions differ about their secrets.
trait Secrets: Server {
    /// More texts as those of [`malformed::secrets`].
    fn malformed(world: &World<Self>, password: &str) -> Vec<(String, &'static str, String)>;
    /// Options that a secret can have, by their field.
    fn options() -> Vec<(&'static str, Value)>;
    /// How many connections are made before a server's name is compared: whoever speaks second has to connect for that.
    const CONNECTS: usize;
    /// Where users are.
    const USERS: &'static str;
}

// ---- the secret's own value

async fn a_malformed_secret_is_refused_with_the_field_that_is_wrong<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
    let password = marked();
    let mut cases = malformed::secrets(&world, &password);
    cases.extend(O::Server::malformed(&world, &password));
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

/// As with AWS's functions, whose secrets are made by forms that fill in every key.
async fn optional_keys_that_are_empty_mean_none<O: Options>(options: O) {
    let world = world(options).await;
    let empty = json!({"dbname": "", "masterarn": "", "rotation": {"caBundle": "", "tlsServerName": ""}});
    let secret = world.user_with("app", empty.clone()).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
    let rotated = secret.at("AWSCURRENT").await;
    for key in ["dbname", "masterarn", "rotation"] {
        assert_eq!(rotated[key], empty[key], "{key} is as it was written");
    }
}

/// People paste a connection string, or a name with its password, into a field for a name.
async fn what_is_no_name_is_not_printed<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
    let password = marked();
    let superuser = world.superuser().await;
    let url = format!("postgres://app:{password}@db.example.com:5432/orders?sslmode=require");
    let pairs = format!("host=localhost user=app password={password}");
    let with_password = format!("app:{password}");
    let mut key = serde_json::Map::new();
    key.insert(pairs.clone(), 1.into());
    let cases = [
        (json!({"host": url}), "field-invalid"),
        (json!({"host": pairs}), "field-invalid"),
        (json!({"host": format!("{with_password}@localhost")}), "field-invalid"),
        (json!({"host": format!("localhost:5432/{password}")}), "field-invalid"),
        (json!({"username": url}), ""),
        (json!({"username": pairs}), ""),
        (json!({"username": with_password}), ""),
        (json!({"username": password.repeat(3)}), ""),
        (json!({"dbname": url}), ""),
        (json!({"dbname": pairs}), ""),
        (json!({"masterarn": url}), ""),
        (json!({"masterarn": pairs}), ""),
        (json!({"engine": password}), "engine-mismatch"),
        (json!({"masterarn": superuser.arn, "username": with_password}), ""),
        (json!({"masterarn": superuser.arn, "rotation": {"users": ["app", with_password]}}), ""),
        (json!({"masterarn": superuser.arn, "host": url}), "field-invalid"),
        (json!({"rotation": {"tlsServerName": url}}), "field-invalid"),
        (json!({"rotation": key}), "option-unknown"),
    ];
    for (fields, code) in cases {
        let document = merged(world.document("app", Password::random().expose()), fields.clone());
        let secret = world.secret(document).await;
        let (error, _) = refused(&world, &secret).await;
        let shown = fields.to_string().replace(&password, "…");
        assert!(code.is_empty() || error.error_type == code, "{shown}: {error:?}");
        assert!(!error.error_message.contains("S3cr3t"), "{shown}: {error:?}");
        let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
        let diagnosis = String::from_utf8_lossy(&outcome.payload);
        assert!(!diagnosis.contains("S3cr3t"), "{shown}: {diagnosis}");
        assert!(!world.lab.function_output().contains("S3cr3t"), "{shown}");
    }
}

/// The fields of a secret whose text is printed, if it looks like a name, each with the reason. No other field is.
const PRINTED: &[(&str, &str)] = &[
    ("host", "says which server was asked: a name in the deployer's network"),
    ("dbname", "says which database was asked for"),
    ("username", "says which user was refused: the server's own logs name it, too"),
    ("masterarn", "says which secret is missing or not listed: an ARN is no secret"),
    ("rotation.users.0", "says which user of a pair is meant"),
    ("rotation.KEY", "says which option is misspelt: the name of a key, not a value"),
];

/// A document with this text at the path. `KEY` is the name of a key that nobody knows.
fn planted_at(document: Value, path: &str, text: &str) -> Value {
    let value = match path {
        "rotation.KEY" => json!({"rotation": {text: 1}}),
        "rotation.users.0" => json!({"rotation": {"users": [text, "app"]}}),
        "rotation.users.1" => json!({"rotation": {"users": ["app", text]}}),
        _ => match path.strip_prefix("rotation.") {
            Some(option) => json!({"rotation": {option: text}}),
            None => json!({path: text}),
        },
    };
    merged(document, value)
}

/// A marker in each text that the writer of a secret chooses, once as a name and once as anything else.
async fn a_field_is_printed_only_if_it_is_on_the_list<O: Options<Server: Secrets>>(options: O) {
    const FIELDS: &[&str] = &[
        "engine",
        "host",
        "port",
        "dbname",
        "username",
        "password",
        "ssl",
        "masterarn",
        "note",
        "rotation.KEY",
        "rotation.users.0",
        "rotation.users.1",
        "rotation.superuserRescue",
        "rotation.caBundle",
        "rotation.tlsServerName",
        "rotation.discardPreviousPasswordAfterHours",
    ];
    let all = |function: lab::stack::Builder| function.env("LOG_LEVEL", "trace").env("RUST_LOG", "trace");
    let world = world_with(options, all).await;
    let superuser = world.superuser().await;
    let password = Password::random();
    world.user_with("app", json!({})).await;
    let mut seen = std::collections::BTreeSet::new();
    for field in FIELDS {
        for (form, text) in [("a name", "mArKeR-name"), ("no name", "mArKeR: 'x' @/ {y}")] {
            world.server.set_password("app", password.expose()).await;
            let mut document = world.document("app", password.expose());
            if field.starts_with("rotation.users") {
                document = merged(document, json!({"masterarn": superuser.arn}));
            }
            let secret = world.secret(planted_at(document, field, text)).await;
            let before = world.lab.function_output().len();
            let report = secret.rotate().await;
            let outcome = world.lab.invoke(&json!({"Step": "diagnose", "SecretId": secret.arn})).await;
            let diagnosis = String::from_utf8_lossy(&outcome.payload).into_owned();
            let printed = format!("{:?} {diagnosis} {}", report.error(), &world.lab.function_output()[before..]);
            assert!(printed.contains(&secret.arn), "the output that is searched is the function's");
            let listed = PRINTED.iter().any(|(name, _)| name == field);
            let at = printed
                .find("mArKeR")
                .map(|at| printed[at.saturating_sub(200)..].chars().take(300).collect::<String>());
            assert!(at.is_none() || listed && form == "a name", "{field} as {form}: {at:?}");
            if at.is_some() {
                seen.insert(*field);
            }
        }
    }
    let unused: Vec<_> = PRINTED.iter().map(|(name, _)| *name).filter(|name| !seen.contains(name)).collect();
    assert!(unused.is_empty(), "the list allows more than is printed: {unused:?}");
}

async fn a_name_that_no_certificate_can_be_for_is_refused_before_the_login<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
    let secret = world.user_with("app", json!({"rotation": {"tlsServerName": "a b"}})).await;
    let (error, step) = refused(&world, &secret).await;
    assert_eq!((error.error_type.as_str(), step.as_str()), ("field-invalid", "setSecret"), "{}", error.error_message);
    assert!(error.error_message.contains("rotation.tlsServerName"), "{}", error.error_message);
    assert!(world.lab.calls().iter().all(|call| call.flight.is_none()), "something was sent to the server");
    assert_eq!(world.relay.connections(), O::Server::CONNECTS);
    assert!(secret.opens("AWSCURRENT").await);
}

async fn a_binary_secret_is_refused<O: Options>(options: O) {
    let world = world(options).await;
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

async fn a_superuser_secret_that_cannot_serve_is_refused_before_its_password_is_sent<O: Options>(options: O) {
    let world = world(options).await;
    let password = marked();
    let (name, _) = world.server.superuser();
    let superuser = world.document(name, &password);
    let with = |more: Value| merged(superuser.clone(), more).to_string();
    let text = async |text: String| world.secret_text(&text).await.arn;
    let nobody = "arn:aws:secretsmanager:us-east-1:123456789012:secret:nobody-AbCdEf".to_owned();
    let engine = other_engine(&world.server);
    let deleted = world.superuser().await;
    world.lab.call("DeleteSecret", json!({"SecretId": deleted.arn})).await.expect("it is scheduled for deletion");
    let cases = [
        (nobody, "secret-not-found", "nobody-AbCdEf"),
        (deleted.arn, "secret-not-found", "a date of deletion"),
        (text(password.clone()).await, "secret-not-json", "text that is not JSON"),
        (text(with(json!({"engine": engine}))).await, "engine-mismatch", engine),
        (text(with(json!({"host": "other.example.com"}))).await, "superuser-mismatch", "other.example.com"),
        (text(with(json!({"port": 1}))).await, "superuser-mismatch", "localhost:1"),
        (text(with(json!({"password": null}))).await, "field-missing", "field=\"password\""),
        (text(json!({"username": name, "password": ""}).to_string()).await, "field-invalid", "field=\"password\""),
        (text(json!({"password": password}).to_string()).await, "field-missing", "field=\"username\""),
    ];
    for (number, (arn, code, named)) in cases.into_iter().enumerate() {
        let secret = world.user_with(&format!("app{number}"), json!({"masterarn": arn})).await;
        let (error, step) = refused(&world, &secret).await;
        assert_eq!((error.error_type.as_str(), step.as_str()), (code, "setSecret"), "{}", error.error_message);
        assert!(error.error_message.contains(named), "{}", error.error_message);
        assert!(error.error_message.contains(&format!("otherSecret={arn:?}")), "which secret: {}", error.error_message);
        assert!(!error.error_message.contains("S3cr3t"), "{}", error.error_message);
        assert!(secret.opens("AWSCURRENT").await);
    }
    assert_eq!(world.relay.connections(), 0);

    let arn = text(superuser.to_string()).await;
    let secret = world.user_with("app", json!({"masterarn": arn})).await;
    let (error, _) = refused(&world, &secret).await;
    assert_eq!(error.error_type, "superuser-rejected", "{}", error.error_message);
    assert!(error.error_message.contains(&format!("user={name:?}")), "{}", error.error_message);
    assert_eq!(world.relay.connections(), 1);
    assert!(secret.opens("AWSCURRENT").await);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

/// Servers do not tell an unknown user from a wrong password. MySQL answers for one as for a user with a plugin that it makes up
/// from the name, which may be `sha256_password`.
async fn a_user_that_does_not_exist_is_named<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
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
            "authentication-unsupported" if world.server.fields()["engine"] == "mysql" => {
                assert!(message.contains("sha256_password") && message.contains("does not exist"), "{message}");
            }
            code => panic!("{code}: {message}"),
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
    assert_eq!(world.ask(O::Server::USERS).await.iter().filter(|user| user.starts_with("nobody")).count(), 0);
    assert!(!world.lab.function_output().contains("S3cr3t"));
}

// ---- a pending version that createSecret did not make

async fn a_pending_version_about_something_else_is_never_tried<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
    let superuser = world.superuser().await;
    let elsewhere = world.lab.relay(world.server.port()).await.unwrap();
    let single = world.user("single").await;
    let pair = world.user_with("pair", json!({"masterarn": superuser.arn})).await;
    let engine = other_engine(&world.server);
    let mut cases = vec![
        (&single, json!({"host": "127.0.0.1"}), "pending-mismatch", "host"),
        (&single, json!({"port": elsewhere.port()}), "pending-mismatch", "port"),
        (&single, json!({"dbname": "other"}), "pending-mismatch", "dbname"),
        (&single, json!({"ssl": false}), "pending-mismatch", "ssl"),
        (&single, json!({"username": "pair"}), "pending-mismatch", "username"),
        (&single, json!({"username": "SINGLE"}), "pending-mismatch", "username"),
        (&single, json!({"username": "single_clone"}), "pending-mismatch", "username"),
        (&single, json!({"masterarn": superuser.arn}), "pending-mismatch", "masterarn"),
        (&single, json!({"rotation": {"caBundle": world.server.ca_pem()}}), "pending-mismatch", "rotation.caBundle"),
        (&single, json!({"rotation": {"tlsServerName": "127.0.0.1"}}), "pending-mismatch", "rotation.tlsServerName"),
        (&single, json!({"rotation": {"no": 1}}), "option-unknown", ""),
        (&single, json!({"engine": engine}), "engine-mismatch", ""),
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
        (
            &pair,
            json!({"username": "pair", "rotation": {"setPasswordAs": "superuser"}}),
            "pending-mismatch",
            "rotation.setPasswordAs",
        ),
    ];
    cases.extend(O::Server::options().into_iter().map(|(name, option)| (&single, option, "pending-mismatch", name)));
    for (secret, tampered, code, name) in cases {
        never_tried(&world, secret, tampered, (code, name)).await;
    }
    let token = planted(&world, &single, &marked()).await;
    assert_eq!(single.step("setSecret", &token).await.unwrap_err().error_type, "secret-not-json");
    assert_eq!((world.relay.connections(), elsewhere.connections()), (0, 0));
    assert!(!world.lab.function_output().contains("S3cr3t"));
    assert!(single.opens("AWSCURRENT").await && pair.opens("AWSCURRENT").await);
}

async fn options_that_change_between_create_and_set_end_the_rotation<O: Options<Server: Secrets>>(options: O) {
    let world = world(options).await;
    let mut changes = vec![("host", json!({"host": "127.0.0.1"}))];
    changes.extend(O::Server::options());
    for (number, (_, change)) in changes.into_iter().enumerate() {
        let secret = world.user(&format!("app{number}")).await;
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

// ---- in what they differ

const DISCARD: &str = "rotation.discardPreviousPasswordAfterHours";

impl Secrets for Postgres {
    const CONNECTS: usize = 1;
    const USERS: &'static str = "SELECT rolname FROM pg_roles";

    fn malformed(world: &World<Self>, password: &str) -> Vec<(String, &'static str, String)> {
        let with = |more: Value| merged(world.document("app", password), more).to_string();
        let discard = json!({"rotation": {"discardPreviousPasswordAfterHours": 1}});
        vec![
            (with(json!({"engine": "mysql"})), "engine-mismatch", "postgres or aurora-postgresql".to_owned()),
            (with(discard), "option-unknown", DISCARD.to_owned()),
            // 63 bytes are the most; the letters have two.
            (with(json!({"username": "é".repeat(32)})), "name-too-long", "64 bytes".to_owned()),
            (
                with(json!({"username": "x".repeat(58), "masterarn": "arn"})),
                "name-too-long",
                format!("user=\"{}_clone\"", "x".repeat(58)),
            ),
        ]
    }

    fn options() -> Vec<(&'static str, Value)> {
        Vec::new()
    }
}

impl Secrets for MySql {
    const CONNECTS: usize = 0;
    const USERS: &'static str = "SELECT User FROM mysql.user";

    fn malformed(world: &World<Self>, password: &str) -> Vec<(String, &'static str, String)> {
        let with = |more: Value| merged(world.document("app", password), more).to_string();
        let discard = |hours: Value| with(json!({"rotation": {"discardPreviousPasswordAfterHours": hours}}));
        let pair = json!({"masterarn": "arn", "rotation": {"discardPreviousPasswordAfterHours": 1}});
        let hours = [json!(-1), json!(9000), json!(1.5), json!(true), json!("soon"), json!(""), json!([1])];
        let mut cases: Vec<_> =
            hours.into_iter().map(|hours| (discard(hours), "field-invalid", field(DISCARD))).collect();
        cases.extend([
            (with(pair), "field-invalid", field(DISCARD)),
            (with(json!({"engine": "postgres"})), "engine-mismatch", "aurora-mysql".to_owned()),
            (with(json!({"username": "x".repeat(33)})), "name-too-long", "33 characters".to_owned()),
            (
                with(json!({"username": "é".repeat(27), "masterarn": "arn"})),
                "name-too-long",
                format!("user=\"{}_clone\"", "é".repeat(27)),
            ),
            (with(json!({"engine": "aurora-mysql", "username": "x".repeat(33)})), "name-too-long", "32".to_owned()),
            (
                with(json!({"engine": "mariadb", "username": "x".repeat(81)})),
                "name-too-long",
                "81 characters".to_owned(),
            ),
        ]);
        cases
    }

    fn options() -> Vec<(&'static str, Value)> {
        vec![(DISCARD, json!({"rotation": {"discardPreviousPasswordAfterHours": 0}}))]
    }
}
