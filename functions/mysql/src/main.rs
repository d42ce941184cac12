//! The Lambda function that rotates the passwords of MySQL and MariaDB users.

use lockstep_mysql::{EXCLUDE_CHARACTERS, engine};
use rotation::database::{DatabaseTarget, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::main(env!("CARGO_CRATE_NAME"), |environment| {
        Ok(DatabaseTarget::new(engine(environment)?, Settings::read(environment, EXCLUDE_CHARACTERS)?))
    })
}
