//! The Lambda function that rotates the passwords of PostgreSQL users.

use lockstep_postgres::{EXCLUDE_CHARACTERS, engine};
use rotation::database::{DatabaseTarget, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::main(env!("CARGO_CRATE_NAME"), |environment| {
        Ok(DatabaseTarget::new(engine(environment)?, Settings::read(environment, EXCLUDE_CHARACTERS)?))
    })
}
