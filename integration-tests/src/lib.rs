//! What the tests share: a lab with the real function, a real server behind a relay, and secrets for its users.

pub mod crash;
pub mod failure;
pub mod issuer;
pub mod malformed;
pub mod network;
pub mod runbook;
mod secret;

use lab::Lab;
use lab::relay::Relay;
use lab::servers::Password;
use lab::servers::mysql::{self, MySql};
use lab::servers::postgres::{Options, Postgres, Version};
use lab::stack::Builder;
pub use secret::Secret;
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use tokio::sync::OnceCell;
use tokio::time::{sleep, timeout};

/// The four steps, in order.
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];
/// A function that has to give up by itself is given this much longer before it is ended: a machine with other work to do may hold
/// it up in the last moment. One that waits for something without regard to its time is later than that.
pub const OVERTIME: Duration = Duration::from_secs(2);
/// Calls that go out together overlap if each takes this long, also on a machine with other work to do. Calls that wait for one
/// another never do.
pub const OVERLAP: Duration = Duration::from_millis(250);

/// A connection or what was asked on one, as soon as there is a slot for it: those that were closed just now keep theirs for a moment.
pub async fn admitted<C, E: fmt::Debug>(connect: impl AsyncFn() -> Result<C, E>) -> C {
    let mut tries = 0;
    loop {
        match connect().await {
            Ok(connection) => return connection,
            Err(error) => assert!(tries < 500, "{error:?}"),
        }
        tries += 1;
        sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until none of the function's calls is under way: a good-bye to a server may come after the answer to Lambda.
pub async fn at_rest(lab: &Lab) {
    let rest = async {
        while lab.calls().iter().any(|call| call.ended.is_none()) {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(10), rest).await.expect("the function's calls end");
}

/// A program on which none of the person's or machine's own settings has an influence: no AWS profile, no proxy, no other server,
/// no other language. It has the lab's credentials, and still needs its address.
pub fn program(program: impl AsRef<OsStr>) -> Command {
    let kept = ["PATH", "HOME", "TMPDIR", "CARGO_HOME", "RUSTUP_HOME"];
    let kept = kept.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?)));
    let mut command = Command::new(program);
    command.env_clear().envs(kept).env("LC_ALL", "C.UTF-8");
    command.envs([("AWS_CONFIG_FILE", "/dev/null"), ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"), ("AWS_PAGER", "")]);
    command.envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", "lab"), ("AWS_DEFAULT_REGION", "us-east-1")]);
    command
}

/// A kind of server that secrets can be for.
pub trait Server: Send + Sync + Sized {
    /// The function's package.
    const FUNCTION: &'static str;

    /// The release binary of its function, built once per test process.
    fn function() -> impl Future<Output = PathBuf> + Send;
    /// What differs in its secrets from one kind to another: `engine`, and `dbname` where there is one.
    fn fields(&self) -> Value;
    /// Its port, past any relay.
    fn port(&self) -> u16;
    /// The CA of its certificate.
    fn ca_pem(&self) -> &str;
    /// The superuser's name and password.
    fn superuser(&self) -> (&str, &Password);
    /// Makes a user.
    fn create_user(&self, name: &str, password: &Password) -> impl Future<Output = ()> + Send;
    /// Whether this user can log in with this password.
    fn opens(&self, user: &str, password: &str) -> impl Future<Output = bool> + Send;
}

impl Server for Postgres {
    const FUNCTION: &'static str = "lockstep-postgres";

    async fn function() -> PathBuf {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        BINARY.get_or_init(build::<Self>).await.clone()
    }
    fn fields(&self) -> Value {
        json!({"engine": "postgres", "dbname": "postgres"})
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
    async fn create_user(&self, name: &str, password: &Password) {
        self.create_user(name, password).await.expect("the user is created");
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        self.can_login(user, &password.into()).await.expect("the server answers")
    }
}

impl Server for MySql {
    const FUNCTION: &'static str = "lockstep-mysql";

    async fn function() -> PathBuf {
        static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
        BINARY.get_or_init(build::<Self>).await.clone()
    }
    fn fields(&self) -> Value {
        match self.kind() {
            mysql::Kind::MySql => json!({"engine": "mysql"}),
            mysql::Kind::MariaDb => json!({"engine": "mariadb"}),
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
    async fn create_user(&self, name: &str, password: &Password) {
        self.create_user(name, password).await.expect("the user is created");
    }
    async fn opens(&self, user: &str, password: &str) -> bool {
        self.can_login(user, &password.into()).await.expect("the server answers")
    }
}

async fn build<S: Server>() -> PathBuf {
    lab::build::release_binary(S::FUNCTION).await.expect("the function builds")
}

/// The release binary of the PostgreSQL function.
pub async fn function() -> PathBuf {
    Postgres::function().await
}

/// A lab and a database, for one test.
pub struct World<S = Postgres> {
    // Dropped in this order: first who uses the database, then the database.
    /// The local AWS with the function.
    pub lab: Lab,
    /// What stands between the function and the database: counts, and disturbs.
    pub relay: Relay,
    /// The database itself.
    pub server: S,
}

impl World<Postgres> {
    /// PostgreSQL 15, TLS, scram-sha-256.
    pub async fn start() -> Self {
        Self::with(Options::default(), |function| function).await
    }

    /// The same on this version.
    pub async fn on(version: Version) -> Self {
        Self::with(Options::default().version(version), |function| function).await
    }

    /// A server with options, and a function with more settings than the CA to trust.
    pub async fn with(options: Options, function: impl FnOnce(Builder) -> Builder) -> Self {
        Self::around(Postgres::start(options).await.expect("PostgreSQL starts"), function).await
    }

    /// Runs SQL as the superuser, past the relay.
    pub async fn sql(&self, sql: &str) {
        self.server.connect_superuser().await.expect("the superuser logs in").batch_execute(sql).await.expect(sql);
    }

    /// Asks as the superuser, past the relay: the first column of each row, as text.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let client = self.server.connect_superuser().await.expect("the superuser logs in");
        let messages = client.simple_query(sql).await.expect(sql);
        let row = |message: &tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }
}

impl World<MySql> {
    /// MySQL, with TLS.
    pub async fn mysql() -> Self {
        Self::mysql_with(mysql::Options::default(), |function| function).await
    }

    /// MariaDB, with TLS.
    pub async fn mariadb() -> Self {
        Self::mysql_with(mysql::Options::default().kind(mysql::Kind::MariaDb), |function| function).await
    }

    /// One of the two.
    pub async fn of(kind: mysql::Kind) -> Self {
        Self::mysql_with(mysql::Options::default().kind(kind), |function| function).await
    }

    /// A server with options, and a function with more settings than the CA to trust.
    pub async fn mysql_with(options: mysql::Options, function: impl FnOnce(Builder) -> Builder) -> Self {
        Self::around(MySql::start(options).await.expect("the server starts"), function).await
    }

    /// Runs SQL as the superuser, past the relay.
    pub async fn sql(&self, sql: &str) {
        self.server.sql(sql).await.expect(sql);
    }

    /// Asks as the superuser, past the relay: the first column of each row, as text; NULL as nothing.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let rows = self.server.rows(sql).await.expect(sql);
        rows.into_iter().map(|row| row.into_iter().next().flatten().unwrap_or_default()).collect()
    }

    /// A user that may keep its previous password.
    pub async fn dual_password_user(&self, name: &str) -> Secret<'_, MySql> {
        let secret = self.user(name).await;
        self.sql(&format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {}", mysql::literal(name))).await;
        secret
    }
}

impl<S: Server> World<S> {
    /// A lab around a server that runs already.
    pub async fn around(server: S, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Lab::builder(S::function().await).overtime(OVERTIME).env("CA_BUNDLE", server.ca_pem());
        let lab = settings(builder).start().await.expect("the lab starts");
        let relay = lab.relay(server.port()).await.expect("the relay starts");
        Self { lab, relay, server }
    }

    /// A user's secret in AWS's format. The port is the relay's.
    pub fn document(&self, user: &str, password: &str) -> Value {
        let fields = json!({
            "host": "localhost",
            "port": self.relay.port(),
            "username": user,
            "password": password,
        });
        merged(fields, self.server.fields())
    }

    /// A database user with a random password, and its secret.
    pub async fn user(&self, name: &str) -> Secret<'_, S> {
        self.user_with(name, json!({})).await
    }

    /// The same, with more fields in the secret.
    pub async fn user_with(&self, name: &str, more: Value) -> Secret<'_, S> {
        let password = Password::random();
        self.server.create_user(name, &password).await;
        self.secret(merged(self.document(name, password.expose()), more)).await
    }

    /// The superuser's own secret.
    pub async fn superuser(&self) -> Secret<'_, S> {
        let (user, password) = self.server.superuser();
        self.secret(self.document(user, password.expose())).await
    }

    /// A user that alternates with its clone.
    pub async fn alternating_user(&self, name: &str) -> Secret<'_, S> {
        let superuser = self.superuser().await;
        self.user_with(name, json!({"masterarn": superuser.arn})).await
    }

    /// A secret with this value.
    pub async fn secret(&self, value: Value) -> Secret<'_, S> {
        self.secret_text(&value.to_string()).await
    }

    /// A secret with this text.
    pub async fn secret_text(&self, text: &str) -> Secret<'_, S> {
        let name = format!("test/{}", Password::random().expose().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let arn = self.lab.create_secret(&name, text).await.expect("the secret is created");
        Secret::new(&self.lab, &self.server, arn)
    }

    /// The secret with this ARN, for tests that change the world in between.
    pub fn known(&self, arn: &str) -> Secret<'_, S> {
        Secret::new(&self.lab, &self.server, arn.to_owned())
    }

    /// Whether this user can log in with this password.
    pub async fn opens(&self, user: &str, password: &str) -> bool {
        self.server.opens(user, password).await
    }
}

/// A version id.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `base` with the fields of `more`; a null takes a field away.
pub fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (base.as_object_mut(), more) {
        for (name, value) in more {
            if value.is_null() {
                fields.remove(&name);
            } else {
                fields.insert(name, value);
            }
        }
    }
    base
}
