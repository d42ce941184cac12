//! The servers that credentials open, and secrets for many users of each.

use super::kind::{Engine, Strategy};
use crate::issuer::{Consumer, DESCRIPTION, Https, Issuer, Options, Says};
use crate::servers::Password;
use crate::servers::database::Database;
use crate::servers::mysql::{self, Kind, MySql};
use crate::servers::postgres::{self, Postgres};
use crate::stack::{Builder, Lab};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::Duration;

/// For hundreds of logins a second on a busy machine, where each may take a while. The servers' own defaults are 100 and 151.
const MAX_CONNECTIONS: &str = "500";

/// The time limit of a step in our deployment template (`Timeout`).
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);
/// The memory of a function in our deployment template (`MemorySize`), in MB. It is told to the function and not enforced.
const MEMORY: u32 = 256;

/// A running server.
pub(crate) enum Server {
    Database(Database),
    Issuer { issuer: Issuer, https: Https, consumer: Consumer },
}

/// What an application takes from a secret. Not `Debug`: it may hold a key.
#[derive(Clone)]
pub(crate) struct Credential {
    user: String,
    password: Password,
}

impl Credential {
    /// The credential in a secret's value.
    pub(crate) fn of(value: &str) -> Self {
        let value: Value = serde_json::from_str(value).unwrap_or_default();
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let user = text("username").or_else(|| text("apiKeyId")).unwrap_or_default();
        Self { user, password: text("password").or_else(|| text("apiKey")).unwrap_or_default().into() }
    }
}

impl Server {
    /// Starts a server, with TLS and no user yet.
    pub(crate) async fn start(engine: Engine) -> Result<Self, String> {
        let mysql = async |kind| {
            let options = mysql::Options::default().kind(kind).setting("max_connections", MAX_CONNECTIONS);
            MySql::start(options).await.map(Database::MySql)
        };
        let database = match engine {
            Engine::Postgres => {
                let options = postgres::Options::default().setting("max_connections", MAX_CONNECTIONS);
                Postgres::start(options).await.map(Database::Postgres)
            }
            Engine::Mysql => mysql(Kind::MySql).await,
            Engine::Mariadb => mysql(Kind::MariaDb).await,
            Engine::ApiKey => return Self::issuer(),
        };
        database.map(Self::Database).map_err(|error| error.to_string())
    }

    /// An issuer that knows a new key after a while, as real ones do, and refuses a revoked key at once, which is the strictest.
    fn issuer() -> Result<Self, String> {
        let options = Options { propagation: Duration::from_millis(300), ..Options::default() };
        let issuer = Issuer::new(options);
        let https = Https::start(issuer.router(), crate::disturb::Disturb::new()).map_err(|error| error.to_string())?;
        let consumer = Consumer::new(https.port(), https.ca_pem())?;
        Ok(Self::Issuer { issuer, https, consumer })
    }

    /// The port that its clients connect to.
    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Database(database) => database.port(),
            Self::Issuer { https, .. } => https.port(),
        }
    }

    /// The certificate of the CA that its clients trust.
    pub(crate) fn ca_pem(&self) -> &str {
        match self {
            Self::Database(database) => database.ca_pem(),
            Self::Issuer { https, .. } => https.ca_pem(),
        }
    }

    /// The function that rotates credentials of these servers, which are of one or two engines with the same function.
    pub(crate) fn function(engine: Engine, binary: &Path, servers: &[&Self]) -> Builder {
        let ca: String = servers.iter().map(|server| server.ca_pem()).collect();
        let function =
            Lab::builder(binary).name(engine.function()).timeout(TIMEOUT).memory(MEMORY).env("CA_BUNDLE", ca);
        let issuer = servers.iter().find_map(|server| match server {
            Self::Issuer { https, .. } => Some(https.url()),
            Self::Database(_) => None,
        });
        match issuer {
            Some(url) => function.env("ISSUERS", format!("file:{DESCRIPTION}")).env("ISSUER_ENDPOINT_URL", url),
            None => function,
        }
    }

    /// The value of the secret with which the function manages users or keys.
    pub(crate) fn manager(&self) -> Value {
        match self {
            Self::Database(database) => value(database, database.superuser(), database.superuser_password()).into(),
            Self::Issuer { issuer, .. } => json!({ "issuer": "lab", "token": issuer.admin_token() }),
        }
    }

    /// Adds a user or a key for each name, and returns the values of their secrets in the same order. `manager` is the ARN of
    /// the secret with [`manager`](Self::manager)'s value.
    pub(crate) async fn add(&self, names: &[(String, Strategy)], manager: &str) -> Result<Vec<Value>, String> {
        let database = match self {
            Self::Database(database) => database,
            Self::Issuer { issuer, .. } => {
                return Ok(names.iter().map(|(name, _)| key(issuer, name, manager)).collect());
            }
        };
        let users: Vec<_> = names.iter().map(|(name, strategy)| (name, *strategy, Password::random())).collect();
        let created: Vec<_> = users.iter().map(|(name, _, password)| (name.as_str(), password)).collect();
        database.create_users(&created).await.map_err(|error| error.to_string())?;
        if let Database::MySql(server) = database {
            grant(server, names).await?;
        }
        let values = users.iter().map(|(name, strategy, password)| {
            let mut value = value(database, name, password);
            if *strategy == Strategy::AlternatingUsers {
                value.insert("masterarn".to_owned(), manager.into());
            }
            value.into()
        });
        Ok(values.collect())
    }

    /// Whether the server accepts a credential for a new connection, now.
    pub(crate) async fn opens(&self, credential: &Credential) -> Result<bool, String> {
        let Credential { user, password } = credential;
        match self {
            Self::Database(database) => database.login(user, password).await.map_err(|error| error.to_string()),
            Self::Issuer { consumer, .. } => Ok(consumer.use_key(password.expose()).await? != Says::Refused),
        }
    }
}

/// Gives MySQL users some privileges, so that there are some to copy to a second user. Without the last one a user may not keep its
/// previous password.
async fn grant(server: &MySql, names: &[(String, Strategy)]) -> Result<(), String> {
    let mut sql = vec!["CREATE DATABASE IF NOT EXISTS shop".to_owned()];
    for (name, strategy) in names {
        let account = format!("{}@'%'", mysql::literal(name));
        sql.push(format!("GRANT SELECT, INSERT ON shop.* TO {account}"));
        if *strategy == Strategy::DualPassword {
            sql.push(format!("GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO {account}"));
        }
    }
    server.sql(&sql.join("; ")).await.map_err(|error| error.to_string())
}

/// A secret in AWS's format.
fn value(database: &Database, user: &str, password: &Password) -> Map<String, Value> {
    let mut value = Map::new();
    let mut set = |key: &str, text: Value| drop(value.insert(key.to_owned(), text));
    set("engine", database.engine().into());
    set("host", database.host().into());
    set("port", database.port().into());
    set("username", user.into());
    set("password", password.expose().into());
    if let Some(name) = database.database() {
        set("dbname", name.into());
    }
    value
}

fn key(issuer: &Issuer, name: &str, manager: &str) -> Value {
    let (id, secret) = issuer.mint(name);
    json!({ "issuer": "lab", "apiKey": secret, "apiKeyId": id, "rotation": { "adminSecretArn": manager } })
}
