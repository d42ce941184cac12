//! Disturbs a function under test, and records what it did.
//!
//! The *external calls* of a function are its requests to AWS, seen by the [endpoint](crate::endpoint), its
//! database round trips, seen by a [`Relay`](crate::relay::Relay), and its requests to an issuer, seen by
//! [`Https`](crate::issuer::Https). All are numbered in one sequence, in the order in which they begin, so that a test
//! can kill a function before and after each of them in turn. A database round trip is a *flight*: bytes from the client
//! that follow bytes from the server (or open the connection). So the relay need not decrypt TLS.
//!
//! Only calls of AWS signed with the credentials of an execution environment count; a test's own are never
//! disturbed. Databases and issuers cannot tell callers apart: everything that reaches a relay or an `Https` counts.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// What happens to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The function dies (SIGKILL) and the call never reaches the service.
    KillBefore,
    /// The service acts, and the function dies before it receives the reply.
    KillAfter,
    /// The call waits before it reaches the service.
    Delay(Duration),
    /// The same, until [`Disturb::release`].
    Hold,
    /// `ThrottlingException`, HTTP 400; from RDS `Throttling`. A database flight is cut instead: the connection closes, nothing is forwarded.
    /// An issuer answers 429 with `Retry-After: 1`.
    Throttle,
    /// This HTTP status, with `InternalServiceError`, for 503 `ServiceUnavailable`, for 403 `AccessDeniedException`. A database flight is cut instead. An issuer
    /// answers the status with `{"error": "unavailable"}`.
    Fail(u16),
    /// The service acts, and the connection closes instead of a reply.
    LoseReply,
    /// A read answers as of a moment ago, as an eventually consistent service may. Has no effect on other calls.
    StaleRead,
}

/// Which calls a rule is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    /// The n-th external call of any kind since the last [`Disturb::restart`], counted from 1.
    Call(usize),
    /// The next call of this operation, e.g. `GetSecretValue`, [`DATABASE`] for a flight, or `issuer POST`; see
    /// [`ISSUER`].
    Next(String),
    /// Every call of this operation.
    Every(String),
}

/// The operation name of a database flight.
pub const DATABASE: &str = "database";

/// How the operation name of a request to an issuer begins. A space and the method follow: `issuer POST`.
pub const ISSUER: &str = "issuer";

/// One external call of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Its place in the sequence, from 1.
    pub number: usize,
    /// The operation of an AWS service, [`DATABASE`], or [`ISSUER`] with the method.
    pub operation: String,
    /// For a flight: the relay's connection and the flight on it, each counted from 1.
    pub flight: Option<(usize, usize)>,
    /// When it arrived, since the last [`Disturb::restart`].
    pub started: Duration,
    /// When its answer left; `None` while it is under way.
    pub ended: Option<Duration>,
    /// The error type that an AWS service answered, if it did; `HTTP` and the status where an issuer's was not 2xx.
    pub error: Option<String>,
    /// What was done to it.
    pub fault: Option<Fault>,
}

/// The length of the longest chain of calls in which each began after the one before had ended: the round trips that
/// a function waits for, one after another. Calls that overlap in time went out together.
///
/// A call that the lab answers at once may end before a second one that was sent together with it arrives. Give each a
/// [`latency`](Disturb::latency) of some milliseconds before measuring.
pub fn critical_path<'a>(calls: impl IntoIterator<Item = &'a Call>) -> usize {
    let mut spans: Vec<_> = calls.into_iter().filter_map(|call| Some((call.ended?, call.started))).collect();
    spans.sort_unstable();
    let (mut length, mut free_from) = (0, Duration::ZERO);
    for (ended, started) in spans {
        if length == 0 || started >= free_from {
            length += 1;
            free_from = ended;
        }
    }
    length
}

/// The rules and the record, shared by the endpoint, the relays, the issuers and the test. Cheap to clone.
#[derive(Clone, Default)]
pub struct Disturb(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    killer: OnceLock<Killer>,
    held: Notify,
    released: Notify,
}

type Killer = Box<dyn Fn(Option<String>) -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

struct State {
    since: Instant,
    calls: Vec<Call>,
    rules: Vec<(Which, Fault)>,
    latency: Duration,
    generation: u64,
}

impl Default for State {
    fn default() -> Self {
        Self { since: Instant::now(), calls: Vec::new(), rules: Vec::new(), latency: Duration::ZERO, generation: 0 }
    }
}

impl Disturb {
    /// No rules, nothing recorded.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a rule. Where several match a call, the one added first applies.
    pub fn rule(&self, which: Which, fault: Fault) {
        self.state().rules.push((which, fault));
    }

    /// Applies `fault` to the n-th external call from the last [`restart`](Self::restart), counted from 1.
    pub fn on_call(&self, number: usize, fault: Fault) {
        self.rule(Which::Call(number), fault);
    }

    /// Applies `fault` to the next call of `operation`.
    pub fn on_next(&self, operation: &str, fault: Fault) {
        self.rule(Which::Next(operation.to_owned()), fault);
    }

    /// Applies `fault` to every call of `operation`.
    pub fn on_every(&self, operation: &str, fault: Fault) {
        self.rule(Which::Every(operation.to_owned()), fault);
    }

    /// Returns once a call waits because of [`Fault::Hold`].
    pub async fn held(&self) {
        self.0.held.notified().await;
    }

    /// Lets the calls go on that wait because of [`Fault::Hold`].
    pub fn release(&self) {
        self.0.released.notify_waiters();
    }

    /// The least duration of every Secrets Manager call and every request to an issuer, as if over a network.
    pub fn latency(&self, latency: Duration) {
        self.state().latency = latency;
    }

    /// Forgets all rules, the latency and the record, and counts from 1 again.
    pub fn restart(&self) {
        let mut state = self.state();
        let generation = state.generation + 1;
        *state = State { generation, ..State::default() };
    }

    /// What was called since the last [`restart`](Self::restart), in order.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// How many calls a rule was applied to. Zero means that a planned fault did not happen.
    pub fn fired(&self) -> usize {
        self.state().calls.iter().filter(|call| call.fault.is_some()).count()
    }

    /// How many rules are still there. Those for a next call go with that call.
    pub fn waiting(&self) -> usize {
        self.state().rules.len()
    }

    /// Sets the callback that kills a function. It gets the access key id of the environment that made the call, or `None` if
    /// the caller is unknown, and then kills all environments. Later calls change nothing.
    pub(crate) fn set_killer<F, Done>(&self, kill: F)
    where
        F: Fn(Option<String>) -> Done + Send + Sync + 'static,
        Done: Future<Output = ()> + Send + 'static,
    {
        // A second host on the same rules would make "the function" ambiguous.
        let _ = self.0.killer.set(Box::new(move |caller| Box::pin(kill(caller))));
    }

    /// Kills the calling environment and returns once it is dead.
    pub(crate) async fn kill(&self, caller: Option<String>) {
        if let Some(killer) = self.0.killer.get() {
            killer(caller).await;
        }
    }

    /// Records the start of a call and picks the rule that applies to it.
    pub(crate) fn begin(&self, operation: &str, flight: Option<(usize, usize)>) -> Ticket {
        let mut state = self.state();
        let number = state.calls.len() + 1;
        let matching = state.rules.iter().position(|(which, _)| match which {
            Which::Call(nth) => *nth == number,
            Which::Next(name) | Which::Every(name) => name == operation,
        });
        let fault = matching.and_then(|at| match state.rules.get(at)? {
            (Which::Next(_), _) => Some(state.rules.remove(at).1),
            (_, fault) => Some(*fault),
        });
        let started = state.since.elapsed();
        let operation = operation.to_owned();
        state.calls.push(Call { number, operation, flight, started, ended: None, error: None, fault });
        let (generation, latency) = (state.generation, state.latency);
        drop(state);
        Ticket { disturb: self.clone(), number, generation, fault, latency }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call under way. It ends when the ticket is dropped.
pub(crate) struct Ticket {
    disturb: Disturb,
    number: usize,
    generation: u64,
    /// What is to be done to the call.
    pub(crate) fault: Option<Fault>,
    /// The least duration of a Secrets Manager call or a request to an issuer.
    pub(crate) latency: Duration,
}

impl Ticket {
    /// Waits as long as the fault says. The call reaches its service afterwards.
    pub(crate) async fn wait(&self) {
        match self.fault {
            Some(Fault::Delay(time)) => tokio::time::sleep(time).await,
            Some(Fault::Hold) => {
                let mut released = pin!(self.disturb.0.released.notified());
                // From here on a release is noticed, so that whoever hears of the call may release it at once.
                released.as_mut().enable();
                self.disturb.0.held.notify_one();
                released.await;
            }
            _ => {}
        }
    }

    /// Notes the error type that the call was answered with.
    pub(crate) fn error(&self, error: &str) {
        self.update(|call, _| call.error = Some(error.to_owned()));
    }

    fn update(&self, change: impl FnOnce(&mut Call, Duration)) {
        let mut state = self.disturb.state();
        let now = state.since.elapsed();
        if state.generation == self.generation
            && let Some(call) = state.calls.get_mut(self.number - 1)
        {
            change(call, now);
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.update(|call, now| call.ended = Some(now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(started: u64, ended: u64) -> Call {
        Call {
            number: 1,
            operation: String::new(),
            flight: None,
            started: Duration::from_millis(started),
            ended: Some(Duration::from_millis(ended)),
            error: None,
            fault: None,
        }
    }

    #[test]
    fn calls_that_overlap_are_one_round_trip() {
        assert_eq!(critical_path(&[]), 0);
        assert_eq!(critical_path(&[call(0, 5), call(1, 6), call(2, 3)]), 1);
        assert_eq!(critical_path(&[call(0, 5), call(5, 6), call(6, 7)]), 3);
        // One long call beside two short ones that follow each other.
        assert_eq!(critical_path(&[call(0, 9), call(1, 3), call(4, 6)]), 2);
    }

    #[test]
    fn numbers_run_across_both_kinds_and_start_again() {
        let disturb = Disturb::new();
        disturb.on_call(2, Fault::KillBefore);
        assert_eq!(disturb.begin("DescribeSecret", None).fault, None);
        assert_eq!(disturb.begin(DATABASE, Some((1, 1))).fault, Some(Fault::KillBefore));
        assert_eq!(disturb.fired(), 1);
        disturb.restart();
        assert_eq!(disturb.begin("DescribeSecret", None).number, 1);
        assert_eq!(disturb.begin("DescribeSecret", None).fault, None);
    }

    #[test]
    fn next_applies_once_and_every_applies_always() {
        let disturb = Disturb::new();
        disturb.on_next("GetSecretValue", Fault::StaleRead);
        disturb.on_every("GetSecretValue", Fault::Throttle);
        assert_eq!(disturb.begin("PutSecretValue", None).fault, None);
        let faults: Vec<_> = (0..3).map(|_| disturb.begin("GetSecretValue", None).fault).collect();
        assert_eq!(faults, [Some(Fault::StaleRead), Some(Fault::Throttle), Some(Fault::Throttle)]);
    }

    #[tokio::test]
    async fn a_call_is_held_until_its_release() {
        let disturb = Disturb::new();
        disturb.on_call(1, Fault::Hold);
        // Too early: nothing waits yet.
        disturb.release();
        let ticket = disturb.begin(DATABASE, None);
        let waits = tokio::spawn(async move { ticket.wait().await });
        disturb.held().await;
        assert_eq!((disturb.fired(), waits.is_finished()), (1, false));
        disturb.release();
        waits.await.unwrap();
    }

    #[test]
    fn a_call_from_before_a_restart_leaves_the_new_record_alone() {
        let disturb = Disturb::new();
        let old = disturb.begin("GetSecretValue", None);
        disturb.restart();
        let _new = disturb.begin("DescribeSecret", None);
        drop(old);
        assert_eq!(disturb.calls()[0].ended, None);
    }
}
