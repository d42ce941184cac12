//! A mistake in a description, and where it is.

use std::fmt;

/// A mistake in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path in the document, e.g. `create.extract.id`. Empty for the whole document.
    pub path: String,
    /// What was expected and found. It may quote the text, which can be a wrong file with secrets. So it is for the author,
    /// never for a log.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}
