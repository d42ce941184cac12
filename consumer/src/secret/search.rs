//! What to do when the server refuses a credential, and only then.
//!
//! A refused login means one of three things: this application has not read the new version yet; a single user's rotation is between
//! setSecret and finishSecret, so that the server knows AWSPENDING's password already; or the password was changed by other means. So
//! AWSCURRENT is read at once. If it is the version that was refused, AWSPENDING is tried, then AWSPREVIOUS. After that the labels are
//! read again with a growing pause, until the time is up. The version that is accepted is used by everybody from then on.

use super::RotatingSecret;
use super::shared::Shared;
use crate::error::{Cause, ConnectError, Refused, SourceError};
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
        let snapshot = self.shared.current_or_read().await?;
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

/// How often a pool's connection is asked for anew, after a login has proven a version. A rotation in between takes one.
#[cfg(any(feature = "mysql-async", feature = "sqlx-mysql", feature = "sqlx-postgres"))]
const TAKES: usize = 8;

#[cfg(any(feature = "mysql-async", feature = "sqlx-mysql", feature = "sqlx-postgres"))]
impl RotatingSecret {
    /// Takes a connection from a pool that logs in by itself where it has no idle connection.
    ///
    /// An idle connection proves nothing about a password: it logged in earlier. So it takes no refusal back. Otherwise each use of an
    /// idle connection would allow one more login with a dead password. After a refusal, a version is proven by a login of its own.
    pub(crate) async fn pooled<T, E, F, G>(
        &self,
        take: impl Fn(Snapshot) -> F,
        mut login: impl FnMut(Snapshot) -> G,
    ) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
        G: Future<Output = Result<(), Attempt<E>>>,
    {
        let mut search = Search::new(&self.shared);
        for _ in 0..TAKES {
            let snapshot = self.shared.current_or_read().await?;
            if self.shared.is_good(snapshot.version_id()) {
                match take(snapshot.clone()).await {
                    Ok(connection) => return Ok(connection),
                    Err(Attempt::Failed(error)) => return Err(ConnectError::Failed(error)),
                    // The search below looks for a version that has what this one lacks.
                    Err(Attempt::Unusable(_)) => {}
                    Err(Attempt::Refused(error)) => {
                        self.shared.refused(&snapshot);
                        search.last = Some(error);
                    }
                }
            }
            self.attempt_with(&mut login).await?;
        }
        Err(search.given_up())
    }
}

struct Search<'a, E> {
    shared: &'a Arc<Shared>,
    began: Instant,
    deadline: Instant,
    tried: Vec<(Label, String)>,
    trouble: Option<SourceError>,
    /// What AWSCURRENT lacks.
    unusable: Option<ValueError>,
    last: Option<E>,
}

/// What a read in a search ends in.
enum Read {
    Found(Snapshot),
    Nothing,
    Failed(SourceError),
    /// The search's time is over.
    Late,
}

impl<'a, E> Search<'a, E> {
    fn new(shared: &'a Arc<Shared>) -> Self {
        let began = Instant::now();
        let deadline = began + shared.settings.search_for;
        Self { shared, began, deadline, tried: Vec::new(), trouble: None, unusable: None, last: None }
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
            // Another version may have what this one lacks.
            Err(Attempt::Unusable(error)) => {
                if snapshot.label() == Label::Current {
                    self.unusable = Some(error);
                }
                Ok(None)
            }
        }
    }

    /// The same in the search's turn. A server that is silent must not keep the turn for ever.
    async fn attempt_in_turn<T, F>(
        &mut self,
        attempt: &mut impl FnMut(Snapshot) -> F,
        snapshot: &Snapshot,
    ) -> Result<Option<T>, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let Ok(answer) = timeout_at(self.deadline, self.attempt(attempt, snapshot)).await else {
            self.shared.note_silent(true);
            return Err(self.given_up());
        };
        answer
    }

    /// Looks for a version that the server accepts. One task at a time looks; the others wait for what it finds.
    async fn run<T, F>(mut self, attempt: &mut impl FnMut(Snapshot) -> F) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let shared = self.shared;
        shared.counters.searches.add();
        let Ok(mut turn) = timeout_at(self.deadline, shared.search.lock()).await else { return Err(self.given_up()) };
        // While this task waited for its turn, another one may have found what works. With that, all connect side by side.
        let in_use = shared.in_use();
        if shared.is_proven(&in_use) {
            drop(turn);
            if let Some(connected) = self.attempt(attempt, &in_use).await? {
                return Ok(connected);
            }
            let Ok(again) = timeout_at(self.deadline, shared.search.lock()).await else { return Err(self.given_up()) };
            turn = again;
        }
        let found = self.search(attempt).await;
        drop(turn);
        found
    }

    /// The search itself, in its turn.
    async fn search<T, F>(&mut self, attempt: &mut impl FnMut(Snapshot) -> F) -> Result<T, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let shared = self.shared;
        if let Some(connected) = self.try_in_use(attempt).await? {
            return Ok(connected);
        }
        let mut pause = FIRST_PAUSE;
        loop {
            let mut trouble = None;
            for label in Label::ALL {
                let snapshot = match self.read(label).await {
                    Read::Found(snapshot) => snapshot,
                    Read::Nothing => continue,
                    Read::Late => return Err(self.given_up()),
                    Read::Failed(error) => {
                        let cause = error.cause;
                        self.trouble = Some(trouble.get_or_insert(error).clone());
                        // A source that does not answer for one label does not answer for the next one.
                        if cause.is_transient() || cause == Cause::Denied { break } else { continue }
                    }
                };
                if shared.may_try(snapshot.version_id())
                    && let Some(connected) = self.attempt_in_turn(attempt, &snapshot).await?
                {
                    shared.learn(&snapshot);
                    return Ok(connected);
                }
            }
            // What was refused may be the version that works: a refusal can be wrong, and a round that could not read has not tried it.
            if trouble.is_some() {
                if let Some(connected) = self.try_in_use(attempt).await? {
                    return Ok(connected);
                }
            } else {
                self.trouble = None;
                // Nothing was refused: more patience mends no value.
                if self.last.is_none() && self.unusable.is_some() {
                    return Err(self.given_up());
                }
            }
            let until = (Instant::now() + super::shared::ahead(pause)).min(self.deadline);
            sleep_until(until).await;
            if until == self.deadline {
                shared.note_silent(false);
                return Err(self.given_up());
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn try_in_use<T, F>(&mut self, attempt: &mut impl FnMut(Snapshot) -> F) -> Result<Option<T>, ConnectError<E>>
    where
        F: Future<Output = Result<T, Attempt<E>>>,
    {
        let in_use = self.shared.in_use();
        if !self.shared.may_try(in_use.version_id()) {
            return Ok(None);
        }
        self.attempt_in_turn(attempt, &in_use).await
    }

    /// Reads the version with a label now, as soon as the limit of forced reads allows it.
    async fn read(&mut self, label: Label) -> Read {
        while let Err(next) = self.shared.may_force() {
            if next >= self.deadline {
                sleep_until(self.deadline).await;
                return Read::Late;
            }
            sleep_until(next).await;
        }
        let read = Instant::now();
        match timeout_at(self.deadline, self.shared.fetch(label, true)).await {
            Ok(Ok(Some(body))) => Read::Found(Snapshot::new(body, label, read)),
            Ok(Ok(None)) => Read::Nothing,
            Ok(Err(error)) => Read::Failed(error),
            Err(_) => Read::Late,
        }
    }

    /// The error of a search that has found nothing.
    fn given_up(&mut self) -> ConnectError<E> {
        self.shared.counters.failed_searches.add();
        let (secret, took) = (self.shared.secret.to_string(), self.began.elapsed());
        if let (None, Some(error)) = (&self.last, self.unusable.take()) {
            return ConnectError::Secret(error.into());
        }
        if self.last.is_none() && self.shared.is_silent() {
            return ConnectError::NoAnswer { secret, took };
        }
        ConnectError::Refused(Refused {
            secret,
            tried: std::mem::take(&mut self.tried),
            took,
            source: self.trouble.take(),
            last: self.last.take(),
        })
    }
}

#[cfg(all(test, feature = "sqlx-postgres"))]
mod tests {
    use super::*;
    use crate::error::Cause;
    use crate::source::{Fetched, Source};
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Fixed;

    #[async_trait::async_trait]
    impl Source for Fixed {
        fn name(&self) -> String {
            "app".to_owned()
        }

        fn origin(&self) -> &'static str {
            "the test"
        }

        async fn fetch(&self, label: Label, _: bool) -> Result<Option<Fetched>, Cause> {
            let value = "{}".to_owned().into();
            let current = Fetched { version_id: "v1".to_owned(), value, created: None };
            Ok((label == Label::Current).then_some(current))
        }
    }

    /// A pool with idle connections and a dead password: what is idle works, and what has to log in is refused.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_proves_nothing_about_a_password() {
        let builder = RotatingSecret::builder(Fixed).search_for(Duration::from_secs(1));
        let secret = builder.retried_logins(1, Duration::from_secs(100_000)).start().await.unwrap();
        let (takes, logins) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let idle = |_| async {
            takes.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Attempt<std::io::Error>>(())
        };
        let full = |_| async { Err::<(), _>(Attempt::Refused(std::io::Error::other("refused"))) };
        let login = |_| async {
            logins.fetch_add(1, Ordering::SeqCst);
            Err(Attempt::Refused(std::io::Error::other("refused")))
        };
        assert!(secret.pooled(idle, login).await.is_ok());
        for _ in 0..20 {
            assert!(secret.pooled(full, login).await.is_err());
            assert!(secret.pooled(idle, login).await.is_err());
        }
        // The pool's own login, and the one that may be repeated.
        let refused = secret.health().counts.refused_logins;
        assert_eq!((refused, logins.load(Ordering::SeqCst), takes.load(Ordering::SeqCst)), (2, 1, 1));
    }
}
