//! Signed requests (RFC 8555, section 6.2) and the account's key.

use crate::encoding::{encoded, pem};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::{BASE64_URL_SAFE, BASE64_URL_SAFE_NO_PAD};
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use rustls_pki_types::PrivatePkcs8KeyDer;
use rustls_pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::fmt;

/// The bytes of a coordinate on the curve P-256.
const COORDINATE: usize = 32;

/// An account's key: ECDSA on P-256, which every CA takes.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    x: String,
    y: String,
}

/// A key that a CA has given to its customer, by which the new account is the customer's (RFC 8555, section 7.3.4).
#[derive(Clone)]
pub struct Binding {
    /// The key's id.
    pub key_id: String,
    key: SecretText,
}

impl AccountKey {
    /// A new key, as PEM text of PKCS #8.
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`].
    pub fn generate() -> Result<SecretText> {
        let failed = |_| Error::new(Code::EntropyUnavailable);
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
        Ok(pem("PRIVATE KEY", key.map_err(failed)?.as_ref()).into())
    }

    /// Reads a key from PEM text.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn read(pem: &SecretText) -> Result<Self> {
        let invalid = || {
            let error = Error::new(Code::FieldInvalid).with(Fact::Field, "accountKey");
            error
                .with(Fact::Expected, "an ECDSA key on the curve P-256, as PEM text that begins with BEGIN PRIVATE KEY")
        };
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.expose().as_bytes()).map_err(|_| invalid())?;
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der());
        let pair = pair.map_err(|_| invalid())?;
        // An uncompressed point: 4, x, y (SEC 1, section 2.3.3).
        let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
        let (x, y) = point.split_at_checked(COORDINATE).ok_or_else(invalid)?;
        let (x, y) = (encoded(x), encoded(y));
        Ok(Self { pair, x, y })
    }

    /// The public key as JSON. The order of the keys is that of RFC 7638.
    fn jwk(&self) -> Value {
        json!({"crv": "P-256", "kty": "EC", "x": self.x, "y": self.y})
    }

    /// The key's thumbprint (RFC 7638, section 3).
    fn thumbprint(&self) -> String {
        // serde_json keeps keys in the order of their names, which RFC 7638 wants, and writes no white space.
        encoded(digest(&SHA256, self.jwk().to_string().as_bytes()).as_ref())
    }

    /// The value of the TXT record that answers a challenge (RFC 8555, section 8.4).
    pub fn dns_value(&self, token: &str) -> String {
        encoded(digest(&SHA256, format!("{token}.{}", self.thumbprint()).as_bytes()).as_ref())
    }

    /// A request by an account that the CA knows, or, without its URL, by the key alone.
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`].
    pub(crate) fn signed(&self, account: Option<&str>, nonce: &str, url: &str, payload: &str) -> Result<Vec<u8>> {
        let mut protected = match account {
            Some(account) => json!({"alg": "ES256", "kid": account, "url": url}),
            None => json!({"alg": "ES256", "jwk": self.jwk(), "url": url}),
        };
        if let Some(fields) = protected.as_object_mut() {
            fields.insert("nonce".to_owned(), nonce.into());
        }
        Ok(self.jws(&protected, payload)?.to_string().into_bytes())
    }

    /// What proves that this key is to take the place of `old` (RFC 8555, section 7.3.5).
    ///
    /// # Errors
    /// [`Code::EntropyUnavailable`].
    pub(crate) fn replaces(&self, old: &Self, account: &str, url: &str) -> Result<Value> {
        let payload = json!({"account": account, "oldKey": old.jwk()}).to_string();
        self.jws(&json!({"alg": "ES256", "jwk": self.jwk(), "url": url}), &payload)
    }

    fn jws(&self, protected: &Value, payload: &str) -> Result<Value> {
        let (protected, payload) = (encoded(protected.to_string().as_bytes()), encoded(payload.as_bytes()));
        let text = format!("{protected}.{payload}");
        let signature = self.pair.sign(&SystemRandom::new(), text.as_bytes());
        let signature = signature.map_err(|_| Error::new(Code::EntropyUnavailable))?;
        Ok(json!({"protected": protected, "payload": payload, "signature": encoded(signature.as_ref())}))
    }
}

impl Binding {
    /// `key` is in base64url, as CAs give it.
    pub fn new(key_id: String, key: SecretText) -> Self {
        Self { key_id, key }
    }

    /// Binds an account's key.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub(crate) fn of(&self, account: &AccountKey, url: &str) -> Result<Value> {
        let text = self.key.expose().trim();
        let key = BASE64_URL_SAFE_NO_PAD.decode(text).or_else(|_| BASE64_URL_SAFE.decode(text));
        let key = key.map_err(|_| {
            let error = Error::new(Code::FieldInvalid).with(Fact::Field, "externalAccountBinding.hmacKey");
            error.with(Fact::Expected, "the key as the CA gave it, in base64url")
        })?;
        let protected = json!({"alg": "HS256", "kid": self.key_id, "url": url});
        let protected = encoded(protected.to_string().as_bytes());
        let payload = encoded(account.jwk().to_string().as_bytes());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key);
        let signature = encoded(hmac::sign(&key, format!("{protected}.{payload}").as_bytes()).as_ref());
        Ok(json!({"protected": protected, "payload": payload, "signature": signature}))
    }
}

impl fmt::Debug for AccountKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccountKey")
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    #[test]
    fn what_a_key_signs_its_public_key_verifies() {
        let key = AccountKey::read(&AccountKey::generate().unwrap()).unwrap();
        let signed: Value = serde_json::from_slice(&key.signed(None, "n", "https://ca/a", "{}").unwrap()).unwrap();
        let part = |name: &str| signed[name].as_str().unwrap().to_owned();
        let protected = BASE64_URL_SAFE_NO_PAD.decode(part("protected")).unwrap();
        let protected: Value = serde_json::from_slice(&protected).unwrap();
        assert_eq!((&protected["nonce"], &protected["url"]), (&json!("n"), &json!("https://ca/a")));
        let point = ["x", "y"].map(|name| BASE64_URL_SAFE_NO_PAD.decode(protected["jwk"][name].as_str().unwrap()));
        let point: Vec<u8> = [4].into_iter().chain(point.into_iter().flat_map(Result::unwrap)).collect();
        let text = format!("{}.{}", part("protected"), part("payload"));
        let signature = BASE64_URL_SAFE_NO_PAD.decode(part("signature")).unwrap();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(text.as_bytes(), &signature).unwrap();
    }

    #[test]
    fn the_text_that_a_thumbprint_is_of_is_that_of_the_rfc() {
        let key = AccountKey::read(&AccountKey::generate().unwrap()).unwrap();
        let expected = format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, key.x, key.y);
        assert_eq!(key.jwk().to_string(), expected);
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_repeated() {
        for text in ["", "hunter2", "-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----\n"] {
            let error = AccountKey::read(&text.into()).unwrap_err();
            assert_eq!(error.code(), Code::FieldInvalid);
            assert!(text.is_empty() || !format!("{error:?} {error}").contains("hunter2"));
        }
        let key = AccountKey::read(&AccountKey::generate().unwrap()).unwrap();
        let error = Binding::new("a".to_owned(), "hunter2!".into()).of(&key, "https://ca/a").unwrap_err();
        assert_eq!(error.fact(Fact::Field), Some("externalAccountBinding.hmacKey"));
    }
}
