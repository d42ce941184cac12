//! Accounts of one user name, `'app'@'%'` and `'app'@'127.0.0.2'`, that are not all the secret's.

use integration_tests::{Secret, Server as _, World, merged};
use lab::servers::Password;
use lab::servers::mysql::{Kind, MySql};
use serde_json::json;

on_each_kind! {
    an_account_of_the_same_name_with_another_password_is_not_changed;
    accounts_that_the_secret_knows_in_any_version_are_rotated;
    an_account_that_the_user_sees_is_changed_only_if_it_is_the_secrets;
    a_rescue_replaces_no_password_beside_one_that_the_secret_knows;
}

/// Has a rotation refused, and nothing changed.
async fn differs(world: &World<MySql>, secret: &Secret<'_, MySql>, account: &str, at: &str) {
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "accounts-differ", "{at}: {error:?}");
    assert!(error.error_message.contains(account), "{at}: {error:?}");
    assert_eq!(world.server.hashes().await, before, "{at}");
    assert!(secret.opens("AWSCURRENT").await, "{at}");
}

async fn an_account_of_the_same_name_with_another_password_is_not_changed(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.alternating_user("app").await;
    for turn in 0..2 {
        let current = secret.credential("AWSCURRENT").await;
        for user in ["app", "app_clone"] {
            if turn == 0 && user == "app_clone" {
                continue;
            }
            let at = format!("{kind}: {user} while {} is in use", current.0);
            world.sql(&format!("CREATE USER {user}@'127.0.0.2' IDENTIFIED BY 'somebody else''s'")).await;
            differs(&world, &secret, &format!("'{user}'@'127.0.0.2'"), &at).await;
            // Names say which users are a pair, and not that this password may go.
            let value = secret.at("AWSCURRENT").await;
            secret.put(&merged(value, json!({"rotation": {"users": ["app", "app_clone"]}}))).await;
            differs(&world, &secret, &format!("'{user}'@'127.0.0.2'"), &format!("{at}, named")).await;
            // What the error says leads out.
            world.sql(&format!("RENAME USER {user}@'127.0.0.2' TO other_{user}{turn}@'127.0.0.2'")).await;
        }
        secret.rotated().await;
    }
    // An account with the secret's password is one of the secret's.
    let (user, password) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("CREATE USER {user}@'127.0.0.2' IDENTIFIED BY '{password}'")).await;
    for _ in 0..3 {
        secret.rotated().await;
    }
}

async fn accounts_that_the_secret_knows_in_any_version_are_rotated(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.alternating_user("app").await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("CREATE USER app@'127.0.0.2' IDENTIFIED BY '{password}'")).await;
    for turn in 0..4 {
        // Rotations that are given up leave a password in a version without a label, on one account or on both.
        let token = secret.registered().await;
        secret.steps(&["createSecret", "setSecret"], &token).await;
        if turn % 2 == 0 {
            let (user, _) = secret.credential("AWSPENDING").await;
            let (_, before) = secret.credential("AWSCURRENT").await;
            let known = if turn == 0 { before } else { secret.credential("AWSPREVIOUS").await.1 };
            if turn > 0 {
                world.sql(&format!("ALTER USER {user}@'127.0.0.2' IDENTIFIED BY '{known}'")).await;
            }
        }
        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await, "{kind}, turn {turn}");
    }
    // A database that was restored: both accounts have one password, which is in no version.
    let (other, _) = secret.credential("AWSPREVIOUS").await;
    let hash = match kind {
        Kind::MySql => {
            "IDENTIFIED WITH caching_sha2_password AS '$A$005$abcdefghijklmnopqrst0123456789012345678901234567890123456789012'"
        }
        Kind::MariaDb => "IDENTIFIED VIA mysql_native_password USING '*0123456789012345678901234567890123456789'",
    };
    for host in ["%", "127.0.0.2"] {
        world.sql(&format!("ALTER USER {other}@'{host}' {hash}")).await;
    }
    secret.rotated().await;
    // A person has set another password on each account. The secret knows neither, so the change waits until the secret names the pair.
    let (other, _) = secret.credential("AWSPREVIOUS").await;
    for host in ["%", "127.0.0.2"] {
        world.sql(&format!("ALTER USER {other}@'{host}' IDENTIFIED BY 'by hand on {host}'")).await;
    }
    differs(&world, &secret, &format!("'{other}'@"), &format!("{kind}: by hand")).await;
    let value = secret.at("AWSCURRENT").await;
    secret.put(&merged(value, json!({"rotation": {"users": ["app", "app_clone"]}}))).await;
    secret.rotated().await;
}

async fn an_account_that_the_user_sees_is_changed_only_if_it_is_the_secrets(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.sql("CREATE USER app@'127.0.0.2' IDENTIFIED BY 'somebody else''s'").await;
    let other = "SELECT HEX(authentication_string) FROM mysql.user WHERE User = 'app' AND Host = '127.0.0.2'";
    let before = world.ask(other).await;
    // What it does not see it leaves alone.
    secret.rotated().await;
    assert_eq!(world.ask(other).await, before, "{kind}");
    world.sql("GRANT SELECT ON mysql.* TO app; GRANT CREATE USER ON *.* TO app").await;
    differs(&world, &secret, "'app'@'127.0.0.2'", &format!("{kind}")).await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("ALTER USER app@'127.0.0.2' IDENTIFIED BY '{password}'")).await;
    for _ in 0..2 {
        secret.rotated().await;
    }
    // A password of an earlier version is the secret's, too.
    let (_, previous) = secret.credential("AWSPREVIOUS").await;
    world.sql(&format!("ALTER USER app@'127.0.0.2' IDENTIFIED BY '{previous}'")).await;
    secret.rotated().await;
    assert_ne!(world.ask(other).await, before, "{kind}");
}

async fn a_rescue_replaces_no_password_beside_one_that_the_secret_knows(kind: Kind) {
    let world = World::of(kind).await;
    let superuser = world.superuser().await;
    let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
    let secret = world.user_with("app", rescue).await;
    // The function's own address has somebody else's account.
    let foreign = Password::random();
    world.sql(&format!("CREATE USER app@'127.0.0.1' IDENTIFIED BY '{}'", foreign.expose())).await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"password": "mistaken"}))).await;
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "accounts-differ", "{kind}: {error:?}");
    assert_eq!(world.server.hashes().await, before, "{kind}");
    // Nobody can tell which of two unknown passwords is somebody else's.
    world.sql("ALTER USER app@'%' IDENTIFIED BY 'by hand'").await;
    let before = world.server.hashes().await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "accounts-differ", "{kind}: {error:?}");
    assert_eq!(world.server.hashes().await, before, "{kind}");
    // What the error says leads out. One password that is in no version is what a rescue is for.
    world.sql("RENAME USER app@'127.0.0.1' TO other@'127.0.0.1'").await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await, "{kind}");
}
