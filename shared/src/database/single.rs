//! setSecret for a single user: finds the credential that opens the database, and changes the password with it.

use super::engine::{Engine, PasswordChange};
use super::login::Logins;
use super::plan::{Credential, Fallbacks, Move, Observations, next_move};
use super::secret::DatabaseSecret;
use super::versions::CheckedVersions;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::observation::{Observation, PreviousCredential};
use crate::protocol::target::{Applied, Change};

/// Sets the pending password, or finds that it is in effect.
pub(crate) async fn apply<E: Engine>(
    logins: &Logins<'_, E>,
    versions: &CheckedVersions,
    rescuer: Option<&str>,
) -> Result<Applied> {
    let mut search = Search {
        logins,
        versions,
        rescuer,
        seen: Observations::default(),
        fallbacks: Fallbacks { previous: true, superuser: rescuer.is_some() },
        previous: None,
        session: None,
        failure: None,
    };
    loop {
        match next_move(search.seen, search.fallbacks) {
            Move::Try(Credential::Previous) if search.previous.is_none() => search.read_previous().await?,
            Move::Try(credential) => search.try_credential(credential).await?,
            Move::AlreadyInEffect => return Ok(Applied::AlreadyInEffect),
            Move::ChangeAs(credential) => return search.change_as(credential).await,
            Move::Report(Credential::Superuser) if search.seen.superuser == Some(Observation::Rejected) => {
                return Err(search.failed_with(Code::SuperuserRejected));
            }
            Move::Report(_) => return Err(search.failure.unwrap_or_else(internal)),
            Move::LockedOut => return Err(search.failed_with(Code::LockedOut)),
        }
    }
}

/// The search for a credential that works.
struct Search<'a, E: Engine> {
    logins: &'a Logins<'a, E>,
    versions: &'a CheckedVersions,
    rescuer: Option<&'a str>,
    seen: Observations,
    fallbacks: Fallbacks,
    /// Read when the current and the pending password were refused, and not before.
    previous: Option<DatabaseSecret>,
    /// Of the last login that succeeded.
    session: Option<E::Session>,
    /// Of the last login that failed.
    failure: Option<Error>,
}

impl<E: Engine> Search<'_, E> {
    /// Reads the previous version. It counts only if it is for the same user on the same server.
    async fn read_previous(&mut self) -> Result<()> {
        let current = &self.versions.current;
        let previous = self.logins.context.previous().await?;
        let previous = previous.and_then(|document| DatabaseSecret::read::<E>(&document).ok());
        self.previous = previous.filter(|previous| {
            previous.user.username == current.user.username && current.same_target(previous).is_ok()
        });
        self.fallbacks.previous = self.previous.is_some();
        Ok(())
    }

    async fn try_credential(&mut self, credential: Credential) -> Result<()> {
        let (logins, CheckedVersions { current, pending, .. }) = (self.logins, self.versions);
        let attempt = match (credential, &self.previous, self.rescuer) {
            (Credential::Current, ..) => logins.try_to_log_in(&current.user, credential).await,
            (Credential::Pending, ..) => logins.try_to_log_in(&pending.user, credential).await,
            (Credential::Previous, Some(previous), _) => logins.try_to_log_in(&previous.user, credential).await,
            (Credential::Superuser, _, Some(id)) => {
                let superuser = logins.superusers.find::<E>(logins.context, id, &current.user).await?;
                logins.log_in_superuser(&superuser).await
            }
            (Credential::Previous, None, _) | (Credential::Superuser, _, None) => return Err(internal()),
        };
        let observation = match attempt {
            Ok(session) => {
                self.session = Some(session);
                Observation::Works
            }
            Err(failed) => {
                self.failure = Some(failed.error);
                failed.observation
            }
        };
        self.seen.note(credential, observation);
        Ok(())
    }

    async fn change_as(self, credential: Credential) -> Result<Applied> {
        // A login can prove the password without a session that can do anything. Then its failure says why.
        let Some(session) = self.session else {
            return Err(self.failure.unwrap_or_else(|| Error::new(Code::Internal)));
        };
        let Logins { context, engine, .. } = self.logins;
        let CheckedVersions { current, pending, .. } = self.versions;
        context.still_pending().await?;
        let from = match (credential, &self.previous) {
            (Credential::Previous, Some(previous)) => &previous.user.password,
            _ => &current.user.password,
        };
        let change = PasswordChange { user: &pending.user.username, from, to: &pending.user.password };
        let previous = if credential == Credential::Superuser {
            engine.rescue(session, change).await?;
            PreviousCredential::Refused
        } else {
            match engine.change_own_password(session, change).await {
                // The password before still opens sessions. Only here is the pending one worth a login that may be refused.
                Err(error) if engine.is_a_second_run(&error) => {
                    let again = self.logins.log_in(&pending.user, Credential::Pending).await;
                    return again.map(|_| Applied::AlreadyInEffect).map_err(|_| error);
                }
                changed => changed?,
            }
        };
        Ok(Applied::Changed(Change { by: credential.as_str(), previous }))
    }

    fn failed_with(self, code: Code) -> Error {
        self.failure.map_or_else(internal, |error| error.recoded(code))
    }
}

/// A state that the types allow and the code does not reach.
fn internal() -> Error {
    Error::new(Code::Internal).with(Fact::What, "an impossible state in setSecret")
}
