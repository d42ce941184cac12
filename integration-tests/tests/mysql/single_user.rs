//! A user that changes its own password where no second one is kept: MariaDB.

use integration_tests::{Server, World, merged};
use lab::secretsmanager::RotationOutcome;
use lab::servers::Password;
use lab::servers::mysql::{Kind, Options, Tls};
use serde_json::json;
use std::net::Ipv4Addr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

on_each_kind! {
    a_right_password_that_is_refused_for_another_reason_is_not_replaced;
    without_tls_a_password_that_would_travel_in_clear_is_not_sent;
    the_longest_name_is_rotated;
}

/// Others may fulfil that.
async fn a_right_password_that_is_refused_for_another_reason_is_not_replaced(kind: Kind) {
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
}

/// MySQL would get the password itself, which must not travel in clear; MariaDB gets a hash.
async fn without_tls_a_password_that_would_travel_in_clear_is_not_sent(kind: Kind) {
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

#[tokio::test]
async fn mariadbs_ed25519_is_kept() {
    let world = World::mariadb().await;
    let password = Password::random();
    world.sql("INSTALL SONAME 'auth_ed25519'").await;
    world.sql(&format!("CREATE USER app IDENTIFIED VIA ed25519 USING PASSWORD('{}')", password.expose())).await;
    let secret = world.secret(world.document("app", password.expose())).await;
    for _ in 0..2 {
        secret.rotated().await;
        assert_eq!(secret.attached().await, RotationOutcome::Succeeded, "the function itself logs in as a client does");
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

/// Two secrets hold one user. One is rotated, so the other's rotation cannot succeed, and Secrets Manager repeats it.
#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_is_repeated_does_not_block_the_user() {
    let world = World::mysql().await;
    let secret = world.user("app").await;
    let other = world.secret(secret.at("AWSCURRENT").await).await;
    world.sql("ALTER USER app FAILED_LOGIN_ATTEMPTS 3 PASSWORD_LOCK_TIME UNBOUNDED").await;
    secret.rotated().await;
    let token = other.registered().await;
    for attempt in 1..=4 {
        other.steps(&["createSecret"], &token).await;
        let error = other.step("setSecret", &token).await.expect_err("no password works");
        let code = if attempt == 1 { "locked-out" } else { "refused-too-often" };
        assert_eq!(error.error_type, code, "attempt {attempt}: {error:?}");
    }
    assert!(secret.opens("AWSCURRENT").await, "consumers of the other secret are blocked");

    // Somebody corrects the secret's password. What the last error says leads out.
    Server::set_password(&world.server, "app", &other.credential("AWSCURRENT").await.1).await;
    let request = json!({"SecretId": other.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
    world.lab.call("UpdateSecretVersionStage", request).await.expect("the label is removed");
    let token = other.rotated().await.token;
    other.arrived(&token).await;
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

async fn the_longest_name_is_rotated(kind: Kind) {
    let world = World::of(kind).await;
    for letter in ["x", "é"] {
        let secret = world.user(&letter.repeat(if kind == Kind::MySql { 32 } else { 80 })).await;
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await, "{letter}");
    }
}
