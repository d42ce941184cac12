//! What is handed on.

use crate::certificate::Chain;
use rotation::secret::SecretText;
use std::fmt;

/// What is handed on.
pub struct Handed<'a> {
    /// The certificate and those that lead to a root.
    pub chain: &'a Chain,
    /// The private key, as PEM text.
    pub key: &'a SecretText,
}

impl fmt::Debug for Handed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handed")
    }
}
