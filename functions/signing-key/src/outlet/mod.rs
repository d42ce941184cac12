//! The places that keys are published in. Each is read with a mark of what was read, and written only if that has not changed since.

mod answer;
mod cloudfront;
mod group;
mod s3;
mod ssm;

pub use answer::{Found, Mark, Written};
pub use group::Group;

use crate::key::SigningKey;
use crate::place::Place;
use crate::published::PublishedSet;
use crate::settings::Settings;
use rotation::aws::service::Service;
use rotation::clock::Deadline;
use rotation::{Fact, Result};
use std::time::Duration;

/// These services answer in tens of milliseconds, CloudFront in some hundreds. The rest is for throttling.
const LIMIT: Duration = Duration::from_secs(8);

/// S3 and Systems Manager, in the function's region, and CloudFront.
pub struct Outlets {
    s3: Service,
    ssm: Service,
    cloudfront: Service,
}

impl Outlets {
    /// The services by these settings.
    pub fn new(settings: &Settings) -> Self {
        Self {
            s3: Service::new("s3", settings.s3_endpoint.as_deref()),
            ssm: Service::new("ssm", settings.ssm_endpoint.as_deref()),
            cloudfront: Service::new("cloudfront", settings.cloudfront_endpoint.as_deref()),
        }
    }

    /// These services.
    pub fn over(s3: Service, ssm: Service, cloudfront: Service) -> Self {
        Self { s3, ssm, cloudfront }
    }

    /// How many answers were throttled since the process began.
    pub fn throttles(&self) -> u32 {
        [&self.s3, &self.ssm, &self.cloudfront].iter().fold(0, |sum, service| sum.saturating_add(service.throttles()))
    }

    /// What is published in a place.
    ///
    /// # Errors
    /// [`OutletUnavailable`](rotation::Code::OutletUnavailable), [`OutletRefused`](rotation::Code::OutletRefused),
    /// [`ConfigurationInvalid`](rotation::Code::ConfigurationInvalid); [`OutletTaken`](rotation::Code::OutletTaken) if it is no set of
    /// keys.
    pub async fn read(&self, place: &Place, deadline: Deadline) -> Result<Found> {
        let deadline = deadline.within(LIMIT);
        match place {
            Place::Object { bucket, key } => s3::read(&self.s3, bucket, key, deadline).await,
            Place::Parameter(name) => ssm::read(&self.ssm, name, deadline).await,
            Place::KeyGroup(group) => cloudfront::read(&self.cloudfront, group, deadline).await,
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
            Place::KeyGroup(group) => match mark {
                Mark::Group(read) => cloudfront::write(&self.cloudfront, group, set, read, deadline).await,
                Mark::Nothing | Mark::Tag(_) | Mark::Version(_) => Ok(Written::Conflict),
            },
        }
        .map_err(|error| error.with_default(Fact::Field, place))
    }

    /// CloudFront's id of a key's public part, which is uploaded for this owner if it is not there. Of the owner's public keys, those of
    /// the ids `kept` stay.
    ///
    /// # Errors
    /// As for [`read`](Self::read).
    pub async fn key_pair_id(
        &self,
        key: &SigningKey,
        owner: &str,
        kept: &[&str],
        deadline: Deadline,
    ) -> Result<String> {
        cloudfront::upload(&self.cloudfront, owner, key, kept, deadline.within(LIMIT)).await
    }
}
