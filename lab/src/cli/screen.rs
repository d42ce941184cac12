//! What the command prints: text for people, and JSON for programs.

use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

/// Where output goes. Text goes to stdout, or to stderr where stdout is for JSON. A closed pipe is never a panic: it
/// ends the command, see [`Screen::unread`].
pub(super) struct Screen {
    json: bool,
    /// Colours, and lines that are replaced when a step ends.
    terminal: bool,
    colour: bool,
    /// Where text goes instead of to anybody, if it is kept.
    kept: Option<Mutex<String>>,
    unread: Notify,
}

/// How a word is set off on a terminal.
#[derive(Clone, Copy)]
pub(super) enum Style {
    Good,
    Bad,
    Dim,
    Bold,
}

impl Screen {
    pub(super) fn new(json: bool) -> Self {
        let terminal = if json { io::stderr().is_terminal() } else { io::stdout().is_terminal() };
        // https://no-color.org: set and not empty.
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { json, terminal, colour: terminal && !no_color, kept: None, unread: Notify::new() }
    }

    /// A screen that shows nothing and keeps all text.
    pub(super) fn kept() -> Self {
        Self { json: false, terminal: false, colour: false, kept: Some(Mutex::default()), unread: Notify::new() }
    }

    /// The text that was kept.
    pub(super) fn text(&self) -> String {
        let kept = self.kept.as_ref().map(|kept| kept.lock().unwrap_or_else(PoisonError::into_inner).clone());
        kept.unwrap_or_default()
    }

    /// Waits until a write fails because the reader is gone.
    pub(super) async fn unread(&self) {
        self.unread.notified().await;
    }

    /// Whether a write has failed because the reader is gone.
    pub(super) async fn is_unread(&self) -> bool {
        tokio::select! {
            biased;
            () = self.unread() => true,
            () = std::future::ready(()) => false,
        }
    }

    pub(super) fn paint(&self, style: Style, text: &str) -> String {
        let code = match style {
            Style::Good => "32",
            Style::Bad => "31",
            Style::Dim => "2",
            Style::Bold => "1",
        };
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// One line of text.
    pub(super) fn line(&self, text: &str) {
        self.put(&format!("{text}\n"));
    }

    /// A heading, with an empty line before it.
    pub(super) fn heading(&self, text: &str) {
        self.line(&format!("\n{}", self.paint(Style::Bold, text)));
    }

    /// A named fact.
    pub(super) fn fact(&self, name: &str, text: &str) {
        self.line(&format!("  {} {text}", self.paint(Style::Dim, &format!("{name:<9}"))));
    }

    /// A line for a step that is running, on terminals only. The next [`settle`](Self::settle) or pending line replaces it.
    pub(super) fn pending(&self, text: &str) {
        if self.terminal {
            self.put(&format!("{}  {} {text} …", self.erase(), self.paint(Style::Dim, "·")));
        }
    }

    /// A line that comes in between, in place of one that is pending.
    pub(super) fn aside(&self, text: &str) {
        self.put(&format!("{}  {text}\n", self.erase()));
    }

    /// What takes a pending line away.
    fn erase(&self) -> &'static str {
        if self.terminal { "\r\x1b[2K" } else { "" }
    }

    /// A line with a tick or a cross.
    pub(super) fn settle(&self, good: bool, text: &str) {
        let mark = if good { self.paint(Style::Good, "✓") } else { self.paint(Style::Bad, "✗") };
        self.put(&format!("{}  {mark} {text}\n", self.erase()));
    }

    /// A remark beside the output proper.
    pub(super) fn note(&self, text: &str) {
        self.write(io::stderr(), &format!("{}cargo lab: {text}\n", self.erase()));
    }

    /// A line on stderr with nothing added, for what programs read there.
    pub(super) fn problem(&self, text: &str) {
        self.write(io::stderr(), &format!("{text}\n"));
    }

    /// Why the command cannot go on.
    pub(super) fn complain(&self, text: &str) {
        self.note(&format!("{} {text}", self.paint(Style::Bad, "error:")));
    }

    /// One JSON object on a line of its own, if JSON was asked for.
    pub(super) fn json(&self, object: &impl Serialize) {
        if self.json
            && let Ok(text) = serde_json::to_string(object)
        {
            self.write(io::stdout(), &format!("{text}\n"));
        }
    }

    fn put(&self, text: &str) {
        if self.json { self.write(io::stderr(), text) } else { self.write(io::stdout(), text) }
    }

    fn write(&self, mut to: impl Write, text: &str) {
        if let Some(kept) = &self.kept {
            kept.lock().unwrap_or_else(PoisonError::into_inner).push_str(text);
            return;
        }
        if to.write_all(text.as_bytes()).and_then(|()| to.flush()).is_err() {
            self.unread.notify_one();
        }
    }
}
