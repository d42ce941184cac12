//! How a login can end.

use crate::error::{Code, Error};

/// What a login attempt tells about a credential. Only [`Rejected`](Self::Rejected) means that the password is not in
/// effect; [`Unreachable`](Self::Unreachable) and [`Unknown`](Self::Unknown) say nothing about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Observation {
    /// The server accepted the password.
    Works,
    /// The server refused the password.
    Rejected,
    /// No server answered, or it answered that it is not ready.
    Unreachable,
    /// The server answered, but not about the password.
    Unknown,
}

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
    /// What to report: `code` if the password was refused, else what came between.
    pub(crate) fn or_rejected(self, code: Code) -> Error {
        match self.observation {
            Observation::Rejected => self.error.recoded(code),
            _ => self.error,
        }
    }
}
