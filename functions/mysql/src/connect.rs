//! One connection, one login: TCP, TLS, authentication, each with an error of its own.
//!
//! The driver makes the connection, so what is decided here is what it may do: TLS with our trust and nothing else, no socket
//! file that a server names, no password in clear (`mysql_clear_password`), none in the hash of before 4.1
//! (`mysql_old_password`), no query of its own, no local files.
//!
//! Without TLS, `caching_sha2_password` encrypts the password with a key that the server sends (manual, "Caching SHA-2
//! Pluggable Authentication"). Whoever listens learns nothing; whoever can play the server learns the password. That is what
//! `"ssl": false` in a secret accepts.

use crate::errno;
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, DriverError, IoError, Opts, OptsBuilder, SslOpts};
use rotation::clock::Deadline;
use rotation::database::{Login, LoginFailure, Observation, Transport};
use rotation::tls::{self, Verifier};
use rotation::{Code, Error, Fact, Result};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A login in a VPC takes tens of milliseconds, seconds on a small server under load; a lost SYN costs one second, two cost
/// three. What takes longer is a firewall, or a server that hangs.
const LOGIN_LIMIT: Duration = Duration::from_secs(8);
/// After a login that was not answered: whether anything answers at all.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// Changing an account touches a few rows. The limits for locks come first, so that the error can name them.
const STATEMENT_LIMIT: Duration = Duration::from_secs(9);
/// To say good-bye, so that the server does not count a broken connection.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);
/// What a server may say in answer to one batch, in bytes of our memory. A rotation's answers take kilobytes, and hundreds of
/// them for users with thousands of grants; a Lambda function has 128 MB at the least.
const MOST_BYTES: usize = 8 << 20;
/// Asked of nobody: the driver would query it otherwise.
const WAIT_TIMEOUT_SECONDS: usize = 60;

/// An open connection. Dropped, it is closed.
pub(crate) struct Session {
    conn: Conn,
    encrypted: bool,
}

/// A row of an answer, as the text protocol has it; `None` is NULL.
pub(crate) type Row = Vec<Option<Vec<u8>>>;
/// The rows of one statement.
pub(crate) type Rows = Vec<Row>;

/// A column's text; NULL, and what is not UTF-8, reads as nothing.
pub(crate) fn text(row: &Row, column: usize) -> &str {
    let bytes = row.get(column).and_then(Option::as_deref).unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// Logs in: one connection, one attempt.
///
/// # Errors
/// What the attempt tells about the password, and why there is no session.
pub(crate) async fn connect(login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
    // Over TLS the server may ask for the password itself, and nothing in the protocol binds a login to a channel.
    if login.channel_binding_required {
        return Err(unknown(Error::new(Code::SuperuserAddressUnproven)));
    }
    let endpoint = login.endpoint;
    let (options, encrypted) = options(&login).map_err(unknown)?;
    // Some of the time is kept for the question whether anything answers there.
    let limit = deadline.less(PROBE_LIMIT.min(deadline.left() / 4)).within(LOGIN_LIMIT);
    let addresses = addresses(&endpoint.host, endpoint.port, limit).await.map_err(unreachable)?;
    let share = LOGIN_LIMIT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last = unreachable(Error::new(Code::HostUnresolved).with(Fact::What, "the name has no address"));
    for address in addresses {
        let here = Opts::from(options.clone().resolved_ips(Some(vec![address.ip()])));
        match limit.within(share).limit(Handshake::start(here)).await {
            Ok(Ok(conn)) => return Ok(Session { conn, encrypted }),
            Ok(Err(failed)) => match of_login(failed, &login) {
                // The next address of the same name may be reached; once a server has answered, no other one is tried.
                unreached if matches!(unreached.error.code(), Code::ConnectionRefused | Code::ConnectTimeout) => {
                    last = unreached;
                }
                answered => return Err(answered),
            },
            Err(_) if answers(address, deadline).await => {
                return Err(unreachable(Error::new(Code::ServerSilent).with(Fact::Call, "the login")));
            }
            Err(_) => last = unreachable(Error::new(Code::ConnectTimeout)),
        }
    }
    Err(last)
}

async fn addresses(host: &str, port: u16, limit: Deadline) -> Result<Vec<SocketAddr>> {
    match limit.limit(tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => Ok(addresses.collect()),
        Ok(Err(_)) => Err(Error::new(Code::HostUnresolved)),
        Err(_) => Err(Error::new(Code::HostUnresolved).with(Fact::What, "the name server did not answer")),
    }
}

/// The driver does not tell how far it came. Asked only once a login was not answered: to the server this is one more
/// connection without a handshake.
async fn answers(address: SocketAddr, deadline: Deadline) -> bool {
    matches!(deadline.within(PROBE_LIMIT).limit(TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// What the driver is to do, and whether it will be encrypted.
fn options(login: &Login<'_>) -> Result<(OptsBuilder, bool)> {
    let endpoint = login.endpoint;
    let options = OptsBuilder::default()
        .ip_or_hostname(&endpoint.host)
        .tcp_port(endpoint.port)
        .user(Some(login.user))
        .pass(Some(login.password.expose()))
        .db_name(endpoint.database.as_deref())
        .prefer_socket(false)
        .secure_auth(true)
        .max_allowed_packet(Some(MOST_BYTES))
        .wait_timeout(Some(WAIT_TIMEOUT_SECONDS));
    match &endpoint.transport {
        Transport::Plaintext => Ok((options.ssl_opts(None::<SslOpts>), false)),
        Transport::Tls { server_name, verifier } => {
            tls::server_name(server_name)?;
            Ok((options.ssl_opts(Some(trusting(verifier, server_name))), true))
        }
    }
}

/// TLS with our trust alone: the driver has Mozilla's roots built in.
fn trusting(verifier: &Verifier, server_name: &str) -> SslOpts {
    let roots = verifier.trusted().map(|pem| pem.to_vec().into()).collect();
    SslOpts::default()
        .with_disable_built_in_roots(true)
        .with_root_certs(roots)
        // Not what it seems: the name is checked all the same, it need only not be the host's.
        .with_danger_tls_hostname_override(Some(server_name.to_owned()))
}

/// The driver's handshake, in a task of its own: a server that does not speak the protocol can make it panic, as with an RSA
/// key that is none.
struct Handshake(JoinHandle<mysql_async::Result<Conn>>);

impl Handshake {
    async fn start(options: Opts) -> Result<Conn, mysql_async::Error> {
        let mut task = Self(tokio::spawn(Conn::new(options)));
        (&mut task.0).await.unwrap_or_else(|_| Err(DriverError::PacketOutOfOrder.into()))
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Session {
    /// Runs statements, separated by semicolons, in one round trip: the rows of each that has any columns.
    ///
    /// # Errors
    /// By error number; [`Code::ServerSilent`] if the server does not answer; [`Code::ConnectionLost`].
    pub(crate) async fn run(&mut self, sql: &str, deadline: Deadline) -> Result<Vec<Rows>> {
        match deadline.within(STATEMENT_LIMIT).limit(self.answers(sql)).await {
            Ok(Ok(answers)) => answers,
            Ok(Err(mysql_async::Error::Server(refusal))) => Err(errno::error(refusal.code)),
            Ok(Err(_)) => Err(Error::new(Code::ConnectionLost).with(Fact::Call, "a statement")),
            Err(_) => Err(Error::new(Code::ServerSilent).with(Fact::Call, "a statement")),
        }
    }

    async fn answers(&mut self, sql: &str) -> mysql_async::Result<Result<Vec<Rows>>> {
        let mut answer = self.conn.query_iter(sql).await?;
        let (mut sets, mut bytes) = (Vec::new(), 0_usize);
        while let Some(columns) = answer.columns() {
            let take = |mut rows: Rows, row: mysql_async::Row| {
                let row: Row = row.unwrap().into_iter().map(value).collect();
                // A value that holds nothing takes room, too.
                let size = |value: &Option<Vec<u8>>| size_of_val(value) + value.as_ref().map_or(0, Vec::len);
                bytes = row.iter().map(size).fold(bytes.saturating_add(size_of_val(&row)), usize::saturating_add);
                // What is too much is read and forgotten.
                if bytes <= MOST_BYTES {
                    rows.push(row);
                } else {
                    rows.clear();
                }
                rows
            };
            let rows = answer.reduce(Rows::new(), take).await?;
            bytes = bytes.saturating_add(size_of::<Rows>());
            if !columns.is_empty() && bytes <= MOST_BYTES {
                sets.push(rows);
            }
        }
        // The loop ends at a later statement's error as it does at the end. Left there, it would be the next question's answer.
        answer.drop_result().await?;
        let too_much = || Error::new(Code::ConnectionLost).with(Fact::What, "the server says too much");
        Ok(if bytes > MOST_BYTES { Err(too_much()) } else { Ok(sets) })
    }

    /// The server's version, as the handshake states it.
    pub(crate) fn version(&self) -> (u16, u16, u16) {
        self.conn.server_version()
    }

    /// Whether what is sent is encrypted.
    pub(crate) fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Says good-bye, so that the server does not count a broken connection.
    pub(crate) async fn close(self, deadline: Deadline) {
        let _ = deadline.within(CLOSE_LIMIT).limit(self.conn.disconnect()).await;
    }
}

/// In the text protocol every value is bytes.
fn value(value: mysql_async::Value) -> Option<Vec<u8>> {
    match value {
        mysql_async::Value::Bytes(bytes) => Some(bytes),
        mysql_async::Value::NULL => None,
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn unreachable(error: Error) -> LoginFailure {
    LoginFailure { observation: Observation::Unreachable, error }
}

fn unknown(error: Error) -> LoginFailure {
    LoginFailure { observation: Observation::Unknown, error }
}

fn of_login(error: mysql_async::Error, login: &Login<'_>) -> LoginFailure {
    if let Some(failure) = tls::failure(&error) {
        return unreachable(failure);
    }
    match error {
        mysql_async::Error::Server(refusal) => refused(refusal.code, login),
        mysql_async::Error::Driver(error) => of_driver(&error),
        mysql_async::Error::Io(IoError::Io(error)) => unreachable(match error.kind() {
            io::ErrorKind::ConnectionRefused => Error::new(Code::ConnectionRefused),
            io::ErrorKind::TimedOut | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                Error::new(Code::ConnectTimeout)
            }
            _ => Error::new(Code::ConnectionLost).with(Fact::Call, "the login"),
        }),
        _ => unreachable(Error::new(Code::ConnectionLost).with(Fact::Call, "the login")),
    }
}

fn refused(number: u16, login: &Login<'_>) -> LoginFailure {
    let observation = errno::observation(number);
    let mut error = errno::error(number);
    if error.code() == Code::PrivilegeMissing {
        // The only privilege that a login needs is one on the database.
        error = error.recoded(Code::DatabaseUnusable);
    }
    if error.code() == Code::DatabaseUnusable
        && let Some(database) = &login.endpoint.database
    {
        error = error.with(Fact::Database, database);
    }
    if observation == Observation::Rejected {
        let unless = match login.endpoint.transport {
            Transport::Plaintext => "or the account or the server wants TLS, which \"ssl\": false leaves out",
            Transport::Tls { .. } => "or the account REQUIREs a client's certificate",
        };
        error = error.with(Fact::What, unless);
    }
    LoginFailure { observation, error }
}

fn of_driver(error: &DriverError) -> LoginFailure {
    let unsupported = |plugin: &str| unknown(Error::new(Code::AuthenticationUnsupported).with(Fact::Found, plugin));
    match error {
        DriverError::NoClientSslFlagFromServer => unreachable(Error::new(Code::TlsNotOffered)),
        DriverError::CleartextPluginDisabled => unsupported("mysql_clear_password, which sends the password itself"),
        DriverError::MysqlOldPasswordDisabled => unsupported("mysql_old_password, which is as good as none"),
        // MySQL also asks this of users that do not exist, so that nobody can tell them from others.
        DriverError::UnknownAuthPlugin { name } => {
            let plugin: String = name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
            let failure = unsupported(&plugin);
            LoginFailure { error: failure.error.with(Fact::What, "or the user does not exist"), ..failure }
        }
        // Its text may quote what the server sent.
        _ => {
            let error = Error::new(Code::ConnectionLost).with(Fact::Call, "the login");
            unreachable(error.with(Fact::What, "the answer is not one of MySQL's protocol"))
        }
    }
}
