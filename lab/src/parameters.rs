//! Systems Manager's parameters, as far as a function reads them: GetParameter.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

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

    /// Performs the operation that `X-Amz-Target` names after `AmazonSSM.`.
    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> Reply {
        if operation != "GetParameter" {
            return Reply::failure("UnknownOperationException", "The lab's Systems Manager has GetParameter alone.");
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(name) = request.get("Name").and_then(Value::as_str) else {
            return Reply::failure("ValidationException", "Name is required.");
        };
        let parameters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
