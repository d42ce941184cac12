//! What the command rotates: with which binary, on which server, and how.

use crate::build::Profile;
use crate::provision::{Release, Version};
use clap::ValueEnum;
use std::fmt;
use std::path::PathBuf;

/// Which binary of a function runs.
#[derive(Clone, Debug)]
pub(super) enum Function {
    Own(PathBuf),
    Built(Profile),
}

/// Which database is rotated, and how.
#[derive(Clone, Debug)]
pub(super) struct Target {
    pub(super) engine: Engine,
    pub(super) strategy: Strategy,
    /// `None` for the chosen version, as for the next one.
    pub(super) postgres: Option<Version>,
    pub(super) mariadb: Option<Release>,
    pub(super) function: Function,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Engine {
    Postgres,
    Mysql,
    Mariadb,
}

/// What `cargo lab serve` can have a server and a secret of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    Postgres,
    Mysql,
    Mariadb,
    ApiKey,
    SigningKey,
    Tls,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Strategy {
    /// The user changes its own password.
    SingleUser,
    /// As single-user, and the server keeps the previous password until the next rotation (MySQL).
    DualPassword,
    /// Two users in turn, changed by a superuser: the previous credential keeps working.
    AlternatingUsers,
}

impl Target {
    pub(super) fn new(engine: Engine, strategy: Strategy, function: Function) -> Self {
        Self { engine, strategy, postgres: None, mariadb: None, function }
    }
}

impl Engine {
    pub(super) const ALL: [Self; 3] = [Self::Postgres, Self::Mysql, Self::Mariadb];

    /// The name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    pub(super) fn default_strategy(self) -> Strategy {
        if self == Self::Mysql { Strategy::DualPassword } else { Strategy::SingleUser }
    }
}

impl Kind {
    /// The database, if it is one.
    pub(super) fn engine(self) -> Option<Engine> {
        match self {
            Self::Postgres => Some(Engine::Postgres),
            Self::Mysql => Some(Engine::Mysql),
            Self::Mariadb => Some(Engine::Mariadb),
            Self::ApiKey | Self::SigningKey | Self::Tls => None,
        }
    }
}

impl From<Engine> for Kind {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Postgres => Self::Postgres,
            Engine::Mysql => Self::Mysql,
            Engine::Mariadb => Self::Mariadb,
        }
    }
}

impl Strategy {
    /// Whether the previous credential goes on opening the database.
    pub(super) fn keeps_previous(self) -> bool {
        self != Self::SingleUser
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SingleUser => "single-user",
            Self::DualPassword => "dual-password",
            Self::AlternatingUsers => "alternating-users",
        })
    }
}
