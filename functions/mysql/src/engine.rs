//! MySQL and MariaDB as an engine.

use crate::connect::{Session, connect, errno};
use crate::settings::Settings;
use crate::{pair, single};
use rotation::clock::Deadline;
use rotation::database::{Engine, Evidence, Login, LoginFailure, Pair, PasswordChange, Side, Turn, expect_length};
use rotation::protocol::observation::PreviousCredential;
use rotation::secret::Password;
use rotation::{Error, Result};

/// MariaDB's name in a secret in AWS's format.
const MARIADB: &str = "mariadb";
/// MySQL manual, "CREATE USER Statement": the longest user name.
const MYSQL_NAME_CHARACTERS: usize = 32;
/// MariaDB Knowledge Base, "Identifier Names": the longest user name.
const MARIADB_NAME_CHARACTERS: usize = 80;

/// MySQL or MariaDB, with the deployer's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MySql {
    settings: Settings,
}

impl MySql {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Engine for MySql {
    type Session = Session;

    const NAMES: &'static [&'static str] = &["mysql", "aurora-mysql", MARIADB];
    const DEFAULT_PORT: u16 = 3306;
    const DEFAULT_DATABASE: Option<&'static str> = None;
    const DUAL_PASSWORDS: bool = true;
    const CHANNEL_BINDING: bool = false;
    /// Only a user that may read the schema `mysql` sees the privileges of another account.
    const SUPERUSER_COMPARES: bool = true;

    fn check_name(&self, engine: &str, user: &str) -> Result<()> {
        let own = if engine == MARIADB { MARIADB_NAME_CHARACTERS } else { MYSQL_NAME_CHARACTERS };
        expect_length(user, user.chars().count(), self.settings.username_limit.unwrap_or(own), "characters")
    }

    /// The driver drops a zero at the end of the bytes that it has to sign. MariaDB's `ed25519` sends 32 random bytes,
    /// so 1 login in 256 is refused with any password. mysql_common 0.38.1 corrects it; mysql_async 0.37 needs 0.37.
    fn may_refuse_wrongly(&self, engine: &str) -> bool {
        engine == MARIADB
    }

    async fn connect(&self, login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
        connect(login, deadline).await
    }

    async fn change_own_password(&self, session: Session, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        single::change_own_password(session, change).await
    }

    /// A new random password is in no history unless an earlier run set it.
    fn is_a_second_run(&self, refusal: &Error) -> bool {
        errno::is(refusal, errno::CONTRADICTS_HISTORY)
    }

    async fn discard_previous_password(&self, session: Session, user: &str, current: &Password) -> Result<bool> {
        single::discard_previous_password(session, user, current).await
    }

    async fn rescue(&self, superuser: Session, change: PasswordChange<'_>) -> Result<()> {
        single::rescue(superuser, change, self.settings.allow_powerful_roles).await
    }

    async fn converge(&self, superuser: Session, turn: Turn<'_>, evidence: &impl Evidence) -> Result<()> {
        pair::converge(superuser, turn, evidence, self.settings.allow_powerful_roles).await
    }

    async fn compare(&self, superuser: Session, pair: &Pair, pending: Side) -> Result<()> {
        pair::compare(superuser, pair, pending).await
    }

    async fn prove(&self, session: Session, user: &str, _: Option<&Pair>) -> Result<()> {
        single::prove(session, user).await
    }
}
