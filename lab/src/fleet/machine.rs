//! Step Functions: moto, which interprets state machines, and whose tasks call the lab.

use crate::load::Error;
use crate::servers::moto::Moto;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Regions for state machines. The functions' own comes first.
const REGIONS: [&str; 16] = [
    crate::lambda::REGION,
    "us-east-2",
    "us-west-1",
    "us-west-2",
    "eu-central-1",
    "eu-west-1",
    "eu-west-2",
    "eu-west-3",
    "eu-north-1",
    "ap-south-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "ap-northeast-2",
    "ca-central-1",
    "sa-east-1",
];
/// How often an execution is looked at.
const POLL: Duration = Duration::from_millis(200);

/// Step Functions with the fleet's state machine.
#[derive(Debug)]
pub(super) struct Machine {
    moto: Moto,
    client: reqwest::Client,
    definition: String,
    made: AtomicUsize,
}

/// How an execution stands.
#[derive(Clone, Debug)]
pub struct Execution {
    /// `RUNNING`, `SUCCEEDED`, `FAILED`, `ABORTED`.
    pub status: String,
    /// What it answered: its output, or where it failed the cause.
    pub answer: Value,
}

impl Machine {
    /// Starts it with a definition. Tasks call the services on `port`.
    pub(super) async fn start(definition: &str, port: u16) -> Result<Self, Error> {
        let moto = Moto::with_tasks_at(port).await.map_err(|error| Error::Setup(error.to_string()))?;
        let client = reqwest::Client::builder().build().map_err(|error| Error::Setup(error.to_string()))?;
        let machine = Self { moto, client, definition: definition.to_owned(), made: AtomicUsize::new(0) };
        // Without it, moto pretends that every execution runs for ever.
        let config = json!({"stepfunctions": {"execute_state_machine": true}});
        let url = format!("{}/moto-api/config", machine.moto.url());
        let configured = machine.client.post(url).json(&config).send().await;
        configured.map_err(|error| Error::Setup(error.to_string()))?;
        Ok(machine)
    }

    /// A new state machine with the definition in the next region, and its ARN. moto 5.2 copies everything that a region's Step Functions
    /// has before it starts an execution, and cannot copy an execution: the second one in a region ends in an internal error.
    pub(super) async fn make(&self) -> Result<String, Error> {
        let region = REGIONS.get(self.made.fetch_add(1, Ordering::Relaxed));
        let region = region.ok_or_else(|| Error::Setup("a lab has room for 16 executions".to_owned()))?;
        let role = "arn:aws:iam::123456789012:role/lab";
        let created = json!({"name": "lockstep-fleet", "definition": self.definition, "roleArn": role});
        Ok(text(&self.call(region, "CreateStateMachine", &created).await?, "stateMachineArn"))
    }

    async fn call(&self, region: &str, operation: &str, body: &Value) -> Result<Value, Error> {
        self.ask(region, "states", &format!("AWSStepFunctions.{operation}"), body).await
    }

    /// Calls KMS, which moto has, too.
    pub(super) async fn kms(&self, operation: &str, body: &Value) -> Result<Value, Error> {
        self.ask(crate::lambda::REGION, "kms", &format!("TrentService.{operation}"), body).await
    }

    async fn ask(&self, region: &str, service: &str, target: &str, body: &Value) -> Result<Value, Error> {
        // moto tells services and regions apart by the signature's scope, and checks no signature.
        let scope = format!("lab/20260101/{region}/{service}/aws4_request");
        let credential = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature=0");
        let request = self.client.post(self.moto.url()).header("authorization", credential);
        let request = request.header("x-amz-target", target);
        let media = if service == "kms" { "application/x-amz-json-1.1" } else { "application/x-amz-json-1.0" };
        let request = request.header("content-type", media).body(body.to_string());
        let failed = |error: reqwest::Error| Error::Setup(format!("{target}: {error}"));
        let answer = request.send().await.map_err(failed)?;
        let good = answer.status().is_success();
        let answer: Value = answer.json().await.map_err(failed)?;
        if good { Ok(answer) } else { Err(Error::Setup(format!("{target}: {answer}"))) }
    }

    /// Starts an execution, and returns its ARN.
    pub(super) async fn execute(&self, name: &str, input: &Value) -> Result<String, Error> {
        let machine = self.make().await?;
        let body = json!({"stateMachineArn": machine, "name": name, "input": input.to_string()});
        Ok(text(&self.call(region(&machine), "StartExecution", &body).await?, "executionArn"))
    }

    /// Where Step Functions is.
    pub(super) fn url(&self) -> String {
        self.moto.url()
    }

    /// How an execution stands.
    pub(super) async fn describe(&self, execution: &str) -> Result<Execution, Error> {
        let answer = self.call(region(execution), "DescribeExecution", &json!({"executionArn": execution})).await?;
        let (output, cause) = (text(&answer, "output"), text(&answer, "cause"));
        let said = if output.is_empty() { cause } else { output };
        let read = serde_json::from_str(&said).unwrap_or(Value::String(said));
        Ok(Execution { status: text(&answer, "status"), answer: read })
    }

    /// Waits for the end of an execution.
    pub(super) async fn ended(&self, execution: &str, limit: Duration) -> Result<Execution, Error> {
        let began = Instant::now();
        loop {
            let described = self.describe(execution).await?;
            if described.status != "RUNNING" {
                return Ok(described);
            }
            if began.elapsed() > limit {
                return Err(Error::Rotation(format!("the execution did not end within {} s", limit.as_secs())));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Ends an execution where it is.
    pub(super) async fn stop(&self, execution: &str) -> Result<(), Error> {
        self.call(region(execution), "StopExecution", &json!({"executionArn": execution})).await.map(drop)
    }

    /// How many events an execution has had.
    pub(super) async fn history(&self, execution: &str) -> Result<Vec<Value>, Error> {
        let answer = self.call(region(execution), "GetExecutionHistory", &json!({"executionArn": execution})).await?;
        Ok(answer.get("events").and_then(Value::as_array).cloned().unwrap_or_default())
    }
}

/// The region in an ARN.
fn region(arn: &str) -> &str {
    arn.split(':').nth(3).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
