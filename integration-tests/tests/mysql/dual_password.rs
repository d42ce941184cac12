//! A MySQL user that changes its own password, while the server keeps the one before.

use super::moved_back_at_each_call;
use integration_tests::failure::code;
use integration_tests::{STEPS, World, at_rest, merged};
use lab::disturb::Fault;
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
use lab::servers::mysql::{MySql, Options, literal};
use serde_json::json;
use std::time::Duration;

/// Which of these passwords open the server for `app`.
async fn open(world: &World<MySql>, passwords: &[&str]) -> Vec<bool> {
    let mut open = Vec::new();
    for password in passwords {
        open.push(world.opens("app", password).await);
    }
    open
}

#[tokio::test]
async fn the_previous_password_works_until_the_next_rotation() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    let mut passwords = vec![secret.credential("AWSCURRENT").await.1];
    for _ in 0..3 {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let answer = secret.step("setSecret", &token).await.unwrap();
        assert_eq!((&answer["changedAs"], &answer["previousCredential"]), (&json!("current"), &json!("works")));
        // The consumers' password works in the middle of the rotation, too.
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        passwords.insert(0, secret.credential("AWSCURRENT").await.1);
        let expected: Vec<bool> = (0..passwords.len()).map(|age| age < 2).collect();
        assert_eq!(open(&world, &passwords.iter().map(String::as_str).collect::<Vec<_>>()).await, expected);
    }
}

/// A second RETAIN CURRENT PASSWORD with the same password would end the consumers' one.
#[tokio::test]
async fn a_run_again_after_set_ends_no_password() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    secret.rotated().await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    for _ in 0..3 {
        secret.steps(&["setSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
    }
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
}

#[tokio::test]
async fn two_runs_at_once_end_no_password() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    for _ in 0..5 {
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        let (one, two) = tokio::join!(secret.step("setSecret", &token), secret.step("setSecret", &token));
        assert!(one.is_ok() && two.is_ok(), "{one:?} {two:?}");
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
        secret.steps(&["testSecret", "finishSecret"], &token).await;
    }
}

/// The process dies right before and right after the server has carried out the change.
#[tokio::test]
async fn a_crash_at_the_change_ends_no_password() {
    use lab::disturb::{DATABASE, Fault};
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    let mut kills = 0;
    for fault in [Fault::KillBefore, Fault::KillAfter] {
        for flight in 1.. {
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            world.lab.disturb().restart();
            let calls_first = 3;
            world.lab.disturb().on_call(calls_first + flight, fault);
            let first = secret.step("setSecret", &token).await;
            at_rest(&world.lab).await;
            let fired = world.lab.disturb().fired() > 0;
            world.lab.disturb().restart();
            assert!(secret.opens("AWSCURRENT").await, "{fault:?} at flight {flight}: {first:?}");
            secret.steps(&["setSecret"], &token).await;
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await, "{fault:?} at {flight}");
            secret.steps(&["testSecret", "finishSecret"], &token).await;
            if !fired {
                break;
            }
            kills += 1;
        }
    }
    assert!(kills >= 10, "{kills} kills; a {DATABASE} session has more flights than that");
}

/// Somebody took AWSPENDING away after set: the server's primary password is one that no version's label finds.
#[tokio::test]
async fn a_rotation_that_was_given_up_is_made_good_by_the_next() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    secret.rotated().await;
    let given_up = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &given_up).await;
    let (_, orphan) = secret.credential("AWSPENDING").await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": given_up});
    world.lab.call("UpdateSecretVersionStage", request).await.unwrap();

    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
    assert!(!world.opens("app", &orphan).await);
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
}

#[tokio::test]
async fn without_the_privilege_the_reason_is_logged_and_counted() {
    let world = World::mysql().await;
    let secret = world.user("app").await;
    let (_, old) = secret.credential("AWSCURRENT").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    let answer = secret.step("setSecret", &token).await.unwrap();
    assert_eq!(answer["previousCredential"], "refused");
    assert!(answer["because"].as_str().unwrap().contains("APPLICATION_PASSWORD_ADMIN"), "{answer}");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await && !world.opens("app", &old).await);
    let output = world.lab.function_output();
    assert!(output.contains("\"level\":\"WARN\"") && output.contains("PreviousPasswordNotKept"), "{output}");
}

/// What was kept while the user had the privilege is the account's secondary password still.
#[tokio::test]
async fn a_privilege_that_was_lost_ends_no_password_that_consumers_read() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    let given_up = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &given_up).await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": given_up});
    world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
    world.sql("REVOKE APPLICATION_PASSWORD_ADMIN ON *.* FROM app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    assert_eq!(secret.step("setSecret", &token).await.unwrap()["previousCredential"], "works");
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
    secret.steps(&["testSecret", "finishSecret"], &token).await;
}

/// One refused login would lock this account.
#[tokio::test]
async fn an_account_that_forgives_no_failure_is_never_locked() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    world.sql("ALTER USER app FAILED_LOGIN_ATTEMPTS 1 PASSWORD_LOCK_TIME UNBOUNDED").await;
    for _ in 0..3 {
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
    }
    // Nor by a second run.
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "setSecret", "testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn rules_about_passwords_do_not_get_in_the_way() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    world.sql("ALTER USER app PASSWORD HISTORY 5 PASSWORD REUSE INTERVAL 365 DAY PASSWORD REQUIRE CURRENT").await;
    for _ in 0..2 {
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret"], &token).await;
        // A second run sets the same password again, which the history forbids.
        assert_eq!(secret.step("setSecret", &token).await.unwrap()["outcome"], "already-in-effect");
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
        secret.steps(&["testSecret", "finishSecret"], &token).await;
    }
}

#[tokio::test]
async fn the_previous_password_is_discarded_when_the_secret_says_so() {
    let discard = |hours: u32| json!({"rotation": {"discardPreviousPasswordAfterHours": hours}});
    // At once, that is, when the rotation is finished.
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, discard(0))).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret", "testSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await, "consumers still read it");
    assert_eq!(secret.step("finishSecret", &token).await.unwrap()["retired"], "previous");
    assert!(secret.opens("AWSCURRENT").await && !secret.opens("AWSPREVIOUS").await);

    // Not before its time.
    secret.put(&merged(secret.at("AWSCURRENT").await, discard(2))).await;
    secret.rotated().await;
    assert_eq!(secret.attached().await, RotationOutcome::Succeeded);
    assert!(secret.opens("AWSPREVIOUS").await);

    // Past it, by the next run.
    let world =
        World::mysql_with(Options::default(), |function| function.clock_behind(Duration::from_secs(3 * 3600))).await;
    let secret = world.dual_password_user("app").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, discard(2))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSPREVIOUS").await);
    assert_eq!(secret.attached().await, RotationOutcome::Succeeded);
    assert!(secret.opens("AWSCURRENT").await && !secret.opens("AWSPREVIOUS").await);
}

/// The function may be killed between the promotion and what ends the previous password.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_has_to_end_ends_when_finish_is_repeated() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    let now = json!({"rotation": {"discardPreviousPasswordAfterHours": 0}});
    secret.put(&merged(secret.at("AWSCURRENT").await, now)).await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..3], &token).await;
    world.lab.disturb().on_next("UpdateSecretVersionStage", Fault::KillAfter);
    secret.step("finishSecret", &token).await.expect_err("killed");
    assert_eq!(secret.version("AWSCURRENT").await, token);
    assert!(secret.opens("AWSPREVIOUS").await, "nothing has ended it yet");
    let again = secret.step("finishSecret", &token).await.expect("the step can run again");
    assert_eq!((&again["outcome"], &again["retired"]), (&json!("already-current"), &json!("previous")));
    assert!(secret.opens("AWSCURRENT").await && !secret.opens("AWSPREVIOUS").await);
}

/// At each call in turn, what ends the previous password is held up, while somebody moves AWSCURRENT back.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_was_moved_back_keeps_its_password() {
    let world = World::mysql().await;
    let now = json!({"rotation": {"discardPreviousPasswordAfterHours": 0}});
    moved_back_at_each_call(&world, async |user: String| {
        let secret = world.dual_password_user(&user).await;
        secret.put(&merged(secret.at("AWSCURRENT").await, now.clone())).await;
        secret
    })
    .await;
}

/// The current password is the account's secondary one: to discard that would lock everybody out.
#[tokio::test]
async fn nothing_is_discarded_while_the_current_password_is_the_older_one() {
    let world =
        World::mysql_with(Options::default(), |function| function.clock_behind(Duration::from_secs(3 * 3600))).await;
    let secret = world.dual_password_user("app").await;
    let hours = json!({"rotation": {"discardPreviousPasswordAfterHours": 1}});
    secret.put(&merged(secret.at("AWSCURRENT").await, hours)).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
    let outcome = format!("{:?}", secret.attached().await);
    assert!(outcome.contains("target-refused") && outcome.contains("not finished"), "{outcome}");
    assert!(secret.opens("AWSCURRENT").await);
}

/// `'app'@'localhost'` beside `'app'@'%'`: which of the two a consumer gets depends on where it is.
#[tokio::test]
async fn accounts_that_the_user_may_see_are_changed_together_or_not_at_all() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    let (_, old) = secret.credential("AWSCURRENT").await;
    let old_hash = "SELECT HEX(authentication_string) FROM mysql.user WHERE User = 'app' AND Host = '10.%'";
    world.sql(&format!("CREATE USER app@'10.%' IDENTIFIED BY {}; GRANT SELECT ON mysql.* TO app", literal(&old))).await;
    let before = world.ask(old_hash).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "privilege-missing", "{error:?}");
    assert!(error.error_message.contains("CREATE USER"), "{error:?}");
    assert!(secret.opens("AWSCURRENT").await);
    assert_eq!(world.ask(old_hash).await, before);

    world.sql("GRANT CREATE USER ON *.* TO app").await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
    // The other account is out of reach from here; renamed, it shows what it takes.
    world.sql("DROP USER app@'%'; RENAME USER app@'10.%' TO app@'%'").await;
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
}

#[tokio::test]
async fn modes_of_the_server_change_no_meaning() {
    let modes = ["ANSI_QUOTES", "NO_BACKSLASH_ESCAPES", "ANSI,PIPES_AS_CONCAT,IGNORE_SPACE", ""];
    for mode in modes {
        let options = Options::default().setting("sql_mode", mode);
        let world = World::mysql_with(options, |function| function.env("EXCLUDE_CHARACTERS", "")).await;
        for name in ["o'brien", "a\"b", "back\\slash", "per%cent", "ba`ck@tick", "'; DROP USER x; --", "Größe"] {
            let secret = world.dual_password_user(name).await;
            secret.rotated().await;
            secret.rotated().await;
            assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{mode}: {name}");
        }
        for password in ["'\"\\%s$1 {}", "pässwörd ✓", "  spaces  ", "\\"] {
            let user = format!("u{}", password.chars().map(u32::from).sum::<u32>());
            world.server.create_user(&user, &Password::from(password)).await.unwrap();
            let secret = world.secret(world.document(&user, password)).await;
            secret.rotated().await;
            assert!(secret.opens("AWSCURRENT").await, "{mode}: {password}");
        }
    }
}

/// A person saves the secret as it was while the server has the new password already. With dual passwords nobody notices: the
/// old one still works, and the next rotation keeps it so.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_password_put_by_hand_after_set_still_works_under_dual_passwords() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    secret.rotated().await;
    let given_up = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &given_up).await;
    let (_, orphan) = secret.credential("AWSPENDING").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"note": "as before"}))).await;
    assert_eq!(code(secret.step("finishSecret", &given_up).await), "version-unknown");
    assert!(secret.opens("AWSCURRENT").await);

    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    // The consumers' password, which is the account's older one, was not ended by a third.
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPENDING").await);
    assert!(!world.opens("app", &orphan).await, "what nobody was ever given works");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    secret.arrived(&token).await;
    assert!(secret.opens("AWSPREVIOUS").await);
}
