//! A server's private directory, and the watchdog that removes it with everything that runs in it.

use super::Result;
use crate::provision::Error;
use crate::provision::account::{Account, temporary_directory};
use crate::provision::command::{run, run_with_input};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, chown};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// For what makes a server's files. Usually under a second; a slow machine with a compiler at work on all its processors
/// needs many times that, and only what hangs should be cut off.
const SET_UP_LIMIT: Duration = Duration::from_secs(180);

/// Runs until its standard input ends. A line there means that the lab has cleaned up. An end without a line means that the lab
/// was killed. Then the watchdog stops the server's processes. It recognises them by their working directory, because another
/// process may have the server's id by now. SIGQUIT is PostgreSQL's immediate shutdown; MySQL treats it as any other.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
read -r _ && exit
in_directory() {
    for process in /proc/[0-9]*; do
        case "$(readlink "$process/cwd")/" in "$1"/*) echo "${process#/proc/}";; esac
    done
}
for attempt in 1 2 3 4 5 6 7 8 9 10; do
    signal=QUIT; [ "$attempt" -gt 8 ] && signal=KILL
    left=$(in_directory "$1")
    [ -z "$left" ] && break
    kill -s "$signal" $left
    sleep 0.3
done
rm -rf -- "$1"
"#;

/// A private directory of one server. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Home {
    directory: TempDir,
    account: Option<Account>,
    // Last, because fields are dropped in order: it watches until the directory is gone.
    _watchdog: Watchdog,
}

impl Home {
    /// A new directory, `kind` being part of its name.
    pub(super) fn new(kind: &str) -> Result<Self> {
        let parent = temporary_directory();
        let parent = parent.canonicalize().map_err(Error::io("find", &parent))?;
        let directory = tempfile::Builder::new()
            .prefix(&format!("lockstep-{kind}-"))
            .tempdir_in(&parent)
            .map_err(Error::io("create a directory in", &parent))?;
        let watchdog = Watchdog::over(directory.path())?;
        let home = Self { directory, account: Account::for_servers(), _watchdog: watchdog };
        home.give_away(home.path())?;
        Ok(home)
    }

    pub(super) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes a file that only the server's account can read, replacing what was there.
    pub(super) fn write_private(&self, path: &Path, content: &str) -> Result<()> {
        let mut file = self.open(path, OpenOptions::new().write(true).create(true).truncate(true))?;
        Ok(file.write_all(content.as_bytes()).map_err(Error::io("write", path))?)
    }

    /// Opens a log file to append to.
    pub(super) fn log(&self, name: &str) -> Result<(PathBuf, File)> {
        let path = self.path().join(name);
        let file = self.open(&path, OpenOptions::new().append(true).create(true))?;
        Ok((path, file))
    }

    /// What such a file holds so far; nothing if it is not there yet.
    pub(super) fn read_log(&self, name: &str) -> Result<Vec<u8>> {
        let path = self.path().join(name);
        match fs::read(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            result => Ok(result.map_err(Error::io("read", &path))?),
        }
    }

    fn open(&self, path: &Path, options: &mut OpenOptions) -> Result<File> {
        let file = options.mode(0o600).open(path).map_err(Error::io("open", path))?;
        self.give_away(path)?;
        Ok(file)
    }

    fn give_away(&self, path: &Path) -> Result<()> {
        let Some(Account { uid, gid }) = self.account else { return Ok(()) };
        Ok(chown(path, Some(uid), Some(gid)).map_err(Error::io("change the owner of", path))?)
    }

    /// A program that runs in this directory, under the server's account, with nothing of the lab's environment: that may
    /// hold `PG…` and `MYSQL_…` variables, which mean something to the program, and credentials.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.path()).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
        if let Some(account) = self.account {
            account.applies_to(&mut command);
        }
        command
    }

    /// Runs such a program to its end.
    pub(super) fn run(&self, command: &mut Command) -> Result<String> {
        Ok(run(command, SET_UP_LIMIT)?)
    }

    /// The same for a program that reads `input` from its standard input.
    pub(super) fn run_with_input(&self, command: &mut Command, input: &str) -> Result<String> {
        Ok(run_with_input(command, input, SET_UP_LIMIT)?)
    }

    /// Copies a data directory that was prepared for many servers. Much of it is empty, and a file system that shares
    /// blocks copies nothing.
    pub(super) fn copy(&self, prepared: &Path, data: &Path) -> Result<()> {
        let mut copy = self.command(Path::new("cp"));
        copy.args(["--recursive", "--sparse=always", "--reflink=auto"]).arg(prepared).arg(data);
        self.run(&mut copy).map(drop)
    }
}

#[derive(Debug)]
struct Watchdog(Child);

impl Watchdog {
    fn over(directory: &Path) -> Result<Self> {
        // Its own group: the terminal's Ctrl-C is for the lab, which then cleans up and dismisses it.
        let child = Command::new("sh")
            .args(["-c", WATCHDOG, "lockstep-watchdog"])
            .arg(directory)
            .current_dir("/")
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(Error::io("start a watchdog over", directory))?;
        Ok(Self(child))
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        // Without the line it would do the same work once more, and harmlessly.
        if let Some(mut stdin) = self.0.stdin.take() {
            let _ = stdin.write_all(b"done\n");
        }
        let _ = self.0.wait();
    }
}
