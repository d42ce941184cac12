//! Reads a parameter of AWS Systems Manager.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use rotation::aws::service::{CallError, Failure, Request, Service};
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
            (status, _) => {
                let kind = text("/__type").unwrap_or_default().rsplit('#').next().unwrap_or_default();
                let error = of_parameter(Code::DescriptionUnreadable, name).with(Fact::What, "refused");
                Err(error.with(Fact::Status, status).with(Fact::ServiceCode, kind))
            }
        }
    }
}

fn of_parameter(code: Code, name: &str) -> Error {
    Error::new(code).with(Fact::Field, "ISSUERS").with(Fact::Found, format_args!("ssm:{name}"))
}

/// Throttling and outages are retryable; missing configuration and oversized answers are not.
fn unanswered(name: &str, failure: Failure) -> Error {
    let code = match failure.trouble {
        CallError::Throttled | CallError::NoConnection | CallError::Silent | CallError::Unavailable(_) => {
            Code::DescriptionUnavailable
        }
        CallError::NotConfigured | CallError::TooLarge => Code::DescriptionUnreadable,
        CallError::BadEndpoint(misplaced) => return misplaced.error(),
    };
    let mut error = of_parameter(code, name).with(Fact::What, failure.trouble.as_str());
    if let CallError::Unavailable(status) = failure.trouble {
        error = error.with(Fact::Status, status);
    }
    error.with(Fact::Attempts, failure.attempts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::Class;
    use rotation::aws::endpoint::BadEndpoint;

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        let of = |trouble| unanswered("/a", Failure { trouble, attempts: 3 });
        for trouble in [CallError::Throttled, CallError::NoConnection, CallError::Silent, CallError::Unavailable(503)] {
            let error = of(trouble);
            assert_eq!((error.code(), error.class()), (Code::DescriptionUnavailable, Class::Retryable), "{trouble:?}");
            let facts = (error.fact(Fact::Field), error.fact(Fact::Found), error.fact(Fact::Attempts));
            assert_eq!(facts, (Some("ISSUERS"), Some("ssm:/a"), Some("3")));
        }
        assert_eq!(of(CallError::Unavailable(503)).fact(Fact::Status), Some("503"));
        let misplaced = BadEndpoint { field: "AWS_ENDPOINT_URL_SSM", found: "a", expected: "b" };
        for (trouble, code) in [
            (CallError::NotConfigured, Code::DescriptionUnreadable),
            (CallError::TooLarge, Code::DescriptionUnreadable),
            (CallError::BadEndpoint(misplaced), Code::ConfigurationInvalid),
        ] {
            assert_eq!((of(trouble).code(), of(trouble).class()), (code, Class::Permanent), "{trouble:?}");
        }
    }
}
