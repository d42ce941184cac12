//! The calls to Step Functions, Systems Manager and KMS.

use super::{Aws, Flag};
use crate::plan::invalid::invalid;
use rotation::clock::Deadline;
use rotation::error::Result;
use serde_json::{Value, json};

impl Aws {
    /// The ARN of a KMS key that Secrets Manager can encrypt with: enabled, symmetric, for encryption.
    ///
    /// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/security-encryption.html>
    ///
    /// # Errors
    /// [`Code::OrderInvalid`](rotation::Code::OrderInvalid) if it is none; DescribeKey failed for another reason.
    pub async fn key(&self, key: &str, deadline: Deadline) -> Result<String> {
        let expected = "an enabled, symmetric key for encryption, in the region of the secrets";
        let answer = match Self::call(&self.keys, "DescribeKey", &json!({"KeyId": key}), deadline).await? {
            Ok(answer) => answer,
            Err(refused) if matches!(refused.name.as_str(), "NotFoundException" | "InvalidArnException") => {
                return Err(invalid("kmsKey", "a key that KMS does not know here", expected));
            }
            Err(refused) => return Err(refused.error("DescribeKey", "")),
        };
        let text =
            |name: &str| answer.pointer(&format!("/KeyMetadata/{name}")).and_then(Value::as_str).unwrap_or_default();
        let arn = text("Arn");
        let known = [
            "Disabled",
            "PendingDeletion",
            "PendingImport",
            "PendingReplicaDeletion",
            "Unavailable",
            "Creating",
            "Updating",
        ];
        let state = known.into_iter().find(|state| *state == text("KeyState"));
        match (text("KeyState"), text("KeyUsage"), text("KeySpec")) {
            ("Enabled", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT") if arn.starts_with("arn:") => Ok(arn.to_owned()),
            ("Enabled", ..) => Err(invalid("kmsKey", "a key that is not symmetric, or not for encryption", expected)),
            _ => Err(invalid("kmsKey", &format!("a key in the state {}", state.unwrap_or("unknown")), expected)),
        }
    }

    /// Whether the run has to stop: the parameter holds `stop`, or the run's name. A parameter that is not there stops nobody.
    ///
    /// # Errors
    /// The parameter could not be read. A run then has to stop, because nobody could stop it otherwise; an emergency goes on.
    pub async fn flag(&self, run: &str, deadline: Deadline) -> Result<Flag> {
        let value = self.stop_flag(deadline).await?;
        Ok(if value == "stop" || value == run { Flag::Stop } else { Flag::Go })
    }

    /// Starts an execution of a state machine. `false`: there is one of that name.
    ///
    /// # Errors
    /// StartExecution failed for another reason.
    pub async fn start(&self, machine: &str, name: &str, input: &Value, deadline: Deadline) -> Result<bool> {
        let body = json!({"stateMachineArn": machine, "name": name, "input": input.to_string()});
        match Self::call(&self.machines, "StartExecution", &body, deadline).await? {
            // The same name with the same input is the execution that runs: the call is idempotent then, and says when it began.
            Ok(_) => Ok(true),
            Err(refused) if refused.name == "ExecutionAlreadyExists" => Ok(false),
            Err(refused) => Err(refused.error("StartExecution", "")),
        }
    }

    /// Whether the execution of that name has failed.
    ///
    /// **Invariant:** a refusal is an error. Counted as "it runs", it would leave a leaked credential alive that nobody works on. Test:
    /// `an_emergency_that_failed_is_started_once_more`.
    ///
    /// # Errors
    /// DescribeExecution failed.
    pub async fn has_failed(&self, machine: &str, name: &str, deadline: Deadline) -> Result<bool> {
        let execution = format!("{}:{name}", machine.replace(":stateMachine:", ":execution:"));
        let body = json!({"executionArn": execution});
        let answer = Self::call(&self.machines, "DescribeExecution", &body, deadline).await?;
        let answer = answer.map_err(|refused| refused.error("DescribeExecution", ""))?;
        let status = answer.get("status").and_then(Value::as_str).unwrap_or_default();
        Ok(matches!(status, "FAILED" | "TIMED_OUT" | "ABORTED"))
    }
}
