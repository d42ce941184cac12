//! Issuers of API keys, as a rotation function meets them: over HTTPS, disturbed by the rules of
//! [`disturb`](crate::disturb).
//!
//! * [`Https`]: serves any router, such as the double of a vendor's API

mod https;

pub use https::{Https, Recorded, Stale};
