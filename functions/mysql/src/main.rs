//! The Lambda function that rotates the passwords of MySQL and MariaDB users.

mod catalog;
mod connect;
mod engine;
mod lock;
mod observed_pair;
mod pair;
mod settings;
mod single;
mod sql;

use engine::MySql;
use rotation::database::{self, DatabaseTarget};
use settings::{EXCLUDE_CHARACTERS, Settings};
use std::process::ExitCode;

fn main() -> ExitCode {
    rotation::lambda::main(env!("CARGO_CRATE_NAME"), |environment| {
        let engine = MySql::new(Settings::read(environment)?);
        Ok(DatabaseTarget::new(engine, database::Settings::read(environment, EXCLUDE_CHARACTERS)?))
    })
}
