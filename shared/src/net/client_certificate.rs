//! A client's certificate and its key, for servers that ask for one besides the password.

use crate::error::{Code, Error, Fact, Result};
use crate::secret::SecretText;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, InconsistentKeys, RootCertStore};
use std::fmt;
use std::sync::Arc;

/// A client's certificate and its private key, as PEM texts that may not be usable. The key is not printed.
#[derive(Clone)]
pub struct ClientCertificate {
    /// The certificate, and those of intermediate CAs after it.
    pub certificate: String,
    /// The private key, which is not encrypted.
    pub key: SecretText,
}

/// The field that errors name, and the two keys in it.
const FIELD: &str = "rotation.clientCertificate";
const A_KEY: &str = "an RSA, ECDSA or Ed25519 key in PEM that is not encrypted";
const A_CERTIFICATE: &str =
    "an X.509 certificate of version 3 in PEM, with the authorities between it and the root after it";

impl ClientCertificate {
    /// Whether both are the same texts.
    pub fn same_as(&self, other: &Self) -> bool {
        self.certificate == other.certificate && self.key.expose() == other.key.expose()
    }

    /// The certificates and the key in the form that rustls takes, if a client can use them at this time.
    ///
    /// `roots` are any certificates at all: whether the server trusts the certificate, only the server knows.
    ///
    /// # Errors
    /// [`Code::ClientCertificateInvalid`]: text that is not PEM, a key that is encrypted, belongs to another certificate or is of a kind
    /// that TLS does not have, a certificate that has expired, is not valid yet or is not for clients.
    pub(super) fn usable(
        &self,
        provider: &Arc<CryptoProvider>,
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let chain = self.chain()?;
        let key = self.private_key()?;
        let certified = CertifiedKey::from_der(chain.clone(), key.clone_key(), provider);
        certified.map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                invalid("key", "the key of another certificate", "the key of this certificate")
            }
            // The key was read before it was compared with the certificate.
            rustls::Error::InvalidCertificate(_) => {
                // An authority's certificate may be of version 1, so its reader accepts one.
                let first = chain.first().cloned();
                let version_1 = first.is_some_and(|own| RootCertStore::empty().add(own).is_ok());
                let found = if version_1 {
                    "a certificate of X.509 version 1"
                } else {
                    "a CERTIFICATE block that cannot be used"
                };
                invalid("certificate", found, A_CERTIFICATE)
            }
            _ => invalid("key", "a key that TLS cannot use", A_KEY),
        })?;
        self.in_time(&chain, provider, roots, now)?;
        Ok((chain, key))
    }

    fn chain(&self) -> Result<Vec<CertificateDer<'static>>> {
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(self.certificate.as_bytes()).collect();
        match chain {
            Ok(chain) if chain.is_empty() => Err(invalid("certificate", "no CERTIFICATE block", A_CERTIFICATE)),
            Ok(chain) => Ok(chain),
            Err(_) => Err(invalid("certificate", "text that is not PEM", A_CERTIFICATE)),
        }
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        let text = self.key.expose();
        // PKCS #8 says so in the label (RFC 7468, section 11), the older forms in a header (RFC 1421, section 4.6.1.1).
        if text.contains("BEGIN ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            return Err(invalid("key", "an encrypted key", A_KEY));
        }
        PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|error| match error {
            PemError::NoItemsFound => invalid("key", "no PRIVATE KEY block", A_KEY),
            _ => invalid("key", "text that is not PEM", A_KEY),
        })
    }

    /// Asks as a server would, and ignores what only the server itself knows. What a certificate says of itself is looked at before who
    /// issued it.
    fn in_time(
        &self,
        chain: &[CertificateDer<'static>],
        provider: &Arc<CryptoProvider>,
        roots: &RootCertStore,
        now: UnixTime,
    ) -> Result<()> {
        let internal = || Error::new(Code::Internal).with(Fact::What, "the check of a client's certificate");
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots.clone()), Arc::clone(provider));
        let server = builder.build().map_err(|_| internal())?;
        let (own, others) = chain.split_first().ok_or_else(internal)?;
        let found = match server.verify_client_cert(own, others, now) {
            Err(rustls::Error::InvalidCertificate(error)) => match error {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => "a certificate that has expired",
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                    "a certificate that is not valid yet"
                }
                CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                    "a certificate that is not for clients: its extended key usage lacks clientAuth"
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        Err(invalid("certificate", found, "a client's certificate that is valid now"))
    }
}

impl fmt::Debug for ClientCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCertificate")
    }
}

fn invalid(key: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::ClientCertificateInvalid)
        .with(Fact::Field, format_args!("{FIELD}.{key}"))
        .with(Fact::Found, found)
        .with(Fact::Expected, expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::tls::Verifier;
    use lab::servers::certificates::TestCa;

    fn client(certificate: &str, key: &str) -> ClientCertificate {
        ClientCertificate { certificate: certificate.to_owned(), key: key.into() }
    }

    fn refused(certificate: &str, key: &str) -> (String, String) {
        let error = Verifier::with_client_certificate(&[], &client(certificate, key)).unwrap_err();
        assert_eq!(error.code(), Code::ClientCertificateInvalid);
        assert!(!format!("{error}{error:?}").contains("BEGIN"), "{error}");
        let fact = |fact| error.fact(fact).unwrap().to_owned();
        (fact(Fact::Field).replace("rotation.clientCertificate.", ""), fact(Fact::Found))
    }

    #[test]
    fn a_certificate_of_any_authority_can_be_used() {
        let good = TestCa::new("a CA that nobody trusts").unwrap().issue_client("app").unwrap();
        for certificate in [good.cert_pem().to_owned(), format!("{}{}", good.cert_pem(), good.ca_pem())] {
            let verifier = Verifier::with_client_certificate(&[], &client(&certificate, good.key_pem())).unwrap();
            assert!(verifier.client_certificate().is_some() && verifier.config().client_auth_cert_resolver.has_certs());
        }
        assert!(!Verifier::new(&[]).unwrap().config().client_auth_cert_resolver.has_certs());
    }

    #[test]
    fn each_mistake_is_named() {
        let ca = TestCa::new("CA").unwrap();
        let (good, other) = (ca.issue_client("app").unwrap(), ca.issue_client("app").unwrap());
        let (cert, key) = (good.cert_pem(), good.key_pem());
        let expired = ca.issue_expired_client("app").unwrap();
        let server = ca.issue(&["localhost"]).unwrap();
        let cut = |pem: &str| pem.replacen('\n', "\n!", 1);
        let encrypted = key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY");
        let of_old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n";
        for (certificate, key, field, found) in [
            ("pem", key, "certificate", "no CERTIFICATE block"),
            (key, key, "certificate", "no CERTIFICATE block"),
            (&cut(cert), key, "certificate", "text that is not PEM"),
            (VERSION_1, key, "certificate", "a certificate of X.509 version 1"),
            (NOT_X509, key, "certificate", "a CERTIFICATE block that cannot be used"),
            (cert, cert, "key", "no PRIVATE KEY block"),
            (cert, &cut(key), "key", "text that is not PEM"),
            (cert, NO_KEY, "key", "a key that TLS cannot use"),
            (cert, other.key_pem(), "key", "the key of another certificate"),
            (cert, &encrypted, "key", "an encrypted key"),
            (cert, of_old, "key", "an encrypted key"),
            (expired.cert_pem(), expired.key_pem(), "certificate", "a certificate that has expired"),
            (
                server.cert_pem(),
                server.key_pem(),
                "certificate",
                "a certificate that is not for clients: its extended key usage lacks clientAuth",
            ),
        ] {
            assert_eq!(refused(certificate, key), (field.to_owned(), found.to_owned()));
        }
    }

    #[test]
    fn a_certificate_that_begins_tomorrow_is_not_valid_yet() {
        let good = TestCa::new("CA").unwrap().issue_client("app").unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(good.ca_pem().as_bytes()).unwrap()).unwrap();
        let long_ago = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1));
        let error = client(good.cert_pem(), good.key_pem()).usable(&provider, &roots, long_ago).unwrap_err();
        assert_eq!(error.fact(Fact::Found), Some("a certificate that is not valid yet"));
    }

    #[test]
    fn the_key_is_not_shown() {
        let good = TestCa::new("CA").unwrap().issue_client("app").unwrap();
        assert_eq!(format!("{:?}", client(good.cert_pem(), good.key_pem())), "ClientCertificate");
    }

    const NOT_X509: &str = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    const NO_KEY: &str = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    /// Made with `openssl x509 -req`, for a hundred years.
    const VERSION_1: &str = "-----BEGIN CERTIFICATE-----\n\
        MIIBFjCBvQIUCirrV4pd/l/qILy077SPKHYUQLcwCgYIKoZIzj0EAwIwDTELMAkG\n\
        A1UEAwwCY2EwIBcNMjYxMTI5MTUyNzAyWhgPMjEyNjExMDUxNTI3MDJaMA0xCzAJ\n\
        BgNVBAMMAnYxMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEXspV7LjvRO94EZnu\n\
        ATytjoGFLxnkh3TheQQM/YFJnaLaGU9lhQYyHjv2m4oLjKnKJilgxMez/Th3+W5h\n\
        flKubzAKBggqhkjOPQQDAgNIADBFAiA3nMEPOPM/qDsigX/v67Tf6RF9TpKP+d2m\n\
        ON0uuODpygIhAMHnxqvX1ZHRnj7bsXFDFEDtpj6IvliSh/RZrSBB4H8K\n\
        -----END CERTIFICATE-----\n";
}
