//! What a step hands to a target: the facts of this invocation, read access to secrets, and the step's notes.

use crate::clock::{Deadline, Stopwatch};
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::notes::StepNotes;
use crate::protocol::store::{Description, RotationState, SecretStore, VersionSelector};
use crate::secret::SecretText;
use std::time::Duration;

/// How old the labels may be when a credential is changed. A healthy step is faster. A slower step may have been overtaken by
/// an operator and another rotation. It would then put back a password that no version of the secret holds.
const LABELS_ARE_FRESH_FOR: Duration = Duration::from_secs(2);

/// One step of one rotation, as a target sees it.
pub struct StepContext<'a> {
    store: &'a dyn SecretStore,
    secret: &'a str,
    token: &'a str,
    description: Description,
    since: Stopwatch,
    deadline: Deadline,
    ahead: Option<(String, Result<Document>)>,
    notes: &'a StepNotes,
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
        let since = Stopwatch::start();
        Self { store, secret, token, description, since, deadline, ahead: None, notes }
    }

    pub(crate) fn with_ahead(self, ahead: Option<(String, Result<Document>)>) -> Self {
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

    /// Checks that the version is still pending. Call it right before a credential is changed. It costs a call to Secrets
    /// Manager only if the labels were read more than two seconds ago.
    ///
    /// # Errors
    /// [`Code::VersionNotPending`] and those of the store.
    pub async fn still_pending(&self) -> Result<()> {
        if self.since.elapsed() < LABELS_ARE_FRESH_FOR {
            return Ok(());
        }
        match self.store.describe(self.secret, self.deadline).await?.rotation_state(self.token)? {
            RotationState::Pending => Ok(()),
            RotationState::Current => Err(Error::new(Code::VersionNotPending).with(Fact::Version, self.token)),
        }
    }

    /// The AWSPREVIOUS version, if there is one and it is a JSON object.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn previous(&self) -> Result<Option<Document>> {
        match self.store.value(self.secret, VersionSelector::Previous, self.deadline).await {
            Ok(version) => Ok(version.and_then(|version| Document::parse(version.text).ok())),
            Err(error) if error.code() == Code::SecretNotJson => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text of the AWSCURRENT version of another secret. It need not be JSON.
    ///
    /// # Errors
    /// Those of the store; [`Code::SecretNotFound`]. Each names the secret.
    pub async fn other_text(&self, id: &str) -> Result<SecretText> {
        read_text(self.store, id, self.deadline).await
    }

    /// The AWSCURRENT version of another secret.
    ///
    /// # Errors
    /// Those of the store; [`Code::SecretNotFound`]; those of [`Document::parse`]. Each names the secret.
    pub async fn other_secret(&self, id: &str) -> Result<Document> {
        match &self.ahead {
            Some((known, document)) if known == id => document.clone(),
            _ => read_other(self.store, id, self.deadline).await,
        }
    }
}

/// The AWSCURRENT version of another secret than the one that is being rotated.
pub(crate) async fn read_other(store: &dyn SecretStore, id: &str, deadline: Deadline) -> Result<Document> {
    Document::parse(read_text(store, id, deadline).await?).map_err(|error| of_other(error, id))
}

async fn read_text(store: &dyn SecretStore, id: &str, deadline: Deadline) -> Result<SecretText> {
    let version = store.value(id, VersionSelector::Current, deadline).await.map_err(|error| of_other(error, id))?;
    version.map(|version| version.text).ok_or_else(|| of_other(Error::new(Code::SecretNotFound), id))
}

/// In every error, the fact `secret` is the secret that is being rotated. Another secret is `otherSecret`.
fn of_other(error: Error, id: &str) -> Error {
    error.renamed(Fact::Secret, Fact::OtherSecret).with_default(Fact::OtherSecret, id)
}
