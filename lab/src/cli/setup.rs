//! What every subcommand stands on: a function, a lab, a throwaway database, and a secret that opens it.

use super::client::Client;
use super::screen::Screen;
use super::{Major, Stop, Strategy, Target};
use crate::Lab;
use crate::build::release_binary;
use crate::endpoint::Endpoint;
use crate::servers::Password;
use crate::servers::postgres::{Options, Postgres, Version};
use crate::stack::ServiceError;
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The package of the PostgreSQL function, and the name of its binary.
const FUNCTION: &str = "lockstep-postgres";

/// The secret that the command rotates.
pub(super) const SECRET: &str = "lab/postgres";

/// The secret of the superuser, for alternating users.
const SUPERUSER_SECRET: &str = "lab/superuser";

/// The user whose password rotates.
pub(super) const USER: &str = "app";

/// Everything that was set up. Dropping it ends all of it.
pub(super) struct Bench {
    // Dropped in this order: first who uses the database, then the database.
    pub(super) lab: Lab,
    pub(super) client: Client,
    pub(super) database: Arc<Postgres>,
    pub(super) strategy: Strategy,
}

/// Builds, starts and creates what `target` asks for, with AWS on `port` (0 for any).
pub(super) async fn set_up(screen: &Screen, target: &Target, port: u16) -> Result<Bench, Stop> {
    // First, because it fails at once if it fails.
    let bound = Endpoint::bind(port).await.map_err(|error| cannot_listen(&error, port))?;
    let function = function(screen, target).await?;
    let database = database(screen, target.postgres).await?;
    let lab =
        Lab::builder(function).name(FUNCTION).env("CA_BUNDLE", database.ca_pem()).start_on(bound).map_err(setup)?;
    let client = Client::new(lab.url());
    screen.fact("aws", &format!("{}: Secrets Manager and Lambda", lab.url()));
    let bench = Bench { lab, client, database: Arc::new(database), strategy: target.strategy };
    bench.store_secrets(screen).await?;
    Ok(bench)
}

async fn function(screen: &Screen, target: &Target) -> Result<PathBuf, Stop> {
    let Some(given) = &target.function else {
        screen.fact("build", &format!("{FUNCTION}, release profile"));
        let binary = release_binary(FUNCTION).await.map_err(setup)?;
        let bytes = binary.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        screen.fact("function", &format!("{FUNCTION}, {}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000));
        return Ok(binary);
    };
    let path = given.canonicalize().map_err(|error| Stop::Setup(format!("--function {}: {error}", given.display())))?;
    screen.fact("function", &path.display().to_string());
    Ok(path)
}

async fn database(screen: &Screen, major: Major) -> Result<Postgres, Stop> {
    let (version, number) = match major {
        Major::V15 => (Version::V15, 15),
        Major::V18 => (Version::V18, 18),
    };
    let database = Postgres::start(Options::default().version(version)).await.map_err(setup)?;
    let (host, port) = (database.host(), database.port());
    screen.fact("database", &format!("PostgreSQL {number} at {host}:{port}, TLS required, scram-sha-256"));
    Ok(database)
}

impl Bench {
    async fn store_secrets(&self, screen: &Screen) -> Result<(), Stop> {
        let password = Password::random();
        self.database.create_user(USER, &password).await.map_err(setup)?;
        let mut value = self.credential(USER, &password);
        if self.strategy == Strategy::AlternatingUsers {
            let superuser = self.credential(self.database.superuser(), self.database.superuser_password());
            value.masterarn = Some(self.create(SUPERUSER_SECRET, &superuser).await.map_err(setup)?);
        }
        self.create(SECRET, &value).await.map_err(setup)?;
        let length = password.expose().chars().count();
        screen.fact("secret", &format!("{SECRET}: user {USER}, password: {length} characters, {}", self.strategy));
        Ok(())
    }

    fn credential<'a>(&'a self, username: &'a str, password: &'a Password) -> SecretValue<'a> {
        SecretValue {
            engine: "postgres",
            host: self.database.host(),
            port: self.database.port(),
            username,
            password: password.expose(),
            dbname: "postgres",
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
    dbname: &'static str,
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
