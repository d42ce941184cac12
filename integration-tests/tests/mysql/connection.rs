//! What only MySQL and MariaDB do on the way to them.

use super::while_held;
use integration_tests::failure::{converges, fails, failure};
use integration_tests::network::Tap;
use integration_tests::{World, admitted, merged, uuid, world};
use lab::servers::mysql::{Kind, MySql, Options, Release};
use lab::servers::{Password, Tls};
use serde_json::json;
use std::time::Duration;

on_each_kind! {
    a_server_without_tls_is_told_nothing;
    a_server_that_insists_on_tls_is_told_from_a_wrong_password_as_far_as_it_tells;
    an_account_that_wants_a_clients_certificate_is_guessed;
    a_server_without_a_free_slot_is_named;
    an_account_without_a_free_slot_is_named;
    a_server_that_is_read_only_is_named_and_serves_once_it_is_the_writer;
    init_connect_does_no_harm_unless_it_fails;
    an_account_that_is_locked_or_expired_is_told_from_a_wrong_password;
    a_login_that_is_blocked_is_not_tried_again;
}

fn options(kind: Kind) -> Options {
    Options::default().kind(kind)
}

// ---- whom to trust

async fn a_server_without_tls_is_told_nothing(kind: Kind) {
    let world = world(options(kind).tls(Tls::Off)).await;
    let tap = Tap::to(world.server.port()).await;
    let secret = world.user_with("app", json!({"port": tap.port})).await;
    fails(&world, &secret, "tls-not-offered").await;
    // The server speaks first, and says that it has none.
    assert_eq!(tap.heard(), [b""], "{kind}");
    assert!(secret.opens("AWSCURRENT").await);
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"ssl": false}))).await;
    match kind {
        Kind::MySql => drop(fails(&world, &secret, "tls-required").await),
        Kind::MariaDb => drop(secret.rotated().await),
    }
    assert!(secret.opens("AWSCURRENT").await);
}

async fn a_server_that_insists_on_tls_is_told_from_a_wrong_password_as_far_as_it_tells(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user_with("app", json!({"ssl": false})).await;
    match world.server.release() {
        Release::MySql9_7 | Release::MariaDb11_8 => drop(fails(&world, &secret, "tls-required").await),
        // MariaDB before 11 says only that the login is refused.
        Release::MariaDb10_5 | Release::MariaDb10_11 => {
            let error = failure(&world, &secret, &uuid(), "locked-out").await;
            assert!(error.error_message.contains("ssl\\\": false"), "{}", error.error_message);
        }
    }
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"ssl": null}))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

/// The servers say no more than that the login is refused.
async fn an_account_that_wants_a_clients_certificate_is_guessed(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.sql("ALTER USER app REQUIRE X509").await;
    let token = uuid();
    let error = failure(&world, &secret, &token, "locked-out").await;
    assert!(error.error_message.contains("client's certificate"), "{}", error.error_message);
    world.sql("ALTER USER app REQUIRE NONE").await;
    if kind == Kind::MySql {
        // The version has a label that says so, and no login is made for it any more. What the error says leads out.
        failure(&world, &secret, &token, "refused-too-often").await;
        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": token});
        world.lab.call("UpdateSecretVersionStage", request).await.unwrap();
        secret.rotated().await;
        return;
    }
    converges(&world, &secret, &token).await;
}

// ---- no answer

/// No setting for locks limits this wait, and a change that is left behind in the queue takes effect whenever the lock ends.
#[tokio::test]
async fn mariadbs_lock_on_a_whole_table_is_not_waited_for_without_end() {
    let world = World::mariadb().await;
    let secret = world.user("app").await;
    let waiting = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE LIKE 'Waiting for table%'";
    let work = async {
        let token = fails(&world, &secret, "statement-timeout").await;
        assert_eq!(world.ask(waiting).await, ["0"], "the change is still to come");
        token
    };
    // As mysqldump does.
    let token = while_held(&world.server, "LOCK TABLES mysql.global_priv READ", work).await;
    converges(&world, &secret, &token).await;
}

// ---- not now

async fn a_server_without_a_free_slot_is_named(kind: Kind) {
    let minimum = if kind == Kind::MySql { 3 } else { 10 };
    let world = world(options(kind).setting("max_connections", &minimum.to_string())).await;
    let secret = world.user("app").await;
    let password = Password::random();
    world.server.create_user("guest", &password).await.unwrap();
    let mut guests = Vec::new();
    for _ in 0..minimum {
        guests.push(admitted(async || world.server.connect("guest", &password, None).await).await);
    }
    let token = fails(&world, &secret, "too-many-connections").await;
    drop(guests);
    nobody_is_connected(&world, "guest").await;
    converges(&world, &secret, &token).await;
}

async fn an_account_without_a_free_slot_is_named(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.sql("ALTER USER app WITH MAX_USER_CONNECTIONS 1").await;
    let (user, password) = secret.credential("AWSCURRENT").await;
    let guest = world.server.connect(&user, &password.as_str().into(), None).await.unwrap();
    let token = fails(&world, &secret, "too-many-connections").await;
    drop(guest);
    nobody_is_connected(&world, "app").await;
    world.sql("ALTER USER app WITH MAX_USER_CONNECTIONS 0").await;
    converges(&world, &secret, &token).await;

    world.sql("ALTER USER app WITH MAX_CONNECTIONS_PER_HOUR 1").await;
    // That one may be the first of this hour, or the second.
    let (user, password) = secret.credential("AWSCURRENT").await;
    let _ = world.server.can_login(&user, &password.as_str().into()).await;
    let token = fails(&world, &secret, "too-many-connections").await;
    world.sql("ALTER USER app WITH MAX_CONNECTIONS_PER_HOUR 0").await;
    converges(&world, &secret, &token).await;
}

async fn a_server_that_is_read_only_is_named_and_serves_once_it_is_the_writer(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.server.set_read_only(true).await.unwrap();
    let token = fails(&world, &secret, "server-read-only").await;
    world.server.set_read_only(false).await.unwrap();
    converges(&world, &secret, &token).await;
}

#[tokio::test]
async fn a_server_that_is_offline_is_not_ready() {
    let world = World::mysql().await;
    let secret = world.user("app").await;
    world.sql("SET GLOBAL offline_mode = ON").await;
    let token = fails(&world, &secret, "server-not-ready").await;
    world.sql("SET GLOBAL offline_mode = OFF").await;
    converges(&world, &secret, &token).await;
}

/// MySQL and MariaDB close the session of a user for whom `init_connect` fails.
async fn init_connect_does_no_harm_unless_it_fails(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.sql("SET GLOBAL init_connect = 'SET @greeted = 1, sql_mode = \"ANSI_QUOTES\"'").await;
    secret.rotated().await;
    world.sql("SET GLOBAL init_connect = 'SELECT * FROM nowhere.nothing'").await;
    let token = fails(&world, &secret, "connection-lost").await;
    world.sql("SET GLOBAL init_connect = ''").await;
    converges(&world, &secret, &token).await;
}

// ---- not you

async fn an_account_that_is_locked_or_expired_is_told_from_a_wrong_password(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    world.sql("ALTER USER app ACCOUNT LOCK").await;
    let before = world.relay.connections();
    let token = fails(&world, &secret, "role-unusable").await;
    assert_eq!(world.relay.connections() - before, 1, "{kind}: another password was tried");
    world.sql("ALTER USER app ACCOUNT UNLOCK").await;
    converges(&world, &secret, &token).await;

    world.sql("ALTER USER app PASSWORD EXPIRE").await;
    let token = fails(&world, &secret, "role-unusable").await;
    let (_, password) = secret.credential("AWSCURRENT").await;
    world.sql(&format!("ALTER USER app IDENTIFIED BY '{password}'")).await;
    converges(&world, &secret, &token).await;
}

/// Whoever is blocked for failed logins is not helped by more of them.
async fn a_login_that_is_blocked_is_not_tried_again(kind: Kind) {
    let world = World::of(kind).await;
    let secret = world.user("app").await;
    let heal = match kind {
        Kind::MySql => {
            world.sql("ALTER USER app FAILED_LOGIN_ATTEMPTS 2 PASSWORD_LOCK_TIME UNBOUNDED").await;
            "ALTER USER app ACCOUNT UNLOCK"
        }
        Kind::MariaDb => {
            world.sql("SET GLOBAL max_password_errors = 2").await;
            "FLUSH PRIVILEGES"
        }
    };
    // The second one may be refused in either way.
    assert!(!world.opens("app", "wrong").await);
    let _ = world.server.can_login("app", &"wrong".into()).await;
    let token = fails(&world, &secret, "login-blocked").await;
    assert_eq!(world.relay.connections(), 1, "{kind}");
    world.sql(heal).await;
    converges(&world, &secret, &token).await;
}

/// With MySQL's plugin against guessing, a login after failed ones has to wait.
#[tokio::test]
async fn a_login_that_is_slowed_down_is_waited_for_and_not_tried_again() {
    let world = World::mysql().await;
    world.sql("INSTALL PLUGIN CONNECTION_CONTROL SONAME 'connection_control.so'").await;
    world.sql("SET GLOBAL connection_control_failed_connections_threshold = 1").await;
    for setting in ["max", "min"] {
        world.sql(&format!("SET GLOBAL connection_control_{setting}_connection_delay = 1000")).await;
    }
    let secret = world.user("app").await;
    // The first one does not count yet.
    assert!(!world.opens("app", "wrong").await && !world.opens("app", "wrong").await);
    let report = secret.rotated().await;
    assert!(report.steps.iter().any(|step| step.duration() >= Duration::from_secs(1)), "no login was slowed down");
    assert!(secret.opens("AWSCURRENT").await);
    assert_eq!(world.relay.connections(), 3);
}

// ---- what the tests have in common

async fn nobody_is_connected(world: &World<MySql>, user: &str) {
    let sessions = format!("SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
    while !admitted(async || world.server.rows(&sessions).await).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
