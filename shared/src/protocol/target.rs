//! The seam to what a credential opens.

use crate::document::Document;
use crate::error::Result;
use crate::protocol::context::StepContext;
use crate::protocol::label::Label;
use crate::protocol::observation::{Attempt, PreviousCredential};
use crate::protocol::store::PutOutcome;
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
    /// can count goes into its [`StepNotes`](crate::protocol::notes::StepNotes).
    fn throttles(&self) -> u32 {
        0
    }

    /// Another secret that `apply` will read, if the current value names one. It is read ahead.
    fn companion(&self, current: &Document) -> Option<String>;

    /// Makes the next credential. Where the caller chooses the value, nothing is sent to the target.
    fn propose(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> impl Future<Output = Result<Proposal<Self::Made>>> + Send;

    /// Follows `propose` once the version has a value: the proposal, or another one that was stored first. From now on the
    /// value cannot change, so what was made outside for this version and is not in the value is nobody's.
    /// What only leaves something behind is for [`StepContext::warn`]; an error says that the value that was stored is of no use.
    fn settle(
        &self,
        _reader: &StepContext<'_>,
        _made: Self::Made,
        _put: PutOutcome,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Puts the pending credential into effect, or finds that it is.
    fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> impl Future<Output = Result<Applied>> + Send;

    /// Proves by use that the pending credential is in effect.
    fn verify(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        proof: Proof,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Ends credentials that have lost their labels, once the pending version has been promoted. The rotation has succeeded by
    /// then, whatever comes of this.
    fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>)
    -> impl Future<Output = Result<Retired>> + Send;

    /// Proves that a rotation could begin: the configuration is sound and the current credential works. Ends what has
    /// outlived its grace period since the current version was made.
    fn check(
        &self,
        context: &StepContext<'_>,
        current: VersionWithAge<'_>,
    ) -> impl Future<Output = Result<Retired>> + Send;

    /// Tries the credential of a version, which stands where the pending one does in `versions` and has this label. InFlightChanges
    /// nothing.
    ///
    /// # Errors
    /// What kept it from being tried: a version that cannot be read, or is for something else than the current one.
    fn attempt(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        label: Label,
    ) -> impl Future<Output = Result<Attempt>> + Send;

    /// Tries the companion's credential, if the current version names a companion and there is a way. InFlightChanges nothing.
    ///
    /// # Errors
    /// What kept it from being tried.
    fn attempt_companion(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> impl Future<Output = Result<Option<HelperSecret>>> + Send;
}

/// Another secret whose credential can set right what the secret's own cannot, and what became of trying it.
#[derive(Clone, Debug)]
pub struct HelperSecret {
    /// Its ARN, or what the secret calls it.
    pub secret: String,
    /// Whether a rotation would use it if no credential of the secret worked.
    pub rescues: bool,
    /// What trying it told. `None` where there is no way to try it without a change.
    pub tried: Option<Attempt>,
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
pub struct VersionWithAge<'a> {
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
