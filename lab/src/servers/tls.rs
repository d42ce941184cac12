//! Whether a throwaway server has TLS, and under which name.

use super::certificates::{Certificate, TestCa};
use super::error::Result;

/// The name in the default certificate, and the one to connect to: certificates are rarely for addresses.
pub(super) const HOST: &str = "localhost";

/// The name by which containers call this machine; see [`containers`](crate::containers).
pub const CONTAINERS_HOST: &str = "host.docker.internal";

/// Whether a server has TLS, and whether it insists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Tls {
    /// Connections without TLS are refused, as on RDS with `rds.force_ssl`, the default there since PostgreSQL 15, or
    /// with MySQL's `require_secure_transport`.
    #[default]
    Required,
    /// With and without.
    Offered,
    /// Without only.
    Off,
}

impl Tls {
    /// The certificate that a server presents: the given one, or one for this machine from a new CA.
    pub(super) fn certificate(self, given: Option<Certificate>) -> Result<Option<Certificate>> {
        match (self, given) {
            (Self::Off, _) => Ok(None),
            (Self::Required | Self::Offered, Some(certificate)) => Ok(Some(certificate)),
            (Self::Required | Self::Offered, None) => {
                TestCa::new("Lockstep lab CA")?.issue(&[HOST, "127.0.0.1", CONTAINERS_HOST]).map(Some)
            }
        }
    }
}
