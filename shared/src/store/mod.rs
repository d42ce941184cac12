//! The seam to Secrets Manager: what the protocol needs of it, and nothing else.

mod attempts;
mod secrets_manager;

pub use secrets_manager::SecretsManager;

use crate::clock::Deadline;
use crate::error::Result;
use crate::secret::{RotationToken, SecretText};
use std::collections::HashMap;
use std::future::Future;

/// The label of the version that consumers read.
pub const CURRENT: &str = "AWSCURRENT";
/// The label of the version that a rotation is making.
pub const PENDING: &str = "AWSPENDING";
/// The label of the version that was current before; the service moves it by itself.
pub const PREVIOUS: &str = "AWSPREVIOUS";

/// What DescribeSecret says about a secret.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Absent until rotation has been configured for the first time.
    pub rotation_enabled: Option<bool>,
    /// The labels of each version that has any.
    pub labels: HashMap<String, Vec<String>>,
}

impl Description {
    /// The version that carries AWSCURRENT.
    pub fn current_version(&self) -> Option<&str> {
        self.labels.iter().find(|(_, labels)| labels.iter().any(|label| label == CURRENT)).map(|(id, _)| id.as_str())
    }
}

/// Which version to read.
#[derive(Clone, Copy, Debug)]
pub enum Select<'a> {
    /// The one labelled AWSCURRENT.
    Current,
    /// The one labelled AWSPREVIOUS.
    Previous,
    /// The version with this id, and only while it is labelled AWSPENDING.
    Pending(&'a str),
}

/// How a PutSecretValue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// The version has this value now.
    Stored,
    /// The version had another value already, and keeps it: a version's value never changes.
    OtherValueThere,
}

/// The calls of a rotation. Every call ends before the deadline, retries included.
pub trait SecretStore: Send + Sync {
    /// DescribeSecret.
    fn describe(&self, secret: &str, deadline: Deadline) -> impl Future<Output = Result<Description>> + Send;

    /// GetSecretValue; `None` if there is no such version or it has no value yet, which the service does not tell apart.
    fn value(
        &self,
        secret: &str,
        select: Select<'_>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Option<SecretText>>> + Send;

    /// PutSecretValue of the version `token`, labelled AWSPENDING.
    fn put_pending(
        &self,
        secret: &str,
        token: &str,
        rotation_token: Option<&RotationToken>,
        value: &SecretText,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Put>> + Send;

    /// UpdateSecretVersionStage: AWSCURRENT moves `from` one version `to` another.
    fn promote(
        &self,
        secret: &str,
        to: &str,
        from: Option<&str>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;
}
