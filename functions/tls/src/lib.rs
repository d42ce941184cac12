//! Rotates TLS certificates of any CA that speaks ACME (RFC 8555), and the keys of accounts at such CAs.
//!
//! [`acme`] is the protocol over [`http`]; [`dns`] answers a CA's challenges in Route 53; [`certificate`] is what is read from a
//! certificate and proved of it; [`outlet`] is where a certificate is handed to; [`target`] is what the four steps of a rotation do.

pub mod acme;
pub mod certificate;
pub mod dns;
mod encoding;
pub mod http;
pub mod outlet;
pub mod settings;
pub mod target;
#[cfg(test)]
mod testing;
