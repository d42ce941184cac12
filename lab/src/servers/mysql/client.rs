//! Connections to a throwaway MySQL or MariaDB, for tests and for setting the scene.

use super::quote::literal;
use super::{Kind, MySql};
use crate::servers::certificates::Certificate;
use crate::servers::error::{Error, Result};
use crate::servers::password::Password;
use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, DriverError, OptsBuilder, Row, SslOpts, Value};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// A server on the same machine that has not answered by then does not answer.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Without them the client asks the server at every log-in. Large enough for anything in a test.
const MAX_ALLOWED_PACKET: usize = 16 << 20;
const WAIT_TIMEOUT: usize = 28800;

/// Error numbers (MySQL 9.7 Error Reference; MariaDB's are the same).
const ER_ACCESS_DENIED_ERROR: u16 = 1045;
const ER_PARSE_ERROR: u16 = 1064;

impl MySql {
    /// Connects as the superuser: with verified TLS, unless the server has none. The session's `sql_mode` is empty whatever
    /// the server's is, so that [`literal`] fits.
    ///
    /// # Errors
    /// [`Error::Database`] if the server refuses or its certificate is not good.
    pub async fn connect_superuser(&self) -> Result<Conn> {
        let mut connection = self.connect(self.superuser(), self.superuser_password(), None).await?;
        let emptied = connection.query_drop("SET SESSION sql_mode = ''").await;
        emptied.map_err(failed(format!("cannot prepare a session on {self}")))?;
        Ok(connection)
    }

    /// Connects as `user`, with a default database or without: with verified TLS, unless the server has none.
    ///
    /// # Errors
    /// As for [`connect_superuser`](Self::connect_superuser).
    pub async fn connect(&self, user: &str, password: &Password, database: Option<&str>) -> Result<Conn> {
        self.try_connect(user, password, database)
            .await
            .map_err(failed(format!("cannot connect to {self} as {user:?}")))
    }

    /// Whether the password opens a session for the user.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good log-in and a wrong password or unknown user (1045).
    pub async fn can_login(&self, user: &str, password: &Password) -> Result<bool> {
        for tries_left in (0..4).rev() {
            let error = match self.try_connect(user, password, None).await {
                Ok(_) => return Ok(true),
                Err(error) => error,
            };
            let refused = match &error {
                mysql_async::Error::Server(refusal) => refusal.code == ER_ACCESS_DENIED_ERROR,
                // MySQL pretends that an unknown user exists, with any of its plugins: also with `sha256_password`, which
                // the client does not know.
                mysql_async::Error::Driver(DriverError::UnknownAuthPlugin { .. }) => !self.has_user(user).await?,
                _ => false,
            };
            if !refused {
                return Err(failed(format!("cannot tell whether {user:?} can log in"))(error));
            }
            if tries_left == 0 || !self.may_refuse_wrongly(user).await? {
                break;
            }
        }
        Ok(false)
    }

    /// Logs in once, as an application does; false if the server refuses with 1045. Unlike [`can_login`](Self::can_login) this
    /// asks the server nothing else, so that many logins at once are no more than that.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good log-in and 1045.
    pub async fn login(&self, user: &str, password: &Password) -> Result<bool> {
        match self.try_connect(user, password, None).await {
            Ok(_) => Ok(true),
            Err(mysql_async::Error::Server(refusal)) if refusal.code == ER_ACCESS_DENIED_ERROR => Ok(false),
            Err(error) => Err(failed(format!("cannot tell whether {user:?} can log in"))(error)),
        }
    }

    /// Whether one in 256 good log-ins of an account is refused, as with MariaDB's `ed25519`: up to version 0.37, mysql_common
    /// drops a zero at the end of what the server asks to sign.
    async fn may_refuse_wrongly(&self, name: &str) -> Result<bool> {
        if self.kind() != Kind::MariaDb {
            return Ok(false);
        }
        let user = literal(name);
        let query = format!("SELECT 1 FROM mysql.global_priv WHERE User = {user} AND Priv LIKE '%\"ed25519\"%'");
        Ok(!self.rows(&query).await?.is_empty())
    }

    async fn has_user(&self, name: &str) -> Result<bool> {
        let query = format!("SELECT 1 FROM mysql.user WHERE user = {}", literal(name));
        Ok(!self.rows(&query).await?.is_empty())
    }

    /// Creates the account `'name'@'%'` with the server's default plugin for authentication.
    ///
    /// # Errors
    /// [`Error::Database`], for instance if there is such an account.
    pub async fn create_user(&self, name: &str, password: &Password) -> Result<()> {
        self.create_users(&[(name, password)]).await
    }

    /// Creates several such accounts over one connection.
    ///
    /// # Errors
    /// [`Error::Database`] for the first that fails; those before it are there.
    pub async fn create_users(&self, users: &[(&str, &Password)]) -> Result<()> {
        let mut connection = self.connect_superuser().await?;
        let create = async {
            // Tests search the server's log for secrets, and must not find those of the lab.
            connection.query_drop("SET SESSION sql_log_off = ON").await?;
            for (name, password) in users {
                let (account, password) = (literal(name), literal(password.expose()));
                connection.query_drop(format!("CREATE USER {account}@'%' IDENTIFIED BY {password}")).await?;
            }
            Ok(())
        };
        let names: Vec<_> = users.iter().map(|(name, _)| *name).collect();
        create.await.map_err(failed(format!("cannot create the users {names:?}")))
    }

    /// Makes the server read-only, as a replica is, or writable again. The setting is `super_read_only` on MySQL, so it holds for
    /// the superuser too, and `read_only` on MariaDB, where accounts with READ ONLY ADMIN are exempt.
    ///
    /// # Errors
    /// As for [`sql`](Self::sql).
    pub async fn set_read_only(&self, read_only: bool) -> Result<()> {
        let value = u8::from(read_only);
        match (self.kind(), read_only) {
            (Kind::MySql, true) => self.sql("SET GLOBAL super_read_only = 1").await,
            _ => self.sql(&format!("SET GLOBAL read_only = {value}")).await,
        }
    }

    /// Whether the password opens a session for the user, together with a client's certificate or without one.
    ///
    /// # Errors
    /// [`Error::Database`] for everything but a good log-in and a refusal (1045).
    pub async fn can_login_with(
        &self,
        user: &str,
        password: &Password,
        certificate: Option<&Certificate>,
    ) -> Result<bool> {
        let identity = certificate.map(|certificate| {
            let bytes = |pem: &str| pem.as_bytes().to_vec().into();
            ClientIdentity::new(bytes(certificate.cert_pem()), bytes(certificate.key_pem()))
        });
        let tls = self.trusting().map(|tls| tls.with_client_identity(identity));
        match connected(self.options(user, password, None).ssl_opts(tls)).await {
            Ok(_) => Ok(true),
            Err(mysql_async::Error::Server(refusal)) if refusal.code == ER_ACCESS_DENIED_ERROR => Ok(false),
            Err(error) => Err(failed(format!("cannot tell whether {user:?} can log in"))(error)),
        }
    }

    /// Executes one or more statements as the superuser, on a new connection.
    ///
    /// # Errors
    /// [`Error::Database`] for the first that fails.
    pub async fn sql(&self, statements: &str) -> Result<()> {
        let mut connection = self.connect_superuser().await?;
        connection.query_drop(statements).await.map_err(failed(format!("cannot execute a statement on {self}")))
    }

    /// The rows of a query as the superuser, each value as the text that the server sends; `None` is NULL.
    ///
    /// # Errors
    /// [`Error::Database`] if it fails.
    pub async fn rows(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut connection = self.connect_superuser().await?;
        let rows: Vec<Row> =
            connection.query(query).await.map_err(failed(format!("cannot execute a query on {self}")))?;
        Ok(rows.into_iter().map(|row| row.unwrap().into_iter().map(text).collect()).collect())
    }

    /// Connects as the superuser whatever certificate the server presents.
    pub(super) async fn connect_unverified(&self) -> Result<Conn> {
        let options = self.options(self.superuser(), self.superuser_password(), None);
        let tls = SslOpts::default().with_danger_accept_invalid_certs(true);
        connected(options.ssl_opts(tls)).await.map_err(failed(format!("cannot connect to {self}")))
    }

    /// Has the server read its certificate again.
    pub(super) async fn reload_certificate(&self, session: &mut Conn) -> Result<()> {
        let reload = match self.kind() {
            Kind::MySql => "ALTER INSTANCE RELOAD TLS",
            Kind::MariaDb => "FLUSH SSL",
        };
        session.query_drop(reload).await.map_err(failed(format!("cannot reload the certificate of {self}")))
    }

    async fn try_connect(&self, user: &str, password: &Password, database: Option<&str>) -> mysql_async::Result<Conn> {
        connected(self.options(user, password, database)).await
    }

    /// Trusts the server's CA and nothing else; `None` if the server has no TLS.
    fn trusting(&self) -> Option<SslOpts> {
        (!self.ca_pem().is_empty()).then(|| {
            SslOpts::default()
                .with_root_certs(vec![self.ca_pem().as_bytes().to_vec().into()])
                .with_disable_built_in_roots(true)
        })
    }

    fn options(&self, user: &str, password: &Password, database: Option<&str>) -> OptsBuilder {
        OptsBuilder::default()
            .ip_or_hostname(self.host())
            // The host's IPv6 address may be first, and the server does not listen there.
            .resolved_ips(Some([IpAddr::V4(Ipv4Addr::LOCALHOST)]))
            .tcp_port(self.port())
            .user(Some(user))
            .pass(Some(password.expose()))
            .db_name(database)
            .ssl_opts(self.trusting())
            .prefer_socket(false)
            .max_allowed_packet(Some(MAX_ALLOWED_PACKET))
            .wait_timeout(Some(WAIT_TIMEOUT))
    }
}

async fn connected(options: OptsBuilder) -> mysql_async::Result<Conn> {
    match tokio::time::timeout(CONNECT_LIMIT, Conn::new(options)).await {
        Ok(result) => result,
        Err(elapsed) => Err(std::io::Error::from(elapsed).into()),
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::NULL => None,
        Value::Bytes(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        // Only a prepared statement's rows have others.
        other => Some(other.as_sql(true)),
    }
}

/// Keeps of an error what the server meant for people, but never a statement, which may hold a password.
fn failed(doing: String) -> impl FnOnce(mysql_async::Error) -> Error {
    move |error| {
        let found = match error {
            mysql_async::Error::Server(refusal) if refusal.code == ER_PARSE_ERROR => {
                format!("the statement has an error in its syntax ({ER_PARSE_ERROR})")
            }
            mysql_async::Error::Server(refusal) => format!("{} ({})", refusal.message, refusal.code),
            other => other.to_string(),
        };
        Error::Database { doing, found }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_does_not_repeat_a_statement() {
        let message = "You have an error … near 'IDENTIFIED BY 'hunter2'".to_owned();
        let error = mysql_async::ServerError { code: ER_PARSE_ERROR, message, state: "42000".to_owned() };
        let text = failed("cannot".to_owned())(error.into()).to_string();
        assert!(text.contains("1064") && !text.contains("hunter2"), "{text}");
    }
}
