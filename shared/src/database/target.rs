//! A database user as the target of a rotation. Each method reads the secret's versions once and passes on typed values.

use super::engine::{Engine, Hold};
use super::login::Logins;
use super::login_failure::LoginFailure;
use super::plan::Credential;
use super::secret::{DatabaseSecret, DatabaseUser, Setter, Strategy};
use super::settings::Settings;
use super::superuser::Superusers;
use super::versions::{CheckedVersions, Users};
use super::{alternating, retire, single};
use crate::document::Document;
use crate::error::{Code, Result};
use crate::password::{OsEntropy, Policy};
use crate::protocol::context::StepContext;
use crate::protocol::label::Label;
use crate::protocol::observation::Attempt;
use crate::protocol::portrait::Portrait;
use crate::protocol::target::{
    Applied, Helper, HelperSecret, OlderVersion, Proof, Proposal, Retired, Sessions, Target, VersionWithAge, Versions,
};
use std::time::Duration;

/// Rotates the users of one kind of database.
pub struct DatabaseTarget<E> {
    engine: E,
    policy: Policy,
    deployers_ca: Option<String>,
    superusers: Superusers,
    most_refused_logins: Option<usize>,
}

impl<E: Engine> DatabaseTarget<E> {
    /// A target over `engine`, with the deployer's password policy and CA.
    pub fn new(engine: E, settings: Settings) -> Self {
        let superusers = Superusers::new(settings.superuser_secrets, settings.rds_endpoint.as_deref());
        Self {
            engine,
            policy: settings.policy,
            deployers_ca: settings.ca_bundle,
            superusers,
            most_refused_logins: settings.most_refused_logins,
        }
    }

    fn logins<'a>(&'a self, context: &'a StepContext<'a>) -> Logins<'a, E> {
        let (engine, superusers) = (&self.engine, &self.superusers);
        Logins { engine, superusers, deployers_ca: self.deployers_ca.as_deref(), context }
    }

    /// How many refused logins end a search for a password that works.
    fn most_refused(&self, engine: &str) -> usize {
        self.most_refused_logins.unwrap_or_else(|| self.engine.most_refused_logins(engine))
    }

    /// Ends the passwords before that of `secret`, if they may not live longer than `age`, the time since this one was made.
    async fn discard(
        &self,
        logins: Logins<'_, E>,
        secret: &DatabaseSecret,
        version: &str,
        age: Option<Duration>,
    ) -> Result<Retired> {
        let due = secret.discard_after.zip(age).is_some_and(|(after, age)| age >= after);
        if due { retire::discard(&logins, secret, version).await } else { Ok(Retired::Nothing) }
    }
}

impl<E: Engine> Target for DatabaseTarget<E> {
    type Made = ();
    type Held = E::Session;
    const SEARCHES_OLDER_VERSIONS: bool = true;
    const SUPERUSER_SETS_CURRENT: bool = true;

    fn throttles(&self) -> u32 {
        self.superusers.throttles()
    }

    fn portrait(&self, current: &Document) -> Result<Portrait> {
        let DatabaseSecret { user, strategy, .. } = DatabaseSecret::read::<E>(current)?;
        let opens = format!("{} at {}:{}", user.engine, user.host, user.port);
        Ok(Portrait::new(Some(&user.username), strategy.as_str(), &opens))
    }

    fn helper_secret(&self, current: &Document) -> Option<Helper> {
        let (secret, verifies) = match DatabaseSecret::read::<E>(current).ok()?.strategy {
            Strategy::AlternatingUsers { superuser, .. } => (superuser, E::SUPERUSER_COMPARES),
            Strategy::SingleUser { setter: Setter::Superuser(superuser) } => (superuser, false),
            // A rescue is rare, so its secret is read only when it is needed.
            Strategy::SingleUser { setter: Setter::User { .. } } => return None,
        };
        self.superusers.may_read(&secret).then_some(Helper { secret, verifies })
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<()>> {
        let DatabaseSecret { user: now, strategy, .. } = DatabaseSecret::read::<E>(current)?;
        // An unusable CA or client's certificate is found here, before anything has changed.
        now.endpoint(self.deployers_ca.as_deref()).map_err(|error| now.locate(error))?;
        let user = match &strategy {
            Strategy::SingleUser { .. } => now.username.clone(),
            Strategy::AlternatingUsers { users, .. } => {
                alternating::next_user::<E>(context, &now, users.as_ref()).await?
            }
        };
        self.engine.check_name(&now.engine, &user)?;
        let password = self.policy.generate(&OsEntropy)?;
        let document =
            current.with(&[(now.keys.of("username"), &user), (now.keys.of("password"), password.expose())])?;
        Ok(Proposal { document, made: () })
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        let (logins, versions) = (self.logins(context), CheckedVersions::unedited::<E>(versions)?);
        let applied = match &versions.users {
            Users::Single { setter } => {
                let most = self.most_refused(&versions.current.user.engine);
                single::apply(&logins, &versions, setter, most).await
            }
            Users::Alternating { superuser, pair, pending } => {
                alternating::apply(&logins, &versions, superuser, (pair, *pending)).await
            }
        };
        applied.map_err(|error| versions.pending.user.locate(error))
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, proof: Proof) -> Result<E::Session> {
        let (logins, versions) = (self.logins(context), CheckedVersions::unedited::<E>(versions)?);
        let session = logins.session(&versions.pending.user, Credential::Pending).await?;
        let proven = prove(&logins, session, &versions, proof).await;
        proven.map_err(|error| versions.pending.user.locate(error))
    }

    async fn release(&self, held: E::Session) {
        self.engine.close(held).await;
    }

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let secret = DatabaseSecret::read::<E>(versions.pending)?;
        self.discard(self.logins(context), &secret, context.token(), Some(Duration::ZERO)).await
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        let (logins, secret) = (self.logins(context), DatabaseSecret::read::<E>(current.document)?);
        let user = &secret.user;
        let session = logins.session(user, Credential::Current).await?;
        let proven = self.engine.prove(session, &user.username, None, Hold::Nothing).await;
        self.engine.close(proven.map_err(|error| user.locate(error))?).await;
        if let Some(superuser) = secret.strategy.superuser() {
            logins.superuser_session(superuser, user).await?;
        }
        let version = context.description().current_version().unwrap_or_default();
        self.discard(logins, &secret, version, current.age).await
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        let (user, credential) = match label {
            Label::Current => (DatabaseSecret::read::<E>(versions.current)?.user, Credential::Current),
            Label::Pending => (CheckedVersions::read::<E>(versions)?.pending.user, Credential::Pending),
            Label::Previous => {
                let (current, older) = previous::<E>(versions)?;
                // A certificate is renewed more often than it is wrong.
                let client_certificate = current.user.client_certificate;
                (DatabaseUser { client_certificate, ..older.user }, Credential::Previous)
            }
        };
        let logins = self.logins(context);
        let tried = if label == Label::Previous && context.is_certain() {
            logins.log_in(&user, credential).await
        } else {
            logins.try_to_log_in(&user, credential).await
        };
        Ok(tried_as(tried, Code::CurrentRejected))
    }

    async fn end_early(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        retire::end_credential(self.logins(context), &self.policy, versions).await
    }

    async fn end_sessions(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Option<Sessions>> {
        retire::end_sessions(self.logins(context), versions).await.map(Some)
    }

    fn older(&self, context: &StepContext<'_>, versions: Versions<'_>) -> OlderVersion {
        let Ok(current) = DatabaseSecret::read::<E>(versions.current) else { return OlderVersion::Useless };
        let Ok(older) = DatabaseSecret::read_beside::<E>(versions.pending, &current.user) else {
            return OlderVersion::Useless;
        };
        let user = &older.user.username;
        if !current.same_login(&older) || context.was_refused(user, &older.user.password).is_some() {
            return OlderVersion::Useless;
        }
        if context.refusals() < self.most_refused(&current.user.engine) {
            OlderVersion::Worthwhile
        } else {
            OlderVersion::Untried
        }
    }

    async fn attempt_helper_secret(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> Result<Option<HelperSecret>> {
        let (logins, secret) = (self.logins(context), DatabaseSecret::read::<E>(current)?);
        let Some(id) = secret.strategy.superuser() else { return Ok(None) };
        let tried = match self.superusers.find::<E>(context, id, &secret.user).await {
            Ok(superuser) => tried_as(logins.log_in_superuser(&superuser).await, Code::SuperuserRejected),
            Err(error) => Attempt::unknown(error),
        };
        // With either strategy, a superuser can give the user a password that works.
        Ok(Some(HelperSecret { secret: id.to_owned(), rescues: true, tried: Some(tried) }))
    }
}

/// The current version, and an older one of the same login. The previous version of a pair has the partner; the one before it has the
/// current user again.
fn previous<E: Engine>(versions: Versions<'_>) -> Result<(DatabaseSecret, DatabaseSecret)> {
    let other = match CheckedVersions::read::<E>(versions) {
        Ok(CheckedVersions { current, pending, .. }) => return Ok((current, pending)),
        Err(error) => error,
    };
    let current = DatabaseSecret::read::<E>(versions.current)?;
    let older = DatabaseSecret::read_beside::<E>(versions.pending, &current.user)?;
    if current.same_login(&older) { Ok((current, older)) } else { Err(other) }
}

/// Proves that the pending user's session works and, for a pair, that its privileges are the base's. For
/// [`Proof::Works`] the session holds the lock then.
async fn prove<E: Engine>(
    logins: &Logins<'_, E>,
    session: E::Session,
    versions: &CheckedVersions,
    proof: Proof,
) -> Result<E::Session> {
    let (engine, user) = (logins.engine, &versions.pending.user.username);
    let hold = if proof == Proof::Works { Hold::Lock } else { Hold::Nothing };
    let Users::Alternating { superuser, pair, pending } = &versions.users else {
        return engine.prove(session, user, None, hold).await;
    };
    let session = engine.prove(session, user, Some(pair), hold).await?;
    if E::SUPERUSER_COMPARES && proof == Proof::Full {
        let superuser = logins.superuser_session(superuser, &versions.current.user).await?;
        engine.compare(superuser, pair, *pending).await?;
    }
    Ok(session)
}

fn tried_as<T>(attempt: Result<T, LoginFailure>, rejected: Code) -> Attempt {
    match attempt {
        Ok(_) => Attempt::WORKS,
        Err(failure) => Attempt { observation: failure.observation, error: Some(failure.or_rejected(rejected)) },
    }
}
