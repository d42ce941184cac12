//! An object in S3. Its metadata say which secret it belongs to. A conditional write is refused if the object has changed since it was read.
//!
//! <https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html>

use super::answer::{refused, unanswered};
use super::holder::{HOLDER, Holder, taken};
use crate::certificate::Chain;
use rotation::aws::service::{Answer, Request, Service};
use rotation::clock::Deadline;
use rotation::{Code, Error, Fact, Result};

/// RFC 8555, section 9.1, has it for chains.
const MEDIA: &str = "application/pem-certificate-chain";
/// As many others would have to write the same object within a second.
const MOST_WRITES: u32 = 3;

/// What is at a place.
enum Found {
    Nothing,
    /// Without the permission to list the bucket, S3 does not say whether something is there.
    Hidden(Answer),
    /// This secret's object, or one that was nobody's and has a certificate, with its mark for a conditional write.
    Ours {
        tag: String,
        text: String,
    },
}

/// Puts a text into an object of this secret. True if it was another one.
pub(super) async fn put(s3: &Service, path: &str, text: &str, holder: &Holder, deadline: Deadline) -> Result<bool> {
    for _ in 0..MOST_WRITES {
        let found = read(s3, path, holder, deadline).await?;
        let condition = match &found {
            Found::Ours { text: there, .. } if there == text => return Ok(false),
            Found::Ours { tag, .. } => ("if-match", tag.clone()),
            Found::Nothing | Found::Hidden(_) => ("if-none-match", "*".to_owned()),
        };
        let headers = vec![condition, (METADATA, holder.0.clone())];
        let request = Request { method: "PUT", path: path.to_owned(), media: MEDIA, headers, body: text.to_owned() };
        let name = "s3:PutObject";
        let answer = s3.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))?;
        match (answer.status, found) {
            (200, _) => return Ok(true),
            (409 | 412, Found::Hidden(hidden)) => return Err(refused("s3:GetObject", &hidden)),
            // Another write was faster. After a lost answer that may have been this one: the next read shows it.
            (409 | 412, _) => {}
            _ => return Err(refused(name, &answer)),
        }
    }
    let error = Error::new(Code::OutletUnavailable).with(Fact::Call, "s3:PutObject");
    Err(error.with(Fact::What, "others keep changing the same object"))
}

/// `x-amz-meta-` and [`HOLDER`].
const METADATA: &str = "x-amz-meta-lockstep-secret";

async fn read(s3: &Service, path: &str, holder: &Holder, deadline: Deadline) -> Result<Found> {
    let request =
        Request { method: "GET", path: path.to_owned(), media: MEDIA, headers: Vec::new(), body: String::new() };
    let name = "s3:GetObject";
    let answer = s3.call(&request, deadline).await.map_err(|failure| unanswered(name, failure))?;
    match answer.status {
        200 => {}
        403 => return Ok(Found::Hidden(answer)),
        404 if answer.error_name().as_deref() == Some("NoSuchKey") => return Ok(Found::Nothing),
        _ => return Err(refused(name, &answer)),
    }
    let text = String::from_utf8_lossy(&answer.body).into_owned();
    let is_held = holder.is(answer.header(METADATA)).map_err(advised)?;
    if !is_held && !text.trim().is_empty() && Chain::read(&text).is_err() {
        return Err(advised(taken("something that is no certificate")));
    }
    let tag = answer.header("etag").ok_or_else(|| refused(name, &answer))?.to_owned();
    Ok(Found::Ours { tag, text: if is_held { text } else { String::new() } })
}

fn advised(error: Error) -> Error {
    let next = format!(
        "Nothing was written. Let each secret have a prefix of its own in `rotation.s3Prefix`. If the object is to be this secret's, remove \
         it: its metadata {HOLDER} say whose it is."
    );
    error.with(Fact::Field, "rotation.s3Bucket").with(Fact::NextAction, next)
}
