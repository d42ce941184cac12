//! One connection and one login: TCP, TLS and authentication, each with a limit and an error of its own.

mod guard;
mod sqlstate;

use guard::{CleartextRequested, Guarded, GuardedTls, Strange};
use rotation::clock::Deadline;
use rotation::database::{Login, LoginFailure, Observation, Transport};
use rotation::net::connection;
use rotation::net::tls;
use rotation::{Code, Error, Fact, Result};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_postgres::config::{ChannelBinding, SslMode, SslNegotiation};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, SimpleQueryMessage};
use tokio_postgres_rustls::MakeRustlsConnect;

/// A TCP connection within a VPC takes milliseconds. One lost SYN costs one second, two cost three. Five seconds are the sign of
/// a firewall. The limits of one login and one change add up to about AWS's default of 30 s. The step's deadline cuts the rest.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// TLS and SCRAM take tens of milliseconds, seconds on a small server under load.
const LOGIN_LIMIT: Duration = Duration::from_secs(5);
/// A rotation may block others for this long. A busy server's hiccup is shorter.
pub(crate) const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// A change of a role writes a few catalog rows. The lock's limit is shorter, so that the error can name it.
pub(crate) const STATEMENT_LIMIT: Duration = Duration::from_secs(8);
/// The server's limits end a statement this long before the client gives up.
const CLIENT_MARGIN: Duration = Duration::from_secs(1);

/// The message that asks for TLS (PostgreSQL manual, 55.7 "Message Formats", SSLRequest).
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// An open connection. Dropped, it is closed.
pub(crate) struct Session {
    client: Client,
    driver: Driver,
    strange: Strange,
    /// The step's deadline, which ends every wait.
    pub(crate) deadline: Deadline,
}

/// The task that moves bytes for a client.
struct Driver(JoinHandle<()>);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Logs in: one connection, one attempt.
///
/// # Errors
/// What the attempt says about the password, and why there is no session.
pub(crate) async fn connect(login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
    let endpoint = login.endpoint;
    let stream = open(&endpoint.host, endpoint.port, deadline).await.map_err(LoginFailure::unreachable)?;
    let limit = deadline.within(LOGIN_LIMIT);
    let strange = Strange::default();
    let session = match &endpoint.transport {
        Transport::Plaintext => {
            let stream = Guarded::plaintext(stream, strange.clone());
            authenticate(stream, NoTls, &login, limit, strange).await
        }
        Transport::Tls { server_name, verifier } => {
            tls::server_name(server_name).map_err(LoginFailure::unknown)?;
            let mut connector = MakeRustlsConnect::new((*verifier.config()).clone());
            let Ok(connector) = MakeTlsConnect::<Guarded<TcpStream>>::make_tls_connect(&mut connector, server_name);
            let stream = ask_for_tls(stream, limit).await.map_err(LoginFailure::unreachable)?;
            let stream = Guarded::beneath_tls(stream, strange.clone());
            authenticate(stream, GuardedTls(connector, strange.clone()), &login, limit, strange).await
        }
    }?;
    Ok(Session { deadline, ..session })
}

/// A TCP connection to the first address that answers.
async fn open(host: &str, port: u16, deadline: Deadline) -> Result<TcpStream> {
    let limit = deadline.within(CONNECT_LIMIT);
    let addresses: Vec<SocketAddr> = match limit.limit(tokio::net::lookup_host((host, port))).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(_)) => return Err(Error::new(Code::HostUnresolved)),
        Err(_) => return Err(Error::new(Code::HostUnresolved).with(Fact::What, "the name server did not answer")),
    };
    let mut last = Error::new(Code::HostUnresolved).with(Fact::What, "the name has no address");
    let count = u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    for address in addresses {
        // Each address has a share of the time: one that drops packets leaves time for the next.
        match deadline.within(CONNECT_LIMIT / count).limit(TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                // Every message waits for its answer, so batching would only add delay.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                last = Error::new(Code::ConnectionRefused);
            }
            Ok(Err(_)) | Err(_) => last = Error::new(Code::ConnectTimeout),
        }
    }
    Err(last)
}

/// Asks for TLS and waits for the server's one-letter answer. The errors of tokio-postgres do not tell a server without TLS from
/// one whose certificate is refused.
async fn ask_for_tls(mut stream: TcpStream, limit: Deadline) -> Result<TcpStream> {
    let ask = async {
        stream.write_all(&SSL_REQUEST).await?;
        stream.read_u8().await
    };
    match limit.limit(ask).await {
        Ok(Ok(b'S')) => Ok(stream),
        Ok(Ok(b'N')) => Err(Error::new(Code::TlsNotOffered)),
        // 'E': the server is too old to know the request, or too full to answer it. What follows must not be read before TLS is
        // up (CVE-2021-23222).
        Ok(Ok(_)) => Err(Error::new(Code::ServerNotReady).with(Fact::Call, "the request for TLS")),
        Ok(Err(error)) => Err(connection::lost("the request for TLS", &error)),
        Err(_) => Err(Error::new(Code::ServerSilent).with(Fact::Call, "the request for TLS")),
    }
}

async fn authenticate<S, T>(
    stream: S,
    tls: T,
    login: &Login<'_>,
    limit: Deadline,
    strange: Strange,
) -> Result<Session, LoginFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: TlsConnect<S, Stream: Send + 'static, Future: Send> + Send,
{
    let mut config = Config::new();
    config.user(login.user).password(login.password.expose()).application_name("lockstep");
    if let Some(database) = &login.endpoint.database {
        config.dbname(database);
    }
    match login.endpoint.transport {
        Transport::Plaintext => config.ssl_mode(SslMode::Disable),
        // The server has agreed to TLS already, so the handshake follows directly.
        Transport::Tls { .. } => config.ssl_mode(SslMode::Require).ssl_negotiation(SslNegotiation::Direct),
    };
    if login.channel_binding_required {
        config.channel_binding(ChannelBinding::Require);
    }
    match limit.limit(config.connect_raw(stream, tls)).await {
        Ok(Ok((client, connection))) => {
            // An error of the connection fails the client's next statement.
            let driver = Driver(tokio::spawn(async { drop(connection.await) }));
            Ok(Session { client, driver, strange, deadline: limit })
        }
        Ok(Err(_)) if strange.seen() => {
            Err(LoginFailure::unknown(Error::new(Code::ServerStrange).with(Fact::Call, "the login")))
        }
        Ok(Err(error)) => Err(of_login(&error, login)),
        Err(_) => Err(LoginFailure::unreachable(Error::new(Code::ServerSilent).with(Fact::Call, "the login"))),
    }
}

impl Session {
    /// Runs statements in one round trip and returns the messages of all of them.
    ///
    /// # Errors
    /// By SQLSTATE; [`Code::ServerSilent`] if the server does not answer; [`Code::ServerStrange`]; [`Code::ConnectionLost`].
    pub(crate) async fn run(&self, sql: &str) -> Result<Vec<SimpleQueryMessage>> {
        match self.deadline.within(STATEMENT_LIMIT + CLIENT_MARGIN).limit(self.client.simple_query(sql)).await {
            Ok(Ok(messages)) => Ok(messages),
            Ok(Err(_)) if self.strange.seen() => Err(Error::new(Code::ServerStrange).with(Fact::Call, "a statement")),
            Ok(Err(error)) => Err(of_statement(&error)),
            Err(_) => Err(Error::new(Code::ServerSilent).with(Fact::Call, "a statement")),
        }
    }

    /// Says good-bye, so that the server does not count a broken connection.
    pub(crate) async fn close(self) {
        let Self { client, mut driver, deadline, .. } = self;
        drop(client);
        let _ = deadline.within(Duration::from_millis(200)).limit(&mut driver.0).await;
    }
}

/// The SQLSTATE of nearly every error of PgBouncer's own.
const POOLERS_STATE: &str = "08P01";
/// What PgBouncer says to a password that its verifier does not fit. The texts are never translated (`disconnect_client` in client.c).
/// With `auth_query` it has just asked the server for the verifier. That it cannot reach the server, or cannot log in there, has other
/// texts.
const POOLERS_REFUSALS: [&str; 2] = ["SASL authentication failed", "password authentication failed"];

fn of_login(error: &tokio_postgres::Error, login: &Login<'_>) -> LoginFailure {
    if let Some(state) = error.code() {
        let refused_by_pooler = error.as_db_error().is_some_and(|error| POOLERS_REFUSALS.contains(&error.message()));
        let mut observation = sqlstate::observation(state.code());
        let mut error = sqlstate::error(state.code());
        if state.code() == POOLERS_STATE && refused_by_pooler {
            observation = Observation::Rejected;
            error = error.recoded(Code::CurrentRejected);
        }
        if error.code() == Code::PrivilegeMissing {
            // A login needs no privilege but CONNECT.
            error = error.recoded(Code::DatabaseUnusable);
        }
        if let Some(database) = &login.endpoint.database {
            error = error.with(Fact::Database, database);
        }
        return LoginFailure { observation, error };
    }
    if let Some(failure) = tls::failure(error) {
        return LoginFailure::unreachable(failure);
    }
    if connection::cause::<CleartextRequested>(error).is_some() {
        let found = "a request for the password in clear, without TLS";
        return LoginFailure::unknown(Error::new(Code::AuthenticationUnsupported).with(Fact::Found, found));
    }
    // The driver shows the kind of an error only by these fixed words. Their cause is an `io::Error` if the SCRAM exchange failed,
    // and a plain text if a method is not supported or the required channel binding is missing.
    let authentication = error.to_string() == "authentication error";
    match (authentication, connection::cause::<io::Error>(error).is_some()) {
        (true, true) => LoginFailure::unknown(Error::new(Code::ServerUnproven)),
        (true, false) => LoginFailure::unknown(Error::new(Code::AuthenticationUnsupported)),
        (false, _) => LoginFailure::unreachable(connection::lost("the login", error)),
    }
}

/// What PgBouncer says of a transaction in statement mode: "transaction blocks not allowed in statement pooling mode".
const STATEMENT_POOLING: &str = "not allowed in statement pooling mode";

fn of_statement(error: &tokio_postgres::Error) -> Error {
    match error.code() {
        // Another session altered the role and committed while this one waited. The SQLSTATE is that of all internal errors. The
        // text is never translated (`elog` in simple_heap_update, heapam.c).
        Some(state) if error.as_db_error().is_some_and(|error| error.message() == "tuple concurrently updated") => {
            Error::new(Code::LockTimeout).with(Fact::SqlState, state.code())
        }
        // PgBouncer in statement mode, as an answer to BEGIN. The SQLSTATE is that of all its errors, and its texts are never translated
        // (`handle_server_work` in server.c).
        Some(state) if error.as_db_error().is_some_and(|error| error.message().contains(STATEMENT_POOLING)) => {
            Error::new(Code::PoolerUnsuitable).with(Fact::SqlState, state.code())
        }
        Some(state) => sqlstate::error(state.code()),
        None => connection::lost("a statement", error),
    }
}
