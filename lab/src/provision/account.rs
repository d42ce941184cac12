//! The account that database servers run under.
//!
//! PostgreSQL and MySQL refuse to run as root. When the lab itself is root (as in many CI containers), servers run under
//! an unprivileged account, and that account must be able to reach the programs and the data: a clone below `/root`
//! (mode 0700) is out of its reach, so [`reachable`] tells when to go to a temporary directory instead.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// `nobody` on Debian and everything derived from it (base-passwd).
const NOBODY: u32 = 65534;

/// An unprivileged account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl Account {
    /// The account that a server has to run under, or `None` if that is the one that runs the lab.
    pub(crate) fn for_servers() -> Option<Self> {
        is_root().then(|| {
            let accounts = fs::read_to_string("/etc/passwd").unwrap_or_default();
            // `postgres` first: `nobody` may own other processes, which could then read the server's memory.
            find(&accounts, "postgres").unwrap_or(Self { uid: NOBODY, gid: NOBODY })
        })
    }

    /// Makes the program run under this account, without root's supplementary groups.
    pub(crate) fn applies_to(self, command: &mut Command) {
        command.uid(self.uid).gid(self.gid);
    }
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// Whether a server can reach files in `directory`: always, unless it runs under another account than the lab.
pub(crate) fn reachable(directory: &Path) -> bool {
    if !is_root() {
        return true;
    }
    let Ok(directory) = directory.canonicalize() else { return false };
    directory.ancestors().all(|part| fs::metadata(part).is_ok_and(|data| data.permissions().mode() & 0o001 != 0))
}

/// A directory for temporary files that a server can reach: `TMPDIR` if it will do.
pub(crate) fn temporary_directory() -> PathBuf {
    let usual = std::env::temp_dir();
    if reachable(&usual) { usual } else { PathBuf::from("/var/tmp") }
}

/// The account of that name in the text of an `/etc/passwd`.
fn find(accounts: &str, name: &str) -> Option<Account> {
    accounts.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then_some(())?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (uid != 0).then_some(Account { uid, gid })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_found_by_its_whole_name_and_never_as_root() {
        let accounts = "root:x:0:0::/:/bin/sh\npostgresql:x:7:8::/:\npostgres:x:101:104:,,:/:\nfake:x:0:5::/:\n";
        assert_eq!(find(accounts, "postgres"), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(find(accounts, "fake"), None);
        assert_eq!(find(accounts, "absent"), None);
    }

    #[test]
    fn a_directory_below_a_private_one_is_out_of_reach_for_a_server_of_root() {
        let outer = tempfile::tempdir().unwrap();
        let inner = outer.path().join("inner");
        fs::create_dir(&inner).unwrap();
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(reachable(&inner), !is_root());
        fs::set_permissions(outer.path(), fs::Permissions::from_mode(0o711)).unwrap();
        fs::set_permissions(&inner, fs::Permissions::from_mode(0o755)).unwrap();
        assert!(reachable(&inner));
    }
}
