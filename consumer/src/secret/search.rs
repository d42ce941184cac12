//! What to do when the server refuses a credential, and only then.
//!
//! A refused login means one of three things: this application has not read the new version yet; a single user's rotation is between
//! setSecret and finishSecret, so that the server knows AWSPENDING's password already; or the password was changed by other means. So
//! AWSCURRENT is read at once. If it is the version that was refused, AWSPENDING is tried, then AWSPREVIOUS. After that the labels are
//! read again with a growing pause, until the time is up. The version that is accepted is used by everybody from then on.

use super::RotatingSecret;
use super::shared::Shared;
use crate::error::{ConnectError, Refused, SourceError};
use crate::label::Label;
use crate::snapshot::Snapshot;
use crate::value::ValueError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// The pause after the first round. A rotation's testSecret and finishSecret take longer than this.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// Pauses double up to this. A person who mends a password does not notice it.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Why an attempt with a version was of no use.
#[derive(Debug)]
pub enum Attempt<E> {
    /// The server refused the credential.
    Refused(E),
    /// It failed for another reason. Nothing else is tried.
    Failed(E),
    /// The version lacks a field that the attempt needs, so nothing was sent.
    Unusable(ValueError),
}

impl<E> From<ValueError> for Attempt<E> {
    fn from(error: ValueError) -> Self {
        Self::Unusable(error)
    }
}

impl RotatingSecret {
    /// Connects with the version in use. If the server refuses it (`refused` says so of the error), looks for the version that it accepts,
    /// and connects with that: [the search](crate#when-a-login-is-refused).
    ///
    /// Any other error ends the call at once: a server that is down says nothing about a password. Repeat the call as you would
    /// without this crate.
    ///
    /// # Errors
    /// [`ConnectError`].
    ///
    /// # Cancellation
    /// The future may be dropped at any time. A search that was under way is continued by whoever connects next.
    pub async fn connect_with<T, E, F>(
        &self,
        mut connect: impl FnMut(Snapshot) -> F,
        refused: impl Fn(&E) -> bool,
    ) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let refused = &refused;
        self.attempt_with(|snapshot| {
            let connected = connect(snapshot);
            async move {
                connected
                    .await
                    .map_err(|error| if refused(&error) { Attempt::Refused(error) } else { Attempt::Failed(error) })
            }
        })
        .await
    }

    /// The same for an attempt that tells by itself why it failed. [`connect_with`](Self::connect_with) is easier to use.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn attempt_with<T, E, F>(&self, mut attempt: impl FnMut(Snapshot) -> F) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let snapshot = self.current()?;
        let mut search = Search::new(&self.shared);
        // A version that another task has seen refused is not sent to the server again by everybody.
        if self.shared.is_good(snapshot.version_id())
            && let Some(connected) = search.attempt(&mut attempt, &snapshot).await?
        {
            return Ok(connected);
        }
        search.run(&mut attempt).await
    }
}

struct Search<'a, E> {
    shared: &'a Arc<Shared>,
    began: Instant,
    deadline: Instant,
    tried: Vec<(Label, String)>,
    trouble: Option<SourceError>,
    last: Option<E>,
}

impl<'a, E> Search<'a, E> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        let began = Instant::now();
        let deadline = began + shared.settings.search_for;
        Self { shared, began, deadline, tried: Vec::new(), trouble: None, last: None }
    }

    /// One attempt with one version. `None` if it was refused or cannot be used.
    async fn attempt<T, F>(
        &mut self,
        attempt: &mut impl FnMut(Snapshot) -> F,
        snapshot: &Snapshot,
    ) -> Result<Option<T>, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        match attempt(snapshot.clone()).await {
            Ok(connected) => {
                self.shared.accepted(snapshot);
                Ok(Some(connected))
            }
            Err(Attempt::Refused(error)) => {
                self.shared.refused(snapshot);
                let tried = (snapshot.label(), snapshot.version_id().to_owned());
                if !self.tried.contains(&tried) {
                    self.tried.push(tried);
                }
                self.last = Some(error);
                Ok(None)
            }
            // Unreachable never counts as refused.
            Err(Attempt::Failed(error)) => Err(ConnectError::Failed(error)),
            Err(Attempt::Unusable(error)) if snapshot.label() == Label::Current => {
                Err(ConnectError::Secret(error.into()))
            }
            Err(Attempt::Unusable(_)) => Ok(None),
        }
    }

    /// Looks for a version that the server accepts. One task at a time looks; the others wait for what it finds.
    async fn run<T, F>(mut self, attempt: &mut impl FnMut(Snapshot) -> F) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let shared = self.shared;
        shared.counters.searches.add();
        let Ok(_turn) = timeout_at(self.deadline, shared.search.lock()).await else { return Err(self.given_up()) };
        // While this task waited for its turn, another one may have found what works.
        let in_use = shared.in_use();
        if shared.may_try(in_use.version_id())
            && let Some(connected) = self.attempt(attempt, &in_use).await?
        {
            return Ok(connected);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            for label in Label::ALL {
                let Some(snapshot) = self.read(label).await else {
                    // A source that does not answer for one label does not answer for the next one.
                    if self.trouble.is_some() { break } else { continue }
                };
                if shared.may_try(snapshot.version_id())
                    && let Some(connected) = self.attempt(attempt, &snapshot).await?
                {
                    shared.learn(&snapshot);
                    return Ok(connected);
                }
            }
            let until = (Instant::now() + super::shared::ahead(pause)).min(self.deadline);
            sleep_until(until).await;
            if until == self.deadline {
                return Err(self.given_up());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Reads the version with a label now, as soon as the limit of forced reads allows it.
    async fn read(&mut self, label: Label) -> Option<Snapshot> {
        while let Err(next) = self.shared.may_force() {
            if next >= self.deadline {
                sleep_until(self.deadline).await;
                return None;
            }
            sleep_until(next).await;
        }
        let read = Instant::now();
        match timeout_at(self.deadline, self.shared.fetch(label, true)).await {
            Ok(Ok(body)) => {
                self.trouble = None;
                body.map(|body| Snapshot::new(body, label, read))
            }
            Ok(Err(error)) => {
                self.trouble = Some(error);
                None
            }
            Err(_) => None,
        }
    }

    fn given_up(self) -> ConnectError<E> {
        self.shared.counters.failed_searches.add();
        ConnectError::Refused(Refused {
            secret: self.shared.secret.to_string(),
            tried: self.tried,
            took: self.began.elapsed(),
            source: self.trouble,
            last: self.last,
        })
    }
}
