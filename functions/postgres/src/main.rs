//! The Lambda function that rotates the passwords of PostgreSQL users.

mod connect;
mod engine;
mod guard;
mod pair;
mod quote;
mod roles;
mod single;
mod sqlstate;
mod transaction;
mod verifier;

use engine::Postgres;
use rotation::database::DatabaseTarget;
use rotation::environment::Defaults;
use std::process::ExitCode;

/// What AWS's function for PostgreSQL leaves out: characters that trouble connection strings and shells.
const DEFAULTS: Defaults = Defaults { exclude_characters: ":/@\"'\\" };

fn main() -> ExitCode {
    rotation::lambda::main(env!("CARGO_CRATE_NAME"), DEFAULTS, |settings| {
        Ok(DatabaseTarget::new(Postgres::new(settings), settings))
    })
}
