//! A server's files and program. Everything here blocks.

use super::options::{Files, Options};
use super::quote::literal;
use super::{Kind, Release};
use crate::process::Process;
use crate::provision::{self, Programs};
use crate::servers::certificates::Certificate;
use crate::servers::home::Home;
use crate::servers::launch::Launchable;
use crate::servers::{Password, Result};
use rustix::process::Signal;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

pub(super) const SUPERUSER: &str = "root";

/// Statements for the server's first start.
const INIT: &str = "init.sql";
/// The log of connections and statements.
const GENERAL_LOG: &str = "general.log";

/// A server's program, its directory and how it is set up.
#[derive(Debug)]
pub(super) struct Instance {
    release: Release,
    programs: Programs,
    home: Home,
    options: Options,
}

impl Instance {
    /// A new data directory with one superuser, whose password the server gets to know when it is first launched.
    pub(super) fn create(options: Options, superuser_password: &Password) -> Result<Self> {
        let kind = options.kind;
        let release = options.release.map_or_else(|| Release::chosen(kind), Ok)?;
        let programs = provision::mysql(release)?;
        let name = match kind {
            Kind::MySql => "mysql",
            Kind::MariaDb => "mariadb",
        };
        let instance = Self { release, programs, home: Home::new(name)?, options };
        instance.home.copy(&instance.programs.data_directory()?, &instance.data())?;
        if let Some(certificate) = &instance.options.certificate {
            instance.write_certificate(certificate)?;
        }
        instance.home.write_private(&instance.file(INIT), &first_statements(superuser_password))?;
        Ok(instance)
    }

    /// Forgets what is for the first start only.
    pub(super) fn was_launched(&self) -> Result<()> {
        let path = self.file(INIT);
        Ok(fs::remove_file(&path).map_err(provision::Error::io("remove", &path))?)
    }

    /// Replaces the certificate that the server presents after its next reload.
    pub(super) fn write_certificate(&self, certificate: &Certificate) -> Result<()> {
        let [cert, key, ca] = self.certificate_files();
        self.home.write_private(&cert, certificate.cert_pem())?;
        self.home.write_private(&key, certificate.key_pem())?;
        self.home.write_private(&ca, certificate.ca_pem())
    }

    fn certificate_files(&self) -> [PathBuf; 3] {
        ["server.crt", "server.key", "ca.crt"].map(|name| self.file(name))
    }

    /// All that the server has logged: its own log and the one of statements.
    pub(super) fn logs(&self) -> Result<String> {
        let statements = self.home.read_log(GENERAL_LOG)?;
        Ok(self.log_text()? + &String::from_utf8_lossy(&statements))
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn release(&self) -> Release {
        self.release
    }

    pub(super) fn version(&self) -> &str {
        self.programs.version()
    }

    pub(super) fn data(&self) -> PathBuf {
        self.file("data")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }
}

impl Launchable for Instance {
    /// Not QUIT, which has it wait for clients and write its pages.
    const STOP: Signal = Signal::KILL;

    fn title(&self) -> String {
        self.release.to_string()
    }

    fn home(&self) -> &Home {
        &self.home
    }

    fn program(&self, port: u16) -> Result<Command> {
        let tls = self.certificate_files();
        let init = self.file(INIT);
        let files = Files {
            data: &self.data(),
            temporary: self.home.path(),
            places: &self.programs.places(),
            tls: self.options.certificate.as_ref().map(|_| &tls),
            general_log: &self.file(GENERAL_LOG),
            init: init.exists().then_some(&init),
        };
        let path = self.file("server.cnf");
        self.home.write_private(&path, &self.options.configuration(port, &files))?;
        let mut server = self.home.command(self.programs.server());
        // It has to be the first argument.
        server.arg(format!("--defaults-file={}", path.display()));
        Ok(server)
    }

    fn is_ready(&self, _process: &Process, news: &str) -> bool {
        // Followed by the version; MySQL's X plugin, which is off, says so too.
        news.contains("ready for connections")
    }
}

/// Makes the `root` of a new data directory one for all hosts. A file, read by the server, is neither in its arguments nor
/// in its log.
fn first_statements(password: &Password) -> String {
    format!(
        "SET SESSION sql_log_off = ON;\n\
         SET SESSION sql_mode = '';\n\
         RENAME USER '{SUPERUSER}'@'localhost' TO '{SUPERUSER}'@'%';\n\
         ALTER USER '{SUPERUSER}'@'%' IDENTIFIED BY {};\n",
        literal(password.expose())
    )
}
