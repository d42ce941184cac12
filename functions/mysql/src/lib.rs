//! Rotates the passwords of MySQL and MariaDB users.

mod catalog;
mod connect;
mod engine;
mod lock;
mod observed_pair;
mod ownership;
mod pair;
mod sessions;
mod settings;
mod single;
mod sql;

pub use settings::EXCLUDE_CHARACTERS;

use engine::MySql;
use rotation::Result;
use rotation::database::Engine;
use rotation::environment::Environment;
use settings::Settings;

/// MySQL and MariaDB as an engine, with the deployer's settings.
///
/// # Errors
/// A setting that cannot be read.
pub fn engine(environment: &Environment) -> Result<impl Engine + use<>> {
    Ok(MySql::new(Settings::read(environment)?))
}
