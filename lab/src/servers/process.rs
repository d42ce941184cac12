//! A server's process.

use rustix::process::{Pid, Signal, kill_process};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer than the 5 s after which PostgreSQL itself kills children that do not heed an immediate shutdown.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Short against the time in which a server starts or stops.
const POLL: Duration = Duration::from_millis(5);

/// A running server. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    /// Makes the server end at once, without waiting for its clients.
    stop: Signal,
}

impl Process {
    /// Starts the program in its own process group, so that the terminal's Ctrl-C does not reach it.
    pub(super) fn spawn(command: &mut Command, stop: Signal) -> io::Result<Self> {
        let child = command.process_group(0).stdin(Stdio::null()).spawn()?;
        Ok(Self { child, stop })
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    pub(super) fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Stops it; by force if it does not go by itself.
    pub(super) fn stop(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(self.stop)?;
        let start = Instant::now();
        while start.elapsed() < STOP_LIMIT {
            if self.child.try_wait()?.is_some() {
                return Ok(());
            }
            sleep(POLL);
        }
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}
