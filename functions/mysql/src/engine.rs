//! MySQL and MariaDB as an engine.

use crate::connect::{Session, connect, errno};
use crate::lock::{About, Locked};
use crate::pair;
use crate::sessions;
use crate::settings::Settings;
use crate::single::{self, other};
use rotation::clock::Deadline;
use rotation::database::{
    Engine, Evidence, Hold, Login, LoginFailure, Pair, PasswordChange, Side, Turn, Work, expect_length,
};
use rotation::protocol::observation::PreviousCredential;
use rotation::protocol::target::Sessions;
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
    type Locked = Locked;

    const NAMES: &'static [&'static str] = &["mysql", "aurora-mysql", MARIADB];
    const DEFAULT_PORT: u16 = 3306;
    const DEFAULT_DATABASE: Option<&'static str> = None;
    const DUAL_PASSWORDS: bool = true;
    const CHANNEL_BINDING: bool = false;
    const MEMBERSHIPS: bool = false;
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

    /// MySQL: one less than the least that people set, `FAILED_LOGIN_ATTEMPTS 3` (manual, "Failed-Login Tracking"). MariaDB blocks
    /// after `max_password_errors`, by default never, and may refuse a login twice (see above).
    fn most_refused_logins(&self, engine: &str) -> usize {
        if engine == MARIADB { 5 } else { 2 }
    }

    /// `FAILED_LOGIN_ATTEMPTS` of MySQL; on MariaDB only if the server's `max_password_errors` was lowered.
    fn may_block(&self, engine: &str) -> bool {
        engine != MARIADB
    }

    /// MySQL changes all accounts of a statement or none.
    fn may_stop_half_way(&self, engine: &str) -> bool {
        engine == MARIADB
    }

    async fn connect(&self, login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
        connect(login, deadline).await
    }

    async fn lock(&self, session: Session, work: Work<'_>, evidence: &impl Evidence) -> Result<Locked> {
        let allow_powerful = self.settings.allow_powerful_roles;
        match work {
            Work::Own(change) => single::lock_own(session, change, evidence).await,
            Work::Discard { user } => single::lock_to_discard(session, user).await,
            Work::Rescue(change) => other::lock_to_rescue(session, change, allow_powerful, evidence).await,
            Work::Other(change) => other::lock(session, change, allow_powerful, evidence).await,
            Work::DiscardOther { user } => other::lock_to_discard(session, user, allow_powerful).await,
            Work::Turn(turn) => pair::lock(session, turn, evidence, allow_powerful).await,
            Work::Shut(turn) => pair::lock_to_shut(session, turn, evidence, allow_powerful).await,
        }
    }

    fn left_alone(&self, locked: &Locked) -> Vec<String> {
        locked.left_alone.iter().map(ToString::to_string).collect()
    }

    async fn align(&self, locked: &mut Locked, turn: Turn<'_>) -> Result<()> {
        match &mut locked.about {
            About::Pair { observed, plugins } => {
                pair::align(&mut locked.session, &locked.server, observed, plugins, turn).await
            }
            About::Own { .. } | About::Other { .. } => Ok(()),
        }
    }

    async fn set_password(&self, locked: Locked, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        let Locked { mut session, server, about, .. } = locked;
        let set = match about {
            About::Own { siblings } => single::set_own(&mut session, &server, change, siblings.as_ref()).await,
            About::Other { accounts, retain } => other::set(&mut session, &server, &accounts, change, retain).await,
            About::Pair { observed, .. } => pair::set(&mut session, &server, &observed, change).await,
        };
        session.close().await;
        set
    }

    async fn unlock(&self, locked: Locked) {
        locked.session.close().await;
    }

    /// A new random password is in no history unless an earlier run set it.
    fn is_a_second_run(&self, refusal: &Error) -> bool {
        errno::is(refusal, errno::CONTRADICTS_HISTORY)
    }

    async fn discard_previous_password(&self, locked: Locked, current: &Password) -> Result<bool> {
        let Locked { mut session, server, about, .. } = locked;
        let discarded = match about {
            About::Own { siblings } => {
                single::discard_previous_password(&mut session, &server, current, siblings.as_ref()).await
            }
            About::Other { accounts, .. } => {
                other::discard_previous_password(&mut session, &server, &accounts, current).await
            }
            About::Pair { .. } => Ok(false),
        };
        session.close().await;
        discarded
    }

    async fn end_sessions(&self, locked: Locked, user: &str) -> Result<Sessions> {
        let Locked { mut session, .. } = locked;
        let ended = sessions::end(&mut session, user).await;
        session.close().await;
        ended
    }

    async fn compare(&self, superuser: Session, pair: &Pair, pending: Side) -> Result<()> {
        pair::compare(superuser, pair, pending).await
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>, hold: Hold) -> Result<Session> {
        let lock = (hold == Hold::Lock).then(|| pair.map_or(user, |pair| pair.base.as_str()));
        single::prove(session, user, lock, hold).await
    }

    async fn close(&self, session: Session) {
        session.close().await;
    }
}
