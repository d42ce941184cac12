//! What an environment prints, and Lambda's own lines around it.

use super::Outcome;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// A file that the process writes its stdout and stderr to. A file rather than a pipe: nothing is lost when the process
/// is killed, and what was written is there to read at once.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    file: File,
    /// Where the log of the next invocation begins.
    mark: u64,
}

impl Log {
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(path)?;
        Ok(Self { path: path.to_owned(), file, mark: 0 })
    }

    pub(super) fn stdio(&self) -> io::Result<Stdio> {
        Ok(self.file.try_clone()?.into())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file, and where what was taken ends in it.
    pub(super) fn end(&self) -> (PathBuf, u64) {
        (self.path.clone(), self.mark)
    }

    pub(super) fn line(&mut self, line: &str) {
        // The log is an aid; an invocation does not fail because the disk is full.
        let _ = writeln!(self.file, "{line}");
    }

    /// What was written since the last call.
    pub(super) fn take(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        if let Ok(mut file) = File::open(&self.path)
            && file.seek(SeekFrom::Start(self.mark)).is_ok()
            && let Ok(length) = file.read_to_end(&mut bytes)
        {
            self.mark += length as u64;
        }
        bytes
    }
}

pub(super) fn start_line(request_id: &str) -> String {
    format!("START RequestId: {request_id} Version: $LATEST")
}

/// The END and REPORT lines, tab-separated as on AWS.
pub(super) fn end_lines(outcome: &Outcome, memory_mb: u32, status: &str) -> String {
    let id = &outcome.request_id;
    let init = outcome.init_duration.map(|time| format!("Init Duration: {} ms\t", milliseconds(time)));
    let billed = (outcome.duration + outcome.init_duration.unwrap_or_default()).as_secs_f64() * 1000.0;
    let used = outcome.peak_memory.map(|bytes| format!("Max Memory Used: {} MB\t", bytes.div_ceil(1024 * 1024)));
    format!(
        "END RequestId: {id}\nREPORT RequestId: {id}\tDuration: {} ms\tBilled Duration: {} ms\tMemory Size: {memory_mb} MB\t{}{}{status}",
        milliseconds(outcome.duration),
        billed.ceil(),
        used.unwrap_or_default(),
        init.unwrap_or_default(),
    )
}

/// What of a line the function printed, and not Lambda around an invocation. Where the function's last line does not end, Lambda's
/// follows in it.
pub(super) fn of_the_function(line: &str) -> Option<&str> {
    const END: &str = "END RequestId: ";
    if ["START RequestId: ", END, "REPORT RequestId: "].iter().any(|start| line.starts_with(start)) {
        return None;
    }
    Some(line.rsplit_once(END).map_or(line, |(printed, _)| printed))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64() * 1000.0)
}
