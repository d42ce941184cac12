//! A whole local AWS for one function: Secrets Manager, Lambda, the parts of RDS and Systems Manager that functions call, the
//! endpoint in front of them all, and the means to disturb.

use crate::disturb::{Call, Disturb};
use crate::endpoint::{Bound, Endpoint, Services};
use crate::lambda::{ACCOUNT, Function, Host, Outcome, REGION, StepError, StepEvent, StepReport, Steps};
use crate::logs::Logs;
use crate::page::Page;
use crate::parameters::Parameters;
use crate::rds::Rds;
use crate::relay::Relay;
use crate::secretsmanager::{Consistency, Limits, Options, RotationEventKind, RotationOutcome, Service};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// A running lab. Dropping it ends its processes; [`shutdown`](Self::shutdown) also waits for that.
///
/// ```no_run
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let lab = lab::Lab::builder("target/release/lockstep-postgres").start().await?;
/// let arn = lab.create_secret("app", r#"{"engine":"postgres"}"#).await?;
/// let report = lab.rotate(&arn).await?;
/// assert!(report.rotated(), "{:?}", report.error());
/// # Ok(()) }
/// ```
pub struct Lab {
    services: Services,
    host: Host,
    steps: Steps,
    disturb: Disturb,
    endpoint: Endpoint,
    function_arn: String,
    clock_behind: Arc<Mutex<Duration>>,
}

/// Describes a [`Lab`].
#[derive(Clone)]
#[must_use]
pub struct Builder {
    function: Function,
    port: u16,
    retries: u32,
    clock_behind: Duration,
    disturb: Disturb,
    limits: Option<Limits>,
}

/// An error that the service answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// The error's type, e.g. `ResourceNotFoundException`.
    pub kind: String,
    /// The service's message.
    pub message: String,
}

/// How a rotation went.
#[derive(Clone, Debug)]
pub struct RotationReport {
    /// The version that the rotation was to make current.
    pub token: String,
    /// The steps that were carried out, in order.
    pub steps: Vec<StepReport>,
    /// How the service says it ended.
    pub outcome: RotationOutcome,
}

impl Builder {
    /// The function's name; that of its binary unless given.
    pub fn name(mut self, name: &str) -> Self {
        name.clone_into(&mut self.function.name);
        self
    }

    /// The arguments of the function's program. The last one is its handler.
    pub fn arguments(mut self, arguments: impl IntoIterator<Item = String>) -> Self {
        self.function.arguments = arguments.into_iter().collect();
        self
    }

    /// The directory that the function runs in; that of its binary unless given.
    pub fn directory(mut self, directory: impl Into<PathBuf>) -> Self {
        self.function.directory = Some(directory.into());
        self
    }

    /// An environment variable of the function.
    pub fn env(mut self, name: &str, value: impl Into<String>) -> Self {
        self.function.environment.push((name.to_owned(), value.into()));
        self
    }

    /// How long a step may take; 30 s unless given, as in our deployment template.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.function.timeout = timeout;
        self
    }

    /// How much longer a step may run than the function was told; no time unless given, as on AWS.
    pub fn overtime(mut self, overtime: Duration) -> Self {
        self.function.overtime = overtime;
        self
    }

    /// How long the function may take to start; 10 s unless given.
    pub fn init_timeout(mut self, timeout: Duration) -> Self {
        self.function.init_timeout = timeout;
        self
    }

    /// The memory that the function is told it has, in MB.
    pub fn memory(mut self, megabytes: u32) -> Self {
        self.function.memory_mb = megabytes;
        self
    }

    /// The function runs behind another Lambda endpoint, which knows it by its name.
    pub fn elsewhere(mut self, url: &str) -> Self {
        self.function.elsewhere = Some(url.to_owned());
        self
    }

    /// The endpoint's port; a free one unless given.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// How often the service runs a failed rotation again by itself, under the same token; never unless given. AWS does
    /// retry, but how often and when is undocumented.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// The rules and the record, shared with something that was started before, such as the issuer that the function calls.
    pub fn disturb(mut self, disturb: Disturb) -> Self {
        self.disturb = disturb;
        self
    }

    /// How far the service's clock is behind. New versions then have this age at once.
    pub fn clock_behind(mut self, time: Duration) -> Self {
        self.clock_behind = time;
        self
    }

    /// How often operations of Secrets Manager may be called; no limits unless given.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Starts everything.
    ///
    /// # Errors
    /// The port is taken, or no temporary directory could be made.
    pub async fn start(self) -> io::Result<Lab> {
        let bound = Endpoint::bind(self.port).await?;
        self.start_on(bound)
    }

    /// Starts everything on a port that was bound before.
    ///
    /// # Errors
    /// No temporary directory could be made.
    pub fn start_on(mut self, bound: Bound) -> io::Result<Lab> {
        point_to(&mut self.function, &bound.url()?);
        let (disturb, clock_behind) = (self.disturb, Arc::new(Mutex::new(self.clock_behind)));
        let host = Host::new(&disturb)?;
        let function_arn = host.deploy(self.function);
        let steps = Steps::new(host.clone());
        let options = Options {
            region: REGION.to_owned(),
            account_id: ACCOUNT.to_owned(),
            rotation_retries: self.retries,
            clock: {
                let behind = Arc::clone(&clock_behind);
                Arc::new(move || SystemTime::now() - *behind.lock().unwrap_or_else(PoisonError::into_inner))
            },
            limits: self.limits,
            ..Options::default()
        };
        let service = Service::new(options).with_invoker(Arc::new(steps.clone()));
        let services = Services {
            secrets: service,
            rds: Rds::default(),
            parameters: Parameters::default(),
            logs: Logs::new(host.clone()),
            page: Page::default(),
        };
        let endpoint = bound.serve(services.clone(), host.clone(), disturb.clone())?;
        Ok(Lab { services, host, steps, disturb, endpoint, function_arn, clock_behind })
    }
}

impl Lab {
    /// A lab for the function whose binary is `binary`.
    pub fn builder(binary: impl Into<PathBuf>) -> Builder {
        let binary = binary.into();
        let name = binary.file_stem().map_or_else(|| "rotation".into(), |name| name.to_string_lossy().into_owned());
        let mut function = Function::new(name, binary);
        function.timeout = Duration::from_secs(30);
        Builder { function, port: 0, retries: 0, clock_behind: Duration::ZERO, disturb: Disturb::new(), limits: None }
    }

    /// The URL for `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> String {
        self.endpoint.url()
    }

    /// The ARN of the function.
    pub fn function_arn(&self) -> &str {
        &self.function_arn
    }

    /// Secrets Manager itself.
    pub fn service(&self) -> &Service {
        &self.services.secrets
    }

    /// RDS: what it says about servers.
    pub fn rds(&self) -> &Rds {
        &self.services.rds
    }

    /// Systems Manager's parameters.
    pub fn parameters(&self) -> &Parameters {
        &self.services.parameters
    }

    /// The functions' logs, as CloudWatch Logs has them.
    pub fn logs(&self) -> &Logs {
        &self.services.logs
    }

    /// The page of the lab.
    pub fn page(&self) -> &Page {
        &self.services.page
    }

    /// Marks a secret as one that RDS manages, for the instance or cluster with this ARN.
    ///
    /// # Errors
    /// There is no such secret.
    pub fn manage(&self, secret: &str, server_arn: &str) -> Result<(), ServiceError> {
        let kind = if server_arn.contains(":cluster:") { "primarydbclusterarn" } else { "primarydbinstancearn" };
        let tagged = self.service().tag_as_aws(secret, &format!("aws:rds:{kind}"), server_arn);
        tagged.map_err(|error| ServiceError { kind: error.error_type.to_owned(), message: error.message })
    }

    /// The Lambda host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// How far the service's clock is behind from now on. Where it was further behind, time passes at once.
    pub fn set_clock_behind(&self, time: Duration) {
        *self.clock_behind.lock().unwrap_or_else(PoisonError::into_inner) = time;
    }

    /// Gives the function another setting, as a new deployment does.
    pub fn set_env(&self, name: &str, value: &str) {
        if let Ok(function) = self.host.find(&self.function_arn) {
            let mut function = Function::clone(&function);
            function.environment.push((name.to_owned(), value.to_owned()));
            self.host.deploy(function);
        }
    }

    /// Deploys what `other` describes as a further function of this lab, and returns its ARN. Of `other` only the function
    /// counts: its name, binary, environment, memory and times.
    pub fn deploy(&self, other: Builder) -> String {
        let mut function = other.function;
        point_to(&mut function, &self.url());
        self.host.deploy(function)
    }

    /// The rules for the function's calls, and their record.
    pub fn disturb(&self) -> &Disturb {
        &self.disturb
    }

    /// The function's external calls since the last [`Disturb::restart`].
    pub fn calls(&self) -> Vec<Call> {
        self.disturb.calls()
    }

    /// All that the function ever printed.
    pub fn function_output(&self) -> String {
        self.host.output(&self.function_arn)
    }

    /// Follows the rotation steps from now on.
    pub fn watch_steps(&self) -> broadcast::Receiver<StepEvent> {
        self.steps.watch()
    }

    /// A relay to a local port, under the same rules and in the same count as the Secrets Manager calls.
    ///
    /// # Errors
    /// No port could be bound.
    pub async fn relay(&self, target_port: u16) -> io::Result<Relay> {
        Relay::start(target_port, self.disturb.clone()).await
    }

    /// Calls a Secrets Manager operation, undisturbed, with a `ClientRequestToken` where AWS's SDKs would add one.
    ///
    /// # Errors
    /// The service's error.
    pub async fn call(&self, operation: &str, request: Value) -> Result<Value, ServiceError> {
        let request = with_idempotency_token(operation, request);
        let reply = self.service().call(operation, request.to_string().as_bytes(), Consistency::Strong).await;
        match reply.error_type {
            Some(kind) => Err(ServiceError::from_reply(kind, &reply.body)),
            None => Ok(reply.body),
        }
    }

    /// Creates a secret and returns its ARN.
    ///
    /// # Errors
    /// The service's error.
    pub async fn create_secret(&self, name: &str, value: &str) -> Result<String, ServiceError> {
        let created = self.call("CreateSecret", json!({ "Name": name, "SecretString": value })).await?;
        Ok(text(&created, "ARN"))
    }

    /// The value of the version with this staging label.
    ///
    /// # Errors
    /// The service's error.
    pub async fn secret_value(&self, secret: &str, stage: &str) -> Result<String, ServiceError> {
        let value = self.call("GetSecretValue", json!({ "SecretId": secret, "VersionStage": stage })).await?;
        Ok(text(&value, "SecretString"))
    }

    /// The labels of each version that has any: `VersionIdsToStages`.
    ///
    /// # Errors
    /// The service's error.
    pub async fn labels(&self, secret: &str) -> Result<Value, ServiceError> {
        let described = self.call("DescribeSecret", json!({ "SecretId": secret })).await?;
        Ok(described.get("VersionIdsToStages").cloned().unwrap_or_default())
    }

    /// Rotates a secret with the lab's function, and waits for the end of it.
    ///
    /// # Errors
    /// The service refused to begin.
    pub async fn rotate(&self, secret: &str) -> Result<RotationReport, ServiceError> {
        self.rotate_to(secret, &uuid::Uuid::new_v4().to_string()).await
    }

    /// Rotates to the version `token`. Where an earlier rotation is unfinished, the service runs that one again instead,
    /// under its own token; this waits for it just the same. For a token that was promoted already the service runs
    /// nothing: then there are no steps, and the outcome is that of the last rotation.
    ///
    /// # Errors
    /// The service refused to begin.
    pub async fn rotate_to(&self, secret: &str, token: &str) -> Result<RotationReport, ServiceError> {
        self.rotate_by(&self.function_arn, secret, token).await
    }

    /// The same with another function, which [`deploy`](Self::deploy) has deployed.
    ///
    /// # Errors
    /// The service refused to begin.
    pub async fn rotate_by(
        &self,
        function_arn: &str,
        secret: &str,
        token: &str,
    ) -> Result<RotationReport, ServiceError> {
        let unfinished = self.pending(secret);
        let token = unfinished.unwrap_or_else(|| token.to_owned());
        let earlier = self.steps.of(&token).len();
        let request = json!({ "SecretId": secret, "ClientRequestToken": token, "RotationLambdaARN": function_arn });
        match self.call("RotateSecret", request).await {
            Err(error) if !error.message.starts_with(PREVIOUS_INCOMPLETE) => return Err(error),
            _ => {}
        }
        let outcome = self.service().wait_rotation(secret).await.unwrap_or(RotationOutcome::Abandoned);
        let steps = self.steps.of(&token).split_off(earlier);
        Ok(RotationReport { token, steps, outcome })
    }

    /// The version that holds AWSPENDING and not AWSCURRENT: that of an unfinished rotation.
    fn pending(&self, secret: &str) -> Option<String> {
        let labels = self.service().labels(secret)?;
        let unfinished = |stages: &BTreeSet<String>| stages.contains("AWSPENDING") && !stages.contains("AWSCURRENT");
        labels.into_iter().find(|(_, stages)| unfinished(stages)).map(|(version, _)| version)
    }

    /// Waits for the end of the rotation to the version `token`, from the moment of this call, not of the first poll.
    pub fn rotation_end(&self, token: &str) -> impl Future<Output = RotationOutcome> + Send + use<> {
        let mut events = self.service().subscribe();
        let token = token.to_owned();
        async move {
            loop {
                match events.recv().await {
                    Ok(event) if event.token == token => {
                        if let Some(outcome) = end(event.kind) {
                            return outcome;
                        }
                    }
                    // Only a caller that does not wait falls behind by hundreds of events.
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return RotationOutcome::Abandoned,
                }
            }
        }
    }

    /// Invokes the function for one step, as the service would, without the service. `step` in either spelling.
    pub async fn invoke_step(&self, step: &str, secret: &str, token: &str) -> Outcome {
        self.invoke(&json!({ "Step": step, "SecretId": secret, "ClientRequestToken": token })).await
    }

    /// Invokes the function with any event.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        self.invoke_bytes(event.to_string().into_bytes()).await
    }

    /// Invokes the function with any bytes.
    pub async fn invoke_bytes(&self, event: Vec<u8>) -> Outcome {
        match self.host.invoke(&self.function_arn, event).await {
            Ok(outcome) => outcome,
            Err(unknown) => Outcome::not_run(&unknown),
        }
    }

    /// Ends and reaps the function's processes. What they printed can still be read.
    pub async fn shutdown(&self) {
        self.host.shutdown().await;
    }
}

impl ServiceError {
    pub(crate) fn from_reply(kind: String, body: &Value) -> Self {
        // AWS itself writes `Message` in some services and `message` in others.
        let message = body.get("Message").or_else(|| body.get("message")).and_then(Value::as_str);
        Self { kind, message: message.unwrap_or_default().to_owned() }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // A rotation under way would otherwise keep the host, and its processes, until its end.
        self.host.stop();
    }
}

impl RotationReport {
    /// Whether the service calls the rotation a success.
    pub fn rotated(&self) -> bool {
        self.outcome == RotationOutcome::Succeeded
    }

    /// The failure of the last step, if it failed.
    pub fn error(&self) -> Option<StepError> {
        self.steps.last()?.result().err()
    }
}

/// Has a function call the services at this address. Its own variables come later, so that those win.
fn point_to(function: &mut Function, url: &str) {
    for service in ["SECRETS_MANAGER", "RDS", "SSM", "CLOUDWATCH_LOGS"] {
        function.environment.insert(0, (format!("AWS_ENDPOINT_URL_{service}"), url.to_owned()));
    }
}

/// The outcome that an event means, if it is the last of its rotation.
fn end(event: RotationEventKind) -> Option<RotationOutcome> {
    match event {
        RotationEventKind::RotationSucceeded | RotationEventKind::TestRotationSucceeded => {
            Some(RotationOutcome::Succeeded)
        }
        RotationEventKind::RotationFailed { reason, will_retry: false }
        | RotationEventKind::TestRotationFailed { reason } => Some(RotationOutcome::Failed(reason)),
        RotationEventKind::RotationAbandoned => Some(RotationOutcome::Abandoned),
        RotationEventKind::RotationFailed { will_retry: true, .. }
        | RotationEventKind::RotationStarted
        | RotationEventKind::StepStarted { .. }
        | RotationEventKind::StepFinished { .. } => None,
    }
}

/// How RotateSecret's answer begins when it runs an unfinished rotation again instead of a new one.
const PREVIOUS_INCOMPLETE: &str = "A previous rotation isn't complete";

/// Adds a `ClientRequestToken` where the API's model marks it as an idempotency token: AWS's SDKs fill those in.
pub(crate) fn with_idempotency_token(operation: &str, mut request: Value) -> Value {
    if let ("CreateSecret" | "PutSecretValue" | "UpdateSecret" | "RotateSecret", Some(fields)) =
        (operation, request.as_object_mut())
    {
        fields.entry("ClientRequestToken").or_insert_with(|| uuid::Uuid::new_v4().to_string().into());
    }
    request
}

fn text(object: &Value, key: &str) -> String {
    object.get(key).and_then(Value::as_str).unwrap_or_default().to_owned()
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind, self.message)
    }
}

impl std::error::Error for ServiceError {}
