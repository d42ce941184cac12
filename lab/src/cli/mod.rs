//! The `cargo lab` command.

mod attached;
mod bar;
mod certificate;
mod chaos;
mod check;
mod client;
mod consumers;
mod database;
mod diagnose;
mod fleet;
mod issued_key;
mod kinds;
mod load;
mod named;
mod obtain;
mod options;
mod proof;
mod report;
mod rotate;
mod screen;
mod serve;
mod setup;
mod signing_key;
mod steps;
mod stop;
mod target;
mod versions;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory, Error, Parser, Subcommand, ValueEnum};
use options::{MariaDbVersion, PostgresVersion, WhichProfile};
use screen::Screen;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use stop::{Stop, interrupted};
use target::{Engine, Function, Strategy, Target};

/// Rotate database passwords and API keys on this machine, with the functions that are deployed.
///
/// Without a subcommand: the demonstration, with PostgreSQL, with MySQL and with an issuer of API keys. It builds the function,
/// starts a local AWS (Secrets Manager and Lambda) and a throwaway server with TLS, stores a secret, rotates it, and proves the
/// outcome.
/// Nothing is installed, nothing outside this machine is touched, and everything is cleaned up at the end.
#[derive(Debug, Parser)]
#[command(name = "cargo lab", bin_name = "cargo lab", version, after_help = EXIT_CODES, max_term_width = 110)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    profile: WhichProfile,
}

const EXIT_CODES: &str = "\
Exit codes:
  0    rotated, and the outcome proved (check-issuer, diagnose, chaos, load, consumers: nothing is wrong; recover: recovered; serve: never)
  1    a rotation or a proof failed (check-issuer: mistakes, differences, or a failed trial; diagnose: not healthy; recover: refused;
       chaos: a violation; load: a login was refused that may not be, or a secret was not rotated; consumers: a query failed)
  2    wrong usage
  3    could not set up: the build, a server, a port, a file (diagnose, recover, report: no lab, or no such secret)
  130  interrupted; everything was cleaned up
  141  the reader of the output has closed it

Environment:
  NO_COLOR  no colours (there are none when the output is not a terminal)";

#[derive(Debug, Subcommand)]
enum Command {
    /// Rotate a secret of a throwaway database or issuer of API keys, once or many times.
    #[command(after_help = EXIT_CODES)]
    Rotate {
        #[command(subcommand)]
        engine: Rotate,
    },
    /// Stay up as a local AWS, for the AWS CLI, any AWS SDK and the databases' own clients: with secrets that are ready to rotate, with
    /// your own, and with rotation functions of your own.
    #[command(after_help = EXIT_CODES)]
    Serve(serve::Serve),
    /// Show what is wrong with a secret of a running `cargo lab serve`: its versions, which of them work, and what to do next.
    #[command(after_help = EXIT_CODES)]
    Diagnose(diagnose::Asked),
    /// Do what leads out of what `diagnose` finds, if that is safe.
    #[command(after_help = EXIT_CODES)]
    Recover(diagnose::Asked),
    /// Print a report of a running `cargo lab serve` for auditors: each secret's cadence, last rotation and exceptions, as CSV.
    #[command(after_help = EXIT_CODES)]
    Report(report::Report),
    /// Check the description of an issuer of API keys: what is wrong with it, or what it would send; and try it.
    #[command(after_help = EXIT_CODES)]
    CheckIssuer(check::CheckIssuer),
    /// Try histories of rotations: faults at every external call, and what people do between any two calls.
    #[command(after_help = EXIT_CODES)]
    Chaos(chaos::Chaos),
    /// Put rotations under load: applications that log in all the time, and a fleet of secrets at a time.
    #[command(after_help = EXIT_CODES)]
    Load(load::Load),
    /// Rotate many secrets in waves, or at once after a leak, with the state machine that is deployed. Says only what it would do, unless
    /// asked for more.
    #[command(after_help = EXIT_CODES)]
    Fleet(fleet::Fleet),
    /// Let applications with the crate lockstep-secret query all the time while their secret rotates. No query may fail.
    #[command(after_help = EXIT_CODES)]
    Consumers(consumers::Consumers),
    /// Rotate with each strategy on every version of every server, and print a table of it.
    #[command(after_help = EXIT_CODES)]
    Versions(versions::Versions),
    /// Obtain the servers and tools that the lab and the tests need, so that nothing has to be downloaded later.
    #[command(after_help = EXIT_CODES)]
    Obtain,
}

#[derive(Debug, Subcommand)]
enum Rotate {
    /// Rotate the password of a PostgreSQL user.
    #[command(after_help = EXIT_CODES)]
    Postgres {
        /// Which user's password changes.
        #[arg(long, value_parser = choice(&[Strategy::SingleUser, Strategy::AlternatingUsers]), default_value_t = Strategy::SingleUser)]
        strategy: Strategy,
        #[command(flatten)]
        version: PostgresVersion,
        #[command(flatten)]
        run: Run,
    },
    /// Rotate the password of a MySQL user.
    #[command(after_help = EXIT_CODES)]
    Mysql {
        /// How the password changes, and of which user.
        #[arg(long, value_parser = choice(&[Strategy::DualPassword, Strategy::SingleUser, Strategy::AlternatingUsers]), default_value_t = Strategy::DualPassword)]
        strategy: Strategy,
        #[command(flatten)]
        run: Run,
    },
    /// Rotate the password of a MariaDB user.
    #[command(after_help = EXIT_CODES)]
    Mariadb {
        /// Which user's password changes.
        #[arg(long, value_parser = choice(&[Strategy::SingleUser, Strategy::AlternatingUsers]), default_value_t = Strategy::SingleUser)]
        strategy: Strategy,
        #[command(flatten)]
        version: MariaDbVersion,
        #[command(flatten)]
        run: Run,
    },
    /// Rotate an API key of the lab's own issuer, which has delays and limits, as real ones do.
    #[command(after_help = EXIT_CODES)]
    ApiKey {
        #[command(flatten)]
        run: Run,
    },
    /// Rotate the key that signs tokens, whose public part is published in a bucket before and after it signs.
    #[command(after_help = EXIT_CODES)]
    SigningKey {
        #[command(flatten)]
        run: Run,
    },
    /// Rotate a certificate of a throwaway CA that speaks ACME, whose challenges are answered in a double of Route 53.
    #[command(after_help = EXIT_CODES)]
    Tls {
        #[command(flatten)]
        run: Run,
    },
}

#[derive(Args, Clone, Debug)]
struct Run {
    /// How many rotations, one after another.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    times: u32,
    /// Print one JSON object per step to stdout, and a last one for the whole; everything else goes to stderr.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    function: WhichFunction,
}

#[derive(Args, Clone, Debug)]
struct WhichFunction {
    /// Use this function binary instead of building it.
    #[arg(long, value_name = "PATH", conflicts_with = "release")]
    function: Option<PathBuf>,
    #[command(flatten)]
    profile: WhichProfile,
}

impl From<WhichFunction> for Function {
    fn from(arguments: WhichFunction) -> Self {
        match arguments {
            WhichFunction { function: Some(path), .. } => Self::Own(path),
            WhichFunction { function: None, profile } => Self::Built(profile.into()),
        }
    }
}

impl Rotate {
    fn run(&self) -> &Run {
        match self {
            Self::Postgres { run, .. }
            | Self::Mysql { run, .. }
            | Self::Mariadb { run, .. }
            | Self::ApiKey { run }
            | Self::SigningKey { run }
            | Self::Tls { run } => run,
        }
    }
}

/// A parser that takes, and shows, these strategies alone.
fn choice(strategies: &'static [Strategy]) -> impl TypedValueParser<Value = Strategy> {
    let values = strategies.iter().filter_map(ValueEnum::to_possible_value);
    PossibleValuesParser::new(values).try_map(|name| Strategy::from_str(&name, false))
}

/// Runs the command that the process's arguments ask for.
pub fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| named_commands(error, std::env::args_os()).exit());
    let screen = Screen::new(arguments.wants_json());
    if let Some(Command::Chaos(arguments)) = &arguments.command {
        // It has runtimes of its own, in virtual time, and nothing to clean up.
        return finish(&screen, chaos::chaos(&screen, arguments));
    }
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
            if let Stop::Setup(reason) | Stop::Usage(reason) = &stop {
                screen.complain(reason);
            }
            stop.code().into()
        }
    }
}

impl Arguments {
    fn wants_json(&self) -> bool {
        match &self.command {
            Some(Command::Rotate { engine }) => engine.run().json,
            Some(Command::CheckIssuer(arguments)) => arguments.json,
            Some(Command::Chaos(arguments)) => arguments.json,
            Some(Command::Load(arguments)) => arguments.json,
            Some(Command::Fleet(arguments)) => arguments.json,
            Some(Command::Consumers(arguments)) => arguments.json,
            Some(Command::Versions(arguments)) => arguments.json,
            Some(Command::Diagnose(asked) | Command::Recover(asked)) => asked.json,
            Some(Command::Report(asked)) => asked.json,
            Some(Command::Serve(_) | Command::Obtain) | None => false,
        }
    }
}

/// The error, with the names of the commands that there are where it is about one that there is not.
fn named_commands(mut error: Error, line: impl Iterator<Item = OsString>) -> Error {
    let Some(ContextValue::String(wrong)) = error.get(ContextKind::InvalidSubcommand).cloned() else { return error };
    let mut command = Arguments::command();
    for word in line.skip(1).take_while(|word| *word != *wrong) {
        if let Some(named) = command.find_subcommand(&word) {
            command = named.clone();
        }
    }
    let names: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
    let tip = format!("the commands are {}", names.join(", "));
    error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![tip.into()]));
    error
}

/// Runs the command until it ends or must end. Everything that it started has ended when this returns.
async fn supervise(arguments: Arguments, screen: &Screen) -> Result<(), Stop> {
    if let Some(Command::CheckIssuer(arguments)) = &arguments.command {
        // It must send requests to clean up, so it handles signals itself.
        return check::check(screen, arguments).await;
    }
    tokio::select! {
        result = run(arguments, screen) => result,
        stop = interrupted(screen) => Err(stop),
        () = screen.unread() => Err(Stop::Unread),
    }
}

async fn run(arguments: Arguments, screen: &Screen) -> Result<(), Stop> {
    match arguments.command {
        None => rotate::demonstrate(screen, arguments.profile.into()).await,
        Some(Command::Rotate { engine }) => {
            let Run { times, function, .. } = engine.run().clone();
            let function = function.into();
            let target = match engine {
                Rotate::Postgres { strategy, version, .. } => {
                    Target { postgres: version.postgres, ..Target::new(Engine::Postgres, strategy, function) }
                }
                Rotate::Mysql { strategy, .. } => Target::new(Engine::Mysql, strategy, function),
                Rotate::Mariadb { strategy, version, .. } => {
                    Target { mariadb: version.mariadb, ..Target::new(Engine::Mariadb, strategy, function) }
                }
                Rotate::ApiKey { .. } => return rotate::rotate_key(screen, &function, times).await,
                Rotate::SigningKey { .. } => return rotate::rotate_signing_key(screen, &function, times).await,
                Rotate::Tls { .. } => return rotate::rotate_certificate(screen, &function, times).await,
            };
            rotate::rotate_password(screen, &target, times).await
        }
        Some(Command::Serve(options)) => serve::serve(screen, &options).await,
        Some(Command::Diagnose(asked)) => diagnose::diagnose(screen, &asked).await,
        Some(Command::Recover(asked)) => diagnose::recover(screen, &asked).await,
        Some(Command::Report(asked)) => report::report(screen, &asked).await,
        Some(Command::CheckIssuer(arguments)) => check::check(screen, &arguments).await,
        Some(Command::Chaos(arguments)) => chaos::chaos(screen, &arguments),
        Some(Command::Load(arguments)) => load::load(screen, &arguments).await,
        Some(Command::Fleet(arguments)) => fleet::fleet(screen, &arguments).await,
        Some(Command::Consumers(arguments)) => consumers::consumers(screen, &arguments).await,
        Some(Command::Versions(arguments)) => versions::versions(screen, &arguments).await,
        Some(Command::Obtain) => obtain::obtain(screen).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            &["lab", "rotate", "postgres", "--strategy", "dual-password"],
            &["lab", "rotate", "mariadb", "--strategy", "dual-password"],
            &["lab", "rotate", "mysql", "--postgres", "18"],
            &["lab", "rotate", "postgres", "--postgres", "9"],
            &["lab", "rotate", "mariadb", "--mariadb", "10.4"],
            &["lab", "rotate", "api-key", "--strategy", "single-user"],
            &["lab", "rotate", "signing-key", "--strategy", "single-user"],
            &["lab", "rotate", "tls", "--strategy", "single-user"],
            &["lab", "serve", "--port", "70000"],
            &["lab", "serve", "--for-containers=0.0.0.0"],
            &["lab", "serve", "--for-containers=127.0.0.1"],
            &["lab", "serve", "--for-containers", "--with", "oracle"],
            &["lab", "serve", "--for-containers", "--release"],
            &["lab", "serve", "--lambda-endpoint", "127.0.0.1:3001"],
            &["lab", "serve", "--lambda-endpoint", "http://127.0.0.1:3001/2015-03-31"],
            &["lab", "load", "--engine", "oracle"],
            &["lab", "consumers", "--strategy", "none"],
            &["lab", "consumers", "--times", "0"],
            &["lab", "versions", "--engine", "api-key"],
            &["lab", "load", "--concurrency", "0"],
            &["lab", "fleet", "--per-second", "26"],
            &["lab", "fleet", "everything"],
            &["lab", "load", "--writes", "51"],
            &["lab", "diagnose", "a", "b"],
            &["lab", "recover", "--port", "70000"],
            &["lab", "report", "a"],
            &["lab", "check-issuer"],
            &["lab", "check-issuer", "--built-in", "nobody"],
            &["lab", "check-issuer", "a.yaml", "--built-in", "datadog"],
            &["lab", "check-issuer", "a.yaml", "--against", "http://api.example.com"],
            &["lab", "check-issuer", "a.yaml", "--against", "http://localhost", "--replace-key"],
            &["lab", "check-issuer", "a.yaml", "--secret", "secret.json"],
            &["lab", "check-issuer", "a.yaml", "--excerpt", "a.json"],
            &["lab", "check-issuer", "a.yaml", "--openapi", "a.json", "--against", "https://localhost"],
        ] {
            assert_eq!(Arguments::try_parse_from(line).unwrap_err().exit_code(), 2, "{line:?}");
        }
    }
}
