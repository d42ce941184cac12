//! The places that keys are published in. Each is read with a mark of what was read, and written only if that has not changed since.

mod answer;
mod s3;
mod ssm;

pub use answer::{Found, Mark, Written};

use crate::place::Place;
use crate::published::PublishedSet;
use crate::settings::Settings;
use rotation::aws::service::Service;
use rotation::clock::Deadline;
use rotation::{Fact, Result};
use std::time::Duration;

/// S3 and Systems Manager answer in tens of milliseconds. The rest is for throttling.
const LIMIT: Duration = Duration::from_secs(8);

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

    /// These services.
    pub fn over(s3: Service, ssm: Service) -> Self {
        Self { s3, ssm }
    }

    /// How many answers were throttled since the process began.
    pub fn throttles(&self) -> u32 {
        self.s3.throttles().saturating_add(self.ssm.throttles())
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
