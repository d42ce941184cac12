//! Debian's jq, openssl and curl, which the documentation's commands use, and pip for a Python that comes without.

use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A release whose pip also runs in the Pythons that came after Debian 12's.
const SUITE: &str = "trixie";
/// Each program with the argument that has it say its version.
const PROGRAMS: [(&str, &str); 3] = [("jq", "--version"), ("openssl", "version"), ("curl", "--version")];
const VERSION_LIMIT: Duration = Duration::from_secs(10);
const WHEELS: &str = "usr/share/python-wheels";

/// A directory with `jq`, `openssl` and `curl`; `None` if the machine has all of them.
///
/// # Errors
/// [`Error::Unavailable`] if the machine is not one that Debian's packages run on; [`Error::Command`] if a download failed.
pub fn tools() -> Result<Option<PathBuf>> {
    let missing = |(program, version): (&str, _)| run(Command::new(program).arg(version), VERSION_LIMIT).is_err();
    PROGRAMS.into_iter().any(missing).then(|| Ok(obtain(&Store::of_this_build())?.join("usr/bin"))).transpose()
}

/// The wheel of pip.
pub(super) fn pip() -> Result<PathBuf> {
    wheel(&obtain(&Store::of_this_build())?)
}

fn obtain(store: &Store) -> Result<PathBuf> {
    let item = Item {
        name: "tools",
        title: "jq, openssl, curl and pip",
        recipe: &format!("jq openssl curl python3-pip-whl of {SUITE} 1"),
        product: "usr/bin/openssl",
    };
    store.obtain(&item, |directory| {
        let packages = ["jq", "openssl", "curl", "python3-pip-whl"].map(str::to_owned);
        let remedy = "Install them: jq, openssl, curl and, for Python, python3-venv";
        let unpacked = Unpacked::new(directory, SUITE, &packages, remedy)?;
        for (program, version) in PROGRAMS {
            let program = directory.join("usr/bin").join(program);
            unpacked.bind(&program)?;
            run(Command::new(&program).arg(version), VERSION_LIMIT)?;
        }
        wheel(directory).map(drop)
    })
}

fn wheel(directory: &Path) -> Result<PathBuf> {
    let wheels = directory.join(WHEELS);
    let mut entries =
        fs::read_dir(&wheels).map_err(Error::io("list", &wheels))?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.find(|path| path.extension().is_some_and(|it| it == "whl")).ok_or_else(|| Error::Unavailable {
        what: "pip".to_owned(),
        found: format!("{} has no wheel", wheels.display()),
        remedy: "This is a bug of the lab".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obtains them even where the machine has some: a machine that has none is the one that needs them.
    #[test]
    fn they_can_be_obtained() {
        let directory = obtain(&Store::of_this_build()).unwrap();
        for (program, says) in [("jq", "jq-1."), ("openssl", "OpenSSL 3."), ("curl", "curl 8.")] {
            let version = PROGRAMS.iter().find(|(name, _)| *name == program).unwrap().1;
            let said = run(Command::new(directory.join("usr/bin").join(program)).arg(version), VERSION_LIMIT).unwrap();
            assert!(said.starts_with(says), "{said}");
        }
        assert!(wheel(&directory).unwrap().is_file());
    }
}
