//! A superuser sets the password of all accounts of a user. MySQL keeps the one before.

use super::moved_back_at_each_call;
use integration_tests::{STEPS, Secret, World, merged};
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql, Options, literal};
use serde_json::json;
use std::time::Duration;

on_each_kind! {
    all_accounts_of_the_name_change_together;
    an_account_with_a_password_of_its_own_is_somebody_elses;
}

async fn give_up(world: &World<MySql>, secret: &Secret<'_, MySql>) -> String {
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let (_, orphan) = secret.credential("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    orphan
}

/// The user has no privilege at all, and the previous password works until the next rotation.
#[tokio::test]
async fn the_previous_password_works_although_the_user_may_not_keep_it() {
    let world = World::mysql().await;
    let secret = world.user_set_by_superuser("app").await;
    let mut passwords = vec![secret.credential("AWSCURRENT").await.1];
    for _ in 0..3 {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        // Two at once, and one more: a second RETAIN CURRENT PASSWORD would end what consumers read.
        let (one, two) = tokio::join!(secret.step("setSecret", &token), secret.step("setSecret", &token));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        secret.steps(&["setSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        passwords.insert(0, secret.credential("AWSCURRENT").await.1);
        for (age, password) in passwords.iter().enumerate() {
            assert_eq!(world.opens("app", password).await, age < 2, "{age} rotations old");
        }
    }
    assert!(!world.lab.function_output().contains("PreviousPasswordNotKept"));
}

#[tokio::test]
async fn after_a_rotation_that_was_given_up_what_consumers_read_stays() {
    let world = World::mysql().await;
    let secret = world.user_set_by_superuser("app").await;
    secret.rotated().await;
    for _ in 0..2 {
        let orphan = give_up(&world, &secret).await;
        assert!(secret.opens("AWSCURRENT").await);
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
        assert!(!world.opens("app", &orphan).await, "what nobody was ever given works");
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
    }
}

/// Rules that stop a user from proving which of its passwords is the primary one stop no superuser, who reads it.
#[tokio::test]
async fn a_superuser_discards_the_previous_password_whatever_the_rules_are() {
    let discard =
        |hours: u32| json!({"rotation": {"setPasswordAs": "superuser", "discardPreviousPasswordAfterHours": hours}});
    let world = World::mysql().await;
    let secret = world.user_set_by_superuser("app").await;
    world.sql("ALTER USER app PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 365 DAY PASSWORD REQUIRE CURRENT").await;
    let value = secret.at("AWSCURRENT").await;
    secret.put(&merged(value, discard(0))).await;
    for _ in 0..2 {
        let token = secret.registered().await;
        secret.steps(&STEPS[..3], &token).await;
        assert!(secret.opens("AWSCURRENT").await, "consumers still read it");
        assert_eq!(secret.step("finishSecret", &token).await.unwrap()["retired"], "previous");
        assert!(secret.opens("AWSCURRENT").await && !secret.opens("AWSPREVIOUS").await);
    }

    let options = Options::default();
    let world = World::mysql_with(options, |function| function.clock_behind(Duration::from_secs(3 * 3600))).await;
    let secret = world.user_set_by_superuser("app").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, discard(2))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSPREVIOUS").await);
    assert_eq!(secret.attached().await, RotationOutcome::Succeeded);
    assert!(secret.opens("AWSCURRENT").await && !secret.opens("AWSPREVIOUS").await);
}

/// The current password is the account's secondary one: to discard that would lock everybody out.
#[tokio::test]
async fn a_superuser_discards_no_password_that_consumers_read() {
    let options = Options::default();
    let world = World::mysql_with(options, |function| function.clock_behind(Duration::from_secs(3 * 3600))).await;
    let secret = world.user_set_by_superuser("app").await;
    let hours = json!({"rotation": {"setPasswordAs": "superuser", "discardPreviousPasswordAfterHours": 1}});
    secret.put(&merged(secret.at("AWSCURRENT").await, hours)).await;
    give_up(&world, &secret).await;
    let outcome = format!("{:?}", secret.attached().await);
    assert!(outcome.contains("target-refused") && outcome.contains("not finished"), "{outcome}");
    assert!(secret.opens("AWSCURRENT").await);
}

/// At each call in turn, what ends the previous password is held up, while somebody moves AWSCURRENT back.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_moved_back_keeps_its_password_from_a_superuser() {
    let world = World::mysql().await;
    let superuser = world.setter().await;
    world.sql(&integration_tests::Server::lets_set_password_of(&world.server, "app")).await;
    let more = json!({"masterarn": superuser.arn,
        "rotation": {"setPasswordAs": "superuser", "discardPreviousPasswordAfterHours": 0}});
    moved_back_at_each_call(&world, async |user: String| world.user_with(&user, more.clone()).await).await;
}

async fn all_accounts_of_the_name_change_together(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user_set_by_superuser("app").await;
    let (_, first) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("CREATE USER app@'10.%' IDENTIFIED BY {}", literal(&first))).await;
    for _ in 0..2 {
        secret.rotated().await;
    }
    // One account has stayed behind, as if an earlier run had stopped half-way on MariaDB: the next run goes on.
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let (_, current) = secret.credential("AWSCURRENT").await;
    if kind == Kind::MariaDb {
        world.sql(&format!("ALTER USER app@'10.%' IDENTIFIED BY {}", literal(&current))).await;
    }
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
    let keeps = kind == Kind::MySql;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await == keeps);
    // The other account is out of reach from here; renamed, it shows what it takes.
    world.sql("DROP USER app@'%'; RENAME USER app@'10.%' TO app@'%'").await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await == keeps);
}

async fn an_account_with_a_password_of_its_own_is_somebody_elses(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user_set_by_superuser("app").await;
    let foreign = Password::random();
    world.sql(&format!("CREATE USER app@'127.0.0.2' IDENTIFIED BY {}", literal(foreign.expose()))).await;
    let hashes =
        async || world.ask("SELECT CONCAT(Host, HEX(authentication_string)) FROM mysql.user WHERE User = 'app'").await;
    let before = hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "accounts-differ", "{kind}: {error:?}");
    assert!(error.error_message.contains("'app'@'127.0.0.2'"), "{kind}: {error:?}");
    assert_eq!(hashes().await, before);
    assert!(secret.opens("AWSCURRENT").await);
    // What the error says leads out.
    world.sql("RENAME USER app@'127.0.0.2' TO other@'127.0.0.2'").await;
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
}
