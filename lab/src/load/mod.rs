//! Rotations under load.
//!
//! * [`consume`]: applications log in hundreds of times a second while their secret rotates. How many logins are refused, and for
//!   how long?
//! * [`rotate_fleet`]: many secrets rotate at a time under the service's own limits. Do all of them arrive, and in time?
//! * [`svg`]: a picture of the logins over a rotation
//!
//! Both run the functions' binaries against real servers with TLS, through the lab's Secrets Manager and Lambda.

mod consumers;
pub(crate) mod fleet;
mod kind;
mod memory;
mod plot;
mod profile;
pub(crate) mod server;
mod timeline;

pub use consumers::{Consumption, consume};
pub use fleet::{Fleet, FleetPlan, rotate_fleet};
pub use kind::{Engine, Kind, Strategy};
pub use plot::svg;
pub(crate) use plot::title;
pub use profile::{Bin, Profile};
pub use timeline::{Answer, Consumer, Count, Login, Record, Rotation, Summary, Times, Window};

use std::collections::BTreeMap;
use std::path::PathBuf;

/// The functions' binaries by the names of their packages.
pub type Functions = BTreeMap<&'static str, PathBuf>;

/// Is told how much is done, and of how much.
pub type Progress<'a> = &'a (dyn Fn(usize, usize) + Send + Sync);

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A server, a port or a secret could not be set up.
    #[error("{0}")]
    Setup(String),
    /// A rotation failed that the measurement is about.
    #[error("{0}")]
    Rotation(String),
}
