//! nginx, a web server that ends TLS.

use super::account::reachable;
use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result, own_program};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SUITE: &str = "bookworm";
const VARIABLE: &str = "LOCKSTEP_NGINX";
const VERSION_LIMIT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "usr/sbin/nginx";

/// nginx's program: the person's own, the machine's, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none that can be used, or the machine is not one that Debian's packages
/// run on; [`Error::Command`] if a download failed.
pub fn nginx() -> Result<PathBuf> {
    if let Some(program) = own_program(VARIABLE)? {
        if !program.parent().is_some_and(reachable) {
            return Err(Error::Unavailable {
                what: format!("the program named in {VARIABLE}"),
                found: format!("{} is not reachable for the account that servers of root run under", program.display()),
                remedy: "Correct the variable, or unset it to have nginx obtained".to_owned(),
            });
        }
        return Ok(program);
    }
    let installed = PathBuf::from("/").join(PROGRAM);
    if installed.is_file() { Ok(installed) } else { obtain(&Store::for_servers()?) }
}

fn obtain(store: &Store) -> Result<PathBuf> {
    let item = Item { name: "nginx", title: "nginx", recipe: &format!("nginx of {SUITE} 1"), product: PROGRAM };
    let directory = store.obtain(&item, |directory| {
        let remedy = format!("Install nginx, or set {VARIABLE} to its program");
        let unpacked = Unpacked::new(directory, SUITE, &["nginx".to_owned()], &remedy)?;
        let program = directory.join(PROGRAM);
        unpacked.bind(&program)?;
        run(Command::new(program).arg("-v"), VERSION_LIMIT).map(drop)
    })?;
    Ok(directory.join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obtains it even where the machine has one: a machine that has none is the one that needs it.
    #[test]
    fn it_can_be_obtained() {
        assert!(obtain(&Store::for_servers().unwrap()).unwrap().is_file());
    }
}
