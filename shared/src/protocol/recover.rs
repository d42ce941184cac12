//! Does the one next action that a diagnosis names, if that action is safe. Otherwise it changes nothing and says what to do.
//!
//! A recovery is safe if it does no more than a rotation does by itself: it goes on with an unfinished rotation, it moves AWSCURRENT
//! to a version whose credential has just worked, or it lets the superuser set the credential that AWSCURRENT holds. It makes no
//! credential and removes no label.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::context::{RefusedLogins, StepContext};
use crate::protocol::diagnose::{Diagnosis, Finding};
use crate::protocol::event::{Event, Step};
use crate::protocol::label::{CURRENT, PENDING};
use crate::protocol::notes::{Notes, StepNotes};
use crate::protocol::store::{RotationState, SecretStore};
use crate::protocol::target::{Change, Proof, Retired, Target, Versions};
use crate::protocol::{Outcome, Rotation, told};
use serde_json::{Map, Value};

/// What to do after AWSCURRENT opens the target again with a credential that is not new.
const ROTATE: &str = "Consumers are served. Diagnose again, and then run `aws secretsmanager rotate-secret` for the secret, which gives it a new credential.";

/// A recovery that was carried out.
#[derive(Clone, Debug)]
pub struct RecoverReport {
    /// What it did, or why it did nothing.
    pub outcome: Result<Recovery>,
    /// What the recovery noted besides its outcome.
    pub notes: Notes,
}

/// The answer to a recovery.
#[derive(Clone, Debug)]
pub struct Recovery {
    secret: String,
    finding: Finding,
    action: Action,
}

/// What a recovery did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing was wrong.
    Nothing {
        /// The next action of the finding.
        next: String,
    },
    /// It carried out the rest of an unfinished rotation.
    Finished {
        /// The version that is AWSCURRENT now.
        version: String,
        /// How finishSecret ended.
        finished: Outcome,
    },
    /// It moved AWSCURRENT to a version whose credential worked.
    Moved {
        /// The version that is AWSCURRENT now.
        version: String,
    },
    /// The superuser set the credential that AWSCURRENT holds.
    CredentialSet {
        /// The version that is AWSCURRENT.
        version: String,
        /// What was changed. `None` if the credential was in effect by then.
        change: Option<Change>,
    },
}

impl Action {
    /// The word used in results and logs.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Nothing { .. } => "nothing-to-do",
            Self::Finished { .. } => "rotation-finished",
            Self::Moved { .. } => "current-moved",
            Self::CredentialSet { .. } => "credential-set",
        }
    }

    fn what(&self) -> &'static str {
        match self {
            Self::Nothing { .. } => "the current credential works, and nothing was changed",
            Self::Finished { .. } => "the unfinished rotation was carried out to its end",
            Self::Moved { .. } => "AWSCURRENT moved to the version whose credential works",
            Self::CredentialSet { .. } => "the superuser set the credential that AWSCURRENT holds",
        }
    }

    fn next_action(&self) -> &str {
        match self {
            Self::Nothing { next } => next,
            Self::Finished { .. } => "Nothing to do.",
            Self::Moved { .. } | Self::CredentialSet { .. } => ROTATE,
        }
    }

    /// The version that is AWSCURRENT after a change.
    pub fn version(&self) -> Option<&str> {
        match self {
            Self::Nothing { .. } => None,
            Self::Finished { version, .. } | Self::Moved { version } | Self::CredentialSet { version, .. } => {
                Some(version)
            }
        }
    }

    /// Whether AWSCURRENT was moved by this invocation.
    pub fn moved(&self) -> bool {
        match self {
            Self::Finished { finished, .. } => matches!(finished, Outcome::Promoted(_)),
            Self::Moved { .. } => true,
            Self::Nothing { .. } | Self::CredentialSet { .. } => false,
        }
    }

    /// Whether old credentials were ended, and why not if they should have been.
    pub fn retired(&self) -> Result<Retired, &Error> {
        match self {
            Self::Finished { finished, .. } => finished.retired(),
            _ => Ok(Retired::Nothing),
        }
    }
}

impl Recovery {
    /// What was found before.
    pub fn finding(&self) -> Finding {
        self.finding
    }

    /// What was done.
    pub fn action(&self) -> &Action {
        &self.action
    }

    /// The answer as JSON. It holds ids and words, and never a secret's value.
    pub fn to_json(&self, warnings: &[Error]) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: &str| fields.insert(name.to_owned(), value.into());
        put("step", "recover");
        put("secret", &self.secret);
        put("finding", self.finding.as_str());
        put("outcome", self.action.as_str());
        put("what", self.action.what());
        put("nextAction", self.action.next_action());
        if let Some(version) = self.action.version() {
            put("version", version);
        }
        match self.action.retired() {
            Ok(Retired::Nothing) => {}
            Ok(Retired::Previous) => drop(put("retired", "previous")),
            Err(error) => drop(put("notRetired", error.code().as_str())),
        }
        if !warnings.is_empty() {
            let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
            fields.insert("warnings".to_owned(), warnings.into());
        }
        fields.into()
    }
}

/// A secret that is being recovered.
struct Recovering<'a> {
    secret: &'a str,
    diagnosis: Diagnosis,
    refused: RefusedLogins,
    notes: &'a StepNotes,
    deadline: Deadline,
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Diagnoses one secret, and does the next action that the finding names.
    ///
    /// **Invariant:** a recovery needs the deployer's consent. Whoever may invoke the function could otherwise move AWSCURRENT to an
    /// older version. Test: `a_recovery_needs_consent`.
    ///
    /// An error is any [`Code`], with the secret as [`Fact::Secret`]: [`Code::RecoverOff`] without consent, and
    /// [`Code::RecoverRefused`] if the next action is a person's. The recovery can be run again.
    pub async fn recover(&self, secret: &str, deadline: Deadline) -> RecoverReport {
        let notes = StepNotes::default();
        // Every wait inside has its own limit, whose error names what it waited for. This limit catches what they leave out.
        let outcome = deadline.limit(self.recovered(secret, &notes, deadline)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::new(Code::TimeSpent)));
        RecoverReport {
            outcome: outcome.map_err(|error| error.with_default(Fact::Secret, secret)),
            notes: notes.into_notes(),
        }
    }

    async fn recovered(&self, secret: &str, notes: &StepNotes, deadline: Deadline) -> Result<Recovery> {
        if !self.recovers {
            return Err(Error::new(Code::RecoverOff));
        }
        let refused = RefusedLogins::default();
        let diagnosis = self.diagnosed(secret, None, &refused, deadline).await?;
        let (finding, arn) = (diagnosis.finding(), diagnosis.secret().to_owned());
        notes.described(diagnosis.description());
        let recovering = Recovering { secret, diagnosis, refused, notes, deadline };
        Ok(Recovery { secret: arn, finding, action: self.act(&recovering).await? })
    }

    async fn act(&self, recovering: &Recovering<'_>) -> Result<Action> {
        let diagnosis = &recovering.diagnosis;
        let description = diagnosis.description();
        let on = description.rotation_enabled == Some(true);
        let to = match diagnosis.finding() {
            Finding::Healthy | Finding::RotationOff => return Ok(Action::Nothing { next: diagnosis.next_action() }),
            Finding::PendingInEffect | Finding::Unfinished if on && diagnosis.pending_has_a_value() => {
                return self.go_on(recovering).await;
            }
            Finding::RescuePossible if T::SUPERUSER_SETS_CURRENT => return self.set_current(recovering).await,
            // The service does not go on with the rotation, so nobody else moves the label.
            Finding::PendingInEffect => description.pending_version(),
            Finding::PreviousInEffect => description.previous_version(),
            Finding::OlderInEffect => diagnosis.older_in_effect(),
            _ => None,
        };
        match to {
            Some(to) => self.move_current(recovering, to).await,
            None => Err(recovering.refusal()),
        }
    }

    /// Goes on with the unfinished rotation. The steps have the same rules as ever.
    async fn go_on(&self, recovering: &Recovering<'_>) -> Result<Action> {
        let Recovering { secret, diagnosis, refused, notes, deadline } = recovering;
        let Some(version) = diagnosis.description().pending_version() else { return Err(recovering.refusal()) };
        let event =
            |step| Event { secret: (*secret).to_owned(), token: version.to_owned(), step, rotation_token: None };
        self.set(&event(Step::Set), notes, refused, *deadline).await?;
        self.test(&event(Step::Test), notes, *deadline).await?;
        let finished = self.finish(&event(Step::Finish), notes, *deadline).await?;
        Ok(Action::Finished { version: version.to_owned(), finished })
    }

    /// Moves AWSCURRENT to a version whose credential has just worked.
    ///
    /// **Invariant:** the credential is proven again while nobody else can change it, and the labels are asked after that. AWSCURRENT
    /// moves only from the version that was diagnosed. Otherwise a recovery that is held up could undo a rotation that has
    /// succeeded meanwhile. Test: `a_recovery_that_was_overtaken_moves_nothing`.
    async fn move_current(&self, recovering: &Recovering<'_>, to: &str) -> Result<Action> {
        let Recovering { secret, diagnosis, notes, deadline, .. } = recovering;
        let Some(from) = diagnosis.description().current_version() else { return Err(recovering.refusal()) };
        let description = diagnosis.description().clone();
        let context = StepContext::new(self.store(), secret, to, description, notes, *deadline);
        let (current, proven) = tokio::join!(context.version(from), context.version(to));
        let (Some(current), Some(proven)) = (current?, proven?) else { return Err(recovering.refusal()) };
        let versions = Versions { current: &current, pending: &proven };
        let held = told(&context, self.target().verify(&context, versions, Proof::Works)).await;
        let held = held.map_err(|error| match error.code() {
            Code::PendingRejected => overtaken("the credential that worked is refused now"),
            // A label that moves back would lose the edit. A rotation keeps it.
            Code::PendingOutdated => recovering
                .refusal()
                .with(Fact::What, "AWSCURRENT has an edit that the version with the credential lacks"),
            _ => error,
        })?;
        let moved = self.move_label(recovering, to, from).await;
        self.target().release(held).await;
        moved.map(|()| Action::Moved { version: to.to_owned() })
    }

    async fn move_label(&self, recovering: &Recovering<'_>, to: &str, from: &str) -> Result<()> {
        let Recovering { secret, diagnosis, deadline, .. } = recovering;
        let pending = diagnosis.description().pending_version();
        let now = self.store().describe(secret, *deadline).await?;
        if now.current_version() != Some(from) {
            return Err(overtaken("AWSCURRENT has moved").with(Fact::Labels, CURRENT));
        }
        if now.pending_version() != pending {
            return Err(overtaken("AWSPENDING has moved").with(Fact::Labels, PENDING));
        }
        match self.store().promote(secret, to, from, *deadline).await {
            // An earlier attempt whose reply was lost may have moved it.
            Err(error) if error.code() == Code::WriteConflict => {
                let now = self.store().describe(secret, *deadline).await?;
                if now.current_version() == Some(to) { Ok(()) } else { Err(error) }
            }
            moved => moved,
        }
    }

    /// Lets the superuser set the credential that AWSCURRENT holds.
    async fn set_current(&self, recovering: &Recovering<'_>) -> Result<Action> {
        let Recovering { secret, diagnosis, refused, notes, deadline } = recovering;
        let Some(id) = diagnosis.description().current_version() else { return Err(recovering.refusal()) };
        let context = || {
            let description = diagnosis.description().clone();
            let context = StepContext::new(self.store(), secret, id, description, notes, *deadline);
            context.expecting(RotationState::Current).even_if_rotation_is_off()
        };
        let known = context().with_refused(refused);
        let Some(current): Option<Document> = known.version(id).await? else { return Err(recovering.refusal()) };
        let versions = Versions { current: &current, pending: &current };
        let applied = match told(&known, self.target().apply(&known, versions)).await {
            // A pair's AWSCURRENT is no successor of its own. The next rotation sets the partner's credential.
            Err(error) if error.code() == Code::PendingMismatch => return Err(recovering.refusal()),
            applied => applied?,
        };
        self.current_works(&context(), &current).await?;
        Ok(Action::CredentialSet { version: id.to_owned(), change: applied.change() })
    }
}

impl Recovering<'_> {
    /// The next action is a person's.
    fn refusal(&self) -> Error {
        let error = Error::new(Code::RecoverRefused)
            .with(Fact::Found, self.diagnosis.finding().as_str())
            .with(Fact::NextAction, self.diagnosis.next_action());
        match self.diagnosis.cause() {
            Some(cause) => error.with(Fact::What, cause.code()),
            None => error,
        }
    }
}

fn overtaken(what: &str) -> Error {
    Error::new(Code::WriteConflict).with(Fact::What, what)
}
