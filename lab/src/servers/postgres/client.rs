//! Connections to a throwaway PostgreSQL, for tests and for setting the scene.

use super::{Postgres, Tls};
use crate::servers::certificates::Certificate;
use crate::servers::{Error, Password, Result};
use postgres_protocol::password::{md5, scram_sha_256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use std::error::Error as _;
use std::time::Duration;
use tokio_postgres::config::SslMode;
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A server on the same machine that has not answered by then does not answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

impl Postgres {
    /// Connects as the superuser to the database `postgres`: with verified TLS, unless the server has none.
    ///
    /// # Errors
    /// [`Error::Database`] if the server refuses or its certificate is not good.
    pub async fn connect_superuser(&self) -> Result<Client> {
        self.connect(self.superuser(), self.superuser_password(), "postgres").await
    }

    /// Connects as `user` to `database`: with verified TLS, unless the server has none.
    ///
    /// # Errors
    /// As for [`connect_superuser`](Self::connect_superuser).
    pub async fn connect(&self, user: &str, password: &Password, database: &str) -> Result<Client> {
        self.try_connect(user, password, database)
            .await
            .map_err(failed(format!("cannot connect to {self} as {user:?}")))
    }

    /// Whether the password opens the database `postgres` for the user.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good log-in and a wrong password or unknown user (28P01).
    pub async fn can_login(&self, user: &str, password: &Password) -> Result<bool> {
        match self.try_connect(user, password, "postgres").await {
            Ok(_) => Ok(true),
            Err(error) if error.code() == Some(&SqlState::INVALID_PASSWORD) => Ok(false),
            Err(error) => Err(failed(format!("cannot tell whether {user:?} can log in"))(error)),
        }
    }

    /// Whether the password opens the database `postgres` for the user, together with a client's certificate or without one.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good log-in, and a refusal of the user, the password or the certificate: class 28.
    pub async fn can_login_with(
        &self,
        user: &str,
        password: &Password,
        certificate: Option<&Certificate>,
    ) -> Result<bool> {
        match self.try_connect_on(self.port(), user, password, "postgres", certificate).await {
            Ok(_) => Ok(true),
            Err(error) if error.code().is_some_and(|state| state.code().starts_with("28")) => Ok(false),
            Err(error) => Err(failed(format!("cannot tell whether {user:?} can log in"))(error)),
        }
    }

    /// Creates a role that can log in, with a verifier of the kind that the server's `password_encryption` says.
    ///
    /// # Errors
    /// [`Error::Database`], for instance if there is such a role.
    pub async fn create_user(&self, name: &str, password: &Password) -> Result<()> {
        self.create_users(&[(name, password)]).await
    }

    /// Creates several such roles over one connection.
    ///
    /// # Errors
    /// [`Error::Database`] for the first that fails; those before it are there.
    pub async fn create_users(&self, users: &[(&str, &Password)]) -> Result<()> {
        let client = self.connect_superuser().await?;
        let create = async {
            // Tests search the server's log for secrets, and must not find those of the lab.
            client.batch_execute("SET log_statement = none; SET log_min_error_statement = panic").await?;
            let kind: String = client.query_one("SHOW password_encryption", &[]).await?.try_get(0)?;
            for (name, password) in users {
                let verifier = match kind.as_str() {
                    "md5" => md5(password.expose().as_bytes(), name),
                    _ => scram_sha_256(password.expose().as_bytes()),
                };
                client.batch_execute(&format!("CREATE ROLE {} LOGIN PASSWORD '{verifier}'", quoted(name))).await?;
            }
            Ok(())
        };
        let names: Vec<_> = users.iter().map(|(name, _)| *name).collect();
        create.await.map_err(failed(format!("cannot create the users {names:?}")))
    }

    /// Connects as `user` to the database `postgres` through a pooler on another port of this host, which presents a certificate of
    /// the server's CA.
    ///
    /// # Errors
    /// The driver's own, with the SQLSTATE of a refusal.
    pub async fn connect_through(
        &self,
        port: u16,
        user: &str,
        password: &Password,
    ) -> Result<Client, tokio_postgres::Error> {
        self.try_connect_on(port, user, password, "postgres", None).await
    }

    async fn try_connect(
        &self,
        user: &str,
        password: &Password,
        database: &str,
    ) -> Result<Client, tokio_postgres::Error> {
        self.try_connect_on(self.port(), user, password, database, None).await
    }

    async fn try_connect_on(
        &self,
        port: u16,
        user: &str,
        password: &Password,
        database: &str,
        certificate: Option<&Certificate>,
    ) -> Result<Client, tokio_postgres::Error> {
        let mut config = Config::new();
        config.host(self.host()).port(port).user(user).password(password.expose()).dbname(database);
        config.connect_timeout(CONNECT_LIMIT);
        if self.tls() == Tls::Off {
            let (client, connection) = config.ssl_mode(SslMode::Disable).connect(NoTls).await?;
            tokio::spawn(connection);
            return Ok(client);
        }
        let tls = MakeRustlsConnect::new(trusting(self.ca_pem(), certificate));
        let (client, connection) = config.ssl_mode(SslMode::Require).connect(tls).await?;
        // It ends when the client is dropped, or with an error that the client reports as well.
        tokio::spawn(connection);
        Ok(client)
    }
}

/// A name as it stands in SQL, whatever its characters (PostgreSQL manual, 4.1.1).
pub fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Trusts one CA and nothing else; no CA at all if the text holds none, so that every server is refused.
fn trusting(ca_pem: &str, certificate: Option<&Certificate>) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(CertificateDer::pem_slice_iter(ca_pem.as_bytes()).flatten());
    let config = ClientConfig::builder().with_root_certificates(roots);
    let read = |certificate: &Certificate| {
        let own = CertificateDer::from_pem_slice(certificate.cert_pem().as_bytes()).ok()?;
        Some((own, PrivateKeyDer::from_pem_slice(certificate.key_pem().as_bytes()).ok()?))
    };
    // Without a certificate that can be read, the server sees none.
    match certificate.and_then(read) {
        Some((own, key)) => {
            config.clone().with_client_auth_cert(vec![own], key).unwrap_or_else(|_| config.with_no_client_auth())
        }
        None => config.with_no_client_auth(),
    }
}

/// Keeps of an error what the server meant for people, never its `detail` or a statement.
fn failed(doing: String) -> impl FnOnce(tokio_postgres::Error) -> Error {
    move |error| {
        let found = match error.as_db_error() {
            Some(refusal) => format!("{} ({})", refusal.message(), refusal.code().code()),
            None => {
                let mut text = error.to_string();
                let mut source = error.source();
                while let Some(cause) = source {
                    text = format!("{text}: {cause}");
                    source = cause.source();
                }
                text
            }
        };
        Error::Database { doing, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_quoted_as_sql_wants_it() {
        assert_eq!(quoted(r#"o"hara; DROP 'x' \ %"#), r#""o""hara; DROP 'x' \ %""#);
    }
}
