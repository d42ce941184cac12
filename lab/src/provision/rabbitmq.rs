//! RabbitMQ's server, with the Erlang that it runs in.

use super::account::reachable;
use super::apt::Unpacked;
use super::command::run;
use super::store::{Item, Store};
use super::{Error, Result, own};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

const SUITE: &str = "bookworm";
const VARIABLE: &str = "LOCKSTEP_RABBITMQ_ROOT";
const VERSION_LIMIT: Duration = Duration::from_secs(20);
/// The server, and the parts of Erlang that it depends on: Debian has a package for each.
const PACKAGES: [&str; 18] = [
    "rabbitmq-server",
    "erlang-asn1",
    "erlang-base",
    "erlang-crypto",
    "erlang-eldap",
    "erlang-ftp",
    "erlang-inets",
    "erlang-mnesia",
    "erlang-os-mon",
    "erlang-parsetools",
    "erlang-public-key",
    "erlang-runtime-tools",
    "erlang-snmp",
    "erlang-ssl",
    "erlang-syntax-tools",
    "erlang-tftp",
    "erlang-tools",
    "erlang-xmerl",
];
/// Where Debian's Erlang expects itself.
const USUAL_ROOT: &str = "/usr/lib/erlang";
/// What is started, and what that starts.
const PROGRAMS: [&str; 5] = ["beam.smp", "epmd", "erlexec", "erl_child_setup", "inet_gethost"];

/// Where RabbitMQ and its Erlang are.
#[derive(Clone, Debug)]
pub struct RabbitMq {
    /// The directory of Erlang, with `bin` and `erts-…`.
    erlang: PathBuf,
    /// The directory of Erlang's programs.
    programs: PathBuf,
    /// The directory of RabbitMQ, with `sbin` and `plugins`.
    home: PathBuf,
}

/// RabbitMQ 3.10: the person's own, or one that is obtained from Debian.
///
/// # Errors
/// [`Error::Unavailable`] if the variable names none, or the machine is not one that Debian's packages run on; [`Error::Command`] if a
/// download failed.
pub fn rabbitmq() -> Result<RabbitMq> {
    let remedy = format!(
        "Set {VARIABLE} to a directory with usr/lib/erlang and usr/lib/rabbitmq, as Debian's packages have them"
    );
    let unavailable = |found| Error::Unavailable { what: "RabbitMQ".to_owned(), found, remedy: remedy.clone() };
    if let Some(root) = own(VARIABLE) {
        return RabbitMq::find(&root).map_err(unavailable);
    }
    let packages = PACKAGES.map(str::to_owned);
    let item = Item {
        name: "rabbitmq-3.10",
        title: "RabbitMQ 3.10",
        recipe: &format!("{} of {SUITE} 1", packages.join(" ")),
        product: "usr/lib/erlang/bin/erl",
    };
    let root = Store::for_servers()?.obtain(&item, |root| {
        let unpacked = Unpacked::new(root, SUITE, &packages, &remedy)?;
        let found = RabbitMq::find(root).map_err(unavailable)?;
        for program in PROGRAMS {
            unpacked.bind(&found.programs.join(program))?;
        }
        for script in [found.erlang.join("bin/erl"), found.programs.join("erl")] {
            let text = fs::read_to_string(&script).map_err(Error::io("read", &script))?;
            let text = text.replace(USUAL_ROOT, &found.erlang.display().to_string());
            fs::write(&script, text).map_err(Error::io("write", &script))?;
        }
        let mut erl = Command::new(found.erl());
        erl.args(["-noshell", "-boot", "start_clean", "-eval", "halt(0)."]);
        run(&mut erl, VERSION_LIMIT).map(drop)
    })?;
    RabbitMq::find(&root).map_err(unavailable)
}

impl RabbitMq {
    fn find(root: &Path) -> Result<Self, String> {
        let erlang = root.join("usr/lib/erlang");
        let one = |directory: &Path, start: &str| {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
            let named = |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(start));
            let found = entries.filter(named).max();
            found.ok_or_else(|| format!("{} has no {start}…", directory.display()))
        };
        let programs = one(&erlang, "erts-")?.join("bin");
        let home = one(&root.join("usr/lib/rabbitmq/lib"), "rabbitmq_server-")?;
        if !reachable(root) {
            return Err(format!("{} is not reachable for the account that servers of root run under", root.display()));
        }
        Ok(Self { erlang, programs, home })
    }

    /// Erlang's starter.
    pub(crate) fn erl(&self) -> PathBuf {
        self.erlang.join("bin/erl")
    }

    /// The directory of Erlang.
    pub(crate) fn erlang(&self) -> &Path {
        &self.erlang
    }

    /// The program by which the nodes of Erlang find one another.
    pub(crate) fn epmd(&self) -> PathBuf {
        self.programs.join("epmd")
    }

    /// The directory of RabbitMQ.
    pub(crate) fn home(&self) -> &Path {
        &self.home
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_can_be_obtained() {
        let found = rabbitmq().unwrap();
        assert!(found.home().join("sbin/rabbitmq-server").is_file(), "{found:?}");
        assert!(found.erl().is_file() && found.epmd().is_file(), "{found:?}");
    }

    #[test]
    fn a_directory_without_it_is_refused_in_one_line() {
        let directory = tempfile::tempdir().unwrap();
        let error = RabbitMq::find(directory.path()).unwrap_err();
        assert!(error.ends_with("has no erts-…") && !error.contains('\n'), "{error}");
    }
}
