//! Connections of `tokio-postgres`.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::source::SecretsManager;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/database").await).start().await?;
//! let config = tokio_postgres::Config::new(); // host, port and database are in the secret
//! let (client, connection) = lockstep_secret::tokio_postgres::connect(&secret, &config, tokio_postgres::NoTls).await?;
//! tokio::spawn(connection);
//! client.simple_query("SELECT 1").await?;
//! # Ok(()) }
//! ```

use crate::error::ConnectError;
use crate::place::Place;
use crate::secret::{Attempt, RotatingSecret};
use crate::snapshot::Snapshot;
use crate::value::ValueError;
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{Client, Config, Connection, Error, Socket};

/// Connects with the version that works, as [`RotatingSecret::connect_with`] finds it.
///
/// User and password come from the secret. Host, port and database come from it, too, where `config` has none: from the version that this
/// process read first. A later version changes user and password only. Otherwise whoever may write the secret could send the
/// application's connections elsewhere. If the server moves, start the application anew.
///
/// Use a connector for TLS, and [`SslMode::Require`](tokio_postgres::config::SslMode::Require): the driver's own mode goes on in clear text
/// with whoever says that there is no TLS.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect<T>(
    secret: &RotatingSecret,
    config: &Config,
    tls: T,
) -> Result<(Client, Connection<Socket, T::Stream>), ConnectError<Error>>
where
    T: MakeTlsConnect<Socket> + Clone,
{
    connect_and_tell(secret, config, tls).await.map(|(client, connection, _)| (client, connection))
}

/// The same, and tells with which version.
pub(crate) async fn connect_and_tell<T>(
    secret: &RotatingSecret,
    config: &Config,
    tls: T,
) -> Result<(Client, Connection<Socket, T::Stream>, Snapshot), ConnectError<Error>>
where
    T: MakeTlsConnect<Socket> + Clone,
{
    let config = &filled(config, &secret.shared().place).map_err(|error| ConnectError::Secret(error.into()))?;
    let attempt = |snapshot: Snapshot| {
        let tls = tls.clone();
        async move {
            let (client, connection) = configured(config, &snapshot)?.connect(tls).await.map_err(attempted)?;
            Ok((client, connection, snapshot))
        }
    };
    secret.attempt_with(attempt).await
}

/// The configuration with the user and the password of a version.
///
/// # Errors
/// The version has no user or no password.
pub fn configured(config: &Config, snapshot: &Snapshot) -> Result<Config, ValueError> {
    let mut config = config.clone();
    config.user(snapshot.username()?).password(snapshot.password()?);
    Ok(config)
}

/// The configuration with host, port and database of a version, where it has none of its own.
///
/// # Errors
/// Neither has a host, or the version's host is the path of a socket.
pub fn placed(config: &Config, snapshot: &Snapshot) -> Result<Config, ValueError> {
    filled(config, &Place::of(snapshot))
}

fn filled(config: &Config, place: &Place) -> Result<Config, ValueError> {
    let mut config = config.clone();
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        config.host(place.host.clone()?);
        if let (true, Some(port)) = (config.get_ports().is_empty(), place.port) {
            config.port(port);
        }
    }
    if let (None, Some(name)) = (config.get_dbname(), &place.database) {
        config.dbname(name);
    }
    Ok(config)
}

/// Whether the server refused the user or the password
/// ([class 28](https://www.postgresql.org/docs/current/errcodes-appendix.html)).
#[must_use]
pub fn is_refused(error: &Error) -> bool {
    matches!(error.code(), Some(&SqlState::INVALID_PASSWORD | &SqlState::INVALID_AUTHORIZATION_SPECIFICATION))
}

fn attempted(error: Error) -> Attempt<Error> {
    if is_refused(&error) { Attempt::Refused(error) } else { Attempt::Failed(error) }
}
