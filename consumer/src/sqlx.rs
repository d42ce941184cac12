//! Pools of `sqlx`, for PostgreSQL, MySQL and MariaDB.
//!
//! ```no_run
//! # #[cfg(feature = "sqlx-postgres")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::source::SecretsManager;
//! use lockstep_secret::sqlx::{Pool, postgres_options};
//! use sqlx::postgres::PgPoolOptions;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/database").await).start().await?;
//! let pool = Pool::new(&secret, PgPoolOptions::new().max_connections(16), postgres_options(&secret.current()?)?)?;
//! let mut connection = pool.acquire().await?;
//! let row = sqlx::query("SELECT 1").fetch_one(&mut *connection).await?;
//! # Ok(()) }
//! ```

use crate::error::ConnectError;
use crate::secret::{Attempt, RotatingSecret};
use crate::snapshot::Snapshot;
use crate::value::ValueError;
use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{ConnectOptions as _, Connection, Database, Error, Transaction};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::MutexGuard;

/// The databases that the adapter knows.
pub trait Login: Database + sealed::Sealed {
    /// The options with the user and the password of a version.
    ///
    /// # Errors
    /// The version has no user or no password.
    fn configured(options: &Options<Self>, snapshot: &Snapshot) -> Result<Options<Self>, ValueError>;

    /// Whether the server refused the user or the password.
    fn is_refused(error: &Error) -> bool;
}

/// The options of a database's connections.
pub type Options<DB> = <<DB as Database>::Connection as Connection>::Options;

mod sealed {
    pub trait Sealed {}
    #[cfg(feature = "sqlx-postgres")]
    impl Sealed for sqlx::Postgres {}
    #[cfg(feature = "sqlx-mysql")]
    impl Sealed for sqlx::MySql {}
}

/// A pool whose password rotates.
///
/// The pool of `sqlx` gets the options of the version in use whenever that changes. Where the server refuses it all the same, in the gap
/// of a single user's rotation, [`acquire`](Self::acquire) and [`begin`](Self::begin) find the version that works. Connections of an
/// old version close at a pace when they come back.
///
/// Take connections from here, and not from the inner pool: that one knows nothing of versions, and ends in the server's refusal.
pub struct Pool<DB: Database>(Arc<Inner<DB>>);

struct Inner<DB: Database> {
    secret: RotatingSecret,
    pool: sqlx::Pool<DB>,
    options: Options<DB>,
    /// The version whose options the pool has.
    applied: Mutex<String>,
    /// Held while the pool connects with options that were just changed.
    applying: tokio::sync::Mutex<()>,
}

impl<DB: Database> Clone for Pool<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Login> Pool<DB> {
    /// A pool that connects when it is used. User and password come from the secret, all else from the options. The callback
    /// `after_release` of the pool's options is replaced.
    ///
    /// # Errors
    /// The secret's version is too old, or has no user or no password.
    pub fn new(
        secret: &RotatingSecret,
        pool: PoolOptions<DB>,
        options: Options<DB>,
    ) -> Result<Self, crate::error::Error> {
        let snapshot = secret.current()?;
        let retiring = secret.clone();
        let pool = pool.after_release(move |_, about| {
            let keep = !retiring.is_retired_at_age(about.age);
            Box::pin(async move { Ok(keep) })
        });
        let pool = pool.connect_lazy_with(DB::configured(&options, &snapshot)?);
        let applied = Mutex::new(snapshot.version_id().to_owned());
        let applying = tokio::sync::Mutex::new(());
        Ok(Self(Arc::new(Inner { secret: secret.clone(), pool, options, applied, applying })))
    }

    /// A connection, for any number of queries.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn acquire(&self) -> Result<PoolConnection<DB>, ConnectError<Error>> {
        self.with(|pool| async move { pool.acquire().await }).await
    }

    /// A transaction.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn begin(&self) -> Result<Transaction<'static, DB>, ConnectError<Error>> {
        self.with(|pool| async move { pool.begin().await }).await
    }

    /// The pool itself, to close it or to ask about its size.
    #[must_use]
    pub fn inner(&self) -> &sqlx::Pool<DB> {
        &self.0.pool
    }

    async fn with<T, F>(&self, take: impl Fn(sqlx::Pool<DB>) -> F) -> Result<T, ConnectError<Error>>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let (inner, take) = (&self.0, &take);
        let from_pool = |snapshot: Snapshot| async move {
            let _turn = inner.apply(&snapshot).await?;
            take(inner.pool.clone()).await.map_err(attempted::<DB>)
        };
        let login = |snapshot: Snapshot| async move {
            let options = DB::configured(&inner.options, &snapshot)?;
            let connection = options.connect().await.map_err(attempted::<DB>)?;
            // It has done what it is for. If it cannot say good-bye, the server notices.
            let _ = connection.close().await;
            Ok(())
        };
        inner.secret.pooled(from_pool, login).await
    }
}

impl<DB: Login> Inner<DB> {
    /// Gives the pool the options of a version. Whoever changes them is alone until its connection is there: otherwise a version could be
    /// called refused because another one was tried in its place.
    async fn apply(&self, snapshot: &Snapshot) -> Result<Option<MutexGuard<'_, ()>>, ValueError> {
        if *self.applied() == snapshot.version_id() {
            return Ok(None);
        }
        let turn = self.applying.lock().await;
        let mut applied = self.applied();
        if *applied == snapshot.version_id() {
            return Ok(None);
        }
        self.pool.set_connect_options(DB::configured(&self.options, snapshot)?);
        snapshot.version_id().clone_into(&mut applied);
        Ok(Some(turn))
    }

    fn applied(&self) -> std::sync::MutexGuard<'_, String> {
        self.applied.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn attempted<DB: Login>(error: Error) -> Attempt<Error> {
    if DB::is_refused(&error) { Attempt::Refused(error) } else { Attempt::Failed(error) }
}

impl<DB: Database> fmt::Debug for Pool<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The options hold a password.
        f.debug_struct("Pool").field("secret", &self.0.secret).finish_non_exhaustive()
    }
}

#[cfg(feature = "sqlx-postgres")]
pub use postgres::postgres_options;

#[cfg(feature = "sqlx-postgres")]
mod postgres {
    use super::Login;
    use crate::snapshot::Snapshot;
    use crate::value::ValueError;
    use sqlx::postgres::{PgConnectOptions, PgSslMode};
    use sqlx::{Error, Postgres};

    /// Options with host, port and database of a secret, where it has them. Variables such as `PGHOST` count for the rest.
    ///
    /// The server's certificate and name are verified: otherwise whoever stands in between would be sent the passwords of all versions.
    /// `PGSSLROOTCERT` or [`ssl_root_cert`](PgConnectOptions::ssl_root_cert) names the authority if it is one of your own (that of RDS is not in the
    /// usual bundles). Whoever wants less says so, by [`ssl_mode`](PgConnectOptions::ssl_mode).
    ///
    /// # Errors
    /// The secret has no host, or its host is the path of a socket.
    pub fn postgres_options(snapshot: &Snapshot) -> Result<PgConnectOptions, ValueError> {
        let mut options = PgConnectOptions::new_without_pgpass().host(snapshot.host()?).ssl_mode(PgSslMode::VerifyFull);
        if let Some(port) = snapshot.port() {
            options = options.port(port);
        }
        Ok(snapshot.field("dbname").map_or(options.clone(), |name| options.database(name)))
    }

    impl Login for Postgres {
        fn configured(options: &PgConnectOptions, snapshot: &Snapshot) -> Result<PgConnectOptions, ValueError> {
            Ok(options.clone().username(snapshot.username()?).password(snapshot.password()?))
        }

        fn is_refused(error: &Error) -> bool {
            let code = error.as_database_error().and_then(sqlx::error::DatabaseError::code);
            matches!(code.as_deref(), Some("28P01" | "28000"))
        }
    }
}

#[cfg(feature = "sqlx-mysql")]
pub use mysql::mysql_options;

#[cfg(feature = "sqlx-mysql")]
mod mysql {
    use super::Login;
    use crate::snapshot::Snapshot;
    use crate::value::ValueError;
    use sqlx::mysql::{MySqlConnectOptions, MySqlDatabaseError, MySqlSslMode};
    use sqlx::{Error, MySql};

    /// `ER_ACCESS_DENIED_ERROR`, and `ER_ACCESS_DENIED_NO_PASSWORD_ERROR` of a socket's plugin.
    const ACCESS_DENIED: [u16; 2] = [1045, 1698];

    /// Options with host, port and database of a secret, where it has them.
    ///
    /// The server's certificate and name are verified: otherwise whoever stands in between would be sent the passwords of all versions.
    /// [`ssl_ca`](MySqlConnectOptions::ssl_ca) names the authority if it is one of your own (that of RDS is not in the usual bundles). Whoever
    /// wants less says so, by [`ssl_mode`](MySqlConnectOptions::ssl_mode).
    ///
    /// # Errors
    /// The secret has no host, or its host is the path of a socket.
    pub fn mysql_options(snapshot: &Snapshot) -> Result<MySqlConnectOptions, ValueError> {
        let mut options = MySqlConnectOptions::new().host(snapshot.host()?).ssl_mode(MySqlSslMode::VerifyIdentity);
        if let Some(port) = snapshot.port() {
            options = options.port(port);
        }
        Ok(snapshot.field("dbname").map_or(options.clone(), |name| options.database(name)))
    }

    impl Login for MySql {
        fn configured(options: &MySqlConnectOptions, snapshot: &Snapshot) -> Result<MySqlConnectOptions, ValueError> {
            Ok(options.clone().username(snapshot.username()?).password(snapshot.password()?))
        }

        fn is_refused(error: &Error) -> bool {
            let refusal = error.as_database_error().and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
            refusal.is_some_and(|refusal| ACCESS_DENIED.contains(&refusal.number()))
        }
    }
}
