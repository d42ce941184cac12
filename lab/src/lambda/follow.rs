//! Reads what functions print, while they print it.

use super::{Host, Outcome, log};
use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;

/// A line that is longer is cut in pieces, so that a function that never ends its line is shown too.
const LONGEST_LINE: usize = 8192;

/// Follows what some functions of a [`Host`] print.
pub struct Follower {
    host: Host,
    functions: Vec<String>,
    logs: HashMap<PathBuf, Position>,
}

/// How far a log was read.
#[derive(Default)]
struct Position {
    offset: u64,
    /// The line that has not ended yet.
    line: Vec<u8>,
}

impl Follower {
    /// Follows the functions of these names from their first line on.
    pub fn new(host: Host, functions: Vec<String>) -> Self {
        Self { host, functions, logs: HashMap::new() }
    }

    /// The lines that the functions printed since the last call, each with its function's name. Lambda's own lines around an
    /// invocation are left out.
    pub fn news(&mut self) -> Vec<(String, String)> {
        let logs = self.host.log_files(&self.functions);
        logs.into_iter().flat_map(|(function, path)| self.read(&function, path, u64::MAX)).collect()
    }

    /// Of these lines, the ones up to the end of an invocation.
    pub fn news_of(&mut self, outcome: &Outcome) -> Vec<(String, String)> {
        let Some((path, end)) = outcome.log_end.as_deref() else { return Vec::new() };
        let followed = self.host.log_files(&self.functions).into_iter().find(|(_, log)| log == path);
        followed.map(|(function, path)| self.read(&function, path, *end)).unwrap_or_default()
    }

    /// The new lines of a log before `end`.
    fn read(&mut self, function: &str, path: PathBuf, end: u64) -> Vec<(String, String)> {
        let file = File::open(&path);
        let position = self.logs.entry(path).or_default();
        let Some(bytes) = file.ok().and_then(|file| position.read(file, end)) else { return Vec::new() };
        let lines = position.lines(&bytes);
        let printed = lines.iter().filter_map(|line| log::of_the_function(line));
        printed.map(|line| (function.to_owned(), line.to_owned())).collect()
    }
}

impl Position {
    /// What was appended to the log before `end`.
    fn read(&mut self, mut log: File, end: u64) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        log.seek(SeekFrom::Start(self.offset)).ok()?;
        self.offset += log.take(end.saturating_sub(self.offset)).read_to_end(&mut bytes).ok()? as u64;
        Some(bytes)
    }

    /// The lines that end in these bytes.
    fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
            }
            if *byte == b'\n' || self.line.len() >= LONGEST_LINE {
                let line = std::mem::take(&mut self.line);
                lines.push(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned());
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_and_endless_ones_in_pieces() {
        let mut position = Position::default();
        assert_eq!(position.lines(b"one\r\ntw"), ["one"]);
        assert_eq!(position.lines(b"o\n\nthr"), ["two", ""]);
        let endless = vec![b'x'; 2 * LONGEST_LINE];
        let lines = position.lines(&endless);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LONGEST_LINE; 2]);
        assert!(lines[0].starts_with("thrxx"));
    }
}
