//! Why a throwaway server could not be started or used.

use crate::provision;

/// Why a throwaway server could not be started or used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server's programs could not be obtained or run, or its directory could not be prepared.
    #[error(transparent)]
    Provision(#[from] provision::Error),
    /// A certificate could not be made, for instance for an invalid name.
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
    /// A signal could not be sent to the server.
    #[error("cannot send a signal to {server}: {source}")]
    Signal {
        /// Which server.
        server: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The runtime is being shut down.
    #[error("the runtime was shut down while a server was being started or stopped")]
    Abandoned,
    /// A request over HTTP got no answer.
    #[error("{doing}: {found}")]
    Http {
        /// What was being done.
        doing: String,
        /// Why.
        found: String,
    },
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
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(Error::Abandoned),
        },
    }
}
