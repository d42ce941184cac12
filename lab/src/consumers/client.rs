//! The adapters, and what all their clients have in common.

use crate::load::Engine;
use std::fmt;

/// A way to use a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Adapter {
    /// A new connection of `tokio-postgres` for each query.
    TokioPostgres,
    /// A pool of `deadpool-postgres`.
    DeadpoolPostgres,
    /// A pool of `bb8`, with `tokio-postgres` or `mysql_async`.
    Bb8,
    /// A pool of `sqlx`.
    Sqlx,
    /// A new connection of `mysql_async` for each query.
    MysqlAsync,
    /// A pool of `mysql_async`.
    MysqlAsyncPool,
    /// An HTTP header.
    Http,
}

impl Adapter {
    /// Those that there are for an engine.
    #[must_use]
    pub fn of(engine: Engine) -> &'static [Self] {
        match engine {
            Engine::Postgres => &[Self::TokioPostgres, Self::DeadpoolPostgres, Self::Bb8, Self::Sqlx],
            Engine::Mysql | Engine::Mariadb => &[Self::MysqlAsync, Self::MysqlAsyncPool, Self::Bb8, Self::Sqlx],
            Engine::ApiKey => &[Self::Http],
        }
    }

    /// Its name, as the crate's features have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TokioPostgres => "tokio-postgres",
            Self::DeadpoolPostgres => "deadpool-postgres",
            Self::Bb8 => "bb8",
            Self::Sqlx => "sqlx",
            Self::MysqlAsync => "mysql-async",
            Self::MysqlAsyncPool => "mysql-async pool",
            Self::Http => "http",
        }
    }
}

impl fmt::Display for Adapter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why a query was not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The way to the server failed before the query was sent: an application may connect again.
    Unconnected(String),
    /// The server refused the credential, the secret could not be used, or the query itself failed.
    Failed(String),
}

/// Something that an application queries with.
#[async_trait::async_trait]
pub(super) trait Client: Send + Sync {
    /// Connects or takes a connection, and asks the server for one row.
    async fn query(&self) -> Result<(), Failure>;
}
