//! A throwaway PgBouncer in front of a throwaway PostgreSQL, with the same certificate.
//!
//! Clients connect with TLS, and so does PgBouncer to the server. It asks the server for the verifier of a user
//! (`auth_query`), or knows a fixed list of them (`auth_file`).

use super::certificates::Certificate;
use super::error::{Error, Result, blocking};
use super::home::Home;
use super::launch::{Launchable, Running, launch};
use super::password::Password;
use super::postgres::Postgres;
use super::tls::HOST;
use crate::port::Reserved;
use crate::process::Process;
use crate::provision;
use rustix::process::Signal;
use std::fmt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;

/// The user with which PgBouncer asks for verifiers.
const ASKING_USER: &str = "pooler";

/// How long a client keeps its connection to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Until the client disconnects.
    Session,
    /// Until its transaction ends.
    Transaction,
    /// Until its statement ends. Transactions of several statements are refused.
    Statement,
}

/// How a throwaway PgBouncer is set up.
#[derive(Clone, Debug)]
pub struct Options {
    mode: Mode,
    reset_query: String,
    /// The users and verifiers of `auth_file`; `None` to ask the server for them.
    users: Option<Vec<(String, String)>>,
}

impl Options {
    /// A pooler in this mode that asks the server for verifiers, and resets sessions with `DISCARD ALL`: the default of
    /// PgBouncer, which applies to session mode alone.
    pub fn new(mode: Mode) -> Self {
        Self { mode, reset_query: "DISCARD ALL".to_owned(), users: None }
    }

    /// What PgBouncer sends to the server between two clients, in session mode.
    #[must_use]
    pub fn reset_query(mut self, sql: &str) -> Self {
        sql.clone_into(&mut self.reset_query);
        self
    }

    /// Lets in these users with these verifiers, and nobody else.
    #[must_use]
    pub fn users(mut self, users: &[(&str, &str)]) -> Self {
        self.users = Some(users.iter().map(|(user, verifier)| ((*user).to_owned(), (*verifier).to_owned())).collect());
        self
    }
}

/// A running PgBouncer. Dropping it stops it and removes its directory.
#[derive(Debug)]
pub struct PgBouncer {
    // Before the pooler, whose directory goes last: fields are dropped in order.
    _process: Running,
    port: Arc<Reserved>,
    _pooler: Pooler,
}

impl PgBouncer {
    /// Starts one on a free port of 127.0.0.1. Its program is obtained first if need be. With `auth_query`, the server gets the user
    /// and the function that this needs.
    ///
    /// # Errors
    /// [`Error::Provision`] if there is no program to be had; [`Error::NotReady`] if it does not start; [`Error::Database`].
    pub async fn start(options: Options, server: &Postgres) -> Result<Self> {
        let certificate = server.certificate().ok_or_else(|| Error::Database {
            doing: "cannot start PgBouncer".to_owned(),
            found: "the server has no TLS".to_owned(),
        })?;
        let asking = Password::random();
        if options.users.is_none() {
            server.create_user(ASKING_USER, &asking).await?;
            let client = server.connect_superuser().await?;
            client.batch_execute(LOOK_UP).await.map_err(|error| Error::Database {
                doing: "cannot make PgBouncer's function".to_owned(),
                found: error.to_string(),
            })?;
        }
        let (certificate, target) = (certificate.clone(), server.port());
        blocking(move || {
            let program = provision::pgbouncer()?;
            let pooler = Pooler { program, home: Home::new("pgbouncer")?, options, asking, certificate, target };
            let (process, port) = launch(&pooler)?;
            Ok(Self { _process: process, port, _pooler: pooler })
        })
        .await
    }

    /// The name to connect to: `localhost`.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port.number()
    }
}

/// For messages: `PgBouncer on localhost:6432`.
impl fmt::Display for PgBouncer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PgBouncer on {HOST}:{}", self.port())
    }
}

/// Reads one verifier for a user that may read none (PgBouncer manual, `auth_query`).
const LOOK_UP: &str = "CREATE SCHEMA pooler; GRANT USAGE ON SCHEMA pooler TO pooler; \
    CREATE FUNCTION pooler.verifier(name text) RETURNS TABLE (usename name, passwd text) \
      LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS \
      'SELECT usename, passwd FROM pg_shadow WHERE usename = name AND NOT usesuper'; \
    REVOKE ALL ON FUNCTION pooler.verifier(text) FROM PUBLIC; GRANT EXECUTE ON FUNCTION pooler.verifier(text) TO pooler";

/// PgBouncer's program, its directory and how it is set up.
struct Pooler {
    program: PathBuf,
    home: Home,
    options: Options,
    asking: Password,
    certificate: Certificate,
    target: u16,
}

/// Without the passwords.
impl fmt::Debug for Pooler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pooler").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Pooler {
    fn configuration(&self, port: u16) -> String {
        let mode = match self.options.mode {
            Mode::Session => "session",
            Mode::Transaction => "transaction",
            Mode::Statement => "statement",
        };
        let ask = match &self.options.users {
            Some(_) => String::new(),
            None => {
                format!("auth_user = {ASKING_USER}\nauth_query = SELECT usename, passwd FROM pooler.verifier($1)\n")
            }
        };
        let file = |name: &str| self.home.path().join(name).display().to_string();
        format!(
            "[databases]\n* = host=127.0.0.1 port={target}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
             auth_type = scram-sha-256\nauth_file = {users}\n{ask}\
             pool_mode = {mode}\nserver_reset_query = {reset}\nserver_login_retry = 1\n\
             client_tls_sslmode = require\nclient_tls_cert_file = {cert}\nclient_tls_key_file = {key}\n\
             server_tls_sslmode = verify-full\nserver_tls_ca_file = {ca}\n",
            target = self.target,
            users = file("users.txt"),
            reset = self.options.reset_query,
            cert = file("server.crt"),
            key = file("server.key"),
            ca = file("ca.crt"),
        )
    }

    fn users(&self) -> String {
        let quoted = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
        let line = |(user, secret): (&str, &str)| format!("{} {}\n", quoted(user), quoted(secret));
        match &self.options.users {
            Some(users) => users.iter().map(|(user, verifier)| line((user, verifier))).collect(),
            None => line((ASKING_USER, self.asking.expose())),
        }
    }
}

impl Launchable for Pooler {
    const STOP: Signal = Signal::TERM;

    fn title(&self) -> String {
        "PgBouncer".to_owned()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let file = |name: &str| self.home.path().join(name);
        self.home.write_private(&file("server.crt"), self.certificate.cert_pem())?;
        self.home.write_private(&file("server.key"), self.certificate.key_pem())?;
        self.home.write_private(&file("ca.crt"), self.certificate.ca_pem())?;
        self.home.write_private(&file("users.txt"), &self.users())?;
        let settings = file("pgbouncer.ini");
        self.home.write_private(&settings, &self.configuration(port))?;
        let mut pooler = self.home.command(&self.program);
        pooler.arg(settings);
        Ok(pooler)
    }

    fn is_ready(&self, _process: &Process, news: &str) -> bool {
        news.contains("process up")
    }
}
