//! A child process that does not outlive its owner.

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

/// Longer than the 5 s after which PostgreSQL itself kills children that do not heed an immediate shutdown.
const STOP_LIMIT: Duration = Duration::from_secs(8);
/// Short against the time in which a server starts or stops.
const POLL: Duration = Duration::from_millis(5);

/// A running program. Dropping it stops it, so that a test that panics leaves none behind, and waits for none.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// Makes the program end at once: a server does not wait for its clients.
    stop: Signal,
}

impl Process {
    /// Starts the program. The signal `stop` makes it end.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn spawn(command: &mut Command, stop: Signal) -> io::Result<Self> {
        Ok(Self { child: command.spawn()?, stop })
    }

    /// Starts a server in its own process group, so that the terminal's Ctrl-C does not reach it.
    pub(crate) fn spawn_server(command: &mut Command, stop: Signal) -> io::Result<Self> {
        Self::spawn(command.process_group(0).stdin(Stdio::null()), stop)
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// If it has ended.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        Ok(kill_process(Pid::from_child(&self.child), signal)?)
    }

    /// Sends the signal to it and to the processes that it has started.
    ///
    /// # Errors
    /// If it has ended, or the system does not tell its children.
    pub(crate) fn signal_family(&self, signal: Signal) -> io::Result<()> {
        self.signal(signal)?;
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children"))?;
        for child in children.split_whitespace().filter_map(|id| id.parse().ok()).filter_map(Pid::from_raw) {
            match kill_process(child, signal) {
                // It has ended meanwhile.
                Ok(()) | Err(Errno::SRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// How it ended; `None` if it still runs after that time.
    ///
    /// # Errors
    /// If the system cannot tell.
    pub fn wait_for(&mut self, limit: Duration) -> io::Result<Option<ExitStatus>> {
        let start = Instant::now();
        loop {
            let status = self.child.try_wait()?;
            if status.is_some() || start.elapsed() >= limit {
                return Ok(status);
            }
            sleep(POLL);
        }
    }

    /// Stops it; by force if it does not go by itself.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn stop(&mut self) -> io::Result<()> {
        if self.child.try_wait()?.is_some() {
            return Ok(());
        }
        self.signal(self.stop)?;
        if self.wait_for(STOP_LIMIT)?.is_none() {
            self.child.kill()?;
            self.child.wait()?;
        }
        Ok(())
    }
}

/// For its pipes and its id.
impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        &self.child
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        &mut self.child
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str) -> Process {
        Process::spawn(Command::new("sh").args(["-c", script]).stdout(Stdio::piped()), Signal::TERM).unwrap()
    }

    fn runs(process: u32) -> bool {
        fs::exists(format!("/proc/{process}")).unwrap()
    }

    #[test]
    fn a_panic_ends_it() {
        let id = std::thread::spawn(|| {
            let process = sh("exec sleep 60");
            std::panic::panic_any(process.id());
        });
        let id = *id.join().unwrap_err().downcast::<u32>().unwrap();
        assert!(!runs(id));
    }

    #[test]
    fn one_that_ignores_the_signal_is_killed() {
        let mut process = sh("trap '' TERM; echo ready; while :; do sleep 0.1; done");
        let mut word = [0; 5];
        io::Read::read_exact(process.stdout.as_mut().unwrap(), &mut word).unwrap();
        let id = process.id();
        drop(process);
        assert!(!runs(id));
    }

    #[test]
    fn a_wait_has_an_end() {
        let mut process = sh("exec sleep 60");
        assert!(process.wait_for(Duration::from_millis(50)).unwrap().is_none());
        process.signal(Signal::INT).unwrap();
        assert!(process.wait_for(Duration::from_secs(10)).unwrap().is_some());
    }

    #[test]
    fn a_family_stops_and_goes_on() {
        let mut process = sh("sleep 60 & echo $!; wait");
        let mut line = String::new();
        let output = process.stdout.take().unwrap();
        io::BufRead::read_line(&mut io::BufReader::new(output), &mut line).unwrap();
        let child: u32 = line.trim().parse().unwrap();
        let states = |wanted: &str| {
            let state = |id| fs::read_to_string(format!("/proc/{id}/stat")).unwrap();
            let is = |id| state(id).rsplit_once(") ").unwrap().1.starts_with(wanted);
            let start = Instant::now();
            while !(is(process.id()) && is(child)) {
                assert!(start.elapsed() < Duration::from_secs(10), "the processes are not in state {wanted}");
                sleep(POLL);
            }
        };
        process.signal_family(Signal::STOP).unwrap();
        states("T");
        process.signal_family(Signal::CONT).unwrap();
        states("S");
        process.signal_family(Signal::KILL).unwrap();
    }
}
