//! Connections to servers: whom to trust, and how a connection can break.

pub mod connection;
pub mod tls;
