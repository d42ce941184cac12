//! A data directory as the server makes it, to be copied for each throwaway server.

use super::{Kind, Programs};
use crate::provision::account::Account;
use crate::provision::command::{run, run_with_input};
use crate::provision::store::{Item, Store};
use crate::provision::{Error, Result};
use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Usually three seconds; two processors with a compiler at work on both need a multiple of it.
const LIMIT: Duration = Duration::from_secs(120);

/// What `mariadb-install-db` feeds the server with (MariaDB KB, "mariadb-install-db"), but for the help texts and the `sys`
/// schema. The script itself finds its files, and works out its host's name, in more ways than are good for it.
///
/// 11.8 calls those that begin with `mysql_` by other names.
const MARIADB_SCRIPTS: [&str; 4] = [
    "mysql_system_tables.sql",
    "mysql_performance_tables.sql",
    "mysql_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
];
/// The account `root` gets a password, instead of access for the machine's `root` (`@auth_root_socket`).
const MARIADB_BEFORE: &str = "CREATE DATABASE mysql;\nUSE mysql;\nSET @auth_root_socket = NULL;\n";
/// `root` without a password from 127.0.0.1 and under this machine's own name would take precedence over `root@'%'`.
const MARIADB_AFTER: &str = "DELETE FROM global_priv WHERE User = 'root' AND Host <> 'localhost';\n\
    DELETE FROM proxies_priv WHERE Host <> 'localhost';\n";

impl Programs {
    /// A data directory to copy, without a password for `root@localhost`, the only account that can log in. It is made
    /// once for each version: that takes seconds, and a copy a moment.
    ///
    /// # Errors
    /// [`Error::Command`] if the server does not make one.
    pub(crate) fn data_directory(&self) -> Result<PathBuf> {
        let (kind, version) = (self.kind, self.version());
        let item = Item {
            name: &format!("{}-{version}-data", kind.program()),
            title: &format!("A data directory of {} {version}", kind.program()),
            recipe: &format!("{version} 2"),
            product: "data/ibdata1",
        };
        let directory = Store::for_servers()?.obtain(&item, |directory| {
            let data = directory.join("data");
            fs::create_dir(&data).map_err(Error::io("create", &data))?;
            if let Some(Account { uid, gid }) = Account::for_servers() {
                chown(&data, Some(uid), Some(gid)).map_err(Error::io("change the owner of", &data))?;
            }
            match kind {
                Kind::MySql => initialize(self, &data),
                Kind::MariaDb => bootstrap(self, &data),
            }
        })?;
        Ok(directory.join("data"))
    }
}

/// The server with the settings that both ways need; `--no-defaults` has to be the first one.
fn server(programs: &Programs, data: &Path) -> Command {
    let mut command = Command::new(programs.server());
    command.current_dir(data).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    if let Some(account) = Account::for_servers() {
        account.applies_to(&mut command);
    }
    // In the usual place for temporary tables it would remove other servers'.
    command.arg("--no-defaults").arg(setting("datadir", data)).arg(setting("tmpdir", data));
    for (name, place) in programs.places() {
        command.arg(setting(name, &place));
    }
    command
}

fn setting(name: &str, value: &Path) -> String {
    format!("--{name}={}", value.display())
}

/// Without TLS's keys, which every server gets for itself. Those of `caching_sha2_password` stay: making them takes longer
/// than starting the server.
fn initialize(programs: &Programs, data: &Path) -> Result<()> {
    let mut server = server(programs, data);
    server.args(["--initialize-insecure", "--auto-generate-certs=OFF", "--secure-file-priv=NULL"]);
    server.args(["--loose-innodb-flush-method=nosync", "--innodb-use-native-aio=OFF"]);
    server.arg("--loose-innodb-redo-log-capacity=32M");
    run(&mut server, LIMIT).map(drop)
}

fn bootstrap(programs: &Programs, data: &Path) -> Result<()> {
    let mut text = MARIADB_BEFORE.to_owned();
    for script in MARIADB_SCRIPTS {
        let renamed = programs.share.join(script.replace("mysql_", "mariadb_"));
        let path = if renamed.is_file() { renamed } else { programs.share.join(script) };
        text.push_str(&fs::read_to_string(&path).map_err(Error::io("read", &path))?);
    }
    text.push_str(MARIADB_AFTER);
    let mut server = server(programs, data);
    server.args(["--bootstrap", "--skip-grant-tables", "--innodb-use-native-aio=OFF", "--innodb-log-file-size=4M"]);
    run_with_input(&mut server, &text, LIMIT).map(drop)
}
