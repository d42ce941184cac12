//! Where secrets come from.

#[cfg(feature = "agent")]
mod agent;
mod file;
#[cfg(feature = "rds-iam")]
mod rds_iam;
#[cfg(feature = "secrets-manager")]
mod secrets_manager;

#[cfg(feature = "agent")]
pub use agent::Agent;
pub use file::File;
#[cfg(feature = "rds-iam")]
pub use rds_iam::{RdsIam, auth_token};
#[cfg(feature = "secrets-manager")]
pub use secrets_manager::SecretsManager;

use crate::error::Cause;
use crate::label::Label;
use crate::value::SecretText;
use std::time::{Duration, SystemTime};

/// A place that versions of a secret are read from.
///
/// [`SecretsManager`], [`Agent`], [`File`] and [`RdsIam`] are sources. For another one, a service that lends credentials for example,
/// implement this trait. A [`RotatingSecret`](crate::RotatingSecret) asks for one version of each label at a time, limits the time of a
/// call, and repeats it later if it failed; so an implementation needs neither retries nor a cache.
#[async_trait::async_trait]
pub trait Source: Send + Sync + 'static {
    /// The secret's name, for messages and [`Health`](crate::Health).
    fn name(&self) -> String;

    /// What is asked, as a noun for messages: `Secrets Manager`.
    fn origin(&self) -> &'static str;

    /// Reads the version that has this label now; `None` if no version has it. `forced` says that a cached answer is of no use: the
    /// server has just refused what was read before.
    ///
    /// # Errors
    /// The cause, as far as it matters to the person who has to mend it.
    async fn fetch(&self, label: Label, forced: bool) -> Result<Option<Fetched>, Cause>;

    /// How often to read at least, if the source knows that better than the application does.
    fn refresh_every(&self) -> Option<Duration> {
        None
    }

    /// For how long at most a version can be used without being read again, if the source knows that.
    fn serve_for(&self) -> Option<Duration> {
        None
    }

    /// Whether each read makes a new version, as for tokens. Then a version that was never tried is no reason for a further login after a
    /// refusal: [`retried_logins`](crate::Builder::retried_logins) limits those, too.
    fn makes_versions(&self) -> bool {
        false
    }

    /// Whether pools close the connections of a version that is not in use any more.
    fn retires_connections(&self) -> bool {
        true
    }
}

/// A version as a source gives it.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The version's id. Two values never have the same id.
    pub version_id: String,
    /// The value.
    pub value: SecretText,
    /// When the version was made, if that is known.
    pub created: Option<SystemTime>,
}
