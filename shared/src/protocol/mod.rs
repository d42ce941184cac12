//! The four steps, over any store and any target.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
//!
//! On the normal path each step waits for this many consecutive calls to Secrets Manager:
//!
//! * createSecret: 2, or 3 where the target asks for AWSPREVIOUS
//! * setSecret: 2, or 3 where the target needs a helper secret that createSecret did not name in this process
//! * testSecret: 1, or 2 where the proof needs such a helper secret
//! * finishSecret: 3
//!
//! One of those in setSecret and finishSecret reads the labels again, while nobody else can change the credential.

pub mod activity;
pub mod context;
pub mod diagnose;
pub mod encryption_key;
pub mod event;
pub mod history;
pub mod label;
mod looks;
pub mod notes;
pub mod observation;
pub mod portrait;
pub mod recover;
pub mod report;
pub mod retire;
pub mod rotate_now;
pub mod schedule;
pub mod status;
pub mod store;
pub mod target;
#[cfg(test)]
mod testing;
pub mod watch;

use crate::clock::{Deadline, since_epoch};
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::context::{HelperVersion, READ_AGAIN_AFTER, RefusedLogins, StepContext, read_helper};
use crate::protocol::event::{Event, Step};
use crate::protocol::label::Label;
use crate::protocol::notes::{InFlightChanges, Notes, StepNotes};
use crate::protocol::observation::{Attempt, Observation};
use crate::protocol::portrait::Album;
use crate::protocol::store::{Description, PutOutcome, RotationState, SecretStore, Version, VersionSelector};
use crate::protocol::target::{Applied, Change, Helper, Proof, Retired, Target, VersionWithAge, Versions};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rotates secrets of one kind.
pub struct Rotation<S, T> {
    store: S,
    target: T,
    /// The helper secret of the secret that createSecret ran for last. setSecret usually follows in the same process, and then
    /// reads it together with everything else. It is only a hint: the current value decides.
    hint: Mutex<Option<Hint>>,
    /// The version whose value createSecret stored last, until setSecret begins: nothing has put it into effect yet.
    fresh: Mutex<Option<(String, String)>>,
    changes: InFlightChanges,
    /// Whether the deployer lets people recover secrets with this function.
    recovers: bool,
    /// Whether the deployer lets people begin rotations with this function.
    rotates_now: bool,
    /// Whether the deployer lets people end superseded credentials and their sessions with this function.
    retires: bool,
    /// What the secrets say about themselves.
    album: Album,
}

#[derive(Clone)]
struct Hint {
    secret: String,
    helper: Helper,
}

/// A step that was carried out.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// What it did, or why not.
    pub outcome: Result<Outcome>,
    /// What the step noted besides its outcome.
    pub notes: Notes,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// createSecret stored a new credential.
    Proposed,
    /// createSecret found the version's value there.
    AlreadyProposed,
    /// setSecret changed the credential at the target.
    Changed(Change),
    /// setSecret found the new credential in effect.
    AlreadyInEffect,
    /// testSecret proved the new credential.
    Verified,
    /// testSecret had no new credential to try (RotateImmediately=false) and proved the current one.
    ConfigurationVerified(Retired),
    /// finishSecret moved AWSCURRENT, so the rotation has succeeded. The inner result says whether old credentials were ended.
    Promoted(Result<Retired>),
    /// The version is AWSCURRENT already. Its credential works, if the step is not createSecret, which has nothing to do then.
    AlreadyCurrent,
    /// finishSecret found the version AWSCURRENT already, and its credential works. The inner result is as for `Promoted`.
    AlreadyPromoted(Result<Retired>),
}

impl Outcome {
    /// The word used in results and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::AlreadyProposed => "already-proposed",
            Self::Changed(_) => "changed",
            Self::AlreadyInEffect => "already-in-effect",
            Self::Verified => "verified",
            Self::ConfigurationVerified(_) => "configuration-verified",
            Self::Promoted(_) => "promoted",
            Self::AlreadyCurrent | Self::AlreadyPromoted(_) => "already-current",
        }
    }

    /// What setSecret changed.
    pub fn change(&self) -> Option<Change> {
        match self {
            Self::Changed(change) => Some(*change),
            _ => None,
        }
    }

    /// Whether old credentials were ended, and why not if they should have been.
    pub fn retired(&self) -> Result<Retired, &Error> {
        match self {
            Self::ConfigurationVerified(retired) => Ok(*retired),
            Self::Promoted(retired) | Self::AlreadyPromoted(retired) => retired.as_ref().copied(),
            _ => Ok(Retired::Nothing),
        }
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// A rotation function's work, over its two seams.
    pub fn new(store: S, target: T) -> Self {
        Self {
            store,
            target,
            hint: Mutex::default(),
            fresh: Mutex::default(),
            changes: InFlightChanges::default(),
            recovers: false,
            rotates_now: false,
            retires: false,
            album: Album::default(),
        }
    }

    /// The same, which recovers secrets or not.
    #[must_use]
    pub fn with_recover(self, recovers: bool) -> Self {
        Self { recovers, ..self }
    }

    /// The same, which begins rotations for people or not.
    #[must_use]
    pub fn with_rotate_now(self, rotates_now: bool) -> Self {
        Self { rotates_now, ..self }
    }

    /// The same, which ends superseded credentials and their sessions for people or not.
    #[must_use]
    pub fn with_retire(self, retires: bool) -> Self {
        Self { retires, ..self }
    }

    pub(crate) fn retires(&self) -> bool {
        self.retires
    }

    pub(crate) fn rotates_now(&self) -> bool {
        self.rotates_now
    }

    fn album(&self) -> &Album {
        &self.album
    }

    pub(crate) fn store(&self) -> &S {
        &self.store
    }

    pub(crate) fn target(&self) -> &T {
        &self.target
    }

    /// Carries out one step. An error is any [`Code`], with the rotated secret as [`Fact::Secret`]; the step can be run again.
    pub async fn run(&self, event: &Event, deadline: Deadline) -> StepReport {
        let notes = StepNotes::default();
        let outcome = self.step(event, &notes, deadline).await;
        let notes = notes.into_notes();
        if let Some(taken) = notes.took_effect {
            self.changes.keep(&event.secret, &event.token, taken);
        }
        StepReport { outcome, notes }
    }

    async fn step(&self, event: &Event, notes: &StepNotes, deadline: Deadline) -> Result<Outcome> {
        // Boxed, because the limit would move its many kilobytes several times.
        let step = Box::pin(async {
            match event.step {
                Step::Create => self.create(event, notes, deadline).await,
                Step::Set => self.set(event, notes, &RefusedLogins::default(), deadline).await,
                Step::Test => self.test(event, notes, deadline).await,
                Step::Finish => self.finish(event, notes, deadline).await,
            }
        });
        // Every wait inside has its own limit, whose error names what it waited for. This limit catches what they leave out.
        let outcome = deadline.limit(step).await.unwrap_or_else(|_| Err(Error::new(Code::TimeSpent)));
        outcome.map_err(|error| error.with_default(Fact::Secret, &event.secret))
    }

    async fn create(&self, event: &Event, notes: &StepNotes, deadline: Deadline) -> Result<Outcome> {
        // A missing value is the normal case here, so it is never read twice.
        let (now, pending) = tokio::join!(self.now(event, notes, deadline), self.pending_once(event, deadline));
        let now = now?;
        if now.state == RotationState::Current {
            return Ok(Outcome::AlreadyCurrent);
        }
        self.remember(event, &now.document);
        if pending?.is_some() {
            return Ok(Outcome::AlreadyProposed);
        }
        let context = self.context(event, &now, notes, deadline);
        let proposal = told(&context, self.target.propose(&context, &now.document)).await?;
        let token = event.rotation_token.as_ref();
        let put =
            self.store.put_pending(&event.secret, &event.token, token, proposal.document.text(), deadline).await?;
        self.target.settle(&context, proposal.made, put).await?;
        Ok(match put {
            PutOutcome::Stored => {
                *lock(&self.fresh) = Some((event.secret.clone(), event.token.clone()));
                Outcome::Proposed
            }
            // Another invocation of this step came first. Its value is as good as ours.
            PutOutcome::OtherValueThere => Outcome::AlreadyProposed,
        })
    }

    async fn set(
        &self,
        event: &Event,
        notes: &StepNotes,
        refused: &RefusedLogins,
        deadline: Deadline,
    ) -> Result<Outcome> {
        let (now, pending, ahead) = tokio::join!(
            self.now(event, notes, deadline),
            self.pending_once(event, deadline),
            self.helper_secret_ahead(event, |_| true, deadline),
        );
        let now = now?;
        let fresh = lock(&self.fresh).take_if(|(secret, token)| *secret == event.secret && *token == event.token);
        let context = self.context(event, &now, notes, deadline);
        let context = context.with_refused(refused).with_ahead(ahead).with_fresh(fresh.is_some());
        if now.state == RotationState::Current {
            return match self.current_works(&context, &now.document).await {
                Ok(()) => told(&context, self.target.hand_on_current(&context)).await.map(|()| Outcome::AlreadyCurrent),
                Err(error) => self.put_into_effect(&context, &now.document, error).await,
            };
        }
        let pending = needed(self.pending_again(pending?, event, deadline).await?, event)?;
        let versions = Versions { current: &now.document, pending: &pending };
        Ok(match told(&context, self.target.apply(&context, versions)).await? {
            Applied::Changed(change) => {
                notes.took_effect(change.previous);
                Outcome::Changed(change)
            }
            Applied::AlreadyInEffect => Outcome::AlreadyInEffect,
        })
    }

    /// Tries the credential of AWSCURRENT.
    ///
    /// **Invariant:** nothing is called done before the current credential has opened the target. Somebody may have moved AWSCURRENT
    /// by hand to a version that was never set, and nobody would look at it before the next rotation.
    /// Test: `a_version_made_current_by_hand_is_put_into_effect`.
    async fn current_works(&self, context: &StepContext<'_>, current: &Document) -> Result<()> {
        let versions = Versions { current, pending: current };
        let Attempt { observation, error } = self.target.attempt(context, versions, Label::Current).await?;
        let error = error.unwrap_or_else(|| Error::new(Code::CurrentRejected));
        match observation {
            Observation::Works => Ok(()),
            Observation::Rejected => Err(error.recoded(Code::CurrentRejected)),
            Observation::Unreachable | Observation::Unknown => Err(error),
        }
    }

    /// Puts the credential of AWSCURRENT into effect, with the credential of AWSPREVIOUS or a helper secret's.
    async fn put_into_effect(&self, context: &StepContext<'_>, current: &Document, refused: Error) -> Result<Outcome> {
        // The service repeats a rotation only while its version is pending. Anything else is a recovery, which needs consent.
        let pending = context.description().pending_version() == Some(context.token());
        if !pending && !self.recovers {
            return Err(refused);
        }
        let Some(previous) = superseded(context).await? else { return Err(refused) };
        let applied =
            told(context, self.target.apply(context, Versions { current: &previous, pending: current })).await;
        // AWSPREVIOUS is of no use then. What the error advises about AWSPENDING would change nothing.
        let useless = |error: &Error| matches!(error.code(), Code::PendingMismatch | Code::PendingOutdated);
        if applied.as_ref().is_err_and(useless) {
            return Err(refused);
        }
        match applied? {
            // What was tried first here is AWSPREVIOUS.
            Applied::Changed(change) if change.by == "current" => {
                Ok(Outcome::Changed(Change { by: "previous", ..change }))
            }
            Applied::Changed(change) => Ok(Outcome::Changed(change)),
            Applied::AlreadyInEffect => Err(refused),
        }
    }

    async fn test(&self, event: &Event, notes: &StepNotes, deadline: Deadline) -> Result<Outcome> {
        let (now, pending, ahead) = tokio::join!(
            self.now(event, notes, deadline),
            self.pending_once(event, deadline),
            self.helper_secret_ahead(event, |helper| helper.verifies, deadline),
        );
        let now = now?;
        let context = self.context(event, &now, notes, deadline).with_ahead(ahead);
        if now.state == RotationState::Current {
            return self.current_works(&context, &now.document).await.map(|()| Outcome::AlreadyCurrent);
        }
        Ok(match self.pending_again(pending?, event, deadline).await? {
            Some(pending) => {
                let pending = Document::parse(pending.text)?;
                let versions = Versions { current: &now.document, pending: &pending };
                self.target.release(told(&context, self.target.verify(&context, versions, Proof::Full)).await?).await;
                Outcome::Verified
            }
            // RotateImmediately=false runs this step alone, against a version that may never get a value. If a rotation is
            // under way after all, finishSecret will not promote what has no value.
            None => {
                let current = VersionWithAge { document: &now.document, age: now.age };
                told(&context, self.target.check(&context, current)).await.map(Outcome::ConfigurationVerified)?
            }
        })
    }

    async fn finish(&self, event: &Event, notes: &StepNotes, deadline: Deadline) -> Result<Outcome> {
        let (now, pending) = tokio::join!(self.now(event, notes, deadline), self.pending_once(event, deadline));
        let now = now?;
        let context = self.context(event, &now, notes, deadline);
        if now.state == RotationState::Current {
            return self.finished(&context, &now.document).await;
        }
        let pending = needed(self.pending_again(pending?, event, deadline).await?, event)?;
        // Steps may be invoked in any order. A credential that does not open the target is never promoted.
        let versions = Versions { current: &now.document, pending: &pending };
        let held = self.target.verify(&context, versions, Proof::Works).await?;
        let promoted = self.promote(event, &now.version, deadline).await;
        self.target.release(held).await;
        promoted?;
        notes.promoted(now.age, self.changes.downtime(&event.secret, &event.token, since_epoch()));
        Ok(Outcome::Promoted(self.target.retire(&context, versions).await))
    }

    /// For a version that was promoted before: an earlier run may have ended before it ended old credentials.
    async fn finished(&self, context: &StepContext<'_>, current: &Document) -> Result<Outcome> {
        self.current_works(context, current).await?;
        let Some(previous) = superseded(context).await? else {
            return Ok(Outcome::AlreadyPromoted(Ok(Retired::Nothing)));
        };
        let versions = Versions { current: &previous, pending: current };
        Ok(Outcome::AlreadyPromoted(self.target.retire(context, versions).await))
    }

    /// Moves AWSCURRENT to the token's version.
    ///
    /// **Invariant:** the labels are asked again while the proven credential cannot be changed. Otherwise a finishSecret that is
    /// held up could promote a version that an operator has given up, after the next rotation has set another password.
    /// Test: `a_finish_that_was_overtaken_promotes_nothing`.
    async fn promote(&self, event: &Event, from: &str, deadline: Deadline) -> Result<()> {
        let state = || async { self.store.describe(&event.secret, deadline).await?.rotation_state(&event.token) };
        // Another finishSecret of this rotation was faster.
        if state().await? == RotationState::Current {
            return Ok(());
        }
        // AWSCURRENT moves only from the version that was compared with the pending one. A value that was stored meanwhile stays.
        match self.store.promote(&event.secret, &event.token, from, deadline).await {
            // The label has moved. If it is on our version, an earlier attempt whose reply was lost has moved it.
            Err(error) if error.code() == Code::WriteConflict => match state().await? {
                RotationState::Current => Ok(()),
                RotationState::Pending => Err(error),
            },
            moved => moved,
        }
    }

    fn context<'a>(&'a self, event: &'a Event, now: &Now, notes: &'a StepNotes, deadline: Deadline) -> StepContext<'a> {
        let description = now.description.clone();
        StepContext::new(&self.store, &event.secret, &event.token, description, notes, deadline).expecting(now.state)
    }

    /// The current version, once the token's version is known to be pending or current.
    ///
    /// **Invariant:** a step acts on the current version only if the labels and the value agree on which version that is. Reads
    /// are eventually consistent, and a step that acted on an outdated version could change a user that is in use. The labels
    /// name the token, so they are at least as new as this rotation; the value has to agree with them.
    /// Test: `a_current_value_that_the_labels_contradict_is_read_again`.
    async fn now(&self, event: &Event, notes: &StepNotes, deadline: Deadline) -> Result<Now> {
        let mut pauses = READ_AGAIN_AFTER.into_iter();
        loop {
            let (description, current) = tokio::join!(
                self.store.describe(&event.secret, deadline),
                self.store.value(&event.secret, VersionSelector::Current, deadline),
            );
            let description = description?;
            notes.described(&description);
            let behind = match description.rotation_state(&event.token) {
                Ok(state) => {
                    let current = current?.ok_or_else(|| Error::new(Code::CurrentMissing))?;
                    if description.current_version() == Some(&current.id) {
                        return Ok(Now {
                            state,
                            document: Document::parse(current.text)?,
                            version: current.id,
                            age: current.age,
                            description,
                        });
                    }
                    Error::new(Code::WriteConflict).with(Fact::Version, current.id)
                }
                // RotateSecret turns rotation on and registers the version just before it invokes this function.
                Err(error) if matches!(error.code(), Code::RotationDisabled | Code::VersionUnknown) => error,
                Err(error) => return Err(error),
            };
            match pauses.next() {
                Some(pause) => tokio::time::sleep(pause).await,
                None => return Err(behind),
            }
        }
    }

    async fn pending_once(&self, event: &Event, deadline: Deadline) -> Result<Option<Version>> {
        self.store.value(&event.secret, VersionSelector::Pending(&event.token), deadline).await
    }

    /// The pending value, read again a few times if the first read missed it.
    async fn pending_again(
        &self,
        first: Option<Version>,
        event: &Event,
        deadline: Deadline,
    ) -> Result<Option<Version>> {
        let mut value = first;
        for pause in READ_AGAIN_AFTER {
            if value.is_some() {
                break;
            }
            tokio::time::sleep(pause).await;
            value = self.pending_once(event, deadline).await?;
        }
        Ok(value)
    }

    async fn helper_secret_ahead(
        &self,
        event: &Event,
        wanted: impl Fn(&Helper) -> bool,
        deadline: Deadline,
    ) -> Option<(String, Result<HelperVersion>)> {
        let helper = self.hint_for(&event.secret).filter(wanted)?.secret;
        let version = read_helper(&self.store, &helper, deadline).await;
        Some((helper, version))
    }

    fn remember(&self, event: &Event, current: &Document) {
        let helper = self.target.helper_secret(current);
        *lock(&self.hint) = helper.map(|helper| Hint { secret: event.secret.clone(), helper });
    }

    fn hint_for(&self, secret: &str) -> Option<Helper> {
        let hint = lock(&self.hint);
        hint.as_ref().filter(|hint| hint.secret == secret).map(|hint| hint.helper.clone())
    }
}

/// The current version. The labels and the value agree on it.
struct Now {
    /// The state of the token's version.
    state: RotationState,
    version: String,
    document: Document,
    age: Option<Duration>,
    description: Description,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The version that the token's version has superseded. `None` if there is none, or if another rotation is under way: then that
/// one decides what becomes of both.
async fn superseded(context: &StepContext<'_>) -> Result<Option<Document>> {
    let other = |pending| pending != context.token();
    if context.description().pending_version().is_some_and(other) { Ok(None) } else { context.previous().await }
}

/// The outcome of a call to the target. A refused helper credential is told from one that is being rotated.
async fn told<T>(context: &StepContext<'_>, call: impl Future<Output = Result<T>>) -> Result<T> {
    match call.await {
        Err(error) => Err(context.explained(error).await),
        done => done,
    }
}

fn needed(pending: Option<Version>, event: &Event) -> Result<Document> {
    let missing = || Error::new(Code::PendingMissing).with(Fact::Version, &event.token);
    Document::parse(pending.ok_or_else(missing)?.text)
}
