//! A user that changes its own password.

use integration_tests::{STEPS, Server, World};
use lab::servers::postgres::Options;
use serde_json::json;

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

/// What a database, or the server, sets for every session. A single user and a pair whose superuser is not the server's own.
#[tokio::test(flavor = "multi_thread")]
async fn what_every_session_begins_with_decides_nothing() {
    let world = World::start().await;
    let boss = world.user("boss").await;
    world.sql("ALTER ROLE boss SUPERUSER; CREATE SCHEMA evil").await;
    let mut failed = Vec::new();
    let settings = [
        "default_transaction_read_only = on",
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "search_path = evil, pg_catalog",
        "search_path = ''",
        "statement_timeout = '1ms'",
        "lock_timeout = '1ms'",
        "idle_in_transaction_session_timeout = '1ms'",
        "client_encoding = 'LATIN1'",
        "standard_conforming_strings = off",
        "backslash_quote = off",
        "quote_all_identifiers = on",
        "row_security = off",
        "check_function_bodies = off",
        "bytea_output = 'escape'",
        "\"DateStyle\" = 'German, DMY'",
        "extra_float_digits = -15",
        "password_encryption = 'md5'",
        "synchronous_commit = off",
        "transaction_timeout = '20ms'",
    ];
    for (place, index, setting) in ["DATABASE postgres", "SYSTEM"]
        .into_iter()
        .flat_map(|place| settings.iter().enumerate().map(move |(index, setting)| (place, index, setting)))
    {
        if setting.starts_with("transaction_timeout")
            && world.ask("SHOW server_version_num").await[0].as_str() < "170000"
        {
            continue;
        }
        // MD5 for all is refused, as another test shows.
        if place == "SYSTEM" && setting.starts_with("password_encryption") {
            continue;
        }
        let of = &place[..1];
        let pair = world.user_with(&format!("Größe{of}{index}"), json!({"masterarn": boss.arn})).await;
        let alone = world.user(&format!("Maß{of}{index}")).await;
        let admin = world.server.connect_superuser().await.unwrap();
        admin.batch_execute("SET statement_timeout = 0; SET lock_timeout = 0").await.unwrap();
        // Not in a transaction, as ALTER SYSTEM demands.
        admin.batch_execute(&format!("ALTER {place} SET {setting}")).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        for (secret, who) in [(&pair, "pair"), (&alone, "alone")] {
            'turns: for turn in 0..2 {
                let token = secret.registered().await;
                for step in STEPS {
                    if let Err(error) = secret.step(step, &token).await {
                        failed.push(format!("{who}: {place}: {setting}: turn {turn}, {step}: {error:?}"));
                        break 'turns;
                    }
                }
            }
        }
        admin.batch_execute(&format!("ALTER {place} RESET {}", setting.split(' ').next().unwrap())).await.unwrap();
        admin.batch_execute("SELECT pg_reload_conf()").await.unwrap();
        for secret in [&pair, &alone] {
            assert!(secret.opens("AWSCURRENT").await, "{place}: {setting}");
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// Any user may choose for itself that a commit waits for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_done_survives_a_crash_of_the_server() {
    let world = World::with(Options::default().setting("wal_writer_delay", "10s"), |function| function).await;
    let secret = world.user("app").await;
    world.sql("ALTER ROLE app SET synchronous_commit = off").await;
    secret.rotated().await;
    Server::down(&world.server);
    Server::up(&world.server).await;
    assert!(secret.opens("AWSCURRENT").await, "the server has forgotten the new password");
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
