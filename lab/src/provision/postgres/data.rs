//! A new cluster as `initdb` makes it, to be copied for each throwaway server.

use crate::provision::account::Account;
use crate::provision::command::run;
use crate::provision::store::{Item, Store};
use crate::provision::{Error, Result};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The superuser of every cluster. It has no password yet, and every login is rejected until `pg_hba.conf` is replaced.
pub(crate) const SUPERUSER: &str = "postgres";

/// Usually one second; two processors with a compiler at work on both need a multiple of it.
const LIMIT: Duration = Duration::from_secs(120);

/// The data directory of a new cluster, made once for each version of the server whose programs are in `bin`.
///
/// # Errors
/// [`Error::Command`] if `initdb` fails.
pub(crate) fn postgres_data(bin: &Path) -> Result<PathBuf> {
    let said = run(Command::new(bin.join("postgres")).arg("--version"), super::VERSION_LIMIT)?;
    let version = super::version(&said).unwrap_or("unknown");
    let item = Item {
        name: &format!("postgresql-{version}-data"),
        title: &format!("A data directory of PostgreSQL {version}"),
        recipe: &format!("{} 1", said.trim()),
        product: "data/PG_VERSION",
    };
    let directory = Store::for_servers()?.obtain(&item, |directory| {
        let data = directory.join("data");
        fs::create_dir(&data).map_err(Error::io("create", &data))?;
        let mut initdb = Command::new(bin.join("initdb"));
        initdb.current_dir(&data).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if let Some(account) = Account::for_servers() {
            chown(&data, Some(account.uid), Some(account.gid)).map_err(Error::io("change the owner of", &data))?;
            account.applies_to(&mut initdb);
        }
        initdb.arg("--pgdata").arg(&data).args(["--username", SUPERUSER, "--auth=reject"]);
        run(initdb.args(["--encoding=UTF8", "--no-locale", "--no-sync"]), LIMIT).map(drop)
    })?;
    Ok(directory.join("data"))
}
