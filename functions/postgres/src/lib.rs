//! Rotates the passwords of PostgreSQL users.

mod catalog;
mod connect;
mod engine;
mod lock;
mod observed_pair;
mod owned;
mod pair;
mod sessions;
mod settings;
mod single;
mod sql;

pub use settings::EXCLUDE_CHARACTERS;

use engine::Postgres;
use rotation::Result;
use rotation::database::Engine;
use rotation::environment::Environment;
use settings::Settings;

/// PostgreSQL as an engine, with the deployer's settings.
///
/// # Errors
/// A setting that cannot be read.
pub fn engine(environment: &Environment) -> Result<impl Engine + use<>> {
    Ok(Postgres::new(Settings::read(environment)?))
}
