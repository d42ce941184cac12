//! Where a certificate is handed to, beside the secret: AWS Certificate Manager and S3.

mod acm;
mod s3;

use crate::certificate::Chain;
use crate::encoding::fingerprint;
use rotation::aws::service::{Answer, CallError, Failure, Service};
use rotation::clock::Deadline;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use std::fmt;

/// The name of the tag on a certificate in ACM, and of the metadata of an object in S3, that says whose the place is.
const HOLDER: &str = "lockstep-secret";
/// The bytes of a hash that tell all secrets of an account apart.
const HOLDER_BYTES: usize = 16;

/// The services that take certificates.
#[derive(Debug)]
pub struct Outlets {
    acm: Service,
    s3: Service,
}

/// An object in S3: the bucket and the beginning of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// The bucket's name.
    pub name: String,
    /// What the objects' keys begin with; ends with a slash, or is empty.
    pub prefix: String,
}

/// What is handed on.
pub struct Handed<'a> {
    /// The certificate and those that lead to a root.
    pub chain: &'a Chain,
    /// The private key, as PEM text.
    pub key: &'a SecretText,
}

/// The secret that a place belongs to.
///
/// **Invariant:** a place takes the certificates of one secret alone, the first one that wrote there. Otherwise whoever may write one
/// secret could replace the certificate of another one. Tests: `a_certificate_in_acm_belongs_to_one_secret`,
/// `an_object_in_s3_belongs_to_one_secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(String);

/// Whether a place is asked first what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handing {
    /// What is there already is not handed on again.
    IfDifferent,
    /// It is handed on whatever the place says: its answer may be older than what has just arrived there.
    Always,
}

impl Holder {
    /// The secret with this ARN.
    pub fn new(secret: &str) -> Self {
        Self(fingerprint(secret, HOLDER_BYTES))
    }

    /// Whether the place is this secret's, by what is written there. `None` if nobody's.
    ///
    /// # Errors
    /// [`Code::OutletTaken`] if it is another secret's.
    fn is(&self, written: Option<&str>) -> Result<bool> {
        match written {
            Some(written) if written == self.0 => Ok(true),
            Some(_) => {
                Err(taken("the mark of another secret").with(Fact::Expected, format_args!("{HOLDER}={}", self.0)))
            }
            None => Ok(false),
        }
    }
}

impl Outlets {
    /// The endpoints are those of the services, if they are not the default ones.
    pub fn new(acm: Option<&str>, s3: Option<&str>) -> Self {
        Self { acm: Service::new("acm", acm), s3: Service::new("s3", s3) }
    }

    /// Over these services.
    pub fn over(acm: Service, s3: Service) -> Self {
        Self { acm, s3 }
    }

    /// The number of throttled calls since the process began.
    pub fn throttles(&self) -> u32 {
        self.acm.throttles().saturating_add(self.s3.throttles())
    }

    /// Puts the certificate into the place of another one in ACM, whose ARN stays: what refers to it serves the new certificate within
    /// minutes. True if ACM had another one.
    ///
    /// # Errors
    /// [`Code::OutletTaken`], [`Code::OutletRefused`], [`Code::OutletUnavailable`].
    pub async fn import(
        &self,
        arn: &str,
        handed: &Handed<'_>,
        holder: &Holder,
        handing: Handing,
        deadline: Deadline,
    ) -> Result<bool> {
        acm::hold(&self.acm, arn, holder, deadline).await?;
        if handing == Handing::IfDifferent && acm::serves(&self.acm, arn, handed.chain, deadline).await? {
            return Ok(false);
        }
        acm::import(&self.acm, arn, handed, deadline).await.map(|()| true)
    }

    /// Puts the certificate into a bucket, without the private key: `certificate.pem`, `chain.pem` and `fullchain.pem`. True if one of them
    /// was another one.
    ///
    /// # Errors
    /// [`Code::OutletTaken`], [`Code::OutletRefused`], [`Code::OutletUnavailable`].
    pub async fn put(&self, bucket: &Bucket, handed: &Handed<'_>, holder: &Holder, deadline: Deadline) -> Result<bool> {
        let (own, rest) = (handed.chain.own_pem(), handed.chain.rest_pem());
        let full = format!("{own}{rest}");
        let mut changed = false;
        for (name, text) in [("certificate.pem", &own), ("chain.pem", &rest), ("fullchain.pem", &full)] {
            let path = format!("/{}/{}{name}", bucket.name, bucket.prefix);
            changed |= s3::put(&self.s3, &path, text, holder, deadline).await?;
        }
        Ok(changed)
    }
}

impl fmt::Debug for Handed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handed")
    }
}

/// The error of a place that is not the secret's.
fn taken(found: &str) -> Error {
    Error::new(Code::OutletTaken).with(Fact::Found, found)
}

/// An answer that is neither a success nor one that its reader expects.
fn refused(call: &'static str, answer: &Answer) -> Error {
    let kind: String = answer.error_name().unwrap_or_default();
    let kind: String = kind.chars().filter(char::is_ascii_alphanumeric).take(64).collect();
    let error = Error::new(Code::OutletRefused).with(Fact::Call, call).with(Fact::Status, answer.status);
    error.with(Fact::ServiceCode, kind)
}

fn unanswered(call: &'static str, failure: Failure) -> Error {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_one_secrets_or_nobodys() {
        let (one, other) = (Holder::new("arn:one"), Holder::new("arn:other"));
        assert_eq!(one.is(Some(&one.0)), Ok(true));
        assert_eq!(one.is(None), Ok(false));
        let error = one.is(Some(&other.0)).unwrap_err();
        assert_eq!(error.code(), Code::OutletTaken);
        assert!(error.fact(Fact::Expected).unwrap().ends_with(&one.0));
        // Whatever stands there was written by somebody else.
        assert!(!format!("{:?}", one.is(Some("hunter2")).unwrap_err()).contains("hunter2"));
    }
}
