//! Pebble, the test server of the protocol ACME, and the name server that goes with it.

use super::account::reachable;
use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result, own};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The first release of Debian whose Pebble has renewal information (RFC 9773) and profiles.
const SUITE: &str = "sid";
const VARIABLE: &str = "LOCKSTEP_PEBBLE_BIN";
const VERSION_LIMIT: Duration = Duration::from_secs(20);
const SERVER: &str = "pebble";
const NAMES: &str = "pebble-challtestsrv";

/// Pebble's two programs.
#[derive(Clone, Debug)]
pub struct Pebble {
    /// The ACME server.
    pub server: PathBuf,
    /// The name server, which answers what it was told over HTTP.
    pub names: PathBuf,
}

/// Pebble 2.10: the person's own, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none, or the machine is not one that Debian's packages run on; [`Error::Command`] if a
/// download failed.
pub fn pebble() -> Result<Pebble> {
    let remedy =
        format!("Set {VARIABLE} to a directory with the programs {SERVER} and {NAMES}, of version 2.8 or later");
    let unavailable = |found| Error::Unavailable { what: "Pebble".to_owned(), found, remedy: remedy.clone() };
    if let Some(directory) = own(VARIABLE) {
        return Pebble::find(&directory).map_err(unavailable);
    }
    let item = Item {
        name: "pebble-2.10",
        title: "Pebble 2.10",
        recipe: &format!("{SERVER} of {SUITE} 1"),
        product: "usr/bin/pebble",
    };
    let root = Store::for_servers()?.obtain(&item, |root| {
        let unpacked = Unpacked::new(root, SUITE, &[SERVER.to_owned()], &remedy)?;
        let found = Pebble::find(&root.join("usr/bin")).map_err(unavailable)?;
        unpacked.bind(&found.server)?;
        unpacked.bind(&found.names)?;
        run(Command::new(&found.server).arg("-version"), VERSION_LIMIT).map(drop)
    })?;
    Pebble::find(&root.join("usr/bin")).map_err(unavailable)
}

impl Pebble {
    fn find(directory: &Path) -> Result<Self, String> {
        let found = Self { server: directory.join(SERVER), names: directory.join(NAMES) };
        if let Some(missing) = [&found.server, &found.names].into_iter().find(|program| !program.is_file()) {
            return Err(format!("{} is not a file", missing.display()));
        }
        if !reachable(directory) {
            let directory = directory.display();
            return Err(format!("{directory} is not reachable for the account that servers of root run under"));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_obtained() {
        let said = run(Command::new(pebble().unwrap().server).arg("-version"), VERSION_LIMIT).unwrap();
        assert!(said.starts_with("Pebble version"), "{said}");
    }

    #[test]
    fn a_directory_without_it_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let error = Pebble::find(directory.path()).unwrap_err();
        assert!(error.ends_with("pebble is not a file") && !error.contains('\n'), "{error}");
    }
}
