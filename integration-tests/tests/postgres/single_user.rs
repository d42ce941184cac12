//! A user that changes its own password.

use integration_tests::{OVERLAP, STEPS, Secret, World, merged};
use lab::disturb::{DATABASE, critical_path};
use lab::servers::Password;
use lab::servers::postgres::Options;
use serde_json::{Value, json};

#[tokio::test]
async fn a_rotation_changes_the_password_and_nothing_else() {
    let world = World::start().await;
    // Keys that nobody knows, numbers that no float can hold, and an order of its own.
    let text = |port: u16, password: &str| {
        format!(
            "{{\"zeta\": 1.50, \"engine\":\"postgres\",\n \"host\":\"localhost\", \"port\":\"{port}\", \"username\":\"app\", \
             \"password\":\"{password}\", \"big\": 123456789012345678901234567890, \"nested\": {{\"b\":1,\"a\":[ ]}}}}"
        )
    };
    let password = Password::random();
    world.server.create_user("app", &password).await.unwrap();
    let secret = world.secret_text(&text(world.relay.port(), password.expose())).await;

    let report = secret.rotated().await;

    let (user, new) = secret.credential("AWSCURRENT").await;
    assert_eq!(user, "app");
    assert_eq!(new.len(), 32);
    assert_eq!(world.lab.secret_value(&secret.arn, "AWSCURRENT").await.unwrap(), text(world.relay.port(), &new));
    assert!(world.opens("app", &new).await);
    assert!(!world.opens("app", password.expose()).await);
    assert_eq!(secret.credential("AWSPREVIOUS").await.1, password.expose());
    let labels = secret.labels().await;
    assert_eq!(labels[&report.token], json!(["AWSCURRENT"]), "{labels}");
    let steps: Vec<&str> = report.steps.iter().map(|step| step.step.as_str()).collect();
    assert_eq!(steps, STEPS);
}

/// One connection each in set, test and finish, no refused login, and as few calls in sequence as they can be.
#[tokio::test]
async fn the_normal_path_costs_what_it_has_to() {
    let world = World::with(Options::default().log_statements(), |function| function).await;
    let secret = world.user("app").await;
    let mut paths = Vec::new();
    let token = secret.registered().await;
    for step in STEPS {
        world.lab.disturb().restart();
        world.lab.disturb().latency(OVERLAP);
        let before = world.relay.connections();
        secret.steps(&[step], &token).await;
        let calls = world.lab.calls();
        assert!(!calls.iter().any(|call| call.operation == "GetRandomPassword"), "{calls:?}");
        let path = critical_path(calls.iter().filter(|call| call.operation != DATABASE));
        paths.push((path, world.relay.connections() - before));
    }
    assert_eq!(paths, [(2, 0), (1, 1), (1, 1), (2, 1)], "calls in sequence and connections, per step");
    let log = world.server.log_text().unwrap();
    assert!(!log.contains("authentication failed"), "a login was refused:\n{log}");
}

#[tokio::test]
async fn a_run_again_after_set_finds_the_password_in_effect() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let pending = secret.credential("AWSPENDING").await;
    for (step, outcome) in [
        ("createSecret", "already-proposed"),
        ("setSecret", "already-in-effect"),
        ("testSecret", "verified"),
        ("testSecret", "verified"),
        ("finishSecret", "promoted"),
        ("finishSecret", "already-current"),
        ("setSecret", "already-current"),
    ] {
        assert_eq!(secret.step(step, &token).await.unwrap()["outcome"], outcome, "{step}");
    }
    assert_eq!(secret.credential("AWSCURRENT").await, pending);
    assert!(secret.opens("AWSCURRENT").await);
}

/// Somebody restored a backup: the database has the password of the version before.
#[tokio::test]
async fn the_previous_password_is_tried_last() {
    let world = World::start().await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let (_, previous) = secret.credential("AWSPREVIOUS").await;
    world.sql(&format!("ALTER ROLE app PASSWORD '{previous}'")).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(secret.step("setSecret", &token).await.unwrap()["changedAs"], "previous");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn a_user_that_is_locked_out_says_so_and_nothing_is_lost() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let current = secret.at("AWSCURRENT").await;
    world.sql("ALTER ROLE app PASSWORD 'changed by hand'").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "locked-out", "{error:?}");
    assert!(error.error_message.contains("superuserRescue"), "the way out is named: {error:?}");
    assert_eq!(secret.at("AWSCURRENT").await, current);

    // The superuser may help only where the secret says so.
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    secret.put(&merged(current, rescue)).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(secret.step("setSecret", &token).await.unwrap()["changedAs"], "superuser");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
    // And where nothing is broken, it is not asked.
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(secret.step("setSecret", &token).await.unwrap()["changedAs"], "current");
}

#[tokio::test]
async fn a_rescue_helps_only_users_that_a_password_would_help() {
    let world = World::start().await;
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    world.server.create_user("app", &Password::random()).await.unwrap();
    for (sql, code) in [
        ("ALTER ROLE app NOLOGIN PASSWORD 'other'", "role-unusable"),
        ("ALTER ROLE app LOGIN VALID UNTIL '2020-01-01'", "role-unusable"),
        ("ALTER ROLE app VALID UNTIL 'infinity' SUPERUSER", "role-protected"),
        ("ALTER ROLE app NOSUPERUSER; GRANT pg_write_server_files TO app", "role-protected"),
        ("REVOKE pg_write_server_files FROM app; DROP ROLE app", "role-missing"),
    ] {
        world.sql(sql).await;
        let secret = world.secret(merged(world.document("app", "unknown"), rescue.clone())).await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, code, "{sql}: {error:?}");
    }
    // The superuser's own user is not to be changed through its secret.
    let own = world.document(world.server.superuser(), "unknown");
    let error = world.secret(merged(own, rescue)).await.refused().await;
    assert_eq!(error.error_type, "role-protected");
}

#[tokio::test]
async fn names_and_passwords_may_have_any_character() {
    let world = World::with(Options::default(), |function| function.env("EXCLUDE_CHARACTERS", "")).await;
    let long = "n".repeat(63);
    let names =
        ["o'brien", "a\"b", "back\\slash", "per%cent%s", "$1; DROP ROLE x --", "Größe 数据库", "UPPER case", &long];
    for name in names {
        let secret = world.user(name).await;
        secret.rotated().await;
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await, "{name}");
        assert_eq!(secret.credential("AWSCURRENT").await.0, name);
    }
    // And the password it starts from.
    for password in ["'\"\\%s$1 {}", "pässwörd ✓", "  spaces  "] {
        world.server.create_user(&format!("u-{password}"), &password.into()).await.unwrap();
        let secret = world.secret(world.document(&format!("u-{password}"), password)).await;
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

/// Settings of the user's that would stand in the way of a naive ALTER ROLE.
#[tokio::test]
async fn the_users_own_settings_do_not_get_in_the_way() {
    let world = World::start().await;
    let secret = world.user("app").await;
    world
        .sql(
            "CREATE ROLE owner; GRANT owner TO app; ALTER ROLE app SET role = 'owner'; \
             ALTER ROLE app SET default_transaction_read_only = on; ALTER ROLE app SET search_path = evil, pg_catalog; \
             ALTER ROLE app SET standard_conforming_strings = off; ALTER ROLE app SET statement_timeout = '1s'; \
             ALTER ROLE app SET default_transaction_isolation = 'serializable'; \
             CREATE SCHEMA evil AUTHORIZATION app; \
             CREATE FUNCTION evil.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT 'hijacked' $$; \
             CREATE FUNCTION evil.pg_advisory_xact_lock(int, int) RETURNS void LANGUAGE sql AS \
               $$ SELECT 1/0 $$",
        )
        .await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn the_server_gets_a_verifier_and_its_log_no_password() {
    let world = World::with(Options::default().log_statements(), |function| function).await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let (_, new) = secret.credential("AWSCURRENT").await;
    let log = world.server.log_text().unwrap();
    assert!(log.contains("ALTER ROLE \"app\" PASSWORD 'SCRAM-SHA-256$"), "the statement is logged");
    assert!(!log.contains(&new), "the new password is in the server's log");
}

#[tokio::test]
async fn an_md5_verifier_only_where_server_and_deployer_agree() {
    for (allowed, prefix) in [("false", "SCRAM-SHA-256$"), ("true", "md5")] {
        let options = Options::default().setting("password_encryption", "md5").hba("hostssl all all 127.0.0.1/32 md5");
        let world = World::with(options, |function| function.env("ALLOW_MD5", allowed)).await;
        let secret = world.user("app").await;
        secret.rotated().await;
        let stored = world.ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'app'").await;
        assert!(stored[0].starts_with(prefix), "ALLOW_MD5={allowed}");
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

#[tokio::test]
async fn the_password_policy_is_the_environments() {
    let settings = [
        ("PASSWORD_LENGTH", "48"),
        ("EXCLUDE_PUNCTUATION", "yes"),
        ("EXCLUDE_UPPERCASE", "1"),
        ("EXCLUDE_CHARACTERS", "01"),
    ];
    let world = World::with(Options::default(), |function| {
        settings.into_iter().fold(function, |function, (name, value)| function.env(name, value))
    })
    .await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    assert_eq!(password.len(), 48);
    assert!(password.chars().all(|c| c.is_ascii_lowercase() || ('2'..='9').contains(&c)));
}

/// RotateImmediately=false: testSecret alone, against a version without a value.
#[tokio::test]
async fn attaching_without_rotating_tests_the_configuration() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let before = secret.at("AWSCURRENT").await;
    let attach = async |secret: &Secret<'_>| {
        let token = integration_tests::uuid();
        let end = world.lab.rotation_end(&token);
        let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "RotateImmediately": false,
            "RotationLambdaARN": world.lab.function_arn(), "RotationRules": {"AutomaticallyAfterDays": 30}});
        world.lab.call("RotateSecret", request).await.unwrap();
        end.await
    };
    let outcome = attach(&secret).await;
    assert_eq!(format!("{outcome:?}"), "Succeeded");
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(secret.opens("AWSCURRENT").await);

    world.sql("ALTER ROLE app PASSWORD 'other'").await;
    let outcome = format!("{:?}", attach(&secret).await);
    assert!(outcome.contains("current-rejected"), "{outcome}");
}

#[tokio::test]
async fn finish_called_out_of_order_promotes_nothing() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let before: Value = secret.at("AWSCURRENT").await;
    let token = secret.registered().await;
    assert_eq!(secret.step("finishSecret", &token).await.unwrap_err().error_type, "pending-missing");
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(secret.step("finishSecret", &token).await.unwrap_err().error_type, "pending-rejected");
    assert_eq!(secret.step("testSecret", &token).await.unwrap_err().error_type, "pending-rejected");
    assert_eq!(secret.at("AWSCURRENT").await, before);
    assert!(secret.opens("AWSCURRENT").await);
}
