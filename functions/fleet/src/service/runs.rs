//! The executions of the state machine, and the stop flag, as the page shows them.

use super::{Aws, milliseconds};
use rotation::clock::{Deadline, date};
use rotation::error::Result;
use serde_json::{Value, json};
use std::time::Duration;

/// So many executions are shown.
const SHOWN: usize = 10;

impl Aws {
    /// The latest executions of a state machine, the newest first.
    ///
    /// # Errors
    /// ListExecutions or DescribeExecution failed.
    pub async fn runs(&self, machine: &str, deadline: Deadline) -> Result<Vec<Value>> {
        let body = json!({"stateMachineArn": machine, "maxResults": SHOWN});
        let listed = self.of_machine("ListExecutions", &body, deadline).await?;
        let mut runs = Vec::new();
        for one in listed.get("executions").and_then(Value::as_array).into_iter().flatten().take(SHOWN) {
            let arn = one.get("executionArn").and_then(Value::as_str).unwrap_or_default();
            let described = self.of_machine("DescribeExecution", &json!({"executionArn": arn}), deadline).await?;
            runs.push((milliseconds(&described, "startDate"), run(&described)));
        }
        runs.sort_by_key(|(began, _)| std::cmp::Reverse(*began));
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    async fn of_machine(&self, operation: &'static str, body: &Value, deadline: Deadline) -> Result<Value> {
        let answer = Self::call(&self.machines, operation, body, deadline).await?;
        answer.map_err(|refused| refused.error(operation, ""))
    }

    /// What the stop flag holds; nothing if there is none.
    ///
    /// # Errors
    /// GetParameter failed.
    pub async fn stop_flag(&self, deadline: Deadline) -> Result<String> {
        let Some(name) = &self.stop else { return Ok(String::new()) };
        match Self::call(&self.parameters, "GetParameter", &json!({"Name": name}), deadline).await? {
            Ok(answer) => {
                let value = answer.pointer("/Parameter/Value").and_then(Value::as_str).unwrap_or_default();
                Ok(value.trim().to_owned())
            }
            Err(refused) if refused.name == "ParameterNotFound" => Ok(String::new()),
            Err(refused) => Err(refused.error("GetParameter", "")),
        }
    }

    /// Sets the stop flag. `false`: there is none.
    ///
    /// # Errors
    /// PutParameter failed.
    pub async fn set_stop_flag(&self, value: &str, deadline: Deadline) -> Result<bool> {
        let Some(name) = &self.stop else { return Ok(false) };
        let body = json!({"Name": name, "Value": value, "Type": "String", "Overwrite": true});
        let answer = Self::call(&self.parameters, "PutParameter", &body, deadline).await?;
        answer.map(|_| true).map_err(|refused| refused.error("PutParameter", ""))
    }
}

/// What DescribeExecution says of a run: its order, and its report, which is the output, or the cause where the execution failed.
///
/// <https://docs.aws.amazon.com/step-functions/latest/apireference/API_DescribeExecution.html>
fn run(described: &Value) -> Value {
    let text = |name: &str| described.get(name).and_then(Value::as_str).unwrap_or_default();
    let read = |name: &str| serde_json::from_str::<Value>(text(name)).unwrap_or_default();
    let at = |name: &str| milliseconds(described, name).and_then(|at| date(Duration::from_millis(at)));
    let (order, output, cause) = (read("input"), read("output"), read("cause"));
    let report = if output.is_object() { output } else { cause };
    let of = |from: &Value, name: &str| from.get(name).cloned().unwrap_or_default();
    let named = order.get("name").and_then(Value::as_str).filter(|name| !name.is_empty());
    // An order that cannot be followed has no report: its cause is what Lambda says, and the error's name is the code.
    let outcome = report.get("outcome").cloned().unwrap_or_else(|| text("error").into());
    json!({
        "execution": text("name"), "status": text("status"), "began": at("startDate"), "ended": at("stopDate"),
        "run": named.unwrap_or(text("name")), "plan": of(&order, "run") != Value::Bool(true),
        "mode": order.get("mode").and_then(Value::as_str).unwrap_or("rotate"),
        "why": of(&order, "why"), "askedBy": of(&order, "askedBy"),
        "outcome": outcome, "tally": of(&report, "tally"), "notReached": of(&report, "notReached"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_told_by_its_order_and_its_report() {
        let order = json!({"run": true, "name": "november", "why": "monthly", "mode": "emergency", "askedBy": "anna"});
        let report = json!({"outcome": "stopped-by-failures", "tally": {"failed": 1}, "notReached": 2});
        let described = json!({"name": "e", "status": "FAILED", "startDate": 1_795_989_600.5, "stopDate": 1_795_989_660.0,
            "input": order.to_string(), "cause": report.to_string(), "error": "stopped-by-failures"});
        assert_eq!(
            run(&described),
            json!({"execution": "e", "status": "FAILED", "began": "2026-11-29T22:00:00Z", "ended": "2026-11-29T22:01:00Z",
                "run": "november", "plan": false, "mode": "emergency", "why": "monthly", "askedBy": "anna",
                "outcome": "stopped-by-failures", "tally": {"failed": 1}, "notReached": 2})
        );
        // The input of an execution is whatever somebody wrote.
        let strange =
            json!({"name": "e", "status": "FAILED", "input": "[1]", "error": "order-invalid", "cause": "words"});
        let strange = run(&strange);
        assert_eq!(
            (&strange["run"], &strange["outcome"], &strange["plan"]),
            (&json!("e"), &json!("order-invalid"), &json!(true))
        );
    }
}
