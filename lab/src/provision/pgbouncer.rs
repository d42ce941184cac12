//! PgBouncer, a pooler between applications and PostgreSQL.

use super::account::reachable;
use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result, own_program};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

const SUITE: &str = "bookworm";
const VERSION_LIMIT: Duration = Duration::from_secs(10);
const PROGRAM: &str = "usr/sbin/pgbouncer";

/// PgBouncer's program: the person's own, the machine's, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none that can be used, or the machine is not one that Debian's packages
/// run on; [`Error::Command`] if a download failed.
pub fn pgbouncer() -> Result<PathBuf> {
    if let Some(program) = own_program("LOCKSTEP_PGBOUNCER")? {
        if !program.parent().is_some_and(reachable) {
            return Err(Error::Unavailable {
                what: "the program named in LOCKSTEP_PGBOUNCER".to_owned(),
                found: format!("{} is not reachable for the account that servers of root run under", program.display()),
                remedy: "Correct the variable, or unset it to have PgBouncer obtained".to_owned(),
            });
        }
        return Ok(program);
    }
    let installed = PathBuf::from("/").join(PROGRAM);
    if installed.is_file() { Ok(installed) } else { obtain(&Store::for_servers()?) }
}

fn obtain(store: &Store) -> Result<PathBuf> {
    let item =
        Item { name: "pgbouncer", title: "PgBouncer", recipe: &format!("pgbouncer of {SUITE} 1"), product: PROGRAM };
    let directory = store.obtain(&item, |directory| {
        let remedy = "Install PgBouncer, or set LOCKSTEP_PGBOUNCER to its program";
        let unpacked = Unpacked::new(directory, SUITE, &["pgbouncer".to_owned()], remedy)?;
        let program = directory.join(PROGRAM);
        unpacked.bind(&program)?;
        run(Command::new(program).arg("--version"), VERSION_LIMIT).map(drop)
    })?;
    Ok(directory.join(PROGRAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Obtains it even where the machine has one: a machine that has none is the one that needs it.
    #[test]
    fn it_can_be_obtained() {
        let program = obtain(&Store::for_servers().unwrap()).unwrap();
        let said = run(Command::new(program).arg("--version"), VERSION_LIMIT).unwrap();
        assert!(said.starts_with("PgBouncer 1."), "{said}");
    }
}
