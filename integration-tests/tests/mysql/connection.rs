//! The way to the server: whom the function trusts there, and how it answers when the server does not, or not yet, or not
//! as it should. Each failure has its code, says where it happened, comes in time and gives nothing away; with its cause
//! gone, the same rotation goes on to its end.

use integration_tests::failure::{converges, fails, failure};
use integration_tests::network::{Tap, full_listener};
use integration_tests::{OVERTIME, STEPS, Server as _, World, admitted, merged, uuid};
use lab::Lab;
use lab::disturb::Fault;
use lab::lambda::StepError;
use lab::relay::Mode;
use lab::servers::certificates::TestCa;
use lab::servers::mysql::{Kind, MySql, Options};
use lab::servers::{Password, Tls};
use serde_json::{Value, json};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

const KINDS: [Kind; 2] = [Kind::MySql, Kind::MariaDb];

fn options(kind: Kind) -> Options {
    Options::default().kind(kind)
}

async fn world(options: Options) -> World<MySql> {
    World::mysql_with(options, |function| function).await
}

// ---- whom to trust

#[tokio::test]
async fn tls_is_used_unless_the_secret_says_otherwise() {
    for kind in KINDS {
        let world = world(options(kind).tls(Tls::Offered).log_statements()).await;
        for (user, ssl, encrypted) in [
            ("unsaid", Value::Null, true),
            ("encrypted", json!(true), true),
            ("plaintext", json!(false), false),
            ("python", json!("False"), false),
        ] {
            let secret = world.user_with(user, json!({"ssl": ssl})).await;
            if encrypted || kind == Kind::MariaDb {
                secret.rotated().await;
            } else {
                // What MySQL lets a user do carries the password as it is.
                fails(&world, &secret, "tls-required").await;
            }
            let log = world.server.log_text().unwrap();
            let logins: Vec<&str> = log.lines().filter(|line| line.contains(&format!("{user}@"))).collect();
            let logins: Vec<&&str> = logins.iter().filter(|line| line.contains(" using ")).collect();
            assert!(!logins.is_empty(), "{kind}, {user}: no login is logged");
            assert!(logins.iter().all(|line| line.contains("SSL/TLS") == encrypted), "{kind}, {user}: {logins:?}");
            assert!(secret.opens("AWSCURRENT").await);
        }
    }
}

#[tokio::test]
async fn a_server_without_tls_is_told_nothing() {
    for kind in KINDS {
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
}

#[tokio::test]
async fn a_certificate_is_verified_and_what_is_wrong_with_it_is_said() {
    let (ca, namesake) = (TestCa::new("Lab CA").unwrap(), TestCa::new("Lab CA").unwrap());
    let stranger = TestCa::new("ISRG Root X1").unwrap();
    let cases = [
        (ca.issue(&["localhost"]).unwrap(), None, json!({})),
        (
            stranger.issue(&["localhost"]).unwrap(),
            Some("tls-unknown-issuer"),
            json!({"rotation": {"caBundle": stranger.pem()}}),
        ),
        (
            namesake.issue(&["localhost"]).unwrap(),
            Some("tls-unknown-issuer"),
            json!({"rotation": {"caBundle": namesake.pem()}}),
        ),
        (ca.issue_expired(&["localhost"]).unwrap(), Some("tls-certificate-expired"), Value::Null),
        (
            ca.issue(&["db.example.com"]).unwrap(),
            Some("tls-name-mismatch"),
            json!({"rotation": {"tlsServerName": "db.example.com"}}),
        ),
        // The name is demanded, and not one more that would do.
        (ca.issue(&["localhost"]).unwrap(), Some("tls-name-mismatch"), json!({})),
    ];
    let last = cases.len() - 1;
    for (number, (certificate, code, healed)) in cases.into_iter().enumerate() {
        let kind = KINDS[number % 2];
        let options = options(kind).certificate(certificate);
        let world = World::mysql_with(options, |function| function.env("CA_BUNDLE", ca.pem())).await;
        // The lab itself cannot log in where a certificate is bad, to make a user.
        let secret = world.superuser().await;
        if number == last {
            let named = json!({"rotation": {"tlsServerName": "db.example.com"}});
            secret.put(&merged(secret.at("AWSCURRENT").await, named)).await;
        }
        if let Some(code) = code {
            fails(&world, &secret, code).await;
        }
        if !healed.is_null() {
            let fields = merged(json!({"rotation": null}), healed);
            secret.put(&merged(secret.at("AWSCURRENT").await, fields)).await;
            secret.rotated().await;
        }
    }
}

#[tokio::test]
async fn a_private_ca_is_trusted_wherever_it_is_named() {
    let server = MySql::start(Options::default()).await.unwrap();
    let (ca, other) = (server.ca_pem().to_owned(), TestCa::new("Other CA").unwrap().pem().to_owned());
    let (no_pem, none) = ("S3cr3t and no PEM".to_owned(), String::new());
    let both = format!("{other}{ca}");
    let ok = Ok::<(), (&str, &str)>(());
    let cases = [
        (&ca, &none, ok),
        (&none, &ca, ok),
        (&other, &ca, ok),
        (&ca, &other, ok),
        (&both, &none, ok),
        (&none, &both, ok),
        (&none, &none, Err(("tls-unknown-issuer", "localhost"))),
        (&other, &none, Err(("tls-unknown-issuer", "localhost"))),
        (&none, &other, Err(("tls-unknown-issuer", "localhost"))),
        (&no_pem, &ca, Err(("ca-bundle-invalid", "field=\"CA_BUNDLE\""))),
        (&ca, &no_pem, Err(("ca-bundle-invalid", "field=\"rotation.caBundle\""))),
    ];
    for (number, (environment, own, expected)) in cases.into_iter().enumerate() {
        let lab = Lab::builder(MySql::function().await).env("CA_BUNDLE", environment).start().await.unwrap();
        let (user, password) = (format!("user{number}"), Password::random());
        server.create_user(&user, &password).await.unwrap();
        let own = if own.is_empty() { json!({}) } else { json!({"rotation": {"caBundle": own}}) };
        let document = json!({"engine": "mysql", "host": "localhost", "port": server.port(), "username": user,
            "password": password.expose()});
        let arn = lab.create_secret("app", &merged(document, own).to_string()).await.unwrap();
        let report = lab.rotate(&arn).await.unwrap();
        match (expected, report.error()) {
            (Ok(()), None) => assert!(report.rotated(), "case {number}"),
            (Err((code, named)), Some(StepError { error_type, error_message })) => {
                assert_eq!(error_type, code, "case {number}: {error_message}");
                assert!(error_message.contains(named), "case {number}: {error_message}");
                assert!(!error_message.contains("S3cr3t"), "case {number}: {error_message}");
                assert!(server.can_login(&user, &password).await.unwrap(), "case {number}");
            }
            (expected, found) => panic!("case {number}: {expected:?}, {found:?}"),
        }
    }
}

#[tokio::test]
async fn a_server_that_insists_on_tls_is_told_from_a_wrong_password_as_far_as_it_tells() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = world.user_with("app", json!({"ssl": false})).await;
        match kind {
            Kind::MySql => drop(fails(&world, &secret, "tls-required").await),
            // MariaDB says only that the login is refused.
            Kind::MariaDb => {
                let error = failure(&world, &secret, &uuid(), "locked-out").await;
                assert!(error.error_message.contains("ssl\\\": false"), "{}", error.error_message);
            }
        }
        secret.put(&merged(secret.at("AWSCURRENT").await, json!({"ssl": null}))).await;
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

/// The servers say no more than that the login is refused.
#[tokio::test]
async fn an_account_that_wants_a_clients_certificate_is_guessed() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = world.user("app").await;
        world.sql("ALTER USER app REQUIRE X509").await;
        let token = uuid();
        let error = failure(&world, &secret, &token, "locked-out").await;
        assert!(error.error_message.contains("client's certificate"), "{}", error.error_message);
        world.sql("ALTER USER app REQUIRE NONE").await;
        converges(&world, &secret, &token).await;
    }
}

// ---- no answer

#[tokio::test]
async fn a_server_that_is_down_refuses_connections() {
    for kind in KINDS {
        let mut world = World::of(kind).await;
        let port = world.server.port();
        let arn = world.user_with("app", json!({"port": port})).await.arn;
        world.server.down().unwrap();
        let token = fails(&world, &world.known(&arn), "connection-refused").await;
        world.server.up().await.unwrap();
        converges(&world, &world.known(&arn), &token).await;
    }
}

#[tokio::test]
async fn a_host_that_does_not_resolve_is_named() {
    let world = World::mysql().await;
    // Reserved for names that do not exist (RFC 6761).
    let secret = world.user_with("app", json!({"host": "db.invalid"})).await;
    fails(&world, &secret, "host-unresolved").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"host": "localhost"}))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

#[tokio::test]
async fn every_wait_ends_before_the_step_does() {
    tokio::join!(waits(Kind::MySql, Duration::from_secs(30)), waits(Kind::MariaDb, Duration::from_secs(30)));
}

#[tokio::test]
async fn every_wait_ends_before_a_short_step_does() {
    for kind in KINDS {
        waits(kind, Duration::from_secs(3)).await;
    }
}

/// All that can be waited for, at once: each ends by itself, with its name. A lock on the grant tables stands in everybody's
/// way, so it is on a server of its own.
async fn waits(kind: Kind, timeout: Duration) {
    let world = async || World::mysql_with(options(kind), |function| function.timeout(timeout)).await;
    let (one, other) = (world().await, world().await);
    let network = async { tokio::join!(silence(&one), dropped_syn(&one), own_lock(&one)) };
    tokio::join!(network, lock_on_the_grant_tables(&other));
}

async fn silence(world: &World<MySql>) {
    let secret = world.user("silent").await;
    world.relay.set(Mode::Silent).await.unwrap();
    let token = fails(world, &secret, "server-silent").await;
    world.relay.set(Mode::Forward).await.unwrap();
    converges(world, &secret, &token).await;
}

async fn dropped_syn(world: &World<MySql>) {
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

async fn lock_on_the_grant_tables(world: &World<MySql>) {
    let secret = world.user_with("locked", json!({"port": world.server.port()})).await;
    let (lock, code) = match world.server.kind() {
        // To look is enough.
        Kind::MySql => ("BEGIN; SHOW CREATE USER locked", "lock-timeout"),
        // This wait heeds no limit for locks.
        Kind::MariaDb => ("FLUSH TABLES WITH READ LOCK", "statement-timeout"),
    };
    let token = while_held(world, lock, fails(world, &secret, code)).await;
    converges(world, &secret, &token).await;
}

/// Another rotation of the same user holds the function's own lock.
async fn own_lock(world: &World<MySql>) {
    let secret = world.user_with("own", json!({"port": world.server.port()})).await;
    // The user's name in 64-bit FNV-1a.
    let hash = "own"
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    let lock = format!("DO GET_LOCK('lockstep.{hash:016x}', 0)");
    let token = while_held(world, &lock, fails(world, &secret, "lock-timeout")).await;
    converges(world, &secret, &token).await;
}

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
    let token = while_held(&world, "LOCK TABLES mysql.global_priv READ", work).await;
    converges(&world, &secret, &token).await;
}

/// Does `work` while a session sleeps that has executed these statements.
async fn while_held<T>(world: &World<MySql>, statements: &str, work: impl Future<Output = T>) -> T {
    let sleeping = "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO = 'DO SLEEP(120)'";
    let held = format!("{statements}; DO SLEEP(120)");
    let work = async {
        let session = loop {
            if let [session] = world.ask(sleeping).await.as_slice() {
                break session.clone();
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        let done = work.await;
        world.sql(&format!("KILL {session}")).await;
        done
    };
    // The session ends with an error, being killed.
    tokio::join!(world.server.sql(&held), work).1
}

#[tokio::test]
async fn a_server_that_is_slow_is_waited_for() {
    for kind in KINDS {
        let world = World::mysql_with(options(kind), |function| function.timeout(Duration::from_secs(5))).await;
        let secret = world.user("app").await;
        world.relay.set(Mode::Delay(Duration::from_millis(100))).await.unwrap();
        secret.rotated().await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

#[tokio::test]
async fn silence_in_the_middle_ends_before_the_step_does() {
    for kind in KINDS {
        let server = Arc::new(MySql::start(options(kind)).await.unwrap());
        // TLS, the login, and on MySQL the password; the questions; the change.
        let flights = if kind == Kind::MySql { 6 } else { 5 };
        let stalled: Vec<_> =
            (0..flights).map(|flight| tokio::spawn(stalled_at(Arc::clone(&server), flight))).collect();
        let mut phases = Vec::new();
        for stalled in stalled {
            phases.push(stalled.await.unwrap());
        }
        assert_eq!((phases.first(), phases.last()), (Some(&0), Some(&1)), "{kind}: {phases:?}");
        assert!(phases.is_sorted(), "{kind}: {phases:?}");
    }
}

/// A rotation in which one flight of setSecret is on its way for longer than the function may wait. Returns where that was.
async fn stalled_at(server: Arc<MySql>, flight: usize) -> usize {
    let builder = Lab::builder(MySql::function().await).env("CA_BUNDLE", server.ca_pem());
    let lab = builder.timeout(Duration::from_secs(6)).overtime(OVERTIME).start().await.unwrap();
    let relay = lab.relay(server.port()).await.unwrap();
    let (user, password) = (format!("user{flight}"), Password::random());
    server.create_user(&user, &password).await.unwrap();
    let document = json!({"host": "localhost", "port": relay.port(), "username": user, "password": password.expose()});
    let document = merged(document, server.fields());
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
    assert!(server.can_login(&user, &password).await.unwrap(), "flight {flight}");
    let phases = ["call=\"the login\"", "call=\"a statement\""];
    phases.iter().position(|phase| error.error_message.contains(phase)).expect("the phase is named")
}

#[tokio::test]
async fn a_connection_that_breaks_is_said_to_whatever_the_flight() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = match kind {
            Kind::MySql => world.dual_password_user("app").await,
            Kind::MariaDb => world.user("app").await,
        };
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
        // TLS, the login, and on MySQL the password; the questions; on MariaDB one more; the change. The last one, which
        // only says good-bye, may get lost.
        assert!((5..=7).contains(&cuts), "{kind}: {cuts}");
        world.relay.set(Mode::Forward).await.unwrap();
        secret.steps(&STEPS[2..], &token).await;
        assert!(secret.opens("AWSCURRENT").await);
    }
}

// ---- not now

#[tokio::test]
async fn a_server_without_a_free_slot_is_named() {
    for kind in KINDS {
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
}

#[tokio::test]
async fn an_account_without_a_free_slot_is_named() {
    for kind in KINDS {
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
}

#[tokio::test]
async fn a_server_that_is_read_only_is_named_and_serves_once_it_is_the_writer() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = world.user("app").await;
        world.server.set_read_only(true).await.unwrap();
        let token = fails(&world, &secret, "server-read-only").await;
        world.server.set_read_only(false).await.unwrap();
        converges(&world, &secret, &token).await;
    }
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
#[tokio::test]
async fn init_connect_does_no_harm_unless_it_fails() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = world.user("app").await;
        world.sql("SET GLOBAL init_connect = 'SET @greeted = 1, sql_mode = \"ANSI_QUOTES\"'").await;
        secret.rotated().await;
        world.sql("SET GLOBAL init_connect = 'SELECT * FROM nowhere.nothing'").await;
        let token = fails(&world, &secret, "connection-lost").await;
        world.sql("SET GLOBAL init_connect = ''").await;
        converges(&world, &secret, &token).await;
    }
}

// ---- not you

#[tokio::test]
async fn an_account_that_is_locked_or_expired_is_told_from_a_wrong_password() {
    for kind in KINDS {
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
}

/// Whoever is blocked for failed logins is not helped by more of them.
#[tokio::test]
async fn a_login_that_is_blocked_is_not_tried_again() {
    for kind in KINDS {
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

#[tokio::test]
async fn a_database_that_cannot_be_used_is_named() {
    for kind in KINDS {
        let world = World::of(kind).await;
        let secret = world.user_with("app", json!({"dbname": "shop"})).await;
        world.sql("GRANT SELECT ON `sho_`.* TO app").await;
        for (break_it, heal_it) in [
            ("DO 'it does not exist'", "CREATE DATABASE shop"),
            ("REVOKE SELECT ON `sho_`.* FROM app", "GRANT SELECT ON shop.* TO app"),
            (
                "DROP DATABASE shop; REVOKE SELECT ON shop.* FROM app",
                "CREATE DATABASE shop; GRANT SELECT ON shop.* TO app",
            ),
        ] {
            world.sql(break_it).await;
            let token = uuid();
            let error = failure(&world, &secret, &token, "database-unusable").await;
            assert!(error.error_message.contains("database=\"shop\""), "{}", error.error_message);
            world.sql(heal_it).await;
            converges(&world, &secret, &token).await;
        }
    }
}

// ---- what the tests have in common

async fn nobody_is_connected(world: &World<MySql>, user: &str) {
    let sessions = format!("SELECT 1 FROM information_schema.PROCESSLIST WHERE USER = '{user}'");
    while !admitted(async || world.server.rows(&sessions).await).await.is_empty() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
