//! setSecret for a single user: finds the credential that opens the database, and changes the password with it.

use super::engine::{Engine, Hold, PasswordChange, Work};
use super::evidence::VersionsOfSecret;
use super::lock::wanted;
use super::login::Logins;
use super::plan::{Credential, Fallbacks, Move, Observations, next_move};
use super::secret::{DatabaseSecret, DatabaseUser, Setter};
use super::versions::CheckedVersions;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::observation::Observation;
use crate::protocol::target::{Applied, Change};

/// Sets the pending password, or finds that it is in effect. Older versions are tried while the server has refused fewer logins
/// than `most_refused`.
///
/// **Invariant:** a rotation whose passwords were all refused tries them no more if the server may block the user. Secrets Manager
/// repeats a failed rotation, and would use up the logins of a user whose consumers log in with another secret. Test:
/// `a_rotation_that_is_repeated_does_not_block_the_user`.
pub(crate) async fn apply<E: Engine>(
    logins: &Logins<'_, E>,
    versions: &CheckedVersions,
    setter: &Setter,
    most_refused: usize,
) -> Result<Applied> {
    let (context, user) = (logins.context, &versions.current.user);
    if !logins.engine.may_block(&user.engine) || setter.superuser().is_some() || !context.is_pending() {
        return search(logins, versions, setter, most_refused).await;
    }
    if context.was_refused_before() {
        return Err(Error::new(Code::RefusedTooOften).with(Fact::Found, "the label of an earlier attempt"));
    }
    let applied = search(logins, versions, setter, most_refused).await;
    if applied.as_ref().is_err_and(|error| matches!(error.code(), Code::LockedOut | Code::RefusedTooOften)) {
        context.remember_refusals().await;
    }
    applied
}

async fn search<E: Engine>(
    logins: &Logins<'_, E>,
    versions: &CheckedVersions,
    setter: &Setter,
    most_refused: usize,
) -> Result<Applied> {
    let rescuer = setter.superuser();
    let fresh = logins.context.is_fresh() && most_refused > 0;
    let fallbacks = Fallbacks { pending: true, fresh, previous: most_refused > 0, superuser: rescuer.is_some() };
    let mut search = Search {
        logins,
        versions,
        rescuer,
        setter,
        most_refused,
        seen: Observations::default(),
        fallbacks,
        older: None,
        untried: false,
        previous: None,
        session: None,
        failure: None,
    };
    loop {
        match next_move(search.seen, search.fallbacks) {
            Move::Try(Credential::Previous) => search.try_older().await?,
            // Nobody is known to have set a fresh password, so it is not worth the last login.
            Move::Try(Credential::Pending) if fresh && search.is_spent() => {
                search.fallbacks.pending = false;
                search.untried = true;
            }
            Move::Try(credential) => search.try_credential(credential).await?,
            Move::AlreadyInEffect => return search.go_on().await,
            // In a box, because the compiler limits how deep futures may be nested.
            Move::ChangeAs(credential) => return Box::pin(search.change_as(credential)).await,
            Move::Report(Credential::Superuser) if search.seen.superuser == Some(Observation::Rejected) => {
                return Err(search.failed_with(Code::SuperuserRejected));
            }
            Move::Report(_) => return Err(search.failure.unwrap_or_else(internal)),
            Move::LockedOut if search.untried => {
                let refused = format!("{} logins", logins.context.refusals());
                return Err(search.failed_with(Code::RefusedTooOften).with(Fact::Found, refused));
            }
            Move::LockedOut if most_refused == 0 => {
                let what = "older versions were not tried, as MAX_REFUSED_LOGINS is 0";
                return Err(search.failed_with(Code::LockedOut).with(Fact::What, what));
            }
            Move::LockedOut => return Err(search.failed_with(Code::LockedOut)),
        }
    }
}

/// The search for a credential that works.
struct Search<'a, E: Engine> {
    logins: &'a Logins<'a, E>,
    versions: &'a CheckedVersions,
    /// The secret of the superuser who may set the password of a user that is locked out.
    rescuer: Option<&'a str>,
    setter: &'a Setter,
    most_refused: usize,
    seen: Observations,
    fallbacks: Fallbacks,
    /// The ids of the older versions that were not tried, newest last. Listed when the newer passwords were refused, and not before.
    older: Option<Vec<String>>,
    /// Whether a credential was left untried, so that the server does not block the user.
    untried: bool,
    /// The older version that was tried last.
    previous: Option<DatabaseSecret>,
    /// Of the last login that succeeded.
    session: Option<E::Session>,
    /// Of the last login that failed.
    failure: Option<Error>,
}

impl<E: Engine> Search<'_, E> {
    /// Whether the server may be asked no more than the credentials that have to be tried.
    ///
    /// **Invariant:** a search ends before the server blocks the user. Servers count refused logins, and some block the user for
    /// a day after a few, consumers included. Test: `a_search_does_not_use_up_the_logins_that_a_server_allows`.
    fn is_spent(&self) -> bool {
        self.logins.context.refusals() >= self.most_refused
    }

    /// Whether the last login that may be refused is kept for a fresh pending password. Another invocation of this step may have set it
    /// since the current one was read. Where only two may be refused, the older version is worth more.
    fn keeps_the_last_login(&self) -> bool {
        let keeps = self.fallbacks.fresh && self.fallbacks.pending && self.most_refused > 2;
        keeps && self.logins.context.refusals() + 1 >= self.most_refused
    }

    /// Tries the next older version that counts: it is for the same user on the same server, and its password was not refused.
    async fn try_older(&mut self) -> Result<()> {
        let context = self.logins.context;
        let mut older = match self.older.take() {
            Some(older) => older,
            // A superuser who may help makes a longer search needless.
            None if self.rescuer.is_some() => {
                context.description().previous_version().map(str::to_owned).into_iter().collect()
            }
            None => context.older_versions().await?.into_iter().rev().collect(),
        };
        while let Some(id) = older.pop() {
            if self.is_spent() || self.keeps_the_last_login() {
                self.untried = true;
                break;
            }
            let document = context.version(&id).await?;
            let current = &self.versions.current;
            let read = |document| DatabaseSecret::read_beside::<E>(&document, &current.user).ok();
            let secret = document.and_then(read).filter(|secret| {
                let (user, password) = (&secret.user.username, &secret.user.password);
                current.same_login(secret) && context.was_refused(user, password).is_none()
            });
            if let Some(secret) = secret {
                // What was edited since, the database for example, counts as it is now.
                let user = DatabaseUser { password: secret.user.password, ..current.user.clone() };
                self.previous = Some(DatabaseSecret { user, ..current.clone() });
                self.older = Some(older);
                self.try_credential(Credential::Previous).await?;
                // The next one may work.
                self.seen.previous = self.seen.previous.filter(|seen| *seen != Observation::Rejected);
                return Ok(());
            }
        }
        self.fallbacks.previous = false;
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

    /// Ends a search that has found the pending password in effect. On a server that changes one account after the other, the accounts
    /// that an earlier run has not reached get it now. A user who changes them itself changes its own account last, so only a
    /// superuser can have stopped half-way.
    async fn go_on(self) -> Result<Applied> {
        let may_be_half_done = self.logins.engine.may_stop_half_way(&self.versions.current.user.engine);
        if may_be_half_done && matches!(self.setter, Setter::Superuser(_)) {
            Box::pin(self.change_as(Credential::Pending)).await?;
        }
        Ok(Applied::AlreadyInEffect)
    }

    async fn change_as(self, credential: Credential) -> Result<Applied> {
        // A login can prove the password without a session that can do anything. Then its failure says why.
        let Some(session) = self.session else {
            return Err(self.failure.unwrap_or_else(internal));
        };
        let Logins { context, engine, .. } = *self.logins;
        let CheckedVersions { current, pending, .. } = self.versions;
        let from = match (credential, &self.previous) {
            (Credential::Previous, Some(previous)) => &previous.user.password,
            _ => &current.user.password,
        };
        let change = PasswordChange { user: &pending.user.username, from, to: &pending.user.password };
        let (session, work, by) = match (credential, self.setter) {
            (Credential::Superuser, _) => (session, Work::Rescue(change), credential),
            (_, Setter::User { .. }) => (session, Work::Own(change), credential),
            (_, Setter::Superuser(superuser)) => {
                let session = superuser_instead(self.logins, session, superuser, &current.user).await?;
                (session, Work::Other(change), Credential::Superuser)
            }
        };
        let evidence = VersionsOfSecret::<E>::new(context, &current.user);
        let locked = engine.lock(session, work, &evidence).await?;
        let locked = wanted(engine, context, locked, [from, change.to]).await?;
        let previous = match engine.set_password(locked, change).await {
            // The password before still opens sessions. Only here is the pending one worth a login that may be refused.
            Err(error) if by != Credential::Superuser && engine.is_a_second_run(&error) => {
                let again = self.logins.log_in(&pending.user, Credential::Pending).await;
                return again.map(|_| Applied::AlreadyInEffect).map_err(|_| error);
            }
            changed => changed?,
        };
        Ok(Applied::Changed(Change { by: by.as_str(), previous }))
    }

    fn failed_with(self, code: Code) -> Error {
        self.failure.map_or_else(internal, |error| error.recoded(code))
    }
}

/// Ends the session of a user whom a known password has opened. Returns one of the superuser who sets the next password.
///
/// **Invariant:** the user logs in before its password is set, although the superuser could set it without that. Otherwise the
/// password of a user who may not log in from here would be replaced by one that testSecret cannot try, and AWSCURRENT would open
/// nothing. Test: `a_user_who_cannot_log_in_from_here_keeps_its_password`.
async fn superuser_instead<E: Engine>(
    logins: &Logins<'_, E>,
    session: E::Session,
    superuser: &str,
    user: &DatabaseUser,
) -> Result<E::Session> {
    // A server or a proxy may have taken the user for another one, or `host` may be a replica of the superuser's server.
    let session = logins.engine.prove(session, &user.username, None, Hold::Primary).await?;
    logins.engine.close(session).await;
    logins.superuser_session(superuser, user).await
}

/// A state that the types allow and the code does not reach.
fn internal() -> Error {
    Error::new(Code::Internal).with(Fact::What, "an impossible state in setSecret")
}
