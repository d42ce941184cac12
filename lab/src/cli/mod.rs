//! The `cargo lab` command.

mod client;
mod proof;
mod rotate;
mod screen;
mod serve;
mod setup;
mod steps;

use clap::{Args, Parser, Subcommand, ValueEnum};
use screen::Screen;
use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// Rotate database passwords on this machine, with the real release binaries.
///
/// Without a subcommand: the demonstration. It builds the PostgreSQL function, starts a local AWS (Secrets Manager and
/// Lambda) and a throwaway PostgreSQL with TLS, stores a secret, rotates it, and proves the outcome. Nothing is
/// installed, nothing outside this machine is touched, and everything is cleaned up at the end.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    rotated, and the outcome proved (serve: never)
  1    a rotation or a proof failed
  2    wrong usage
  3    could not set up: the build, a server, a port
  130  interrupted; everything was cleaned up
  141  whoever read the output went away

Environment:
  NO_COLOR  no colours (there are none when the output is not a terminal)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Rotate a secret of a throwaway database, once or many times.
    #[command(after_help = EXIT_CODES)]
    Rotate {
        #[command(subcommand)]
        engine: Engine,
    },
    /// Stay up as a local AWS with one secret, for the AWS CLI, any AWS SDK and psql.
    #[command(after_help = EXIT_CODES)]
    Serve {
        /// The port to serve AWS on (loopback only).
        #[arg(long, default_value_t = 4566)]
        port: u16,
        #[command(flatten)]
        target: Target,
    },
}

#[derive(Debug, Subcommand)]
enum Engine {
    /// Rotate the password of a PostgreSQL user.
    #[command(after_help = EXIT_CODES)]
    Postgres {
        #[command(flatten)]
        target: Target,
        /// How many rotations, one after another.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
        times: u32,
        /// Print one JSON object per step to stdout, and a last one for the whole; everything else goes to stderr.
        #[arg(long)]
        json: bool,
    },
}

#[derive(Args, Clone, Debug)]
struct Target {
    /// Whose password changes.
    #[arg(long, value_enum, default_value_t = Strategy::SingleUser)]
    strategy: Strategy,
    /// The major version of the throwaway PostgreSQL.
    #[arg(long, value_enum, default_value_t = Major::V15)]
    postgres: Major,
    /// Use this function binary instead of building it.
    #[arg(long, value_name = "PATH")]
    function: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Strategy {
    /// The user's own password, changed by that user.
    SingleUser,
    /// Two users in turn, changed by a superuser: the previous credential keeps working.
    AlternatingUsers,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Major {
    #[value(name = "15")]
    V15,
    #[value(name = "18")]
    V18,
}

impl Default for Target {
    fn default() -> Self {
        Self { strategy: Strategy::SingleUser, postgres: Major::V15, function: None }
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SingleUser => "single-user",
            Self::AlternatingUsers => "alternating-users",
        })
    }
}

/// Why the command ends without success.
#[derive(Debug)]
enum Stop {
    /// A rotation or a proof failed; what and why is on the screen.
    Failed,
    /// This could not be set up.
    Setup(String),
    Interrupted,
    /// Nobody reads the output any more.
    Unread,
}

impl Stop {
    fn code(&self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Setup(_) => 3,
            Self::Interrupted => 130,
            Self::Unread => 141,
        }
    }
}

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let screen = Screen::new(arguments.wants_json());
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return finish(&screen, Err(Stop::Setup(format!("no threads could be started: {error}")))),
    };
    let result = runtime.block_on(supervise(arguments, &screen));
    // A download that was interrupted must not hold up the exit.
    runtime.shutdown_timeout(Duration::from_secs(2));
    finish(&screen, result)
}

fn finish(screen: &Screen, result: Result<(), Stop>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(stop) => {
            if let Stop::Setup(reason) = &stop {
                screen.complain(reason);
            }
            stop.code().into()
        }
    }
}

impl Arguments {
    fn wants_json(&self) -> bool {
        matches!(&self.command, Some(Command::Rotate { engine: Engine::Postgres { json: true, .. } }))
    }
}

/// Runs the command until it ends or must end. Whatever it started is dropped, and with that ended, before this returns.
async fn supervise(arguments: Arguments, screen: &Screen) -> Result<(), Stop> {
    tokio::select! {
        result = run(arguments, screen) => result,
        stop = interrupted(screen) => Err(stop),
        () = screen.unread() => Err(Stop::Unread),
    }
}

async fn run(arguments: Arguments, screen: &Screen) -> Result<(), Stop> {
    match arguments.command {
        None => rotate::demonstrate(screen).await,
        Some(Command::Rotate { engine: Engine::Postgres { target, times, .. } }) => {
            rotate::rotate(screen, &target, times).await
        }
        Some(Command::Serve { port, target }) => serve::serve(screen, port, &target).await,
    }
}

/// Waits for SIGINT or SIGTERM. The next one after that ends the process on the spot.
async fn interrupted(screen: &Screen) -> Stop {
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

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            &["lab", "rotate"][..],
            &["lab", "rotate", "oracle"],
            &["lab", "rotate", "postgres", "--times", "0"],
            &["lab", "rotate", "postgres", "--strategy", "none"],
            &["lab", "rotate", "postgres", "--postgres", "9"],
            &["lab", "serve", "--port", "70000"],
        ] {
            assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
