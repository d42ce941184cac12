//! A throwaway MySQL or MariaDB.
//!
//! ```no_run
//! # async fn example() -> Result<(), lab::servers::Error> {
//! use lab::servers::Password;
//! use lab::servers::mysql::{Kind, MySql, Options};
//!
//! let server = MySql::start(Options::default().kind(Kind::MariaDb)).await?;
//! let password = Password::random();
//! server.create_user("app", &password).await?;
//! assert!(server.can_login("app", &password).await?);
//! # Ok(())
//! # }
//! ```

mod client;
mod instance;
mod options;
mod quote;

pub use super::Tls;
pub use crate::provision::{Kind, Release};
pub use options::Options;
pub use quote::{literal, quoted};

use super::certificates::Certificate;
use super::error::{Result, blocking};
use super::launch::{Running, launch};
use super::password::Password;
use super::tls::HOST;
use crate::port::Reserved;
use instance::{Instance, SUPERUSER};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A running MySQL or MariaDB. Dropping it stops the server at once and removes its directory.
#[derive(Debug)]
pub struct MySql {
    // `None` while it is down. Before the instance, whose directory goes last: fields are dropped in order.
    process: Running,
    // Shared with the threads that start it, as is the instance.
    port: Arc<Reserved>,
    superuser_password: Password,
    certificate: Option<Certificate>,
    instance: Arc<Instance>,
}

impl MySql {
    /// Makes a new data directory and starts a server on a free port of 127.0.0.1. The server's programs are obtained first
    /// if need be.
    ///
    /// # Errors
    /// [`Error::Provision`](crate::servers::Error::Provision) if there are no programs to be had; [`Error::NotReady`](crate::servers::Error::NotReady) if the server does not start, for
    /// instance because of a setting in `options`.
    pub async fn start(mut options: Options) -> Result<Self> {
        blocking(move || {
            options.certificate = options.tls.certificate(options.certificate)?;
            let superuser_password = Password::random();
            let certificate = options.certificate.clone();
            let instance = Instance::create(options, &superuser_password)?;
            let (process, port) = launch(&instance)?;
            instance.was_launched()?;
            Ok(Self { process, port, superuser_password, certificate, instance: Arc::new(instance) })
        })
        .await
    }

    /// The name to connect to: `localhost`. The server listens on 127.0.0.1 only.
    pub fn host(&self) -> &'static str {
        HOST
    }

    /// The port, which stays the same over [`down`](Self::down) and [`up`](Self::up).
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The name of the superuser. The account is `'root'@'%'`.
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

    /// Which of the two it is.
    pub fn kind(&self) -> Kind {
        self.instance.options().kind
    }

    /// Which version of it.
    pub fn release(&self) -> Release {
        self.instance.release()
    }

    /// The version as the server tells it, e.g. `9.7.4-2` or `10.11.18-MariaDB-0+deb12u1`.
    pub fn version(&self) -> &str {
        self.instance.version()
    }

    /// Whether it has TLS, and whether it insists.
    pub fn tls(&self) -> Tls {
        self.instance.options().tls
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.instance.data()
    }

    /// All that the server has logged so far: first its own log, then connections and statements if
    /// [`log_statements`](Options::log_statements) was chosen.
    ///
    /// # Errors
    /// [`Error::Provision`](crate::servers::Error::Provision) if a log cannot be read.
    pub fn log_text(&self) -> Result<String> {
        self.instance.logs()
    }

    /// Presents another certificate to connections from now on, and trusts its CA instead in
    /// [`connect`](Self::connect).
    ///
    /// # Errors
    /// [`Error::Provision`](crate::servers::Error::Provision) if it cannot be written; [`Error::NotReady`](crate::servers::Error::NotReady) if the server does not take it.
    pub async fn present_certificate(&mut self, certificate: Certificate) -> Result<()> {
        // Whatever the one is that clients are presented until then.
        let mut session = self.connect_unverified().await?;
        self.instance.write_certificate(&certificate)?;
        self.certificate = Some(certificate);
        if self.reload_certificate(&mut session).await.is_err() {
            // MySQL starts with a certificate that has expired, and reloads none.
            self.down()?;
            self.up().await?;
        }
        Ok(())
    }

    /// Stops the server at once, as a failure would: clients are cut off. Its data and its port stay, for
    /// [`up`](Self::up): meanwhile connections are refused.
    ///
    /// # Errors
    /// [`Error::Stop`](crate::servers::Error::Stop) if the process does not end.
    pub fn down(&self) -> Result<()> {
        self.process.down(self)
    }

    /// Starts the server again on the same port, if it is down.
    ///
    /// # Errors
    /// [`Error::NotReady`](crate::servers::Error::NotReady) if it does not start.
    pub async fn up(&self) -> Result<()> {
        self.process.up(&self.instance, &self.port).await
    }

    /// Stops every process of the server as they are, so that it neither answers nor closes a connection.
    ///
    /// # Errors
    /// [`Error::Signal`](crate::servers::Error::Signal).
    pub fn freeze(&self) -> Result<()> {
        self.process.freeze(self)
    }

    /// Lets a server go on that was [frozen](Self::freeze).
    ///
    /// # Errors
    /// [`Error::Signal`](crate::servers::Error::Signal).
    pub fn thaw(&self) -> Result<()> {
        self.process.thaw(self)
    }

    /// Stops the server at once and removes its directory. Dropping it does the same, without telling of a failure.
    ///
    /// # Errors
    /// [`Error::Stop`](crate::servers::Error::Stop) if the process does not end.
    pub fn stop(self) -> Result<()> {
        self.down()
    }
}

/// For messages: `MySQL 9.7 on localhost:3306`.
impl fmt::Display for MySql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} on {HOST}:{}", self.release(), self.port())
    }
}
