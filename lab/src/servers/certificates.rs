//! A test CA. What it issues is as good, or as bad, as a test needs: for a name mismatch issue it for another name; for a
//! wrong CA let another [`TestCa`] issue it.

use super::Result;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use std::fmt;
use time::{Duration, OffsetDateTime};

/// How far back validity begins, so that a clock that was set back in between does no harm.
const BACKDATED: Duration = Duration::days(1);
/// Long enough for a lab that stays up.
const VALID: Duration = Duration::days(365);

/// A certificate authority for one test or one lab. Its key is never written anywhere.
pub struct TestCa {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A server's or a client's certificate with its key, and the CA to verify it with.
#[derive(Clone)]
pub struct Certificate {
    cert_pem: String,
    key_pem: String,
    ca_pem: String,
}

impl TestCa {
    /// A new authority of that common name.
    ///
    /// # Errors
    /// If the system's cryptography fails.
    pub fn new(name: &str) -> Result<Self> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.not_before = OffsetDateTime::now_utc() - VALID;
        params.not_after = OffsetDateTime::now_utc() + VALID;
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    /// The authority's own certificate.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// A certificate for a server of these DNS names and IP addresses.
    ///
    /// # Errors
    /// If a name cannot stand in a certificate.
    pub fn issue(&self, names: &[&str]) -> Result<Certificate> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(names, now - BACKDATED, now + VALID)
    }

    /// The same, expired a day ago.
    ///
    /// # Errors
    /// As for [`issue`](Self::issue).
    pub fn issue_expired(&self, names: &[&str]) -> Result<Certificate> {
        let now = OffsetDateTime::now_utc();
        self.issue_between(names, now - Duration::days(30), now - Duration::days(1))
    }

    /// A certificate for a client, with this common name: a user's, where the server compares them.
    ///
    /// # Errors
    /// If the system's cryptography fails.
    pub fn issue_client(&self, name: &str) -> Result<Certificate> {
        let now = OffsetDateTime::now_utc();
        self.issue_client_between(name, now - BACKDATED, now + VALID)
    }

    /// The same, expired a day ago.
    ///
    /// # Errors
    /// As for [`issue_client`](Self::issue_client).
    pub fn issue_expired_client(&self, name: &str) -> Result<Certificate> {
        let now = OffsetDateTime::now_utc();
        self.issue_client_between(name, now - Duration::days(30), now - Duration::days(1))
    }

    fn issue_client_between(&self, name: &str, from: OffsetDateTime, until: OffsetDateTime) -> Result<Certificate> {
        let mut params = CertificateParams::default();
        params.distinguished_name = common_name(name);
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth, from, until)
    }

    fn issue_between(&self, names: &[&str], from: OffsetDateTime, until: OffsetDateTime) -> Result<Certificate> {
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>())?;
        params.distinguished_name = common_name(names.first().copied().unwrap_or("server"));
        self.sign(params, ExtendedKeyUsagePurpose::ServerAuth, from, until)
    }

    fn sign(
        &self,
        mut params: CertificateParams,
        purpose: ExtendedKeyUsagePurpose,
        from: OffsetDateTime,
        until: OffsetDateTime,
    ) -> Result<Certificate> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![purpose];
        params.use_authority_key_identifier_extension = true;
        params.not_before = from;
        params.not_after = until;
        let key = KeyPair::generate()?;
        let cert_pem = params.signed_by(&key, &self.issuer)?.pem();
        Ok(Certificate { cert_pem, key_pem: key.serialize_pem(), ca_pem: self.pem.clone() })
    }
}

impl fmt::Debug for TestCa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TestCa")
    }
}

impl Certificate {
    /// The certificate.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// Its private key. Keep it out of anything that is printed.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The certificate of the authority that issued it.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Certificate")
    }
}

fn common_name(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls::pki_types::pem::PemObject as _;
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;

    fn verify(ca: &TestCa, certificate: &Certificate, name: &str) -> Result<(), String> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.pem().as_bytes()).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        let leaf = CertificateDer::from_pem_slice(certificate.cert_pem().as_bytes()).unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let verdict = verifier.verify_server_cert(&leaf, &[], &name, &[], UnixTime::now());
        verdict.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn each_kind_of_certificate_is_judged_as_meant() {
        let ca = TestCa::new("Test CA").unwrap();
        let good = ca.issue(&["localhost", "127.0.0.1"]).unwrap();
        assert_eq!(verify(&ca, &good, "localhost"), Ok(()));
        assert_eq!(verify(&ca, &good, "127.0.0.1"), Ok(()));

        let expired = verify(&ca, &ca.issue_expired(&["localhost"]).unwrap(), "localhost").unwrap_err();
        assert!(expired.contains("expired"), "{expired}");
        let mismatch = verify(&ca, &ca.issue(&["db.example.com"]).unwrap(), "localhost").unwrap_err();
        assert!(mismatch.contains("not valid for name"), "{mismatch}");
        let other = TestCa::new("Test CA").unwrap();
        assert!(verify(&ca, &other.issue(&["localhost"]).unwrap(), "localhost").is_err());
    }

    #[test]
    fn a_key_is_not_shown() {
        let certificate = TestCa::new("Test CA").unwrap().issue(&["localhost"]).unwrap();
        assert!(certificate.key_pem().contains("PRIVATE KEY"));
        assert_eq!(format!("{certificate:?}"), "Certificate");
    }
}
