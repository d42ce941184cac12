//! What S3, Systems Manager and CloudFront answer, in words of our own.

use super::group::Group;
use crate::published::PublishedSet;
use rotation::aws::service::{Answer, CallError, Failure};
use rotation::{Code, Error, Fact, Result};

/// What was read in a place.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The set; an empty one if nothing is there.
    pub set: PublishedSet,
    /// What tells it from what others write later.
    pub mark: Mark,
}

/// Tells one state of a place from another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// Nothing is there.
    Nothing,
    /// An object's entity tag.
    Tag(String),
    /// A parameter's version.
    Version(u64),
    /// A key group.
    Group(Group),
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Written {
    /// The set is published.
    Done,
    /// Somebody has written since the read. Nothing was written.
    Conflict,
    /// Somebody has written since the read, and their set was overwritten. This is it, with the mark of what is there now.
    Overwrote(Found),
}

/// The set that an answer holds.
pub(super) fn set_of(text: &str) -> Result<PublishedSet> {
    // What is empty was made before its first rotation.
    if text.trim().is_empty() || text.trim() == "{}" {
        return Ok(PublishedSet::default());
    }
    PublishedSet::read(text)
        .ok_or_else(|| Error::new(Code::OutletTaken).with(Fact::Found, "something that is no set of keys"))
}

/// An answer that is neither a success nor one that its reader expects.
pub(super) fn refused(call: &'static str, answer: &Answer) -> Error {
    let error = Error::new(Code::OutletRefused).with(Fact::Call, call).with(Fact::Status, answer.status);
    match answer.error_name() {
        Some(name) if name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric()) => {
            error.with(Fact::ServiceCode, name)
        }
        _ => error,
    }
}

/// A call without a useful answer.
pub(super) fn unanswered(call: &'static str, failure: Failure) -> Error {
    let code = match failure.trouble {
        CallError::BadEndpoint(misplaced) => return misplaced.error(),
        CallError::NotConfigured | CallError::TooLarge => Code::OutletRefused,
        CallError::NoConnection | CallError::Silent | CallError::Throttled | CallError::Unavailable(_) => {
            Code::OutletUnavailable
        }
    };
    let error = Error::new(code).with(Fact::Call, call).with(Fact::What, failure.trouble.as_str());
    error.with(Fact::Attempts, failure.attempts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_by_itself_is_tried_again() {
        use rotation::Class;
        for (trouble, class) in [
            (CallError::Silent, Class::Retryable),
            (CallError::Throttled, Class::Retryable),
            (CallError::Unavailable(503), Class::Retryable),
            (CallError::NotConfigured, Class::Permanent),
        ] {
            assert_eq!(unanswered("PutObject", Failure { trouble, attempts: 2 }).class(), class, "{trouble:?}");
        }
        let answer =
            Answer { status: 403, headers: Vec::new(), body: b"<Error><Code>AccessDenied</Code></Error>".to_vec() };
        assert_eq!(refused("PutObject", &answer).fact(Fact::ServiceCode), Some("AccessDenied"));
    }
}
