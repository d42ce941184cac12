//! What every subcommand stands on: a function, a lab, a throwaway database, and a secret that opens it.

use super::client::Client;
use super::screen::Screen;
use super::{Engine, Major, Stop, Strategy, Target};
use crate::Lab;
use crate::build::release_binary;
use crate::endpoint::Endpoint;
use crate::servers::Password;
use crate::servers::database::Database;
use crate::servers::mysql::{self, Kind, MySql};
use crate::servers::postgres::{self, Postgres, Version};
use crate::stack::ServiceError;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The secret of the superuser, for alternating users.
const SUPERUSER_SECRET: &str = "lab/superuser";

/// The user whose password rotates.
pub(super) const USER: &str = "app";

/// Everything that was set up. Dropping it ends all of it.
pub(super) struct Bench {
    // Dropped in this order: first who uses the database, then the database.
    pub(super) lab: Lab,
    pub(super) client: Client,
    pub(super) database: Arc<Database>,
    /// The secret that the command rotates.
    pub(super) secret: &'static str,
    pub(super) strategy: Strategy,
}

/// Builds, starts and creates what `target` asks for, with AWS on `port` (0 for any).
pub(super) async fn set_up(screen: &Screen, target: &Target, port: u16) -> Result<Bench, Stop> {
    // First, because it fails at once if it fails.
    let bound = Endpoint::bind(port).await.map_err(|error| cannot_listen(&error, port))?;
    let function = function(screen, target).await?;
    let database = database(screen, target).await?;
    let lab = Lab::builder(function)
        .name(target.engine.function())
        .env("CA_BUNDLE", database.ca_pem())
        .start_on(bound)
        .map_err(setup)?;
    let client = Client::new(lab.url());
    screen.fact("aws", &format!("{}: Secrets Manager and Lambda", lab.url()));
    let bench =
        Bench { lab, client, database: Arc::new(database), secret: target.engine.secret(), strategy: target.strategy };
    bench.store_secrets(screen).await?;
    Ok(bench)
}

async fn function(screen: &Screen, target: &Target) -> Result<PathBuf, Stop> {
    let Some(given) = &target.function else {
        let name = target.engine.function();
        screen.fact("build", &format!("{name}, release profile"));
        let binary = release_binary(name).await.map_err(setup)?;
        let bytes = binary.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        screen.fact("function", &format!("{name}, {}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000));
        return Ok(binary);
    };
    let path = given.canonicalize().map_err(|error| Stop::Setup(format!("--function {}: {error}", given.display())))?;
    screen.fact("function", &path.display().to_string());
    Ok(path)
}

async fn database(screen: &Screen, target: &Target) -> Result<Database, Stop> {
    let database = match target.engine {
        Engine::Postgres => {
            let version = match target.postgres {
                Major::V15 => Version::V15,
                Major::V18 => Version::V18,
            };
            let options = postgres::Options::default().version(version);
            Database::Postgres(Postgres::start(options).await.map_err(setup)?)
        }
        Engine::Mysql => Database::MySql(mysql_server(Kind::MySql).await?),
        Engine::Mariadb => Database::MySql(mysql_server(Kind::MariaDb).await?),
    };
    screen.fact("database", &format!("{database}, TLS required"));
    Ok(database)
}

async fn mysql_server(kind: Kind) -> Result<MySql, Stop> {
    MySql::start(mysql::Options::default().kind(kind)).await.map_err(setup)
}

impl Engine {
    /// The function's package, and the name of its binary.
    fn function(self) -> &'static str {
        match self {
            Self::Postgres => "lockstep-postgres",
            Self::Mysql | Self::Mariadb => "lockstep-mysql",
        }
    }

    fn secret(self) -> &'static str {
        match self {
            Self::Postgres => "lab/postgres",
            Self::Mysql => "lab/mysql",
            Self::Mariadb => "lab/mariadb",
        }
    }
}

impl Bench {
    async fn store_secrets(&self, screen: &Screen) -> Result<(), Stop> {
        let password = Password::random();
        self.database.create_user(USER, &password).await.map_err(setup)?;
        if let Database::MySql(server) = &*self.database {
            self.grant(server).await?;
        }
        let mut value = self.credential(USER, &password);
        if self.strategy == Strategy::AlternatingUsers {
            let superuser = self.credential(self.database.superuser(), self.database.superuser_password());
            value.masterarn = Some(self.create(SUPERUSER_SECRET, &superuser).await.map_err(setup)?);
        }
        self.create(self.secret, &value).await.map_err(setup)?;
        let length = password.expose().chars().count();
        screen
            .fact("secret", &format!("{}: user {USER}, password: {length} characters, {}", self.secret, self.strategy));
        Ok(())
    }

    /// What a MySQL user should be able to do: something, so that its second has something to be given.
    async fn grant(&self, server: &MySql) -> Result<(), Stop> {
        let user = format!("{}@'%'", mysql::literal(USER));
        server.sql(&format!("CREATE DATABASE shop; GRANT SELECT, INSERT ON shop.* TO {user}")).await.map_err(setup)?;
        if self.strategy == Strategy::DualPassword {
            // Without it, a user may not keep its previous password.
            let grant = format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {user}");
            server.sql(&grant).await.map_err(setup)?;
        }
        Ok(())
    }

    fn credential<'a>(&'a self, username: &'a str, password: &'a Password) -> SecretValue<'a> {
        SecretValue {
            engine: self.database.engine(),
            host: self.database.host(),
            port: self.database.port(),
            username,
            password: password.expose(),
            dbname: self.database.database(),
            masterarn: None,
        }
    }

    /// Creates a secret and returns its ARN.
    async fn create(&self, name: &str, value: &SecretValue<'_>) -> Result<String, ServiceError> {
        let text = serde_json::to_string(value).unwrap_or_default();
        let created = self.client.call("CreateSecret", json!({ "Name": name, "SecretString": text })).await?;
        Ok(created.get("ARN").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

/// A secret in AWS's format, with the fields in the order of AWS's documentation.
#[derive(Serialize)]
struct SecretValue<'a> {
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

fn setup(error: impl std::fmt::Display) -> Stop {
    Stop::Setup(error.to_string())
}

fn cannot_listen(error: &io::Error, port: u16) -> Stop {
    Stop::Setup(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is taken (by another `cargo lab serve`?); choose another with --port")
        }
        io::ErrorKind::PermissionDenied => format!("port {port} needs privileges; choose one above 1023 with --port"),
        _ => format!("port {port} could not be bound: {error}"),
    })
}
