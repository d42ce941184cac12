//! Connections to servers: which certificates are trusted, how a connection can break, and how much memory an answer takes.

pub mod client_certificate;
pub mod connection;
pub mod tcp;
pub mod tls;
pub mod weight;
