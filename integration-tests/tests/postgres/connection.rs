//! The way to the server: whom the function trusts there, and how it answers when the server does not, or not yet, or not
//! as it should. Each failure has its code, says where it happened, comes in time and gives nothing away; with its cause
//! gone, the same rotation goes on to its end.

use integration_tests::failure::{converges, fails, fails_again, failure};
use integration_tests::network::{Tap, full_listener};
use integration_tests::{OVERTIME, World, admitted, function, merged, uuid};
use lab::Lab;
use lab::disturb::Fault;
use lab::lambda::StepError;
use lab::relay::Mode;
use lab::servers::Password;
use lab::servers::certificates::TestCa;
use lab::servers::postgres::{Options, Postgres, Tls};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use std::fs;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_postgres::NoTls;
use tokio_postgres::config::SslMode;

/// A message that asks for TLS (PostgreSQL manual, 55.7).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

// ---- whom to trust

#[tokio::test]
async fn tls_is_used_unless_the_secret_says_otherwise() {
    let options = Options::default().tls(Tls::Offered).setting("log_connections", "on");
    let world = World::with(options, |function| function).await;
    for (user, ssl, encrypted) in [
        ("unsaid", Value::Null, true),
        ("encrypted", json!(true), true),
        ("plaintext", json!(false), false),
        ("python", json!("False"), false),
    ] {
        let secret = world.user_with(user, json!({"ssl": ssl})).await;
        secret.rotated().await;
        let log = world.server.log_text().unwrap();
        let login = format!("connection authorized: user={user} database=postgres application_name=lockstep");
        let logins: Vec<&str> = log.lines().filter(|line| line.contains(&login)).collect();
        assert_eq!(logins.len(), 3, "{user}: {logins:?}");
        assert!(logins.iter().all(|line| line.contains("SSL enabled") == encrypted), "{user}: {logins:?}");
    }
}

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
async fn a_certificate_is_verified_and_what_is_wrong_with_it_is_said() {
    let (ca, namesake) = (TestCa::new("Lab CA").unwrap(), TestCa::new("Lab CA").unwrap());
    let good = ca.issue(&["localhost", "127.0.0.1"]).unwrap();
    let mut world = World::with(Options::default().certificate(good.clone()), |function| function).await;
    let arn = world.user("app").await.arn;
    for (bad, code) in [
        (TestCa::new("Other CA").unwrap().issue(&["localhost"]).unwrap(), "tls-unknown-issuer"),
        (namesake.issue(&["localhost"]).unwrap(), "tls-unknown-issuer"),
        (ca.issue_expired(&["localhost"]).unwrap(), "tls-certificate-expired"),
        (ca.issue(&["db.example.com"]).unwrap(), "tls-name-mismatch"),
    ] {
        world.server.present_certificate(bad).await.unwrap();
        let token = fails(&world, &world.known(&arn), code).await;
        world.server.present_certificate(good.clone()).await.unwrap();
        converges(&world, &world.known(&arn), &token).await;
    }

    world.server.present_certificate(ca.issue(&["db.example.com"]).unwrap()).await.unwrap();
    let secret = world.known(&arn);
    let named = merged(secret.at("AWSCURRENT").await, json!({"rotation": {"tlsServerName": "db.example.com"}}));
    secret.put(&named).await;
    secret.rotated().await;
    world.server.present_certificate(good).await.unwrap();
    let secret = world.known(&arn);
    assert!(secret.opens("AWSCURRENT").await);
    // The name is demanded, and not one more that would do.
    fails(&world, &secret, "tls-name-mismatch").await;
}

#[tokio::test]
async fn a_private_ca_is_trusted_wherever_it_is_named() {
    let postgres = Postgres::start(Options::default()).await.unwrap();
    let (ca, other) = (postgres.ca_pem().to_owned(), TestCa::new("Other CA").unwrap().pem().to_owned());
    let garbage = "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n".to_owned();
    let (no_pem, none) = ("S3cr3t and no PEM".to_owned(), String::new());
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("ca.pem"), &ca).unwrap();
    fs::write(path("other.pem"), &no_pem).unwrap();
    let both = format!("{other}{ca}");
    let ok = Ok::<(), (&str, &str)>(());
    let cases = [
        (&ca, &none, ok),
        (&path("ca.pem"), &none, ok),
        (&none, &ca, ok),
        (&other, &ca, ok),
        (&ca, &other, ok),
        (&both, &none, ok),
        (&none, &both, ok),
        (&none, &none, Err(("tls-unknown-issuer", "localhost"))),
        (&other, &none, Err(("tls-unknown-issuer", "localhost"))),
        (&none, &other, Err(("tls-unknown-issuer", "localhost"))),
        (&no_pem, &ca, Err(("ca-bundle-invalid", "field=\"CA_BUNDLE\""))),
        (&garbage, &none, Err(("ca-bundle-invalid", "field=\"CA_BUNDLE\""))),
        (&path("other.pem"), &none, Err(("ca-bundle-invalid", "field=\"CA_BUNDLE\""))),
        (&path("missing.pem"), &none, Err(("configuration-invalid", "field=\"CA_BUNDLE\""))),
        (&ca, &no_pem, Err(("ca-bundle-invalid", "field=\"rotation.caBundle\""))),
        (&ca, &garbage, Err(("ca-bundle-invalid", "field=\"rotation.caBundle\""))),
    ];
    for (number, (environment, own, expected)) in cases.into_iter().enumerate() {
        let lab = Lab::builder(function().await).env("CA_BUNDLE", environment).start().await.unwrap();
        let (user, password) = (format!("user{number}"), Password::random());
        postgres.create_user(&user, &password).await.unwrap();
        let own = if own.is_empty() { json!({}) } else { json!({"rotation": {"caBundle": own}}) };
        let document = json!({"engine": "postgres", "host": "localhost", "port": postgres.port(), "username": user,
            "password": password.expose()});
        let arn = lab.create_secret("app", &merged(document, own).to_string()).await.unwrap();
        let report = lab.rotate(&arn).await.unwrap();
        match (expected, report.error()) {
            (Ok(()), None) => assert!(report.rotated(), "case {number}"),
            (Err((code, named)), Some(StepError { error_type, error_message })) => {
                assert_eq!(error_type, code, "case {number}: {error_message}");
                assert!(error_message.contains(named), "case {number}: {error_message}");
                assert!(!error_message.contains("S3cr3t"), "case {number}: {error_message}");
                assert!(postgres.can_login(&user, &password).await.unwrap(), "case {number}");
            }
            (expected, found) => panic!("case {number}: {expected:?}, {found:?}"),
        }
    }
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

// ---- no answer

#[tokio::test]
async fn a_server_that_is_down_refuses_connections() {
    let mut world = World::start().await;
    let port = world.server.port();
    let arn = world.user_with("app", json!({"port": port})).await.arn;
    world.server.down().unwrap();
    let token = fails(&world, &world.known(&arn), "connection-refused").await;
    world.server.up().await.unwrap();
    converges(&world, &world.known(&arn), &token).await;
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_named() {
    let world = World::start().await;
    // Reserved for names that do not exist (RFC 6761).
    let secret = world.user_with("app", json!({"host": "db.invalid"})).await;
    fails(&world, &secret, "host-unresolved").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"host": "localhost"}))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn every_wait_ends_before_the_step_does() {
    waits(Duration::from_secs(30)).await;
}

#[tokio::test]
async fn every_wait_ends_before_a_short_step_does() {
    waits(Duration::from_secs(3)).await;
}

/// All that can be waited for, at once: each ends by itself, with its name.
async fn waits(timeout: Duration) {
    let world = World::with(Options::default(), |function| function.timeout(timeout)).await;
    tokio::join!(silence(&world), dropped_syn(&world), lock_on_the_row(&world), own_lock(&world));
}

async fn silence(world: &World) {
    let secret = world.user("silent").await;
    world.relay.set(Mode::Silent).await.unwrap();
    let token = fails(world, &secret, "server-silent").await;
    world.relay.set(Mode::Forward).await.unwrap();
    converges(world, &secret, &token).await;
}

async fn dropped_syn(world: &World) {
    let (listener, guests) = full_listener().await;
    let port = listener.local_addr().unwrap().port();
    let secret = world.user_with("dropped", json!({"host": "127.0.0.1", "port": port})).await;
    let token = fails(world, &secret, "connect-timeout").await;
    drop(guests);
    let server = world.server.port();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(("127.0.0.1", server)).await.unwrap();
            tokio::spawn(async move { tokio::io::copy_bidirectional(&mut client, &mut server).await });
        }
    });
    converges(world, &secret, &token).await;
}

async fn lock_on_the_row(world: &World) {
    let secret = world.user_with("locked", json!({"port": world.server.port()})).await;
    let other = world.server.connect_superuser().await.unwrap();
    other.batch_execute("BEGIN; ALTER ROLE locked CONNECTION LIMIT 7").await.unwrap();
    let token = fails(world, &secret, "lock-timeout").await;
    other.batch_execute("ROLLBACK").await.unwrap();
    converges(world, &secret, &token).await;
}

/// Another rotation of the same user holds the function's own lock.
async fn own_lock(world: &World) {
    let secret = world.user_with("own", json!({"port": world.server.port()})).await;
    let other = world.server.connect_superuser().await.unwrap();
    // "Lock" in ASCII, and the user's name in FNV-1a.
    let key = "own".bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let lock = format!("BEGIN; SELECT pg_advisory_xact_lock({}, {})", 0x4C6F_636B, key.cast_signed());
    other.batch_execute(&lock).await.unwrap();
    let token = fails(world, &secret, "lock-timeout").await;
    other.batch_execute("COMMIT").await.unwrap();
    converges(world, &secret, &token).await;
}

#[tokio::test]
async fn a_server_that_is_slow_is_waited_for() {
    let world = World::with(Options::default(), |function| function.timeout(Duration::from_secs(5))).await;
    let secret = world.user("app").await;
    world.relay.set(Mode::Delay(Duration::from_millis(100))).await.unwrap();
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn silence_in_the_middle_ends_before_the_step_does() {
    let postgres = Arc::new(Postgres::start(Options::default()).await.unwrap());
    // The request for TLS; two or three of TLS and the user's name, two of SCRAM; the questions; the change.
    let stalled: Vec<_> = (0..7).map(|flight| tokio::spawn(stalled_at(Arc::clone(&postgres), flight))).collect();
    let mut phases = Vec::new();
    for stalled in stalled {
        phases.push(stalled.await.unwrap());
    }
    assert_eq!((phases.first(), phases.last()), (Some(&0), Some(&2)), "{phases:?}");
    assert!(phases.is_sorted(), "{phases:?}");
}

/// A rotation in which one flight of setSecret is on its way for longer than the function may wait. Returns where that was.
async fn stalled_at(postgres: Arc<Postgres>, flight: usize) -> usize {
    let lab = Lab::builder(function().await)
        .env("CA_BUNDLE", postgres.ca_pem())
        .timeout(Duration::from_secs(6))
        .overtime(OVERTIME)
        .start()
        .await
        .unwrap();
    let relay = lab.relay(postgres.port()).await.unwrap();
    let (user, password) = (format!("user{flight}"), Password::random());
    postgres.create_user(&user, &password).await.unwrap();
    let document = json!({"engine": "postgres", "host": "localhost", "port": relay.port(), "username": user,
        "password": password.expose()});
    let arn = lab.create_secret("app", &document.to_string()).await.unwrap();
    let token = uuid();
    let stall = Duration::from_secs(9);
    // createSecret makes four calls to Secrets Manager, and setSecret three before it turns to the database.
    lab.disturb().on_call(8 + flight, Fault::Delay(stall));
    let error = lab.rotate_to(&arn, &token).await.unwrap().error().expect("setSecret fails");
    assert_eq!(error.error_type, "server-silent", "flight {flight}: {}", error.error_message);
    assert!(error.error_message.contains(&format!("user=\"{user}\"")), "flight {flight}: {}", error.error_message);
    // What was on its way arrives long after the function has given up. If it was the change, it takes effect now; it is
    // the one that the next attempt would have made.
    tokio::time::sleep(stall).await;
    let report = lab.rotate_to(&arn, &token).await.unwrap();
    assert!(report.rotated(), "flight {flight}: {:?}", report.error());
    let value = lab.secret_value(&arn, "AWSCURRENT").await.unwrap();
    let password = serde_json::from_str::<Value>(&value).unwrap()["password"].as_str().unwrap().into();
    assert!(postgres.can_login(&user, &password).await.unwrap(), "flight {flight}");
    let phases = ["call=\"the request for TLS\"", "call=\"the login\"", "call=\"a statement\""];
    phases.iter().position(|phase| error.error_message.contains(phase)).expect("the phase is named")
}

#[tokio::test]
async fn a_connection_that_breaks_is_said_to_whatever_the_flight() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    secret.steps(&["createSecret"], &token).await;
    let mut cuts = 0;
    loop {
        world.relay.set(Mode::CutAfter(cuts)).await.unwrap();
        let Err(error) = secret.step("setSecret", &token).await else { break };
        assert_eq!(error.error_type, "connection-lost", "after {cuts} flights: {}", error.error_message);
        assert!(secret.opens("AWSCURRENT").await, "after {cuts} flights");
        cuts += 1;
    }
    // The request for TLS; two or three of TLS and the user's name, two of SCRAM; the questions; the change. The last one,
    // which only says good-bye, may get lost.
    assert!((7..=8).contains(&cuts), "{cuts}");
    world.relay.set(Mode::Forward).await.unwrap();
    secret.steps(&["testSecret", "finishSecret"], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
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
    let mut world = World::start().await;
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

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named() {
    let world = World::start().await;
    let secret = world.user_with("app", json!({"dbname": "shop"})).await;
    for (break_it, heal_it) in [
        ("SELECT 'it does not exist'", "CREATE DATABASE shop"),
        ("REVOKE CONNECT ON DATABASE shop FROM PUBLIC", "GRANT CONNECT ON DATABASE shop TO app"),
        ("ALTER DATABASE shop ALLOW_CONNECTIONS false", "ALTER DATABASE shop ALLOW_CONNECTIONS true"),
    ] {
        world.sql(break_it).await;
        let token = uuid();
        let error = failure(&world, &secret, &token, "database-unusable").await;
        assert!(error.error_message.contains("database=\"shop\""), "{}", error.error_message);
        world.sql(heal_it).await;
        converges(&world, &secret, &token).await;
    }
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
