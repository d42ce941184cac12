//! Issuers of API keys, as a rotation function meets them: over HTTPS, disturbed by the rules of
//! [`disturb`](crate::disturb).
//!
//! * [`Https`]: serves any router, such as the double of a vendor's API
//! * [`Issuer`]: the lab's own issuer, which behaves like a real one
//! * [`Consumer`]: a user of its keys

mod consumer;
mod https;
mod keys;
mod routes;
mod state;

pub use consumer::{Consumer, Says};
pub use https::{Https, Recorded, Stale};
pub use keys::{Key, Options, Use};
pub use state::{DESCRIPTION, Issuer};
