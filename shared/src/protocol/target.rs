//! The seam to what a credential opens.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Code, Error, Result};
use crate::protocol::context::StepContext;
use crate::protocol::label::Label;
use crate::protocol::observation::{Attempt, PreviousCredential};
use crate::protocol::portrait::Portrait;
use crate::protocol::store::PutOutcome;
use std::future::Future;
use std::time::Duration;

/// A database user, an API key: something whose credential can be changed and tried.
///
/// Every method may be called twice, after a crash, and by two invocations at once.
pub trait Target: Send + Sync {
    /// Whether a rotation may find the credential that works in an older version of the secret.
    const SEARCHES_OLDER_VERSIONS: bool = false;

    /// Whether `apply`, with AWSCURRENT as both versions, lets the helper secret's credential set the credential of AWSCURRENT.
    const SUPERUSER_SETS_CURRENT: bool = false;

    /// Whether the daily look calls [`look_after`](Self::look_after) for each secret.
    const LOOKS_AFTER: bool = false;
    /// Whether credentials end by themselves, and the daily look begins a rotation before that.
    const RENEWS: bool = false;

    /// What `propose` hands on to `settle`.
    type Made: Send;

    /// What keeps other invocations from changing the credential after `verify`: a session with a lock, for example.
    type Held: Send;

    /// The daily look begins. [`look_after`](Self::look_after), [`look_on`](Self::look_on) and [`lifetime`](Self::lifetime) follow, for
    /// several secrets at a time. What is remembered of an earlier look is of no use any more.
    fn look_begins(&self) {}

    /// How many throttled answers the target got from AWS services that it calls itself, since the process began. A target that
    /// can count them for each step notes them in [`StepNotes`](crate::protocol::notes::StepNotes) instead.
    fn throttles(&self) -> u32 {
        0
    }

    /// What the current value says about itself. Nothing is sent anywhere, and nothing secret is in it.
    ///
    /// # Errors
    /// Why the value cannot be understood.
    fn portrait(&self, _current: &Document) -> Result<Portrait> {
        Ok(Portrait::default())
    }

    /// The helper secret that `apply` will read, if the current value names one. The protocol reads it ahead.
    fn helper_secret(&self, current: &Document) -> Option<Helper>;

    /// Makes the next credential. Where the caller chooses the value, nothing is sent to the target.
    fn propose(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> impl Future<Output = Result<Proposal<Self::Made>>> + Send;

    /// Follows `propose` once the version has a value: this proposal, or another one that was stored first. The value can no longer
    /// change, so any credential that was made for this version and is not in the stored value is an orphan.
    ///
    /// An orphan that could not be ended is a [warning](StepContext::warn). An error means that the stored value is useless.
    fn settle(
        &self,
        _reader: &StepContext<'_>,
        _made: Self::Made,
        _put: PutOutcome,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Puts the pending credential into effect, or finds that it is in effect already.
    fn apply(&self, context: &StepContext<'_>, versions: Versions<'_>) -> impl Future<Output = Result<Applied>> + Send;

    /// setSecret has found that AWSCURRENT is the rotation's version and works. A target that hands its credential on to other places does
    /// so again here: they may have another one, if somebody has moved AWSCURRENT by hand.
    fn hand_on_current(&self, _context: &StepContext<'_>) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// Proves by use that the pending credential is in effect. Where the target has a lock, it stays so until the release.
    fn verify(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        proof: Proof,
    ) -> impl Future<Output = Result<Self::Held>> + Send;

    /// Lets others change the credential again.
    fn release(&self, held: Self::Held) -> impl Future<Output = ()> + Send;

    /// Ends credentials that have lost their labels. The pending version has been promoted by then, so the rotation has succeeded
    /// even if this fails.
    fn retire(&self, context: &StepContext<'_>, versions: Versions<'_>)
    -> impl Future<Output = Result<Retired>> + Send;

    /// Proves that a rotation could begin: the configuration is sound and the current credential works. Ends credentials whose
    /// grace period is over.
    fn check(
        &self,
        context: &StepContext<'_>,
        current: VersionWithAge<'_>,
    ) -> impl Future<Output = Result<Retired>> + Send;

    /// Tries the credential of a version with this label. `versions.pending` is that version. Nothing is changed.
    ///
    /// # Errors
    /// Why the credential was not tried: the version cannot be read, or it is for another target than the current version.
    fn attempt(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        label: Label,
    ) -> impl Future<Output = Result<Attempt>> + Send;

    /// What has to be done between rotations for a secret that has no rotation under way. `current` is AWSCURRENT, and the context's
    /// token is its version. What a person should know is a [warning](StepContext::warn).
    ///
    /// A rotation may begin at any moment. So call [`StepContext::is_settled`] before each change, and make no change that cannot notice
    /// the change of a rotation.
    fn look_after(
        &self,
        _context: &StepContext<'_>,
        _current: VersionWithAge<'_>,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// What has to be looked at while a rotation is unfinished: the daily look calls it then, instead of
    /// [`look_after`](Self::look_after). `current` is AWSCURRENT, `pending` AWSPENDING if that has a value. Nothing may be changed. What a
    /// person should know is a [warning](StepContext::warn).
    fn look_on(
        &self,
        _context: &StepContext<'_>,
        _current: &Document,
        _pending: Option<&Document>,
    ) -> impl Future<Output = Result<()>> + Send {
        std::future::ready(Ok(()))
    }

    /// What a rotation would do with the credential of an older version, `versions.pending`, after it was refused all newer ones.
    /// Nothing is sent to the target.
    fn older(&self, _context: &StepContext<'_>, _versions: Versions<'_>) -> OlderVersion {
        OlderVersion::Useless
    }

    /// How long the credential of AWSCURRENT lasts by itself, and whether it is to be renewed. `None` if it does not end. Nothing is
    /// changed. `secret` is the secret's ARN.
    fn lifetime(
        &self,
        _secret: &str,
        _current: &Document,
        _deadline: Deadline,
    ) -> impl Future<Output = Result<Option<Lifetime>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Ends the credential of a superseded version, `versions.pending`, before a later rotation would end it. It has just worked, and
    /// so has that of AWSCURRENT, `versions.current`, whose version is the context's token. [`Retired::Nothing`] where this kind of
    /// target cannot end it.
    ///
    /// A rotation may begin at any moment. So ask [`StepContext::is_settled`] right before the change, under the lock if there is one.
    fn end_early(
        &self,
        _context: &StepContext<'_>,
        _versions: Versions<'_>,
    ) -> impl Future<Output = Result<Retired>> + Send {
        std::future::ready(Ok(Retired::Nothing))
    }

    /// Ends the sessions of the user of a superseded version, `versions.pending`, whose credential was just refused. The credential of
    /// AWSCURRENT, `versions.current`, has just worked. `None` where there are no sessions.
    fn end_sessions(
        &self,
        _context: &StepContext<'_>,
        _versions: Versions<'_>,
    ) -> impl Future<Output = Result<Option<Sessions>>> + Send {
        std::future::ready(Ok(None))
    }

    /// Tries the credential in the helper secret, if the current version names one and it can be tried. Nothing is changed.
    ///
    /// # Errors
    /// Why the credential was not tried.
    fn attempt_helper_secret(
        &self,
        context: &StepContext<'_>,
        current: &Document,
    ) -> impl Future<Output = Result<Option<HelperSecret>>> + Send;
}

/// How long a credential lasts that ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    /// The time that is left.
    pub left: Duration,
    /// The whole time, from its beginning to its end.
    pub whole: Duration,
    /// Whether it is to be renewed now.
    pub renew: bool,
}

impl Lifetime {
    /// Whether so little is left that a person should look: less than a week, or than a fifth of a short life.
    pub fn is_short(self) -> bool {
        const WEEK: Duration = Duration::from_secs(7 * 86_400);
        self.left < WEEK.min(self.whole / 5)
    }
}

/// What a search for a credential that works does with an older version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OlderVersion {
    /// It is for another target than the current version, or its credential was refused already.
    Useless,
    /// Its credential may work, and is not tried: the target has refused as many credentials as it may.
    Untried,
    /// Its credential is tried.
    Worthwhile,
}

/// Another secret that the rotated one names: a superuser's or an admin's. Its credential helps where the secret's own do not.
#[derive(Clone, Debug)]
pub struct HelperSecret {
    /// Its ARN, or the name that the rotated secret gives.
    pub secret: String,
    /// Whether a rotation would use it if no credential of the secret worked.
    pub rescues: bool,
    /// The result of trying it. `None` if it cannot be tried without a change.
    pub tried: Option<Attempt>,
}

/// The next credential.
#[derive(Clone, Debug)]
pub struct Proposal<M> {
    /// The secret's value with the next credential.
    pub document: Document,
    /// What was made at the target for it.
    pub made: M,
}

/// A version and its age: the time from the service's date to this machine's clock.
#[derive(Clone, Copy, Debug)]
pub struct VersionWithAge<'a> {
    /// Its value.
    pub document: &'a Document,
    /// The time since the version was made, if the service gave its date.
    pub age: Option<Duration>,
}

/// How much `verify` has to prove.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proof {
    /// For testSecret: the credential works, and gives access to everything that it should.
    Full,
    /// For finishSecret: the credential works. This shows, too, whether setSecret was left out.
    Works,
}

/// Whether old credentials were ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retired {
    /// There was nothing to end, or it is too early.
    Nothing,
    /// The previous credential was ended.
    Previous,
}

/// What became of the sessions of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sessions {
    /// So many were told to end.
    pub ended: u64,
    /// So many of them were still there a moment later.
    pub left: u64,
}

/// The two versions that a step works with.
#[derive(Clone, Copy, Debug)]
pub struct Versions<'a> {
    /// AWSCURRENT.
    pub current: &'a Document,
    /// AWSPENDING, fenced by the token.
    pub pending: &'a Document,
}

impl Versions<'_> {
    /// Checks that AWSPENDING differs from AWSCURRENT only in what a rotation writes: these keys and the journal.
    ///
    /// **Invariant:** a version that lacks an edit of AWSCURRENT is neither put into effect nor promoted. Otherwise an edit that is
    /// made during a rotation would be lost. Test: `an_edit_during_a_rotation_is_not_lost`.
    ///
    /// # Errors
    /// [`Code::PendingOutdated`].
    pub fn unedited(&self, written: &[&str]) -> Result<()> {
        let same = self.current.same_besides(self.pending, written);
        if same { Ok(()) } else { Err(Error::new(Code::PendingOutdated)) }
    }
}

/// What `apply` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    /// The credential was changed.
    Changed(Change),
    /// An earlier run had done it.
    AlreadyInEffect,
}

impl Applied {
    /// What was changed.
    pub fn change(self) -> Option<Change> {
        match self {
            Self::Changed(change) => Some(change),
            Self::AlreadyInEffect => None,
        }
    }
}

/// A helper secret that is read ahead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Helper {
    /// Its ARN or name.
    pub secret: String,
    /// Whether `verify` reads it, too.
    pub verifies: bool,
}

/// A credential was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Change {
    /// The credential that was used for the change: `current`, `previous` or `superuser`.
    pub by: &'static str,
    /// What became of the previous credential.
    pub previous: PreviousCredential,
}
