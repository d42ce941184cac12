//! How a login can end.

use crate::error::{Code, Error};
use crate::protocol::observation::Observation;

/// A login that did not end in a usable session.
///
/// `observation` can be [`Works`](Observation::Works) even so: PostgreSQL checks the password before it looks for the
/// database, so "database does not exist" proves the password.
#[derive(Clone, Debug)]
pub struct LoginFailure {
    /// What the attempt tells about the password.
    pub observation: Observation,
    /// What to report if nothing else can be done.
    pub error: Error,
}

impl LoginFailure {
    /// No server was reached, or none that could be spoken to.
    pub fn unreachable(error: Error) -> Self {
        Self { observation: Observation::Unreachable, error }
    }

    /// A server was reached, and said nothing about the password.
    pub fn unknown(error: Error) -> Self {
        Self { observation: Observation::Unknown, error }
    }

    /// What to report: `code` if the password was refused, else what came between.
    pub(crate) fn or_rejected(self, code: Code) -> Error {
        match self.observation {
            Observation::Rejected => self.error.recoded(code),
            _ => self.error,
        }
    }
}
