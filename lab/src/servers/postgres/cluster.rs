//! A cluster's files and programs. Everything here blocks.

use super::options::Options;
use crate::process::Process;
use crate::provision::{self, SUPERUSER, Version};
use crate::servers::certificates::Certificate;
use crate::servers::error::Result;
use crate::servers::home::Home;
use crate::servers::launch::Launchable;
use crate::servers::password::Password;
use crate::servers::tls::{HOST, Tls};
use rustix::process::Signal;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A PostgreSQL's programs, its directory and how it is set up.
#[derive(Debug)]
pub(super) struct Cluster {
    version: Version,
    bin: PathBuf,
    home: Home,
    options: Options,
}

/// Where a standby finds its primary.
pub(super) struct Primary<'a> {
    pub(super) port: u16,
    pub(super) ca_pem: &'a str,
    pub(super) superuser_password: &'a Password,
}

impl Cluster {
    /// A new cluster with one superuser.
    pub(super) fn create(options: Options, superuser_password: &Password) -> Result<Self> {
        let cluster = Self::prepare(options)?;
        cluster.home.copy(&provision::postgres_data(&cluster.bin)?, &cluster.data())?;
        cluster.set_password(superuser_password)?;
        Ok(cluster)
    }

    /// In single-user mode (PostgreSQL manual, "postgres"), as no login is possible yet.
    fn set_password(&self, password: &Password) -> Result<()> {
        let mut server = self.command("postgres");
        server.args(["--single", "-F", "-D"]).arg(self.data()).arg("postgres");
        let verifier = postgres_protocol::password::scram_sha_256(password.expose().as_bytes());
        let statement = format!("ALTER ROLE {SUPERUSER} PASSWORD '{verifier}'");
        self.home.run_with_input(&mut server, &statement).map(drop)
    }

    /// A copy of a running server that follows it, read-only (PostgreSQL manual, 27.2).
    pub(super) fn follow(options: Options, primary: &Primary<'_>) -> Result<Self> {
        let cluster = Self::prepare(options)?;
        let (ca, password_file) = (cluster.file("primary-ca.pem"), cluster.file("primary-password"));
        cluster.home.write_private(&ca, primary.ca_pem)?;
        // A file, which the standby needs as long as it lives: it is in neither the arguments nor the configuration.
        cluster.home.write_private(&password_file, &format!("*:*:*:*:{}", primary.superuser_password.expose()))?;
        let tls = match cluster.options.tls {
            Tls::Off => "sslmode=disable".to_owned(),
            Tls::Required | Tls::Offered => format!("sslmode=verify-full sslrootcert={}", parameter(&ca)),
        };
        let connection = format!(
            "host={HOST} hostaddr=127.0.0.1 port={} user={SUPERUSER} passfile={} {tls}",
            primary.port,
            parameter(&password_file)
        );
        let mut copy = cluster.command("pg_basebackup");
        copy.arg("--pgdata").arg(cluster.data()).args(["--dbname", &connection]);
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        cluster.home.run(&mut copy)?;
        Ok(cluster)
    }

    fn prepare(options: Options) -> Result<Self> {
        let version = options.version.map_or_else(Version::chosen, Ok)?;
        let cluster = Self { version, bin: provision::postgres(version)?, home: Home::new("postgres")?, options };
        if let Some(certificate) = &cluster.options.certificate {
            cluster.write_certificate(certificate)?;
        }
        if let Some(pem) = &cluster.options.client_ca {
            cluster.home.write_private(&cluster.file("client-ca.pem"), pem)?;
        }
        Ok(cluster)
    }

    /// Replaces the certificate that the server presents after its next reload.
    pub(super) fn write_certificate(&self, certificate: &Certificate) -> Result<()> {
        self.home.write_private(&self.file("server.crt"), certificate.cert_pem())?;
        self.home.write_private(&self.file("server.key"), certificate.key_pem())
    }

    fn configure(&self, port: u16) -> Result<()> {
        let certificate = self.options.certificate.as_ref().map(|_| (self.file("server.crt"), self.file("server.key")));
        let client_ca = self.options.client_ca.as_ref().map(|_| self.file("client-ca.pem"));
        let configuration = self.options.configuration(port, certificate.as_ref(), client_ca.as_ref());
        self.home.write_private(&self.data().join("postgresql.conf"), &configuration)?;
        self.home.write_private(&self.data().join("pg_hba.conf"), &self.options.access())
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn version(&self) -> Version {
        self.version
    }

    pub(super) fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn command(&self, name: &str) -> Command {
        self.home.command(&self.bin.join(name))
    }
}

impl Launchable for Cluster {
    /// PostgreSQL's immediate shutdown.
    const STOP: Signal = Signal::QUIT;

    fn title(&self) -> String {
        self.version.to_string()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        self.configure(port)?;
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data());
        Ok(postgres)
    }

    /// Whether the server says in its lock file that it accepts connections: the eighth line, as `pg_ctl` reads it. The
    /// first is its process id, since a server that was killed leaves its file behind.
    fn is_ready(&self, process: &Process, _news: &str) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(&process.id().to_string()) && lines.nth(6) == Some("ready")
    }
}

/// A path as a value in a connection string (PostgreSQL manual, 34.1.1.1).
fn parameter(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_quotes_stays_one_parameter() {
        assert_eq!(parameter(Path::new(r"/a b/c'd\e")), r"'/a b/c\'d\\e'");
    }
}
