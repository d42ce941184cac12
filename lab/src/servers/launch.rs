//! Starting a server's process, and waiting until it accepts connections. Everything here blocks.

use super::error::blocking;
use super::home::Home;
use super::{Error, Result};
use crate::port::Reserved;
use crate::process::Process;
use crate::provision::{self, command::last_lines};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fmt, io};

/// Usually a second; a slow machine with a compiler at work on all its processors needs many times that, and only what
/// hangs should be cut off.
const READY_LIMIT: Duration = Duration::from_secs(180);
const POLL: Duration = Duration::from_millis(10);
/// What is shown of the log of a server that does not start.
const LOG_LINES: usize = 12;
/// What the server writes to its standard output and error.
const LOG: &str = "server.log";

/// A server's process, which can be stopped and started again.
#[derive(Debug)]
pub(super) struct Running(Mutex<Option<Process>>);

impl Running {
    pub(super) fn new(process: Process) -> Self {
        Self(Mutex::new(Some(process)))
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the server read its configuration again. `false` if it is down. `server` names it in an error, here and below.
    pub(super) fn reload(&self, server: &impl fmt::Display) -> Result<bool> {
        self.signal(server, |process| process.signal(Signal::HUP))
    }

    /// Stops every process of the server as they are, so that it neither answers nor closes a connection.
    pub(super) fn freeze(&self, server: &impl fmt::Display) -> Result<()> {
        self.signal(server, |process| process.signal_family(Signal::STOP)).map(drop)
    }

    /// Lets a frozen server go on.
    pub(super) fn thaw(&self, server: &impl fmt::Display) -> Result<()> {
        self.signal(server, |process| process.signal_family(Signal::CONT)).map(drop)
    }

    fn signal(&self, server: &impl fmt::Display, send: impl Fn(&Process) -> io::Result<()>) -> Result<bool> {
        let process = self.process();
        let Some(process) = process.as_ref() else { return Ok(false) };
        send(process).map_err(|source| Error::Signal { server: server.to_string(), source })?;
        Ok(true)
    }

    /// Stops the server at once, if it runs.
    pub(super) fn down(&self, server: &impl fmt::Display) -> Result<()> {
        let Some(mut process) = self.process().take() else { return Ok(()) };
        process.stop().map_err(|source| Error::Stop { server: server.to_string(), source })
    }

    /// Starts the server again on its port, if it is down.
    pub(super) async fn up(
        &self,
        server: &Arc<impl Launchable + Send + Sync + 'static>,
        port: &Arc<Reserved>,
    ) -> Result<()> {
        if self.process().is_some() {
            return Ok(());
        }
        let (server, port) = (Arc::clone(server), Arc::clone(port));
        let process = blocking(move || launch_on(&*server, &port)).await?;
        *self.process() = Some(process);
        Ok(())
    }
}

/// What can be started on a port, again and again.
pub(super) trait Launchable {
    /// Makes the server end at once, without waiting for its clients.
    const STOP: Signal;

    /// What a person calls it.
    fn title(&self) -> String;

    fn home(&self) -> &Home;

    /// The server's program, configured for that port.
    fn program(&self, port: u16) -> Result<Command>;

    /// Whether the server accepts connections. `news` is what it has logged since this start.
    fn is_ready(&self, process: &Process, news: &str) -> bool;

    /// All that the server has written to its standard output and error.
    fn log_text(&self) -> Result<String> {
        Ok(text(&self.home().read_log(LOG)?))
    }
}

/// Starts the server on a free port, and waits until it accepts connections.
pub(super) fn launch(server: &impl Launchable) -> Result<(Running, Arc<Reserved>)> {
    let port = Reserved::new().map_err(provision::Error::io("find a free port on", Path::new("127.0.0.1")))?;
    Ok((Running::new(launch_on(server, &port)?), Arc::new(port)))
}

/// Starts the server on this port, and waits until it accepts connections.
fn launch_on<S: Launchable>(server: &S, port: &Reserved) -> Result<Process> {
    let mut program = server.program(port.number())?;
    let path = PathBuf::from(program.get_program());
    let io = |source| provision::Error::Io { doing: "start", path: path.clone(), source };
    let log_before = server.home().read_log(LOG)?.len();
    let (log_path, log) = server.home().log(LOG)?;
    let log_too = log.try_clone().map_err(provision::Error::io("open", &log_path))?;
    let mut process = Process::spawn_server(program.stdout(log).stderr(log_too), S::STOP).map_err(io)?;
    let start = Instant::now();
    while !server.is_ready(&process, &news(server, log_before)?) {
        if let Some(status) = process.ended().map_err(io)? {
            return Err(not_ready(server, &format!("ended at once ({status})")));
        }
        if start.elapsed() >= READY_LIMIT {
            return Err(not_ready(server, &format!("was not ready after {} s", READY_LIMIT.as_secs())));
        }
        sleep(POLL);
    }
    Ok(process)
}

fn not_ready(server: &impl Launchable, found: &str) -> Error {
    Error::NotReady {
        server: server.title(),
        found: found.to_owned(),
        log: last_lines(&server.log_text().unwrap_or_default(), LOG_LINES),
    }
}

/// What the server has logged since its log was that long.
fn news(server: &impl Launchable, log_before: usize) -> Result<String> {
    Ok(text(server.home().read_log(LOG)?.get(log_before..).unwrap_or_default()))
}

/// Names and statements are logged as clients sent them, in whatever encoding.
fn text(log: &[u8]) -> String {
    String::from_utf8_lossy(log).into_owned()
}
