//! A CA for tests, whose certificates end when a test wants.

use crate::certificate::Chain;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rotation::clock::since_epoch;
use rotation::net::tls::Verifier;
use rotation::secret::SecretText;
use std::sync::atomic::{AtomicU32, Ordering};
use time::OffsetDateTime;

/// A CA.
pub(crate) struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub(crate) pem: String,
}

impl Ca {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let mut params = CertificateParams::default();
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        params.distinguished_name.push(DnType::CommonName, format!("CA {number}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// A certificate for these names, which ends in `days`.
    pub(crate) fn issues(&self, names: &[&str], days: i64) -> (Chain, SecretText) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap();
        let now = OffsetDateTime::from_unix_timestamp(since_epoch().as_secs().try_into().unwrap()).unwrap();
        params.not_before = now - time::Duration::days(30);
        params.not_after = now + time::Duration::days(days);
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (Chain::read(&certificate.pem()).unwrap(), key.serialize_pem().into())
    }

    pub(crate) fn trusted(&self) -> Verifier {
        Verifier::with_roots(&[], &[("rotation.roots", &self.pem)]).unwrap()
    }
}
