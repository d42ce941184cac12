//! A published set of keys, and what it should become. Everything here is pure.
//!
//! [`set`] is the set as it is read and written, `growth` what a rotation makes of it, and [`changes`] what somebody else has made of it.

pub mod changes;
mod growth;
pub mod set;
#[cfg(test)]
mod testing;

pub use changes::Change;
pub(crate) use set::kid_of;
pub use set::{Owner, PublishedSet};
