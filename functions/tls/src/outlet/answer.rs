//! What ACM and S3 answer, in words of our own.

use rotation::aws::service::{Answer, Codes, Failure};
use rotation::{Code, Error};

/// An answer that is neither a success nor one that its reader expects.
pub(super) fn refused(call: &'static str, answer: &Answer) -> Error {
    answer.refused(call, Code::OutletRefused)
}

/// A call without a useful answer.
pub(super) fn unanswered(call: &'static str, failure: Failure) -> Error {
    let unavailable = Code::OutletUnavailable;
    failure.error(call, Codes { passes: unavailable, throttled: unavailable, stays: Code::OutletRefused })
}
