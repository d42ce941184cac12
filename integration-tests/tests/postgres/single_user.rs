//! A user that changes its own password.

use integration_tests::World;
use lab::servers::postgres::Options;

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
