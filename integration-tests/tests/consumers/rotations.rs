//! Single moments of a rotation, held still.

use integration_tests::{Server, World, world};
use lab::servers::postgres::{self, Postgres};
use lockstep_secret::aws_sdk_secretsmanager::config::{BehaviorVersion, Credentials, Region};
use lockstep_secret::aws_sdk_secretsmanager::{Client, Config};
use lockstep_secret::source::SecretsManager;
use lockstep_secret::{Builder, ConnectError, Label, RotatingSecret};
use std::time::{Duration, Instant};
use tokio_postgres::NoTls;

/// A PostgreSQL without TLS, so that a connection is one line.
async fn calm() -> World<Postgres> {
    world(postgres::Options::default().tls(lab::servers::Tls::Offered)).await
}

fn secret(world: &World<Postgres>, arn: &str) -> Builder {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .credentials_provider(Credentials::new("AKIA", "lab", None, None, "lab"))
        .endpoint_url(world.lab.url());
    RotatingSecret::builder(SecretsManager::new(Client::from_conf(config.build()), arn))
}

async fn connect(
    secret: &RotatingSecret,
    config: &tokio_postgres::Config,
) -> Result<(), ConnectError<tokio_postgres::Error>> {
    lockstep_secret::tokio_postgres::connect(secret, config, NoTls).await.map(drop)
}

fn config(world: &World<Postgres>) -> tokio_postgres::Config {
    let mut config = tokio_postgres::Config::new();
    config.host("localhost").port(world.server.port());
    config
}

/// Between setSecret and finishSecret, for as long as a person likes to look.
#[tokio::test]
async fn between_set_secret_and_finish_secret_the_pending_password_is_used() {
    let world = calm().await;
    let arn = world.user("app").await.arn;
    let secret = secret(&world, &arn).start().await.unwrap();
    let config = config(&world);
    connect(&secret, &config).await.expect("the first password works");
    let before = secret.current().unwrap().version_id().to_owned();
    let token = world.known(&arn).registered().await;
    world.known(&arn).steps(&["createSecret", "setSecret"], &token).await;
    connect(&secret, &config).await.expect("the pending password works");
    let snapshot = secret.current().unwrap();
    assert_eq!((snapshot.label(), snapshot.version_id()), (Label::Pending, token.as_str()));
    world.known(&arn).steps(&["testSecret", "finishSecret"], &token).await;
    connect(&secret, &config).await.expect("it works as the current one");
    assert_eq!(secret.refresh().await.unwrap().label(), Label::Current);
    let counts = secret.health().counts;
    assert_eq!((counts.refused_logins, counts.forced_fetches, counts.searches), (1, 3, 1), "{counts:?}");
    assert_ne!(before, token);
}

/// A password that a person has changed: nothing in the secret works.
#[tokio::test]
async fn a_password_that_the_secret_does_not_know_is_an_error_in_time() {
    let world = calm().await;
    let arn = world.user("app").await.arn;
    let secret = secret(&world, &arn).search_for(Duration::from_secs(3)).start().await.unwrap();
    world.server.set_password("app", "by hand").await;
    let began = Instant::now();
    let error = connect(&secret, &config(&world)).await.expect_err("nothing works");
    let ConnectError::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.tried.len(), 1, "{error}");
    assert!((3..6).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    let counts = secret.health().counts;
    assert!((2..=5).contains(&counts.refused_logins), "{counts:?}");
}

/// A server that is down says nothing about a password.
#[tokio::test]
async fn a_server_that_is_down_causes_no_search() {
    let world = calm().await;
    let arn = world.user("app").await.arn;
    let secret = secret(&world, &arn).start().await.unwrap();
    Server::down(&world.server);
    let error = connect(&secret, &config(&world)).await.expect_err("it is down");
    assert!(matches!(error, ConnectError::Failed(_)), "{error}");
    Server::up(&world.server).await;
    connect(&secret, &config(&world)).await.expect("it is up");
    let counts = secret.health().counts;
    assert_eq!((counts.refused_logins, counts.forced_fetches), (0, 0), "{counts:?}");
}
