//! Where a certificate is handed to, beside the secret: AWS Certificate Manager and S3.

mod acm;
mod answer;
mod handed;
mod holder;
mod s3;

pub use handed::Handed;
pub use holder::Holder;

use rotation::Result;
use rotation::aws::service::Service;
use rotation::clock::Deadline;

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

/// Whether a place is asked first what it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handing {
    /// What is there already is not handed on again.
    IfDifferent,
    /// It is handed on whatever the place says: its answer may be older than what has just arrived there.
    Always,
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
    /// [`OutletTaken`](rotation::Code::OutletTaken), `OutletRefused`, `OutletUnavailable`.
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
    /// [`OutletTaken`](rotation::Code::OutletTaken), `OutletRefused`, `OutletUnavailable`.
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
