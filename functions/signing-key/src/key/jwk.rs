//! Public keys as JSON Web Keys: RFC 7517, RFC 7518 section 6, RFC 8037 section 2.

use super::algorithm::Algorithm;
use aws_lc_rs::digest;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256,
    RsaPublicKeyComponents, UnparsedPublicKey,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// The mathematical part of a public key. Equal material is the same key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Material {
    /// A point on a curve of NIST: the curve's name in a JWK and the coordinates.
    Curve(&'static str, Vec<u8>, Vec<u8>),
    /// An Ed25519 key.
    Edwards(Vec<u8>),
    /// An RSA key: modulus and exponent, without leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
}

impl Material {
    /// From a JWK, which may hold more. `None` if it is of another kind.
    pub fn of(jwk: &Value) -> Option<Self> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)?).ok();
        match (text("kty")?, text("crv")) {
            ("EC", Some("P-256")) => Some(Self::Curve("P-256", bytes("x")?, bytes("y")?)),
            ("EC", Some("P-384")) => Some(Self::Curve("P-384", bytes("x")?, bytes("y")?)),
            ("OKP", Some("Ed25519")) => Some(Self::Edwards(bytes("x")?)),
            ("RSA", _) => Some(Self::Rsa(bytes("n")?, bytes("e")?)),
            _ => None,
        }
    }

    /// The members that RFC 7638, section 3.2, and RFC 8037, appendix A.3, require.
    fn members(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match self {
            Self::Curve(name, x, y) => json!({"crv": name, "kty": "EC", "x": text(x), "y": text(y)}),
            Self::Edwards(x) => json!({"crv": "Ed25519", "kty": "OKP", "x": text(x)}),
            Self::Rsa(n, e) => json!({"e": text(e), "kty": "RSA", "n": text(n)}),
        }
    }

    /// The thumbprint: SHA-256 of the required members in the order of their names, without white space (RFC 7638).
    pub fn thumbprint(&self) -> String {
        let members: std::collections::BTreeMap<String, Value> = self
            .members()
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        let text = json!(members).to_string();
        URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, text.as_bytes()))
    }

    /// The key as it is published.
    pub fn jwk(&self, kid: &str, algorithm: Algorithm) -> Value {
        let mut jwk = self.members();
        if let Some(jwk) = jwk.as_object_mut() {
            jwk.insert("kid".to_owned(), kid.into());
            jwk.insert("alg".to_owned(), algorithm.as_str().into());
            jwk.insert("use".to_owned(), "sig".into());
        }
        jwk
    }

    /// Whether the signature is this key's.
    pub fn verifies(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        let point = |x: &[u8], y: &[u8]| [&[4], x, y].concat();
        match (algorithm, self) {
            (Algorithm::Es256, Self::Curve("P-256", x, y)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point(x, y)).verify(message, signature).is_ok()
            }
            (Algorithm::Es384, Self::Curve("P-384", x, y)) => {
                UnparsedPublicKey::new(&ECDSA_P384_SHA384_FIXED, point(x, y)).verify(message, signature).is_ok()
            }
            (Algorithm::EdDsa, Self::Edwards(x)) => {
                UnparsedPublicKey::new(&ED25519, x).verify(message, signature).is_ok()
            }
            (Algorithm::Rs256, Self::Rsa(n, e)) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PKCS1_2048_8192_SHA256, message, signature).is_ok()
            }
            (Algorithm::Ps256, Self::Rsa(n, e)) => {
                RsaPublicKeyComponents { n, e }.verify(&RSA_PSS_2048_8192_SHA256, message, signature).is_ok()
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 7638, section 3.1, and RFC 8037, appendix A.3.
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let rsa = json!({
            "kty": "RSA", "e": "AQAB", "alg": "RS256", "kid": "2011-04-29",
            "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
        });
        let thumbprint = |jwk: &Value| Material::of(jwk).unwrap().thumbprint();
        assert_eq!(thumbprint(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
        let edwards = json!({"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
        assert_eq!(thumbprint(&edwards), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn what_is_no_key_of_these_kinds_is_none() {
        for other in [
            json!({"kty": "oct", "k": "AA"}),
            json!({"kty": "EC", "crv": "secp256k1", "x": "AA", "y": "AA"}),
            json!({"kty": "EC", "crv": "P-256", "x": "not base64!", "y": "AA"}),
            json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
            json!("text"),
        ] {
            assert_eq!(Material::of(&other), None, "{other}");
        }
    }
}
