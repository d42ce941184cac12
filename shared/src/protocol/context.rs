//! What a step hands to a target: the facts of this invocation, read access to secrets, and the step's notes.

use crate::clock::{Deadline, age_of};
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::label::{CURRENT, PREVIOUS, REFUSED};
use crate::protocol::notes::StepNotes;
use crate::protocol::store::{Description, RotationState, SecretStore, Version, VersionSelector};
use crate::secret::{Password, SecretText};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Pauses before another read, because a read may miss a version that was written just before. They add up to 1.5 s: longer
/// than the replication delay, and short against a function's timeout. Only what stays missing waits for all of them.
pub(crate) const READ_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];
/// The longest time of a Lambda invocation. A rotation that changed nothing for longer is not under way, but stuck.
const UNDER_WAY: Duration = Duration::from_secs(15 * 60);

/// One step of one rotation, as a target sees it.
pub struct StepContext<'a> {
    store: &'a dyn SecretStore,
    secret: &'a str,
    token: &'a str,
    description: Description,
    /// The state that the token's version was in when the step began.
    state: RotationState,
    deadline: Deadline,
    ahead: Option<(String, Result<HelperVersion>)>,
    /// The helper secret that was read last, and the id of its version.
    helper: Mutex<Option<(String, String)>>,
    notes: &'a StepNotes,
    refused: RefusedLogins,
    fresh: bool,
    /// Whether it goes on while rotation is turned off.
    even_if_off: bool,
    /// Whether a refusal has to be certain.
    certain: bool,
}

/// The logins that the target has refused in an invocation. All clones are the same list.
#[derive(Clone, Default)]
pub(crate) struct RefusedLogins(Arc<Mutex<Vec<RefusedLogin>>>);

/// A login that the target refused in this step.
struct RefusedLogin {
    user: String,
    password: Password,
    why: Error,
}

impl RefusedLogins {
    fn logins(&self) -> MutexGuard<'_, Vec<RefusedLogin>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The AWSCURRENT version of a helper secret.
#[derive(Clone)]
pub(crate) struct HelperVersion {
    id: String,
    document: Document,
}

impl<'a> StepContext<'a> {
    /// The context of a step. The labels were read just now, and the version `token` was pending.
    pub(crate) fn new(
        store: &'a dyn SecretStore,
        secret: &'a str,
        token: &'a str,
        description: Description,
        notes: &'a StepNotes,
        deadline: Deadline,
    ) -> Self {
        Self {
            store,
            secret,
            token,
            description,
            state: RotationState::Pending,
            deadline,
            ahead: None,
            helper: Mutex::default(),
            notes,
            refused: RefusedLogins::default(),
            fresh: false,
            even_if_off: false,
            certain: false,
        }
    }

    /// The same step, for a version in this state.
    pub(crate) fn expecting(self, state: RotationState) -> Self {
        Self { state, ..self }
    }

    /// The same step, for a version that is [fresh](Self::is_fresh) or not.
    pub(crate) fn with_fresh(self, fresh: bool) -> Self {
        Self { fresh, ..self }
    }

    /// The same step, which knows the logins that were refused before, and adds to them.
    pub(crate) fn with_refused(self, refused: &RefusedLogins) -> Self {
        Self { refused: refused.clone(), ..self }
    }

    /// The same step, which goes on while rotation is turned off.
    pub(crate) fn even_if_rotation_is_off(self) -> Self {
        Self { even_if_off: true, ..self }
    }

    /// The same step, which takes a refusal for a proof. A server that may refuse a right password is asked twice.
    pub(crate) fn with_certainty(self) -> Self {
        Self { certain: true, ..self }
    }

    /// Whether a refusal has to be certain, because somebody takes it for the end of a credential.
    pub fn is_certain(&self) -> bool {
        self.certain
    }

    pub(crate) fn with_ahead(self, ahead: Option<(String, Result<HelperVersion>)>) -> Self {
        Self { ahead, ..self }
    }

    /// The secret's ARN. If the service did not say it: the name from the event.
    pub fn secret(&self) -> &str {
        self.description.arn.as_deref().unwrap_or(self.secret)
    }

    /// The id of the version that is being made: the client request token.
    pub fn token(&self) -> &str {
        self.token
    }

    /// What DescribeSecret said at the beginning of the step.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Notes a problem that does not fail the step. It is logged and counted, and the answer lists it.
    pub fn warn(&self, warning: Error) {
        self.notes.warn(warning);
    }

    /// The step's notes.
    pub fn notes(&self) -> &StepNotes {
        self.notes
    }

    /// Remembers that the target refused this credential.
    pub(crate) fn refused(&self, user: &str, password: &Password, why: &Error) {
        let login = RefusedLogin { user: user.to_owned(), password: password.clone(), why: why.clone() };
        self.refused.logins().push(login);
    }

    /// How many logins the target has refused in this step.
    pub(crate) fn refusals(&self) -> usize {
        self.refused.logins().len()
    }

    /// Why the target refused this credential in this step, if it did. A password that was refused is not tried again: servers
    /// count refused logins, and some lock the user after a few.
    pub(crate) fn was_refused(&self, user: &str, password: &Password) -> Option<Error> {
        let refused = self.refused.logins();
        let same = |one: &&RefusedLogin| one.user == user && one.password.expose() == password.expose();
        refused.iter().find(same).map(|one| one.why.clone())
    }

    /// Whether the version has a value by now. Call it right before an action outside that only the first invocation of
    /// createSecret may do.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_value(&self) -> Result<bool> {
        self.store
            .value(self.secret, VersionSelector::Pending(self.token), self.deadline)
            .await
            .map(|version| version.is_some())
    }

    /// The AWSPREVIOUS version of another secret, if there is one and it is a JSON object.
    ///
    /// # Errors
    /// Those of the store. Each names the secret.
    pub async fn other_previous(&self, id: &str) -> Result<Option<Document>> {
        let version = self
            .store
            .value(id, VersionSelector::Previous, self.deadline)
            .await
            .map_err(|error| of_other(error, id))?;
        Ok(version.and_then(|version| Document::parse(version.text).ok()))
    }

    /// What DescribeSecret says about another secret.
    ///
    /// # Errors
    /// Those of the store. Each names the secret.
    pub async fn describe_other(&self, id: &str) -> Result<Description> {
        self.store.describe(id, self.deadline).await.map_err(|error| of_other(error, id))
    }

    /// When the step must have answered.
    pub fn deadline(&self) -> Deadline {
        self.deadline
    }

    /// Checks that the version is still to be put into effect. Call it while nobody else can change the credential: once the lock is held, or right before each request that has no lock.
    /// It costs a call to Secrets Manager.
    ///
    /// # Errors
    /// [`Code::VersionNotPending`], [`Code::VersionUnknown`]; [`Code::WriteConflict`] if AWSCURRENT has moved, perhaps to this very
    /// version: the next run tries it; those of the store.
    pub async fn still_wanted(&self) -> Result<()> {
        let now = self.store.describe(self.secret, self.deadline).await?;
        let state = if self.even_if_off { now.state_of(self.token)? } else { now.rotation_state(self.token)? };
        match (self.state, state) {
            // The step's plan is for the version that was current when it began: which user is in use, for example.
            (before, state) if before == state && now.current_version() == self.description.current_version() => Ok(()),
            (RotationState::Current, RotationState::Pending) => {
                Err(Error::new(Code::VersionNotPending).with(Fact::Version, self.token))
            }
            _ => Err(Error::new(Code::WriteConflict).with(Fact::Labels, CURRENT)),
        }
    }

    /// Whether the token's version is AWSCURRENT now, and no rotation is under way. It costs a call to Secrets Manager.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_settled(&self) -> Result<bool> {
        let now = self.store.describe(self.secret, self.deadline).await?;
        Ok(now.current_version() == Some(self.token) && !now.is_unfinished())
    }

    /// Whether this version carries AWSCURRENT now. An answer that denies it may be outdated, so it is asked for again.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn is_current(&self, version: &str) -> Result<bool> {
        for pause in [Duration::ZERO].into_iter().chain(READ_AGAIN_AFTER) {
            tokio::time::sleep(pause).await;
            if self.store.describe(self.secret, self.deadline).await?.current_version() == Some(version) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The id and the value of the AWSCURRENT version as it is now. It is the version that the labels name: an outdated read would
    /// bring back a credential that a rotation has replaced.
    ///
    /// # Errors
    /// Those of the store; [`Code::CurrentMissing`]; [`Code::WriteConflict`] if value and labels do not agree; those of
    /// [`Document::parse`].
    pub async fn current(&self) -> Result<(String, Document)> {
        for pause in [Duration::ZERO].into_iter().chain(READ_AGAIN_AFTER) {
            tokio::time::sleep(pause).await;
            let (version, now) = tokio::join!(
                self.store.value(self.secret, VersionSelector::Current, self.deadline),
                self.store.describe(self.secret, self.deadline),
            );
            let version = version?.ok_or_else(|| Error::new(Code::CurrentMissing))?;
            if now?.current_version() == Some(&version.id) {
                return Ok((version.id, Document::parse(version.text)?));
            }
        }
        Err(Error::new(Code::WriteConflict).with(Fact::Labels, CURRENT))
    }

    /// The AWSPREVIOUS version, if there is one and it is a JSON object. It is the version that the labels name: an outdated read
    /// could say that a user or a key that is in use belongs to nobody.
    ///
    /// # Errors
    /// Those of the store; [`Code::WriteConflict`] if reads and labels do not agree.
    pub async fn previous(&self) -> Result<Option<Document>> {
        let named = self.description.previous_version();
        let mut pauses = READ_AGAIN_AFTER.into_iter();
        loop {
            let read = match self.store.value(self.secret, VersionSelector::Previous, self.deadline).await {
                Err(error) if error.code() == Code::SecretNotJson => return Ok(None),
                read => read?,
            };
            if read.as_ref().map(|version| version.id.as_str()) == named {
                return Ok(read.and_then(|version| Document::parse(version.text).ok()));
            }
            match (pauses.next(), read) {
                (Some(pause), _) => tokio::time::sleep(pause).await,
                // The version has no value.
                (None, None) => return Ok(None),
                (None, Some(_)) => return Err(Error::new(Code::WriteConflict).with(Fact::Labels, PREVIOUS)),
            }
        }
    }

    /// The ids of all versions but AWSCURRENT and the token's, newest first. AWSPREVIOUS alone if the function's role may not list
    /// versions, as roles that were deployed before this search existed.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn older_versions(&self) -> Result<Vec<String>> {
        let mut versions = match self.store.versions(self.secret, self.deadline).await {
            Err(error) if error.code() == Code::ServiceDenied => {
                self.warn(error);
                return Ok(self.description.previous_version().map(str::to_owned).into_iter().collect());
            }
            listed => listed?,
        };
        let current = self.description.current_version();
        versions.retain(|version| version.id != self.token && Some(version.id.as_str()) != current);
        versions.sort_by_key(|version| std::cmp::Reverse(version.created));
        Ok(versions.into_iter().map(|version| version.id).collect())
    }

    /// The version with this id, whatever its labels are, if it has a value that is a JSON object.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn version(&self, id: &str) -> Result<Option<Document>> {
        match self.store.value(self.secret, VersionSelector::Any(id), self.deadline).await {
            Ok(version) => Ok(version.and_then(|version| Document::parse(version.text).ok())),
            Err(error) if error.code() == Code::SecretNotJson => Ok(None),
            // Versions without a label stay under the KMS key that they were stored with, which may be gone.
            Err(error) if error.code() == Code::ServiceDenied => {
                self.warn(error);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an earlier attempt of this rotation was refused so often that the server may block the user.
    pub fn was_refused_before(&self) -> bool {
        self.description.version(REFUSED) == Some(self.token)
    }

    /// Notes that for later attempts of this rotation, as a label of the version: they may run in another process. A failure is a
    /// warning, because the step fails anyway.
    pub async fn remember_refusals(&self) {
        let from = self.description.version(REFUSED);
        if from == Some(self.token) {
            return;
        }
        if let Err(error) = self.store.mark(self.secret, REFUSED, self.token, from, self.deadline).await {
            self.warn(error);
        }
    }

    /// The version with this id, whatever its labels are.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn listed_version(&self, id: &str) -> Result<Option<Version>> {
        self.store.value(self.secret, VersionSelector::Any(id), self.deadline).await
    }

    /// Whether the token's version is one that a rotation is making.
    pub fn is_pending(&self) -> bool {
        self.state == RotationState::Pending
    }

    /// Whether this process has just made the version's value and nothing has put it into effect yet.
    pub fn is_fresh(&self) -> bool {
        self.fresh
    }

    /// The text of the AWSCURRENT version of another secret. It need not be JSON.
    ///
    /// # Errors
    /// Those of the store; [`Code::SecretNotFound`]. Each names the secret.
    pub async fn other_text(&self, id: &str) -> Result<SecretText> {
        read_version(self.store, id, self.deadline).await.map(|version| version.text)
    }

    /// The AWSCURRENT version of a helper secret.
    ///
    /// # Errors
    /// Those of the store; [`Code::SecretNotFound`]; those of [`Document::parse`]. Each names the secret.
    pub async fn other_secret(&self, id: &str) -> Result<Document> {
        let version = match &self.ahead {
            Some((known, version)) if known == id => version.clone(),
            _ => read_helper(self.store, id, self.deadline).await,
        }?;
        if let Ok(mut helper) = self.helper.lock() {
            *helper = Some((id.to_owned(), version.id));
        }
        Ok(version.document)
    }

    /// The same error, unless it is a refusal of the helper secret's credential while that secret is being rotated: that passes by
    /// itself. Only a refusal costs a call to Secrets Manager.
    pub(crate) async fn explained(&self, error: Error) -> Error {
        if !matches!(error.code(), Code::SuperuserRejected | Code::AdminRejected) {
            return error;
        }
        let read = self.helper.lock().ok().and_then(|helper| helper.clone());
        let Some((id, version)) = read else { return error };
        let error = error.with_default(Fact::OtherSecret, &id);
        let Ok(now) = self.describe_other(&id).await else { return error };
        let under_way = now.is_unfinished() && now.last_changed.is_none_or(|moment| age_of(moment) < UNDER_WAY);
        let replaced = now.current_version() != Some(&version);
        if under_way || replaced { error.recoded(Code::CompanionRotating) } else { error }
    }
}

/// The AWSCURRENT version of a helper secret.
pub(crate) async fn read_helper(store: &dyn SecretStore, id: &str, deadline: Deadline) -> Result<HelperVersion> {
    let version = read_version(store, id, deadline).await?;
    let document = Document::parse(version.text).map_err(|error| of_other(error, id))?;
    Ok(HelperVersion { id: version.id, document })
}

async fn read_version(store: &dyn SecretStore, id: &str, deadline: Deadline) -> Result<Version> {
    let version = store.value(id, VersionSelector::Current, deadline).await.map_err(|error| of_other(error, id))?;
    version.ok_or_else(|| of_other(Error::new(Code::SecretNotFound), id))
}

/// In every error, the fact `secret` is the secret that is being rotated. Another secret is `otherSecret`.
fn of_other(error: Error, id: &str) -> Error {
    error.renamed(Fact::Secret, Fact::OtherSecret).with_default(Fact::OtherSecret, id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::since_epoch;
    use crate::protocol::label::{CURRENT, PENDING};
    use crate::protocol::testing::Store;

    /// The helper secret's version `old` was read. `described` is what DescribeSecret says about it afterwards.
    #[tokio::test(start_paused = true)]
    async fn a_refusal_passes_by_itself_only_while_the_helper_secret_is_being_rotated() {
        let described = |current: &str, pending: Option<&str>, age: Duration| {
            let label = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
            let labels = std::iter::once(label(current, CURRENT)).chain(pending.map(|version| label(version, PENDING)));
            let last_changed = Some(since_epoch().checked_sub(age).unwrap());
            Ok(Description { labels: labels.collect(), last_changed, ..Description::default() })
        };
        let (moment, hour) = (Duration::from_secs(1), Duration::from_secs(3_600));
        for (described, code) in [
            (described("old", None, moment), Code::SuperuserRejected),
            (described("old", Some("new"), moment), Code::CompanionRotating),
            // It is stuck, so it does not pass by itself.
            (described("old", Some("new"), hour), Code::SuperuserRejected),
            (described("new", None, moment), Code::CompanionRotating),
            (Err(Error::new(Code::ServiceDenied)), Code::SuperuserRejected),
        ] {
            let (store, notes, deadline) = (Store::new(described), StepNotes::default(), Deadline::after(hour));
            let context = StepContext::new(&store, "s", "token", Description::default(), &notes, deadline);
            let refusal = || Error::new(Code::SuperuserRejected);
            assert_eq!(context.explained(refusal()).await, refusal(), "no helper secret was read");
            context.other_secret("helper").await.unwrap();
            let error = context.explained(refusal()).await;
            assert_eq!((error.code(), error.fact(Fact::OtherSecret)), (code, Some("helper")), "{:?}", store.described);
        }
    }
}
