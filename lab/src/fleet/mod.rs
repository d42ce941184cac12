//! A fleet: many secrets of one account, and the state machine of `functions/fleet` that rotates them, in moto's interpreter.

mod machine;
mod way;

pub use machine::Execution;
pub use way::Sent;

use crate::load::fleet::{Account, Member};
use crate::load::server::{Credential, Server};
use crate::load::{Engine, Error, FleetPlan, Functions, Kind};
use crate::secretsmanager::Limits;
use crate::servers::database::Database;
use crate::servers::postgres::quoted;
use crate::stack::Lab;
use machine::Machine;
use serde_json::{Value, json};
use std::path::Path;
use std::time::Duration;
use way::Way;

/// The state machine that the template deploys.
const DEFINITION: &str = include_str!("../../../functions/fleet/state-machine.asl.json");
/// The function that takes the steps of runs.
const RUNS: &str = "lockstep-fleet";
/// The same program as the function of the page.
const PAGE: &str = "lockstep-fleet-page";
/// The same program as the function that takes reports of leaks.
const LEAKS: &str = "lockstep-fleet-leaks";
/// The parameter with the stop flag.
const STOP: &str = "/lockstep/fleet/stop";
/// The time limit of a step of the function in the template.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A running fleet.
pub struct FleetLab {
    // Dropped in this order: first who calls the functions.
    machine: Machine,
    account: Account,
    members: Vec<Member>,
    function: String,
    page: String,
    leaks: String,
    way: Way,
}

impl FleetLab {
    /// Starts servers, functions and the state machine, and makes the secrets. `fleet` is the binary of `functions/fleet`, and `settings`
    /// are variables of it, which replace the lab's own.
    ///
    /// # Errors
    /// Something could not be set up.
    pub async fn start(
        plan: &FleetPlan,
        functions: &Functions,
        fleet: &Path,
        settings: &[(&str, &str)],
    ) -> Result<Self, Error> {
        let account = Account::start(plan, functions, Limits::with_writes(plan.writes_per_second)).await?;
        let members = account.store(plan).await?;
        for member in &members {
            let function = account.arns.get(&member.kind.engine).map(String::as_str).unwrap_or_default();
            let rules = json!({"AutomaticallyAfterDays": 30});
            let attached = account.lab.service().attach(&member.secret, function, &rules);
            attached.map_err(|error| Error::Setup(error.message))?;
        }
        let port = account.lab.url().rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
        let builder = Lab::builder(fleet).name(RUNS).timeout(TIMEOUT).env("SERVES", "runs").env("STOP_PARAMETER", STOP);
        let function = account.lab.deploy(builder.clone());
        let machine = Machine::start(&DEFINITION.replace("${FleetFunctionArn}", &function), port).await?;
        // One for what the function starts by itself.
        let own = machine.make().await?;
        let way = Way::start(machine.url(), account.lab.host().clone()).await?;
        let builder = builder.env("STATE_MACHINE_ARN", own).env("AWS_ENDPOINT_URL_SFN", way.url());
        let mut builder = builder.env("AWS_ENDPOINT_URL_KMS", way.url());
        for (name, value) in settings {
            builder = builder.env(name, *value);
        }
        account.lab.deploy(builder.clone());
        let page = account.lab.deploy(builder.clone().name(PAGE).env("SERVES", "page"));
        let leaks = account.lab.deploy(builder.name(LEAKS).env("SERVES", "leaks"));
        Ok(Self { machine, account, members, function, page, leaks, way })
    }

    /// The local AWS.
    pub fn lab(&self) -> &Lab {
        &self.account.lab
    }

    /// The ARNs of the secrets, with what they hold.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.members.iter().map(|member| (member.secret.as_str(), member.kind))
    }

    /// The ARN of the fleet's function.
    pub fn function(&self) -> &str {
        &self.function
    }

    /// The ARN of the page's function.
    pub fn page(&self) -> &str {
        &self.page
    }

    /// What the stop flag holds.
    pub fn flagged(&self) -> Option<String> {
        self.account.lab.parameters().get(STOP)
    }

    /// Invokes the fleet's function.
    ///
    /// # Errors
    /// The function failed: its error.
    pub async fn ask(&self, payload: &Value) -> Result<Value, Error> {
        self.ask_function(&self.function, payload).await
    }

    /// Invokes the function of the page, as a program does.
    ///
    /// # Errors
    /// The function failed: its error.
    pub async fn ask_page(&self, payload: &Value) -> Result<Value, Error> {
        self.ask_function(&self.page, payload).await
    }

    /// Invokes the function for leaks.
    ///
    /// # Errors
    /// The function failed: its error.
    pub async fn ask_leaks(&self, payload: &Value) -> Result<Value, Error> {
        self.ask_function(&self.leaks, payload).await
    }

    /// Decides from now on what becomes of calls to Step Functions and KMS.
    pub fn intercept(&self, script: impl Fn(&str, &Value) -> Sent + Send + Sync + 'static) {
        self.way.set(script);
    }

    /// Invokes any function.
    ///
    /// # Errors
    /// There is none of that name, or it failed: its error.
    pub async fn ask_function(&self, function: &str, payload: &Value) -> Result<Value, Error> {
        let outcome = self.account.lab.host().invoke(function, payload.to_string().into_bytes()).await;
        let outcome = outcome.map_err(|_| Error::Setup("there is no such function".to_owned()))?;
        outcome.result().map_err(|error| Error::Rotation(format!("{}: {}", error.error_type, error.error_message)))
    }

    /// Everything that the fleet's functions have printed.
    pub fn printed(&self) -> String {
        let host = self.account.lab.host();
        [&self.function, &self.page, &self.leaks].map(|function| host.output(function)).concat()
    }

    /// Sets or clears the stop flag.
    pub fn flag(&self, value: &str) {
        self.account.lab.parameters().put(STOP, value);
    }

    /// Starts an execution with an order, and returns its ARN.
    ///
    /// # Errors
    /// Step Functions refused.
    pub async fn execute(&self, name: &str, order: &Value) -> Result<String, Error> {
        self.machine.execute(name, order).await
    }

    /// Waits for the end of an execution.
    ///
    /// # Errors
    /// It did not end in time.
    pub async fn ended(&self, execution: &str, limit: Duration) -> Result<Execution, Error> {
        self.machine.ended(execution, limit).await
    }

    /// Ends an execution where it is.
    ///
    /// # Errors
    /// Step Functions refused.
    pub async fn stop(&self, execution: &str) -> Result<(), Error> {
        self.machine.stop(execution).await
    }

    /// The events of an execution.
    ///
    /// # Errors
    /// Step Functions refused.
    pub async fn history(&self, execution: &str) -> Result<Vec<Value>, Error> {
        self.machine.history(execution).await
    }

    /// Calls KMS.
    ///
    /// # Errors
    /// KMS refused.
    pub async fn kms(&self, operation: &str, body: &Value) -> Result<Value, Error> {
        self.machine.kms(operation, body).await
    }

    /// A session of the PostgreSQL with the credential in `value`, a secret's text.
    ///
    /// # Errors
    /// There is no PostgreSQL, or it refused.
    pub async fn session(&self, value: &str) -> Result<tokio_postgres::Client, Error> {
        let value: Value = serde_json::from_str(value).map_err(|error| Error::Setup(error.to_string()))?;
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default();
        let Some(Server::Database(Database::Postgres(server))) = self.account.servers.get(&Engine::Postgres) else {
            return Err(Error::Setup("there is no PostgreSQL".to_owned()));
        };
        let session = server.connect(text("username"), &text("password").into(), "postgres").await;
        session.map_err(|error| Error::Setup(error.to_string()))
    }

    /// Whether the credential in `value`, a secret's text, opens the server of `kind`.
    ///
    /// # Errors
    /// The server could not be asked.
    pub async fn opens(&self, kind: Kind, value: &str) -> Result<bool, Error> {
        let server = self.account.servers.get(&kind.engine);
        let server = server.ok_or_else(|| Error::Setup("it has no server".to_owned()))?;
        server.opens(&Credential::of(value)).await.map_err(Error::Rotation)
    }

    /// Forbids a user of the PostgreSQL to log in, or allows it again.
    ///
    /// # Errors
    /// There is no PostgreSQL, or it refused.
    pub async fn forbid(&self, user: &str, forbidden: bool) -> Result<(), Error> {
        let server = self.account.servers.get(&Engine::Postgres);
        let Some(Server::Database(Database::Postgres(server))) = server else {
            return Err(Error::Setup("there is no PostgreSQL".to_owned()));
        };
        let failed = |error: &dyn std::fmt::Display| Error::Setup(error.to_string());
        let client = server.connect_superuser().await.map_err(|error| failed(&error))?;
        let may = if forbidden { "NOLOGIN" } else { "LOGIN" };
        let sql = format!("ALTER ROLE {} {may}", quoted(user));
        client.batch_execute(&sql).await.map_err(|error| failed(&error))
    }

    /// Ends the functions' processes.
    pub async fn shutdown(&self) {
        self.account.lab.shutdown().await;
    }
}
