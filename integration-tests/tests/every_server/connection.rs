//! The way to the server: whom the function trusts there, and how it answers when the server does not, or not yet, or not
//! as it should. Each failure has its code, says where it happened, comes in time and gives nothing away; with its cause
//! gone, the same rotation goes on to its end.

use integration_tests::failure::{converges, fails, failure};
use integration_tests::network::full_listener;
use integration_tests::{OVERTIME, Options, STEPS, Server, World, merged, uuid, world, world_with};
use lab::Lab;
use lab::disturb::Fault;
use lab::lambda::StepError;
use lab::relay::Mode;
use lab::servers::certificates::{Certificate, TestCa};
use lab::servers::mysql::{Kind, MySql};
use lab::servers::postgres::Postgres;
use lab::servers::{Password, Tls};
use serde_json::{Value, json};
use std::fs;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;

on! { (postgres, mysql, mariadb):
    tls_is_used_unless_the_secret_says_otherwise;
    a_certificate_is_verified_and_what_is_wrong_with_it_is_said;
    a_private_ca_is_trusted_wherever_it_is_named;
    what_the_rotated_secret_trusts_does_not_count_for_a_superuser;
    a_server_that_is_down_refuses_connections;
    a_host_that_does_not_resolve_is_named;
    every_wait_ends_before_the_step_does;
    every_wait_ends_before_a_short_step_does;
    a_server_that_is_slow_is_waited_for;
    silence_in_the_middle_ends_before_the_step_does;
    a_connection_that_breaks_is_said_to_whatever_the_flight;
    a_database_that_cannot_be_used_is_named;
}

/// In what servers differ on the way to them.
pub trait Way: Server {
    /// What an error calls the phases of setSecret in which a server can fall silent, in their order.
    const PHASES: &'static [&'static str];

    /// How many flights the change of a password takes, itself included.
    fn flights(&self) -> usize;
    /// How long a flight takes if a login is just within three seconds, and what follows it is not.
    fn slow_flight(&self) -> Duration;
    /// After how many of its flights setSecret can be cut and fail.
    fn cuts(&self) -> RangeInclusive<usize>;
    /// The code with which a user is not rotated without TLS, if it is not.
    fn plaintext(&self) -> Option<&'static str>;
    /// For each login of the function as this user, whether it was encrypted, by the server's log.
    fn logins(&self, user: &str) -> Vec<bool>;
    /// Presents another certificate from now on.
    fn present(&mut self, certificate: Certificate) -> impl Future<Output = ()>;
    /// Statements with a lock that the change of this user waits for, and the code when that takes too long.
    fn lock_on_the_user(&self, user: &str) -> (String, &'static str);
    /// Statements with the lock that another rotation of this user would have.
    fn own_lock(user: &str) -> String;
    /// Does `work` while a session lives that has executed these statements.
    fn while_held<T>(&self, statements: &str, work: impl Future<Output = T>) -> impl Future<Output = T>;
    /// Statements that keep the user `app` from the database `shop`, each with one that lets it in again.
    fn shut_out() -> &'static [[&'static str; 2]];
}

// ---- whom to trust

async fn tls_is_used_unless_the_secret_says_otherwise<O: Options<Server: Way>>(options: O) {
    let world = world(options.tls(Tls::Offered).log_statements()).await;
    for (user, ssl, encrypted) in [
        ("unsaid", Value::Null, true),
        ("encrypted", json!(true), true),
        ("plaintext", json!(false), false),
        ("python", json!("False"), false),
    ] {
        let secret = world.user_with(user, json!({"ssl": ssl})).await;
        let mut expected = vec![encrypted; 3];
        match world.server.plaintext() {
            Some(code) if !encrypted => {
                fails(&world, &secret, code).await;
                expected.truncate(1);
            }
            _ => drop(secret.rotated().await),
        }
        assert_eq!(world.server.logins(user), expected, "{user}");
        assert!(secret.opens("AWSCURRENT").await);
    }
}

async fn a_certificate_is_verified_and_what_is_wrong_with_it_is_said<O: Options<Server: Way>>(options: O) {
    let (ca, namesake) = (TestCa::new("Lab CA").unwrap(), TestCa::new("Lab CA").unwrap());
    let good = ca.issue(&["localhost", "127.0.0.1"]).unwrap();
    let mut world = world(options.certificate(good.clone())).await;
    let arn = world.user("app").await.arn;
    for (bad, code) in [
        (TestCa::new("ISRG Root X1").unwrap().issue(&["localhost"]).unwrap(), "tls-unknown-issuer"),
        (namesake.issue(&["localhost"]).unwrap(), "tls-unknown-issuer"),
        (ca.issue_expired(&["localhost"]).unwrap(), "tls-certificate-expired"),
        (ca.issue(&["db.example.com"]).unwrap(), "tls-name-mismatch"),
    ] {
        world.server.present(bad).await;
        let token = fails(&world, &world.known(&arn), code).await;
        world.server.present(good.clone()).await;
        converges(&world, &world.known(&arn), &token).await;
    }

    world.server.present(ca.issue(&["db.example.com"]).unwrap()).await;
    let secret = world.known(&arn);
    let named = merged(secret.at("AWSCURRENT").await, json!({"rotation": {"tlsServerName": "db.example.com"}}));
    secret.put(&named).await;
    secret.rotated().await;
    world.server.present(good).await;
    let secret = world.known(&arn);
    assert!(secret.opens("AWSCURRENT").await);
    // The name is demanded, and not one more that would do.
    fails(&world, &secret, "tls-name-mismatch").await;
}

/// Whoever writes the rotated secret names its CA. For a superuser it does not count, whatever names the superuser's server.
async fn what_the_rotated_secret_trusts_does_not_count_for_a_superuser<O: Options>(options: O) {
    let server = O::Server::start(options).await;
    let ca = server.ca_pem().to_owned();
    let (name, password) = server.superuser();
    let with_server = merged(
        server.fields(),
        json!({"host": "localhost", "port": server.port(), "username": name, "password": password.expose()}),
    );
    let alone = json!({"username": name, "password": password.expose()});
    let with_ca = merged(with_server.clone(), json!({"rotation": {"caBundle": ca}}));
    let binds = with_server["engine"] == "postgres";
    let unproven = if binds { "tls-unknown-issuer" } else { "superuser-address-unproven" };
    for (number, (environment, superuser, expected)) in [
        ("", &alone, Some(unproven)),
        ("", &with_server, Some("tls-unknown-issuer")),
        ("", &with_ca, None),
        (ca.as_str(), &with_server, None),
        (ca.as_str(), &alone, (!binds).then_some(unproven)),
    ]
    .into_iter()
    .enumerate()
    {
        let lab = Lab::builder(O::Server::function().await).env("CA_BUNDLE", environment).start().await.unwrap();
        let superuser = lab.create_secret("superuser", &superuser.to_string()).await.unwrap();
        let user = format!("user{number}");
        let own = json!({"masterarn": superuser, "rotation": {"caBundle": ca}});
        let (arn, password) = user_of(&lab, &server, server.port(), &user, own).await;
        let error = lab.rotate(&arn).await.unwrap().error();
        assert_eq!(error.as_ref().map(|error| error.error_type.as_str()), expected, "case {number}: {error:?}");
        if let Some(error) = error.filter(|error| error.error_type == "tls-unknown-issuer") {
            for part in ["credential=\"superuser\"", "CA_BUNDLE", &superuser] {
                assert!(error.error_message.contains(part), "case {number}, {part}: {error:?}");
            }
        }
        assert!(server.opens(&user, password.expose()).await, "case {number}");
    }
}

async fn a_private_ca_is_trusted_wherever_it_is_named<O: Options>(options: O) {
    let server = O::Server::start(options).await;
    let (ca, other) = (server.ca_pem().to_owned(), TestCa::new("Other CA").unwrap().pem().to_owned());
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
        let lab = Lab::builder(O::Server::function().await).env("CA_BUNDLE", environment).start().await.unwrap();
        let own = if own.is_empty() { json!({}) } else { json!({"rotation": {"caBundle": own}}) };
        let user = format!("user{number}");
        let (arn, password) = user_of(&lab, &server, server.port(), &user, own).await;
        let report = lab.rotate(&arn).await.unwrap();
        match (expected, report.error()) {
            (Ok(()), None) => assert!(report.rotated(), "case {number}"),
            (Err((code, named)), Some(StepError { error_type, error_message })) => {
                assert_eq!(error_type, code, "case {number}: {error_message}");
                assert!(error_message.contains(named), "case {number}: {error_message}");
                assert!(!error_message.contains("S3cr3t"), "case {number}: {error_message}");
                assert!(server.opens(&user, password.expose()).await, "case {number}");
            }
            (expected, found) => panic!("case {number}: {expected:?}, {found:?}"),
        }
    }
}

// ---- no answer

async fn a_server_that_is_down_refuses_connections<O: Options>(options: O) {
    let world = world(options).await;
    let port = world.server.port();
    let arn = world.user_with("app", json!({"port": port})).await.arn;
    world.server.down();
    let token = fails(&world, &world.known(&arn), "connection-refused").await;
    world.server.up().await;
    converges(&world, &world.known(&arn), &token).await;
}

async fn a_host_that_does_not_resolve_is_named<O: Options>(options: O) {
    let world = world(options).await;
    // Reserved for names that do not exist (RFC 6761).
    let secret = world.user_with("app", json!({"host": "db.invalid"})).await;
    fails(&world, &secret, "host-unresolved").await;
    secret.put(&merged(secret.at("AWSCURRENT").await, json!({"host": "localhost"}))).await;
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

async fn every_wait_ends_before_the_step_does<O: Options<Server: Way>>(options: O) {
    waits(options, Duration::from_secs(30)).await;
}

async fn every_wait_ends_before_a_short_step_does<O: Options<Server: Way>>(options: O) {
    waits(options, Duration::from_secs(3)).await;
}

/// All that can be waited for, at once: each ends by itself, with its name. A lock on MySQL's grant tables stands in everybody's
/// way, so that is on a server of its own.
async fn waits<O: Options<Server: Way>>(options: O, timeout: Duration) {
    let world = async || world_with(options.clone(), |function| function.timeout(timeout)).await;
    let (one, other) = tokio::join!(world(), world());
    tokio::join!(silence(&one), dropped_syn(&one), own_lock(&one), lock_on_the_user(&other));
}

async fn silence<S: Server>(world: &World<S>) {
    let secret = world.user("silent").await;
    world.relay.set(Mode::Silent).await.unwrap();
    let token = fails(world, &secret, "server-silent").await;
    world.relay.set(Mode::Forward).await.unwrap();
    converges(world, &secret, &token).await;
}

async fn dropped_syn<S: Server>(world: &World<S>) {
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

async fn lock_on_the_user<S: Way>(world: &World<S>) {
    let secret = world.user_with("locked", json!({"port": world.server.port()})).await;
    let (lock, code) = world.server.lock_on_the_user("locked");
    let token = world.server.while_held(&lock, fails(world, &secret, code)).await;
    converges(world, &secret, &token).await;
}

/// Another rotation of the same user holds the function's own lock.
async fn own_lock<S: Way>(world: &World<S>) {
    let secret = world.user_with("own", json!({"port": world.server.port()})).await;
    let token = world.server.while_held(&S::own_lock("own"), fails(world, &secret, "lock-timeout")).await;
    converges(world, &secret, &token).await;
}

async fn a_server_that_is_slow_is_waited_for<O: Options>(options: O) {
    let world = world_with(options, |function| function.timeout(Duration::from_secs(5))).await;
    let secret = world.user("app").await;
    world.relay.set(Mode::Delay(Duration::from_millis(100))).await.unwrap();
    secret.rotated().await;
    assert!(secret.opens("AWSCURRENT").await);
}

async fn silence_in_the_middle_ends_before_the_step_does<O: Options<Server: Way>>(options: O) {
    let server = Arc::new(O::Server::start(options).await);
    let stalled: Vec<_> =
        (0..=server.flights()).map(|flight| tokio::spawn(stalled_at(Arc::clone(&server), flight))).collect();
    let mut phases = Vec::new();
    for stalled in stalled {
        phases.extend(stalled.await.unwrap());
    }
    assert_eq!((phases.first(), phases.last()), (Some(&0), Some(&(O::Server::PHASES.len() - 1))), "{phases:?}");
    assert!(phases.is_sorted(), "{phases:?}");
}

/// A rotation in which one flight of setSecret is on its way for longer than the function may wait. Returns in which phase; `None`
/// if the call was not a flight, but the one to Secrets Manager between them, which is sent again.
async fn stalled_at<S: Way>(server: Arc<S>, flight: usize) -> Option<usize> {
    let builder = Lab::builder(S::function().await).env("CA_BUNDLE", server.ca_pem());
    let lab = builder.timeout(Duration::from_secs(6)).overtime(OVERTIME).start().await.unwrap();
    let relay = lab.relay(server.port()).await.unwrap();
    let user = format!("user{flight}");
    let (arn, _) = user_of(&lab, &*server, relay.port(), &user, json!({})).await;
    let token = uuid();
    let stall = Duration::from_secs(9);
    // createSecret makes four calls to Secrets Manager, and setSecret three before it turns to the database.
    lab.disturb().on_call(8 + flight, Fault::Delay(stall));
    let report = lab.rotate_to(&arn, &token).await.unwrap();
    if lab.calls().iter().any(|call| call.fault.is_some() && call.operation == "DescribeSecret") {
        return None;
    }
    let error = report.error().expect("setSecret fails");
    assert_eq!(error.error_type, "server-silent", "flight {flight}: {}", error.error_message);
    assert!(error.error_message.contains(&format!("user=\"{user}\"")), "flight {flight}: {}", error.error_message);
    // What was on its way arrives long after the function has given up. If it was the change, it takes effect now; it is
    // the one that the next attempt would have made.
    tokio::time::sleep(stall).await;
    let report = lab.rotate_to(&arn, &token).await.unwrap();
    assert!(report.rotated(), "flight {flight}: {:?}", report.error());
    let value = lab.secret_value(&arn, "AWSCURRENT").await.unwrap();
    let value: Value = serde_json::from_str(&value).unwrap();
    assert!(server.opens(&user, value["password"].as_str().unwrap()).await, "flight {flight}");
    let named = |phase: &&str| error.error_message.contains(&format!("call={phase:?}"));
    Some(S::PHASES.iter().position(named).expect("the phase is named"))
}

async fn a_connection_that_breaks_is_said_to_whatever_the_flight<O: Options<Server: Way>>(options: O) {
    let world = world(options).await;
    let secret = world.user_of(world.server.strategies()[0], "app").await;
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
    assert!(world.server.cuts().contains(&cuts), "{cuts}");
    world.relay.set(Mode::Forward).await.unwrap();
    secret.steps(&STEPS[2..], &token).await;
    assert!(secret.opens("AWSCURRENT").await);
}

// ---- not you

async fn a_database_that_cannot_be_used_is_named<O: Options<Server: Way>>(options: O) {
    let world = world(options).await;
    let secret = world.user_with("app", json!({"dbname": "shop"})).await;
    for [shut_out, let_in] in O::Server::shut_out() {
        world.sql(shut_out).await;
        let token = uuid();
        let error = failure(&world, &secret, &token, "database-unusable").await;
        assert!(error.error_message.contains("database=\"shop\""), "{}", error.error_message);
        world.sql(let_in).await;
        converges(&world, &secret, &token).await;
    }
}

/// A user with a random password, and its secret with these fields in a lab.
async fn user_of<S: Server>(lab: &Lab, server: &S, port: u16, user: &str, more: Value) -> (String, Password) {
    let password = Password::random();
    server.create_user(user, &password).await;
    let document = json!({"host": "localhost", "port": port, "username": user, "password": password.expose()});
    let document = merged(merged(document, server.fields()), more);
    (lab.create_secret("app", &document.to_string()).await.unwrap(), password)
}

// ---- in what they differ

impl Way for Postgres {
    const PHASES: &'static [&'static str] = &["the request for TLS", "the login", "a statement"];

    /// The request for TLS; two or three of TLS and the user's name, two of SCRAM; the questions; the change.
    fn flights(&self) -> usize {
        7
    }
    fn slow_flight(&self) -> Duration {
        Duration::from_millis(350)
    }
    /// The last one, which only says good-bye, may get lost.
    fn cuts(&self) -> RangeInclusive<usize> {
        7..=8
    }
    fn plaintext(&self) -> Option<&'static str> {
        None
    }
    fn logins(&self, user: &str) -> Vec<bool> {
        let login = format!("connection authorized: user={user} database=postgres application_name=lockstep");
        let log = self.log();
        log.lines().filter(|line| line.contains(&login)).map(|line| line.contains("SSL enabled")).collect()
    }
    async fn present(&mut self, certificate: Certificate) {
        self.present_certificate(certificate).await.unwrap();
    }
    fn lock_on_the_user(&self, user: &str) -> (String, &'static str) {
        (format!("ALTER ROLE {user} CONNECTION LIMIT 7"), "lock-timeout")
    }
    /// "Lock" in ASCII, and the user's name in FNV-1a.
    fn own_lock(user: &str) -> String {
        let key = user.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        format!("SELECT pg_advisory_xact_lock({}, {})", 0x4C6F_636B, key.cast_signed())
    }
    async fn while_held<T>(&self, statements: &str, work: impl Future<Output = T>) -> T {
        let session = self.connect_superuser().await.unwrap();
        session.batch_execute(&format!("BEGIN; {statements}")).await.unwrap();
        let done = work.await;
        session.batch_execute("ROLLBACK").await.unwrap();
        done
    }
    fn shut_out() -> &'static [[&'static str; 2]] {
        &[
            ["SELECT 'it does not exist'", "CREATE DATABASE shop"],
            ["REVOKE CONNECT ON DATABASE shop FROM PUBLIC", "GRANT CONNECT ON DATABASE shop TO app"],
            ["ALTER DATABASE shop ALLOW_CONNECTIONS false", "ALTER DATABASE shop ALLOW_CONNECTIONS true"],
        ]
    }
}

impl Way for MySql {
    const PHASES: &'static [&'static str] = &["the login", "a statement"];

    /// TLS, the login, and on MySQL the password; the questions; the change.
    fn flights(&self) -> usize {
        match self.kind() {
            Kind::MySql => 6,
            Kind::MariaDb => 5,
        }
    }
    fn slow_flight(&self) -> Duration {
        match self.kind() {
            Kind::MySql => Duration::from_millis(500),
            Kind::MariaDb => Duration::from_millis(900),
        }
    }
    /// On MariaDB one question more. The last one, which only says good-bye, may get lost.
    fn cuts(&self) -> RangeInclusive<usize> {
        5..=7
    }
    /// What MySQL lets a user do carries the password as it is.
    fn plaintext(&self) -> Option<&'static str> {
        (self.kind() == Kind::MySql).then_some("tls-required")
    }
    fn logins(&self, user: &str) -> Vec<bool> {
        let log = self.log();
        let logins = log.lines().filter(|line| line.contains(&format!("{user}@")) && line.contains(" using "));
        logins.map(|line| line.contains("SSL/TLS")).collect()
    }
    async fn present(&mut self, certificate: Certificate) {
        self.present_certificate(certificate).await.unwrap();
    }
    fn lock_on_the_user(&self, user: &str) -> (String, &'static str) {
        match self.kind() {
            // To look is enough.
            Kind::MySql => (format!("BEGIN; SHOW CREATE USER {user}"), "lock-timeout"),
            // This wait heeds no limit for locks.
            Kind::MariaDb => ("FLUSH TABLES WITH READ LOCK".to_owned(), "statement-timeout"),
        }
    }
    /// The user's name in 64-bit FNV-1a.
    fn own_lock(user: &str) -> String {
        let start = 0xCBF2_9CE4_8422_2325_u64;
        let hash = user.bytes().fold(start, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
        format!("DO GET_LOCK('lockstep.{hash:016x}', 0)")
    }
    async fn while_held<T>(&self, statements: &str, work: impl Future<Output = T>) -> T {
        crate::mysql::while_held(self, statements, work).await
    }
    fn shut_out() -> &'static [[&'static str; 2]] {
        &[
            ["GRANT SELECT ON `sho_`.* TO app; DO 'it does not exist'", "CREATE DATABASE shop"],
            ["REVOKE SELECT ON `sho_`.* FROM app", "GRANT SELECT ON shop.* TO app"],
            [
                "DROP DATABASE shop; REVOKE SELECT ON shop.* FROM app",
                "CREATE DATABASE shop; GRANT SELECT ON shop.* TO app",
            ],
        ]
    }
}
