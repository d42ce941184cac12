//! What adapters do without a server. With servers, `cargo lab consumers` and `integration-tests` try them.

#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic, reason = "a test that panics fails")]

use lockstep_secret::http::{KeyHeader, SendError};
use lockstep_secret::source::File;
use lockstep_secret::{ConnectError, Error, RotatingSecret, ValueError};
use std::fs;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

async fn secret(path: &Path, value: &str) -> RotatingSecret {
    fs::write(path, value).unwrap();
    let pending = path.with_extension("pending");
    let builder = RotatingSecret::builder(File::new(path).pending(pending)).search_for(Duration::from_millis(300));
    builder.start().await.unwrap()
}

#[tokio::test]
async fn a_key_that_is_refused_is_replaced_and_the_last_answer_is_handed_on() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("key");
    let secret = secret(&path, r#"{"apiKey": "old"}"#).await;
    let accepts = Mutex::new("Bearer old");
    let sent = Mutex::new(Vec::new());
    let header = KeyHeader::bearer("apiKey");
    let ask = || {
        let send = |key: http::HeaderValue| {
            assert!(key.is_sensitive() && !format!("{key:?}").contains("old"), "{key:?}");
            sent.lock().unwrap().push(key.to_str().unwrap().to_owned());
            let status = if key == *accepts.lock().unwrap() { 200 } else { 401 };
            async move { Ok::<u16, std::io::Error>(status) }
        };
        header.send(&secret, send, |status| *status == 401)
    };
    assert_eq!(ask().await.unwrap(), 200);
    *accepts.lock().unwrap() = "Bearer new";
    fs::write(path.with_extension("pending"), r#"{"apiKey": "new"}"#).unwrap();
    assert_eq!(ask().await.unwrap(), 200);
    assert_eq!(*sent.lock().unwrap(), ["Bearer old", "Bearer old", "Bearer new"]);
    *accepts.lock().unwrap() = "none";
    let error = ask().await.unwrap_err();
    assert!(matches!(error.into_inner(), Some(SendError::Refused(401))));
}

#[tokio::test]
async fn a_client_that_fails_says_nothing_about_the_key() {
    let home = tempfile::tempdir().unwrap();
    let secret = secret(&home.path().join("key"), r#"{"apiKey": "k"}"#).await;
    let send = |_| async { Err::<u16, _>(std::io::Error::other("no network")) };
    let error = KeyHeader::bare("apiKey").send(&secret, send, |status| *status == 401).await.unwrap_err();
    assert!(matches!(error, ConnectError::Failed(SendError::Client(_))), "{error:?}");
    assert_eq!(secret.health().counts.forced_fetches, 0);
}

#[tokio::test]
async fn a_key_that_no_header_can_have_is_an_error_that_does_not_show_it() {
    let home = tempfile::tempdir().unwrap();
    let secret = secret(&home.path().join("key"), r#"{"apiKey": "hunter2\nX-Admin: yes"}"#).await;
    let send = |_| async { Ok::<u16, std::io::Error>(200) };
    let error = KeyHeader::bearer("apiKey").send(&secret, send, |status| *status == 401).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("hunter2"), "{error}");
    let ConnectError::Secret(Error::Value(ValueError::NotAHeader { key, .. })) = error else { panic!("{error}") };
    assert_eq!(key, "apiKey");
}

/// The pool's errors are the driver's, and the driver makes none for others.
#[tokio::test]
async fn deadpool_says_that_a_secret_cannot_be_used() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("database");
    let secret = secret(&path, r#"{"host": "127.0.0.1", "port": 1, "username": "app"}"#).await;
    let config = tokio_postgres::Config::new();
    let pool = lockstep_secret::deadpool_postgres::builder(&secret, config, tokio_postgres::NoTls).build().unwrap();
    let error = pool.get().await.unwrap_err();
    let deadpool_postgres::PoolError::Backend(error) = error else { panic!("{error}") };
    let text = format!("{error:?}");
    assert!(text.contains(lockstep_secret::deadpool_postgres::UNUSABLE), "{text}");
}

/// Host, port and database come from the secret where the configuration has none, and only there.
#[tokio::test]
async fn a_configuration_counts_more_than_the_secret() {
    let home = tempfile::tempdir().unwrap();
    let value = r#"{"host": "db", "port": 5433, "dbname": "shop", "username": "app", "password": "hunter2"}"#;
    let snapshot = secret(&home.path().join("database"), value).await.current().unwrap();
    let configured = |config: &tokio_postgres::Config| {
        let config = lockstep_secret::tokio_postgres::placed(config, &snapshot).unwrap();
        (format!("{:?}", config.get_hosts()), config.get_ports().to_vec(), config.get_dbname().map(str::to_owned))
    };
    let mut config = tokio_postgres::Config::new();
    assert_eq!(configured(&config), (r#"[Tcp("db")]"#.to_owned(), vec![5433], Some("shop".to_owned())));
    config.host("other").dbname("own");
    assert_eq!(configured(&config), (r#"[Tcp("other")]"#.to_owned(), vec![], Some("own".to_owned())));
}

/// Listens, and tells whether somebody connected. The connection is closed at once.
async fn door() -> (u16, tokio::task::JoinHandle<()>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    (port, tokio::spawn(async move { drop(listener.accept().await) }))
}

/// Whoever may write the secret must not send the application's connections elsewhere.
#[tokio::test]
async fn a_later_version_does_not_move_connections_to_another_server() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("database");
    let ((first, at_first), (second, at_second)) = (door().await, door().await);
    let value = |port: u16, user: &str| {
        format!(r#"{{"host": "127.0.0.1", "port": {port}, "username": "{user}", "password": "hunter2"}}"#)
    };
    let secret = secret(&path, &value(first, "app")).await;
    fs::write(&path, value(second, "other")).unwrap();
    assert_eq!(secret.refresh().await.unwrap().username(), Ok("other"));
    let connected =
        lockstep_secret::tokio_postgres::connect(&secret, &tokio_postgres::Config::new(), tokio_postgres::NoTls).await;
    assert!(matches!(connected.map(drop), Err(ConnectError::Failed(_))));
    tokio::time::timeout(Duration::from_secs(5), at_first).await.expect("it connects to the first").unwrap();
    assert!(!at_second.is_finished());
    at_second.abort();
}

#[tokio::test]
async fn a_secret_chooses_no_socket() {
    let home = tempfile::tempdir().unwrap();
    let value = r#"{"host": "/tmp", "username": "app", "password": "hunter2"}"#;
    let secret = secret(&home.path().join("database"), value).await;
    let config = tokio_postgres::Config::new();
    let error = lockstep_secret::tokio_postgres::connect(&secret, &config, tokio_postgres::NoTls).await.map(drop);
    assert!(matches!(error, Err(ConnectError::Secret(Error::Value(ValueError::NotAHost { .. })))), "{error:?}");
}

#[cfg(all(feature = "sqlx-postgres", feature = "sqlx-mysql", feature = "mysql-async"))]
#[tokio::test]
async fn options_that_are_made_from_a_secret_verify_the_server() {
    use sqlx::mysql::MySqlSslMode;
    use sqlx::postgres::PgSslMode;
    let home = tempfile::tempdir().unwrap();
    let value = r#"{"host": "db", "username": "app", "password": "hunter2"}"#;
    let snapshot = secret(&home.path().join("database"), value).await.current().unwrap();
    let postgres = lockstep_secret::sqlx::postgres_options(&snapshot).unwrap();
    assert!(matches!(postgres.get_ssl_mode(), PgSslMode::VerifyFull));
    let mysql = lockstep_secret::sqlx::mysql_options(&snapshot).unwrap();
    assert!(matches!(mysql.get_ssl_mode(), MySqlSslMode::VerifyIdentity));
    let options = mysql_async::Opts::from(lockstep_secret::mysql_async::options(&snapshot).unwrap());
    let tls = options.ssl_opts().expect("there is TLS");
    assert!(!tls.accept_invalid_certs() && !tls.skip_domain_validation());
}
