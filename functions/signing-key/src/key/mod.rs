//! A key that signs.
//!
//! Private parts are stored as PKCS#8 in PEM, and not as JWKs: jsonwebtoken and josekit for Rust, PyJWT, jose for Node, Go and Java
//! take that text as it is, while only some of them take a private JWK.

pub mod algorithm;
mod der;
pub mod jwk;
mod pem;
pub mod spki;

use algorithm::{Algorithm, Family};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, KeyPair as _};
use der::rsa_parts;
use jwk::Material;
use pem::pem_of;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::fmt;

/// A private key with its public part. `Debug` shows the public part alone.
pub struct SigningKey {
    /// The id, which the header of a token names. It is the thumbprint, unless the key was made by somebody else.
    pub kid: String,
    /// What it signs with.
    pub algorithm: Algorithm,
    /// When this function made it, in seconds since the Unix epoch. Zero if somebody else did.
    pub created_at: u64,
    /// CloudFront's id of its public part, which a signed URL names as `Key-Pair-Id`.
    pub key_pair_id: Option<String>,
    pem: Password,
    material: Material,
    pair: Pair,
}

enum Pair {
    Curve(EcdsaKeyPair),
    Edwards(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl SigningKey {
    /// Makes a key.
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`].
    pub fn generate(algorithm: Algorithm, now: u64) -> Result<Self> {
        let failed = |_| Error::new(Code::EntropyUnavailable);
        let random = SystemRandom::new();
        let der = match algorithm.family() {
            Family::Curve(_, _, signing) => {
                EcdsaKeyPair::generate_pkcs8(signing, &random).map_err(failed)?.as_ref().to_vec()
            }
            // Version 1, without the public part: OpenSSL reads no other.
            Family::Edwards => Ed25519KeyPair::generate_pkcs8v1(&random).map_err(failed)?.as_ref().to_vec(),
            Family::Rsa(_) => {
                let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?;
                pair.as_der().map_err(failed)?.as_ref().to_vec()
            }
        };
        Self::read(&pem_of("PRIVATE KEY", &der).into(), algorithm, None, now)
    }

    /// Reads a key. Without an id it has its thumbprint.
    ///
    /// # Errors
    /// [`Code::SigningKeyInvalid`].
    pub fn read(pem: &Password, algorithm: Algorithm, kid: Option<String>, created_at: u64) -> Result<Self> {
        let invalid = || Error::new(Code::SigningKeyInvalid).with(Fact::Expected, algorithm.as_str());
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| invalid())?;
        let der = der.secret_pkcs8_der();
        let (pair, material) = match algorithm.family() {
            Family::Curve(name, size, signing) => {
                let pair = EcdsaKeyPair::from_pkcs8(signing, der).map_err(|_| invalid())?;
                // An uncompressed point: 4, x and y (SEC 1, section 2.3.3).
                let coordinates = pair.public_key().as_ref().get(1..).and_then(|point| point.split_at_checked(size));
                let (x, y) = coordinates.ok_or_else(invalid)?;
                let material = Material::Curve(name, x.to_vec(), y.to_vec());
                (Pair::Curve(pair), material)
            }
            Family::Edwards => {
                let pair = Ed25519KeyPair::from_pkcs8(der).map_err(|_| invalid())?;
                let material = Material::Edwards(pair.public_key().as_ref().to_vec());
                (Pair::Edwards(pair), material)
            }
            Family::Rsa(_) => {
                let pair = RsaKeyPair::from_pkcs8(der).map_err(|_| invalid())?;
                let (n, e) = rsa_parts(pair.public_key().as_ref()).ok_or_else(invalid)?;
                let material = Material::Rsa(n.to_vec(), e.to_vec());
                (Pair::Rsa(pair), material)
            }
        };
        let kid = kid.unwrap_or_else(|| material.thumbprint());
        Ok(Self { kid, algorithm, created_at, key_pair_id: None, pem: pem.clone(), material, pair })
    }

    /// The same key, under this id at CloudFront.
    ///
    /// # Errors
    /// [`Code::SigningKeyInvalid`].
    pub fn with_key_pair_id(&self, id: Option<String>) -> Result<Self> {
        let read = Self::read(&self.pem, self.algorithm, Some(self.kid.clone()), self.created_at)?;
        Ok(Self { key_pair_id: id, ..read })
    }

    /// The public part, as it is published.
    pub fn jwk(&self) -> Value {
        self.material.jwk(&self.kid, self.algorithm)
    }

    /// The public part alone.
    pub fn material(&self) -> &Material {
        &self.material
    }

    /// The key as the secret has it.
    pub fn stored(&self) -> Value {
        let mut stored = json!({
            "kid": self.kid,
            "algorithm": self.algorithm.as_str(),
            "privateKey": self.pem.expose(),
            "createdAt": self.created_at,
        });
        if let Some((stored, id)) = stored.as_object_mut().zip(self.key_pair_id.as_ref()) {
            stored.insert("keyPairId".to_owned(), id.as_str().into());
        }
        stored
    }

    /// Signs, in the form that JSON Web Signatures have (RFC 7518, section 3).
    ///
    /// # Errors
    /// [`Code::SigningKeyInvalid`].
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>> {
        let invalid = |_| Error::new(Code::SigningKeyInvalid).with(Fact::KeyId, &self.kid);
        let random = SystemRandom::new();
        match (&self.pair, self.algorithm.family()) {
            (Pair::Curve(pair), _) => Ok(pair.sign(&random, message).map_err(invalid)?.as_ref().to_vec()),
            (Pair::Edwards(pair), _) => Ok(pair.sign(message).as_ref().to_vec()),
            (Pair::Rsa(pair), Family::Rsa(encoding)) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &random, message, &mut signature).map_err(invalid)?;
                Ok(signature)
            }
            (Pair::Rsa(_), _) => Err(Error::new(Code::SigningKeyInvalid).with(Fact::KeyId, &self.kid)),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_algorithm_signs_what_its_published_part_verifies() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm, 1).unwrap();
            let signature = key.sign(b"message").unwrap();
            let published = Material::of(&key.jwk()).unwrap();
            assert_eq!(key.kid, published.thumbprint());
            assert!(published.verifies(algorithm, b"message", &signature), "{algorithm:?}");
            assert!(!published.verifies(algorithm, b"another", &signature), "{algorithm:?}");
            let other = SigningKey::generate(algorithm, 1).unwrap();
            assert!(!other.material().verifies(algorithm, b"message", &signature), "{algorithm:?}");
            assert_eq!(Algorithm::named(algorithm.as_str()), Some(algorithm));
        }
    }

    #[test]
    fn a_key_is_read_as_it_was_stored_and_not_for_another_algorithm() {
        for algorithm in Algorithm::ALL {
            let key = SigningKey::generate(algorithm, 7).unwrap();
            let pem = Password::from(key.stored()["privateKey"].as_str().unwrap());
            let read = SigningKey::read(&pem, algorithm, None, 7).unwrap();
            assert_eq!((read.jwk(), read.stored()), (key.jwk(), key.stored()));
            let other = if algorithm == Algorithm::Es384 { Algorithm::Es256 } else { Algorithm::Es384 };
            assert_eq!(SigningKey::read(&pem, other, None, 7).unwrap_err().code(), Code::SigningKeyInvalid);
        }
        let no_key = SigningKey::read(&Password::from("hunter2"), Algorithm::Es256, None, 0).unwrap_err();
        assert!(no_key.code() == Code::SigningKeyInvalid && !no_key.to_string().contains("hunter2"));
    }

    #[test]
    fn debug_shows_no_private_part() {
        let key = SigningKey::generate(Algorithm::EdDsa, 1).unwrap();
        let stored = key.stored();
        let line = stored["privateKey"].as_str().unwrap().lines().nth(1).unwrap();
        assert!(!format!("{key:?}").contains(line));
    }
}
