//! One call to AWS Systems Manager: a parameter with a description.
//!
//! <https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_GetParameter.html>

use rotation::clock::Deadline;
use rotation::signed::{Request, Service};
use rotation::{Code, Error, Fact, Result};
use serde_json::{Value, json};
use std::time::Duration;

/// The service answers in tens of milliseconds; this leaves room for a throttle.
const LIMIT: Duration = Duration::from_secs(5);

/// Systems Manager, in the function's region.
pub(crate) struct Parameters(Service);

impl Parameters {
    /// `endpoint` is where the service is, if not at its usual place.
    pub(crate) fn new(endpoint: Option<&str>) -> Self {
        Self(Service::new("ssm", endpoint))
    }

    /// How many answers have asked to slow down, since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.0.throttles()
    }

    /// The value of a parameter.
    ///
    /// # Errors
    /// [`Code::DescriptionUnreadable`], with the service's own error code where it gave one.
    pub(crate) async fn value(&self, name: &str, deadline: Deadline) -> Result<String> {
        let unreadable = |what: &str| {
            let error = Error::new(Code::DescriptionUnreadable).with(Fact::Field, "ISSUERS");
            error.with(Fact::Found, format_args!("ssm:{name}")).with(Fact::What, what)
        };
        let request = Request {
            media: "application/x-amz-json-1.1",
            headers: &[("x-amz-target", "AmazonSSM.GetParameter")],
            body: json!({"Name": name, "WithDecryption": true}).to_string(),
        };
        let answer = self.0.call(&request, deadline.within(LIMIT)).await;
        let answer =
            answer.map_err(|failure| unreadable(failure.trouble.as_str()).with(Fact::Attempts, failure.attempts))?;
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str);
        match (answer.status, text("/Parameter/Value")) {
            (200, Some(value)) => Ok(value.to_owned()),
            (status, _) => {
                let kind = text("/__type").unwrap_or_default().rsplit('#').next().unwrap_or_default();
                Err(unreadable("refused").with(Fact::Status, status).with(Fact::ServiceCode, kind))
            }
        }
    }
}
