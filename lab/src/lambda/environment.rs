//! One execution environment: a process, its Runtime API and its log.

use super::log::Log;
use super::outcome::Failure;
use super::runtime_api::{Message, RuntimeApi, Work};
use super::{ACCESS_KEY_PREFIX, Function, REGION};
use rustix::process::{Pid, Signal, kill_process_group};
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use tokio::process::{Child, Command};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};

/// A started environment. It serves one invocation at a time; dropping it kills the process.
pub(super) struct Environment {
    pub(super) log: Log,
    pub(super) process: Process,
    api: RuntimeApi,
}

/// A process that any task can kill and wait for.
#[derive(Clone)]
pub(super) struct Process {
    /// The access key id that its calls are signed with.
    pub(super) access_key: String,
    /// The function's name.
    pub(super) function: String,
    pid: Option<u32>,
    kill: Arc<Notify>,
    exit: watch::Receiver<Option<ExitStatus>>,
}

impl Environment {
    /// Starts the function's binary as the `number`-th environment of its host.
    pub(super) async fn start(function: &Function, number: usize, logs: &Path) -> Result<Self, Failure> {
        let not_started = |error: std::io::Error| Failure::NotStarted(error.kind());
        let api = RuntimeApi::start(function).await.map_err(not_started)?;
        let log = Log::create(&logs.join(format!("{number:06}-{}", function.name))).map_err(not_started)?;
        let access_key = format!("{ACCESS_KEY_PREFIX}{number:08}");
        let child = Command::new(&function.binary)
            .args(&function.arguments)
            .env_clear()
            .envs(reserved_variables(function, &access_key, &api.address.to_string(), number))
            .envs(function.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(function.root())
            .stdin(Stdio::null())
            .stdout(log.stdio().map_err(not_started)?)
            .stderr(log.stdio().map_err(not_started)?)
            // A terminal's Ctrl-C is for the lab, which then ends its functions itself.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(not_started)?;
        Ok(Self { log, process: supervise(child, access_key, function.name.clone()), api })
    }

    /// Waits until the function asks for its first event.
    pub(super) async fn initialize(&mut self, deadline: Instant) -> Result<(), Failure> {
        match self.message(deadline).await? {
            Message::InitError(body) | Message::Error(body) => {
                self.process.kill().await;
                Err(Failure::Reported(body))
            }
            Message::Next | Message::Response(_) | Message::ResponseTooLarge(_) => Ok(()),
        }
    }

    /// Hands over one event and waits for the answer.
    pub(super) async fn answer(&mut self, work: Work, deadline: Instant) -> Result<Vec<u8>, Failure> {
        // A full or closed queue means that the process is gone, which the wait below reports.
        let _ = self.api.work.try_send(work);
        loop {
            match self.message(deadline).await? {
                Message::Response(body) => return Ok(body),
                Message::ResponseTooLarge(size) => return Err(Failure::ResponseTooLarge(size)),
                Message::Error(body) | Message::InitError(body) => return Err(Failure::Reported(body)),
                Message::Next => {}
            }
        }
    }

    /// Waits for the function to ask for the next event: only then is an invocation over. False if it never will.
    pub(super) async fn settle(&mut self, deadline: Instant) -> bool {
        matches!(self.message(deadline).await, Ok(Message::Next))
    }

    pub(super) fn is_alive(&self) -> bool {
        self.process.may_live()
    }

    async fn message(&mut self, deadline: Instant) -> Result<Message, Failure> {
        let mut exit = self.process.exit.clone();
        let first = async {
            tokio::select! {
                // In this order: what a process said before it ended counts.
                biased;
                Some(message) = self.api.messages.recv() => Ok(message),
                Ok(status) = exit.wait_for(Option::is_some) => Err((*status).map(Failure::Exited)),
                else => Err(None),
            }
        };
        match timeout_at(deadline, first).await {
            Ok(Ok(message)) => Ok(message),
            Ok(Err(Some(failure))) => Err(failure),
            Ok(Err(None)) => Err(Failure::NotStarted(std::io::ErrorKind::BrokenPipe)),
            Err(_) => {
                self.process.kill().await;
                Err(Failure::TimedOut)
            }
        }
    }
}

impl Process {
    /// Has the process killed, without waiting for its end.
    pub(super) fn kill_soon(&self) {
        self.kill.notify_one();
    }

    /// Kills the process and returns once it is reaped.
    pub(super) async fn kill(&self) {
        self.kill_soon();
        // An error means that the supervisor is gone, and the process with it.
        let _ = self.exit.clone().wait_for(Option::is_some).await;
    }

    /// False once it is reaped.
    pub(super) fn may_live(&self) -> bool {
        self.exit.borrow().is_none()
    }

    /// The most memory it ever had resident, in bytes (`VmHWM` of proc(5)).
    pub(super) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.process.kill_soon();
    }
}

/// The processes of an environment: the function's own, and those that it has started. Dropping it kills all that are left, as an
/// environment of Lambda goes as a whole. So a wrapper such as a shell script leaves no runtime behind.
struct Family(Option<Pid>);

impl Drop for Family {
    fn drop(&mut self) {
        if let Some(leader) = self.0 {
            // Usually nobody is left. While somebody is, the system gives the number of the group to no other process.
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Owns the child: reaps it when it ends, and kills it when told to.
fn supervise(mut child: Child, access_key: String, function: String) -> Process {
    let kill = Arc::new(Notify::new());
    let (ended, exit) = watch::channel(None);
    let process = Process { access_key, function, pid: child.id(), kill: Arc::clone(&kill), exit };
    let leader = child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?));
    let family = Family(leader);
    tokio::spawn(async move {
        let status = tokio::select! {
            status = child.wait() => status,
            () = kill.notified() => {
                // It may have ended in this moment; then there is nothing to kill.
                let _ = child.start_kill();
                child.wait().await
            }
        };
        drop(family);
        // Waiting for a child does not fail. Without a status, the receivers see the channel close.
        if let Ok(status) = status {
            ended.send_replace(Some(status));
        }
    });
    process
}

/// What Lambda sets (Developer Guide, "Using Lambda environment variables"), as far as it means something here.
fn reserved_variables(function: &Function, access_key: &str, api: &str, number: usize) -> Vec<(&'static str, String)> {
    let task_root = function.root().display().to_string();
    vec![
        ("AWS_LAMBDA_RUNTIME_API", api.to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", function.name.clone()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", function.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/{}", function.name)),
        ("AWS_LAMBDA_LOG_STREAM_NAME", format!("[$LATEST]{number:032x}")),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", access_key.to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "lab".to_owned()),
        ("AWS_SESSION_TOKEN", "lab".to_owned()),
        ("LAMBDA_TASK_ROOT", task_root.clone()),
        ("LAMBDA_RUNTIME_DIR", task_root),
        ("_HANDLER", function.handler().to_owned()),
        ("TZ", ":UTC".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin".to_owned()),
    ]
}
