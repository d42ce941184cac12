//! The servers and secrets of a lab for functions elsewhere.

use super::names::secret;
use super::reach::Reach;
use crate::Lab;
use crate::cli::database::{self, SecretValue, USER};
use crate::cli::issued_key::{self, ADMIN_SECRET};
use crate::cli::screen::Screen;
use crate::cli::serve::plan::Plan;
use crate::cli::setup::setup;
use crate::cli::stop::Stop;
use crate::cli::target::{Engine, Kind, Strategy, Target};
use crate::disturb::Disturb;
use crate::issuer::{DESCRIPTION, Https, Issuer, Options};
use crate::servers::Password;
use crate::servers::database::Database;
use crate::stack::ServiceError;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// What the files of `events/` name: the secret, the end of its ARN, and the version that a rotation is to make current.
pub(super) const EVENT_SECRET: &str = "orders/app-user";
const EVENT_SUFFIX: &str = "AbCdEf";
const EVENT_TOKEN: &str = "5e1f1b3c-9d1e-4a0e-8b50-2f5f0c2a7d11";
/// The database user that this secret is about.
const EVENT_USER: &str = "orders";

/// Holds the description of the lab's issuer: a container does not see the files of this machine.
const ISSUER_SECRET: &str = "lab/issuer";

/// The servers that the secrets open. Dropping it ends them.
#[derive(Default)]
pub(super) struct Stock {
    databases: Vec<Database>,
    issuers: Vec<Https>,
    cas: String,
    superusers: Vec<String>,
    /// What the function for API keys has to be told.
    issuer: Map<String, Value>,
}

impl Stock {
    /// What a function has to be told, as `sam local` passes it on: each variable is one of the template's.
    pub(super) fn variables(&self, kind: Kind, lab: &str) -> Map<String, Value> {
        let mut variables = Map::new();
        let mut set = |name: &str, value: &str| drop(variables.insert(name.to_owned(), json!(value)));
        set("AWS_ENDPOINT_URL_SECRETS_MANAGER", lab);
        // The function asks nobody but the lab for its log, which only a lab on the function's own machine has.
        set("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS", lab);
        set("CA_BUNDLE", &self.cas);
        // Whoever runs the lab is its deployer.
        set("ALLOW_RECOVER", "true");
        set("ALLOW_ROTATE_NOW", "true");
        set("ALLOW_RETIRE", "true");
        if kind == Kind::ApiKey {
            variables.extend(self.issuer.clone());
        } else {
            set("SUPERUSER_SECRET_ARNS", &self.superusers.join(","));
        }
        variables
    }

    /// Starts a server, and stores a secret that RotateSecret rotates. The first server gets the secret of the events, too.
    pub(super) async fn add(
        &mut self,
        screen: &Screen,
        lab: &Lab,
        reach: &mut Reach,
        kind: Kind,
        plan: &Plan,
    ) -> Result<(), Stop> {
        let is_first = self.databases.is_empty() && self.issuers.is_empty();
        match plan.databases.iter().find(|target| Kind::from(target.engine) == kind) {
            Some(target) => self.add_database(screen, lab, reach, target, is_first).await?,
            None => self.add_issuer(screen, lab, reach, is_first).await?,
        }
        attach(lab, secret(kind), kind)?;
        if is_first {
            stage(lab, kind)?;
        }
        Ok(())
    }

    async fn add_database(
        &mut self,
        screen: &Screen,
        lab: &Lab,
        reach: &mut Reach,
        target: &Target,
        is_first: bool,
    ) -> Result<(), Stop> {
        let database = database::start(screen, target).await?.database;
        reach.open(database.port())?;
        let strategy = target.strategy;
        let mut superuser = None;
        if strategy == Strategy::AlternatingUsers {
            let value = SecretValue::of(&database, database.superuser(), database.superuser_password());
            let arn = create(lab, target.engine.superuser_secret(), &value.at(reach.host())).await?;
            self.superusers.push(arn.clone());
            superuser = Some(arn);
        }
        let event = is_first.then_some((EVENT_SECRET, EVENT_USER));
        for (secret, user) in std::iter::once((target.engine.secret(), USER)).chain(event) {
            let password = Password::random();
            database::create_user(&database, user, &password, strategy).await?;
            let value = SecretValue::of(&database, user, &password).at(reach.host()).with_superuser(superuser.clone());
            create(lab, secret, &value).await?;
            screen.fact("secret", &format!("{secret}: user {user}, {strategy}"));
        }
        self.cas.push_str(database.ca_pem());
        self.databases.push(database);
        Ok(())
    }

    async fn add_issuer(&mut self, screen: &Screen, lab: &Lab, reach: &mut Reach, is_first: bool) -> Result<(), Stop> {
        let issuer = Issuer::new(manners());
        let https = Https::start(issuer.router(), Disturb::new()).map_err(setup)?;
        reach.open(https.port())?;
        screen.fact("issuer", &https.url());
        let description = std::fs::read_to_string(DESCRIPTION).map_err(setup)?;
        let described = json!({ "Name": ISSUER_SECRET, "SecretString": description });
        lab.call("CreateSecret", described).await.map_err(setup)?;
        let admin = create(lab, ADMIN_SECRET, &json!({ "issuer": "lab", "token": issuer.admin_token() })).await?;
        for secret in std::iter::once(issued_key::SECRET).chain(is_first.then_some(EVENT_SECRET)) {
            let (id, key) = issuer.mint(&format!("made by hand for {secret}"));
            let rotation = json!({ "adminSecretArn": admin });
            let value = json!({ "issuer": "lab", "apiKey": key, "apiKeyId": id, "rotation": rotation });
            create(lab, secret, &value).await?;
            screen.fact("secret", &format!("{secret}: key {id}, made by hand"));
        }
        let url = format!("https://{}:{}", reach.host(), https.port());
        for (name, value) in [
            ("ISSUERS", format!("secret:{ISSUER_SECRET}")),
            ("ISSUER_ENDPOINT_URL", url),
            ("ADMIN_SECRET_ARNS", admin.clone()),
        ] {
            self.issuer.insert(name.to_owned(), value.into());
        }
        self.cas.push_str(https.ca_pem());
        self.issuers.push(https);
        Ok(())
    }
}

/// Keys of two secrets live at the issuer, and new ones take a moment to work.
fn manners() -> Options {
    Options { propagation: Duration::from_millis(300), unique_names: true, ..Options::default() }
}

async fn create(lab: &Lab, name: &str, value: &impl serde::Serialize) -> Result<String, Stop> {
    let text = serde_json::to_string(value).unwrap_or_default();
    lab.create_secret(name, &text).await.map_err(setup)
}

/// Names the function, which cannot be tried before somebody starts it.
fn attach(lab: &Lab, secret: &str, kind: Kind) -> Result<(), Stop> {
    let rules = json!({ "AutomaticallyAfterDays": 30 });
    lab.service().attach(secret, &arn(kind), &rules).map_err(refused)
}

/// Registers the version that the events name, as RotateSecret does before it invokes the function for the first step.
fn stage(lab: &Lab, kind: Kind) -> Result<(), Stop> {
    lab.service().set_suffix(EVENT_SECRET, EVENT_SUFFIX).map_err(refused)?;
    lab.service().stage_unfinished(EVENT_SECRET, &arn(kind), EVENT_TOKEN).map_err(refused)
}

fn arn(kind: Kind) -> String {
    crate::cli::serve::served::arn(kind.engine().map_or(issued_key::PACKAGE, Engine::function))
}

fn refused(error: crate::secretsmanager::ServiceError) -> Stop {
    setup(ServiceError { kind: error.error_type.to_owned(), message: error.message })
}
