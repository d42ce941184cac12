//! Connections to servers: which addresses are allowed, which certificates are trusted, how a connection can break, and how much memory an
//! answer takes.

pub mod address;
pub mod client_certificate;
pub mod connection;
pub mod http;
pub mod tcp;
pub mod tls;
pub mod weight;
