//! Connections and pools of `mysql_async`, for MySQL and MariaDB.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::mysql_async::{Pool, options};
//! use lockstep_secret::source::SecretsManager;
//! use mysql_async::prelude::Queryable;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/database").await).start().await?;
//! let pool = Pool::new(&secret, options(&secret.current()?)?);
//! let one: Option<u8> = pool.get_conn().await?.query_first("SELECT 1").await?;
//! # Ok(()) }
//! ```

use crate::error::ConnectError;
use crate::secret::{Attempt, RotatingSecret};
use crate::snapshot::Snapshot;
use crate::value::ValueError;
use mysql_async::{Conn, Error, Opts, OptsBuilder, SslOpts};
use std::fmt;
use std::sync::{Mutex, PoisonError};
use tokio::time::sleep;

/// `ER_ACCESS_DENIED_ERROR`, and `ER_ACCESS_DENIED_NO_PASSWORD_ERROR` of a socket's plugin.
const ACCESS_DENIED: [u16; 2] = [1045, 1698];

/// Options with host, port and database of a secret, where it has them.
///
/// The server's certificate and name are verified: otherwise whoever stands in between would be sent the passwords of all versions.
/// Whoever wants less, or has an authority of their own (that of RDS is not in the usual bundles), says so by
/// [`ssl_opts`](OptsBuilder::ssl_opts).
///
/// # Errors
/// The secret has no host, or its host is the path of a socket.
pub fn options(snapshot: &Snapshot) -> Result<OptsBuilder, ValueError> {
    let options = OptsBuilder::default().ip_or_hostname(snapshot.host()?).db_name(snapshot.field("dbname").ok());
    let options = options.ssl_opts(SslOpts::default());
    Ok(snapshot.port().map_or(options.clone(), |port| options.tcp_port(port)))
}

/// Connects with the version that works, as [`RotatingSecret::connect_with`] finds it. User and password come from the secret, all else
/// from the options.
///
/// Never print the connection: the driver's own `Debug` of a [`Conn`] shows the password.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(secret: &RotatingSecret, options: &Opts) -> Result<Conn, ConnectError<Error>> {
    connect_and_tell(secret, options).await.map(|(connection, _)| connection)
}

/// The same, and tells with which version.
pub(crate) async fn connect_and_tell(
    secret: &RotatingSecret,
    options: &Opts,
) -> Result<(Conn, Snapshot), ConnectError<Error>> {
    let attempt = |snapshot: Snapshot| async move {
        let connection = Conn::new(configured(options, &snapshot)?).await.map_err(attempted)?;
        Ok((connection, snapshot))
    };
    secret.attempt_with(attempt).await
}

/// The options with the user and the password of a version.
///
/// # Errors
/// The version has no user or no password.
pub fn configured(options: &Opts, snapshot: &Snapshot) -> Result<OptsBuilder, ValueError> {
    let options = OptsBuilder::from_opts(options.clone());
    Ok(options.user(Some(snapshot.username()?)).pass(Some(snapshot.password()?)))
}

/// Whether the server refused the user or the password.
#[must_use]
pub fn is_refused(error: &Error) -> bool {
    matches!(error, Error::Server(refusal) if ACCESS_DENIED.contains(&refusal.code))
}

fn attempted(error: Error) -> Attempt<Error> {
    if is_refused(&error) { Attempt::Refused(error) } else { Attempt::Failed(error) }
}

/// A pool whose password rotates.
///
/// A pool of `mysql_async` has one password for ever. So there is one of them for the version in use. When that changes, a new one
/// takes its place. The old one stays for a moment drawn within [`retire_over`](crate::Builder::retire_over), and then closes its idle
/// connections. A connection that is in use closes when it comes back.
///
/// Never print a connection: the driver's own `Debug` of a [`Conn`] shows the password.
pub struct Pool {
    secret: RotatingSecret,
    options: Opts,
    now: Mutex<Option<Versioned>>,
}

struct Versioned {
    version_id: String,
    pool: mysql_async::Pool,
}

impl Pool {
    /// A pool with these options, which say how large it is. User and password come from the secret.
    pub fn new(secret: &RotatingSecret, options: impl Into<Opts>) -> Self {
        Self { secret: secret.clone(), options: options.into(), now: Mutex::new(None) }
    }

    /// A connection.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn get_conn(&self) -> Result<Conn, ConnectError<Error>> {
        let from_pool = |snapshot: Snapshot| async move {
            let pool = self.of(&snapshot)?;
            pool.get_conn().await.map_err(attempted)
        };
        let login = |snapshot: Snapshot| async move {
            let connection = Conn::new(configured(&self.options, &snapshot)?).await.map_err(attempted)?;
            // It has done what it is for. If it cannot say good-bye, the server notices.
            let _ = connection.disconnect().await;
            Ok(())
        };
        self.secret.pooled(from_pool, login).await
    }

    /// The pool of a version.
    fn of(&self, snapshot: &Snapshot) -> Result<mysql_async::Pool, ValueError> {
        let mut now = self.now.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(it) = now.as_ref().filter(|it| it.version_id == snapshot.version_id()) {
            return Ok(it.pool.clone());
        }
        let pool = mysql_async::Pool::new(configured(&self.options, snapshot)?);
        let next = Versioned { version_id: snapshot.version_id().to_owned(), pool: pool.clone() };
        if let Some(old) = now.replace(next) {
            let moment = self.secret.retire_over().mul_f64(fastrand::f64());
            // If the runtime ends earlier, the connections end with it.
            tokio::spawn(async move {
                sleep(moment).await;
                // It waits for the connections that are in use. An error means that one of them is closed already.
                let _ = old.pool.disconnect().await;
            });
        }
        Ok(pool)
    }

    /// Closes the idle connections, and waits for those that are in use.
    ///
    /// # Errors
    /// The driver's.
    pub async fn disconnect(self) -> Result<(), Error> {
        let now = self.now.into_inner().unwrap_or_else(PoisonError::into_inner);
        match now {
            Some(it) => it.pool.disconnect().await,
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password if the application has put one there.
        f.debug_struct("Pool").field("secret", &self.secret).finish_non_exhaustive()
    }
}
