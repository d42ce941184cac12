//! The service: state behind a lock, consistency, and what others see of it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use tokio::sync::broadcast;

use super::event::{RotationEvent, RotationOutcome};
use super::model::{Context, Operation, Start, State, Timestamp};
use super::{Invoker, Limits, Reply, ServiceError};

/// Events that a slow subscriber may fall behind; ten rotations make fewer.
const EVENT_BACKLOG: usize = 256;

/// How a [`Service`] is set up.
#[derive(Clone)]
pub struct Options {
    /// The region in ARNs.
    pub region: String,
    /// The account in ARNs: twelve digits.
    pub account_id: String,
    /// How often a failed rotation is run again, as a whole and under the same token, without being asked to. AWS does
    /// retry, but how often and when is undocumented.
    pub rotation_retries: u32,
    /// The time. Tests set their own.
    pub clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// Where identifiers and generated passwords come from: the same seed gives the same ones. Random where absent.
    pub seed: Option<u64>,
    /// How often operations may be called. No limits where absent.
    pub limits: Option<Limits>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            account_id: "000000000000".into(),
            rotation_retries: 0,
            clock: Arc::new(SystemTime::now),
            seed: None,
            limits: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("region", &self.region)
            .field("account_id", &self.account_id)
            .field("rotation_retries", &self.rotation_retries)
            .finish_non_exhaustive()
    }
}

/// Which state a read sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Consistency {
    /// All writes so far.
    #[default]
    Strong,
    /// All writes but the last, as an eventually consistent read can. Operations that write are not affected.
    Stale,
}

/// A rotation that was registered but is run by hand; see [`Service::stage_rotation`].
#[derive(Clone)]
pub struct StagedRotation {
    /// The secret's full ARN, the event's `SecretId`.
    pub secret_arn: String,
    /// The event's `ClientRequestToken`.
    pub token: String,
    /// The event's `RotationToken`. Sensitive.
    pub rotation_token: String,
}

impl fmt::Debug for StagedRotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StagedRotation")
            .field("secret_arn", &self.secret_arn)
            .field("token", &self.token)
            .finish_non_exhaustive()
    }
}

/// Secrets Manager in one account and region. Clones share their state.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
}

struct Shared {
    options: Options,
    inner: Mutex<Inner>,
    invoker: OnceLock<Arc<dyn Invoker>>,
    events: broadcast::Sender<RotationEvent>,
}

struct Inner {
    current: State,
    /// The state before the last write.
    previous: State,
    rng: StdRng,
    outcomes: HashMap<String, RotationOutcome>,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl Service {
    /// A service without secrets, and without an invoker of rotation functions.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let state = State::new(&options.region, &options.account_id);
        let rng = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_rng(&mut rand::rng()),
        };
        let inner = Inner { previous: state.clone(), current: state, rng, outcomes: HashMap::new() };
        let (events, _) = broadcast::channel(EVENT_BACKLOG);
        Self { shared: Arc::new(Shared { options, inner: Mutex::new(inner), invoker: OnceLock::new(), events }) }
    }

    /// Sets the invoker of rotation functions. Only the first call has an effect.
    #[must_use]
    pub fn with_invoker(self, invoker: Arc<dyn Invoker>) -> Self {
        self.set_invoker(invoker);
        self
    }

    /// As [`Service::with_invoker`], for an invoker that needs the service's address first.
    pub fn set_invoker(&self, invoker: Arc<dyn Invoker>) {
        // Err means that there is one already, which then stays.
        let _ = self.shared.invoker.set(invoker);
    }

    /// Performs the operation that `X-Amz-Target` names after `secretsmanager.`, with the request's body.
    ///
    /// # Panics
    /// Where RotateSecret is called outside a tokio runtime: the steps run in a task.
    // async although nothing waits yet: the contract is that a call may.
    #[expect(clippy::unused_async, reason = "callers must not depend on an answer without waiting")]
    pub async fn call(&self, operation: &str, body: &[u8], consistency: Consistency) -> Reply {
        let admitted = Operation::parse(operation).and_then(|operation| self.admit(operation));
        let result = admitted.and_then(|operation| match (operation, consistency) {
            (Operation::RotateSecret, _) => self.rotate(body),
            (read, Consistency::Stale) if read.is_read() => self.read_stale(read, body),
            (read, _) if read.is_read() => self.update(|state, context| state.apply(read, body, context)),
            (write, _) => self.write(|state, context| state.apply(write, body, context)),
        });
        Reply::from(result)
    }

    /// Everything that happens to rotations from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<RotationEvent> {
        self.shared.events.subscribe()
    }

    /// Waits until no rotation of the secret is in progress, and tells how the last one ended; none where there was no
    /// rotation or no such secret.
    pub async fn wait_rotation(&self, secret_id: &str) -> Option<RotationOutcome> {
        let mut events = self.subscribe();
        loop {
            {
                let inner = self.lock();
                let secret = inner.current.find(secret_id).ok()?;
                if secret.run().is_none() {
                    return inner.outcomes.get(&secret.arn).cloned();
                }
            }
            // Missed events also mean a change: look again.
            if let Err(broadcast::error::RecvError::Closed) = events.recv().await {
                return None;
            }
        }
    }

    /// Does what RotateSecret does before it invokes the function, and leaves the invoking to the caller: configures
    /// rotation, registers `token` under AWSPENDING without a value, and issues a rotation token.
    ///
    /// # Errors
    /// Those of RotateSecret.
    pub fn stage_rotation(
        &self,
        secret_id: &str,
        function_arn: &str,
        token: &str,
    ) -> Result<StagedRotation, ServiceError> {
        let body = json!({"SecretId": secret_id, "RotationLambdaARN": function_arn, "ClientRequestToken": token});
        let (reply, start) = self.write(|state, context| state.rotate(body.to_string().as_bytes(), &|_| true, context));
        reply?;
        let staged = start.and_then(|start| {
            let rotation_token = self.lock().current.rotation_token(&start)?;
            Some(StagedRotation { secret_arn: start.secret_arn, token: start.token, rotation_token })
        });
        staged.ok_or_else(|| ServiceError::token_in_use(token, secret_id))
    }

    /// Leaves what a rotation leaves behind whose first step failed: `token` under AWSPENDING, without a value. Its steps can be run by
    /// hand. RotateSecret runs it again.
    ///
    /// # Errors
    /// Those of RotateSecret.
    pub fn stage_unfinished(&self, secret_id: &str, function_arn: &str, token: &str) -> Result<(), ServiceError> {
        let body = json!({"SecretId": secret_id, "RotationLambdaARN": function_arn, "ClientRequestToken": token});
        self.write(|state, context| {
            let (reply, start) = state.rotate(body.to_string().as_bytes(), &|_| true, context);
            if let Some(start) = start {
                state.end_run(&start);
            }
            reply.map(drop)
        })
    }

    /// Names the function that rotates a secret, as RotateSecret does, and leaves out the test of the configuration: a function that
    /// cannot be invoked yet would fail it.
    ///
    /// # Errors
    /// There is no such secret.
    pub fn attach(&self, secret_id: &str, function_arn: &str, rules: &Value) -> Result<(), ServiceError> {
        self.write(|state, context| state.attach(secret_id, function_arn, rules, context.now))
    }

    /// Gives a secret the six characters at the end of its ARN that a file names, where the service draws them.
    ///
    /// # Errors
    /// There is no such secret.
    pub fn set_suffix(&self, secret_id: &str, suffix: &str) -> Result<(), ServiceError> {
        self.write(|state, _| state.set_suffix(secret_id, suffix))
    }

    /// The labels of every version of a secret, deprecated ones with none; none where there is no such secret.
    #[must_use]
    pub fn labels(&self, secret_id: &str) -> Option<BTreeMap<String, BTreeSet<String>>> {
        let inner = self.lock();
        let versions = inner.current.find(secret_id).ok()?.versions.iter();
        Some(versions.map(|version| (version.id.clone(), version.stages.clone())).collect())
    }

    /// The bytes of a version's value; none where there is no such version or it has no value.
    #[must_use]
    pub fn value(&self, secret_id: &str, version_id: &str) -> Option<Vec<u8>> {
        let inner = self.lock();
        let version = inner.current.find(secret_id).ok()?.versions.get(version_id)?;
        version.value.as_ref().map(|value| value.bytes().to_vec())
    }

    /// Tags a secret as only AWS itself can: with a key that begins with `aws:`. RDS does so with the secrets that it manages.
    ///
    /// # Errors
    /// There is no such secret.
    pub fn tag_as_aws(&self, secret_id: &str, key: &str, value: &str) -> Result<(), ServiceError> {
        self.write(|state, _| state.tag_as_aws(secret_id, key, value))
    }

    pub(super) fn invoker(&self) -> Option<&Arc<dyn Invoker>> {
        self.shared.invoker.get()
    }

    pub(super) fn rotation_retries(&self) -> u32 {
        self.shared.options.rotation_retries
    }

    pub(super) fn emit(&self, event: RotationEvent) {
        // Nobody listening is fine.
        let _ = self.shared.events.send(event);
    }

    /// Whether a rotation in progress is undisturbed.
    pub(super) fn continues(&self, start: &Start) -> bool {
        self.lock().current.continues(start)
    }

    /// Records how a rotation ended, so that waiters see the end and the outcome at once. Whoever sees the end and
    /// listens only then hears of the next rotation, not of this one: `last_event` is told before the state is let go.
    pub(super) fn end_run(&self, start: &Start, outcome: RotationOutcome, last_event: RotationEvent) {
        let mut inner = self.lock();
        inner.current.end_run(start);
        inner.outcomes.insert(start.secret_arn.clone(), outcome);
        self.emit(last_event);
    }

    /// Changes the state in a way that stale reads are to miss.
    pub(super) fn write<T>(&self, change: impl FnOnce(&mut State, &mut Context<'_>) -> T) -> T {
        let mut inner = self.lock();
        let before = inner.current.clone();
        let result = self.change(&mut inner, change);
        // A call that changed nothing is no write: the one before stays the last.
        if inner.current != before {
            inner.previous = before;
        }
        result
    }

    /// Changes the state without counting as a write: dates of access, say.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State, &mut Context<'_>) -> T) -> T {
        self.change(&mut self.lock(), change)
    }

    fn change<T>(&self, inner: &mut Inner, change: impl FnOnce(&mut State, &mut Context<'_>) -> T) -> T {
        let mut context = Context { now: self.now(), rng: &mut inner.rng };
        change(&mut inner.current, &mut context)
    }

    fn read_stale(&self, operation: Operation, body: &[u8]) -> Result<Value, ServiceError> {
        let mut inner = self.lock();
        let mut state = inner.previous.clone();
        state.apply(operation, body, &mut Context { now: self.now(), rng: &mut inner.rng })
    }

    /// The operation, if the limits allow another call of it now.
    fn admit(&self, operation: Operation) -> Result<Operation, ServiceError> {
        let limits = self.shared.options.limits.as_ref();
        let allowed = limits.is_none_or(|limits| limits.admit(operation, tokio::time::Instant::now()));
        if allowed { Ok(operation) } else { Err(ServiceError::throttled()) }
    }

    fn rotate(&self, body: &[u8]) -> Result<Value, ServiceError> {
        let Some(invoker) = self.invoker() else { return Err(ServiceError::cannot_invoke()) };
        let knows = |function: &str| invoker.knows(function);
        let (reply, start) = self.write(|state, context| state.rotate(body, &knows, context));
        if let Some(start) = start {
            tokio::spawn(self.clone().drive(start));
        }
        reply
    }

    fn now(&self) -> Timestamp {
        let since_epoch = (self.shared.options.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_millis(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // A panic under the lock leaves whole states: every change is prepared on a copy.
        self.shared.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
