//! Signed requests as a CA reads them (RFC 7515, RFC 8555, section 6.2).

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

/// A signed request.
pub(super) struct Jws {
    pub(super) protected: Value,
    /// `None` if it is empty: then a resource is read.
    pub(super) payload: Option<Value>,
    /// What is signed.
    text: String,
    signature: Vec<u8>,
}

impl Jws {
    /// Reads a request. `None` if it is none.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let part = |name: &str| value.get(name).and_then(Value::as_str);
        let (protected, payload) = (part("protected")?, part("payload")?);
        Some(Self {
            protected: serde_json::from_slice(&decoded(protected)?).ok()?,
            payload: serde_json::from_slice(&decoded(payload)?).ok(),
            text: format!("{protected}.{payload}"),
            signature: decoded(part("signature")?)?,
        })
    }

    /// A text of the protected header.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.protected.get(name)?.as_str()
    }

    /// Whether this key has signed it.
    pub(super) fn is_by(&self, jwk: &Value) -> bool {
        let coordinate = |name: &str| jwk.get(name).and_then(Value::as_str).and_then(decoded);
        let (Some(x), Some(y)) = (coordinate("x"), coordinate("y")) else { return false };
        // An uncompressed point (SEC 1, section 2.3.3).
        let point: Vec<u8> = [4].into_iter().chain(x).chain(y).collect();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(self.text.as_bytes(), &self.signature).is_ok()
    }
}

/// The value of the TXT record that answers a challenge (RFC 8555, section 8.4; RFC 7638).
pub(super) fn dns_value(token: &str, jwk: &Value) -> String {
    // Keys of an object stand in the order of their names.
    let thumbprint = encoded(digest(&SHA256, jwk.to_string().as_bytes()).as_ref());
    encoded(digest(&SHA256, format!("{token}.{thumbprint}").as_bytes()).as_ref())
}

pub(super) fn decoded(text: &str) -> Option<Vec<u8>> {
    BASE64_URL_SAFE_NO_PAD.decode(text).ok()
}

pub(super) fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The public key of an ECDSA key on P-256, which is given as PEM text of PKCS #8.
pub(super) fn jwk_of(pem: &str) -> Option<Value> {
    let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der.secret_pkcs8_der()).ok()?;
    let (x, y) = pair.public_key().as_ref().get(1..)?.split_at_checked(32)?;
    Some(json!({"crv": "P-256", "kty": "EC", "x": encoded(x), "y": encoded(y)}))
}
