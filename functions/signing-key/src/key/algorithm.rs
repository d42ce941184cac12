//! The algorithms of JSON Web Signatures that keys are made for.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaSigningAlgorithm, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding,
};

/// An asymmetric algorithm of RFC 7518, section 3.1, or of RFC 8037. HMAC is not among them: its key cannot be published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256, with keys of 2048 bits.
    Rs256,
    /// RSASSA-PSS with SHA-256, with keys of 2048 bits.
    Ps256,
}

/// How the keys of an algorithm are made and used.
pub(crate) enum Family {
    /// An elliptic curve of NIST: its name in a JWK, the size of a coordinate in bytes, and how to sign.
    Curve(&'static str, usize, &'static EcdsaSigningAlgorithm),
    Edwards,
    Rsa(&'static dyn RsaEncoding),
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Es256, Self::Es384, Self::EdDsa, Self::Rs256, Self::Ps256];

    /// The name in a token's header and in a JWK.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }

    /// The algorithm of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.as_str() == name)
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Es256 => Family::Curve("P-256", 32, &ECDSA_P256_SHA256_FIXED_SIGNING),
            Self::Es384 => Family::Curve("P-384", 48, &ECDSA_P384_SHA384_FIXED_SIGNING),
            Self::EdDsa => Family::Edwards,
            Self::Rs256 => Family::Rsa(&RSA_PKCS1_SHA256),
            Self::Ps256 => Family::Rsa(&RSA_PSS_SHA256),
        }
    }
}
