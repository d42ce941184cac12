//! Connections to servers: which certificates are trusted, and how a connection can break.

pub mod connection;
pub mod tls;
