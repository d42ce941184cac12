//! A database user as a rotation's target: observe, decide, act, prove.

use super::engine::{Engine, Evidence, Login, OwnChange, Turn};
use super::login_failure::LoginFailure;
use super::pair::Pair;
use super::plan::{Credential, Fallbacks, Move, Observations, next_move};
use super::secret::{DatabaseSecret, Strategy, Superuser, SuperuserSecret};
use super::settings::Settings;
use crate::aws::rds::{Address, Rds, could_not_ask, managed_for, mismatch};
use crate::document::Document;
use crate::error::{Class, Code, Error, Fact, Result};
use crate::password::{OsEntropy, Policy};
use crate::protocol::context::StepContext;
use crate::protocol::label::Label;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::observation::{Attempt, Observation};
use crate::protocol::target::{
    Applied, Change, HelperSecret, Proof, Proposal, Retired, Target, VersionWithAge, Versions,
};
use crate::secret::Password;
use std::marker::PhantomData;
use std::time::Duration;

/// Rotates the users of one kind of database.
pub struct DatabaseTarget<E> {
    engine: E,
    policy: Policy,
    deployers_ca: Option<String>,
    superuser_secrets: Option<Vec<String>>,
    rds: Rds,
}

impl<E: Engine> DatabaseTarget<E> {
    /// A target over `engine`, with the deployer's password policy and CA.
    pub fn new(engine: E, settings: Settings) -> Self {
        Self {
            engine,
            policy: settings.policy,
            deployers_ca: settings.ca_bundle,
            superuser_secrets: settings.superuser_secrets,
            rds: Rds::new(settings.rds_endpoint.as_deref()),
        }
    }

    /// With a credential that is expected to work.
    async fn log_in(
        &self,
        context: &StepContext<'_>,
        facts: &DatabaseSecret,
        credential: Credential,
    ) -> Result<E::Session, LoginFailure> {
        self.log_in_with(context, facts, credential, false).await
    }

    /// With one of several of which one is in effect: the current one, as a rule.
    async fn try_to_log_in(
        &self,
        context: &StepContext<'_>,
        facts: &DatabaseSecret,
        credential: Credential,
    ) -> Result<E::Session, LoginFailure> {
        match credential {
            Credential::Current => self.log_in(context, facts, credential).await,
            _ => self.log_in_once(context, facts, credential, false).await,
        }
    }

    async fn log_in_superuser(
        &self,
        context: &StepContext<'_>,
        superuser: &Superuser,
    ) -> Result<E::Session, LoginFailure> {
        let binding = !superuser.address_is_vouched_for;
        self.log_in_with(context, &superuser.facts, Credential::Superuser, binding).await
    }

    async fn log_in_with(
        &self,
        context: &StepContext<'_>,
        facts: &DatabaseSecret,
        credential: Credential,
        channel_binding_required: bool,
    ) -> Result<E::Session, LoginFailure> {
        match self.log_in_once(context, facts, credential, channel_binding_required).await {
            Err(failure)
                if failure.observation == Observation::Rejected && self.engine.may_refuse_wrongly(&facts.engine) =>
            {
                self.log_in_once(context, facts, credential, channel_binding_required).await
            }
            outcome => outcome,
        }
    }

    async fn log_in_once(
        &self,
        context: &StepContext<'_>,
        facts: &DatabaseSecret,
        credential: Credential,
        channel_binding_required: bool,
    ) -> Result<E::Session, LoginFailure> {
        let endpoint = facts.endpoint(self.deployers_ca.as_deref()).map_err(LoginFailure::unknown)?;
        let login = Login {
            endpoint: &endpoint,
            user: &facts.username,
            password: &facts.password,
            credential,
            channel_binding_required,
        };
        self.engine.connect(login, context.deadline()).await.map_err(|failure| {
            if failure.observation == Observation::Rejected {
                context.notes().refused_login();
            }
            let error = placed(failure.error.with_default(Fact::Credential, credential), facts);
            LoginFailure { error, ..failure }
        })
    }

    /// The superuser's secret, checked against the child before its password goes anywhere.
    async fn superuser(&self, context: &StepContext<'_>, child: &DatabaseSecret) -> Result<Option<Superuser>> {
        let Some(id) = &child.superuser else { return Ok(None) };
        if !self.may_read(id) {
            return Err(Error::new(Code::SuperuserNotAllowed).with(Fact::OtherSecret, id));
        }
        let document = context.other_secret(id).await?;
        let superuser = async {
            match SuperuserSecret::read::<E>(&document)? {
                SuperuserSecret::Full(own) => self.full_superuser(context, *own, child).await,
                SuperuserSecret::Alone { username, password } => {
                    self.managed_superuser(context, id, child, username, password).await
                }
            }
        };
        superuser.await.map(Some).map_err(|error| error.with_default(Fact::OtherSecret, id))
    }

    async fn full_superuser(
        &self,
        context: &StepContext<'_>,
        own: DatabaseSecret,
        child: &DatabaseSecret,
    ) -> Result<Superuser> {
        let (here, there) = (Address::new(&own.host, own.port), Address::new(&child.host, child.port));
        if here == there {
            return Ok(Superuser::of_same_server(own, child));
        }
        let mismatch = || mismatch(&there, &here);
        // A server has one port.
        if here.host == there.host {
            return Err(mismatch());
        }
        let same = self.rds.same_database(&here, &child.proven_address(), context.deadline()).await;
        match same {
            Ok(true) => Ok(Superuser::of_same_database(own, child)),
            Ok(false) => Err(mismatch()),
            Err(why) => Err(explained(mismatch(), why)),
        }
    }

    /// A superuser whose secret names no server: where RDS says it is, or else, if the server can be made to prove that it
    /// knows the superuser, where the child says.
    async fn managed_superuser(
        &self,
        context: &StepContext<'_>,
        id: &str,
        child: &DatabaseSecret,
        username: String,
        password: Password,
    ) -> Result<Superuser> {
        let why = match self.looked_up(context, id, child).await {
            Ok(Some(address)) => return Ok(Superuser::managed(child, username, password, address)),
            Ok(None) => None,
            Err(error) if could_not_ask(&error) || error.code() == Code::ServiceDenied => Some(error),
            Err(error) => return Err(error),
        };
        if E::CHANNEL_BINDING {
            why.into_iter().for_each(|why| context.warn(why));
            return Ok(Superuser::beside(child, username, password));
        }
        let unproven = Error::new(Code::SuperuserAddressUnproven).with(Fact::User, username);
        Err(match why {
            Some(why) => explained(unproven, why),
            None => unproven,
        })
    }

    /// Where the superuser of a secret that RDS manages logs in; `None` if RDS does not manage it.
    async fn looked_up(&self, context: &StepContext<'_>, id: &str, child: &DatabaseSecret) -> Result<Option<Address>> {
        match managed_for(&context.describe_other(id).await?.tags) {
            Some(anchor) => {
                let child = child.proven_address();
                self.rds.primary(&anchor, &child, E::NAMES, context.deadline()).await.map(Some)
            }
            None => Ok(None),
        }
    }

    /// The function's role reaches more secrets than the superusers': those that it rotates, too. Whoever may write one of
    /// them must not borrow another as a superuser's.
    fn may_read(&self, superuser: &str) -> bool {
        self.superuser_secrets.as_ref().is_none_or(|allowed| allowed.iter().any(|arn| arn == superuser))
    }

    async fn apply_single(
        &self,
        context: &StepContext<'_>,
        current: &DatabaseSecret,
        pending: &DatabaseSecret,
    ) -> Result<Applied> {
        let deadline = context.deadline();
        let mut seen = Observations::default();
        // Fetched when the current and the pending password were refused, and not before.
        let mut previous: Option<DatabaseSecret> = None;
        let mut fallbacks = Fallbacks { previous: true, superuser: current.rescue };
        let mut failure: Option<Error> = None;
        let mut session: Option<E::Session> = None;
        loop {
            match next_move(seen, fallbacks) {
                Move::Try(Credential::Previous) if previous.is_none() => {
                    previous = self.previous_of(context, current).await?;
                    fallbacks.previous = previous.is_some();
                }
                Move::Try(credential) => {
                    let attempt = match credential {
                        Credential::Current => self.try_to_log_in(context, current, credential).await,
                        Credential::Pending => self.try_to_log_in(context, pending, credential).await,
                        Credential::Previous => match &previous {
                            Some(previous) => self.try_to_log_in(context, previous, credential).await,
                            None => return Err(internal()),
                        },
                        Credential::Superuser => match self.superuser(context, current).await? {
                            Some(superuser) => self.log_in_superuser(context, &superuser).await,
                            None => return Err(internal()),
                        },
                    };
                    let observation = match attempt {
                        Ok(open) => {
                            session = Some(open);
                            Observation::Works
                        }
                        Err(failed) => {
                            failure = Some(failed.error);
                            failed.observation
                        }
                    };
                    match credential {
                        Credential::Current => seen.current = Some(observation),
                        Credential::Pending => seen.pending = Some(observation),
                        Credential::Previous => seen.previous = Some(observation),
                        Credential::Superuser => seen.superuser = Some(observation),
                    }
                }
                Move::AlreadyInEffect => return Ok(Applied::AlreadyInEffect),
                Move::ChangeAs(credential) => {
                    // The password may be proven without a session that can do anything: then the failure says why.
                    let Some(session) = session else {
                        return Err(failure.unwrap_or_else(|| Error::new(Code::Internal)));
                    };
                    let (user, new) = (&pending.username, &pending.password);
                    context.still_pending().await?;
                    let from = match (credential, &previous) {
                        (Credential::Previous, Some(previous)) => &previous.password,
                        _ => &current.password,
                    };
                    let change = OwnChange { user, from, to: new };
                    let previous = if credential == Credential::Superuser {
                        self.engine.rescue(session, change, deadline).await?;
                        PreviousCredential::Refused
                    } else {
                        match self.engine.change_own_password(session, change, deadline).await {
                            // The one before still opens sessions. Nothing else is worth a login that may be refused.
                            Err(error) if self.engine.is_a_second_run(&error) => {
                                let again = self.log_in(context, pending, Credential::Pending).await;
                                return again.map(|_| Applied::AlreadyInEffect).map_err(|_| error);
                            }
                            changed => changed?,
                        }
                    };
                    return Ok(Applied::Changed(Change { by: credential.as_str(), previous }));
                }
                Move::Report(Credential::Superuser) if seen.superuser == Some(Observation::Rejected) => {
                    return Err(failure.map_or_else(internal, |error| error.recoded(Code::SuperuserRejected)));
                }
                Move::Report(_) => return Err(failure.unwrap_or_else(internal)),
                Move::LockedOut => {
                    return Err(failure.map_or_else(internal, |error| error.recoded(Code::LockedOut)));
                }
            }
        }
    }

    /// The previous version, if it is about the same user on the same server. Anything else is not ours to try.
    async fn previous_of(&self, context: &StepContext<'_>, current: &DatabaseSecret) -> Result<Option<DatabaseSecret>> {
        let previous = context.previous().await?.and_then(|document| DatabaseSecret::read::<E>(&document).ok());
        Ok(previous.filter(|previous| previous.username == current.username && current.same_target(previous).is_ok()))
    }

    async fn apply_alternating(
        &self,
        context: &StepContext<'_>,
        current: &DatabaseSecret,
        pending: &DatabaseSecret,
    ) -> Result<Applied> {
        let pair = pair_of_versions(current, pending)?;
        let side = pair.side(&pending.username).ok_or_else(internal)?;
        let superuser = self.superuser(context, current).await?.ok_or_else(internal)?;
        let session = self.log_in_superuser(context, &superuser).await;
        let session = session.map_err(|failure| failure.or_rejected(Code::SuperuserRejected))?;
        context.still_pending().await?;
        let turn = Turn { pair: &pair, pending: side, new: &pending.password, current: &current.password };
        let evidence = VersionsOfSecret { context, current, engine: PhantomData::<E> };
        self.engine.converge(session, turn, &evidence, context.deadline()).await?;
        Ok(Applied::Changed(Change { by: Credential::Superuser.as_str(), previous: PreviousCredential::Works }))
    }

    /// Neither of a pair may see the other's privileges where this is needed.
    async fn compare_as_superuser(
        &self,
        context: &StepContext<'_>,
        current: &DatabaseSecret,
        pair: &Pair,
        pending: &str,
    ) -> Result<()> {
        let pending = pair.side(pending).ok_or_else(internal)?;
        let superuser = self.superuser(context, current).await?.ok_or_else(internal)?;
        let session = self.log_in_superuser(context, &superuser).await;
        let session = session.map_err(|failure| failure.or_rejected(Code::SuperuserRejected))?;
        self.engine.compare(session, pair, pending, context.deadline()).await
    }

    /// Ends the passwords before `current`, if the secret asks for that `age` after it was made.
    async fn discard(
        &self,
        context: &StepContext<'_>,
        current: &DatabaseSecret,
        age: Option<Duration>,
    ) -> Result<Retired> {
        let due = current.discard_after.zip(age).is_some_and(|(after, age)| age >= after);
        if !due {
            return Ok(Retired::Nothing);
        }
        let session = self.log_in(context, current, Credential::Current).await;
        let session = session.map_err(|failure| failure.or_rejected(Code::CurrentRejected))?;
        let discarded = self
            .engine
            .discard_previous_password(session, &current.username, &current.password, context.deadline())
            .await
            .map_err(|error| placed(error, current))?;
        Ok(if discarded { Retired::Previous } else { Retired::Nothing })
    }
}

/// What the secret's versions tell about a pair.
struct VersionsOfSecret<'a, E> {
    context: &'a StepContext<'a>,
    current: &'a DatabaseSecret,
    engine: PhantomData<E>,
}

impl<E: Engine> Evidence for VersionsOfSecret<'_, E> {
    async fn previous_user(&self) -> Result<Option<String>> {
        let document = self.context.previous().await?;
        Ok(document.and_then(|document| user_on_same_server::<E>(&document, self.current)))
    }
}

/// The user of a version, if that is about the server of another one.
fn user_on_same_server<E: Engine>(document: &Document, other: &DatabaseSecret) -> Option<String> {
    let facts = DatabaseSecret::read::<E>(document).ok()?;
    (facts.host.eq_ignore_ascii_case(&other.host) && facts.port == other.port).then_some(facts.username)
}

impl<E: Engine> Target for DatabaseTarget<E> {
    type Made = ();
    const COMPANION_VERIFIES: bool = E::SUPERUSER_COMPARES;

    fn throttles(&self) -> u32 {
        self.rds.throttles()
    }

    fn companion(&self, current: &Document) -> Option<String> {
        let facts = DatabaseSecret::read::<E>(current).ok()?;
        // A rescue is rare; its secret is read when it is needed.
        facts.superuser.clone().filter(|id| facts.strategy() == Strategy::AlternatingUsers && self.may_read(id))
    }

    async fn propose(&self, context: &StepContext<'_>, current: &Document) -> Result<Proposal<()>> {
        let facts = DatabaseSecret::read::<E>(current)?;
        // A CA that cannot be used is better found before anything has changed.
        facts.endpoint(self.deployers_ca.as_deref())?;
        let user = match facts.strategy() {
            Strategy::SingleUser => facts.username.clone(),
            Strategy::AlternatingUsers => {
                let previous = if Pair::needs_previous(&facts.username, facts.users.as_ref()) {
                    context.previous().await?
                } else {
                    None
                };
                let previous_user = previous.and_then(|document| user_on_same_server::<E>(&document, &facts));
                facts.pair(previous_user.as_deref())?.partner(&facts.username).to_owned()
            }
        };
        self.engine.check_name(&facts.engine, &user)?;
        let password = self.policy.generate(&OsEntropy)?;
        let document = current.with(&[("username", &user), ("password", password.expose())])?;
        Ok(Proposal { document, made: () })
    }

    async fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Applied> {
        let (current, pending) = read_both::<E>(versions)?;
        let applied = match current.strategy() {
            Strategy::SingleUser => self.apply_single(context, &current, &pending).await,
            Strategy::AlternatingUsers => self.apply_alternating(context, &current, &pending).await,
        };
        applied.map_err(|error| placed(error, &pending))
    }

    async fn verify(&self, context: &StepContext<'_>, versions: Versions<'_>, proof: Proof) -> Result<()> {
        let deadline = context.deadline();
        let (current, pending) = read_both::<E>(versions)?;
        let pair = match current.strategy() {
            Strategy::SingleUser => None,
            Strategy::AlternatingUsers => Some(pair_of_versions(&current, &pending)?),
        };
        let session = self.log_in(context, &pending, Credential::Pending).await;
        let session = session.map_err(|failure| failure.or_rejected(Code::PendingRejected))?;
        let proven = self.engine.prove(session, &pending.username, pair.as_ref(), deadline).await;
        proven.map_err(|error| placed(error, &pending))?;
        match pair {
            Some(pair) if E::SUPERUSER_COMPARES && proof == Proof::Full => {
                let compared = self.compare_as_superuser(context, &current, &pair, &pending.username).await;
                compared.map_err(|error| placed(error, &pending))
            }
            _ => Ok(()),
        }
    }

    async fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Retired> {
        let facts = DatabaseSecret::read::<E>(versions.pending)?;
        self.discard(context, &facts, Some(Duration::ZERO)).await
    }

    async fn check(&self, context: &StepContext<'_>, current: VersionWithAge<'_>) -> Result<Retired> {
        let facts = DatabaseSecret::read::<E>(current.document)?;
        let session = self.log_in(context, &facts, Credential::Current).await;
        let session = session.map_err(|failure| failure.or_rejected(Code::CurrentRejected))?;
        let proven = self.engine.prove(session, &facts.username, None, context.deadline()).await;
        proven.map_err(|error| placed(error, &facts))?;
        if let Some(superuser) = self.superuser(context, &facts).await? {
            let session = self.log_in_superuser(context, &superuser).await;
            session.map_err(|failure| failure.or_rejected(Code::SuperuserRejected))?;
        }
        self.discard(context, &facts, current.age).await
    }

    async fn attempt(&self, context: &StepContext<'_>, versions: Versions<'_>, label: Label) -> Result<Attempt> {
        let (facts, credential) = match label {
            Label::Current => (DatabaseSecret::read::<E>(versions.current)?, Credential::Current),
            Label::Pending => (read_both::<E>(versions)?.1, Credential::Pending),
            Label::Previous => (read_both::<E>(versions)?.1, Credential::Previous),
        };
        Ok(tried_as(self.try_to_log_in(context, &facts, credential).await))
    }

    async fn attempt_companion(&self, context: &StepContext<'_>, current: &Document) -> Result<Option<HelperSecret>> {
        let facts = DatabaseSecret::read::<E>(current)?;
        let Some(secret) = facts.superuser.clone() else { return Ok(None) };
        let tried = match self.superuser(context, &facts).await {
            Ok(Some(superuser)) => tried_as(self.log_in_superuser(context, &superuser).await),
            Ok(None) => return Ok(None),
            Err(error) => Attempt::unknown(error),
        };
        let rescues = facts.rescue || facts.strategy() == Strategy::AlternatingUsers;
        Ok(Some(HelperSecret { secret, rescues, tried: Some(tried) }))
    }
}

fn tried_as<T>(attempt: Result<T, LoginFailure>) -> Attempt {
    match attempt {
        Ok(_) => Attempt::WORKS,
        Err(failure) => Attempt { observation: failure.observation, error: Some(failure.error) },
    }
}

/// Both versions, after the checks that come before any password is sent: the pending one is for the same server and for
/// the user that this rotation may touch.
fn read_both<E: Engine>(versions: Versions<'_>) -> Result<(DatabaseSecret, DatabaseSecret)> {
    let current = DatabaseSecret::read::<E>(versions.current)?;
    let pending = DatabaseSecret::read::<E>(versions.pending)?;
    current.same_target(&pending)?;
    if current.strategy() == Strategy::SingleUser {
        if current.username != pending.username {
            return Err(other_user(&current, &pending, &current.username));
        }
    } else {
        pair_of_versions(&current, &pending)?;
    }
    Ok((current, pending))
}

/// The pair, judged by both versions: createSecret looked at AWSPREVIOUS to choose the pending user, and its choice
/// shows which of the two is the clone. The database has the last word on whether they belong together.
fn pair_of_versions(current: &DatabaseSecret, pending: &DatabaseSecret) -> Result<Pair> {
    let pair = current.pair(Some(&pending.username))?;
    let partner = pair.partner(&current.username);
    if pending.username == partner { Ok(pair) } else { Err(other_user(current, pending, partner)) }
}

fn other_user(current: &DatabaseSecret, pending: &DatabaseSecret, expected: &str) -> Error {
    Error::new(Code::PendingMismatch)
        .with(Fact::Field, "username")
        .with(Fact::Found, &pending.username)
        .with(Fact::Expected, expected)
        .with(Fact::User, &current.username)
}

/// An error, and why RDS could not be asked about it. What passes by itself is the error: nobody has to change anything.
fn explained(error: Error, why: Error) -> Error {
    let (main, other) = if why.class() == Class::Retryable { (why, error) } else { (error, why) };
    other.facts().fold(main, |main, (fact, value)| main.with_default(fact, value))
}

/// Says where it happened, and to whom, unless that was said closer to it.
fn placed(error: Error, facts: &DatabaseSecret) -> Error {
    error
        .with_default(Fact::Host, &facts.host)
        .with_default(Fact::Port, facts.port)
        .with_default(Fact::User, &facts.username)
}

/// A state that the types allow and the code does not reach.
fn internal() -> Error {
    Error::new(Code::Internal).with(Fact::What, "an impossible state in setSecret")
}
