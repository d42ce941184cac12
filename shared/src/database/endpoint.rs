//! Where a database server is, and how to talk to it.

use crate::net::tls::Verifier;

/// A server and a database on it, as a secret describes them.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// The host's name or address, as in the secret.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The database to connect to, where the engine needs one.
    pub database: Option<String>,
    /// Plaintext or verified TLS. There is no fallback between them.
    pub transport: Transport,
}

/// How bytes travel to the server.
#[derive(Clone, Debug)]
pub enum Transport {
    /// The secret says `"ssl": false`.
    Plaintext,
    /// TLS, with the server's certificate verified.
    Tls {
        /// The name the certificate must be for: the host, or `rotation.tlsServerName`.
        server_name: String,
        /// The trusted CAs.
        verifier: Verifier,
    },
}
