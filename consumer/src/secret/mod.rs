//! A secret that rotates.

mod flight;
mod health;
mod limits;
mod search;
mod settings;
mod shared;

pub use health::{Counts, Health, State, Update};
pub use search::Attempt;
pub(crate) use settings::Settings;
pub(crate) use shared::{Replaced, Shared, ahead, ask};

use crate::error::{Error, SourceError};
use crate::label::Label;
use crate::snapshot::Snapshot;
use std::fmt;
use std::sync::Arc;
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::sleep_until;

/// A secret that rotates, kept in memory. Cheap to clone; all clones share one copy.
///
/// A background task refreshes it ahead of time, and ends with the last clone. Nothing depends on that task: if it does not run,
/// [`current`](Self::current) starts a late refresh by itself.
#[derive(Clone)]
pub struct RotatingSecret {
    shared: Arc<Shared>,
    _refresher: Arc<Refresher>,
}

impl RotatingSecret {
    /// Shares a secret, and starts to refresh it.
    pub(crate) fn new(shared: Shared) -> Self {
        let shared = Arc::new(shared);
        let task = tokio::spawn(refresh(Arc::clone(&shared)));
        Self { shared, _refresher: Arc::new(Refresher(task.abort_handle())) }
    }

    /// The secret's name, as the source has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.secret
    }

    /// The version to use now: AWSCURRENT, or the one that was accepted after the server had refused AWSCURRENT.
    ///
    /// This never waits and never asks the source. It takes tens of nanoseconds. A rotation does not change a snapshot, so take a new one
    /// for each new connection or request.
    ///
    /// # Errors
    /// [`Error::TooOld`] if the source has not confirmed the secret for longer than
    /// [`serve_stale_for`](crate::Builder::serve_stale_for).
    pub fn current(&self) -> Result<Snapshot, Error> {
        self.shared.current()
    }

    /// The version that has this label, or `None` if no version has it: for programs that check credentials that others present, and
    /// have to accept the previous and the next one as well. It is read again at most once in a refresh interval. A read that failed is
    /// not repeated for a second, and for twice as long after each further failure.
    ///
    /// # Errors
    /// The source could not be asked. For [`Label::Current`], this is an error only if the version is too old to be served.
    pub async fn version(&self, label: Label) -> Result<Option<Snapshot>, Error> {
        if label == Label::Current {
            return Ok(Some(self.shared.label_current()?));
        }
        Ok(self.shared.labelled(label).await?)
    }

    /// Reads AWSCURRENT now. Those who ask at the same time share one call. Applications hardly need this: a refused login does it.
    ///
    /// # Errors
    /// The source could not be asked. The version in use stays what it was.
    pub async fn refresh(&self) -> Result<Snapshot, SourceError> {
        self.shared.fetch(Label::Current, true).await?;
        Ok(self.shared.in_use())
    }

    /// How the secret is doing, for `/health` and `/ready`. It holds no value.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared.health()
    }

    /// Waits for changes: each read of the source marks the receiver as changed. Compare
    /// [`version_id`](Snapshot::version_id) to see whether the version is another one.
    #[must_use]
    pub fn subscribe(&self) -> watch::Receiver<()> {
        self.shared.subscribe()
    }

    /// Over how much time pools close the connections of a version that is not in use any more.
    #[must_use]
    pub fn retire_over(&self) -> std::time::Duration {
        self.shared.settings.retire_over
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl fmt::Debug for RotatingSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingSecret")
            .field("in_use", &self.shared.in_use())
            .field("settings", &self.shared.settings)
            .finish_non_exhaustive()
    }
}

struct Refresher(AbortHandle);

impl Drop for Refresher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Refreshes the secret until the task is ended.
async fn refresh(shared: Arc<Shared>) {
    loop {
        let (at, mut changes) = shared.next_refresh();
        tokio::select! {
            () = sleep_until(at) => drop(shared.fetch(Label::Current, false).await),
            _ = changes.changed() => {}
        }
    }
}
