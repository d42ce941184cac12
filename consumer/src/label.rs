//! The staging labels of a secret's versions.

use serde::Serialize;
use std::fmt;

/// A staging label of Secrets Manager
/// ([its guide](https://docs.aws.amazon.com/secretsmanager/latest/userguide/whats-in-a-secret.html#term_version)).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Label {
    /// `AWSCURRENT`: the version that applications use.
    #[serde(rename = "AWSCURRENT")]
    Current,
    /// `AWSPENDING`: the version that a rotation is about to make current.
    #[serde(rename = "AWSPENDING")]
    Pending,
    /// `AWSPREVIOUS`: the version that was current before.
    #[serde(rename = "AWSPREVIOUS")]
    Previous,
}

impl Label {
    /// In the order in which they are tried after a refused login.
    pub const ALL: [Self; 3] = [Self::Current, Self::Pending, Self::Previous];

    /// The label as Secrets Manager writes it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Current => "AWSCURRENT",
            Self::Pending => "AWSPENDING",
            Self::Previous => "AWSPREVIOUS",
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
