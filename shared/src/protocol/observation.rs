//! What trying a credential tells.

use crate::error::Error;

/// What an attempt tells about a credential. Only [`Rejected`](Self::Rejected) means that it is not in effect;
/// [`Unreachable`](Self::Unreachable) and [`Unknown`](Self::Unknown) say nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The target accepted it.
    Works,
    /// The target refused it.
    Rejected,
    /// Nobody answered, or the answer was "not ready".
    Unreachable,
    /// There was an answer, but not about the credential.
    Unknown,
}

impl Observation {
    /// The word used in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Rejected => "rejected",
            Self::Unreachable => "unreachable",
            Self::Unknown => "unknown",
        }
    }
}

/// A credential that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What that told.
    pub observation: Observation,
    /// What came between, if it does not work. `None` where it does, as a rule.
    pub error: Option<Error>,
}

impl Attempt {
    /// It works.
    pub const WORKS: Self = Self { observation: Observation::Works, error: None };

    /// Whether it works and nothing else stands in the way of using it.
    pub fn is_usable(&self) -> bool {
        self.observation == Observation::Works && self.error.is_none()
    }

    /// Nothing can be said about it, because of this.
    pub fn unknown(error: Error) -> Self {
        Self { observation: Observation::Unknown, error: Some(error) }
    }
}

/// What a change made of the credential before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousCredential {
    /// It keeps working.
    Works,
    /// It is refused from now on, as usual.
    Refused,
    /// It is refused from now on, although the target could have kept it. Why it could not here.
    NotKept(&'static str),
}

impl PreviousCredential {
    /// The word used in results and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Refused | Self::NotKept(_) => "refused",
        }
    }
}
