//! The four steps, over any store and any target.
//!
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/rotate-secrets_lambda-functions.html>
//!
//! Critical path, in calls to Secrets Manager that wait for one another, on the normal path:
//! create 2 (3 where the target asks for AWSPREVIOUS), set 1, test 1, finish 2.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::event::{Event, Step};
use crate::secret::SecretText;
use crate::store::{CURRENT, Description, PENDING, Put, SecretStore, Select};
use crate::target::{Applied, Reader, Target, Versions, read_other};
use std::sync::Mutex;
use std::time::Duration;

/// A version just written can be missing from a read for a moment. These pauses add up to 1.5 s: long against the
/// replication delay, short against a function's timeout, and paid in full only by a configuration test.
const READ_AGAIN_AFTER: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(200), Duration::from_millis(400), Duration::from_millis(800)];

/// Rotates secrets of one kind.
pub struct Rotation<S, T> {
    store: S,
    target: T,
    /// The companion of the secret that was proposed last: setSecret, which usually follows in the same process, then reads
    /// it together with everything else. Only a hint; the current value decides.
    hint: Mutex<Option<Hint>>,
}

#[derive(Clone)]
struct Hint {
    secret: String,
    companion: String,
}

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// createSecret stored a new credential.
    Proposed,
    /// createSecret found the version's value there.
    AlreadyProposed,
    /// setSecret changed the credential at the target, with the rights of the credential named.
    Changed(&'static str),
    /// setSecret found the new credential in effect.
    AlreadyInEffect,
    /// testSecret proved the new credential.
    Verified,
    /// testSecret had no new credential to try (RotateImmediately=false) and proved the current one.
    ConfigurationVerified,
    /// finishSecret moved AWSCURRENT.
    Promoted,
    /// The version is AWSCURRENT already; nothing was done.
    AlreadyCurrent,
}

impl Outcome {
    /// The word used in results and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::AlreadyProposed => "already-proposed",
            Self::Changed(_) => "changed",
            Self::AlreadyInEffect => "already-in-effect",
            Self::Verified => "verified",
            Self::ConfigurationVerified => "configuration-verified",
            Self::Promoted => "promoted",
            Self::AlreadyCurrent => "already-current",
        }
    }

    /// Which credential setSecret used to change the password.
    pub fn changed_as(self) -> Option<&'static str> {
        match self {
            Self::Changed(credential) => Some(credential),
            _ => None,
        }
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// A rotation function's work, over its two seams.
    pub fn new(store: S, target: T) -> Self {
        Self { store, target, hint: Mutex::new(None) }
    }

    /// Carries out one step.
    ///
    /// # Errors
    /// Any [`Code`], with the secret's ARN among the facts. The step can be run again.
    pub async fn run(&self, event: &Event, deadline: Deadline) -> Result<Outcome> {
        let step = async {
            match event.step {
                Step::Create => self.create(event, deadline).await,
                Step::Set => self.set(event, deadline).await,
                Step::Test => self.test(event, deadline).await,
                Step::Finish => self.finish(event, deadline).await,
            }
        };
        // Every wait inside has a limit of its own that names what it waited for. This one is for what they leave out.
        let outcome = deadline.limit(step).await.unwrap_or_else(|_| Err(Error::new(Code::TimeSpent)));
        outcome.map_err(|error| error.with_default(Fact::Secret, &event.secret))
    }

    async fn create(&self, event: &Event, deadline: Deadline) -> Result<Outcome> {
        // A missing value is the normal case here, so it is never read twice.
        let (description, current, pending) = tokio::join!(
            self.store.describe(&event.secret, deadline),
            self.store.value(&event.secret, Select::Current, deadline),
            self.store.value(&event.secret, Select::Pending(&event.token), deadline),
        );
        if standing(&description?, &event.token)? == Standing::Current {
            return Ok(Outcome::AlreadyCurrent);
        }
        let current = read_current(current)?;
        self.remember(event, &current);
        if pending?.is_some() {
            return Ok(Outcome::AlreadyProposed);
        }
        let reader = Reader::new(&self.store, &event.secret, deadline);
        let proposal = self.target.propose(&reader, &current).await?;
        let token = event.rotation_token.as_ref();
        match self.store.put_pending(&event.secret, &event.token, token, proposal.text(), deadline).await? {
            Put::Stored => Ok(Outcome::Proposed),
            // Another invocation of this step came first. Its value is as good as ours.
            Put::OtherValueThere => Ok(Outcome::AlreadyProposed),
        }
    }

    async fn set(&self, event: &Event, deadline: Deadline) -> Result<Outcome> {
        let hint = self.hint_for(&event.secret);
        let ahead = async {
            match hint {
                Some(companion) => {
                    let document = read_other(&self.store, &companion, deadline).await;
                    Some((companion, document))
                }
                None => None,
            }
        };
        let (description, current, pending, ahead) = tokio::join!(
            self.store.describe(&event.secret, deadline),
            self.store.value(&event.secret, Select::Current, deadline),
            self.pending(event, deadline),
            ahead,
        );
        if standing(&description?, &event.token)? == Standing::Current {
            return Ok(Outcome::AlreadyCurrent);
        }
        let (current, pending) = (read_current(current)?, read_pending(pending, &event.token)?);
        let reader = Reader::new(&self.store, &event.secret, deadline).with_ahead(ahead);
        match self.target.apply(&reader, Versions { current: &current, pending: &pending }).await? {
            Applied::Changed(credential) => Ok(Outcome::Changed(credential)),
            Applied::AlreadyInEffect => Ok(Outcome::AlreadyInEffect),
        }
    }

    async fn test(&self, event: &Event, deadline: Deadline) -> Result<Outcome> {
        let (description, current, pending) = tokio::join!(
            self.store.describe(&event.secret, deadline),
            self.store.value(&event.secret, Select::Current, deadline),
            self.pending(event, deadline),
        );
        if standing(&description?, &event.token)? == Standing::Current {
            return Ok(Outcome::AlreadyCurrent);
        }
        let current = read_current(current)?;
        match pending? {
            Some(pending) => {
                let pending = Document::parse(pending)?;
                self.target.verify(Versions { current: &current, pending: &pending }, deadline).await?;
                Ok(Outcome::Verified)
            }
            // RotateImmediately=false runs this step alone, against a version that may never get a value. If a rotation is
            // under way after all, finishSecret will not promote what has no value.
            None => {
                self.target.check(&Reader::new(&self.store, &event.secret, deadline), &current).await?;
                Ok(Outcome::ConfigurationVerified)
            }
        }
    }

    async fn finish(&self, event: &Event, deadline: Deadline) -> Result<Outcome> {
        let (description, current, pending) = tokio::join!(
            self.store.describe(&event.secret, deadline),
            self.store.value(&event.secret, Select::Current, deadline),
            self.pending(event, deadline),
        );
        let description = description?;
        if standing(&description, &event.token)? == Standing::Current {
            return Ok(Outcome::AlreadyCurrent);
        }
        let (current, pending) = (read_current(current)?, read_pending(pending, &event.token)?);
        // Whatever called us in whatever order: what does not open the target is not promoted.
        self.target.verify(Versions { current: &current, pending: &pending }, deadline).await?;
        match self.store.promote(&event.secret, &event.token, description.current_version(), deadline).await {
            // The label is not where it was. If it is where we wanted it, an attempt whose reply was lost has moved it.
            Err(error) if error.code() == Code::WriteConflict => {
                let description = self.store.describe(&event.secret, deadline).await?;
                match standing(&description, &event.token)? {
                    Standing::Current => Ok(Outcome::Promoted),
                    Standing::Pending => Err(error),
                }
            }
            moved => moved.map(|()| Outcome::Promoted),
        }
    }

    /// The pending value, read again a few times if it is missing.
    async fn pending(&self, event: &Event, deadline: Deadline) -> Result<Option<SecretText>> {
        for pause in READ_AGAIN_AFTER {
            let value = self.store.value(&event.secret, Select::Pending(&event.token), deadline).await?;
            if value.is_some() {
                return Ok(value);
            }
            tokio::time::sleep(pause).await;
        }
        self.store.value(&event.secret, Select::Pending(&event.token), deadline).await
    }

    fn remember(&self, event: &Event, current: &Document) {
        let companion = self.target.companion(current);
        if let Ok(mut hint) = self.hint.lock() {
            *hint = companion.map(|companion| Hint { secret: event.secret.clone(), companion });
        }
    }

    fn hint_for(&self, secret: &str) -> Option<String> {
        let hint = self.hint.lock().ok()?;
        hint.as_ref().filter(|hint| hint.secret == secret).map(|hint| hint.companion.clone())
    }
}

/// Where the token's version stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Pending,
    Current,
}

/// The checks that AWS's own functions make before any step, in their order.
fn standing(description: &Description, token: &str) -> Result<Standing> {
    if description.rotation_enabled == Some(false) {
        return Err(Error::new(Code::RotationDisabled));
    }
    let Some(labels) = description.labels.get(token) else {
        return Err(Error::new(Code::VersionUnknown).with(Fact::Version, token));
    };
    let has = |label: &str| labels.iter().any(|known| known == label);
    if has(CURRENT) {
        Ok(Standing::Current)
    } else if has(PENDING) {
        Ok(Standing::Pending)
    } else {
        Err(Error::new(Code::VersionNotPending).with(Fact::Version, token).with(Fact::Labels, labels.join(", ")))
    }
}

fn read_current(value: Result<Option<SecretText>>) -> Result<Document> {
    Document::parse(value?.ok_or_else(|| Error::new(Code::CurrentMissing))?)
}

fn read_pending(value: Result<Option<SecretText>>, token: &str) -> Result<Document> {
    Document::parse(value?.ok_or_else(|| Error::new(Code::PendingMissing).with(Fact::Version, token))?)
}
