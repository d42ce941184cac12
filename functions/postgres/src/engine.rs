//! PostgreSQL as the rotation's engine.

use crate::connect::{Session, connect};
use crate::single::Allowed;
use crate::{pair, single};
use rotation::Result;
use rotation::clock::Deadline;
use rotation::database::{Engine, Login, LoginFailure, Pair, Side};
use rotation::environment::Settings;
use rotation::secret::Password;

/// NAMEDATALEN - 1, in bytes; the server cuts what is longer (manual 4.1.1).
const MAX_NAME_BYTES: usize = 63;

/// PostgreSQL, with what the deployer allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Postgres {
    allowed: Allowed,
}

impl Postgres {
    pub(crate) fn new(settings: &Settings) -> Self {
        Self { allowed: Allowed { md5: settings.allow_md5, powerful_roles: settings.allow_powerful_roles } }
    }
}

impl Engine for Postgres {
    type Session = Session;

    const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
    const DEFAULT_PORT: u16 = 5432;
    const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");

    fn name_fits(&self, user: &str) -> bool {
        user.len() <= MAX_NAME_BYTES
    }

    async fn connect(&self, login: Login<'_>, deadline: Deadline) -> Result<Session, LoginFailure> {
        connect(login, deadline).await
    }

    async fn change_own_password(
        &self,
        session: Session,
        user: &str,
        new: &Password,
        deadline: Deadline,
    ) -> Result<()> {
        single::change_own_password(session, user, new, self.allowed, deadline).await
    }

    async fn rescue(&self, superuser: Session, user: &str, new: &Password, deadline: Deadline) -> Result<()> {
        single::rescue(superuser, user, new, self.allowed, deadline).await
    }

    async fn converge(
        &self,
        superuser: Session,
        pair: &Pair,
        pending: Side,
        new: &Password,
        deadline: Deadline,
    ) -> Result<()> {
        pair::converge(superuser, pair, pending, new, self.allowed, deadline).await
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>, deadline: Deadline) -> Result<()> {
        match pair {
            None => single::prove(session, user, deadline).await,
            Some(pair) => pair::prove(session, user, pair, deadline).await,
        }
    }
}
