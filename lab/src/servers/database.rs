//! Any of the servers, for code that works with each of them.

use super::mysql::{Kind, MySql};
use super::postgres::Postgres;
use super::{Error, Password, Result};
use mysql_async::prelude::Queryable as _;
use std::fmt;

/// A throwaway server of any kind.
#[derive(Debug)]
pub enum Database {
    /// PostgreSQL.
    Postgres(Postgres),
    /// MySQL or MariaDB.
    MySql(MySql),
}

/// Who a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Who logged in.
    pub user: String,
    /// With whose rights its statements run.
    pub role: String,
}

impl Database {
    /// What a secret's `engine` says.
    pub fn engine(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "postgres",
            Self::MySql(server) => match server.kind() {
                Kind::MySql => "mysql",
                Kind::MariaDb => "mariadb",
            },
        }
    }

    /// What a secret's `dbname` says.
    pub fn database(&self) -> Option<&'static str> {
        match self {
            Self::Postgres(_) => Some("postgres"),
            Self::MySql(_) => None,
        }
    }

    /// The host to connect to.
    pub fn host(&self) -> &str {
        match self {
            Self::Postgres(server) => server.host(),
            Self::MySql(server) => server.host(),
        }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        match self {
            Self::Postgres(server) => server.port(),
            Self::MySql(server) => server.port(),
        }
    }

    /// The CA of its certificate, in PEM.
    pub fn ca_pem(&self) -> &str {
        match self {
            Self::Postgres(server) => server.ca_pem(),
            Self::MySql(server) => server.ca_pem(),
        }
    }

    /// The superuser's name.
    pub fn superuser(&self) -> &str {
        match self {
            Self::Postgres(server) => server.superuser(),
            Self::MySql(server) => server.superuser(),
        }
    }

    /// The superuser's password.
    pub fn superuser_password(&self) -> &Password {
        match self {
            Self::Postgres(server) => server.superuser_password(),
            Self::MySql(server) => server.superuser_password(),
        }
    }

    /// What a person calls the server, and its version as it tells that itself.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn name_and_version(&self) -> Result<(String, String)> {
        match self {
            Self::Postgres(server) => {
                let client = server.connect_superuser().await?;
                let row = client.query_one("SHOW server_version", &[]).await;
                let version = row.and_then(|row| row.try_get::<_, String>(0)).map_err(|error| Error::Database {
                    doing: "cannot ask for the version".to_owned(),
                    found: error.to_string(),
                })?;
                let version = version.split_whitespace().next().unwrap_or_default().to_owned();
                Ok(("PostgreSQL".to_owned(), version))
            }
            Self::MySql(server) => {
                let version = server.version().split('-').next().unwrap_or_default().to_owned();
                Ok((server.kind().to_string(), version))
            }
        }
    }

    /// Creates a user that can log in.
    ///
    /// # Errors
    /// [`Error::Database`], for instance if there is such a user.
    pub async fn create_user(&self, name: &str, password: &Password) -> Result<()> {
        match self {
            Self::Postgres(server) => server.create_user(name, password).await,
            Self::MySql(server) => server.create_user(name, password).await,
        }
    }

    /// Creates several users that can log in, over one connection.
    ///
    /// # Errors
    /// [`Error::Database`] for the first that fails; those before it are there.
    pub async fn create_users(&self, users: &[(&str, &Password)]) -> Result<()> {
        match self {
            Self::Postgres(server) => server.create_users(users).await,
            Self::MySql(server) => server.create_users(users).await,
        }
    }

    /// Logs in once, as an application does; false if the server refuses the password (28P01, 1045).
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good login and a refused one.
    pub async fn login(&self, user: &str, password: &Password) -> Result<bool> {
        match self {
            Self::Postgres(server) => server.can_login(user, password).await,
            Self::MySql(server) => server.login(user, password).await,
        }
    }

    /// Whether the password opens the server for the user.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good login and a refused one.
    pub async fn can_login(&self, user: &str, password: &Password) -> Result<bool> {
        match self {
            Self::Postgres(server) => server.can_login(user, password).await,
            Self::MySql(server) => server.can_login(user, password).await,
        }
    }

    /// Logs in and asks who the session is.
    ///
    /// # Errors
    /// [`Error::Database`].
    pub async fn identity(&self, user: &str, password: &Password) -> Result<Identity> {
        let unasked =
            |error: String| Error::Database { doing: "cannot ask who the session is".to_owned(), found: error };
        let (user, role) = match self {
            Self::Postgres(server) => {
                let client = server.connect(user, password, "postgres").await?;
                let row = client.query_one("SELECT session_user::text, current_user::text", &[]).await;
                let row = row.map_err(|error| unasked(error.to_string()))?;
                let name = |column| row.try_get(column).map_err(|error| unasked(error.to_string()));
                (name(0)?, name(1)?)
            }
            Self::MySql(server) => {
                let mut session = server.connect(user, password, None).await?;
                let sql = "SELECT USER(), CURRENT_USER()";
                let row = session.query_first::<(String, String), _>(sql).await;
                let row = row.map_err(|error| unasked(error.to_string()))?.unwrap_or_default();
                let name =
                    |account: String| account.rsplit_once('@').map_or(String::new(), |(user, _)| user.to_owned());
                (name(row.0), name(row.1))
            }
        };
        Ok(Identity { user, role })
    }
}

impl fmt::Display for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Postgres(server) => server.fmt(f),
            Self::MySql(server) => server.fmt(f),
        }
    }
}
