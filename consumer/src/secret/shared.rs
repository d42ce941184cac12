//! What all handles of a secret share: the version in use, and how it is read and replaced.

use super::flight::Flight;
use super::health::{Counters, Health, State as HealthState, Update};
use super::limits::{Bucket, May, Refusals};
use super::settings::Settings;
use crate::error::{Cause, Error, SourceError};
use crate::label::Label;
use crate::snapshot::{Body, Inner, Snapshot};
use crate::source::{Fetched, Source};
use arc_swap::ArcSwap;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

/// The first wait after a failed read. Each further failure doubles it, up to `refresh_every`.
const FIRST_RETRY: Duration = Duration::from_secs(1);
/// A read that has not ended so long after its time never does: nobody drives its runtime any more.
const STUCK_AFTER: Duration = Duration::from_secs(1);
/// AWSPREVIOUS is used for so long where only it was accepted. The next rotation ends it, so AWSCURRENT gets another chance soon.
const PREVIOUS_FOR: Duration = Duration::from_secs(30);
/// How many replaced versions are remembered for the closing of old connections. Connections of older versions close at once.
const REMEMBERED: usize = 8;

/// Since when a version has not been in use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaced {
    At(Instant),
    /// Several versions ago.
    LongAgo,
}

/// What a read ends in.
pub(crate) type Answer = Result<Option<Arc<Body>>, SourceError>;

pub(crate) struct Shared {
    pub(crate) secret: Arc<str>,
    source: Arc<dyn Source>,
    pub(crate) settings: Settings,
    /// From this age on a snapshot needs a second look: its refresh is late, or it is too old.
    overdue: Duration,
    pub(crate) began: Instant,
    #[cfg(feature = "tokio-postgres")]
    pub(crate) place: crate::place::Place,
    now: ArcSwap<Inner>,
    state: Mutex<State>,
    current: Flight<Answer>,
    pending: Flight<Answer>,
    previous: Flight<Answer>,
    /// Held by the one task that looks for a version that works.
    pub(crate) search: tokio::sync::Mutex<()>,
    /// Whether the server left an attempt of the last search without an answer.
    silent: AtomicBool,
    pub(crate) counters: Counters,
    /// Tells the refresher that its time may have changed, and pools that the version in use has.
    changes: watch::Sender<()>,
}

struct State {
    /// AWSCURRENT as it was last read. The version in use is another one if only that was accepted.
    current: Arc<Body>,
    /// When AWSCURRENT is to be tried again, while AWSPREVIOUS is in use.
    return_at: Option<Instant>,
    failures: u32,
    cause: Option<Cause>,
    next_refresh: Instant,
    refusals: Refusals,
    /// Whether the last login was refused.
    refused: bool,
    forced: Bucket,
    retried: Bucket,
    replaced: VecDeque<(String, Instant)>,
    cached: Vec<(Label, Instant, Option<Arc<Body>>)>,
    /// The labels besides AWSCURRENT whose last read failed.
    failing: Vec<Failing>,
}

struct Failing {
    label: Label,
    failures: u32,
    cause: Cause,
    /// Until then, the failure is the answer.
    until: Instant,
}

impl Shared {
    /// Shares a secret whose current version was read at `began`.
    pub(crate) fn new(
        source: Arc<dyn Source>,
        secret: Arc<str>,
        settings: Settings,
        first: Fetched,
        began: Instant,
    ) -> Self {
        let body = Arc::new(body(&secret, first));
        let now = Snapshot::new(Arc::clone(&body), Label::Current, began);
        let state = State {
            current: body,
            return_at: None,
            failures: 0,
            cause: None,
            next_refresh: began + ahead(settings.refresh_every),
            refusals: Refusals::default(),
            refused: false,
            forced: Bucket::new(settings.forced_fetches.0, settings.forced_fetches.1),
            retried: Bucket::new(settings.retried_logins.0, settings.retried_logins.1),
            replaced: VecDeque::new(),
            cached: Vec::new(),
            failing: Vec::new(),
        };
        Self {
            secret,
            source,
            overdue: (settings.refresh_every + settings.fetch_within).min(settings.serve_stale_for),
            settings,
            began,
            #[cfg(feature = "tokio-postgres")]
            place: crate::place::Place::of(&now),
            now: ArcSwap::from(now.0),
            state: Mutex::new(state),
            current: Flight::default(),
            pending: Flight::default(),
            previous: Flight::default(),
            search: tokio::sync::Mutex::new(()),
            silent: AtomicBool::new(false),
            counters: Counters::default(),
            changes: watch::Sender::new(()),
        }
    }

    /// The version in use. Neither waits nor takes a lock, unless the version is overdue.
    pub(crate) fn current(self: &Arc<Self>) -> Result<Snapshot, Error> {
        let now = self.now.load_full();
        let age = now.confirmed.elapsed();
        if age > self.overdue {
            return self.overdue(now, age);
        }
        Ok(Snapshot(now))
    }

    /// The version in use, for a login. If it is too old, because the process was frozen for example, it is read once more before that
    /// is an error.
    pub(crate) async fn current_or_read(self: &Arc<Self>) -> Result<Snapshot, Error> {
        let current = self.current();
        if !matches!(current, Err(Error::TooOld { .. })) {
            return current;
        }
        if self.current.is_under_way() || self.may_force().is_ok() {
            // Its error is in the cause of the one below.
            drop(self.fetch(Label::Current, true).await);
        }
        self.current()
    }

    /// AWSCURRENT as it was last read, though another version may be in use.
    pub(crate) fn label_current(self: &Arc<Self>) -> Result<Snapshot, Error> {
        let in_use = self.current()?;
        Ok(Snapshot::new(Arc::clone(&self.state().current), Label::Current, in_use.0.confirmed))
    }

    /// The version in use, whatever its age.
    pub(crate) fn in_use(&self) -> Snapshot {
        Snapshot(self.now.load_full())
    }

    #[cold]
    fn overdue(self: &Arc<Self>, now: Arc<Inner>, age: Duration) -> Result<Snapshot, Error> {
        self.refresh_if_late();
        let limit = self.settings.serve_stale_for;
        if age > limit {
            let cause = self.state().cause;
            return Err(Error::TooOld { secret: self.secret.to_string(), age, limit, cause });
        }
        Ok(Snapshot(now))
    }

    /// Starts a refresh that should have been made. So nothing depends on the refresher: its runtime may have ended or been frozen.
    fn refresh_if_late(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        {
            let mut state = self.state();
            let now = Instant::now();
            if now < state.next_refresh {
                return;
            }
            // Whoever comes next needs not start it as well.
            state.next_refresh = now + self.settings.fetch_within;
        }
        let shared = Arc::clone(self);
        runtime.spawn(async move { shared.fetch(Label::Current, false).await });
    }

    /// When the next refresh is due, and a notice of anything that may change that.
    pub(crate) fn next_refresh(&self) -> (Instant, watch::Receiver<()>) {
        let changes = self.changes.subscribe();
        let state = self.state();
        (state.return_at.map_or(state.next_refresh, |at| at.min(state.next_refresh)), changes)
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changes.subscribe()
    }

    /// Reads the version with this label: one call at a time for all who ask.
    pub(crate) async fn fetch(self: &Arc<Self>, label: Label, forced: bool) -> Answer {
        let flight = match label {
            Label::Current => &self.current,
            Label::Pending => &self.pending,
            Label::Previous => &self.previous,
        };
        let within = self.settings.fetch_within + STUCK_AFTER;
        let answer = flight.join(within, || Arc::clone(self).carry_out(label, forced)).await;
        answer.unwrap_or_else(|| Err(self.failed(&mut self.state(), label, Cause::Stopped)))
    }

    async fn carry_out(self: Arc<Self>, label: Label, forced: bool) -> Answer {
        self.counters.fetches.add();
        if forced {
            self.counters.forced_fetches.add();
        }
        let began = Instant::now();
        let fetched = ask(&*self.source, label, forced, self.settings.fetch_within).await;
        let mut state = self.state();
        let answer = match fetched {
            // An existing secret without AWSCURRENT: somebody took the label away. The last version is served on.
            Ok(None) if label == Label::Current => Err(Cause::NotFound),
            Ok(fetched) => Ok(fetched.map(|fetched| self.known(&state, fetched))),
            Err(cause) => Err(cause),
        };
        match answer {
            Ok(body) => {
                match (label, &body) {
                    (Label::Current, Some(body)) => self.confirm(&mut state, body, began),
                    _ => state.cache(label, began, body.clone()),
                }
                Ok(body)
            }
            Err(cause) => Err(self.failed(&mut state, label, cause)),
        }
    }

    /// The version that was fetched: the one in memory, if it is there.
    fn known(&self, state: &State, fetched: Fetched) -> Arc<Body> {
        let in_use = self.now.load_full();
        let cached = state.cached.iter().filter_map(|(_, _, body)| body.as_ref());
        let known =
            [&state.current, &in_use.body].into_iter().chain(cached).find(|it| it.version_id == fetched.version_id);
        known.map_or_else(|| Arc::new(body(&self.secret, fetched)), Arc::clone)
    }

    /// AWSCURRENT was read.
    fn confirm(&self, state: &mut State, body: &Arc<Body>, began: Instant) {
        state.failures = 0;
        state.cause = None;
        state.next_refresh = began + ahead(self.settings.refresh_every);
        if state.current.version_id != body.version_id {
            state.current = Arc::clone(body);
            state.return_at = None;
            // A version that was refused as AWSPENDING deserves to be tried as AWSCURRENT.
            state.refusals.pardon(&body.version_id, Instant::now());
            return self.put(state, Snapshot::new(Arc::clone(body), Label::Current, began));
        }
        let in_use = self.now.load_full();
        let back = state.return_at.is_some_and(|at| at <= Instant::now());
        if back {
            state.return_at = None;
            state.refusals.pardon(&body.version_id, Instant::now());
        }
        let stays = if back {
            Snapshot::new(Arc::clone(body), Label::Current, began)
        } else {
            Snapshot::new(Arc::clone(&in_use.body), in_use.label, began)
        };
        self.put(state, stays);
    }

    /// A version could not be read.
    fn failed(&self, state: &mut State, label: Label, cause: Cause) -> SourceError {
        self.counters.failed_fetches.add();
        if label == Label::Current {
            let pause = self.retry_after(state.failures);
            state.failures = state.failures.saturating_add(1);
            state.cause = Some(cause);
            state.next_refresh = Instant::now() + pause;
            state.return_at = state.return_at.map(|at| at.max(state.next_refresh));
            self.changes.send_replace(());
        } else {
            let failures = state.failing(label).map_or(0, |failing| failing.failures);
            let until = Instant::now() + self.retry_after(failures);
            state.failing.retain(|it| it.label != label);
            state.failing.push(Failing { label, failures: failures.saturating_add(1), cause, until });
        }
        self.error(label, cause)
    }

    fn error(&self, label: Label, cause: Cause) -> SourceError {
        SourceError { secret: self.secret.to_string(), label, origin: self.source.origin(), cause }
    }

    /// The pause after so many failures in a row, and one more.
    fn retry_after(&self, failures: u32) -> Duration {
        ahead(FIRST_RETRY.saturating_mul(1 << failures.min(16)).min(self.settings.refresh_every))
    }

    /// Replaces the version in use.
    fn put(&self, state: &mut State, next: Snapshot) {
        let before = self.now.load_full();
        if before.body.version_id != next.0.body.version_id {
            self.counters.changes.add();
            state.replaced.push_front((before.body.version_id.clone(), Instant::now()));
            state.replaced.truncate(REMEMBERED);
        }
        self.now.store(next.0);
        self.changes.send_replace(());
    }

    /// The version with this label, read again if that was longer ago than the refresh interval.
    pub(crate) async fn labelled(self: &Arc<Self>, label: Label) -> Result<Option<Snapshot>, SourceError> {
        let found = {
            let state = self.state();
            if let Some(failing) = state.failing(label).filter(|failing| Instant::now() < failing.until) {
                return Err(self.error(label, failing.cause));
            }
            state.cached.iter().find(|(it, ..)| *it == label).cloned()
        };
        if let Some((_, read, body)) = found
            && read.elapsed() < self.settings.refresh_every
        {
            return Ok(body.map(|body| Snapshot::new(body, label, read)));
        }
        let body = self.fetch(label, false).await?;
        Ok(body.map(|body| Snapshot::new(body, label, Instant::now())))
    }

    /// Takes a permit for a fetch because of a refused login, or says when there will be one.
    pub(crate) fn may_force(&self) -> Result<(), Instant> {
        self.state().forced.take(Instant::now())
    }

    /// Whether no login with this version was refused lately. Where each read makes a version, a new one says nothing: then no login at
    /// all may have been refused since the last accepted one.
    pub(crate) fn is_good(&self, version_id: &str) -> bool {
        let state = self.state();
        state.refusals.may(version_id, Instant::now()) == May::Try && !(state.refused && self.source.makes_versions())
    }

    /// Whether a login with this version was accepted, and none has been refused since.
    pub(crate) fn is_proven(&self, snapshot: &Snapshot) -> bool {
        snapshot.0.body.is_used() && self.is_good(snapshot.version_id())
    }

    /// Notes whether a search has ended because the server did not answer.
    pub(crate) fn note_silent(&self, silent: bool) {
        self.silent.store(silent, Ordering::Relaxed);
    }

    pub(crate) fn is_silent(&self) -> bool {
        self.silent.load(Ordering::Relaxed)
    }

    /// Whether a login with this version may be made after others were refused. A permit is used up if it is not the first.
    pub(crate) fn may_try(&self, version_id: &str) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        match state.refusals.may(version_id, now) {
            May::Try if !(state.refused && self.source.makes_versions()) => true,
            May::Try | May::Retry => state.refusals.take_free_try(version_id) || state.retried.take(now).is_ok(),
            May::Wait => false,
        }
    }

    /// A login with this version was accepted.
    pub(crate) fn accepted(&self, snapshot: &Snapshot) {
        self.counters.accepted_logins.add();
        self.note_silent(false);
        let update = snapshot.0.body.used().map(|latency| {
            self.counters.updated(latency);
            Update {
                secret: self.secret.to_string(),
                version_id: snapshot.version_id().to_owned(),
                label: snapshot.label(),
                latency,
            }
        });
        {
            let mut state = self.state();
            state.refused = false;
            state.refusals.forget(snapshot.version_id());
        }
        if let (Some(update), Some(tell)) = (update, &self.settings.on_update) {
            tell(&update);
        }
    }

    /// A search has found that this version works: it is used from now on, until AWSCURRENT moves.
    pub(crate) fn learn(&self, snapshot: &Snapshot) {
        let mut state = self.state();
        state.return_at = (snapshot.label() == Label::Previous).then(|| Instant::now() + PREVIOUS_FOR);
        if self.now.load().body.version_id != snapshot.version_id() {
            self.put(&mut state, snapshot.clone());
        }
    }

    /// A login with this version was refused.
    pub(crate) fn refused(&self, snapshot: &Snapshot) {
        self.counters.refused_logins.add();
        let mut state = self.state();
        state.refused = true;
        state.refusals.note(snapshot.version_id(), Instant::now());
    }

    /// Since when another version has been in use instead of this one. `None` while this one is, or if connections stay.
    pub(crate) fn replaced(&self, version_id: &str) -> Option<Replaced> {
        if !self.source.retires_connections() || self.now.load().body.version_id == version_id {
            return None;
        }
        let state = self.state();
        let found = state.replaced.iter().find(|(it, _)| it == version_id);
        Some(found.map_or(Replaced::LongAgo, |(_, at)| Replaced::At(*at)))
    }

    /// Since when another version has been in use instead of the one that was in use at a moment.
    pub(crate) fn replaced_since(&self, moment: Instant) -> Option<Replaced> {
        if !self.source.retires_connections() {
            return None;
        }
        let state = self.state();
        state.replaced.iter().map(|(_, at)| *at).filter(|at| *at > moment).min().map(Replaced::At)
    }

    pub(crate) fn health(&self) -> Health {
        let in_use = self.in_use();
        let state = self.state();
        let age = in_use.age();
        let health = if age > self.settings.serve_stale_for {
            HealthState::Expired
        } else if age > self.overdue || state.failures > 0 {
            HealthState::Stale
        } else {
            HealthState::Fresh
        };
        Health {
            secret: self.secret.to_string(),
            state: health,
            version_id: in_use.version_id().to_owned(),
            label: in_use.label(),
            age_seconds: age.as_secs(),
            failed_reads: state.failures,
            cause: state.cause,
            refused: state.refused,
            counts: self.counters.counts(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn failing(&self, label: Label) -> Option<&Failing> {
        self.failing.iter().find(|it| it.label == label)
    }

    fn cache(&mut self, label: Label, read: Instant, body: Option<Arc<Body>>) {
        self.failing.retain(|it| it.label != label);
        self.cached.retain(|(it, ..)| *it != label);
        self.cached.push((label, read, body));
    }
}

/// Asks a source, for a limited time.
pub(crate) async fn ask(
    source: &dyn Source,
    label: Label,
    forced: bool,
    within: Duration,
) -> Result<Option<Fetched>, Cause> {
    timeout(within, source.fetch(label, forced)).await.unwrap_or(Err(Cause::Unavailable))
}

fn body(secret: &Arc<str>, fetched: Fetched) -> Body {
    Body::new(Arc::clone(secret), fetched.version_id, fetched.value, fetched.created)
}

/// A time before `interval` has passed: between 80 and 100 percent of it. So the processes of a fleet that started together do not
/// read together.
pub(crate) fn ahead(interval: Duration) -> Duration {
    interval.mul_f64(0.8 + 0.2 * fastrand::f64())
}
