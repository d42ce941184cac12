//! The errors that Secrets Manager answers, by type and in AWS's words.
//!
//! Messages marked *recorded* were seen on the live service (public recordings of it, or bug reports that quote it);
//! the others say the same in our words, because no public source quotes them.

use std::fmt;

/// An error answer: what the service puts into `__type` and `Message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceError {
    /// The exception's name, for example `ResourceNotFoundException`.
    pub error_type: &'static str,
    /// What is wrong. Never contains a secret value.
    pub message: String,
}

impl ServiceError {
    fn new(error_type: &'static str, message: impl Into<String>) -> Self {
        Self { error_type, message: message.into() }
    }

    /// A request member outside the bounds of its shape.
    pub(crate) fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// A member's value outside its bounds, in the wording of AWS's request validator.
    pub(crate) fn constraint(value: Option<&str>, member: &str, constraint: &str) -> Self {
        // The validator leaves out the value of a sensitive member.
        let value = value.map_or_else(String::new, |value| format!(" '{value}'"));
        Self::validation(format!(
            "1 validation error detected: Value{value} at '{member}' failed to satisfy constraint: {constraint}"
        ))
    }

    /// A required member that the request lacks.
    pub(crate) fn missing(member: &str) -> Self {
        Self::validation(format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: \
             Member must not be null"
        ))
    }

    pub(crate) fn invalid_parameter(message: impl Into<String>) -> Self {
        Self::new("InvalidParameterException", message)
    }

    pub(crate) fn invalid_request(message: impl Into<String>) -> Self {
        Self::new("InvalidRequestException", message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Self::new("ResourceNotFoundException", message)
    }

    pub(crate) fn exists(message: impl Into<String>) -> Self {
        Self::new("ResourceExistsException", message)
    }

    pub(crate) fn limit_exceeded(message: impl Into<String>) -> Self {
        Self::new("LimitExceededException", message)
    }

    pub(crate) fn access_denied(message: impl Into<String>) -> Self {
        Self::new("AccessDeniedException", message)
    }

    /// RotateSecret names a function that the service may not invoke. AWS says the same of one that is not there.
    pub(crate) fn cannot_invoke() -> Self {
        Self::access_denied(
            "Secrets Manager cannot invoke the specified Lambda function. Ensure that the function policy grants access to \
             the principal secretsmanager.amazonaws.com.",
        )
    }

    /// A call beyond the rate that the service allows.
    pub(crate) fn throttled() -> Self {
        Self::new("ThrottlingException", "Rate exceeded")
    }

    pub(crate) fn invalid_next_token() -> Self {
        Self::new("InvalidNextTokenException", "The NextToken value is invalid.")
    }

    /// A body that is not JSON of the operation's shape. Does not quote the body: it may hold a secret.
    pub(crate) fn serialization(operation: &str, line: usize, column: usize) -> Self {
        Self::new(
            "SerializationException",
            format!("The request body isn't JSON of the shape of {operation} (line {line}, column {column})."),
        )
    }

    pub(crate) fn unknown_operation(operation: &str) -> Self {
        Self::new("UnknownOperationException", format!("The operation '{operation}' isn't known to this service."))
    }

    /// *Recorded.*
    pub(crate) fn no_such_secret() -> Self {
        Self::not_found("Secrets Manager can't find the specified secret.")
    }

    /// *Recorded.*
    pub(crate) fn no_value_for_stage(stage: &str) -> Self {
        Self::not_found(format!("Secrets Manager can't find the specified secret value for staging label: {stage}"))
    }

    /// *Recorded.*
    pub(crate) fn no_value_for_version(version_id: &str) -> Self {
        Self::not_found(format!("Secrets Manager can't find the specified secret value for VersionId: {version_id}"))
    }

    /// *Recorded.*
    pub(crate) fn marked_for_deletion() -> Self {
        Self::invalid_request("You can't perform this operation on the secret because it was marked for deletion.")
    }

    /// *Recorded.*
    pub(crate) fn previous_rotation_incomplete() -> Self {
        Self::invalid_request("A previous rotation isn't complete. That rotation will be reattempted.")
    }

    /// *Recorded.*
    pub(crate) fn token_in_use(token: &str, arn: &str) -> Self {
        Self::exists(format!(
            "You can't use ClientRequestToken {token} because that value is already in use for a version of secret \
             {arn}."
        ))
    }
}

impl fmt::Display for ServiceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.error_type, self.message)
    }
}

impl std::error::Error for ServiceError {}
