//! What happens during a rotation, as it happens.

use std::fmt;
use std::time::Duration;

/// A step of a rotation, in the spelling of the events that AWS sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Step {
    /// `createSecret`
    CreateSecret,
    /// `setSecret`
    SetSecret,
    /// `testSecret`
    TestSecret,
    /// `finishSecret`
    FinishSecret,
}

impl Step {
    /// The four steps in order.
    pub const ALL: [Self; 4] = [Self::CreateSecret, Self::SetSecret, Self::TestSecret, Self::FinishSecret];

    /// The name in the event's `Step`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::CreateSecret => "createSecret",
            Self::SetSecret => "setSecret",
            Self::TestSecret => "testSecret",
            Self::FinishSecret => "finishSecret",
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Something that happened to the rotation of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationEvent {
    /// The secret's full ARN.
    pub secret_arn: String,
    /// The rotation's client request token: the id of the version that it makes.
    pub token: String,
    /// What happened.
    pub kind: RotationEventKind,
}

/// What happened. `RotationStarted`, `RotationSucceeded`, `RotationFailed`, `RotationAbandoned` and
/// `TestRotationFailed` are the events that AWS writes to CloudTrail; the rest is the lab's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationEventKind {
    /// An attempt begins; again for each retry.
    RotationStarted,
    /// The function is invoked.
    StepStarted {
        /// The step it is invoked for.
        step: Step,
    },
    /// The function answered.
    StepFinished {
        /// The step it was invoked for.
        step: Step,
        /// From the invocation to the answer.
        duration: Duration,
        /// Its response, or the error object that it failed with, as text.
        outcome: Result<String, String>,
    },
    /// AWSPENDING was on the current version or on none after the last step.
    RotationSucceeded,
    /// A step failed, or the last step left AWSPENDING on another version than AWSCURRENT.
    RotationFailed {
        /// Which of the two.
        reason: String,
        /// Whether the service begins again by itself.
        will_retry: bool,
    },
    /// Somebody put a new value, cancelled the rotation, or deleted the secret.
    RotationAbandoned,
    /// `testSecret` succeeded after `RotateSecret` with `RotateImmediately` off.
    TestRotationSucceeded,
    /// `testSecret` failed after `RotateSecret` with `RotateImmediately` off.
    TestRotationFailed {
        /// The failure.
        reason: String,
    },
}

/// How a rotation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RotationOutcome {
    /// The new version is current; after a test, that the function accepts the configuration.
    Succeeded,
    /// The rotation, or its test, failed for this reason.
    Failed(String),
    /// Somebody interfered.
    Abandoned,
}
