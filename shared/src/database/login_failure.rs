//! How a login can end.

use crate::error::{Code, Error};
use crate::protocol::observation::Observation;

/// A login that did not end in a usable session.
///
/// Its observation can still be [`Works`](Observation::Works): PostgreSQL checks the password before it looks for the database,
/// so "database does not exist" proves the password.
#[derive(Clone, Debug)]
pub struct LoginFailure {
    /// What the attempt says about the password.
    pub observation: Observation,
    /// The error to report if nothing else can be done.
    pub error: Error,
}

impl LoginFailure {
    /// No server was reached, or the server did not speak the protocol.
    pub fn unreachable(error: Error) -> Self {
        Self { observation: Observation::Unreachable, error }
    }

    /// A server was reached and said nothing about the password.
    pub fn unknown(error: Error) -> Self {
        Self { observation: Observation::Unknown, error }
    }

    /// The error to report: with `code` if the password was refused, else the failure's own.
    pub(crate) fn or_rejected(self, code: Code) -> Error {
        match self.observation {
            Observation::Rejected => self.error.recoded(code),
            _ => self.error,
        }
    }
}
