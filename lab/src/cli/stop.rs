//! How the command ends early.

use super::screen::Screen;
use tokio::signal::unix::{SignalKind, signal};

/// Why the command ends without success.
#[derive(Debug)]
pub(super) enum Stop {
    /// A rotation or a proof failed, and the screen says why.
    Failed,
    /// The arguments do not fit together.
    Usage(String),
    /// This could not be set up.
    Setup(String),
    Interrupted,
    /// The reader of the output has closed it.
    Unread,
}

impl Stop {
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage(_) => 2,
            Self::Setup(_) => 3,
            Self::Interrupted => 130,
            Self::Unread => 141,
        }
    }
}

/// Waits for SIGINT or SIGTERM. The next one ends the process at once.
pub(super) async fn interrupted(screen: &Screen) -> Stop {
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return Stop::Setup("signals cannot be handled here".to_owned());
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    screen.note("interrupted: cleaning up (once more to leave at once)");
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(i32::from(Stop::Interrupted.code()));
    });
    Stop::Interrupted
}
