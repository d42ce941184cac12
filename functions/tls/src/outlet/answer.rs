//! What ACM and S3 answer, in words of our own.

use rotation::aws::service::{Answer, CallError, Failure};
use rotation::{Code, Error, Fact};

/// An answer that is neither a success nor one that its reader expects.
pub(super) fn refused(call: &'static str, answer: &Answer) -> Error {
    let kind: String = answer.error_name().unwrap_or_default();
    let kind: String = kind.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let error = Error::new(Code::OutletRefused).with(Fact::Call, call).with(Fact::Status, answer.status);
    error.with(Fact::ServiceCode, kind)
}

pub(super) fn unanswered(call: &'static str, failure: Failure) -> Error {
    let code = match failure.trouble {
        CallError::Throttled | CallError::NoConnection | CallError::Silent | CallError::Unavailable(_) => {
            Code::OutletUnavailable
        }
        CallError::NotConfigured | CallError::TooLarge => Code::OutletRefused,
        CallError::BadEndpoint(misplaced) => return misplaced.error(),
    };
    let error = Error::new(code).with(Fact::Call, call).with(Fact::What, failure.trouble.as_str());
    error.with(Fact::Attempts, failure.attempts)
}
