//! What is rotated under load, and how.

use std::fmt;

/// Where a credential is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Engine {
    /// PostgreSQL 15.
    Postgres,
    /// MySQL.
    Mysql,
    /// MariaDB.
    Mariadb,
    /// The lab's issuer of API keys.
    ApiKey,
}

/// How a credential is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The user changes its own password.
    SingleUser,
    /// The same on MySQL, where the previous password keeps working.
    DualPassword,
    /// Two users take turns.
    AlternatingUsers,
    /// A new key is made, and the one before the previous key is revoked.
    TwoKeys,
}

/// An engine with one of its strategies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind {
    /// Where the credential is used.
    pub engine: Engine,
    /// How it is replaced.
    pub strategy: Strategy,
}

impl Engine {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Postgres, Self::Mysql, Self::Mariadb, Self::ApiKey];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
            Self::ApiKey => "api-key",
        }
    }

    /// The function's package, and the name of its binary.
    #[must_use]
    pub fn function(self) -> &'static str {
        match self {
            Self::Postgres => "lockstep-postgres",
            Self::Mysql | Self::Mariadb => "lockstep-mysql",
            Self::ApiKey => "lockstep-api-key",
        }
    }
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::SingleUser, Self::DualPassword, Self::AlternatingUsers, Self::TwoKeys];

    /// The name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleUser => "single-user",
            Self::DualPassword => "dual-password",
            Self::AlternatingUsers => "alternating-users",
            Self::TwoKeys => "two-keys",
        }
    }

    /// Whether the previous credential keeps working, so that no login may ever be refused.
    #[must_use]
    pub fn keeps_previous(self) -> bool {
        self != Self::SingleUser
    }
}

impl Kind {
    /// Every engine with each of its strategies.
    pub const ALL: [Self; 8] = [
        Self { engine: Engine::Postgres, strategy: Strategy::SingleUser },
        Self { engine: Engine::Postgres, strategy: Strategy::AlternatingUsers },
        Self { engine: Engine::Mysql, strategy: Strategy::SingleUser },
        Self { engine: Engine::Mysql, strategy: Strategy::DualPassword },
        Self { engine: Engine::Mysql, strategy: Strategy::AlternatingUsers },
        Self { engine: Engine::Mariadb, strategy: Strategy::SingleUser },
        Self { engine: Engine::Mariadb, strategy: Strategy::AlternatingUsers },
        Self { engine: Engine::ApiKey, strategy: Strategy::TwoKeys },
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.engine.name(), self.strategy.name())
    }
}
