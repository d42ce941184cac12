//! Answers in the shape of AWS's JSON 1.1 protocol.

use serde_json::{Value, json};

use super::ServiceError;

/// An answer, to be sent as `application/x-amz-json-1.1`.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The HTTP status: 200, 400, or 500 for an `InternalServiceError`.
    pub status: u16,
    /// The body; of an error `{"__type": …, "Message": …}`. May hold a secret value.
    pub body: Value,
    /// The exception's name where the answer is an error, for the header `x-amzn-ErrorType`.
    pub error_type: Option<String>,
}

impl Reply {
    /// A success with this body.
    #[must_use]
    pub fn success(body: Value) -> Self {
        Self { status: 200, body, error_type: None }
    }

    /// An error answer, for a layer in front of the service, such as one that throttles.
    #[must_use]
    pub fn failure(error_type: &str, message: &str) -> Self {
        let status = if matches!(error_type, "InternalServiceError" | "InternalFailure") { 500 } else { 400 };
        Self {
            status,
            body: json!({"__type": error_type, "Message": message}),
            error_type: Some(error_type.to_owned()),
        }
    }

    /// The body as it goes over the wire.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        self.body.to_string().into_bytes()
    }
}

impl From<Result<Value, ServiceError>> for Reply {
    fn from(result: Result<Value, ServiceError>) -> Self {
        match result {
            Ok(body) => Self::success(body),
            Err(error) => Self::failure(error.error_type, &error.message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_have_awss_body() {
        let reply = Reply::from(Err(ServiceError::no_such_secret()));
        assert_eq!(reply.status, 400);
        assert_eq!(
            String::from_utf8(reply.bytes()).unwrap(),
            r#"{"Message":"Secrets Manager can't find the specified secret.","__type":"ResourceNotFoundException"}"#
        );
        assert_eq!(reply.error_type.as_deref(), Some("ResourceNotFoundException"));
    }
}
