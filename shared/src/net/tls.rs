//! Which certificates are trusted: the bundled Amazon roots, and a CA that the deployer or the secret names.

use crate::clock::since_epoch;
use crate::error::{Code, Error, Fact, Result};
use crate::net::client_certificate::ClientCertificate;
use crate::net::connection::cause;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The Amazon RDS root certificates of all regions and the Amazon Trust Services roots, which RDS Proxy and Aurora
/// Serverless use. shared/data/README.md says where they come from.
const AMAZON_ROOTS: &[u8] = include_bytes!("../../data/rds-ca-bundle.pem");

/// A TLS client configuration: verified certificates, TLS 1.2 or 1.3, one crypto provider. Cheap to clone.
#[derive(Clone)]
pub struct Verifier {
    config: Arc<ClientConfig>,
    /// Further trusted certificates, as PEM text.
    extra: Arc<Vec<String>>,
    /// What a server gets that asks for a client's certificate.
    client: Option<Arc<ClientCertificate>>,
}

impl Verifier {
    /// Trusts the bundled Amazon roots and, in addition, the certificates in each of `extra` (PEM text with the name of the
    /// field or variable it came from).
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`] if a bundle is not PEM or holds no certificate.
    pub fn new(extra: &[(&str, &str)]) -> Result<Self> {
        Self::over(amazon_roots()?, extra, None)
    }

    /// The same, with a certificate for servers that ask for a client's.
    ///
    /// # Errors
    /// As for [`new`](Self::new); [`Code::ClientCertificateInvalid`] if no client can use the certificate and its key now.
    pub fn with_client_certificate(extra: &[(&str, &str)], client: &ClientCertificate) -> Result<Self> {
        Self::over(amazon_roots()?, extra, Some(client))
    }

    /// Trusts `roots` and the certificates in `extra`. For servers on the public internet.
    ///
    /// # Errors
    /// As for [`new`](Self::new).
    pub fn with_roots(roots: &[TrustAnchor<'static>], extra: &[(&str, &str)]) -> Result<Self> {
        Self::over(RootCertStore { roots: roots.to_vec() }, extra, None)
    }

    fn over(mut roots: RootCertStore, extra: &[(&str, &str)], client: Option<&ClientCertificate>) -> Result<Self> {
        for (field, pem) in extra {
            let invalid =
                |found: &str| Error::new(Code::CaBundleInvalid).with(Fact::Field, field).with(Fact::Found, found);
            let mut added = 0;
            for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                let certificate = certificate.map_err(|_| invalid("text that is not PEM"))?;
                roots.add(certificate).map_err(|_| invalid("a CERTIFICATE block that is not an X.509 certificate"))?;
                added += 1;
            }
            if added == 0 {
                return Err(invalid("no CERTIFICATE block"));
            }
        }
        let internal = |what: &str| Error::new(Code::Internal).with(Fact::What, what);
        let now = UnixTime::since_unix_epoch(since_epoch());
        let identity = client.map(|client| client.usable(&provider(), &roots, now)).transpose()?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|_| internal("TLS protocol versions"))?
            .with_root_certificates(roots);
        let config = match identity {
            None => config.with_no_client_auth(),
            Some((chain, key)) => {
                config.with_client_auth_cert(chain, key).map_err(|_| internal("a client's certificate"))?
            }
        };
        let extra = extra.iter().map(|(_, pem)| (*pem).to_owned()).collect();
        let client = client.cloned().map(Arc::new);
        Ok(Self { config: Arc::new(config), extra: Arc::new(extra), client })
    }

    /// The configuration for a TLS library built on rustls.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// Everything that is trusted, as PEM texts, for a TLS library that accepts only PEM.
    pub fn trusted(&self) -> impl Iterator<Item = &[u8]> {
        [AMAZON_ROOTS].into_iter().chain(self.extra.iter().map(String::as_bytes))
    }

    /// The client's certificate, for a TLS library that accepts only PEM.
    pub fn client_certificate(&self) -> Option<&ClientCertificate> {
        self.client.as_deref()
    }
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier")
    }
}

/// The name that the server's certificate must have.
///
/// # Errors
/// [`Code::FieldInvalid`] if no certificate can have this name.
pub fn server_name(name: &str) -> Result<ServerName<'static>> {
    let name = ServerName::try_from(name).map(|name| name.to_owned());
    name.map_err(|_| {
        Error::new(Code::FieldInvalid)
            .with(Fact::Field, "host, or rotation.tlsServerName")
            .with(Fact::Found, "a name that no certificate can be for")
            .with(Fact::Expected, "a DNS name or an IP address")
    })
}

/// The error of a failed handshake. `None` if TLS is not the cause.
pub fn failure(error: &(dyn std::error::Error + 'static)) -> Option<Error> {
    let code = match cause::<rustls::Error>(error)? {
        rustls::Error::InvalidCertificate(certificate) => match certificate {
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => Code::TlsCertificateExpired,
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Code::TlsUnknownIssuer,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Code::TlsNameMismatch
            }
            _ => Code::TlsFailed,
        },
        rustls::Error::AlertReceived(alert) if is_about_the_client(*alert) => Code::ClientCertificateRefused,
        _ => Code::TlsFailed,
    };
    Some(Error::new(code))
}

/// Whether a server says with an alert that it does not accept the client's certificate, or wants one (RFC 8446, section 6.2).
fn is_about_the_client(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::NoCertificate
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::CertificateRequired
    )
}

fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    Arc::clone(PROVIDER.get_or_init(|| Arc::new(rustls::crypto::aws_lc_rs::default_provider())))
}

fn amazon_roots() -> Result<RootCertStore> {
    static ROOTS: OnceLock<Option<RootCertStore>> = OnceLock::new();
    let parse = || {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(AMAZON_ROOTS) {
            roots.add(certificate.ok()?).ok()?;
        }
        Some(roots)
    };
    ROOTS.get_or_init(parse).clone().ok_or_else(|| Error::new(Code::Internal).with(Fact::What, "the bundled roots"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundle_holds_the_rds_and_the_trust_services_roots() {
        let subjects: Vec<String> = amazon_roots()
            .unwrap()
            .roots
            .iter()
            .map(|root| String::from_utf8_lossy(&root.subject).into_owned())
            .collect();
        assert!(subjects.iter().filter(|subject| subject.contains("Amazon RDS")).count() >= 87);
        for name in ["Amazon Root CA 1", "Amazon Root CA 2", "Amazon Root CA 3", "Amazon Root CA 4"] {
            assert!(subjects.iter().any(|subject| subject.contains(name)), "{name}");
        }
    }

    #[test]
    fn a_bundle_without_a_certificate_is_named() {
        for (pem, found) in [
            ("", "no CERTIFICATE block"),
            ("-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n", "text that is not PEM"),
        ] {
            let error = Verifier::new(&[("rotation.caBundle", pem)]).unwrap_err();
            assert_eq!(error.code(), Code::CaBundleInvalid);
            assert_eq!(error.fact(Fact::Field), Some("rotation.caBundle"));
            assert_eq!(error.fact(Fact::Found), Some(found));
        }
    }
}
