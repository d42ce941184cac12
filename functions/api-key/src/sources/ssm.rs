//! Reads a parameter of AWS Systems Manager.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use rotation::aws::service::{Codes, Failure, Request, Service};
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// The service answers in tens of milliseconds. The rest is for throttling.
const LIMIT: Duration = Duration::from_secs(5);

/// Systems Manager, in the function's region.
pub(crate) struct Parameters(Service);

impl Parameters {
    /// `endpoint` is the service's endpoint, if it is not the default one.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        Self(Service::new("ssm", endpoint))
    }

    /// The number of throttled calls since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.0.throttles()
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// [`Code::DescriptionUnavailable`] if a retry may help; [`Code::DescriptionUnreadable`], with the service's error code if there
    /// is one; [`Code::ConfigurationInvalid`].
    pub(crate) async fn value(&self, name: &str, deadline: Deadline) -> Result<String> {
        let body = json!({"Name": name, "WithDecryption": true}).to_string();
        let target = [("x-amz-target", "AmazonSSM.GetParameter")];
        let request = Request::post("application/x-amz-json-1.1", &target, body);
        let answer =
            self.0.call(&request, deadline.within(LIMIT)).await.map_err(|failure| unanswered(name, failure))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        match (answer.status, text("/Parameter/Value")) {
            (200, Some(value)) => Ok(value.to_owned()),
            _ => {
                let refused = answer.refused("ssm:GetParameter", Code::DescriptionUnreadable);
                Err(placed(refused.with(Fact::What, "refused"), name))
            }
        }
    }
}

/// The error with where the parameter is named.
fn placed(error: Error, name: &str) -> Error {
    error.with_default(Fact::Field, "ISSUERS").with_default(Fact::Found, format_args!("ssm:{name}"))
}

fn unanswered(name: &str, failure: Failure) -> Error {
    let unavailable = Code::DescriptionUnavailable;
    let codes = Codes { passes: unavailable, throttled: unavailable, stays: Code::DescriptionUnreadable };
    placed(failure.error("ssm:GetParameter", codes), name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::Class;
    use rotation::aws::endpoint::BadEndpoint;
    use rotation::aws::service::CallError;

    #[test]
    fn an_error_names_the_setting_and_the_parameter() {
        let of = |trouble| unanswered("/a", Failure { trouble, attempts: 3 });
        let silent = of(CallError::Silent);
        assert_eq!((silent.code(), silent.class()), (Code::DescriptionUnavailable, Class::Retryable));
        assert_eq!((silent.fact(Fact::Field), silent.fact(Fact::Found)), (Some("ISSUERS"), Some("ssm:/a")));
        assert_eq!(of(CallError::TooLarge).class(), Class::Permanent);
        let misplaced = BadEndpoint { field: "AWS_ENDPOINT_URL_SSM", found: "a", expected: "b" };
        let misplaced = of(CallError::BadEndpoint(misplaced));
        assert_eq!(
            (misplaced.code(), misplaced.fact(Fact::Field)),
            (Code::ConfigurationInvalid, Some("AWS_ENDPOINT_URL_SSM"))
        );
    }
}
