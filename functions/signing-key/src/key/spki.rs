//! A public key as a `SubjectPublicKeyInfo` in PEM (RFC 5280, section 4.1.2.7; RFC 7468, section 13), as CloudFront has it.

use super::der::{element, rsa_parts};
use super::jwk::Material;
use super::pem::pem_of;
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject as _;

/// The beginning of a key on P-256: the identifiers of RFC 5480, section 2.1.1, and the head of a bit string of 65 bytes.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
/// The identifier of an RSA key (RFC 3279, section 2.3.1).
const RSA: [u8; 15] = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];

const SEQUENCE: u8 = 0x30;
const INTEGER: u8 = 0x02;
const BIT_STRING: u8 = 0x03;

/// The PEM text of a key. `None` for a kind that CloudFront does not take.
///
/// <https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-trusted-signers.html>
pub fn pem(material: &Material) -> Option<String> {
    let der = match material {
        Material::Curve("P-256", x, y) if x.len() == 32 && y.len() == 32 => [&P256[..], &[4], x, y].concat(),
        Material::Rsa(n, e) => {
            let key = with_head(SEQUENCE, &[integer(n), integer(e)].concat());
            with_head(SEQUENCE, &[RSA.to_vec(), with_head(BIT_STRING, &[vec![0], key].concat())].concat())
        }
        _ => return None,
    };
    Some(pem_of("PUBLIC KEY", &der))
}

/// The key that a PEM text holds. `None` if it is of another kind.
pub fn material(pem: &str) -> Option<Material> {
    let der = SubjectPublicKeyInfoDer::from_pem_slice(pem.as_bytes()).ok()?;
    let der: &[u8] = der.as_ref();
    if let Some(point) = der.strip_prefix(&P256[..]).and_then(|point| point.strip_prefix(&[4])) {
        let (x, y) = point.split_at_checked(32).filter(|(_, y)| y.len() == 32)?;
        return Some(Material::Curve("P-256", x.to_vec(), y.to_vec()));
    }
    let (content, _) = element(der, SEQUENCE)?;
    let (bits, _) = element(content.strip_prefix(&RSA[..])?, BIT_STRING)?;
    let (n, e) = rsa_parts(bits.strip_prefix(&[0])?)?;
    Some(Material::Rsa(n.to_vec(), e.to_vec()))
}

fn integer(bytes: &[u8]) -> Vec<u8> {
    let is_negative = bytes.first().is_none_or(|first| first & 0x80 != 0);
    let padding: &[u8] = if is_negative { &[0] } else { &[] };
    with_head(INTEGER, &[padding, bytes].concat())
}

/// An element with its tag and its length (X.690, section 8.1.3).
fn with_head(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let used = length.iter().position(|byte| *byte != 0).unwrap_or(length.len() - 1);
    let bytes = length.get(used..).unwrap_or_default();
    let head = match content.len() {
        0..=0x7f => vec![tag, bytes.last().copied().unwrap_or_default()],
        _ => [&[tag, 0x80 | u8::try_from(bytes.len()).unwrap_or_default()][..], bytes].concat(),
    };
    [head, content.to_vec()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::key::algorithm::Algorithm;
    use aws_lc_rs::encoding::{AsDer as _, PublicKeyX509Der};
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};

    #[test]
    fn a_key_is_written_as_others_write_it_and_read_back() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
            let key = SigningKey::generate(algorithm, 1).unwrap();
            let text = pem(key.material()).unwrap();
            assert!(text.starts_with("-----BEGIN PUBLIC KEY-----\n") && text.ends_with("-----END PUBLIC KEY-----\n"));
            assert_eq!(material(&text).as_ref(), Some(key.material()));
        }
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let der: PublicKeyX509Der<'_> = pair.public_key().as_der().unwrap();
        let theirs = pem_of("PUBLIC KEY", der.as_ref());
        assert_eq!(pem(&material(&theirs).unwrap()), Some(theirs));
        for algorithm in [Algorithm::Es384, Algorithm::EdDsa] {
            assert_eq!(pem(SigningKey::generate(algorithm, 1).unwrap().material()), None);
        }
    }

    #[test]
    fn what_is_no_such_key_is_none() {
        for text in ["", "hunter2", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"] {
            assert_eq!(material(text), None, "{text}");
        }
    }
}
