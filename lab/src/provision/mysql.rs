//! The programs of the servers that speak MySQL's protocol, and a data directory to begin with.

use super::account::reachable;
use super::apt::Unpacked;
use super::command::{progress, run};
use super::store::{Item, Store};
use super::{Error, Result, named, own};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod data;

const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// Which of the two servers that speak MySQL's protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Kind {
    /// MySQL: `caching_sha2_password`, and two passwords at once for one account. 9.7 has `mysql_native_password` no more.
    #[default]
    MySql,
    /// MariaDB: `mysql_native_password`, and `ed25519` as a plugin. It has no second password, and no
    /// `caching_sha2_password`.
    MariaDb,
}

/// A version of one of the two that tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Release {
    /// MySQL 9.7, the only one that Debian has.
    MySql9_7,
    /// MariaDB 10.5, the oldest: `require_secure_transport` came with it.
    MariaDb10_5,
    /// MariaDB 10.11, the usual one.
    #[default]
    MariaDb10_11,
    /// MariaDB 11.8, the newest.
    MariaDb11_8,
}

impl Release {
    /// All of them, the oldest of each kind first.
    pub const ALL: [Self; 4] = [Self::MySql9_7, Self::MariaDb10_5, Self::MariaDb10_11, Self::MariaDb11_8];

    /// All of MariaDB.
    pub const MARIADB: [Self; 3] = [Self::MariaDb10_5, Self::MariaDb10_11, Self::MariaDb11_8];

    /// The version for whoever asks for none: of MariaDB the one that `LOCKSTEP_MARIADB` names, or 10.11.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the variable names none of these versions.
    pub fn chosen(kind: Kind) -> Result<Self> {
        match kind {
            Kind::MySql => Ok(Self::MySql9_7),
            Kind::MariaDb => named("LOCKSTEP_MARIADB", &Self::MARIADB, Self::name),
        }
    }

    /// Which of the two servers.
    pub fn kind(self) -> Kind {
        match self {
            Self::MySql9_7 => Kind::MySql,
            Self::MariaDb10_5 | Self::MariaDb10_11 | Self::MariaDb11_8 => Kind::MariaDb,
        }
    }

    fn number(self) -> (u32, u32) {
        match self {
            Self::MySql9_7 => (9, 7),
            Self::MariaDb10_5 => (10, 5),
            Self::MariaDb10_11 => (10, 11),
            Self::MariaDb11_8 => (11, 8),
        }
    }

    /// The version's number, e.g. `10.11`.
    pub fn name(self) -> &'static str {
        match self {
            Self::MySql9_7 => "9.7",
            Self::MariaDb10_5 => "10.5",
            Self::MariaDb10_11 => "10.11",
            Self::MariaDb11_8 => "11.8",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::MySql9_7 => "LOCKSTEP_MYSQL_BIN",
            Self::MariaDb10_5 => "LOCKSTEP_MARIADB_10_5_BIN",
            Self::MariaDb10_11 => "LOCKSTEP_MARIADB_BIN",
            Self::MariaDb11_8 => "LOCKSTEP_MARIADB_11_8_BIN",
        }
    }

    /// The Debian release that has it, and the packages.
    fn packages(self) -> (&'static str, &'static [&'static str]) {
        // MariaDB's second one for the plugins.
        match self {
            Self::MySql9_7 => ("sid", &["mysql-server-core"]),
            Self::MariaDb10_5 => ("bullseye", &["mariadb-server-core-10.5", "mariadb-server-10.5"]),
            Self::MariaDb10_11 => ("bookworm", &["mariadb-server-core", "mariadb-server"]),
            Self::MariaDb11_8 => ("trixie", &["mariadb-server-core", "mariadb-server"]),
        }
    }

    fn remedy(self) -> String {
        let own = format!("{} to the directory of its program `{}`", self.variable(), self.kind().program());
        match self.kind() {
            Kind::MySql => format!("Set {own}"),
            Kind::MariaDb => format!("Install {self}, or set {own}"),
        }
    }
}

/// With the version: `MySQL 9.7`.
impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name())
    }
}

impl Kind {
    /// The server's program.
    fn program(self) -> &'static str {
        match self {
            Self::MySql => "mysqld",
            Self::MariaDb => "mariadbd",
        }
    }

    /// The lowest version that a person may put in the place of any: MySQL with two passwords for an account, MariaDB with
    /// `require_secure_transport`.
    fn least(self) -> (u32, u32) {
        match self {
            Self::MySql => (8, 0),
            Self::MariaDb => (10, 5),
        }
    }

    /// Where a distribution installs it, if it may be taken from there.
    fn installed(self) -> Option<&'static str> {
        match self {
            Self::MySql => None,
            Self::MariaDb => Some("/usr/sbin"),
        }
    }

    /// What there must be among its plugins, for the tests that install some.
    fn plugins(self) -> &'static [&'static str] {
        match self {
            Self::MySql => &["component_validate_password.so", "component_connection_control.so"],
            Self::MariaDb => &["auth_ed25519.so", "simple_password_check.so"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MySql => "MySQL",
            Self::MariaDb => "MariaDB",
        })
    }
}

/// A server's program and the files that it needs.
#[derive(Clone, Debug)]
pub struct Programs {
    kind: Kind,
    server: PathBuf,
    version: String,
    share: PathBuf,
    plugins: PathBuf,
}

/// The server's programs: the person's own, the machine's, or those that are obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none that can be used, or the machine is not one that Debian's packages
/// run on; [`Error::Command`] if a download failed.
pub fn mysql(release: Release) -> Result<Programs> {
    let kind = release.kind();
    if let Some(directory) = own(release.variable()) {
        let found = Programs::find(kind, &directory).and_then(|programs| programs.not_older_than(kind.least()));
        return found.map_err(|found| Error::Unavailable {
            what: format!("the {release} named in {}", release.variable()),
            found,
            remedy: format!("Correct {}, or unset it to have {release} obtained", release.variable()),
        });
    }
    let installed = kind.installed().and_then(|directory| {
        let programs = Programs::find(kind, Path::new(directory)).ok()?;
        (programs.number() == Some(release.number()) && programs.lacks_plugin().is_none()).then_some(programs)
    });
    installed.map_or_else(|| obtain(&Store::for_servers()?, release), Ok)
}

fn obtain(store: &Store, release: Release) -> Result<Programs> {
    let (suite, packages) = release.packages();
    let packages: Vec<String> = packages.iter().map(|&package| package.to_owned()).collect();
    let program = Path::new("usr/sbin").join(release.kind().program());
    let item = Item {
        name: &release.to_string().to_lowercase().replace(' ', "-"),
        title: &release.to_string(),
        recipe: &format!("{} of {suite} 1", packages.join(" ")),
        product: &program.display().to_string(),
    };
    let directory = store.obtain(&item, |directory| {
        let unpacked = Unpacked::new(directory, suite, &packages, &release.remedy()).inspect_err(|error| {
            if !matches!(error, Error::Unavailable { .. }) {
                progress(&format!("{release} cannot be obtained. {}", release.remedy()));
            }
        })?;
        unpacked.bind(&directory.join(&program))?;
        version(&directory.join(&program)).map(drop)
    })?;
    Programs::find(release.kind(), &directory.join("usr/sbin")).map_err(|found| Error::Unavailable {
        what: release.to_string(),
        found,
        remedy: release.remedy(),
    })
}

impl Programs {
    /// The programs of the server in `directory`, or why they cannot be used.
    fn find(kind: Kind, directory: &Path) -> Result<Self, String> {
        let shown = directory.display();
        let server = directory.join(kind.program());
        if !server.is_file() {
            return Err(format!("{shown} has no program `{}`", kind.program()));
        }
        if !reachable(directory) {
            return Err(format!("{shown} is not reachable for the account that servers of root run under"));
        }
        let base = directory.parent().unwrap_or(directory);
        let among = |places: &[&str], file: &str| {
            let found = places.iter().map(|place| base.join(place)).find(|place| place.join(file).exists());
            found.ok_or_else(|| format!("{} has {file} in none of {}", base.display(), places.join(", ")))
        };
        let share = among(&["share/mysql", "share/mariadb", "share"], "english/errmsg.sys")?;
        let plugins = among(&["lib/mysql/plugin", "lib64/mysql/plugin", "lib/plugin", "lib64/plugin"], "")?;
        let version = version(&server).map_err(|error| error.to_string())?;
        Ok(Self { kind, server, version, share, plugins })
    }

    fn not_older_than(self, least: (u32, u32)) -> Result<Self, String> {
        match self.number() {
            Some(found) if found >= least => Ok(self),
            _ => Err(format!(
                "{} is of version {:?}, and at least {}.{} is needed",
                self.server.display(),
                self.version,
                least.0,
                least.1
            )),
        }
    }

    fn number(&self) -> Option<(u32, u32)> {
        let mut parts = self.version.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }

    fn lacks_plugin(&self) -> Option<&'static str> {
        self.kind.plugins().iter().find(|plugin| !self.plugins.join(plugin).is_file()).copied()
    }

    /// The server's program.
    pub fn server(&self) -> &Path {
        &self.server
    }

    /// The version as the server itself tells it, e.g. `9.7.4-2` or `10.11.18-MariaDB-0+deb12u1`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The server's settings for where its files lie: it was built for another place.
    pub(crate) fn places(&self) -> [(&'static str, PathBuf); 3] {
        [
            ("lc_messages_dir", self.share.clone()),
            ("character_sets_dir", self.share.join("charsets")),
            ("plugin_dir", self.plugins.clone()),
        ]
    }
}

fn version(server: &Path) -> Result<String> {
    let said = run(Command::new(server).args(["--no-defaults", "--version"]).env("LC_ALL", "C"), VERSION_LIMIT)?;
    parse_version(&said).map(str::to_owned).ok_or_else(|| Error::Unavailable {
        what: format!("the version of {}", server.display()),
        found: format!("it says {:?}", said.trim()),
        remedy: "Take another one".to_owned(),
    })
}

/// The version in what `mysqld --version` says, e.g. `/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))`.
fn parse_version(said: &str) -> Option<&str> {
    said.split_once(" Ver ")?.1.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn programs(kind: Kind, version: &str) -> Programs {
        Programs {
            kind,
            server: PathBuf::from("/s/mysqld"),
            version: version.to_owned(),
            share: PathBuf::new(),
            plugins: PathBuf::new(),
        }
    }

    #[test]
    fn the_version_is_read_from_what_the_server_says() {
        let mysql = "/r/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))\n";
        assert_eq!(parse_version(mysql), Some("9.7.4-2"));
        let mariadb = "mariadbd  Ver 10.11.18-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)\n";
        assert_eq!(parse_version(mariadb), Some("10.11.18-MariaDB-0+deb12u1"));
        assert_eq!(programs(Kind::MariaDb, "10.11.18-MariaDB-0+deb12u1").number(), Some((10, 11)));
        assert_eq!(parse_version("postgres (PostgreSQL) 15"), None);
    }

    #[test]
    fn an_old_version_is_refused_and_a_newer_one_is_not() {
        let error = programs(Kind::MariaDb, "10.4.34-MariaDB").not_older_than(Kind::MariaDb.least()).unwrap_err();
        assert!(error.contains("10.4.34") && error.contains("at least 10.5"), "{error}");
        assert!(programs(Kind::MySql, "8.0.36").not_older_than(Kind::MySql.least()).is_ok());
        assert!(programs(Kind::MySql, "unknown").not_older_than(Kind::MySql.least()).is_err());
    }

    #[test]
    fn a_directory_without_the_program_or_its_files_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let bin = directory.path().join("bin");
        fs::create_dir(&bin).unwrap();
        let error = Programs::find(Kind::MySql, &bin).unwrap_err();
        assert!(error.contains("no program `mysqld`") && !error.contains('\n'), "{error}");
        fs::write(bin.join("mysqld"), "").unwrap();
        let error = Programs::find(Kind::MySql, &bin).unwrap_err();
        assert!(error.contains("english/errmsg.sys") && !error.contains('\n'), "{error}");
    }

    /// Obtains each even where the machine has it: a machine that has none is the one that needs it.
    #[test]
    fn every_release_can_be_obtained_with_plugins() {
        for release in Release::ALL {
            let programs = obtain(&Store::for_servers().unwrap(), release).unwrap();
            assert_eq!(programs.number(), Some(release.number()), "{programs:?}");
            assert_eq!(programs.lacks_plugin(), None);
        }
    }
}
