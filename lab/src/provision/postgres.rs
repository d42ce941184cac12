//! PostgreSQL's programs.

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

pub(crate) use data::{SUPERUSER, postgres_data};

const VERSION_LIMIT: Duration = Duration::from_secs(10);

/// What this project runs of a PostgreSQL: the server, and what makes a cluster and a standby.
const PROGRAMS: [&str; 3] = ["postgres", "initdb", "pg_basebackup"];
/// What the runbooks, which the tests play, use beside them.
const CLIENT: &str = "psql";

/// A major version of PostgreSQL that tests run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Version {
    /// The oldest. Debian's is 13.16, from before the minors of November 2024: `DISCARD ALL` ends a role's `SET role` there.
    V13,
    /// The usual one: any CREATEROLE role may grant any role that is not a superuser.
    #[default]
    V15,
    /// With the rules of 16, where granting a role takes ADMIN OPTION on it.
    V17,
    /// The newest.
    V18,
}

impl Version {
    /// All of them, the oldest first.
    pub const ALL: [Self; 4] = [Self::V13, Self::V15, Self::V17, Self::V18];

    /// The version for whoever asks for none: the one that `LOCKSTEP_POSTGRES` names, or 15.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the variable names none of these versions.
    pub fn chosen() -> Result<Self> {
        named("LOCKSTEP_POSTGRES", &Self::ALL, Self::name)
    }

    /// The major version as a number.
    pub fn number(self) -> u32 {
        match self {
            Self::V13 => 13,
            Self::V15 => 15,
            Self::V17 => 17,
            Self::V18 => 18,
        }
    }

    /// The major version as a text, as commands and `LOCKSTEP_POSTGRES` write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::V13 => "13",
            Self::V15 => "15",
            Self::V17 => "17",
            Self::V18 => "18",
        }
    }

    /// Whether granting a role takes ADMIN OPTION on it, and memberships have options (PostgreSQL 16 and later).
    pub fn grants_have_options(self) -> bool {
        self.number() >= 16
    }

    /// The Debian release that has it.
    fn suite(self) -> &'static str {
        match self {
            Self::V13 => "bullseye",
            Self::V15 => "bookworm",
            Self::V17 => "trixie",
            Self::V18 => "sid",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::V13 => "LOCKSTEP_POSTGRES_13_BIN",
            Self::V15 => "LOCKSTEP_POSTGRES_BIN",
            Self::V17 => "LOCKSTEP_POSTGRES_17_BIN",
            Self::V18 => "LOCKSTEP_POSTGRES_18_BIN",
        }
    }

    /// The lowest version that may replace it: for 17 and 18, the first with the same rules.
    fn least(self) -> u32 {
        match self {
            Self::V13 | Self::V15 => 10,
            Self::V17 | Self::V18 => 16,
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PostgreSQL {}", self.number())
    }
}

/// The directory of PostgreSQL's programs: the person's own, the machine's, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none that can be used, or the machine is not one that Debian's packages
/// run on; [`Error::Command`] if a download failed.
pub fn postgres(version: Version) -> Result<PathBuf> {
    if let Some(directory) = own(version.variable()) {
        return check_own(version, &directory).map(|()| directory);
    }
    let installed = PathBuf::from(format!("/usr/lib/postgresql/{}/bin", version.number()));
    if PROGRAMS.iter().all(|program| installed.join(program).is_file()) {
        return Ok(installed);
    }
    obtain(&Store::for_servers()?, version)
}

fn check_own(version: Version, directory: &Path) -> Result<()> {
    let unusable = |found: String| Error::Unavailable {
        what: format!("the {version} named in {}", version.variable()),
        found,
        remedy: format!("Correct {}, or unset it to have {version} obtained", version.variable()),
    };
    let shown = directory.display();
    if let Some(missing) = PROGRAMS.iter().find(|program| !directory.join(program).is_file()) {
        return Err(unusable(format!("{shown} has no program `{missing}`")));
    }
    if !reachable(directory) {
        return Err(unusable(format!("{shown} is not reachable for the account that servers of root run under")));
    }
    let said = run(Command::new(directory.join("postgres")).arg("--version"), VERSION_LIMIT)?;
    match major(&said) {
        Some(found) if found >= version.least() => Ok(()),
        _ => Err(unusable(format!("{shown} has {:?}, and at least {} is needed", said.trim(), version.least()))),
    }
}

/// The version in what `postgres --version` says, e.g. `postgres (PostgreSQL) 18beta1 (Debian …)`.
fn version(said: &str) -> Option<&str> {
    said.split_once("(PostgreSQL) ")?.1.split_whitespace().next()
}

fn major(said: &str) -> Option<u32> {
    let digits: String = version(said)?.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn obtain(store: &Store, version: Version) -> Result<PathBuf> {
    let number = version.number();
    let bin = format!("usr/lib/postgresql/{number}/bin");
    let item = Item {
        name: &format!("postgresql-{number}"),
        title: &version.to_string(),
        recipe: &format!("postgresql-{number} of {} 2", version.suite()),
        product: &format!("{bin}/postgres"),
    };
    let remedy = format!(
        "Install PostgreSQL {number}, or set {} to the directory of its programs `postgres`, `initdb` and `pg_basebackup`",
        version.variable()
    );
    let directory = store.obtain(&item, |directory| {
        let packages = [format!("postgresql-{number}"), format!("postgresql-client-{number}")];
        let unpacked = Unpacked::new(directory, version.suite(), &packages, &remedy).inspect_err(|error| {
            if !matches!(error, Error::Unavailable { .. }) {
                progress(&format!("{version} cannot be obtained. {remedy}"));
            }
        })?;
        for program in PROGRAMS.into_iter().chain([CLIENT]) {
            let program = directory.join(&bin).join(program);
            unpacked.bind(&program)?;
            run(Command::new(&program).arg("--version"), VERSION_LIMIT)?;
        }
        Ok(())
    })?;
    Ok(directory.join(bin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_major_version_is_read_from_what_the_server_says() {
        assert_eq!(major("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta1\n"), Some(18));
        assert_eq!(major("mysqld Ver 9.7"), None);
        assert_eq!(version("postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)\n"), Some("15.13"));
    }

    #[test]
    fn a_directory_without_the_programs_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let error = check_own(Version::V18, directory.path()).unwrap_err().to_string();
        assert!(error.contains("LOCKSTEP_POSTGRES_18_BIN") && error.contains("no program `postgres`"), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }

    /// Obtains each version even where the machine has it: a machine that has none is the one that needs it.
    #[test]
    fn every_version_can_be_obtained() {
        for wanted in Version::ALL {
            let bin = obtain(&Store::for_servers().unwrap(), wanted).unwrap();
            for program in ["postgres", CLIENT] {
                let said = run(Command::new(bin.join(program)).arg("--version"), VERSION_LIMIT).unwrap();
                assert_eq!(major(&said), Some(wanted.number()), "{said}");
            }
        }
    }
}
