//! Functions by name, and the pool of their environments.

use super::environment::{Environment, Process};
use super::outcome::{Failure, Outcome, UnknownFunction};
use super::runtime_api::Work;
use super::{Function, elsewhere, log};
use crate::disturb::Disturb;
use crate::secretsmanager::{Invocation, Invoker};
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tempfile::TempDir;
use tokio::time::Instant;

/// A Lambda that runs on this machine. Cheap to clone; the functions' processes end when the last clone is dropped.
#[derive(Clone)]
pub struct Host(Arc<Shared>);

struct Shared {
    /// Holds the log of every environment that ever was.
    logs: TempDir,
    started: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    functions: HashMap<String, Arc<Function>>,
    /// Environments that wait for an event, by function, the most recently used last.
    idle: HashMap<String, Vec<Environment>>,
    /// Every process that may still live.
    processes: Vec<Process>,
    /// The logs of all environments, by function, oldest first.
    log_files: Vec<(String, PathBuf)>,
}

/// When an invocation has to be over.
struct Deadline {
    told: SystemTime,
    enforced: Instant,
}

impl Deadline {
    fn of(function: &Function) -> Self {
        let enforced = Instant::now() + function.timeout + function.overtime;
        Self { told: SystemTime::now() + function.timeout, enforced }
    }
}

impl Host {
    /// A host without functions, whose functions die when `disturb` says so.
    ///
    /// # Errors
    /// No temporary directory could be made for the logs.
    pub fn new(disturb: &Disturb) -> std::io::Result<Self> {
        let logs = tempfile::Builder::new().prefix("lockstep-lab-").tempdir()?;
        let host = Self(Arc::new(Shared { logs, started: AtomicUsize::new(0), state: Mutex::default() }));
        let weak = Arc::downgrade(&host.0);
        disturb.set_killer(move |caller| {
            let host = weak.upgrade().map(Self);
            async move {
                if let Some(host) = host {
                    host.kill(caller.as_deref()).await;
                }
            }
        });
        Ok(host)
    }

    /// Makes a function invocable and returns its ARN. A function of the same name is replaced.
    pub fn deploy(&self, function: Function) -> String {
        let arn = function.arn();
        let mut state = self.state();
        drop(state.idle.remove(&function.name));
        state.functions.insert(function.name.clone(), Arc::new(function));
        arn
    }

    /// Deletes a function, by its name, ARN or partial ARN. Secrets that name it keep the name, as on AWS. What it printed can still be
    /// read.
    pub fn delete(&self, function: &str) {
        let mut state = self.state();
        state.functions.remove(name_of(function));
        drop(state.idle.remove(name_of(function)));
    }

    /// Whether a function has this name, ARN or partial ARN.
    pub fn knows(&self, function: &str) -> bool {
        self.find(function).is_ok()
    }

    /// Invokes a function by its name, ARN or partial ARN and waits for its answer.
    ///
    /// # Errors
    /// There is no such function. A failure *of* the function is an [`Outcome`] with a `function_error`.
    pub async fn invoke(&self, function: &str, payload: Vec<u8>) -> Result<Outcome, UnknownFunction> {
        let function = self.find(function)?;
        let host = self.clone();
        // In its own task: if the caller hangs up, the function still runs to its end.
        let run = tokio::spawn(async move { host.run(&function, payload).await });
        run.await.map_err(|_| UnknownFunction("the host is shutting down".to_owned()))
    }

    /// All that a function's environments ever printed, with Lambda's own lines, one environment after the other.
    pub fn output(&self, function: &str) -> String {
        self.outputs(function).concat()
    }

    /// The same, each environment by itself.
    pub(crate) fn outputs(&self, function: &str) -> Vec<String> {
        let files: Vec<_> = self.state().log_files.clone();
        let of_function = files.into_iter().filter(|(name, _)| name == name_of(function));
        of_function
            .map(|(_, path)| String::from_utf8_lossy(&std::fs::read(path).unwrap_or_default()).into_owned())
            .collect()
    }

    /// The logs of all environments of these functions, each with its function, oldest first.
    pub(super) fn log_files(&self, functions: &[String]) -> Vec<(String, PathBuf)> {
        self.state().log_files.iter().filter(|(name, _)| functions.contains(name)).cloned().collect()
    }

    /// How many environments were ever started.
    pub fn environments(&self) -> usize {
        self.0.started.load(Ordering::SeqCst)
    }

    /// The name of the function whose environment has this access key id, while it lives.
    pub fn function_of(&self, access_key: &str) -> Option<String> {
        let state = self.state();
        let process = state.processes.iter().find(|process| process.access_key == access_key)?;
        Some(process.function.clone())
    }

    /// Kills the environment with this access key id, or all of them, and returns once they are reaped.
    pub async fn kill(&self, access_key: Option<&str>) {
        let processes: Vec<_> = {
            let state = self.state();
            let chosen = |process: &&Process| access_key.is_none_or(|key| process.access_key == key);
            state.processes.iter().filter(chosen).cloned().collect()
        };
        // All at once: no environment goes on while another is reaped.
        processes.iter().for_each(Process::kill_soon);
        for process in processes {
            process.kill().await;
        }
    }

    /// Ends the idle environments, so that the next invocation is a cold start.
    pub async fn recycle(&self) {
        let idle = std::mem::take(&mut self.state().idle);
        for environment in idle.into_values().flatten() {
            environment.process.kill().await;
        }
    }

    /// Kills and reaps every process. Nothing can be invoked afterwards.
    pub async fn shutdown(&self) {
        self.stop();
        self.kill(None).await;
    }

    /// Like [`shutdown`](Self::shutdown), without waiting for the processes to end.
    pub fn stop(&self) {
        let mut state = self.state();
        state.functions.clear();
        state.idle.clear();
        state.processes.iter().for_each(Process::kill_soon);
    }

    /// The function of this name, ARN or partial ARN.
    pub(crate) fn find(&self, function: &str) -> Result<Arc<Function>, UnknownFunction> {
        let name = name_of(function);
        let found = self.state().functions.get(name).cloned();
        // A full ARN of another account or region names another function.
        let found = found.filter(|it| !function.starts_with("arn:") || function.starts_with(&it.arn()));
        found.ok_or_else(|| UnknownFunction(Function::new(name, "").arn()))
    }

    async fn run(&self, function: &Arc<Function>, payload: Vec<u8>) -> Outcome {
        if let Some(endpoint) = &function.elsewhere {
            return elsewhere::invoke(endpoint, function, payload).await;
        }
        let mut outcome = Outcome::pending();
        let mut environment = None;
        let result = self.attempt(function, payload, &mut environment, &mut outcome).await;
        let status = result.as_ref().err().map(Failure::report).unwrap_or_default();
        if let Some(environment) = &mut environment {
            outcome.peak_memory = environment.process.peak_memory();
            environment.log.line(&log::end_lines(&outcome, function.memory_mb, &status));
            outcome.log = environment.log.take();
            outcome.log_end = Some(Box::new(environment.log.end()));
        }
        match result {
            Ok(payload) => outcome.payload = payload,
            Err(failure) => {
                outcome.function_error = Some("Unhandled".to_owned());
                outcome.payload = failure.payload(&outcome.request_id, function.timeout);
            }
        }
        self.release(function, environment);
        outcome
    }

    /// Brings an event to an environment, and leaves that environment in `slot`.
    async fn attempt(
        &self,
        function: &Arc<Function>,
        payload: Vec<u8>,
        slot: &mut Option<Environment>,
        outcome: &mut Outcome,
    ) -> Result<Vec<u8>, Failure> {
        let idle = self.take_idle(&function.name);
        let mut deadline = Deadline::of(function);
        if let Some(warm) = idle {
            *slot = Some(warm);
        } else {
            let began = Instant::now();
            let in_time = self.cold_start(function, slot).await?;
            outcome.init_duration = Some(began.elapsed());
            if in_time {
                deadline = Deadline::of(function);
            }
        }
        let Some(environment) = slot else { return Err(Failure::NotStarted(std::io::ErrorKind::NotFound)) };
        environment.log.line(&log::start_line(&outcome.request_id));
        let began = Instant::now();
        let work = Work { request_id: outcome.request_id.clone(), payload, deadline: deadline.told };
        let answer = environment.answer(work, deadline.enforced).await;
        outcome.duration = began.elapsed();
        if matches!(answer, Ok(_) | Err(Failure::Reported(_) | Failure::ResponseTooLarge(_))) {
            environment.settle(deadline.enforced).await;
        } else if matches!(answer, Err(Failure::TimedOut)) {
            let seconds = function.timeout.as_secs_f64();
            environment.log.line(&format!("{} Task timed out after {seconds:.2} seconds", outcome.request_id));
        }
        answer
    }

    /// Starts an environment. One that fails to initialise, or takes too long, is started a second time at the cost of
    /// the invocation, as AWS does ("suppressed init"); false then.
    async fn cold_start(&self, function: &Arc<Function>, slot: &mut Option<Environment>) -> Result<bool, Failure> {
        let first = slot.insert(self.start(function).await?);
        let Err(failure) = first.initialize(Instant::now() + function.init_timeout).await else { return Ok(true) };
        first.log.line(&format!("INIT_REPORT\tPhase: init\t{}", failure.report()));
        let second = slot.insert(self.start(function).await?);
        second.initialize(Instant::now() + function.timeout).await?;
        Ok(false)
    }

    async fn start(&self, function: &Arc<Function>) -> Result<Environment, Failure> {
        let number = self.0.started.fetch_add(1, Ordering::SeqCst) + 1;
        let environment = Environment::start(function, number, self.0.logs.path()).await?;
        let mut state = self.state();
        state.processes.retain(Process::may_live);
        state.processes.push(environment.process.clone());
        state.log_files.push((function.name.clone(), environment.log.path().to_owned()));
        Ok(environment)
    }

    fn take_idle(&self, name: &str) -> Option<Environment> {
        let mut state = self.state();
        let idle = state.idle.get_mut(name)?;
        std::iter::from_fn(|| idle.pop()).find(Environment::is_alive)
    }

    /// Puts an environment back, if it lives and its function is still the deployed one.
    fn release(&self, function: &Arc<Function>, environment: Option<Environment>) {
        let Some(environment) = environment.filter(Environment::is_alive) else { return };
        let mut state = self.state();
        if state.functions.get(&function.name).is_some_and(|now| Arc::ptr_eq(now, function)) {
            state.idle.entry(function.name.clone()).or_default().push(environment);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Invoker for Host {
    fn invoke<'a>(
        &'a self,
        function_arn: &'a str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invocation> + Send + 'a>> {
        Box::pin(async move {
            match Self::invoke(self, function_arn, payload).await {
                Ok(Outcome { payload, function_error, .. }) => Invocation { payload, function_error },
                Err(unknown) => unknown.into(),
            }
        })
    }

    fn knows(&self, function_arn: &str) -> bool {
        // A name is enough to invoke a function, but RotateSecret takes an ARN.
        function_arn.starts_with("arn:") && Self::knows(self, function_arn)
    }
}

impl From<UnknownFunction> for Invocation {
    fn from(unknown: UnknownFunction) -> Self {
        let Outcome { payload, function_error, .. } = Outcome::not_run(&unknown);
        Self { payload, function_error }
    }
}

impl std::fmt::Display for UnknownFunction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Function not found: {}", self.0)
    }
}

impl std::error::Error for UnknownFunction {}

/// The name in a name, `account:function:name` or an ARN, each with or without a qualifier.
fn name_of(function: &str) -> &str {
    let after = function.split_once("function:").map_or(function, |(_, rest)| rest);
    after.split(':').next().unwrap_or(after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_is_deleted_is_unknown() {
        let host = Host::new(&Disturb::new()).unwrap();
        let arn = host.deploy(Function::new("rotate", "/bin/false"));
        host.delete(&arn);
        assert!(!host.knows("rotate") && !Invoker::knows(&host, &arn));
    }

    #[test]
    fn a_function_is_found_by_every_spelling_and_not_in_another_region() {
        let host = Host::new(&Disturb::new()).unwrap();
        let arn = host.deploy(Function::new("rotate", "/bin/false"));
        for known in ["rotate", "rotate:$LATEST", "123456789012:function:rotate", &arn, &format!("{arn}:$LATEST")] {
            assert!(host.knows(known), "{known}");
        }
        for unknown in ["rotat", "other", &arn.replace("us-east-1", "eu-west-1"), ""] {
            assert!(!host.knows(unknown), "{unknown}");
        }
        // RotateSecret takes an ARN, and nothing else.
        assert!(Invoker::knows(&host, &arn) && !Invoker::knows(&host, "rotate"));
    }
}
