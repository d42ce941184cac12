//! What S3, Systems Manager and CloudFront answer, in words of our own.

use super::group::Group;
use crate::published::PublishedSet;
use rotation::aws::service::{Answer, Codes, Failure};
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
    answer.refused(call, Code::OutletRefused)
}

/// A call without a useful answer.
pub(super) fn unanswered(call: &'static str, failure: Failure) -> Error {
    let unavailable = Code::OutletUnavailable;
    failure.error(call, Codes { passes: unavailable, throttled: unavailable, stays: Code::OutletRefused })
}
