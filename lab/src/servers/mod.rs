//! Throwaway real databases: each in a private directory, on a free loopback port, with a certificate of a test CA, gone
//! when its value is dropped.
//!
//! * [`postgres`]: PostgreSQL, also as a read-only standby
//! * [`mysql`]: MySQL and MariaDB
//! * [`database`]: any of them
//! * [`certificates`]: the test CA
//!
//! A server outlives the terminal's Ctrl-C, because it is in a process group of its own: the lab decides when it ends. It
//! does not outlive the lab: a watchdog ends it and removes its directory even when the lab was killed with SIGKILL.

pub mod certificates;
pub mod database;
mod home;
mod launch;
pub mod mysql;
pub mod postgres;
mod process;

use crate::provision;
use certificates::{Certificate, TestCa};
use secrecy::{ExposeSecret as _, SecretString};
use std::fmt;

/// The name in the default certificate, and the one to connect to: certificates are rarely for addresses.
const HOST: &str = "localhost";

/// Whether a server has TLS, and whether it insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tls {
    /// Connections without TLS are refused, as on RDS with `rds.force_ssl`, the default there since PostgreSQL 15, or
    /// with MySQL's `require_secure_transport`.
    #[default]
    Required,
    /// With and without.
    Offered,
    /// Without only.
    Off,
}

impl Tls {
    /// The certificate that a server presents: the given one, or one for this machine from a CA of its own.
    fn certificate(self, given: Option<Certificate>) -> Result<Option<Certificate>> {
        match (self, given) {
            (Self::Off, _) => Ok(None),
            (Self::Required | Self::Offered, Some(certificate)) => Ok(Some(certificate)),
            (Self::Required | Self::Offered, None) => {
                TestCa::new("Lockstep lab CA")?.issue(&[HOST, "127.0.0.1"]).map(Some)
            }
        }
    }
}

/// A password of a throwaway server. Its `Debug` is a placeholder.
#[derive(Clone)]
pub struct Password(SecretString);

impl Password {
    /// 32 random letters and digits: about 190 bits, and no character that any tool treats specially.
    pub fn random() -> Self {
        use rand::RngExt as _;
        let letters = rand::rng().sample_iter(rand::distr::Alphanumeric).take(32).map(char::from);
        Self::from(letters.collect::<String>())
    }

    /// The text itself. Keep it out of anything that is printed.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(text.into())
    }
}

impl From<&str> for Password {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password([REDACTED])")
    }
}

/// Why a throwaway server could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's programs could not be obtained or run, or its directory could not be prepared.
    #[error(transparent)]
    Provision(#[from] provision::Error),
    /// A certificate could not be made from what was asked for, such as a name that is not one.
    #[error("cannot issue a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The server ended, or did not accept connections in time.
    #[error("{server} {found}. The last lines of its log:\n{log}")]
    NotReady {
        /// Which server.
        server: String,
        /// How it was found.
        found: String,
        /// The last lines of its log.
        log: String,
    },
    /// The server could not be stopped.
    #[error("cannot stop {server}: {source}")]
    Stop {
        /// Which server.
        server: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime is being shut down.
    #[error("the runtime was shut down while a server was being started or stopped")]
    Abandoned,
    /// A connection or a statement failed.
    #[error("{doing}: {found}")]
    Database {
        /// What was being done.
        doing: String,
        /// The server's code and message, or the reason for the lack of a connection.
        found: String,
    },
}

/// The result of starting or using a throwaway server.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Runs work that blocks beside the runtime's own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Abandoned),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_random_and_not_shown() {
        let (one, other) = (Password::random(), Password::random());
        assert_eq!(one.expose().len(), 32);
        assert_ne!(one.expose(), other.expose());
        assert_eq!(format!("{one:?}"), "Password([REDACTED])");
    }
}
