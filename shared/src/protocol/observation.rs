//! What an attempt to use a credential shows.

use crate::error::Error;

/// What an attempt shows about a credential.
///
/// **Invariant:** only [`Rejected`](Self::Rejected) means that a credential is not in effect.
/// [`Unreachable`](Self::Unreachable) and [`Unknown`](Self::Unknown) say nothing about it. Otherwise a server that is down would
/// make the function discard a credential or try another one. Test: `every_row_of_the_matrix`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The target accepted it.
    Works,
    /// The target refused it.
    Rejected,
    /// There was no answer, or the server was not ready.
    Unreachable,
    /// There was an answer, but it said nothing about the credential.
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

/// The result of trying a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// What the attempt showed.
    pub observation: Observation,
    /// Why the credential cannot be used. Usually `None` if it works.
    pub error: Option<Error>,
}

impl Attempt {
    /// The credential works.
    pub const WORKS: Self = Self { observation: Observation::Works, error: None };

    /// Whether the credential works and nothing else prevents its use.
    pub fn is_usable(&self) -> bool {
        self.observation == Observation::Works && self.error.is_none()
    }

    /// The attempt showed nothing, because of this error.
    pub fn unknown(error: Error) -> Self {
        Self { observation: Observation::Unknown, error: Some(error) }
    }
}

/// What became of the previous credential when a new one took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreviousCredential {
    /// It keeps working.
    Works,
    /// It is refused from now on, as usual.
    Refused,
    /// It is refused from now on, although this kind of target can keep it. The text says why it could not be kept.
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
