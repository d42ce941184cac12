//! What functions in containers need to reach the lab on the machine outside: `sam local` runs each in one.
//!
//! * [`engine`]: which address of this machine the container engine's bridge has
//! * [`Forward`]: a loopback port of the lab, served at that address, too

pub mod engine;
mod forward;
mod subnet;

pub use forward::Forward;
pub use subnet::Subnet;

/// The name by which containers call the machine that they run on. The certificates of the lab's servers have it.
pub const HOST: &str = crate::servers::CONTAINERS_HOST;
