//! An object in S3. A conditional write is refused if the object has changed since it was read.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>

use super::answer::{Found, Mark, Written, refused, set_of, unanswered};
use crate::published::PublishedSet;
use rotation::Result;
use rotation::aws::service::{Request, Service};
use rotation::clock::Deadline;

/// RFC 7517, section 8.5.2.
const MEDIA: &str = "application/jwk-set+json";

/// The set in an object, and its mark.
///
/// # Errors
/// Those of [`Outlets::read`](super::Outlets::read).
pub(super) async fn read(s3: &Service, bucket: &str, key: &str, deadline: Deadline) -> Result<Found> {
    let request = request("GET", (bucket, key), Vec::new(), String::new());
    let answer = s3.call(&request, deadline).await.map_err(|failure| unanswered("GetObject", failure))?;
    match answer.status {
        200 => {
            let set = set_of(&String::from_utf8_lossy(&answer.body))?;
            let tag = answer.header("etag").ok_or_else(|| refused("GetObject", &answer))?;
            Ok(Found { set, mark: Mark::Tag(tag.to_owned()) })
        }
        404 if answer.error_name().as_deref() == Some("NoSuchKey") => {
            Ok(Found { set: PublishedSet::default(), mark: Mark::Nothing })
        }
        _ => Err(refused("GetObject", &answer)),
    }
}

/// Writes a set, if the object is as it was read.
///
/// # Errors
/// Those of [`Outlets::write`](super::Outlets::write).
pub(super) async fn write(
    s3: &Service,
    object: (&str, &str),
    set: &PublishedSet,
    mark: &Mark,
    max_age: u64,
    deadline: Deadline,
) -> Result<Written> {
    let condition = match mark {
        Mark::Tag(tag) => ("if-match", tag.clone()),
        Mark::Nothing | Mark::Version(_) | Mark::Group(_) => ("if-none-match", "*".to_owned()),
    };
    let headers = vec![condition, ("cache-control", format!("public, max-age={max_age}"))];
    let request = request("PUT", object, headers, set.text());
    let answer = s3.call(&request, deadline).await.map_err(|failure| unanswered("PutObject", failure))?;
    match answer.status {
        200 => Ok(Written::Done),
        // Another write was faster. After a lost answer that may have been this one: the next read shows it.
        409 | 412 => Ok(Written::Conflict),
        _ => Err(refused("PutObject", &answer)),
    }
}

/// The bucket stands in the path: its name may have dots, which no certificate of a host name covers.
fn request(
    method: &'static str,
    (bucket, key): (&str, &str),
    headers: Vec<(&'static str, String)>,
    body: String,
) -> Request {
    Request { method, path: format!("/{bucket}/{key}"), media: MEDIA, headers, body }
}
