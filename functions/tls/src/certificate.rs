//! What is read from a certificate, and what is proved of it.

use crate::encoding::{encoded, pem};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rotation::clock::since_epoch;
use rotation::encoding::hex;
use rotation::net::tls::Verifier;
use rotation::protocol::target::Lifetime;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConnection, InconsistentKeys, ServerConfig, ServerConnection};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use x509_cert::der::{Decode as _, Encode as _};
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::ext::pkix::{AuthorityKeyIdentifier, SubjectAltName};

/// What a name below a wildcard is called where one is needed.
const BELOW_WILDCARD: &str = "lockstep-test";
/// A chain of a public CA has two or three certificates.
const LONGEST_CHAIN: usize = 10;

/// The kind of a certificate's key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyType {
    /// ECDSA on P-256.
    #[default]
    EcdsaP256,
    /// ECDSA on P-384.
    EcdsaP384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 3072 bits.
    Rsa3072,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// A new key and the request for its certificate.
pub struct NewKey {
    /// The key as PEM text of PKCS #8.
    pub key: SecretText,
    /// The request in DER.
    pub request: Vec<u8>,
}

/// A chain of certificates, the own one first.
#[derive(PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<CertificateDer<'static>>,
}

/// What the secret says about its certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts {
    /// The names in lower case.
    pub names: BTreeSet<String>,
    /// The serial number in hexadecimal digits, in lower case and without zeros in front.
    pub serial: String,
    /// The first moment of validity, as the time since the Unix epoch.
    pub not_before: Duration,
    /// The last moment of validity, as the time since the Unix epoch.
    pub not_after: Duration,
    /// The id by which a CA knows it (RFC 9773, section 4.1), if it has an authority's key id.
    pub renewal_id: Option<String>,
}

impl Facts {
    /// How long the certificate lasts from now on.
    pub fn lifetime(&self, renew: bool) -> Lifetime {
        let left = self.not_after.saturating_sub(since_epoch());
        Lifetime { left, whole: self.not_after.saturating_sub(self.not_before), renew }
    }
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::EcdsaP256, Self::EcdsaP384, Self::Rsa2048, Self::Rsa3072, Self::Rsa4096];

    /// The word in a secret.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
            Self::Rsa3072 => "rsa-3072",
            Self::Rsa4096 => "rsa-4096",
        }
    }

    /// Draws a key.
    fn draw(self) -> Result<KeyPair, rcgen::Error> {
        use rcgen::{PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256, RsaKeySize};
        match self {
            Self::EcdsaP256 => KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256),
            Self::EcdsaP384 => KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384),
            Self::Rsa2048 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048),
            Self::Rsa3072 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_3072),
            Self::Rsa4096 => KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_4096),
        }
    }
}

impl NewKey {
    /// Draws a key of this kind, and requests a certificate for these names.
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`]; [`Code::FieldInvalid`] if no certificate can have a name.
    pub fn draw(kind: KeyType, names: &[String]) -> Result<Self> {
        let key = kind.draw().map_err(|_| Error::new(Code::EntropyUnavailable))?;
        Self::request(key.serialize_der(), names)
    }

    /// The same for a key that is there already.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn again(key: &SecretText, names: &[String]) -> Result<Self> {
        let der = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| key_invalid())?;
        Self::request(der.secret_der().to_vec(), names)
    }

    fn request(der: Vec<u8>, names: &[String]) -> Result<Self> {
        let wrong_name = |_| Error::new(Code::FieldInvalid).with(Fact::Field, "names");
        let text = SecretText::from(pem("PRIVATE KEY", &der));
        let pair = KeyPair::try_from(der).map_err(|_| key_invalid())?;
        let mut params = CertificateParams::new(names.to_vec()).map_err(wrong_name)?;
        // CAs ignore a subject, and some refuse one.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&pair).map_err(wrong_name)?;
        Ok(Self { key: text, request: request.der().to_vec() })
    }
}

impl Chain {
    /// Reads PEM text with the certificates of a chain.
    ///
    /// # Errors
    /// [`Code::CertificateUnusable`].
    pub fn read(pem: &str) -> Result<Self> {
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).take(LONGEST_CHAIN).collect();
        let certificates = all.map_err(|_| unusable("text that is not PEM"))?;
        if certificates.is_empty() {
            return Err(unusable("no CERTIFICATE block"));
        }
        Ok(Self { certificates })
    }

    /// The chain that a server has sent.
    pub(crate) fn sent(certificates: &[CertificateDer<'_>]) -> Self {
        let certificates = certificates.iter().take(LONGEST_CHAIN);
        Self { certificates: certificates.map(|certificate| certificate.clone().into_owned()).collect() }
    }

    /// The certificate itself, in DER.
    pub fn own(&self) -> &[u8] {
        self.certificates.first().map_or(&[], |own| own.as_ref())
    }

    /// The certificate itself, as PEM text.
    pub fn own_pem(&self) -> String {
        pem("CERTIFICATE", self.own())
    }

    /// The certificates that lead from it to a root, as PEM text.
    pub fn rest_pem(&self) -> String {
        self.certificates.iter().skip(1).map(|certificate| pem("CERTIFICATE", certificate)).collect()
    }

    /// What the certificate says about itself.
    ///
    /// # Errors
    /// [`Code::CertificateUnusable`].
    pub fn facts(&self) -> Result<Facts> {
        let unreadable = || unusable("a certificate that cannot be read");
        let certificate = x509_cert::Certificate::from_der(self.own()).map_err(|_| unreadable())?;
        let body = certificate.tbs_certificate;
        let names = body.get::<SubjectAltName>().map_err(|_| unreadable())?;
        let names = names.map(|(_, names)| names.0).unwrap_or_default();
        let names = names.into_iter().filter_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.as_str().to_ascii_lowercase()),
            _ => None,
        });
        let authority = body.get::<AuthorityKeyIdentifier>().map_err(|_| unreadable())?;
        let authority = authority.and_then(|(_, authority)| authority.key_identifier);
        // The content of the DER integer, with the zero before a set bit (RFC 9773, section 4.1). Its length takes one byte, because a
        // serial number has at most 20 (RFC 5280, section 4.1.2.2).
        let serial = body.serial_number.to_der().map_err(|_| unreadable())?;
        let serial = serial.get(2..).unwrap_or_default();
        Ok(Facts {
            names: names.collect(),
            serial: hex(serial).trim_start_matches('0').to_owned(),
            not_before: body.validity.not_before.to_unix_duration(),
            not_after: body.validity.not_after.to_unix_duration(),
            renewal_id: authority.map(|key| format!("{}.{}", encoded(key.as_bytes()), encoded(serial))),
        })
    }

    /// Proves that a server with this chain and key serves these names: it is valid now, leads to a trusted root, fits the key, and a
    /// client that expects one of the names completes a handshake. The certificate has no other names.
    ///
    /// # Errors
    /// [`Code::CertificateUnusable`], with the reason.
    pub fn prove(&self, key: &SecretText, names: &[String], trusted: &Verifier) -> Result<Facts> {
        let facts = self.facts()?;
        let wanted: BTreeSet<String> = names.iter().cloned().collect();
        if facts.names != wanted {
            let missing: Vec<&str> = wanted.difference(&facts.names).map(String::as_str).collect();
            let what = match missing.is_empty() {
                true => "it has names beside those of the secret".to_owned(),
                false => format!("it lacks {}", missing.join(", ")),
            };
            return Err(unusable(&what));
        }
        let server = Arc::new(self.server(key)?);
        for name in names {
            let shown = name.replacen('*', BELOW_WILDCARD, 1);
            let server_name = ServerName::try_from(shown).map_err(|_| unusable("a name that no client can ask for"))?;
            handshake(&server, trusted, server_name)
                .map_err(|error| unusable(why(&error)).with(Fact::Host, name.trim_start_matches("*.")))?;
        }
        Ok(facts)
    }

    fn server(&self, key: &SecretText) -> Result<ServerConfig> {
        let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes()).map_err(|_| key_invalid())?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| Error::new(Code::Internal).with(Fact::What, "TLS protocol versions"))?
            .with_no_client_auth();
        config.with_single_cert(self.certificates.clone(), key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                unusable("the private key is not the certificate's")
            }
            _ => unusable("a private key or a chain that no server can use"),
        })
    }
}

/// A TLS handshake between a server and a client that both live here.
fn handshake(server: &Arc<ServerConfig>, trusted: &Verifier, name: ServerName<'static>) -> Result<(), rustls::Error> {
    let mut client = ClientConnection::new(trusted.config(), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    // TLS 1.3 needs two rounds. Each round that moves nothing is the end.
    for _ in 0..8 {
        if !client.is_handshaking() && !server.is_handshaking() {
            return Ok(());
        }
        moved(|out| client.write_tls(out), |input| server.read_tls(input))?;
        server.process_new_packets()?;
        moved(|out| server.write_tls(out), |input| client.read_tls(input))?;
        client.process_new_packets()?;
    }
    Err(rustls::Error::HandshakeNotComplete)
}

fn moved(
    mut from: impl FnMut(&mut dyn std::io::Write) -> std::io::Result<usize>,
    mut to: impl FnMut(&mut dyn std::io::Read) -> std::io::Result<usize>,
) -> Result<(), rustls::Error> {
    let broken = |_| rustls::Error::HandshakeNotComplete;
    let mut bytes = Vec::new();
    while from(&mut bytes).map_err(broken)? > 0 {}
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        to(&mut rest).map_err(broken)?;
    }
    Ok(())
}

/// Why a client refuses a certificate, in our own words.
pub(crate) fn why(error: &rustls::Error) -> &'static str {
    let rustls::Error::InvalidCertificate(reason) = error else { return "a client does not complete the handshake" };
    match reason {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired",
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => "it is not valid yet",
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => "it lacks the name",
        CertificateError::UnknownIssuer => "its issuer is unknown",
        CertificateError::BadSignature => "its chain has a wrong signature",
        _ => "a client refuses it",
    }
}

fn unusable(what: &str) -> Error {
    Error::new(Code::CertificateUnusable).with(Fact::What, what)
}

fn key_invalid() -> Error {
    let error = Error::new(Code::CertificateUnusable).with(Fact::Field, "privateKey");
    error.with(Fact::What, "it is no private key in PEM text")
}

/// A moment as RFC 3339 has it, in UTC.
pub(crate) fn rfc3339(moment: Duration) -> String {
    let seconds = i64::try_from(moment.as_secs()).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    moment.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Ca;
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD;
    use rcgen::{BasicConstraints, IsCa, Issuer};

    const DAY: Duration = Duration::from_secs(86_400);

    fn texts(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    fn what(proof: Result<Facts>) -> String {
        let error = proof.unwrap_err();
        assert_eq!(error.code(), Code::CertificateUnusable);
        error.fact(Fact::What).unwrap().to_owned()
    }

    #[test]
    fn a_certificate_that_serves_its_names_is_proved() {
        let (ca, names) = (Ca::new(), ["example.com", "*.example.com"]);
        let (chain, key) = ca.issues(&names, 90);
        let facts = chain.prove(&key, &texts(&names), &ca.trusted()).unwrap();
        let left = facts.not_after - since_epoch();
        assert!(left > 89 * DAY && left <= 90 * DAY, "{left:?}");
        assert_eq!(facts.renewal_id.unwrap().split('.').count(), 2);
    }

    #[test]
    fn whatever_a_client_would_refuse_is_found() {
        let (ca, names) = (Ca::new(), ["example.com", "*.example.com"]);
        let (chain, key) = ca.issues(&names, 90);
        let trusted = ca.trusted();
        assert_eq!(what(chain.prove(&key, &texts(&names), &Ca::new().trusted())), "its issuer is unknown");
        let (_, other) = ca.issues(&names, 90);
        assert_eq!(what(chain.prove(&other, &texts(&names), &trusted)), "the private key is not the certificate's");
        let more = texts(&["example.com", "*.example.com", "a.example.org"]);
        assert_eq!(what(chain.prove(&key, &more, &trusted)), "it lacks a.example.org");
        let fewer = texts(&["example.com"]);
        assert_eq!(what(chain.prove(&key, &fewer, &trusted)), "it has names beside those of the secret");
        let (expired, key) = ca.issues(&names, -1);
        assert_eq!(what(expired.prove(&key, &texts(&names), &trusted)), "it has expired");
        assert_eq!(what(chain.prove(&"hunter2".into(), &texts(&names), &trusted)), "it is no private key in PEM text");
        assert!(Chain::read("hunter2").is_err());
    }

    #[test]
    fn every_kind_of_key_can_be_requested_again() {
        for kind in KeyType::ALL {
            let names = texts(&["example.com", "*.example.com"]);
            let new = NewKey::draw(kind, &names).unwrap();
            assert!(new.key.expose().starts_with("-----BEGIN PRIVATE KEY-----\n"), "{kind:?}");
            assert!(!NewKey::again(&new.key, &names).unwrap().request.is_empty(), "{kind:?}");
        }
    }

    /// The serial number, the authority's key id and the result are those of the example in RFC 9773, section 4.1.
    #[test]
    fn the_renewal_id_is_that_of_the_rfc() {
        let key_id = BASE64_URL_SAFE_NO_PAD.decode("aYhba4dGQEHhs3uEe6CuLN4ByNQ").unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_identifier_method = rcgen::KeyIdMethod::PreSpecified(key_id);
        let issuer = Issuer::new(params, KeyPair::generate().unwrap());
        let mut params = CertificateParams::new(texts(&["example.com"])).unwrap();
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x87, 0x65, 0x43, 0x21]));
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let facts = Chain::read(&certificate.pem()).unwrap().facts().unwrap();
        assert_eq!(facts.renewal_id.as_deref(), Some("aYhba4dGQEHhs3uEe6CuLN4ByNQ.AIdlQyE"));
        assert_eq!(facts.serial, "87654321");
    }
}
