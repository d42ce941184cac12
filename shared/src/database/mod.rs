//! What the database functions share: where a server is, how a login can end, and which users are touched.

mod endpoint;
mod observation;

pub use endpoint::{Endpoint, Transport};
pub use observation::{LoginFailure, Observation};
