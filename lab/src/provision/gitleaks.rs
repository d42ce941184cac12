//! gitleaks, which finds credentials in repositories.

use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Result, own_program};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SUITE: &str = "sid";
const VERSION_LIMIT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "usr/bin/gitleaks";

/// gitleaks 8: the person's own, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`](super::Error::Unavailable) if the variable names none, or the machine is not one that Debian's packages run on;
/// [`Error::Command`](super::Error::Command) if a download failed.
pub fn gitleaks() -> Result<PathBuf> {
    if let Some(own) = own_program("LOCKSTEP_GITLEAKS")? {
        return Ok(own);
    }
    let item =
        Item { name: "gitleaks", title: "gitleaks", recipe: &format!("gitleaks of {SUITE} 1"), product: PROGRAM };
    let directory = Store::of_this_build().obtain(&item, |directory| {
        let remedy = "Install gitleaks, or set LOCKSTEP_GITLEAKS to its program";
        let packages = ["gitleaks".to_owned()];
        let unpacked = Unpacked::new(directory, SUITE, &packages, remedy)?;
        let program = directory.join(PROGRAM);
        unpacked.bind(&program)?;
        run(Command::new(program).arg("version"), VERSION_LIMIT).map(drop)
    })?;
    Ok(directory.join(PROGRAM))
}
