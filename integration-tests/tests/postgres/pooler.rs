//! PgBouncer between applications, or the function, and the server.

use integration_tests::{Secret, World, merged};
use lab::servers::Password;
use lab::servers::pgbouncer::{Mode, Options, PgBouncer};
use lab::servers::postgres::Version;
use serde_json::{Value, json};
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::DbError;

/// After a login that the server has refused, PgBouncer answers with its error for a second here (`server_login_retry`).
const ATTEMPTS: usize = 30;
const POOLING: [Mode; 2] = [Mode::Session, Mode::Transaction];

/// An application reads the secret and connects through the pooler; the function connects to the server itself.
#[tokio::test(flavor = "multi_thread")]
async fn applications_of_a_pooler_are_refused_nothing_while_their_pair_rotates() {
    for mode in POOLING {
        let world = World::on(Version::V15).await;
        world.sql("GRANT CREATE ON SCHEMA public TO PUBLIC").await;
        let pooler = PgBouncer::start(Options::new(mode), &world.server).await.unwrap();
        let secret = world.alternating_user("app").await;
        // A client that stays connected, and knows nothing of rotations.
        let lasting = through(&pooler, &world, &secret, "AWSCURRENT").await.unwrap();
        for rotation in 0..4 {
            secret.rotated().await;
            for label in ["AWSCURRENT", "AWSPREVIOUS"] {
                // Two clients, one after the other, on one connection to the server.
                for client in 0..2 {
                    let session = through(&pooler, &world, &secret, label).await.unwrap();
                    let table = format!("CREATE TABLE made_{rotation}_{label}_{client} ()");
                    session.batch_execute(&table).await.unwrap();
                }
            }
            lasting.batch_execute("SELECT 1").await.unwrap();
        }
        let owners =
            world.ask("SELECT tableowner || count(*) FROM pg_tables WHERE tablename LIKE 'made%' GROUP BY tableowner");
        assert_eq!(owners.await, ["app16"], "{mode:?}");
    }
}

/// The pooler asks the server for the verifier at each login, so it knows a new password as soon as the server does.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_asks_for_verifiers_knows_a_single_users_new_password_at_once() {
    let world = World::on(Version::V15).await;
    let pooler = PgBouncer::start(Options::new(Mode::Session), &world.server).await.unwrap();
    let secret = world.user("app").await;
    for _ in 0..2 {
        drop(through(&pooler, &world, &secret, "AWSCURRENT").await.unwrap());
        secret.rotated().await;
        drop(through(&pooler, &world, &secret, "AWSCURRENT").await.unwrap());
        refused(&pooler, &world, &secret, "AWSPREVIOUS").await;
    }
}

/// A pooler with a list of verifiers has to be given the new one. Until then it refuses the new credential. The previous one of a pair
/// works on.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_verifiers_has_to_be_written_anew_after_each_rotation() {
    let world = World::on(Version::V15).await;
    let secret = world.alternating_user("app").await;
    let listed = |names: [&'static str; 2]| {
        let names = names.map(|name| format!("'{name}'")).join(", ");
        format!("SELECT rolpassword FROM pg_authid WHERE rolname IN ({names}) ORDER BY rolname")
    };
    let before = world.ask(&listed(["app", "app_clone"])).await;
    let options = Options::new(Mode::Session).users(&[("app", &before[0])]);
    let pooler = PgBouncer::start(options, &world.server).await.unwrap();
    secret.rotated().await;
    refused(&pooler, &world, &secret, "AWSCURRENT").await;
    drop(through(&pooler, &world, &secret, "AWSPREVIOUS").await.unwrap());

    let after = world.ask(&listed(["app", "app_clone"])).await;
    let options = Options::new(Mode::Session).users(&[("app", &after[0]), ("app_clone", &after[1])]);
    let pooler = PgBouncer::start(options, &world.server).await.unwrap();
    for label in ["AWSCURRENT", "AWSPREVIOUS"] {
        drop(through(&pooler, &world, &secret, label).await.unwrap());
    }
}

/// The function's lock and its changes are one transaction, so it needs no session of its own.
#[tokio::test(flavor = "multi_thread")]
async fn the_function_rotates_through_a_pooler_that_leaves_transactions_together() {
    for mode in POOLING {
        let world = World::on(Version::V15).await;
        let pooler = PgBouncer::start(Options::new(mode), &world.server).await.unwrap();
        let (single, pair) = pooled(&world, &pooler).await;
        for secret in [&single, &pair] {
            for _ in 0..3 {
                secret.rotated().await;
                drop(through(&pooler, &world, secret, "AWSCURRENT").await.unwrap());
            }
            // The lock holds here, too: the second of two runs at once finds what the first one did.
            let token = secret.registered().await;
            secret.steps(&["createSecret"], &token).await;
            let (one, other) = tokio::join!(secret.step("setSecret", &token), secret.step("setSecret", &token));
            assert!(one.is_ok() && other.is_ok(), "{mode:?}: {one:?} {other:?}");
            for step in ["testSecret", "finishSecret"] {
                // Of two runs at once, one may have the pooler log in with the password from before. Secrets Manager tries again.
                let mut done = false;
                for _ in 0..ATTEMPTS {
                    match secret.step(step, &token).await {
                        Ok(_) => done = true,
                        Err(error) => assert_eq!(error.error_type, "connection-lost", "{mode:?}: {error:?}"),
                    }
                    if done {
                        break;
                    }
                    tokio::time::sleep(Duration::from_millis(300)).await;
                }
                assert!(done, "{mode:?}: {step}");
            }
            drop(through(&pooler, &world, secret, "AWSCURRENT").await.unwrap());
        }
        let left = world.ask("SELECT count(*)::text FROM pg_locks WHERE locktype = 'advisory'").await;
        assert_eq!(left, ["0"], "{mode:?}: a lock outlived its rotation");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_that_takes_transactions_apart_is_named_before_anything_is_changed() {
    let world = World::on(Version::V15).await;
    let pooler = PgBouncer::start(Options::new(Mode::Statement), &world.server).await.unwrap();
    let (single, pair) = pooled(&world, &pooler).await;
    let verifiers = "SELECT rolname || coalesce(rolpassword, '') FROM pg_authid ORDER BY rolname";
    let before = world.ask(verifiers).await;
    for secret in [&single, &pair] {
        let error = secret.refused().await;
        assert_eq!(error.error_type, "pooler-unsuitable", "{error:?}");
        assert!(error.error_message.contains("`host`"), "{error:?}");
    }
    assert_eq!(world.ask(verifiers).await, before);
}

/// Secrets of a single user and of a pair whose host and port are the pooler's, and so are the superuser's.
async fn pooled<'a>(world: &'a World, pooler: &PgBouncer) -> (Secret<'a>, Secret<'a>) {
    let admin = Password::random();
    world.server.create_user("admin", &admin).await.unwrap();
    // A pooler should tell the verifier of no superuser, and ours does not.
    world.sql("ALTER ROLE admin CREATEROLE").await;
    let document = |user, password: &Password, more: Value| {
        merged(merged(world.document(user, password.expose()), json!({"port": pooler.port()})), more)
    };
    let superuser = world.secret(document("admin", &admin, json!({}))).await;
    let mut secrets = Vec::new();
    for (user, more) in [("alone", json!({})), ("paired", json!({"masterarn": superuser.arn}))] {
        let password = Password::random();
        world.server.create_user(user, &password).await.unwrap();
        secrets.push(world.secret(document(user, &password, more)).await);
    }
    let [single, pair] = secrets.try_into().unwrap_or_else(|_| unreachable!());
    (single, pair)
}

/// A session through the pooler with the credential of this label.
async fn through(
    pooler: &PgBouncer,
    world: &World,
    secret: &Secret<'_>,
    label: &str,
) -> Result<Client, tokio_postgres::Error> {
    let (user, password) = secret.credential(label).await;
    world.server.connect_through(pooler.port(), &user, &password.into()).await
}

/// PgBouncer 1.18 refuses a password with the SQLSTATE of all its errors.
async fn refused(pooler: &PgBouncer, world: &World, secret: &Secret<'_>, label: &str) {
    let error = through(pooler, world, secret, label).await.map(drop).unwrap_err();
    let refusal = error.as_db_error().map(DbError::message);
    assert_eq!(refusal, Some("SASL authentication failed"), "{error:?}");
}
