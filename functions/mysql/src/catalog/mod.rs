//! What the grant tables say about users: their accounts, and what those may do.

pub(crate) mod accounts;
pub(crate) mod grants;
pub(crate) mod options;
pub(crate) mod power;
pub(crate) mod sockets;
