//! The seam to Secrets Manager: the calls that the protocol needs.

use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};
use crate::protocol::schedule::RotatedSecret;
use crate::secret::{RotationToken, SecretText};
use async_trait::async_trait;
use std::collections::HashMap;
use std::time::Duration;

/// What DescribeSecret says about a secret.
#[derive(Clone, Debug, Default)]
pub struct Description {
    /// Absent until rotation has been configured for the first time.
    pub rotation_enabled: Option<bool>,
    /// The labels of each version that has any.
    pub labels: HashMap<String, Vec<String>>,
    /// The secret's ARN. The caller may have used a name or a partial ARN.
    pub arn: Option<String>,
    /// The secret's tags.
    pub tags: HashMap<String, String>,
    /// When the last rotation succeeded, as the time since the Unix epoch.
    pub last_rotated: Option<Duration>,
    /// The service's date of the next rotation, as the time since the Unix epoch.
    pub next_rotation: Option<Duration>,
    /// Whether it has a schedule for rotations.
    pub scheduled: bool,
    /// When it was created, as the time since the Unix epoch.
    pub created: Option<Duration>,
    /// The last change of anything in it, labels included, as the time since the Unix epoch.
    pub last_changed: Option<Duration>,
    /// The time between two rotations, where the schedule is a rate.
    pub interval: Option<Duration>,
    /// `AutomaticallyAfterDays`, whatever the schedule is.
    pub days: Option<Duration>,
    /// `ScheduleExpression`.
    pub expression: Option<String>,
    /// The ARN of the function that rotates it.
    pub rotated_by: Option<String>,
}

impl Description {
    /// The version that carries AWSCURRENT.
    pub fn current_version(&self) -> Option<&str> {
        self.version(CURRENT)
    }

    /// The version that carries AWSPREVIOUS.
    pub fn previous_version(&self) -> Option<&str> {
        self.version(PREVIOUS)
    }

    /// The version that carries AWSPENDING.
    pub fn pending_version(&self) -> Option<&str> {
        self.version(PENDING)
    }

    /// What decides when it is due for rotation.
    pub fn rotated(&self) -> RotatedSecret {
        RotatedSecret {
            arn: self.arn.clone().unwrap_or_default(),
            rotation_enabled: self.rotation_enabled == Some(true),
            labels: self.labels.clone(),
            next_rotation: self.next_rotation,
            last_rotated: self.last_rotated,
            created: self.created,
            last_changed: self.last_changed,
            interval: self.interval,
            days: self.days,
            expression: self.expression.clone(),
            kms_key: None,
        }
    }

    /// Whether a rotation of the secret was begun and not finished.
    pub fn is_unfinished(&self) -> bool {
        self.pending_version().is_some_and(|pending| self.current_version() != Some(pending))
    }

    /// The version that carries this label.
    pub fn version(&self, label: &str) -> Option<&str> {
        let holds = |labels: &Vec<String>| labels.iter().any(|known| known == label);
        self.labels.iter().find(|(_, labels)| holds(labels)).map(|(id, _)| id.as_str())
    }

    /// The state of a version in a rotation. The checks are those that AWS's own functions make before each step, in the same
    /// order.
    ///
    /// # Errors
    /// [`Code::RotationDisabled`], [`Code::VersionUnknown`], [`Code::VersionNotPending`].
    pub fn rotation_state(&self, version: &str) -> Result<RotationState> {
        if self.rotation_enabled == Some(false) {
            return Err(Error::new(Code::RotationDisabled));
        }
        self.state_of(version)
    }

    /// The same, whether rotation is turned on or not.
    ///
    /// # Errors
    /// [`Code::VersionUnknown`], [`Code::VersionNotPending`].
    pub fn state_of(&self, version: &str) -> Result<RotationState> {
        let Some(labels) = self.labels.get(version) else {
            return Err(Error::new(Code::VersionUnknown).with(Fact::Version, version));
        };
        let has = |label: &str| labels.iter().any(|known| known == label);
        if has(CURRENT) {
            Ok(RotationState::Current)
        } else if has(PENDING) {
            Ok(RotationState::Pending)
        } else {
            let error = Error::new(Code::VersionNotPending).with(Fact::Version, version);
            Err(error.with(Fact::Labels, labels.join(", ")))
        }
    }
}

/// The state of a version in a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RotationState {
    /// The rotation is making it: it is AWSPENDING.
    Pending,
    /// Consumers read it: it is AWSCURRENT.
    Current,
}

/// A version's id and value.
#[derive(Clone, Debug)]
pub struct Version {
    /// The version's id.
    pub id: String,
    /// The value. Not printed.
    pub text: SecretText,
    /// The time since the version was made, if the service said when that was.
    pub age: Option<Duration>,
}

/// Which version to read.
#[derive(Clone, Copy, Debug)]
pub enum VersionSelector<'a> {
    /// The version that is labelled AWSCURRENT.
    Current,
    /// The version that is labelled AWSPREVIOUS.
    Previous,
    /// The version with this id, and only while it is labelled AWSPENDING.
    ///
    /// **Invariant:** no other version is ever read as pending, so a step never acts on another rotation's credential.
    /// This type holds it: it has no other way to name a pending version.
    Pending(&'a str),
    /// The version with this id, whatever its labels are. Only the search for a lost credential and a recovery read
    /// so.
    Any(&'a str),
}

/// A version that [`SecretStore::versions`] lists.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedVersion {
    /// The version's id.
    pub id: String,
    /// Its labels.
    pub labels: Vec<String>,
    /// When it was made, as the time since the Unix epoch.
    pub created: Option<Duration>,
}

/// How a PutSecretValue ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PutOutcome {
    /// The version has this value now.
    Stored,
    /// The version had another value already, and keeps it: a version's value never changes.
    OtherValueThere,
}

/// What KMS says about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncryptionKey {
    /// Its ARN.
    pub arn: String,
    /// `KeyState`, in KMS's words: `Enabled`, `Disabled`, `PendingDeletion` and the like.
    pub state: String,
    /// Whether KMS rotates it. `None` for a key that cannot be rotated so: one of AWS, with imported material, or in a custom key store.
    pub rotates: Option<bool>,
}

/// The calls of a rotation. Every call ends before the deadline, retries included.
#[async_trait]
pub trait SecretStore: Send + Sync {
    /// DescribeSecret.
    async fn describe(&self, secret: &str, deadline: Deadline) -> Result<Description>;

    /// GetSecretValue. `None` if there is no such version or it has no value yet: the service gives one answer for both.
    async fn value(&self, secret: &str, select: VersionSelector<'_>, deadline: Deadline) -> Result<Option<Version>>;

    /// ListSecretVersionIds, to its last page: all versions that the service still has, also those without a label.
    async fn versions(&self, secret: &str, deadline: Deadline) -> Result<Vec<ListedVersion>>;

    /// PutSecretValue of the version `token`, labelled AWSPENDING.
    async fn put_pending(
        &self,
        secret: &str,
        token: &str,
        rotation_token: Option<&RotationToken>,
        value: &SecretText,
        deadline: Deadline,
    ) -> Result<PutOutcome>;

    /// UpdateSecretVersionStage: AWSCURRENT moves `from` one version `to` another.
    async fn promote(&self, secret: &str, to: &str, from: &str, deadline: Deadline) -> Result<()>;

    /// UpdateSecretVersionStage: a label of our own moves `to` a version, `from` the one that has it.
    async fn mark(&self, secret: &str, label: &str, to: &str, from: Option<&str>, deadline: Deadline) -> Result<()>;

    /// RotateSecret: the service begins a rotation. False if one is under way. A store of a function that renews nothing need not have
    /// it.
    async fn rotate(&self, secret: &str, _deadline: Deadline) -> Result<bool> {
        Err(Error::new(Code::Internal).with(Fact::Secret, secret).with(Fact::What, "a store that begins no rotation"))
    }

    /// DescribeKey and GetKeyRotationStatus of KMS, by a key's id, ARN or alias. `None` for a key that AWS manages, and in a store without
    /// KMS.
    async fn encryption_key(&self, _key: &str, _deadline: Deadline) -> Result<Option<EncryptionKey>> {
        Ok(None)
    }

    /// ListSecrets, to its last page: the secrets that this function rotates.
    async fn served(&self, function: &str, deadline: Deadline) -> Result<Vec<RotatedSecret>>;
}
