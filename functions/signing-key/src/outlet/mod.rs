//! The places that keys are published in. Each is read with a mark of what was read, and written only if that has not changed since.

mod s3;
mod ssm;

use crate::published::PublishedSet;
use crate::settings::Settings;
use rotation::aws::service::{Answer, CallError, Failure, Service};
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};
use std::fmt;
use std::time::Duration;

/// S3 and Systems Manager answer in tens of milliseconds. The rest is for throttling.
const LIMIT: Duration = Duration::from_secs(8);

/// A place that keys are published in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// An object in S3: `s3://bucket/key`.
    Object {
        /// The bucket.
        bucket: String,
        /// The object's key.
        key: String,
    },
    /// A parameter of Systems Manager: `ssm:name`.
    Parameter(String),
}

impl Place {
    /// The place that a text names. `None` if it names none.
    pub fn read(text: &str) -> Option<Self> {
        let plain = |text: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || "-._/".contains(c);
            !text.is_empty() && text.len() <= 512 && text.chars().all(fits) && !text.split('/').any(|part| part == "..")
        };
        if let Some(name) = text.strip_prefix("ssm:") {
            return plain(name).then(|| Self::Parameter(name.to_owned()));
        }
        let (bucket, key) = text.strip_prefix("s3://")?.split_once('/')?;
        // https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html
        let in_bucket = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
        let is_bucket = (3..=63).contains(&bucket.len()) && bucket.chars().all(in_bucket) && !bucket.contains("..");
        let is_key = plain(key) && !key.starts_with('/') && !key.contains("//");
        (is_bucket && is_key).then(|| Self::Object { bucket: bucket.to_owned(), key: key.to_owned() })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { bucket, key } => write!(f, "s3://{bucket}/{key}"),
            Self::Parameter(name) => write!(f, "ssm:{name}"),
        }
    }
}

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

/// S3 and Systems Manager, in the function's region.
pub struct Outlets {
    s3: Service,
    ssm: Service,
}

impl Outlets {
    /// The services by these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            s3: Service::new("s3", settings.s3_endpoint.as_deref()),
            ssm: Service::new("ssm", settings.ssm_endpoint.as_deref()),
        }
    }

    /// How many answers were throttled since the process began.
    pub fn throttles(&self) -> u32 {
        self.s3.throttles().saturating_add(self.ssm.throttles())
    }

    /// What is published in a place.
    ///
    /// # Errors
    /// [`Code::OutletUnavailable`], [`Code::OutletRefused`], [`Code::ConfigurationInvalid`]; [`Code::OutletTaken`] if it is no set of
    /// keys.
    pub async fn read(&self, place: &Place, deadline: Deadline) -> Result<Found> {
        let deadline = deadline.within(LIMIT);
        match place {
            Place::Object { bucket, key } => s3::read(&self.s3, bucket, key, deadline).await,
            Place::Parameter(name) => ssm::read(&self.ssm, name, deadline).await,
        }
        .map_err(|error| error.with_default(Fact::Field, place))
    }

    /// Publishes a set, if the place is as `mark` says. Caches may keep it for `max_age` seconds.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn write(
        &self,
        place: &Place,
        set: &PublishedSet,
        mark: &Mark,
        max_age: u64,
        deadline: Deadline,
    ) -> Result<Written> {
        let deadline = deadline.within(LIMIT);
        match place {
            Place::Object { bucket, key } => s3::write(&self.s3, (bucket, key), set, mark, max_age, deadline).await,
            Place::Parameter(name) => ssm::write(&self.ssm, name, set, mark, deadline).await,
        }
        .map_err(|error| error.with_default(Fact::Field, place))
    }
}

/// The set that an answer holds.
fn set_of(text: &str) -> Result<PublishedSet> {
    // What is empty was made before its first rotation.
    if text.trim().is_empty() || text.trim() == "{}" {
        return Ok(PublishedSet::default());
    }
    PublishedSet::read(text)
        .ok_or_else(|| Error::new(Code::OutletTaken).with(Fact::Found, "something that is no set of keys"))
}

/// An answer that is neither a success nor one that its reader expects.
fn refused(call: &'static str, answer: &Answer) -> Error {
    let error = Error::new(Code::OutletRefused).with(Fact::Call, call).with(Fact::Status, answer.status);
    match answer.error_name() {
        Some(name) if name.len() <= 64 && name.chars().all(|c| c.is_ascii_alphanumeric()) => {
            error.with(Fact::ServiceCode, name)
        }
        _ => error,
    }
}

/// A call without a useful answer.
fn unanswered(call: &'static str, failure: Failure) -> Error {
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
    fn a_place_is_read_as_it_is_shown_and_anything_else_is_none() {
        for text in ["s3://my.bucket-1/.well-known/jwks.json", "ssm:/app/jwks", "ssm:jwks"] {
            assert_eq!(Place::read(text).unwrap().to_string(), text);
        }
        for bad in [
            "",
            "s3://bucket",
            "s3://bucket/",
            "s3://Bucket/a",
            "s3://a/b",
            "s3://bucket//a",
            "s3://bucket/a?b",
            "s3://bucket/a/../b",
            "s3://bucket/a%2fb",
            "s3://b..c/a",
            "ssm:",
            "ssm:/a b",
            "ssm:/a:1",
            "https://a.example/a",
            "file:/etc/passwd",
        ] {
            assert_eq!(Place::read(bad), None, "{bad}");
        }
    }

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
