//! The kinds of servers that secrets are for, and in what they differ for the tests.

use lab::servers::certificates::Certificate;
use lab::servers::mysql::{self, Kind, MySql, literal};
use lab::servers::postgres::{self, Postgres, quoted};
use lab::servers::{Password, Tls};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Row};
use serde_json::{Value, json};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use tokio::sync::{Mutex, OnceCell};
use tokio_postgres::{Client, SimpleQueryMessage};

/// How a user rotates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// It changes its own password, and the one before ends.
    SingleUser,
    /// The same, and the one before works on until the next rotation. Only MySQL has that.
    DualPassword,
    /// It takes turns with its clone.
    AlternatingUsers,
}

impl Strategy {
    /// Whether the credential before the current one works.
    pub fn keeps_previous(self) -> bool {
        self != Self::SingleUser
    }
}

/// A kind of server.
pub trait Server: fmt::Display + Send + Sync + Sized + 'static {
    /// The function's package.
    const FUNCTION: &'static str;
    /// How one is set up.
    type Options: Options<Server = Self>;
    /// A session of its superuser.
    type Session: Send + Sync;

    /// Starts a new one.
    fn start(options: Self::Options) -> impl Future<Output = Self> + Send;
    /// The release binary of its function, built once per test process.
    fn function() -> impl Future<Output = PathBuf> + Send;
    /// What differs in its secrets from one kind to another: `engine`, and `dbname` where there is one.
    fn fields(&self) -> Value;
    /// The strategies that there are: one for a user alone, and alternating users.
    fn strategies(&self) -> [Strategy; 2];
    /// Its port, past any relay.
    fn port(&self) -> u16;
    /// The CA of its certificate.
    fn ca_pem(&self) -> &str;
    /// The superuser's name and password.
    fn superuser(&self) -> (&str, &Password);
    /// Lets the user `setter` set the passwords of other users.
    fn lets_set_password_of(&self, user: &str) -> String;
    /// Makes a user.
    fn create_user(&self, name: &str, password: &Password) -> impl Future<Output = ()> + Send;
    /// Sets a user's password, as a person would. No other password works afterwards.
    fn set_password(&self, user: &str, password: &str) -> impl Future<Output = ()> + Send;
    /// Whether this user can log in with this password.
    fn opens(&self, user: &str, password: &str) -> impl Future<Output = bool> + Send;
    /// Runs SQL as the superuser.
    fn sql(&self, sql: &str) -> impl Future<Output = ()> + Send;
    /// Asks as the superuser: the first column of each row, as text; NULL as nothing.
    fn ask(&self, sql: &str) -> impl Future<Output = Vec<String>> + Send;
    /// A session of the superuser, for whoever asks often: a login takes longer than most answers.
    fn session(&self) -> impl Future<Output = Self::Session> + Send;
    /// As [`ask`](Self::ask), in a session.
    fn asked(session: &Self::Session, sql: &str) -> impl Future<Output = Vec<String>> + Send;
    /// Every user with what the server stores of its passwords.
    fn hashes(&self) -> impl Future<Output = Vec<String>> + Send;
    /// Its log so far.
    fn log(&self) -> String;
    /// Stops it at once. Its data and its port stay.
    fn down(&self);
    /// Starts it again.
    fn up(&self) -> impl Future<Output = ()> + Send;
}

/// How a server is set up; by default with TLS required.
pub trait Options: Clone + Default + Send + 'static {
    /// What is set up.
    type Server: Server<Options = Self>;

    /// Whether it has TLS, and whether it insists.
    #[must_use]
    fn tls(self, tls: Tls) -> Self;
    /// The certificate that it presents.
    #[must_use]
    fn certificate(self, certificate: Certificate) -> Self;
    /// A setting, such as `max_connections`.
    #[must_use]
    fn setting(self, name: &str, value: &str) -> Self;
    /// Has every statement and connection logged.
    #[must_use]
    fn log_statements(self) -> Self;
}

async fn build<S: Server>() -> PathBuf {
    lab::build::release_binary(S::FUNCTION).await.expect("the function builds")
}

impl Server for Postgres {
    const FUNCTION: &'static str = "lockstep-postgres";
    type Options = postgres::Options;
    type Session = Client;

    async fn start(options: postgres::Options) -> Self {
        Self::start(options).await.expect("PostgreSQL starts")
    }
    async fn function() -> PathBuf {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        BINARY.get_or_init(build::<Self>).await.clone()
    }
    fn fields(&self) -> Value {
        json!({"engine": "postgres", "dbname": "postgres"})
    }
    fn strategies(&self) -> [Strategy; 2] {
        [Strategy::SingleUser, Strategy::AlternatingUsers]
    }
    fn port(&self) -> u16 {
        self.port()
    }
    fn ca_pem(&self) -> &str {
        self.ca_pem()
    }
    fn superuser(&self) -> (&str, &Password) {
        (self.superuser(), self.superuser_password())
    }
    /// From PostgreSQL 16 on CREATEROLE is not enough.
    fn lets_set_password_of(&self, user: &str) -> String {
        format!(
            "ALTER ROLE setter CREATEROLE; DO $$ BEGIN IF current_setting('server_version_num')::int >= 160000 THEN \
             GRANT {} TO setter WITH ADMIN OPTION; END IF; END $$",
            quoted(user)
        )
    }
    async fn create_user(&self, name: &str, password: &Password) {
        self.create_user(name, password).await.expect("the user is created");
    }
    async fn set_password(&self, user: &str, password: &str) {
        Server::sql(self, &format!("ALTER ROLE {} PASSWORD '{}'", quoted(user), password.replace('\'', "''"))).await;
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        self.can_login(user, &password.into()).await.expect("the server answers")
    }
    async fn sql(&self, sql: &str) {
        self.connect_superuser().await.expect("the superuser logs in").batch_execute(sql).await.expect(sql);
    }
    async fn ask(&self, sql: &str) -> Vec<String> {
        Self::asked(&self.session().await, sql).await
    }
    async fn session(&self) -> Client {
        self.connect_superuser().await.expect("the superuser logs in")
    }
    async fn asked(session: &Client, sql: &str) -> Vec<String> {
        let messages = session.simple_query(sql).await.expect(sql);
        let first = |message: &SimpleQueryMessage| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(first).collect()
    }
    async fn hashes(&self) -> Vec<String> {
        Server::ask(self, "SELECT rolname || ' ' || coalesce(rolpassword, '') FROM pg_authid ORDER BY rolname").await
    }
    fn log(&self) -> String {
        self.log_text().expect("the server has a log")
    }
    fn down(&self) {
        self.down().expect("the server stops");
    }
    async fn up(&self) {
        self.up().await.expect("the server starts");
    }
}

impl Server for MySql {
    const FUNCTION: &'static str = "lockstep-mysql";
    type Options = mysql::Options;
    type Session = Mutex<Conn>;

    async fn start(options: mysql::Options) -> Self {
        Self::start(options).await.expect("the server starts")
    }
    async fn function() -> PathBuf {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        BINARY.get_or_init(build::<Self>).await.clone()
    }
    fn fields(&self) -> Value {
        match self.kind() {
            Kind::MySql => json!({"engine": "mysql"}),
            Kind::MariaDb => json!({"engine": "mariadb"}),
        }
    }
    fn strategies(&self) -> [Strategy; 2] {
        match self.kind() {
            Kind::MySql => [Strategy::DualPassword, Strategy::AlternatingUsers],
            Kind::MariaDb => [Strategy::SingleUser, Strategy::AlternatingUsers],
        }
    }
    fn port(&self) -> u16 {
        self.port()
    }
    fn ca_pem(&self) -> &str {
        self.ca_pem()
    }
    fn superuser(&self) -> (&str, &Password) {
        (self.superuser(), self.superuser_password())
    }
    fn lets_set_password_of(&self, _: &str) -> String {
        "GRANT CREATE USER ON *.* TO setter; GRANT SELECT ON mysql.* TO setter".to_owned()
    }
    async fn create_user(&self, name: &str, password: &Password) {
        self.create_user(name, password).await.expect("the user is created");
    }
    async fn set_password(&self, user: &str, password: &str) {
        let account = literal(user);
        let discard = match self.kind() {
            Kind::MySql => format!("; ALTER USER {account} DISCARD OLD PASSWORD"),
            Kind::MariaDb => String::new(),
        };
        Server::sql(self, &format!("ALTER USER {account} IDENTIFIED BY {}{discard}", literal(password))).await;
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        self.can_login(user, &password.into()).await.expect("the server answers")
    }
    async fn sql(&self, sql: &str) {
        self.sql(sql).await.expect(sql);
    }
    async fn ask(&self, sql: &str) -> Vec<String> {
        Self::asked(&self.session().await, sql).await
    }
    async fn session(&self) -> Mutex<Conn> {
        Mutex::new(self.connect_superuser().await.expect("the superuser logs in"))
    }
    async fn asked(session: &Mutex<Conn>, sql: &str) -> Vec<String> {
        let rows: Vec<Row> = session.lock().await.query(sql).await.expect(sql);
        let first = |row: &Row| row.get::<Option<Vec<u8>>, _>(0).flatten().unwrap_or_default();
        rows.iter().map(|row| String::from_utf8_lossy(&first(row)).into_owned()).collect()
    }
    async fn hashes(&self) -> Vec<String> {
        let secondary = match self.kind() {
            Kind::MySql => "User_attributes",
            Kind::MariaDb => "NULL",
        };
        Server::ask(
            self,
            &format!(
                "SELECT CONCAT_WS(' ', User, Host, HEX(authentication_string), {secondary}) FROM mysql.user \
                 ORDER BY User, Host"
            ),
        )
        .await
    }
    fn log(&self) -> String {
        self.log_text().expect("the server has a log")
    }
    fn down(&self) {
        self.down().expect("the server stops");
    }
    async fn up(&self) {
        self.up().await.expect("the server starts");
    }
}

impl Options for postgres::Options {
    type Server = Postgres;

    fn tls(self, tls: Tls) -> Self {
        self.tls(tls)
    }
    fn certificate(self, certificate: Certificate) -> Self {
        self.certificate(certificate)
    }
    fn setting(self, name: &str, value: &str) -> Self {
        self.setting(name, value)
    }
    fn log_statements(self) -> Self {
        self.log_statements()
    }
}

impl Options for mysql::Options {
    type Server = MySql;

    fn tls(self, tls: Tls) -> Self {
        self.tls(tls)
    }
    fn certificate(self, certificate: Certificate) -> Self {
        self.certificate(certificate)
    }
    fn setting(self, name: &str, value: &str) -> Self {
        self.setting(name, value)
    }
    fn log_statements(self) -> Self {
        self.log_statements()
    }
}
