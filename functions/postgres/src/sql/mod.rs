//! How statements are built: what begins them, and how values become a part of them.

pub(crate) mod password;
pub(crate) mod preamble;
pub(crate) mod quote;
