//! What a superseded version still opens ends by hand: its credential with `retire`, its sessions with `endSessions`.

use integration_tests::{Options, STEPS, Secret, Server, Strategy, World, merged, world, world_with};
use lab::lambda::StepError;
use lab::servers::Password;
use lab::servers::mysql::MySql;
use lab::servers::postgres::Postgres;
use mysql_async::Conn;
use mysql_async::prelude::Queryable as _;
use serde_json::{Value, json};
use std::future::Future;
use tokio_postgres::Client;

on! { (postgres, mysql, mariadb):
    nothing_is_retired_without_consent;
    only_the_users_own_sessions_end;
    the_other_user_of_a_pair_ends_before_its_turn;
    sessions_end_only_after_their_credential;
    nothing_ends_before_the_current_credential_has_worked;
    a_rotation_under_way_keeps_its_password;
    a_version_of_a_strangers_user_is_not_retired;
}

/// A server with sessions of its users.
pub(super) trait Guests: Server {
    /// A session.
    type Guest: Send;

    /// Opens one.
    fn guest(&self, user: &str, password: &str) -> impl Future<Output = Self::Guest>;
    /// Whether it still answers.
    fn is_there(guest: &mut Self::Guest) -> impl Future<Output = bool>;
}

impl Guests for Postgres {
    type Guest = Client;

    async fn guest(&self, user: &str, password: &str) -> Client {
        self.connect(user, &Password::from(password), "postgres").await.expect("the password opens a session")
    }
    async fn is_there(guest: &mut Client) -> bool {
        guest.simple_query("SELECT 1").await.is_ok()
    }
}

impl Guests for MySql {
    type Guest = Conn;

    async fn guest(&self, user: &str, password: &str) -> Conn {
        self.connect(user, &Password::from(password), None).await.expect("the password opens a session")
    }
    async fn is_there(guest: &mut Conn) -> bool {
        guest.query_drop("SELECT 1").await.is_ok()
    }
}

async fn allowed<O: Options>(options: O) -> World<O::Server> {
    world_with(options, |function| function.env("ALLOW_RETIRE", "true")).await
}

/// The answer to a step by hand. Neither it nor the log may hold a password of the secret.
async fn asked<S: Server>(
    world: &World<S>,
    secret: &Secret<'_, S>,
    step: &str,
    version: Option<&str>,
) -> Result<Value, StepError> {
    let outcome = world.lab.invoke(&json!({"Step": step, "SecretId": secret.arn, "VersionId": version})).await;
    let answer = outcome.result();
    let said = format!("{answer:?}{}", String::from_utf8_lossy(&outcome.log));
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        if !secret.holders(label).await.is_empty() {
            assert!(!said.contains(&secret.credential(label).await.1), "a password is shown");
        }
    }
    answer
}

async fn nothing_is_retired_without_consent<O: Options>(options: O) {
    let world = world(options).await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    for step in ["retire", "endSessions"] {
        let error = asked(&world, &secret, step, None).await.expect_err("it is off");
        assert_eq!(error.error_type, "retire-off", "{error:?}");
        assert!(error.error_message.contains("AllowRetire"), "{error:?}");
    }
    assert!(secret.opens("AWSPREVIOUS").await);
}

/// The sessions of one user alone; others', the superuser's and those that are opened later stay.
async fn only_the_users_own_sessions_end<O: Options<Server: Guests>>(options: O) {
    let world = allowed(options).await;
    let server = &world.server;
    let strategy = server.strategies()[0];
    let (secret, other) = (world.user_of(strategy, "app").await, world.user_of(strategy, "App").await);
    let (_, leaked) = secret.credential("AWSCURRENT").await;
    let mut thiefs = [server.guest("app", &leaked).await, server.guest("app", &leaked).await];
    let mut others = server.guest("App", &other.credential("AWSCURRENT").await.1).await;
    let (superuser, password) = server.superuser();
    let mut superusers = server.guest(superuser, password.expose()).await;
    let leaked_version = secret.version("AWSCURRENT").await;
    secret.rotated().await;
    // On MySQL the password before still works, and ends here.
    let retired = asked(&world, &secret, "retire", Some(&leaked_version)).await.unwrap();
    let expected = if strategy == Strategy::DualPassword { "credential-ended" } else { "already-refused" };
    assert_eq!((&retired["outcome"], &retired["credential"]), (&json!(expected), &json!("rejected")), "{retired}");
    for thief in &mut thiefs {
        assert!(O::Server::is_there(thief).await, "a session survives its password");
    }

    let ended = asked(&world, &secret, "endSessions", Some(&leaked_version)).await.unwrap();
    assert_eq!((&ended["outcome"], &ended["sessionsEnded"]), (&json!("sessions-ended"), &json!(2)), "{ended}");
    assert_eq!(ended["sessionsLeft"], 0, "{ended}");
    for thief in &mut thiefs {
        assert!(!O::Server::is_there(thief).await, "the session has ended");
    }
    assert!(O::Server::is_there(&mut others).await, "another user's session");
    assert!(O::Server::is_there(&mut superusers).await, "the superuser's session");
    assert!(secret.opens("AWSCURRENT").await);
    let again = asked(&world, &secret, "endSessions", None).await.unwrap();
    assert_eq!(again["sessionsEnded"], 0, "{again}");
    secret.rotated().await;
}

async fn the_other_user_of_a_pair_ends_before_its_turn<O: Options<Server: Guests>>(options: O) {
    let world = allowed(options).await;
    let server = &world.server;
    let secret = world.alternating_user("app").await;
    // Both sides in turn: the base's password leaks, and then the clone's.
    for round in 0..3 {
        let (leaked_user, leaked) = secret.credential("AWSCURRENT").await;
        let mut thief = server.guest(&leaked_user, &leaked).await;
        secret.rotated().await;
        let (user, password) = secret.credential("AWSCURRENT").await;
        let mut consumer = server.guest(&user, &password).await;
        assert!(secret.opens("AWSPREVIOUS").await);
        let retired = asked(&world, &secret, "retire", None).await.unwrap();
        assert_eq!(retired["outcome"], "credential-ended", "{round}: {retired}");
        assert_eq!(retired["credential"], "rejected", "{round}: {retired}");
        assert!(!server.opens(&leaked_user, &leaked).await);
        assert!(secret.opens("AWSCURRENT").await);
        let ended = asked(&world, &secret, "endSessions", None).await.unwrap();
        assert_eq!((&ended["sessionsEnded"], &ended["sessionsLeft"]), (&json!(1), &json!(0)), "{round}: {ended}");
        assert!(!O::Server::is_there(&mut thief).await && O::Server::is_there(&mut consumer).await, "{round}");
        let again = asked(&world, &secret, "retire", None).await.unwrap();
        assert_eq!(again["outcome"], "already-refused", "{round}: {again}");
    }
    // The next rotation sets the password again.
    let token = secret.rotated().await.token;
    secret.arrived(&token).await;
}

async fn sessions_end_only_after_their_credential<O: Options<Server: Guests>>(options: O) {
    let world = allowed(options).await;
    let secret = world.alternating_user("app").await;
    let (user, leaked) = secret.credential("AWSCURRENT").await;
    let mut thief = world.server.guest(&user, &leaked).await;
    secret.rotated().await;
    let error = asked(&world, &secret, "endSessions", None).await.expect_err("it works");
    assert_eq!(error.error_type, "retire-refused", "{error:?}");
    assert!(O::Server::is_there(&mut thief).await);
}

async fn nothing_ends_before_the_current_credential_has_worked<O: Options<Server: Guests>>(options: O) {
    let world = allowed(options).await;
    let secret = world.alternating_user("app").await;
    let (old_user, old) = secret.credential("AWSCURRENT").await;
    secret.rotated().await;
    let (user, password) = secret.credential("AWSCURRENT").await;
    let mut consumer = world.server.guest(&old_user, &old).await;
    // Somebody has changed the password of AWSCURRENT by hand: AWSPREVIOUS is all that works.
    world.server.set_password(&user, "A-passw0rd-by-hand!").await;
    for step in ["retire", "endSessions"] {
        let error = asked(&world, &secret, step, None).await.expect_err("AWSCURRENT is refused");
        assert_eq!(error.error_type, "current-rejected", "{error:?}");
    }
    assert!(secret.opens("AWSPREVIOUS").await && O::Server::is_there(&mut consumer).await);
    // The current one itself is never ended.
    world.server.set_password(&user, &password).await;
    let current = secret.version("AWSCURRENT").await;
    let error = asked(&world, &secret, "retire", Some(&current)).await.expect_err("it is AWSCURRENT");
    assert_eq!(error.error_type, "retire-refused", "{error:?}");
    assert!(secret.opens("AWSCURRENT").await);
}

/// AWSPENDING has the partner's next password, which must not be replaced.
async fn a_rotation_under_way_keeps_its_password<O: Options>(options: O) {
    let world = allowed(options).await;
    let secret = world.alternating_user("app").await;
    secret.rotated().await;
    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    for step in ["retire", "endSessions"] {
        let error = asked(&world, &secret, step, None).await.expect_err("a rotation is under way");
        assert_eq!(error.error_type, "retire-refused", "{error:?}");
    }
    assert!(secret.opens("AWSPENDING").await && secret.opens("AWSCURRENT").await);
    secret.steps(&STEPS[2..], &token).await;
    secret.arrived(&token).await;
}

/// The writer of a secret names another application's user in a version, whose password they know.
async fn a_version_of_a_strangers_user_is_not_retired<O: Options<Server: Guests>>(options: O) {
    let world = allowed(options).await;
    let password = Password::random();
    world.server.create_user("billing", &password).await;
    let mut stranger = world.server.guest("billing", password.expose()).await;
    for strategy in world.server.strategies() {
        let secret = world.user_of(strategy, &format!("app{}", u8::from(strategy == Strategy::AlternatingUsers))).await;
        let own = secret.at("AWSCURRENT").await;
        secret.put(&merged(own.clone(), json!({"username": "billing", "password": password.expose()}))).await;
        secret.put(&own).await;
        for step in ["retire", "endSessions"] {
            let error = asked(&world, &secret, step, None).await.expect_err("it is another's user");
            assert_eq!(error.error_type, "pending-mismatch", "{strategy:?} {step}: {error:?}");
        }
    }
    assert!(O::Server::is_there(&mut stranger).await, "the stranger's session");
    assert!(world.server.opens("billing", password.expose()).await, "the stranger's password");
}
