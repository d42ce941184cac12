//! A user that changes its own password where no second one is kept: MariaDB.

use super::{attached, costs, refused_logins};
use integration_tests::{World, merged};
use lab::servers::Password;
use lab::servers::mysql::{Kind, Options, Tls};
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

#[tokio::test]
async fn a_rotation_changes_the_password_and_nothing_else() {
    let world = World::mariadb().await;
    let password = Password::random();
    world.server.create_user("app", &password).await.unwrap();
    let text = |password: &str| {
        format!(
            "{{\"zeta\": 1.50, \"engine\":\"mariadb\",\n \"host\":\"localhost\", \"port\":\"{}\", \"username\":\"app\", \
             \"password\":\"{password}\", \"big\": 123456789012345678901234567890}}",
            world.relay.port()
        )
    };
    let secret = world.secret_text(&text(password.expose())).await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    let answer = secret.step("setSecret", &token).await.unwrap();
    assert_eq!((&answer["previousCredential"], answer.get("because")), (&json!("refused"), None));
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    let (_, new) = secret.credential("AWSCURRENT").await;
    assert_eq!(world.lab.secret_value(&secret.arn, "AWSCURRENT").await.unwrap(), text(&new));
    assert!(world.opens("app", &new).await && !world.opens("app", password.expose()).await);
}

#[tokio::test]
async fn the_normal_path_costs_what_it_has_to() {
    let world = World::mariadb().await;
    let secret = world.user("app").await;
    let before = refused_logins(&world).await;
    assert_eq!(costs(&world, &secret).await, [(2, 4, 0), (1, 3, 1), (1, 3, 1), (2, 4, 1)]);
    assert_eq!(refused_logins(&world).await, before);
    // A counter that cannot count would say the same.
    assert!(!world.opens("app", "wrong").await);
    assert_eq!(refused_logins(&world).await, before + 1);
}

#[tokio::test]
async fn a_run_again_after_set_finds_the_password_in_effect() {
    let world = World::mariadb().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret", "setSecret"], &token).await;
    assert_eq!(secret.step("setSecret", &token).await.unwrap()["outcome"], "already-in-effect");
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn the_previous_password_is_tried_last_and_then_the_superuser_may_help() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let superuser = world.superuser().await;
        let secret = world.user("app").await;
        secret.rotated().await;
        let (_, previous) = secret.credential("AWSPREVIOUS").await;
        world.sql(&format!("ALTER USER app IDENTIFIED BY '{previous}'")).await;
        if kind == Kind::MySql {
            world.sql("ALTER USER app DISCARD OLD PASSWORD").await;
        }
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        assert_eq!(secret.step("setSecret", &token).await.unwrap()["changedAs"], "previous");
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await);

        world.sql("ALTER USER app IDENTIFIED BY 'changed by hand'").await;
        if kind == Kind::MySql {
            world.sql("ALTER USER app DISCARD OLD PASSWORD").await;
        }
        let current = secret.at("AWSCURRENT").await;
        let error = secret.refused().await;
        assert_eq!(error.error_type, "locked-out", "{error:?}");
        assert_eq!(secret.at("AWSCURRENT").await, current);
        let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
        secret.put(&merged(current, rescue)).await;
        let token = secret.registered().await;
        secret.steps(&["createSecret"], &token).await;
        assert_eq!(secret.step("setSecret", &token).await.unwrap()["changedAs"], "superuser");
        secret.steps(&["testSecret", "finishSecret"], &token).await;
        assert!(secret.opens("AWSCURRENT").await && !world.opens("app", "changed by hand").await);
    }
}

#[tokio::test]
async fn a_rescue_helps_only_users_that_a_password_would_help() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let superuser = world.superuser().await;
        let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
        world.server.create_user("app", &Password::random()).await.unwrap();
        for (sql, code) in [
            ("ALTER USER app ACCOUNT LOCK", "role-unusable"),
            ("ALTER USER app ACCOUNT UNLOCK; GRANT CREATE USER ON *.* TO app", "role-protected"),
            ("REVOKE CREATE USER ON *.* FROM app; GRANT UPDATE ON mysql.* TO app", "role-protected"),
            ("DROP USER app", "role-missing"),
        ] {
            world.sql(sql).await;
            let secret = world.secret(merged(world.document("app", "unknown"), rescue.clone())).await;
            let error = secret.refused().await;
            // MySQL may pretend that a user that is not there has a plugin that nobody uses.
            let pretended = kind == Kind::MySql && error.error_message.contains("or the user does not exist");
            assert!(error.error_type == code || pretended, "{kind}: {sql}: {error:?}");
        }
        // A right password that the server refuses for another reason is not replaced: others may fulfil that.
        for (user, require, more) in [("x509", "X509", json!({})), ("tls", "SSL", json!({"ssl": false}))] {
            let options = Options::default().kind(kind).tls(Tls::Offered);
            let world = World::mysql_with(options, |function| function).await;
            let (name, password) = (world.server.superuser(), world.server.superuser_password());
            let superuser = world.secret(merged(world.document(name, password.expose()), more.clone())).await;
            let rescue = json!({"masterarn": superuser.arn, "rotation": {"superuserRescue": true}});
            let secret = world.user_with(user, merged(more, rescue)).await;
            world.sql(&format!("ALTER USER {user} REQUIRE {require}")).await;
            let error = secret.refused().await;
            assert_eq!(error.error_type, "login-forbidden", "{kind}: {error:?}");
            world.sql(&format!("ALTER USER {user} REQUIRE NONE")).await;
            assert!(secret.opens("AWSCURRENT").await, "{kind}: {require}");
        }
        // The superuser's own user is not to be changed through its secret.
        let own = world.document(world.server.superuser(), "unknown");
        let error = world.secret(merged(own, rescue)).await.refused().await;
        assert_eq!(error.error_type, "role-protected", "{error:?}");
    }
}

/// MySQL would get the password itself, which must not travel in clear; MariaDB gets a hash.
#[tokio::test]
async fn without_tls_a_password_that_would_travel_in_clear_is_not_sent() {
    for kind in KINDS {
        let world = World::mysql_with(Options::default().kind(kind).tls(Tls::Off), |function| function).await;
        let secret = world.user_with("app", json!({"ssl": false})).await;
        if kind == Kind::MariaDb {
            secret.rotated().await;
        } else {
            let error = secret.refused().await;
            assert_eq!(error.error_type, "tls-required", "{error:?}");
        }
        assert!(secret.opens("AWSCURRENT").await);
    }
}

#[tokio::test]
async fn mariadb_gets_a_hash_and_its_log_no_password() {
    let world = World::mysql_with(Options::default().kind(Kind::MariaDb).log_statements(), |function| function).await;
    let secret = world.user("app").await;
    secret.rotated().await;
    let log = world.server.log_text().unwrap();
    assert!(log.contains("SET PASSWORD = '*"), "the statement is logged: {log}");
    assert!(!log.contains(&secret.credential("AWSCURRENT").await.1), "the new password is in the server's log");
}

#[tokio::test]
async fn mariadbs_ed25519_is_kept() {
    let world = World::mariadb().await;
    let password = Password::random();
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    world.sql(&format!("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('{}')", password.expose())).await;
    let secret = world.secret(world.document("app", password.expose())).await;
    for _ in 0..2 {
        secret.rotated().await;
        assert_eq!(attached(&world, &secret).await, "Succeeded", "the function itself logs in as a client does");
        assert_eq!(world.ask("SELECT plugin FROM mysql.user WHERE User = 'app'").await, ["ed25519"]);
    }
}

/// The driver signs something else than it was asked to if that ends with a zero, as it does by chance in 1 of 256 logins.
#[tokio::test]
async fn a_login_that_mariadb_refuses_wrongly_is_tried_again() {
    let world = World::mysql_with(Options::default().kind(Kind::MariaDb).tls(Tls::Offered), |function| function).await;
    let password = Password::random();
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    world.sql(&format!("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('{}')", password.expose())).await;
    let there = json!({"port": zero_for_every_other_login(world.server.port()).await, "ssl": false});
    let secret = world.secret(merged(world.document("app", password.expose()), there)).await;
    for _ in 0..2 {
        secret.rotated().await;
    }
}

/// A way to the server on which every other login, beginning with the first, is asked to sign something that ends with a zero, and
/// no other one is.
async fn zero_for_every_other_login(server: u16) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for zero in [true, false].into_iter().cycle() {
            let (client, _) = listener.accept().await.unwrap();
            let (mut from_client, mut to_client) = client.into_split();
            let (mut from_server, mut to_server) =
                TcpStream::connect((Ipv4Addr::LOCALHOST, server)).await.unwrap().into_split();
            tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
            tokio::spawn(async move {
                let mut bytes = Vec::with_capacity(4096);
                while from_server.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    match bytes.windows(15).any(|part| part == b"client_ed25519\0") {
                        true if zero => *bytes.last_mut().unwrap() = 0,
                        // What the driver drops is then this one, and never a zero of the server's.
                        true => {
                            bytes[0] += 1;
                            bytes.push(0);
                        }
                        false => {}
                    }
                    to_client.write_all(&bytes).await.unwrap();
                    bytes.clear();
                }
            });
        }
    });
    port
}

#[tokio::test]
async fn mariadbs_password_validation_names_the_policy() {
    let world = World::mariadb().await;
    let secret = world.user("app").await;
    world.sql("INSTALL SONAME 'simple_password_check'").await;
    // It wants to see the password, and is satisfied.
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
    world.sql("SET GLOBAL simple_password_check_minimal_length = 64").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "password-refused", "{error:?}");
    assert!(error.error_message.contains("simple_password_check"), "{error:?}");
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn mysqls_password_validation_names_the_policy() {
    let world = World::mysql().await;
    let secret = world.dual_password_user("app").await;
    world.sql("INSTALL COMPONENT 'file://component_validate_password'; SET GLOBAL validate_password.length = 64").await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "password-refused", "{error:?}");
    assert!(error.error_message.contains("validate_password"), "{error:?}");
    assert!(secret.opens("AWSCURRENT").await);
    // And nothing is tried that could lock the account.
    world.sql("ALTER USER app FAILED_LOGIN_ATTEMPTS 1 PASSWORD_LOCK_TIME UNBOUNDED").await;
    assert_eq!(secret.refused().await.error_type, "password-refused");
    assert!(secret.opens("AWSCURRENT").await);
    world.sql("SET GLOBAL validate_password.length = 12").await;
    secret.rotated().await;
}

#[tokio::test]
async fn names_and_passwords_may_have_any_character_on_mariadb() {
    let options = Options::default().kind(Kind::MariaDb).setting("sql_mode", "ANSI_QUOTES");
    let world = World::mysql_with(options, |function| function.env("EXCLUDE_CHARACTERS", "")).await;
    let long = "n".repeat(80);
    for name in ["o'brien", "a\"b", "back\\slash", "per%cent", "ba`ck@tick", "'; DROP USER x; --", "Größe", &long] {
        let secret = world.user(name).await;
        secret.rotated().await;
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await, "{name}");
    }
}
