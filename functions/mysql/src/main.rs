//! The Lambda function that rotates the passwords of MySQL and MariaDB users.

mod accounts;
mod changes;
mod connect;
mod engine;
mod errno;
mod frame;
mod grants;
mod hash;
mod options;
mod own;
mod pair;
mod password;
mod power;
mod quote;
mod rescue;
mod siblings;

use engine::MySql;
use rotation::database::DatabaseTarget;
use rotation::environment::Defaults;
use std::process::ExitCode;

/// What AWS's functions for MySQL and MariaDB leave out: characters that trouble connection strings and shells.
const DEFAULTS: Defaults = Defaults { exclude_characters: "/@\"'\\" };

fn main() -> ExitCode {
    rotation::lambda::main(env!("CARGO_CRATE_NAME"), DEFAULTS, |settings| {
        Ok(DatabaseTarget::new(MySql::new(settings), settings))
    })
}
