//! Managers for `bb8`: PostgreSQL by `tokio-postgres`, MySQL and MariaDB by `mysql_async`.
//!
//! ```no_run
//! # #[cfg(feature = "tokio-postgres")]
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use lockstep_secret::RotatingSecret;
//! use lockstep_secret::bb8::PostgresManager;
//! use lockstep_secret::source::SecretsManager;
//!
//! let secret = RotatingSecret::builder(SecretsManager::from_env("app/database").await).start().await?;
//! let config = tokio_postgres::Config::new(); // host, port and database are in the secret
//! let pool = bb8::Pool::builder().build(PostgresManager::new(&secret, config, tokio_postgres::NoTls)).await?;
//! let row = pool.get().await?.query_one("SELECT 1", &[]).await?;
//! # Ok(()) }
//! ```

use crate::retire::Ticket;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// A connection, with the version that it was opened with.
pub struct Versioned<C> {
    connection: C,
    ticket: Ticket,
}

impl<C> fmt::Debug for Versioned<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A connection of `mysql_async` prints its options, with the password.
        f.debug_struct("Versioned").field("ticket", &self.ticket).finish_non_exhaustive()
    }
}

impl<C> Deref for Versioned<C> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.connection
    }
}

impl<C> DerefMut for Versioned<C> {
    fn deref_mut(&mut self) -> &mut C {
        &mut self.connection
    }
}

#[cfg(feature = "tokio-postgres")]
pub use postgres::PostgresManager;

#[cfg(feature = "tokio-postgres")]
mod postgres {
    use super::Versioned;
    use crate::error::ConnectError;
    use crate::retire::Ticket;
    use crate::secret::RotatingSecret;
    use crate::tokio_postgres::connect_and_tell;
    use bb8::ManageConnection;
    use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
    use tokio_postgres::{Client, Config, Error, Socket};

    /// Opens connections to PostgreSQL with the version that works. Those of an old version close at a pace when they come back to the
    /// pool.
    pub struct PostgresManager<T> {
        secret: RotatingSecret,
        config: Config,
        tls: T,
    }

    impl<T> PostgresManager<T> {
        /// User and password come from the secret. So do host, port and database where `config` has none, and those from the version
        /// that was read first, as for [`connect`](crate::tokio_postgres::connect).
        pub fn new(secret: &RotatingSecret, config: Config, tls: T) -> Self {
            Self { secret: secret.clone(), config, tls }
        }
    }

    impl<T> ManageConnection for PostgresManager<T>
    where
        T: MakeTlsConnect<Socket> + Clone + Send + Sync + 'static,
        T::Stream: Send,
        T::TlsConnect: Send,
        <T::TlsConnect as TlsConnect<Socket>>::Future: Send,
    {
        type Connection = Versioned<Client>;
        type Error = ConnectError<Error>;

        async fn connect(&self) -> Result<Self::Connection, Self::Error> {
            let connected = connect_and_tell(&self.secret, &self.config, self.tls.clone()).await;
            let (client, connection, snapshot) = connected?;
            // It ends when the client is dropped, or with an error that the client reports as well.
            tokio::spawn(async move { drop(connection.await) });
            Ok(Versioned { connection: client, ticket: Ticket::new(&snapshot) })
        }

        async fn is_valid(&self, client: &mut Self::Connection) -> Result<(), Self::Error> {
            client.simple_query("").await.map(drop).map_err(ConnectError::Failed)
        }

        fn has_broken(&self, client: &mut Self::Connection) -> bool {
            client.is_closed() || self.secret.is_retired(&client.ticket)
        }
    }

    impl<T> std::fmt::Debug for PostgresManager<T> {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("PostgresManager").field("secret", &self.secret).finish_non_exhaustive()
        }
    }
}

#[cfg(feature = "mysql-async")]
pub use mysql::MySqlManager;

#[cfg(feature = "mysql-async")]
mod mysql {
    use super::Versioned;
    use crate::error::ConnectError;
    use crate::mysql_async::connect_and_tell;
    use crate::retire::Ticket;
    use crate::secret::RotatingSecret;
    use bb8::ManageConnection;
    use mysql_async::prelude::Queryable as _;
    use mysql_async::{Conn, Error, Opts};

    /// Opens connections to MySQL and MariaDB with the version that works. Those of an old version close at a pace when they come back to
    /// the pool.
    pub struct MySqlManager {
        secret: RotatingSecret,
        options: Opts,
    }

    impl MySqlManager {
        /// User and password come from the secret, all else from the options.
        pub fn new(secret: &RotatingSecret, options: impl Into<Opts>) -> Self {
            Self { secret: secret.clone(), options: options.into() }
        }
    }

    impl ManageConnection for MySqlManager {
        type Connection = Versioned<Conn>;
        type Error = ConnectError<Error>;

        async fn connect(&self) -> Result<Self::Connection, Self::Error> {
            let (connection, snapshot) = connect_and_tell(&self.secret, &self.options).await?;
            Ok(Versioned { connection, ticket: Ticket::new(&snapshot) })
        }

        async fn is_valid(&self, connection: &mut Self::Connection) -> Result<(), Self::Error> {
            connection.ping().await.map_err(ConnectError::Failed)
        }

        fn has_broken(&self, connection: &mut Self::Connection) -> bool {
            self.secret.is_retired(&connection.ticket)
        }
    }

    impl std::fmt::Debug for MySqlManager {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.debug_struct("MySqlManager").field("secret", &self.secret).finish_non_exhaustive()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::Label;
    use crate::snapshot::{Body, Snapshot};
    use std::sync::Arc;
    use tokio::time::Instant;

    #[test]
    fn debug_of_a_connection_shows_its_version_and_nothing_of_the_driver() {
        let body = Body::new("app".into(), "v1".to_owned(), "{}".to_owned().into(), None);
        let ticket = Ticket::new(&Snapshot::new(Arc::new(body), Label::Current, Instant::now()));
        let text = format!("{:?}", Versioned { connection: "hunter2", ticket });
        assert!(text.contains("v1") && !text.contains("hunter2"), "{text}");
    }
}
