//! A mistake in a description, and where it is.

use std::fmt;

/// A mistake in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path in the document, e.g. `create.extract.id`; empty for the whole.
    pub path: String,
    /// What was expected and what was found. Quotes the description, which is no secret, but may be a wrong file: it is for
    /// who wrote it, not for a log.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}
