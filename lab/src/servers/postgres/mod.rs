//! A throwaway PostgreSQL.
//!
//! ```no_run
//! # async fn example() -> Result<(), lab::servers::Error> {
//! use lab::servers::Password;
//! use lab::servers::postgres::{Options, Postgres};
//!
//! let server = Postgres::start(Options::default()).await?;
//! let password = Password::random();
//! server.create_user("app", &password).await?;
//! assert!(server.can_login("app", &password).await?);
//! # Ok(())
//! # }
//! ```

mod client;
mod cluster;
mod options;

pub use super::Tls;
pub use crate::provision::Version;
pub use client::quoted;
pub use options::Options;

use super::certificates::Certificate;
use super::error::{Error, Result, blocking};
use super::launch::{Launchable as _, Running, launch};
use super::password::Password;
use super::tls::HOST;
use crate::port::Reserved;
use crate::provision::SUPERUSER;
use cluster::{Cluster, Primary};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

const RELOAD_LIMIT: Duration = Duration::from_secs(10);
const RELOAD_POLL: Duration = Duration::from_millis(10);

/// A running PostgreSQL. Dropping it stops the server at once and removes its directory.
#[derive(Debug)]
pub struct Postgres {
    // `None` while it is down. Before the cluster, whose directory goes last: fields are dropped in order.
    process: Running,
    // Shared with the threads that start it, as is the cluster.
    port: Arc<Reserved>,
    superuser_password: Password,
    certificate: Option<Certificate>,
    cluster: Arc<Cluster>,
}

impl Postgres {
    /// Makes a new cluster and starts it on a free port of 127.0.0.1. The server's programs are obtained first if need be.
    ///
    /// # Errors
    /// [`Error::Provision`] if there are no programs to be had; [`Error::NotReady`] if the server does not start, for
    /// instance because of a setting in `options`.
    pub async fn start(options: Options) -> Result<Self> {
        blocking(move || {
            let mut options = options;
            options.certificate = options.tls.certificate(options.certificate)?;
            let password = Password::random();
            let cluster = Cluster::create(options, &password)?;
            Self::launch(cluster, password)
        })
        .await
    }

    /// Starts a read-only standby that follows `primary`. Superuser, options and certificate are the primary's.
    ///
    /// # Errors
    /// As for [`start`](Self::start), and [`Error::Provision`] if the primary does not let itself be copied.
    pub async fn standby_of(primary: &Self) -> Result<Self> {
        let mut options = primary.cluster.options().clone().version(primary.version());
        options.certificate = primary.certificate.clone();
        let (port, password, ca_pem) =
            (primary.port(), primary.superuser_password.clone(), primary.ca_pem().to_owned());
        blocking(move || {
            let cluster = Cluster::follow(options, &Primary { port, ca_pem: &ca_pem, superuser_password: &password })?;
            Self::launch(cluster, password)
        })
        .await
    }

    fn launch(cluster: Cluster, superuser_password: Password) -> Result<Self> {
        let (process, port) = launch(&cluster)?;
        let certificate = cluster.options().certificate.clone();
        Ok(Self { process, port, superuser_password, certificate, cluster: Arc::new(cluster) })
    }

    /// The name to connect to: `localhost`. The server listens on 127.0.0.1 only.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// The port, which stays the same over [`down`](Self::down) and [`up`](Self::up).
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The name of the superuser.
    pub fn superuser(&self) -> &'static str {
        SUPERUSER
    }

    /// The superuser's password, random for each server.
    pub fn superuser_password(&self) -> &Password {
        &self.superuser_password
    }

    /// The CA that issued the server's certificate; empty if the server has no TLS.
    pub fn ca_pem(&self) -> &str {
        self.certificate.as_ref().map_or("", Certificate::ca_pem)
    }

    /// The certificate that it presents, with its key.
    pub(super) fn certificate(&self) -> Option<&Certificate> {
        self.certificate.as_ref()
    }

    /// Which version it is.
    pub fn version(&self) -> Version {
        self.cluster.version()
    }

    /// Whether it has TLS, and whether it insists.
    pub fn tls(&self) -> Tls {
        self.cluster.options().tls
    }

    /// The cluster's data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.cluster.data()
    }

    /// All that the server has logged so far.
    ///
    /// # Errors
    /// [`Error::Provision`] if the log cannot be read.
    pub fn log_text(&self) -> Result<String> {
        self.cluster.log_text()
    }

    /// Presents another certificate to connections from now on, and trusts its CA instead in
    /// [`connect`](Self::connect). A certificate that does not fit its key leaves the server with the old one.
    ///
    /// # Errors
    /// [`Error::Provision`] if it cannot be written; [`Error::NotReady`] if the server does not reload it.
    pub async fn present_certificate(&mut self, certificate: Certificate) -> Result<()> {
        self.cluster.write_certificate(&certificate)?;
        self.certificate = Some(certificate);
        let log_before = self.log_text()?.len();
        if !self.process.reload(self)? {
            return Ok(());
        }
        // The postmaster logs this when it begins to reload, and takes no connection before it has done so.
        let start = Instant::now();
        while !self.log_text()?.get(log_before..).is_some_and(|news| news.contains("SIGHUP")) {
            if start.elapsed() >= RELOAD_LIMIT {
                let found = format!("did not reload within {} s", RELOAD_LIMIT.as_secs());
                return Err(Error::NotReady { server: self.to_string(), found, log: String::new() });
            }
            tokio::time::sleep(RELOAD_POLL).await;
        }
        Ok(())
    }

    /// Stops the server at once, as a failure would: clients are cut off. Its data and its port stay, for
    /// [`up`](Self::up): meanwhile connections are refused.
    ///
    /// # Errors
    /// [`Error::Stop`] if the process does not end.
    pub fn down(&self) -> Result<()> {
        self.process.down(self)
    }

    /// Starts the server again on the same port, if it is down.
    ///
    /// # Errors
    /// [`Error::NotReady`] if it does not start.
    pub async fn up(&self) -> Result<()> {
        self.process.up(&self.cluster, &self.port).await
    }

    /// Stops every process of the server as they are, so that it neither answers nor closes a connection.
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze(self)
    }

    /// Lets a server go on that was [frozen](Self::freeze).
    ///
    /// # Errors
    /// [`Error::Signal`].
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw(self)
    }

    /// Stops the server at once and removes its directory. Dropping it does the same, without telling of a failure.
    ///
    /// # Errors
    /// [`Error::Stop`] if the process does not end.
    pub fn stop(self) -> Result<()> {
        self.down()
    }
}

/// For messages: `PostgreSQL 15 on localhost:5432`.
impl fmt::Display for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {HOST}:{}", self.version(), self.port())
    }
}
