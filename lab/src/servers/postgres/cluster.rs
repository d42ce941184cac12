//! A cluster's files and programs. Everything here blocks.

use super::options::{Options, Tls};
use super::{HOST, SUPERUSER};
use crate::provision::{self, command::last_lines};
use crate::servers::certificates::Certificate;
use crate::servers::home::Home;
use crate::servers::process::Process;
use crate::servers::{Error, Password, Result};
use rustix::process::Signal;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Usually well under a second each; two processors with a compiler at work on both need a multiple of it.
const SET_UP_LIMIT: Duration = Duration::from_secs(60);
const READY_LIMIT: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);
/// Somebody else may take a port between its choice and its use. That is rare; several times in a row is another fault.
const PORT_ATTEMPTS: u32 = 5;
/// What is shown of the log of a server that does not start.
const LOG_LINES: usize = 12;
const LOG: &str = "server.log";

/// A PostgreSQL's programs, its directory and how it is set up.
#[derive(Debug)]
pub(super) struct Cluster {
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
        let password_file = cluster.file("password");
        cluster.home.write_private(&password_file, superuser_password.expose())?;
        let mut initdb = cluster.program("initdb");
        initdb.arg("--pgdata").arg(cluster.data()).args(["--username", SUPERUSER]).arg("--pwfile").arg(&password_file);
        initdb.args(["--auth-local=scram-sha-256", "--auth-host=scram-sha-256", "--encoding=UTF8", "--no-locale"]);
        cluster.home.run(initdb.arg("--no-sync"), SET_UP_LIMIT)?;
        fs::remove_file(&password_file).map_err(provision::Error::io("remove", &password_file))?;
        Ok(cluster)
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
        let mut copy = cluster.program("pg_basebackup");
        copy.arg("--pgdata").arg(cluster.data()).args(["--dbname", &connection]);
        copy.args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"]);
        cluster.home.run(&mut copy, SET_UP_LIMIT)?;
        Ok(cluster)
    }

    fn prepare(options: Options) -> Result<Self> {
        let cluster = Self { bin: provision::postgres(options.version)?, home: Home::new("postgres")?, options };
        if let Some(certificate) = &cluster.options.certificate {
            cluster.write_certificate(certificate)?;
        }
        Ok(cluster)
    }

    /// Replaces the certificate that the server presents after its next reload.
    pub(super) fn write_certificate(&self, certificate: &Certificate) -> Result<()> {
        self.home.write_private(&self.file("server.crt"), certificate.cert_pem())?;
        self.home.write_private(&self.file("server.key"), certificate.key_pem())
    }

    /// Starts the server on a free port, and waits until it accepts connections.
    pub(super) fn launch(&self) -> Result<(Process, u16)> {
        let mut attempt = 1;
        loop {
            let port = free_port()?;
            let log_before = self.log_text()?.len();
            match self.launch_on(port) {
                Err(_) if attempt < PORT_ATTEMPTS && self.found_port_taken(log_before)? => attempt += 1,
                result => return result.map(|process| (process, port)),
            }
        }
    }

    /// Starts the server on this port, and waits until it accepts connections.
    pub(super) fn launch_on(&self, port: u16) -> Result<Process> {
        self.configure(port)?;
        let (path, log) = self.home.log(LOG)?;
        let log_too = log.try_clone().map_err(provision::Error::io("open", &path))?;
        let mut postgres = self.program("postgres");
        postgres.arg("-D").arg(self.data()).stdout(log).stderr(log_too);
        let io = |source| provision::Error::Io { doing: "start", path: self.bin.join("postgres"), source };
        let mut process = Process::spawn(&mut postgres, Signal::QUIT).map_err(io)?;
        let start = Instant::now();
        while !self.is_ready(&process) {
            if let Some(status) = process.ended().map_err(io)? {
                return Err(self.not_ready(&format!("ended at once ({status})")));
            }
            if start.elapsed() >= READY_LIMIT {
                return Err(self.not_ready(&format!("was not ready after {} s", READY_LIMIT.as_secs())));
            }
            sleep(POLL);
        }
        Ok(process)
    }

    fn configure(&self, port: u16) -> Result<()> {
        let certificate = self.options.certificate.as_ref().map(|_| (self.file("server.crt"), self.file("server.key")));
        let configuration = self.options.configuration(port, certificate.as_ref());
        self.home.write_private(&self.data().join("postgresql.conf"), &configuration)?;
        self.home.write_private(&self.data().join("pg_hba.conf"), &self.options.access())
    }

    /// Whether the server says in its lock file that it accepts connections: the eighth line, as `pg_ctl` reads it. The
    /// first is its process id, since a server that was killed leaves its file behind.
    fn is_ready(&self, process: &Process) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        let mut lines = text.lines().map(str::trim);
        lines.next() == Some(&process.id().to_string()) && lines.nth(6) == Some("ready")
    }

    fn not_ready(&self, found: &str) -> Error {
        Error::NotReady {
            server: self.options.version.to_string(),
            found: found.to_owned(),
            log: last_lines(&self.log_text().unwrap_or_default(), LOG_LINES),
        }
    }

    fn found_port_taken(&self, log_before: usize) -> Result<bool> {
        Ok(self.log_text()?.get(log_before..).is_some_and(|news| news.contains("Address already in use")))
    }

    /// All that the server has logged.
    pub(super) fn log_text(&self) -> Result<String> {
        let path = self.file(LOG);
        match fs::read(&path) {
            // Names and statements are logged as clients sent them, in whatever encoding.
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(provision::Error::io("read", &path)(error).into()),
        }
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn program(&self, name: &str) -> Command {
        self.home.command(&self.bin.join(name))
    }
}

fn free_port() -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    Ok(listener.map_err(provision::Error::io("find a free port on", Path::new("127.0.0.1")))?.port())
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
