//! The seam to what a credential opens.

use crate::clock::{Deadline, Stopwatch};
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::label::Label;
use crate::protocol::notebook::Notebook;
use crate::protocol::observation::{PreviousCredential, Tried};
use crate::protocol::store::{Description, Put, SecretStore, Select, Standing};
use crate::secret::SecretText;
use std::future::Future;
use std::time::Duration;

/// A database user, an API key: something whose credential can be changed and tried.
///
/// Every method may be called twice, after a crash, and by two invocations at once.
pub trait Target: Send + Sync {
    /// Whether `verify` reads the companion, too.
    const COMPANION_VERIFIES: bool;

    /// What `propose` wants to have told to `settle`.
    type Made: Send;

    /// How many answers of AWS services that it asks itself have asked to slow down, since the process began. What a step
    /// can count goes into its [`Notebook`].
    fn throttles(&self) -> u32 {
        0
    }

    /// Another secret that `apply` will read, if the current value names one. It is read ahead.
    fn companion(&self, current: &Document) -> Option<String>;

    /// Makes the next credential. Where the caller chooses the value, nothing is sent to the target.
    fn propose<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        current: &Document,
    ) -> impl Future<Output = Result<Proposal<Self::Made>>> + Send;

    /// Follows `propose` once the version has a value: the proposal, or another one that was stored first. From now on the
    /// value cannot change, so what was made outside for this version and is not in the value is nobody's.
    /// What only leaves something behind is for [`Reader::warn`]; an error says that the value that was stored is of no use.
    fn settle<S: SecretStore>(
        &self,
        _reader: &Reader<'_, S>,
        _made: Self::Made,
        _put: Put,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Puts the pending credential into effect, or finds that it is.
    fn apply<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        versions: Versions<'_>,
    ) -> impl Future<Output = Result<Applied>> + Send;

    /// Proves by use that the pending credential is in effect.
    fn verify<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        versions: Versions<'_>,
        proof: Proof,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends credentials that have lost their labels, once the pending version has been promoted. The rotation has succeeded by
    /// then, whatever comes of this.
    fn retire<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        versions: Versions<'_>,
    ) -> impl Future<Output = Result<Retired>> + Send;

    /// Proves that a rotation could begin: the configuration is sound and the current credential works. Ends what has
    /// outlived its grace period since the current version was made.
    fn check<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        current: Dated<'_>,
    ) -> impl Future<Output = Result<Retired>> + Send;

    /// Tries the credential of a version, which stands where the pending one does in `versions` and has this label. Changes
    /// nothing.
    ///
    /// # Errors
    /// What kept it from being tried: a version that cannot be read, or is for something else than the current one.
    fn attempt<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        versions: Versions<'_>,
        label: Label,
    ) -> impl Future<Output = Result<Tried>> + Send;

    /// Tries the companion's credential, if the current version names a companion and there is a way. Changes nothing.
    ///
    /// # Errors
    /// What kept it from being tried.
    fn attempt_companion<S: SecretStore>(
        &self,
        reader: &Reader<'_, S>,
        current: &Document,
    ) -> impl Future<Output = Result<Option<Companion>>> + Send;
}

/// Another secret whose credential can set right what the secret's own cannot, and what became of trying it.
#[derive(Clone, Debug)]
pub struct Companion {
    /// Its ARN, or what the secret calls it.
    pub secret: String,
    /// Whether a rotation would use it if no credential of the secret worked.
    pub rescues: bool,
    /// What trying it told. `None` where there is no way to try it without a change.
    pub tried: Option<Tried>,
}

/// The next credential.
#[derive(Clone, Debug)]
pub struct Proposal<M> {
    /// The secret's value with it.
    pub document: Document,
    /// What was made outside for it.
    pub made: M,
}

/// A version and its age, by the service's clock and ours.
#[derive(Clone, Copy, Debug)]
pub struct Dated<'a> {
    /// Its value.
    pub document: &'a Document,
    /// The time since it was made, if the service said when that was.
    pub age: Option<Duration>,
}

/// How much of a proof is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// testSecret's: the credential works, and opens all that it should.
    Full,
    /// finishSecret's: the credential works. A step that was left out shows by that.
    Works,
}

/// Whether old credentials were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// There was nothing to end, or nobody asked for it yet.
    Nothing,
    /// The previous credential was ended.
    Previous,
}

/// The two versions that a step works with.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// AWSCURRENT.
    pub current: &'a Document,
    /// AWSPENDING, fenced by the token.
    pub pending: &'a Document,
}

/// What `apply` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The credential was changed.
    Changed(Change),
    /// An earlier run had done it.
    AlreadyInEffect,
}

/// A credential was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// With whose rights: `current`, `previous` or `superuser`.
    pub by: &'static str,
    /// What became of the one before.
    pub previous: PreviousCredential,
}

/// How old the labels may be when a credential is changed. A healthy step is faster; a slower one may have been overtaken
/// by an operator and another rotation, and would put back a password that nothing remembers.
const LABELS_ARE_FRESH_FOR: Duration = Duration::from_secs(2);

/// Read access to secrets, for what a target seldom needs.
pub struct Reader<'a, S> {
    store: &'a S,
    secret: &'a str,
    token: &'a str,
    description: Description,
    since: Stopwatch,
    deadline: Deadline,
    ahead: Option<(String, Result<Document>)>,
    notebook: &'a Notebook,
}

impl<'a, S: SecretStore> Reader<'a, S> {
    /// For a secret whose version `token` was just seen to be pending.
    pub(crate) fn new(
        store: &'a S,
        secret: &'a str,
        token: &'a str,
        description: Description,
        notebook: &'a Notebook,
        deadline: Deadline,
    ) -> Self {
        let since = Stopwatch::start();
        Self { store, secret, token, description, since, deadline, ahead: None, notebook }
    }

    pub(crate) fn with_ahead(self, ahead: Option<(String, Result<Document>)>) -> Self {
        Self { ahead, ..self }
    }

    /// The secret's ARN, or what the event called it where the service did not say.
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

    /// Notes what went wrong without being the step's failure: it is logged, counted, and stands in the answer.
    pub fn warn(&self, warning: Error) {
        self.notebook.warn(warning);
    }

    /// The step's notes.
    pub fn notebook(&self) -> &Notebook {
        self.notebook
    }

    /// Whether the version has a value by now. To be asked right before something is done outside that only the first
    /// invocation of createSecret may do.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn has_value(&self) -> Result<bool> {
        self.store.value(self.secret, Select::Pending(self.token), self.deadline).await.map(|version| version.is_some())
    }

    /// The AWSPREVIOUS version of another secret, if there is one and it is a JSON object.
    ///
    /// # Errors
    /// Those of the store. Each names the secret.
    pub async fn other_previous(&self, id: &str) -> Result<Option<Document>> {
        let version =
            self.store.value(id, Select::Previous, self.deadline).await.map_err(|error| of_other(error, id))?;
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

    /// To be asked right before a credential is changed: whether the version is pending still. Costs a call only if the
    /// labels were read more than two seconds ago.
    ///
    /// # Errors
    /// [`Code::VersionNotPending`] and those of the store.
    pub async fn still_pending(&self) -> Result<()> {
        if self.since.elapsed() < LABELS_ARE_FRESH_FOR {
            return Ok(());
        }
        match self.store.describe(self.secret, self.deadline).await?.standing(self.token)? {
            Standing::Pending => Ok(()),
            Standing::Current => Err(Error::new(Code::VersionNotPending).with(Fact::Version, self.token)),
        }
    }

    /// The AWSPREVIOUS version, if there is one and it is a JSON object.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn previous(&self) -> Result<Option<Document>> {
        match self.store.value(self.secret, Select::Previous, self.deadline).await {
            Ok(version) => Ok(version.and_then(|version| Document::parse(version.text).ok())),
            Err(error) if error.code() == Code::SecretNotJson => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The text of the AWSCURRENT version of another secret, whatever it is.
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

pub(crate) async fn read_other<S: SecretStore>(store: &S, id: &str, deadline: Deadline) -> Result<Document> {
    Document::parse(read_text(store, id, deadline).await?).map_err(|error| of_other(error, id))
}

async fn read_text<S: SecretStore>(store: &S, id: &str, deadline: Deadline) -> Result<SecretText> {
    let version = store.value(id, Select::Current, deadline).await.map_err(|error| of_other(error, id))?;
    version.map(|version| version.text).ok_or_else(|| of_other(Error::new(Code::SecretNotFound), id))
}

/// `secret` is the one that is being rotated, in every error.
fn of_other(error: Error, id: &str) -> Error {
    error.renamed(Fact::Secret, Fact::OtherSecret).with_default(Fact::OtherSecret, id)
}
