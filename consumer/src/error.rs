//! What can go wrong, and what causes it. No error holds a value or another program's text about one.

use crate::label::Label;
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Why a source could not give a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Cause {
    /// There is no such secret, or it is about to be deleted. Check its name, its region and the account.
    NotFound,
    /// The application may not read the secret. It needs `secretsmanager:GetSecretValue` on the secret and `kms:Decrypt` on its key;
    /// the agent needs its token; a file has to be readable. Without any AWS credentials or region, the cause is this one as well.
    Denied,
    /// The service asks for fewer calls. The next attempt waits longer.
    Throttled,
    /// No connection, no answer in time, or an error on the service's side.
    Unavailable,
    /// An answer or a file that cannot be understood: a binary secret, no version id, more than 64 KiB, no text.
    Invalid,
    /// The runtime that the fetch ran on has ended, or the source has panicked.
    Stopped,
}

impl Cause {
    /// Whether the same call can succeed a moment later without anybody's doing.
    #[must_use]
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }

    fn text(self) -> &'static str {
        match self {
            Self::NotFound => "there is no such secret in this account and region, or it is about to be deleted",
            Self::Denied => "reading the secret is not allowed, or there are no credentials or no region to ask with",
            Self::Throttled => "the service asks for fewer calls",
            Self::Unavailable => "the service cannot be reached, or does not answer",
            Self::Invalid => "the answer cannot be understood",
            Self::Stopped => "the runtime that the fetch ran on has ended, or the source has panicked",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

/// A source could not give a version.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{label} of the secret {secret} could not be read from {origin}: {cause}")]
pub struct SourceError {
    /// The secret's name.
    pub secret: String,
    /// The label that was asked for.
    pub label: Label,
    /// Which source was asked: `Secrets Manager`, `the agent`, `the file`, `IAM`.
    pub origin: &'static str,
    /// What is wrong.
    pub cause: Cause,
}

/// Why there is no version to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first read failed. A permanent cause ends [`start`](crate::Builder::start) at once. A transient one ends it after
    /// [`start_within`](crate::Builder::start_within).
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No version has AWSCURRENT: the secret was created without a value.
    #[error("no version of the secret {secret} has AWSCURRENT: the secret has no value yet")]
    NoValue {
        /// The secret's name.
        secret: String,
    },
    /// The source has not confirmed the version for longer than
    /// [`serve_stale_for`](crate::Builder::serve_stale_for) allows.
    #[error("the secret {secret} was last confirmed {} s ago, and is served for {} s at most{}", age.as_secs(), limit.as_secs(), because(*cause))]
    TooOld {
        /// The secret's name.
        secret: String,
        /// How long ago the source confirmed it.
        age: Duration,
        /// How long it is served.
        limit: Duration,
        /// Why the last read failed.
        cause: Option<Cause>,
    },
    /// A field that the adapter needs is not in the value.
    #[error(transparent)]
    Value(#[from] crate::value::ValueError),
}

fn because(cause: Option<Cause>) -> String {
    cause.map(|cause| format!(". The last read failed: {cause}")).unwrap_or_default()
}

/// Why a connection could not be made.
#[derive(Debug)]
#[non_exhaustive]
pub enum ConnectError<E> {
    /// The server refused the credential, and no version that Secrets Manager has was accepted in the time that
    /// [`search_for`](crate::Builder::search_for) allows.
    Refused(Refused<E>),
    /// The attempt failed for another reason than the credential: the server cannot be reached, it has too many connections. This says
    /// nothing about the credential, so nothing else was tried.
    Failed(E),
    /// After a refusal that another task saw, the server did not answer the attempts of the search in the time that
    /// [`search_for`](crate::Builder::search_for) allows. This says nothing about the credential.
    NoAnswer {
        /// The secret's name.
        secret: String,
        /// How long the search took.
        took: Duration,
    },
    /// There is no version to try.
    Secret(Error),
}

/// What was tried after a refused login.
#[derive(Debug)]
#[non_exhaustive]
pub struct Refused<E> {
    /// The secret's name.
    pub secret: String,
    /// The versions that the server refused in this search, each with the label it had. It is empty if this application had seen the
    /// version refused just before, and may not try it again yet.
    pub tried: Vec<(Label, String)>,
    /// How long the search took.
    pub took: Duration,
    /// Why Secrets Manager could not be asked, if it could not be.
    pub source: Option<SourceError>,
    /// The server's last refusal.
    pub last: Option<E>,
}

impl<E> ConnectError<E> {
    /// The server's or the driver's own error, if there is one.
    pub fn into_inner(self) -> Option<E> {
        match self {
            Self::Refused(refused) => refused.last,
            Self::Failed(error) => Some(error),
            Self::NoAnswer { .. } | Self::Secret(_) => None,
        }
    }
}

impl<E> From<Error> for ConnectError<E> {
    fn from(error: Error) -> Self {
        Self::Secret(error)
    }
}

impl<E> fmt::Display for ConnectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(refused) => refused.fmt(f),
            Self::Failed(_) => f.write_str("the login failed, and not because of the credential"),
            Self::NoAnswer { secret, took } => {
                let seconds = took.as_secs_f64();
                write!(
                    f,
                    "the server did not answer in time to a login with the secret {secret}. The search took {seconds:.1} s"
                )
            }
            Self::Secret(error) => error.fmt(f),
        }
    }
}

impl<E> fmt::Display for Refused<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.took.as_secs_f64();
        write!(f, "the credential in the secret {} is refused", self.secret)?;
        if self.tried.is_empty() {
            f.write_str(", and may not be tried again yet")?;
        }
        for (number, (label, version)) in self.tried.iter().enumerate() {
            write!(f, "{} {label} (version {version})", if number == 0 { ": tried" } else { "," })?;
        }
        write!(f, ". The search took {seconds:.1} s")?;
        match &self.source {
            Some(error) => write!(f, ". {error}"),
            None => f.write_str(". Diagnose the secret's rotation, or set its password to the one in AWSCURRENT"),
        }
    }
}

impl<E: std::error::Error + 'static> std::error::Error for ConnectError<E> {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Refused(refused) => refused.last.as_ref().map(|error| error as _),
            Self::Failed(error) => Some(error),
            Self::NoAnswer { .. } => None,
            Self::Secret(error) => Some(error),
        }
    }
}
