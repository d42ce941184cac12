//! Which secret a place belongs to.

use crate::encoding::fingerprint;
use rotation::{Code, Error, Fact, Result};

/// The name of the tag on a certificate in ACM, and of the metadata of an object in S3, that says whose the place is.
pub(super) const HOLDER: &str = "lockstep-secret";
/// The bytes of a hash that tell all secrets of an account apart.
const HOLDER_BYTES: usize = 16;

/// The secret that a place belongs to.
///
/// **Invariant:** a place takes the certificates of one secret alone, the first one that wrote there. Otherwise whoever may write one
/// secret could replace the certificate of another one. Tests: `a_certificate_in_acm_belongs_to_one_secret`,
/// `an_object_in_s3_belongs_to_one_secret`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder(pub(super) String);

impl Holder {
    /// The secret with this ARN.
    pub fn new(secret: &str) -> Self {
        Self(fingerprint(secret, HOLDER_BYTES))
    }

    /// Whether this secret owns the place, according to the mark that is written there. False if there is no mark.
    ///
    /// # Errors
    /// [`Code::OutletTaken`] if it is another secret's.
    pub(super) fn is(&self, written: Option<&str>) -> Result<bool> {
        match written {
            Some(written) if written == self.0 => Ok(true),
            Some(_) => {
                Err(taken("the mark of another secret").with(Fact::Expected, format_args!("{HOLDER}={}", self.0)))
            }
            None => Ok(false),
        }
    }
}

/// The error of a place that is not the secret's.
pub(super) fn taken(found: &str) -> Error {
    Error::new(Code::OutletTaken).with(Fact::Found, found)
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
