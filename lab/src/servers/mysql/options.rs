//! How a throwaway MySQL or MariaDB is set up.

use super::{Kind, Release};
use crate::servers::Tls;
use crate::servers::certificates::Certificate;
use std::path::{Path, PathBuf};

/// How a throwaway MySQL or MariaDB is set up. The default is MySQL 9.7 with TLS required and a certificate for `localhost`
/// and `127.0.0.1` from a new CA.
///
/// `skip_name_resolve` is on, so nobody can log in to an account `'…'@'localhost'`: clients come from `127.0.0.1`.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub(super) kind: Kind,
    /// `None` for [`Release::chosen`].
    pub(super) release: Option<Release>,
    pub(super) tls: Tls,
    pub(super) certificate: Option<Certificate>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) log_statements: bool,
}

/// Where the server's files lie.
pub(super) struct Files<'a> {
    pub(super) data: &'a Path,
    /// For temporary tables. A server that starts removes all that it finds there, also those of other servers.
    pub(super) temporary: &'a Path,
    /// Where the programs' own files are.
    pub(super) places: &'a [(&'static str, PathBuf)],
    /// The certificate and its key, and its CA.
    pub(super) tls: Option<&'a [PathBuf; 3]>,
    pub(super) general_log: &'a Path,
    /// Statements to execute at the start.
    pub(super) init: Option<&'a Path>,
}

/// A power cut may destroy a test server's data, so nothing waits for the disk. Nor need the server be fast with much data.
/// Commits still reach the operating system (the 2): otherwise `down`, which kills the server, would lose them.
const SETTINGS: &[(&str, &str)] = &[
    ("bind_address", "127.0.0.1"),
    // No socket: its path could be too long, and clients use TCP.
    ("socket", ""),
    ("skip_name_resolve", "ON"),
    ("performance_schema", "OFF"),
    ("innodb_buffer_pool_size", "16M"),
    ("innodb_log_buffer_size", "1M"),
    ("innodb_doublewrite", "OFF"),
    ("innodb_flush_log_at_trx_commit", "2"),
    ("loose_innodb_flush_method", "nosync"),
    // Several servers at once would use up the kernel's limit.
    ("innodb_use_native_aio", "OFF"),
];
const MYSQL_SETTINGS: &[(&str, &str)] = &[
    ("disable_log_bin", "ON"),
    ("mysqlx", "OFF"),
    ("secure_file_priv", "NULL"),
    ("auto_generate_certs", "OFF"),
    ("loose_innodb_redo_log_capacity", "8M"),
];
const MARIADB_SETTINGS: &[(&str, &str)] = &[("innodb_log_file_size", "4M"), ("debug_no_sync", "ON")];

impl Options {
    /// MySQL or MariaDB, in the version that [`Release::chosen`] says.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self.release = None;
        self
    }

    /// One of the two in this version, whatever `LOCKSTEP_MARIADB` says.
    #[must_use]
    pub fn release(mut self, release: Release) -> Self {
        self.kind = release.kind();
        self.release = Some(release);
        self
    }

    /// Whether the server has TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The certificate that the server presents. Clients of [`MySql`](super::MySql) trust the CA that issued it.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// A variable of the server, such as `sql_mode`. The last one of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Has every statement and connection logged, for tests that look for secrets in the log. MySQL masks passwords in
    /// statements that it knows (MySQL manual, 8.1.2.3), MariaDB does not.
    #[must_use]
    pub fn log_statements(mut self) -> Self {
        self.log_statements = true;
        self
    }

    /// The text of the server's option file.
    pub(super) fn configuration(&self, port: u16, files: &Files<'_>) -> String {
        let mut text = "[mysqld]\n".to_owned();
        let mut set = |name: &str, value: &str| text.push_str(&format!("{name} = {}\n", option_value(value)));
        set("port", &port.to_string());
        set("datadir", &files.data.to_string_lossy());
        set("tmpdir", &files.temporary.to_string_lossy());
        for (name, place) in files.places {
            set(name, &place.to_string_lossy());
        }
        if let Some(init) = files.init {
            set("init_file", &init.to_string_lossy());
        }
        let of_kind = match self.kind {
            Kind::MySql => MYSQL_SETTINGS,
            Kind::MariaDb => MARIADB_SETTINGS,
        };
        for (name, value) in SETTINGS.iter().chain(of_kind) {
            set(name, value);
        }
        if self.log_statements {
            set("general_log", "ON");
            set("general_log_file", &files.general_log.to_string_lossy());
        }
        match (files.tls, self.kind) {
            (Some([certificate, key, ca]), _) => {
                set("ssl_cert", &certificate.to_string_lossy());
                set("ssl_key", &key.to_string_lossy());
                set("ssl_ca", &ca.to_string_lossy());
            }
            // MySQL manual, 7.1.8, `tls_version`: without a version to offer TLS is off.
            (None, Kind::MySql) => set("tls_version", ""),
            (None, Kind::MariaDb) => set("ssl", "OFF"),
        }
        if self.tls == Tls::Required {
            set("require_secure_transport", "ON");
        }
        for (name, value) in &self.settings {
            set(name, value);
        }
        text
    }
}

/// A value as it stands in an option file, whatever its characters (MySQL manual, 6.2.2.2).
fn option_value(value: &str) -> String {
    let escaped = value.replace('\\', r"\\").replace('"', r#"\""#).replace('\n', r"\n").replace('\r', r"\r");
    format!("\"{escaped}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(options: &Options) -> String {
        let path = Path::new("/p");
        let files = Files { data: path, temporary: path, places: &[], tls: None, general_log: path, init: None };
        options.configuration(1, &files)
    }

    #[test]
    fn a_persons_settings_come_last_and_their_quotes_do_no_harm() {
        let text = configuration(&Options::default().setting("init_connect", "SET @a = 'b\\\"#c'\nx"));
        assert!(text.ends_with("init_connect = \"SET @a = 'b\\\\\\\"#c'\\nx\"\n"), "{text}");
    }

    #[test]
    fn each_kind_has_settings_of_its_own() {
        assert!(configuration(&Options::default()).contains("\nmysqlx = \"OFF\"\n"));
        assert!(!configuration(&Options::default().kind(Kind::MariaDb)).contains("mysqlx"));
    }
}
