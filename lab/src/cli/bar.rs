//! A progress bar.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// A progress bar on stderr, where that is a terminal.
#[derive(Default)]
pub(super) struct Bar(Mutex<Option<Instant>>);

impl Bar {
    /// Shows that `done` of `of` are done. The bar disappears when all are.
    pub(super) fn show(&self, done: usize, of: usize) {
        const WIDTH: usize = 40;
        let mut stderr = std::io::stderr();
        let Ok(mut last) = self.0.lock() else { return };
        let recent = last.is_some_and(|last| last.elapsed() < Duration::from_millis(100));
        if !stderr.is_terminal() || recent && done < of {
            return;
        }
        *last = Some(Instant::now());
        let filled = (done * WIDTH).checked_div(of).unwrap_or(WIDTH);
        let bar = format!("{}{}", "█".repeat(filled), "░".repeat(WIDTH.saturating_sub(filled)));
        let end = if done < of { format!("\r{bar} {done} of {of}") } else { "\r\x1b[2K".to_owned() };
        // A progress bar that cannot be shown is not missed.
        let _ = stderr.write_all(end.as_bytes()).and_then(|()| stderr.flush());
    }
}
