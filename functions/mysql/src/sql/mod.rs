//! How statements are built: what begins them, how values become a part of them, and which ones change a user.

pub(crate) mod changes;
pub(crate) mod hash;
pub(crate) mod password;
pub(crate) mod preamble;
pub(crate) mod quote;
