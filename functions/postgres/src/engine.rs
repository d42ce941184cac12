//! PostgreSQL as an engine.

use crate::connect::{Session, connect};
use crate::lock::Locked;
use crate::settings::Settings;
use crate::sql::password;
use crate::{pair, sessions, single};
use rotation::clock::Deadline;
use rotation::database::{
    Engine, Evidence, Hold, Login, LoginFailure, Pair, PasswordChange, Side, Turn, Work, expect_length,
};
use rotation::protocol::observation::PreviousCredential;
use rotation::protocol::target::Sessions;
use rotation::secret::Password;
use rotation::{Error, Result};

/// NAMEDATALEN - 1, in bytes. The server cuts longer names (manual 4.1.1).
const MAX_NAME_BYTES: usize = 63;

/// PostgreSQL, with the deployer's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postgres {
    settings: Settings,
}

impl Postgres {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings }
    }
}

impl Engine for Postgres {
    type Session = Session;
    type Locked = Locked;

    const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
    const DEFAULT_PORT: u16 = 5432;
    const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");

    const DUAL_PASSWORDS: bool = false;
    const CHANNEL_BINDING: bool = true;
    const MEMBERSHIPS: bool = true;
    const SUPERUSER_COMPARES: bool = false;

    fn check_name(&self, _: &str, user: &str) -> Result<()> {
        expect_length(user, user.len(), MAX_NAME_BYTES, "bytes")
    }

    /// PostgreSQL itself blocks nobody. So many logins fit into a step's time.
    fn most_refused_logins(&self, _: &str) -> usize {
        4
    }

    async fn connect(&self, login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
        connect(login, deadline).await
    }

    async fn lock(&self, session: Session, work: Work<'_>, evidence: &impl Evidence) -> Result<Locked> {
        match work {
            Work::Own(PasswordChange { user, .. }) | Work::Discard { user } => {
                single::lock_own(session, user, self.settings).await
            }
            Work::Rescue(PasswordChange { user, .. })
            | Work::Other(PasswordChange { user, .. })
            | Work::DiscardOther { user } => single::lock_other(session, user, self.settings).await,
            Work::Turn(turn) | Work::Shut(turn) => pair::lock(session, turn, evidence, self.settings).await,
        }
    }

    fn remarks(&self, locked: &Locked, turn: Turn<'_>) -> Vec<Error> {
        locked.pair.as_ref().map_or_else(Vec::new, |pair| pair.remarks(turn.pair))
    }

    async fn align(&self, locked: &mut Locked, turn: Turn<'_>) -> Result<()> {
        pair::align(locked, turn).await
    }

    async fn set_password(&self, locked: Locked, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        let Locked { session, encryption, superuser, .. } = locked;
        let set = password::set_password(session, change.user, change.to, encryption).await;
        set.map_err(|error| match &superuser {
            Some(superuser) => pair::explain_password(error, change.user, superuser),
            None => single::explain_password(error),
        })?;
        Ok(PreviousCredential::Refused)
    }

    async fn unlock(&self, locked: Locked) {
        locked.session.close().await;
    }

    /// After a change the previous password opens no session, so a second run never gets this far.
    fn is_a_second_run(&self, _: &Error) -> bool {
        false
    }

    async fn discard_previous_password(&self, _: Locked, _: &Password) -> Result<bool> {
        Ok(false)
    }

    async fn end_sessions(&self, locked: Locked, user: &str) -> Result<Sessions> {
        let ended = sessions::end(&locked, user).await;
        locked.session.close().await;
        ended
    }

    /// `prove` has compared already, as the pending user: every role may read the catalogs.
    async fn compare(&self, _: Session, _: &Pair, _: Side) -> Result<()> {
        Ok(())
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>, hold: Hold) -> Result<Session> {
        match pair {
            None => single::prove(session, user, hold).await,
            Some(pair) => pair::prove(session, user, pair, hold).await,
        }
    }

    async fn close(&self, session: Session) {
        session.close().await;
    }
}
