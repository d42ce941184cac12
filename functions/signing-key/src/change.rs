//! A change of the set in a place, whoever else writes there meanwhile.
//!
//! **Invariant:** each write depends on what was read before the labels were asked. An invocation that was held up finds that it is not
//! wanted, or that the place has changed. Otherwise it would bring back a leaked key, or take away a key of a later rotation. A parameter
//! of Systems Manager cannot refuse a late write: it stands until its writer sees, from the versions between, that it was late, and puts back
//! what it overwrote. A writer that dies in between leaves that to the next step or to the daily look. Test:
//! `a_writer_that_was_held_up_changes_nothing`.

use crate::outlet::{Found, Written};
use crate::place::Place;
use crate::published::{Owner, PublishedSet};
use crate::signing_keys::SigningKeys;
use rotation::protocol::context::StepContext;
use rotation::{Code, Error, Fact, Result};

/// How often a place is written again because others write, too. Each of them has published its keys meanwhile.
const MOST_WRITES: usize = 6;

/// Who may write now.
#[derive(Clone, Copy)]
pub(crate) enum Guard {
    /// A step whose version is still wanted.
    Wanted,
    /// finishSecret, after the promotion.
    Promoted,
    /// Whoever finds that no rotation is under way.
    Settled,
}

impl SigningKeys {
    /// Changes the set in a place, whoever else writes there, and returns the set that stands there then. `None` if nothing had to change, or
    /// nobody may change it now: nothing was written.
    pub(crate) async fn change(
        &self,
        context: &StepContext<'_>,
        place: &Place,
        (owner, guard): (Owner<'_>, Guard),
        changed: &(dyn Fn(&PublishedSet) -> Option<PublishedSet> + Sync),
    ) -> Result<Option<PublishedSet>> {
        // So that the caches of a network and those of verifiers together take no longer than `maxCache`.
        let max_age = owner.secret.max_cache / 2;
        let mut overwritten: Option<Found> = None;
        for _ in 0..MOST_WRITES {
            // The order counts: a later rotation either is known to the labels, or changes the place after this read.
            let found = match overwritten.take() {
                Some(found) => found,
                None => self.read(context, place).await?,
            };
            found.set.is_of(owner).map_err(|error| error.with(Fact::Field, place))?;
            let Some(set) = changed(&found.set) else { return Ok(None) };
            if !guard.allows(context).await? {
                return Ok(None);
            }
            if set.is_larger(&found.set) {
                set.fits(place)?;
            }
            match self.outlets.write(place, &set, &found.mark, max_age, context.deadline()).await? {
                Written::Done => return Ok(Some(set)),
                Written::Conflict => {}
                Written::Overwrote(between) => {
                    let allowed = guard.allows(context).await;
                    if changed(&between.set).is_none() || !matches!(allowed, Ok(true)) {
                        // What they wrote is all that is needed, or more than this invocation knows.
                        let theirs = between.set.clone();
                        self.put_back(context, place, between, max_age).await?;
                        return allowed.map(|allowed| allowed.then_some(theirs));
                    }
                    overwritten = Some(between);
                }
            }
        }
        Err(busy(place))
    }

    /// Writes what somebody else had written back to a place, or what a third one has written since.
    async fn put_back(&self, context: &StepContext<'_>, place: &Place, theirs: Found, max_age: u64) -> Result<()> {
        let mut theirs = theirs;
        for _ in 0..MOST_WRITES {
            match self.outlets.write(place, &theirs.set, &theirs.mark, max_age, context.deadline()).await? {
                Written::Done | Written::Conflict => return Ok(()),
                Written::Overwrote(later) => theirs = later,
            }
        }
        Err(busy(place))
    }
}

impl Guard {
    /// Whether the change may be made now.
    async fn allows(self, context: &StepContext<'_>) -> Result<bool> {
        match self {
            Self::Wanted => context.still_wanted().await.map(|()| true),
            Self::Settled => context.is_settled().await,
            Self::Promoted if context.is_current(context.token()).await? && context.is_settled().await? => Ok(true),
            Self::Promoted => Err(Error::new(Code::WriteConflict).with(Fact::Labels, "AWSCURRENT, AWSPENDING")),
        }
    }
}

/// The error of a place that others write all the time. It is the place's: an emergency goes on in the others.
fn busy(place: &Place) -> Error {
    Error::new(Code::OutletUnavailable).with(Fact::Field, place).with(Fact::What, "others keep changing it")
}
