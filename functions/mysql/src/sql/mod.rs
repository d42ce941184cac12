//! Where statements are built.

pub(crate) mod changes;
pub(crate) mod hash;
pub(crate) mod password;
pub(crate) mod preamble;
pub(crate) mod quote;

#[cfg(test)]
mod fuzz;
