//! How a throwaway PostgreSQL is set up.

use super::Version;
use crate::servers::Tls;
use crate::servers::certificates::Certificate;
use std::path::PathBuf;

/// How a throwaway PostgreSQL is set up. The default is the version of [`Version::chosen`] with TLS required and a certificate for
/// `localhost` and `127.0.0.1` from a new CA.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `None` for [`Version::chosen`].
    pub(super) version: Option<Version>,
    pub(super) tls: Tls,
    pub(super) certificate: Option<Certificate>,
    pub(super) client_ca: Option<String>,
    pub(super) settings: Vec<(String, String)>,
    pub(super) hba: Vec<String>,
}

/// A power cut may destroy a test server's data, so nothing waits for the disk. Commits are still synchronous: otherwise `down`,
/// which stops the server at once, would lose them.
const SETTINGS: &[(&str, &str)] = &[
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_directories", ""),
    ("password_encryption", "scram-sha-256"),
    ("fsync", "off"),
    ("full_page_writes", "off"),
    ("shared_buffers", "16MB"),
    ("jit", "off"),
    ("timezone", "GMT"),
    ("log_timezone", "GMT"),
    ("log_line_prefix", "%m [%p] %u@%d "),
];

impl Options {
    /// The version of the server, whatever `LOCKSTEP_POSTGRES` says.
    #[must_use]
    pub fn version(mut self, version: Version) -> Self {
        self.version = Some(version);
        self
    }

    /// Whether the server has TLS.
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = tls;
        self
    }

    /// The certificate that the server presents. Clients of [`Postgres`](super::Postgres) trust the CA that issued it.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The CA of the clients' certificates, as PEM text. The server asks each client for one, and lines of `pg_hba.conf` with `clientcert`
    /// demand it.
    #[must_use]
    pub fn client_ca(mut self, pem: &str) -> Self {
        self.client_ca = Some(pem.to_owned());
        self
    }

    /// A setting of `postgresql.conf`, such as `max_connections`. The last one of a name counts.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A line for `pg_hba.conf`. It comes before the usual ones, and the first that matches counts; several keep their order.
    #[must_use]
    pub fn hba(mut self, line: &str) -> Self {
        self.hba.push(line.to_owned());
        self
    }

    /// Has every statement and connection logged, for tests that look for secrets in the log.
    #[must_use]
    pub fn log_statements(self) -> Self {
        self.setting("log_statement", "all").setting("log_connections", "on").setting("log_disconnections", "on")
    }

    /// The text of `postgresql.conf`.
    pub(super) fn configuration(
        &self,
        port: u16,
        certificate_files: Option<&(PathBuf, PathBuf)>,
        client_ca_file: Option<&PathBuf>,
    ) -> String {
        let mut text = format!("port = {port}\n");
        let mut set = |name: &str, value: &str| {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            text.push_str(&format!("{name} = '{value}'\n"));
        };
        for (name, value) in SETTINGS {
            set(name, value);
        }
        if let Some((certificate, key)) = certificate_files {
            set("ssl", "on");
            set("ssl_cert_file", &certificate.to_string_lossy());
            set("ssl_key_file", &key.to_string_lossy());
        }
        if let Some(client_ca) = client_ca_file {
            set("ssl_ca_file", &client_ca.to_string_lossy());
        }
        for (name, value) in &self.settings {
            set(name, value);
        }
        text
    }

    /// The text of `pg_hba.conf`.
    pub(super) fn access(&self) -> String {
        let connection = match self.tls {
            Tls::Required => "hostssl",
            Tls::Offered | Tls::Off => "host",
        };
        let mut text: String = self.hba.iter().map(|line| format!("{line}\n")).collect();
        for database in ["all", "replication"] {
            text.push_str(&format!("{connection} {database} all 127.0.0.1/32 scram-sha-256\n"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persons_settings_come_last_and_their_quotes_do_no_harm() {
        let text = Options::default().setting("search_path", r"'a\b'").configuration(1, None, None);
        assert!(text.ends_with("search_path = '''a\\\\b'''\n"), "{text}");
        assert!(!text.contains("ssl ="), "{text}");
    }

    #[test]
    fn access_lines_of_a_person_come_first() {
        let options = Options::default().hba("host all md5_user 127.0.0.1/32 md5").tls(Tls::Offered);
        assert_eq!(
            options.access(),
            "host all md5_user 127.0.0.1/32 md5\nhost all all 127.0.0.1/32 scram-sha-256\n\
             host replication all 127.0.0.1/32 scram-sha-256\n"
        );
        assert!(Options::default().access().starts_with("hostssl all all "));
    }
}
