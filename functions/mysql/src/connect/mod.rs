//! One connection and one login: TCP, TLS and authentication, each with an error of its own.
//!
//! The driver makes the connection. This file decides what the driver may do: TLS with our CAs only, no socket file
//! that a server names, no password in clear (`mysql_clear_password`), no hash of before 4.1 (`mysql_old_password`), no
//! query of its own, no local files.
//!
//! Without TLS, `caching_sha2_password` encrypts the password with a key that the server sends (manual, "Caching SHA-2
//! Pluggable Authentication"). A listener learns nothing; whoever can act as the server learns the password. A secret
//! with `"ssl": false` accepts that.

mod contained;
pub(crate) mod errno;

use contained::{Broken, contained};
use mysql_async::prelude::Queryable as _;
use mysql_async::{ClientIdentity, Conn, DriverError, Opts, OptsBuilder, ServerError, SslOpts};
use rotation::clock::Deadline;
use rotation::database::{Login, LoginFailure, Observation, Transport};
use rotation::net::connection;
use rotation::net::tls::{self, Verifier};
use rotation::{Code, Error, Fact, Result};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::coop::consume_budget;

/// A login in a VPC takes tens of milliseconds, and seconds on a small server under load. One lost SYN costs one
/// second, two cost three. A login that takes longer meets a firewall, or a server that hangs.
const LOGIN_LIMIT: Duration = Duration::from_secs(8);
/// The limit for a probe whether anything answers at the address, after a login without an answer.
const PROBE_LIMIT: Duration = Duration::from_secs(1);
/// A change of an account writes a few rows. The limits for locks are shorter, so that the error can name them.
const STATEMENT_LIMIT: Duration = Duration::from_secs(9);
/// The limit for saying good-bye, so that the server does not count a broken connection.
const CLOSE_LIMIT: Duration = Duration::from_millis(200);
/// How many bytes of memory the answers to one batch may take. A rotation's answers take kilobytes, and hundreds of
/// kilobytes for users with thousands of grants. A Lambda function has at least 128 MB.
const MOST_BYTES: usize = 8 << 20;
/// What a result counts besides its rows, so that results without rows have an end, too.
const SET: usize = 256;
/// Set so that the driver does not query it. Nothing uses it.
const WAIT_TIMEOUT_SECONDS: usize = 60;

/// The clients' plugins that an error may name (MySQL manual, "Authentication Plugins"; MariaDB Knowledge Base, "Authentication
/// Plugins").
const PLUGINS: &[&str] = &[
    "auth_gssapi_client",
    "authentication_fido_client",
    "authentication_kerberos_client",
    "authentication_ldap_sasl_client",
    "authentication_oci_client",
    "authentication_openid_connect_client",
    "authentication_webauthn_client",
    "authentication_windows_client",
    "caching_sha2_password",
    "client_ed25519",
    "dialog",
    "mysql_native_password",
    "parsec",
    "sha256_password",
];

/// An open connection. Dropped, it is closed.
pub(crate) struct Session {
    /// `None` once a statement has no whole answer.
    conn: Option<Conn>,
    version: (u16, u16, u16),
    encrypted: bool,
    /// The step's deadline, which ends every wait.
    pub(crate) deadline: Deadline,
}

/// A row of an answer in the text protocol; `None` is NULL.
pub(crate) type Row = Vec<Option<Vec<u8>>>;
/// The rows of one statement.
pub(crate) type Rows = Vec<Row>;

/// A column's text; empty for NULL and for bytes that are not UTF-8.
pub(crate) fn text(row: &Row, column: usize) -> &str {
    let bytes = row.get(column).and_then(Option::as_deref).unwrap_or_default();
    std::str::from_utf8(bytes).unwrap_or_default()
}

/// The value of an answer with one row and one column; empty if there is none.
pub(crate) fn only_value(answers: &[Rows]) -> &str {
    answers.first().and_then(|rows| rows.first()).map_or("", |row| text(row, 0))
}

/// Logs in: one connection, one attempt.
///
/// # Errors
/// What the attempt says about the password, and why there is no session.
pub(crate) async fn connect(login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
    // Over TLS the server may ask for the password itself, and the protocol cannot bind a login to a channel.
    if login.channel_binding_required {
        return Err(LoginFailure::unknown(Error::new(Code::SuperuserAddressUnproven)));
    }
    let endpoint = login.endpoint;
    let (options, encrypted) = options(&login).map_err(LoginFailure::unknown)?;
    // Some time is kept for the probe.
    let limit = deadline.less(PROBE_LIMIT.min(deadline.left() / 4)).within(LOGIN_LIMIT);
    let addresses = addresses(&endpoint.host, endpoint.port, limit).await.map_err(LoginFailure::unreachable)?;
    let conn = log_in_at(&addresses, &options, &login, limit, deadline).await?;
    Ok(Session { version: conn.server_version(), conn: Some(conn), encrypted, deadline })
}

/// Logs in at the first address that answers. The deadline leaves time for a probe after the limit.
async fn log_in_at(
    addresses: &[SocketAddr],
    options: &OptsBuilder,
    login: &Login<'_>,
    limit: Deadline,
    deadline: Deadline,
) -> Result<Conn, LoginFailure> {
    let share = LOGIN_LIMIT / u32::try_from(addresses.len()).unwrap_or(u32::MAX).max(1);
    let mut last =
        LoginFailure::unreachable(Error::new(Code::HostUnresolved).with(Fact::What, "the name has no address"));
    for address in addresses {
        let here = Opts::from(options.clone().resolved_ips(Some(vec![address.ip()])));
        let mut handshake = pin!(contained(Conn::new(here)));
        let mut outcome = limit.within(share).limit(&mut handshake).await;
        let alive = outcome.is_err() && answers(*address, deadline).await;
        if alive {
            // The share of an address is for finding out whether a server is there. A server that is there gets the
            // rest of the time.
            outcome = limit.limit(&mut handshake).await;
        }
        match outcome {
            Ok(Ok(conn)) => return Ok(conn),
            Ok(Err(Broken::Strange(what))) => return Err(LoginFailure::unknown(strange("the login", what))),
            Ok(Err(Broken::Driver(failed))) => match of_login(&failed, login) {
                // Another address of the same name may be reached. Once a server has answered, no other address is tried.
                unreached if matches!(unreached.error.code(), Code::ConnectionRefused | Code::ConnectTimeout) => {
                    last = unreached;
                }
                answered => return Err(answered),
            },
            Err(_) if alive => {
                return Err(LoginFailure::unreachable(Error::new(Code::ServerSilent).with(Fact::Call, "the login")));
            }
            Err(_) => last = LoginFailure::unreachable(Error::new(Code::ConnectTimeout)),
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

/// Probes whether anything answers. The driver does not say how far it came. The server sees one more connection
/// without a handshake, so this is done only after a login without an answer.
async fn answers(address: SocketAddr, deadline: Deadline) -> bool {
    matches!(deadline.within(PROBE_LIMIT).limit(TcpStream::connect(address)).await, Ok(Ok(_)))
}

/// The driver's options, and whether the connection will be encrypted.
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

/// TLS with our CAs only: the driver has Mozilla's roots built in.
fn trusting(verifier: &Verifier, server_name: &str) -> SslOpts {
    let roots = verifier.trusted().map(|pem| pem.to_vec().into()).collect();
    let identity = verifier.client_certificate().map(|client| {
        let bytes = |pem: &str| pem.as_bytes().to_vec().into();
        ClientIdentity::new(bytes(&client.certificate), bytes(client.key.expose()))
    });
    SslOpts::default()
        .with_client_identity(identity)
        .with_disable_built_in_roots(true)
        .with_root_certs(roots)
        // In spite of its name this does not switch the check off: the certificate must be for this name instead of the
        // host's.
        .with_danger_tls_hostname_override(Some(server_name.to_owned()))
}

impl Session {
    /// Runs statements, separated by semicolons, in one round trip. Returns the rows of each statement that has columns.
    ///
    /// # Errors
    /// By error number; [`Code::ServerSilent`] if the server does not answer; [`Code::ServerStrange`]; [`Code::ConnectionLost`].
    pub(crate) async fn run(&mut self, sql: &str) -> Result<Vec<Rows>> {
        let Some(conn) = &mut self.conn else {
            return Err(Error::new(Code::ConnectionLost).with(Fact::Call, "a statement"));
        };
        let error = match self.deadline.within(STATEMENT_LIMIT).limit(contained(rows_of(conn, sql))).await {
            Ok(Ok(Some(answers))) => return Ok(answers),
            Ok(Err(Broken::Driver(mysql_async::Error::Server(refusal)))) => return Err(errno::error(refusal.code)),
            Ok(Err(Broken::Driver(error))) => return Err(connection::lost("a statement", &error)),
            Ok(Ok(None)) => strange("a statement", "too many rows, or too long ones"),
            Ok(Err(Broken::Strange(what))) => strange("a statement", what),
            Err(_) => Error::new(Code::ServerSilent).with(Fact::Call, "a statement"),
        };
        contained::abandon(self.conn.take());
        Err(error)
    }

    /// The server's version, as the handshake states it.
    pub(crate) fn version(&self) -> (u16, u16, u16) {
        self.version
    }

    /// Whether the connection is encrypted.
    pub(crate) fn encrypted(&self) -> bool {
        self.encrypted
    }

    /// Says good-bye, so that the server does not count a broken connection.
    pub(crate) async fn close(self) {
        if let Some(conn) = self.conn {
            let _ = self.deadline.within(CLOSE_LIMIT).limit(conn.disconnect()).await;
        }
    }
}

/// The rows of each statement that has columns. `None` if they take more than [`MOST_BYTES`]; the rest of them is not read.
async fn rows_of(conn: &mut Conn, sql: &str) -> mysql_async::Result<Option<Vec<Rows>>> {
    let mut answer = conn.query_iter(sql).await?;
    let (mut sets, mut bytes) = (Vec::new(), 0_usize);
    while let Some(columns) = answer.columns() {
        let mut rows = Rows::new();
        bytes = bytes.saturating_add(SET);
        while let Some(row) = answer.next().await? {
            // Rows that have arrived already are read without a pause, in which the time and the memory are looked at.
            consume_budget().await;
            let row: Row = row.unwrap().into_iter().map(value).collect();
            // An empty value takes memory, too.
            let size = |value: &Option<Vec<u8>>| size_of_val(value) + value.as_ref().map_or(0, Vec::len);
            bytes = row.iter().map(size).fold(bytes.saturating_add(size_of_val(&row)), usize::saturating_add);
            if bytes > MOST_BYTES {
                return Ok(None);
            }
            rows.push(row);
        }
        consume_budget().await;
        if bytes > MOST_BYTES {
            return Ok(None);
        }
        if !columns.is_empty() {
            sets.push(rows);
        }
    }
    // The loop also ends if a later statement fails. That error has to be read here, or it would answer the next query.
    answer.drop_result().await?;
    Ok(Some(sets))
}

/// In the text protocol every value is bytes.
fn value(value: mysql_async::Value) -> Option<Vec<u8>> {
    match value {
        mysql_async::Value::Bytes(bytes) => Some(bytes),
        mysql_async::Value::NULL => None,
        other => Some(other.as_sql(true).into_bytes()),
    }
}

fn strange(call: &str, what: &str) -> Error {
    Error::new(Code::ServerStrange).with(Fact::Call, call).with(Fact::What, what)
}

fn of_login(error: &mysql_async::Error, login: &Login<'_>) -> LoginFailure {
    if let Some(failure) = tls::failure(error) {
        return LoginFailure::unreachable(failure);
    }
    match error {
        mysql_async::Error::Server(refusal) => refused(refusal, login),
        mysql_async::Error::Driver(error) => of_driver(error),
        _ => LoginFailure::unreachable(match connection::cause::<io::Error>(error).map(io::Error::kind) {
            Some(ErrorKind::ConnectionRefused) => Error::new(Code::ConnectionRefused),
            Some(ErrorKind::TimedOut | ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable) => {
                Error::new(Code::ConnectTimeout)
            }
            _ => connection::lost("the login", error),
        }),
    }
}

fn refused(refusal: &ServerError, login: &Login<'_>) -> LoginFailure {
    let observation = errno::observation(refusal.code, &refusal.state);
    let mut error = errno::error(refusal.code);
    if error.code() == Code::CurrentRejected && observation != Observation::Rejected {
        let what = "said without the SQLSTATE of a refused password, perhaps before one was asked for";
        error = error.recoded(Code::TargetRefused).with(Fact::What, what);
    }
    if error.code() == Code::PrivilegeMissing {
        // A login needs no privilege but one on the database.
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
            Transport::Tls { .. } => {
                "or the account REQUIREs a client's certificate (X509, ISSUER, SUBJECT; on MySQL also CIPHER) that \
                 rotation.clientCertificate does not hold, or another CIPHER"
            }
        };
        error = error.with(Fact::What, unless);
    }
    LoginFailure { observation, error }
}

fn of_driver(error: &DriverError) -> LoginFailure {
    let unsupported =
        |plugin: &str| LoginFailure::unknown(Error::new(Code::AuthenticationUnsupported).with(Fact::Found, plugin));
    match error {
        DriverError::NoClientSslFlagFromServer => LoginFailure::unreachable(Error::new(Code::TlsNotOffered)),
        DriverError::CleartextPluginDisabled => unsupported("mysql_clear_password, which sends the password itself"),
        DriverError::InvalidParsecSalt => unsupported("parsec"),
        DriverError::MysqlOldPasswordDisabled => unsupported("mysql_old_password, which is as good as none"),
        // MySQL also asks for a plugin if the user does not exist, so that nobody can tell.
        DriverError::UnknownAuthPlugin { name } => {
            // A hostile server names it as it likes.
            let plugin = PLUGINS.iter().find(|plugin| **plugin == name.as_str()).copied();
            let plugin = plugin.unwrap_or("a plugin of another name");
            let failure = unsupported(plugin);
            LoginFailure { error: failure.error.with(Fact::What, "or the user does not exist"), ..failure }
        }
        // The error's text may quote what the server sent.
        _ => {
            let error = Error::new(Code::ConnectionLost).with(Fact::Call, "the login");
            LoginFailure::unreachable(
                error.with(Fact::What, "the answer is not one of MySQL's protocol, or asks for MariaDB's parsec"),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::hash;
    use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD_NO_PAD;
    use rotation::database::Endpoint;
    use rotation::secret::Password;
    use std::io::{Read as _, Write};
    use std::net::{Ipv4Addr, TcpListener};
    use std::thread;
    use tokio::sync::Mutex;

    /// A panic's backtrace takes so much memory that a login at the same time is ended for it. In a function nothing else runs.
    static ALONE: Mutex<()> = Mutex::const_new(());

    /// Protocol 10, version 8.0.40, all that the driver can do but TLS, `mysql_native_password` (manual, "Protocol::Handshake").
    const GREETING: &[u8] = b"\x0a8.0.40\0\x01\0\0\x0012345678\0\xff\xf7\xff\x02\0\xff\xdf\x15\0\0\0\0\0\0\0\0\0\0\
        abcdefghijkl\0mysql_native_password\0";
    const OK: &[u8] = b"\0\0\0\x02\0\0\0";
    const REFUSED: &[u8] = b"\xff\x15\x04#28000Access denied";

    /// A server that sends these packets, each but the first in answer to a message.
    fn server(delay: Duration, packets: &'static [&'static [u8]]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || {
                    let mut stream = stream.unwrap();
                    thread::sleep(delay);
                    for (index, packet) in packets.iter().enumerate() {
                        if index > 0 {
                            let _ = stream.read(&mut [0; 4096]);
                        }
                        send(&mut stream, [0, 2, 1].get(index).copied().unwrap_or(2), packet);
                    }
                    let _ = stream.read(&mut [0; 4096]);
                });
            }
        });
        port
    }

    fn send(stream: &mut impl Write, number: u8, packet: &[u8]) {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let _ = stream.write_all(&[&[length[0], length[1], length[2], number], packet].concat());
    }

    /// A server that asks for a signature of these bytes, as MariaDB's `ed25519` does (MariaDB Knowledge Base, "Authentication
    /// Plugin - ed25519").
    fn server_of_ed25519(password: &Password, asked: &'static [u8; 32]) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let key = STANDARD_NO_PAD.decode(hash::ed25519(password).as_str()).unwrap();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            send(&mut stream, 0, GREETING);
            let _ = stream.read(&mut [0; 4096]);
            send(&mut stream, 2, &[b"\xfeclient_ed25519\0", &asked[..]].concat());
            let mut signature = [0; 4 + 64];
            stream.read_exact(&mut signature).unwrap();
            let signed = UnparsedPublicKey::new(&ED25519, &key).verify(asked, &signature[4..]);
            send(&mut stream, 4, if signed.is_ok() { OK } else { REFUSED });
        });
        port
    }

    fn endpoint(port: u16, transport: Transport) -> Endpoint {
        Endpoint { host: "127.0.0.1".to_owned(), port, database: None, transport }
    }

    fn login<'a>(endpoint: &'a Endpoint, password: &'a Password) -> Login<'a> {
        Login { endpoint, user: "app", password, channel_binding_required: false }
    }

    async fn log_in(endpoint: &Endpoint) -> Result<Session, LoginFailure> {
        connect(login(endpoint, &"password".into()), Deadline::after(Duration::from_secs(5))).await
    }

    /// If this test fails, the driver is corrected, and `Engine::may_refuse_wrongly` can go.
    #[tokio::test]
    async fn the_driver_drops_a_zero_at_the_end_of_what_it_is_to_sign() {
        let _alone = ALONE.lock().await;
        let asks = |asked| endpoint(server_of_ed25519(&"password".into(), asked), Transport::Plaintext);
        assert!(log_in(&asks(b"what the driver signs ends here!")).await.is_ok());
        let refused = log_in(&asks(b"what the driver signs ends here\0")).await.err().unwrap();
        assert_eq!(refused.observation, Observation::Rejected);
    }

    #[tokio::test]
    async fn an_error_before_the_password_says_nothing_about_it() {
        let _alone = ALONE.lock().await;
        let tls = || Transport::Tls { server_name: "db.example".to_owned(), verifier: Verifier::new(&[]).unwrap() };
        for transport in [Transport::Plaintext, tls()] {
            let failure = log_in(&endpoint(server(Duration::ZERO, &[REFUSED]), transport)).await.err().unwrap();
            assert_eq!((failure.observation, failure.error.code()), (Observation::Unknown, Code::TargetRefused));
        }
        let asked = endpoint(server(Duration::ZERO, &[GREETING, REFUSED]), Transport::Plaintext);
        assert_eq!(log_in(&asked).await.err().unwrap().observation, Observation::Rejected);
    }

    #[tokio::test]
    async fn answers_that_make_the_driver_panic_are_errors() {
        let _alone = ALONE.lock().await;
        // A result of 2^63 - 1 columns.
        let port = server(Duration::ZERO, &[GREETING, OK, b"\xfe\xff\xff\xff\xff\xff\xff\xff\x7f"]);
        let mut session = log_in(&endpoint(port, Transport::Plaintext)).await.ok().unwrap();
        let error = session.run("SELECT 1").await.unwrap_err();
        assert_eq!(error.code(), Code::ServerStrange);
        session.close().await;
    }

    /// Behind a proxy of many addresses, each address has a share of the time that is shorter than a slow login.
    #[tokio::test]
    async fn an_address_that_answers_late_is_waited_for() {
        let _alone = ALONE.lock().await;
        let endpoint = endpoint(server(Duration::from_millis(400), &[GREETING, OK]), Transport::Plaintext);
        let password = "password".into();
        let login = login(&endpoint, &password);
        let addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, endpoint.port)); 32];
        let (options, _) = options(&login).unwrap();
        let deadline = Deadline::after(Duration::from_secs(5));
        let outcome = log_in_at(&addresses, &options, &login, deadline, deadline).await;
        assert!(outcome.is_ok(), "{:?}", outcome.err().map(|failure| failure.error));
    }
}
