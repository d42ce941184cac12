//! Database passwords: a throwaway server, a secret that opens it, and what must hold after a rotation.

use super::client::Client;
use super::proof::{Credentials, Opened, Proof};
use super::screen::Screen;
use super::setup::{Bench, bind, create_secret, function, setup};
use super::stop::Stop;
use super::target::{Engine, Strategy, Target};
use crate::Lab;
use crate::servers::Password;
use crate::servers::database::Database;
use crate::servers::mysql::{self, Kind, MySql};
use crate::servers::postgres::{self, Postgres};
use crate::stack::Builder;
use serde::Serialize;
use serde_json::Value;
use std::time::Duration;

/// The user whose password rotates.
pub(super) const USER: &str = "app";

/// A user of a throwaway server.
pub(super) struct DatabaseUser {
    pub(super) database: Database,
    engine: Engine,
    strategy: Strategy,
}

#[derive(Clone)]
pub(super) struct Credential {
    user: String,
    password: Password,
}

/// Builds, starts and creates what `target` asks for.
pub(super) async fn set_up(screen: &Screen, target: &Target) -> Result<Bench<DatabaseUser>, Stop> {
    let bound = bind(0).await?;
    let package = target.engine.function();
    let function = function(screen, package, &target.function).await?;
    let opened = start(screen, target).await?;
    let function = Lab::builder(function).name(package);
    let lab = settings(function, opened.database.ca_pem()).start_on(bound).map_err(setup)?;
    let bench = Bench::new(screen, lab, opened, target.engine.secret());
    let alternates = target.strategy == Strategy::AlternatingUsers;
    let superuser = if alternates { Some(bench.opened.store_superuser(&bench.client).await?) } else { None };
    bench.opened.store(screen, &bench.client, superuser).await?;
    Ok(bench)
}

/// What a function for database users has to be told. `cas` are the CAs to trust.
pub(super) fn settings(function: Builder, cas: &str) -> Builder {
    // Whoever runs the lab is its deployer.
    function
        .env("CA_BUNDLE", cas)
        .env("ALLOW_RECOVER", "true")
        .env("ALLOW_ROTATE_NOW", "true")
        .env("ALLOW_RETIRE", "true")
}

/// Starts a server. Its user is created with its secret.
pub(super) async fn start(screen: &Screen, target: &Target) -> Result<DatabaseUser, Stop> {
    let database = match target.engine {
        Engine::Postgres => {
            let options = postgres::Options::default();
            let options = match target.postgres {
                Some(version) => options.version(version),
                None => options,
            };
            Database::Postgres(Postgres::start(options).await.map_err(setup)?)
        }
        Engine::Mysql => Database::MySql(mysql_server(mysql::Options::default().kind(Kind::MySql)).await?),
        Engine::Mariadb => {
            let options = mysql::Options::default().kind(Kind::MariaDb);
            let options = match target.mariadb {
                Some(release) => options.release(release),
                None => options,
            };
            Database::MySql(mysql_server(options).await?)
        }
    };
    screen.fact("database", &format!("{database}, TLS required"));
    Ok(DatabaseUser { database, engine: target.engine, strategy: target.strategy })
}

async fn mysql_server(options: mysql::Options) -> Result<MySql, Stop> {
    MySql::start(options).await.map_err(setup)
}

impl Engine {
    /// The function's package, and the name of its binary.
    pub(super) fn function(self) -> &'static str {
        match self {
            Self::Postgres => "lockstep-postgres",
            Self::Mysql | Self::Mariadb => "lockstep-mysql",
        }
    }

    /// The secret of the user whose password rotates.
    pub(super) fn secret(self) -> &'static str {
        match self {
            Self::Postgres => "lab/postgres",
            Self::Mysql => "lab/mysql",
            Self::Mariadb => "lab/mariadb",
        }
    }

    /// The secret of the server's superuser.
    pub(super) fn superuser_secret(self) -> &'static str {
        match self {
            Self::Postgres => "lab/postgres-superuser",
            Self::Mysql => "lab/mysql-superuser",
            Self::Mariadb => "lab/mariadb-superuser",
        }
    }
}

impl DatabaseUser {
    /// The name of the secret that rotates.
    pub(super) fn secret(&self) -> &'static str {
        self.engine.secret()
    }

    /// The name of the superuser's secret.
    pub(super) fn superuser_secret(&self) -> &'static str {
        self.engine.superuser_secret()
    }

    /// The function that rotates the secret.
    pub(super) fn function(&self) -> &'static str {
        self.engine.function()
    }

    /// Stores the superuser's credential, and returns the ARN of its secret.
    pub(super) async fn store_superuser(&self, client: &Client) -> Result<String, Stop> {
        let database = &self.database;
        let superuser = SecretValue::of(database, database.superuser(), database.superuser_password());
        create_secret(client, self.superuser_secret(), &superuser).await
    }

    /// Creates the user and stores its credential. `superuser` is the ARN of the superuser's secret, for alternating users.
    pub(super) async fn store(&self, screen: &Screen, client: &Client, superuser: Option<String>) -> Result<(), Stop> {
        let Self { database, strategy, .. } = self;
        let password = Password::random();
        create_user(database, USER, &password, *strategy).await?;
        let alternates = *strategy == Strategy::AlternatingUsers;
        let masterarn = superuser.filter(|_| alternates);
        let value = SecretValue { masterarn, ..SecretValue::of(database, USER, &password) };
        create_secret(client, self.secret(), &value).await?;
        let length = password.expose().chars().count();
        screen.fact("secret", &format!("{}: user {USER}, password: {length} characters, {strategy}", self.secret()));
        Ok(())
    }
}

/// Creates a user that can be rotated in this way.
pub(super) async fn create_user(
    database: &Database,
    name: &str,
    password: &Password,
    strategy: Strategy,
) -> Result<(), Stop> {
    database.create_user(name, password).await.map_err(setup)?;
    match database {
        Database::MySql(server) => grant(server, name, strategy).await,
        Database::Postgres(_) => Ok(()),
    }
}

/// Gives a MySQL user some privileges, so that there are some to copy to the second user.
async fn grant(server: &MySql, name: &str, strategy: Strategy) -> Result<(), Stop> {
    let user = format!("{}@'%'", mysql::literal(name));
    server
        .sql(&format!("CREATE DATABASE IF NOT EXISTS shop; GRANT SELECT, INSERT ON shop.* TO {user}"))
        .await
        .map_err(setup)?;
    if strategy == Strategy::DualPassword {
        // Without it, a user may not keep its previous password.
        let grant = format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {user}");
        server.sql(&grant).await.map_err(setup)?;
    }
    Ok(())
}

/// A secret in AWS's format, with the fields in the order of AWS's documentation.
#[derive(Serialize)]
pub(super) struct SecretValue<'a> {
    engine: &'static str,
    host: &'a str,
    port: u16,
    username: &'a str,
    password: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dbname: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    masterarn: Option<String>,
}

impl<'a> SecretValue<'a> {
    pub(super) fn of(database: &'a Database, username: &'a str, password: &'a Password) -> Self {
        Self {
            engine: database.engine(),
            host: database.host(),
            port: database.port(),
            username,
            password: password.expose(),
            dbname: database.database(),
            masterarn: None,
        }
    }

    /// The same for clients that call the server's machine by another name.
    pub(super) fn at(self, host: &'a str) -> Self {
        Self { host, ..self }
    }

    /// The same with the ARN of a superuser's secret.
    pub(super) fn with_superuser(self, masterarn: Option<String>) -> Self {
        Self { masterarn, ..self }
    }
}

impl Opened for DatabaseUser {
    type Credential = Credential;

    const USES: &'static str = "logins";
    const USED: &'static str = "logged in";
    const PAUSE: Duration = Duration::from_millis(20);

    fn strategy(&self) -> String {
        self.strategy.to_string()
    }

    fn keeps_previous(&self) -> bool {
        self.strategy.keeps_previous()
    }

    fn credential(value: &Value) -> Credential {
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Credential { user: text("username"), password: text("password").into() }
    }

    async fn opens(&self, credential: &Credential) -> Result<bool, String> {
        let Credential { user, password } = credential;
        self.database.can_login(user, password).await.map_err(|error| error.to_string())
    }

    async fn prove(&self, credentials: Credentials<'_, Credential>) -> Vec<Proof> {
        let mut proofs = vec![self.old_password(credentials.previous).await];
        // With one user, it is the account's password before the previous one. With two, that user has a new password by now.
        if let Some(earlier) = credentials.earlier {
            proofs.push(self.earlier_password(earlier).await);
        }
        proofs.push(self.new_password(&credentials.current).await);
        proofs
    }
}

impl DatabaseUser {
    async fn old_password(&self, previous: &Credential) -> Proof {
        let user = &previous.user;
        match (self.strategy, self.opens(previous).await) {
            (Strategy::SingleUser, Ok(false)) => Proof::holds("the old password is refused"),
            (Strategy::SingleUser, Ok(true)) => Proof::fails("the old password still opens the database"),
            (Strategy::DualPassword, Ok(true)) => Proof::holds("the previous password still opens the database"),
            (Strategy::DualPassword, Ok(false)) => Proof::fails("the previous password is refused"),
            (Strategy::AlternatingUsers, Ok(true)) => {
                Proof::holds(format!("the previous credential ({user}) still opens the database"))
            }
            (Strategy::AlternatingUsers, Ok(false)) => {
                Proof::fails(format!("the previous credential ({user}) is refused"))
            }
            (_, Err(error)) => Proof::fails(format!("the old password could not be tried: {error}")),
        }
    }

    async fn earlier_password(&self, earlier: &Credential) -> Proof {
        match self.opens(earlier).await {
            Ok(false) => Proof::holds("the password before that is refused"),
            Ok(true) => Proof::fails("the password before that still opens the database"),
            Err(error) => Proof::fails(format!("the password before that could not be tried: {error}")),
        }
    }

    async fn new_password(&self, current: &Credential) -> Proof {
        let session = match self.database.identity(&current.user, &current.password).await {
            Ok(session) => session,
            Err(error) => return Proof::fails(format!("the new password does not open the database: {error}")),
        };
        let (user, role) = (session.user, session.role);
        // PostgreSQL's second user acts as the first. MySQL's second user has its own privileges.
        if role != USER && role != user {
            return Proof::fails(format!("{user} acts as {role} in the database, not as {USER}"));
        }
        let length = current.password.expose().chars().count();
        let acting = if user == role { String::new() } else { format!(", acting as {role}") };
        Proof::holds(format!("the new password ({length} characters) opens the database as {user}{acting}"))
    }
}
