//! What only PostgreSQL does on the way to it.

use integration_tests::failure::{converges, fails, fails_again, failure};
use integration_tests::network::Tap;
use integration_tests::{World, admitted, uuid};
use lab::servers::Password;
use lab::servers::postgres::{Options, Postgres, Tls};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::time::Duration;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

/// A message that asks for TLS (PostgreSQL manual, 55.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

// ---- whom to trust

#[tokio::test]
async fn a_server_without_tls_is_asked_for_it_and_told_nothing() {
    let world = World::with(Options::default().tls(Tls::Offered), |function| function).await;
    let tap = Tap::to(world.server.port()).await;
    let secret = world.user_with("app", json!({"port": tap.port})).await;
    let root = plaintext_superuser(&world.server).await;
    set_and_reload(&root, "ssl", "off").await;
    let token = fails(&world, &secret, "tls-not-offered").await;
    assert_eq!(tap.heard(), [SSL_REQUEST]);
    set_and_reload(&root, "ssl", "on").await;
    converges(&world, &secret, &token).await;
}

#[tokio::test]
async fn a_password_in_clear_is_given_to_verified_servers_only() {
    let options = Options::default()
        .tls(Tls::Offered)
        .hba("hostnossl all app 127.0.0.1/32 password")
        .hba("hostssl all directory_user 127.0.0.1/32 password");
    let world = World::with(options, |function| function).await;
    // As users of LDAP and PAM have to.
    world.user("directory_user").await.rotated().await;

    let tap = Tap::to(world.server.port()).await;
    let secret = world.user_with("app", json!({"port": tap.port, "ssl": false})).await;
    let token = fails(&world, &secret, "authentication-unsupported").await;
    let [said] = tap.heard().try_into().expect("one connection");
    assert!(contains(&said, b"app\0"), "the user's name was not sent");
    assert!(!contains(&said, secret.credential("AWSCURRENT").await.1.as_bytes()), "the password was sent");
    drop_hba_lines(&world, "hostnossl all app").await;
    converges(&world, &secret, &token).await;
}

#[tokio::test]
async fn a_superuser_secret_without_a_host_is_for_servers_that_know_its_password() {
    let world = World::with(Options::default().hba("hostssl all admin 127.0.0.1/32 md5"), |function| function).await;
    let password = Password::random();
    let set = |encryption: &str| {
        format!("SET password_encryption = '{encryption}'; ALTER ROLE admin PASSWORD '{}'", password.expose())
    };
    world.sql("CREATE ROLE admin SUPERUSER LOGIN").await;
    world.sql(&set("md5")).await;
    let superuser = world.secret(json!({"username": "admin", "password": password.expose()})).await;
    let secret = world.user_with("app", json!({"masterarn": superuser.arn})).await;
    let token = uuid();
    let error = failure(&world, &secret, &token, "authentication-unsupported").await;
    for fact in ["user=\"admin\"", "credential=\"superuser\"", "host=\"localhost\""] {
        assert!(error.error_message.contains(fact), "{}", error.error_message);
    }
    assert!(!error.error_message.contains(password.expose()));
    assert!(!world.lab.function_output().contains(password.expose()));
    // The hba line stays: with a SCRAM verifier, the server uses SCRAM for it.
    world.sql(&set("scram-sha-256")).await;
    converges(&world, &secret, &token).await;
}

// ---- not now

#[tokio::test]
async fn a_change_by_somebody_else_at_the_same_time_is_no_bug_of_the_servers() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let other = world.server.connect_superuser().await.unwrap();
    other.batch_execute("BEGIN; ALTER ROLE app CONNECTION LIMIT 7").await.unwrap();
    let commit = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app' AND wait_event_type = 'Lock'";
        while world.ask(waiting).await != ["1"] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        other.batch_execute("COMMIT").await.unwrap();
    };
    // The server says only "tuple concurrently updated", with the SQLSTATE of an internal error.
    let (token, ()) = tokio::join!(fails(&world, &secret, "lock-timeout"), commit);
    converges(&world, &secret, &token).await;
}

#[tokio::test]
async fn a_server_without_a_free_slot_is_named() {
    let world = World::with(Options::default().setting("max_connections", "6"), |function| function).await;
    let secret = world.user("app").await;
    let password = Password::random();
    world.server.create_user("guest", &password).await.unwrap();
    // Three of the six are the superuser's.
    let mut guests = Vec::new();
    for _ in 0..3 {
        guests.push(admitted(async || world.server.connect("guest", &password, "postgres").await).await);
    }
    let token = fails(&world, &secret, "too-many-connections").await;
    // Then the three, too, when the server does not even ask who it is.
    for _ in 0..3 {
        guests.push(admitted(async || world.server.connect_superuser().await).await);
    }
    fails_again(&world, &secret, &token, "too-many-connections").await;
    drop(guests);
    let superuser = admitted(async || world.server.connect_superuser().await).await;
    let others = "SELECT 1 FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    while !superuser.query(others, &[]).await.unwrap().is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(superuser);
    converges(&world, &secret, &token).await;

    world.sql("ALTER ROLE app CONNECTION LIMIT 1").await;
    let (user, password) = secret.credential("AWSCURRENT").await;
    let guest = admitted(async || world.server.connect(&user, &password.as_str().into(), "postgres").await).await;
    let token = fails(&world, &secret, "too-many-connections").await;
    drop(guest);
    world.sql("ALTER ROLE app CONNECTION LIMIT -1").await;
    converges(&world, &secret, &token).await;
}

#[tokio::test]
async fn a_server_that_shuts_down_is_not_ready() {
    let world = World::start().await;
    let arn = world.user("app").await.arn;
    // A smart shutdown waits for this client, and refuses new ones.
    let guest = world.server.connect_superuser().await.unwrap();
    let pid_file = fs::read_to_string(world.server.data_dir().join("postmaster.pid")).unwrap();
    let pid = pid_file.lines().next().and_then(|line| Pid::from_raw(line.parse().ok()?)).unwrap();
    kill_process(pid, Signal::TERM).unwrap();
    while !world.server.log_text().unwrap().contains("smart shutdown") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let token = fails(&world, &world.known(&arn), "server-not-ready").await;
    drop(guest);
    world.server.down().unwrap();
    world.server.up().await.unwrap();
    converges(&world, &world.known(&arn), &token).await;
}

#[tokio::test]
async fn a_replica_is_named_and_serves_once_it_is_the_writer() {
    let primary = Postgres::start(Options::default()).await.unwrap();
    let password = Password::random();
    primary.create_user("app", &password).await.unwrap();
    let replica = Postgres::standby_of(&primary).await.unwrap();
    let world = World::around(replica, |function| function).await;
    let secret = world.secret(world.document("app", password.expose())).await;
    let token = fails(&world, &secret, "server-read-only").await;
    assert_eq!(world.ask("SELECT pg_promote()").await, ["t"]);
    converges(&world, &secret, &token).await;
}

// ---- not you

#[tokio::test]
async fn a_login_that_is_forbidden_is_told_from_a_wrong_password() {
    let world = World::with(Options::default().hba("hostssl all app 127.0.0.1/32 reject"), |function| function).await;
    let secret = world.user("app").await;
    let token = fails(&world, &secret, "login-forbidden").await;
    drop_hba_lines(&world, "hostssl all app").await;
    converges(&world, &secret, &token).await;
    world.sql("ALTER ROLE app NOLOGIN").await;
    let token = fails(&world, &secret, "login-forbidden").await;
    world.sql("ALTER ROLE app LOGIN").await;
    converges(&world, &secret, &token).await;
}

// ---- what the tests have in common

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

async fn plaintext_superuser(postgres: &Postgres) -> tokio_postgres::Client {
    let mut config = tokio_postgres::Config::new();
    config.host("127.0.0.1").port(postgres.port()).dbname("postgres").ssl_mode(SslMode::Disable);
    config.user(postgres.superuser()).password(postgres.superuser_password().expose());
    let (client, connection) = config.connect(NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn set_and_reload(root: &tokio_postgres::Client, setting: &str, value: &str) {
    root.batch_execute(&format!("ALTER SYSTEM SET {setting} = {value}")).await.unwrap();
    root.batch_execute("SELECT pg_reload_conf()").await.unwrap();
    // The server itself reloads before it tells its sessions to.
    let show = format!("SHOW {setting}");
    while root.query_one(&show, &[]).await.unwrap().get::<_, String>(0) != value {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Takes the lines that begin like this out of pg_hba.conf.
async fn drop_hba_lines(world: &World, start: &str) {
    let file = world.ask("SHOW hba_file").await.remove(0);
    let text = fs::read_to_string(&file).unwrap();
    let kept: Vec<&str> = text.lines().filter(|line| !line.starts_with(start)).collect();
    assert!(kept.len() < text.lines().count(), "no such line");
    fs::write(&file, kept.join("\n") + "\n").unwrap();
    let loaded = world.ask("SELECT pg_conf_load_time()").await;
    world.sql("SELECT pg_reload_conf()").await;
    while world.ask("SELECT pg_conf_load_time()").await == loaded {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
