//! The targets and strategies, and the secrets that a history begins with.

use serde_json::{Value, json};

/// A kind of database server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Target {
    /// A change is a transaction.
    Postgres,
    /// A user can have two passwords, and each change commits by itself.
    Mysql,
    /// Each change commits by itself.
    Mariadb,
}

/// How a credential is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strategy {
    /// The user changes its own password.
    SingleUser,
    /// The same, and a superuser may help (`rotation.superuserRescue`).
    SuperuserRescue,
    /// The same on MySQL, where the previous password keeps working.
    DualPassword,
    /// The same, and the previous password ends after the rotation (`rotation.discardPreviousPasswordAfterHours: 0`).
    DualPasswordDiscard,
    /// Two users take turns. The clone's name ends in `_clone`.
    AlternatingUsers,
    /// Two users take turns. `rotation.users` names them.
    NamedUsers,
}

/// Where a history begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Case {
    /// The server.
    pub target: Target,
    /// The strategy.
    pub strategy: Strategy,
    /// How many rotations were completed before.
    pub before: u32,
}

/// The user of the secret, and the base of a pair.
pub(super) const USER: &str = "app";
pub(super) const CLONE: &str = "app_clone";
pub(super) const SUPERUSER: &str = "root";
pub(super) const STRANGER: &str = "other";
/// The names of the secrets.
pub(super) const SECRET: &str = "app";
pub(super) const SUPERUSER_SECRET: &str = "root";
pub(super) const SECOND_SECRET: &str = "second";

impl Target {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Postgres, Self::Mysql, Self::Mariadb];

    /// The name in a secret, in a history and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Mariadb => "mariadb",
        }
    }

    /// The strategies that this server has.
    #[must_use]
    pub fn strategies(self) -> &'static [Strategy] {
        use Strategy::{AlternatingUsers, DualPassword, DualPasswordDiscard, NamedUsers, SingleUser, SuperuserRescue};
        match self {
            Self::Postgres => &[SingleUser, SuperuserRescue, AlternatingUsers, NamedUsers],
            Self::Mysql => &[DualPassword, DualPasswordDiscard, AlternatingUsers, NamedUsers],
            Self::Mariadb => &[SingleUser, SuperuserRescue, AlternatingUsers],
        }
    }
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::SingleUser,
        Self::SuperuserRescue,
        Self::DualPassword,
        Self::DualPasswordDiscard,
        Self::AlternatingUsers,
        Self::NamedUsers,
    ];

    /// The name in a history and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::SingleUser => "single-user",
            Self::SuperuserRescue => "superuser-rescue",
            Self::DualPassword => "dual-password",
            Self::DualPasswordDiscard => "dual-password-discard",
            Self::AlternatingUsers => "alternating-users",
            Self::NamedUsers => "named-users",
        }
    }

    pub(super) fn is_pair(self) -> bool {
        matches!(self, Self::AlternatingUsers | Self::NamedUsers)
    }

    /// Whether AWSCURRENT has to work at every instant.
    pub(super) fn never_interrupts(self) -> bool {
        self.is_pair() || matches!(self, Self::DualPassword | Self::DualPasswordDiscard)
    }

    pub(super) fn has_superuser(self) -> bool {
        self.is_pair() || self == Self::SuperuserRescue
    }
}

impl Case {
    /// The case that a text such as `mysql/dual-password+1` names.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (target, rest) = text.split_once('/')?;
        let (strategy, before) = rest.split_once('+').unwrap_or((rest, "0"));
        let target = Target::ALL.into_iter().find(|known| known.name() == target)?;
        let strategy = target.strategies().iter().copied().find(|known| known.name() == strategy)?;
        Some(Self { target, strategy, before: before.parse().ok().filter(|before| *before <= 9)? })
    }

    /// The value of the secret before the first rotation.
    pub(super) fn secret(self) -> Value {
        let mut value = json!({
            "engine": self.target.name(), "host": "db.example", "port": 5432, "dbname": "shop", "ssl": false,
            "username": USER, "password": FIRST_PASSWORD,
        });
        let rotation = match self.strategy {
            Strategy::SuperuserRescue => Some(json!({"superuserRescue": true})),
            Strategy::NamedUsers => Some(json!({"users": [USER, CLONE]})),
            Strategy::DualPasswordDiscard => Some(json!({"discardPreviousPasswordAfterHours": 0})),
            _ => None,
        };
        if let Some(fields) = value.as_object_mut() {
            if self.strategy.has_superuser() {
                fields.insert("masterarn".to_owned(), json!(SUPERUSER_SECRET));
            }
            if let Some(rotation) = rotation {
                fields.insert("rotation".to_owned(), rotation);
            }
        }
        value
    }

    /// The value of the superuser's secret.
    pub(super) fn superuser(self, password: &str) -> Value {
        json!({
            "engine": self.target.name(), "host": "db.example", "port": 5432, "dbname": "shop", "ssl": false,
            "username": SUPERUSER, "password": password,
        })
    }
}

/// Passwords of the beginning. They look like passwords, so that a search for them in outputs finds nothing else.
pub(super) const FIRST_PASSWORD: &str = "first-password-6Q0xkzm2Wc";
pub(super) const SUPERUSER_PASSWORD: &str = "root-password-hX81mmVq0s";
pub(super) const STRANGER_PASSWORD: &str = "other-password-Kp30aavB7e";

impl std::fmt::Display for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}+{}", self.target.name(), self.strategy.name(), self.before)
    }
}
