//! Systems Manager's parameters, as far as functions use them: GetParameter, PutParameter.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>,
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html>

use crate::lambda::{ACCOUNT, REGION};
use crate::secretsmanager::Reply;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The parameters of the lab's account, by name. Cheap to clone; clones share them.
#[derive(Clone, Default)]
pub struct Parameters(Arc<Mutex<BTreeMap<String, String>>>);

impl Parameters {
    /// Stores a parameter, which replaces the one of its name.
    pub fn put(&self, name: &str, value: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), value.to_owned());
    }

    /// What a parameter holds.
    pub fn get(&self, name: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Performs the operation that `X-Amz-Target` names after `AmazonSSM.`.
    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> Reply {
        if !matches!(operation, "GetParameter" | "PutParameter") {
            let known = "The lab's Systems Manager has GetParameter and PutParameter.";
            return Reply::failure("UnknownOperationException", known);
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(name) = request.get("Name").and_then(Value::as_str) else {
            return Reply::failure("ValidationException", "Name is required.");
        };
        let mut parameters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if operation == "PutParameter" {
            let Some(value) = request.get("Value").and_then(Value::as_str).filter(|value| !value.is_empty()) else {
                return Reply::failure("ValidationException", "Value is required.");
            };
            if request.get("Overwrite") != Some(&Value::Bool(true)) && parameters.contains_key(name) {
                return Reply::failure("ParameterAlreadyExists", "The parameter already exists.");
            }
            parameters.insert(name.to_owned(), value.to_owned());
            return Reply { status: 200, body: json!({"Version": 1, "Tier": "Standard"}), error_type: None };
        }
        match parameters.get(name) {
            Some(value) => Reply {
                status: 200,
                body: json!({"Parameter": {
                    "Name": name, "Type": "String", "Value": value, "Version": 1, "DataType": "text",
                    "ARN": format!("arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/{}", name.trim_start_matches('/')),
                }}),
                error_type: None,
            },
            None => Reply::failure("ParameterNotFound", "There is no parameter of this name."),
        }
    }
}
