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
        let Ok(mut last) = self.0.lock() else { return };
        let recent = last.is_some_and(|last| last.elapsed() < Duration::from_millis(100));
        if !std::io::stderr().is_terminal() || recent && done < of {
            return;
        }
        if done >= of {
            return erase(&mut last);
        }
        *last = Some(Instant::now());
        let filled = (done * WIDTH).checked_div(of).unwrap_or(WIDTH);
        let bar = format!("\r{}{} {done} of {of}", "█".repeat(filled), "░".repeat(WIDTH.saturating_sub(filled)));
        write(&bar);
    }

    /// Removes the bar, if it is there.
    pub(super) fn clear(&self) {
        if let Ok(mut last) = self.0.lock() {
            erase(&mut last);
        }
    }
}

fn erase(last: &mut Option<Instant>) {
    if last.take().is_some() {
        write("\r\x1b[2K");
    }
}

fn write(text: &str) {
    let mut stderr = std::io::stderr();
    // A progress bar that cannot be shown is not missed.
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
