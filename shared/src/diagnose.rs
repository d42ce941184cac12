//! What is wrong with a secret's rotation, and what to do about it: found out by reading and by trying credentials, without
//! changing anything.
//!
//! No credential is tried that need not be: servers count refused logins, and some lock the user after a few. AWSPENDING is tried
//! only where AWSCURRENT does not work, and AWSPREVIOUS only where neither does.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Error, Result};
use crate::notebook::Notebook;
use crate::observation::{Observation, Tried};
use crate::protocol::Rotation;
use crate::store::{CURRENT, Description, PENDING, PREVIOUS, SecretStore, Select, Version};
use crate::target::{Companion, Label, Reader, Target, Versions};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// As long as a function's invocation can take, so a rotation whose value is younger may be under way still.
const UNDER_WAY: Duration = Duration::from_secs(15 * 60);

/// What was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    secret: String,
    rotation_enabled: Option<bool>,
    since_rotation: Option<Duration>,
    versions: Vec<Examined>,
    companion: Option<Companion>,
    finding: Finding,
    /// Where the finding is that a credential could not be tried: why.
    cause: Option<Error>,
}

/// One version that carries a label.
#[derive(Clone, Debug)]
struct Examined {
    version: String,
    labels: Vec<String>,
    age: Option<Duration>,
    credential: Credential,
}

/// What is known about a version's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Credential {
    /// The version has no value.
    None,
    /// It was not tried.
    NotTried,
    Tried(Tried),
}

impl Credential {
    fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NotTried => "not-tried",
            Self::Tried(tried) => tried.observation.as_str(),
        }
    }

    fn is(&self, observation: Observation) -> bool {
        matches!(self, Self::Tried(tried) if tried.observation == observation)
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Tried(tried) => tried.error.as_ref(),
            Self::None | Self::NotTried => None,
        }
    }
}

/// What is the matter. The words are as stable as error codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Finding {
    /// Nothing is.
    Healthy,
    /// Consumers are served, and no rotation is scheduled.
    RotationOff,
    /// No version is AWSCURRENT.
    CurrentMissing,
    /// A rotation began minutes ago.
    UnderWay,
    /// A rotation began and was not finished; consumers are served.
    Unfinished,
    /// AWSCURRENT is refused, and AWSPENDING works.
    PendingInEffect,
    /// AWSCURRENT and AWSPENDING are refused, and AWSPREVIOUS works.
    PreviousInEffect,
    /// All are refused, and the superuser or admin may set it right.
    RescuePossible,
    /// All are refused.
    LockedOut,
    /// Whether AWSCURRENT works could not be found out.
    Unclear,
    /// AWSCURRENT works, and the superuser's or admin's credential does not.
    CompanionFails,
}

impl Finding {
    /// All of them, for documentation and tests.
    pub const ALL: &[Self] = &[
        Self::Healthy,
        Self::RotationOff,
        Self::CurrentMissing,
        Self::UnderWay,
        Self::Unfinished,
        Self::PendingInEffect,
        Self::PreviousInEffect,
        Self::RescuePossible,
        Self::LockedOut,
        Self::Unclear,
        Self::CompanionFails,
    ];

    /// The word used in results and runbooks.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::RotationOff => "rotation-off",
            Self::CurrentMissing => "current-missing",
            Self::UnderWay => "rotation-under-way",
            Self::Unfinished => "rotation-unfinished",
            Self::PendingInEffect => "pending-in-effect",
            Self::PreviousInEffect => "previous-in-effect",
            Self::RescuePossible => "rescue-possible",
            Self::LockedOut => "locked-out",
            Self::Unclear => "unclear",
            Self::CompanionFails => "companion-fails",
        }
    }

    /// What it means, in one clause.
    pub fn summary(self) -> &'static str {
        match self {
            Self::Healthy => "the current credential works and no rotation is left unfinished",
            Self::RotationOff => "the current credential works, and the secret has no rotation that is turned on",
            Self::CurrentMissing => "no version of the secret is AWSCURRENT",
            Self::UnderWay => "a rotation began a few minutes ago",
            Self::Unfinished => "the current credential works, and a rotation was begun and not finished",
            Self::PendingInEffect => "the current credential is refused; the pending one works already",
            Self::PreviousInEffect => "the current credential is refused; the previous one still works",
            Self::RescuePossible => {
                "the secret's own credentials are refused; the superuser's or admin's credential works"
            }
            Self::LockedOut => "every credential of the secret is refused, and nothing else may set it right",
            Self::Unclear => "whether the current credential works could not be found out",
            Self::CompanionFails => {
                "the current credential works, and the superuser's or admin's credential could not be used"
            }
        }
    }

    /// What to do next, in one sentence or two.
    pub fn next_action(self) -> &'static str {
        match self {
            Self::Healthy => "Nothing to do.",
            Self::RotationOff => "Turn rotation on with `aws secretsmanager rotate-secret`, if it is meant to rotate.",
            Self::CurrentMissing => "Give the secret a value with `aws secretsmanager put-secret-value`.",
            Self::UnderWay => "Wait a few minutes and diagnose again. Do not remove AWSPENDING.",
            Self::Unfinished => {
                "Run `aws secretsmanager rotate-secret` for the secret: it goes on where it stopped, also where the answer is the error \"That rotation will be reattempted\". Do not remove AWSPENDING."
            }
            Self::PendingInEffect => {
                "Run `aws secretsmanager rotate-secret` for the secret: it makes the pending version current, also where the answer is the error \"That rotation will be reattempted\". Do not remove AWSPENDING, whose version holds the only credential that works."
            }
            Self::PreviousInEffect => {
                "Run `aws secretsmanager rotate-secret` for the secret: a database password is changed with the previous one. For consumers at once, make AWSPREVIOUS current again as docs/runbooks/roll-back.md says."
            }
            Self::RescuePossible => {
                "Run `aws secretsmanager rotate-secret` for the secret: it sets a new credential with the superuser's or admin's rights."
            }
            Self::LockedOut => {
                "Follow docs/runbooks/locked-out.md: a person with rights at the target sets the credential that the secret holds."
            }
            Self::Unclear => "Do what the error says, and diagnose again.",
            Self::CompanionFails => "Do what the error says before the next rotation, which needs that credential.",
        }
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Examines one secret. Reads only.
    ///
    /// # Errors
    /// Those of DescribeSecret: without its answer there is nothing to tell.
    pub async fn diagnose(&self, secret: &str, deadline: Deadline) -> Result<Diagnosis> {
        let description = self.store().describe(secret, deadline).await?;
        let pending = description.pending_version().map(str::to_owned);
        let stuck = pending.filter(|id| description.current_version() != Some(id));
        let notebook = Notebook::default();
        let token = stuck.clone().unwrap_or_default();
        let reader = Reader::new(self.store(), secret, &token, description.clone(), &notebook, deadline);
        let mut seen = Seen { description, stuck: stuck.is_some(), ..Seen::default() };
        self.examine(&reader, secret, &mut seen, deadline).await;
        Ok(seen.into_diagnosis(secret))
    }

    async fn examine(&self, reader: &Reader<'_, S>, secret: &str, seen: &mut Seen, deadline: Deadline) {
        let pending = async {
            match reader.token() {
                "" => Ok(None),
                token => self.store().value(secret, Select::Pending(token), deadline).await,
            }
        };
        let (current, pending) = tokio::join!(self.store().value(secret, Select::Current, deadline), pending);
        seen.pending = Held::of(pending);
        let held = Held::of(current);
        let Some(current) = held.document.clone() else {
            seen.current = held;
            return;
        };
        seen.current = held;
        seen.current.credential = self.attempted(reader, &current, &current, Label::Current).await;
        seen.companion = self.target().attempt_companion(reader, &current).await.unwrap_or_default();
        if !seen.current.credential.is(Observation::Rejected) {
            return;
        }
        if let Some(pending) = &seen.pending.document {
            seen.pending.credential = self.attempted(reader, &current, pending, Label::Pending).await;
        }
        if seen.pending.credential.is(Observation::Works) {
            return;
        }
        let previous = self.store().value(secret, Select::Previous, deadline).await;
        seen.previous = Held::of(previous);
        if let Some(previous) = &seen.previous.document {
            seen.previous.credential = self.attempted(reader, &current, previous, Label::Previous).await;
        }
    }

    async fn attempted(
        &self,
        reader: &Reader<'_, S>,
        current: &Document,
        tried: &Document,
        label: Label,
    ) -> Credential {
        let tried = self.target().attempt(reader, Versions { current, pending: tried }, label).await;
        Credential::Tried(tried.unwrap_or_else(Tried::unknown))
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    description: Description,
    /// AWSPENDING is on another version than AWSCURRENT.
    stuck: bool,
    current: Held,
    pending: Held,
    previous: Held,
    companion: Option<Companion>,
}

/// A version as far as it could be read.
#[derive(Debug)]
struct Held {
    age: Option<Duration>,
    document: Option<Document>,
    credential: Credential,
}

impl Default for Held {
    fn default() -> Self {
        Self { age: None, document: None, credential: Credential::NotTried }
    }
}

impl Held {
    fn of(version: Result<Option<Version>>) -> Self {
        let unread = |error| Credential::Tried(Tried::unknown(error));
        match version {
            Ok(None) => Self { credential: Credential::None, ..Self::default() },
            Ok(Some(version)) => match Document::parse(version.text) {
                Ok(document) => Self { age: version.age, document: Some(document), ..Self::default() },
                Err(error) => Self { age: version.age, credential: unread(error), ..Self::default() },
            },
            Err(error) => Self { credential: unread(error), ..Self::default() },
        }
    }
}

impl Seen {
    fn finding(&self) -> Finding {
        let companion_works = |one: &Companion| one.rescues && one.tried.observation == Observation::Works;
        match &self.current.credential {
            Credential::None | Credential::NotTried => Finding::CurrentMissing,
            Credential::Tried(tried) => match tried.observation {
                Observation::Unreachable | Observation::Unknown => Finding::Unclear,
                Observation::Works => self.while_consumers_are_served(),
                Observation::Rejected if self.pending.credential.is(Observation::Works) => Finding::PendingInEffect,
                Observation::Rejected if self.previous.credential.is(Observation::Works) => Finding::PreviousInEffect,
                Observation::Rejected if self.companion.as_ref().is_some_and(companion_works) => {
                    Finding::RescuePossible
                }
                Observation::Rejected => Finding::LockedOut,
            },
        }
    }

    fn while_consumers_are_served(&self) -> Finding {
        if self.stuck {
            let young = self.pending.age.is_some_and(|age| age < UNDER_WAY);
            return if young { Finding::UnderWay } else { Finding::Unfinished };
        }
        if self.companion.as_ref().is_some_and(|one| one.tried.observation != Observation::Works) {
            return Finding::CompanionFails;
        }
        if self.description.rotation_enabled == Some(true) { Finding::Healthy } else { Finding::RotationOff }
    }

    fn into_diagnosis(self, secret: &str) -> Diagnosis {
        let finding = self.finding();
        let cause = match finding {
            Finding::Unclear => self.current.credential.error().cloned(),
            Finding::CompanionFails => self.companion.as_ref().and_then(|one| one.tried.error.clone()),
            _ => None,
        };
        let examined = |id: Option<&str>, held: &Held| {
            let id = id?;
            let labels = self.description.labels.get(id).cloned().unwrap_or_default();
            Some(Examined { version: id.to_owned(), labels, age: held.age, credential: held.credential.clone() })
        };
        let description = &self.description;
        let pending = description.pending_version().filter(|_| self.stuck);
        let versions = [
            examined(description.current_version(), &self.current),
            examined(pending, &self.pending),
            examined(description.previous_version(), &self.previous),
        ];
        Diagnosis {
            versions: versions.into_iter().flatten().collect(),
            secret: description.arn.clone().unwrap_or_else(|| secret.to_owned()),
            rotation_enabled: description.rotation_enabled,
            since_rotation: description.last_rotated.map(crate::clock::age_of),
            companion: self.companion,
            finding,
            cause,
        }
    }
}

impl Diagnosis {
    /// What is the matter.
    pub fn finding(&self) -> Finding {
        self.finding
    }

    /// The stable word for it: the error's code where an error kept us from finding out.
    pub fn code(&self) -> &'static str {
        self.cause.as_ref().map_or(self.finding.as_str(), |error| error.code().as_str())
    }

    /// The answer. Holds ids, labels, ages and words; never a value.
    pub fn to_json(&self) -> Value {
        let next = self.cause.as_ref().map_or(self.finding.next_action(), |error| error.code().next_action());
        json!({
            "step": "diagnose",
            "secret": self.secret,
            "healthy": self.finding == Finding::Healthy,
            "finding": self.finding.as_str(),
            "what": self.finding.summary(),
            "error": self.cause.as_ref().map(error_json),
            "nextAction": next,
            "rotationEnabled": self.rotation_enabled.unwrap_or(false),
            "secondsSinceRotation": self.since_rotation.map(|time| time.as_secs()),
            "versions": self.versions.iter().map(Examined::to_json).collect::<Vec<_>>(),
            "companion": self.companion.as_ref().map(|companion| {
                let mut fields = Map::new();
                fields.insert("secret".to_owned(), companion.secret.clone().into());
                fields.insert("credential".to_owned(), companion.tried.observation.as_str().into());
                if let Some(error) = &companion.tried.error {
                    fields.insert("error".to_owned(), error_json(error));
                }
                Value::from(fields)
            }),
        })
    }
}

impl Examined {
    fn to_json(&self) -> Value {
        let mut labels: Vec<_> = self.labels.clone();
        labels
            .sort_by_key(|label| ([CURRENT, PENDING, PREVIOUS].iter().position(|known| known == label), label.clone()));
        let mut fields = Map::new();
        fields.insert("version".to_owned(), self.version.clone().into());
        fields.insert("labels".to_owned(), labels.into());
        if let Some(age) = self.age {
            fields.insert("ageSeconds".to_owned(), age.as_secs().into());
        }
        fields.insert("credential".to_owned(), self.credential.as_str().into());
        if let Some(error) = self.credential.error() {
            fields.insert("error".to_owned(), error_json(error));
        }
        fields.into()
    }
}

fn error_json(error: &Error) -> Value {
    json!({"code": error.code().as_str(), "message": error.to_string()})
}
