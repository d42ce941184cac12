//! PostgreSQL as an engine.

use crate::connect::{Session, connect};
use crate::settings::Settings;
use crate::{pair, single};
use rotation::clock::Deadline;
use rotation::database::{Engine, Evidence, Login, LoginFailure, Pair, PasswordChange, Side, Turn, expect_length};
use rotation::protocol::observation::PreviousCredential;
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

    const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
    const DEFAULT_PORT: u16 = 5432;
    const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");

    const DUAL_PASSWORDS: bool = false;
    const CHANNEL_BINDING: bool = true;
    const SUPERUSER_COMPARES: bool = false;

    fn check_name(&self, _: &str, user: &str) -> Result<()> {
        expect_length(user, user.len(), MAX_NAME_BYTES, "bytes")
    }

    async fn connect(&self, login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
        connect(login, deadline).await
    }

    async fn change_own_password(&self, session: Session, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        single::change_own_password(session, change.user, change.to, self.settings).await?;
        Ok(PreviousCredential::Refused)
    }

    /// After a change the previous password opens no session, so a second run never gets this far.
    fn is_a_second_run(&self, _: &Error) -> bool {
        false
    }

    async fn discard_previous_password(&self, _: Session, _: &str, _: &Password) -> Result<bool> {
        Ok(false)
    }

    async fn rescue(&self, superuser: Session, change: PasswordChange<'_>) -> Result<()> {
        single::rescue(superuser, change.user, change.to, self.settings).await
    }

    async fn converge(&self, superuser: Session, turn: Turn<'_>, _: &impl Evidence) -> Result<()> {
        pair::converge(superuser, turn, self.settings).await
    }

    /// `prove` has compared already, as the pending user: every role may read the catalogs.
    async fn compare(&self, _: Session, _: &Pair, _: Side) -> Result<()> {
        Ok(())
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>) -> Result<()> {
        match pair {
            None => single::prove(session, user).await,
            Some(pair) => pair::prove(session, user, pair).await,
        }
    }
}
