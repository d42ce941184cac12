//! What the server's grant tables say about users: their accounts, and what these may do.

pub(crate) mod accounts;
pub(crate) mod grants;
pub(crate) mod options;
pub(crate) mod power;
