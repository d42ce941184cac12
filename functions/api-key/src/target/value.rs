//! Keys that the function draws.

use crate::description::{Checksum, KeyValue, ValueKind};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rotation::Result;
use rotation::encoding::hex;
use rotation::password::{Entropy, Policy};
use rotation::secret::SecretText;

/// Draws a value. `policy` is the function's password policy.
///
/// # Errors
/// Those of [`Policy::generate`].
pub fn draw(value: &KeyValue, policy: &Policy, entropy: &dyn Entropy) -> Result<SecretText> {
    let body = match value.kind {
        ValueKind::Password => Policy { length: value.size, ..policy.clone() }.generate(entropy)?.expose().to_owned(),
        ValueKind::Characters => {
            rotation::password::characters(&value.alphabet, value.size, entropy)?.expose().to_owned()
        }
        ValueKind::Hex => hex(&bytes(value.size, entropy)?),
        ValueKind::Base64 => BASE64_STANDARD.encode(bytes(value.size, entropy)?),
        ValueKind::Base64url => BASE64_URL_SAFE_NO_PAD.encode(bytes(value.size, entropy)?),
    };
    let mut text = format!("{}{body}", value.prefix);
    if value.checksum == Some(Checksum::Crc32) {
        text.push_str(&checksum(&text));
    }
    Ok(text.into())
}

/// Whether a text has the form of a drawn value: prefix, length, characters and checksum.
pub fn conforms(value: &KeyValue, text: &str) -> bool {
    let Some(rest) = text.strip_prefix(value.prefix.as_str()) else { return false };
    let (body, sum) = match value.checksum {
        None => (rest, ""),
        Some(Checksum::Crc32) => match rest.split_at_checked(rest.len().wrapping_sub(6)) {
            Some(parts) => parts,
            None => return false,
        },
    };
    let before = text.strip_suffix(sum).unwrap_or(text);
    let sum_holds = value.checksum.is_none() || checksum(before) == sum;
    let body_holds = match value.kind {
        ValueKind::Password => body.chars().count() == value.size,
        ValueKind::Characters => body.chars().count() == value.size && body.chars().all(|c| value.alphabet.contains(c)),
        ValueKind::Hex => body.len() == 2 * value.size && body.bytes().all(|b| b.is_ascii_hexdigit()),
        ValueKind::Base64 => BASE64_STANDARD.decode(body).is_ok_and(|bytes| bytes.len() == value.size),
        ValueKind::Base64url => BASE64_URL_SAFE_NO_PAD.decode(body).is_ok_and(|bytes| bytes.len() == value.size),
    };
    sum_holds && body_holds
}

fn bytes(size: usize, entropy: &dyn Entropy) -> Result<Vec<u8>> {
    let mut bytes = vec![0; size];
    entropy.fill(&mut bytes)?;
    Ok(bytes)
}

/// The CRC-32 (IEEE 802.3, as in zip and PNG) of a text, as six characters in base62: 62^6 is more than 2^32. GitHub's tokens
/// have such a checksum: <https://github.blog/engineering/behind-githubs-new-authentication-token-formats/>.
fn checksum(text: &str) -> String {
    const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut rest = crc32(text.as_bytes());
    let mut digits = [b'0'; 6];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get((rest % 62) as usize).copied().unwrap_or(b'0');
        rest /= 62;
    }
    digits.iter().copied().map(char::from).collect()
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        let mut crc = crc ^ u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
        }
        crc
    };
    !bytes.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::password::OsEntropy;

    fn policy() -> Policy {
        Policy {
            length: 32,
            exclude_characters: String::new(),
            exclude_numbers: false,
            exclude_punctuation: true,
            exclude_uppercase: false,
            exclude_lowercase: false,
            require_each_included_type: true,
        }
    }

    #[test]
    fn the_checksum_is_the_well_known_one() {
        // The check value of CRC-32/ISO-HDLC.
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
        assert_eq!(checksum("123456789").len(), 6);
    }

    #[test]
    fn what_is_drawn_conforms_and_what_is_changed_does_not() {
        let of = |kind, size, alphabet: &str, checksum| KeyValue {
            kind,
            size,
            alphabet: alphabet.to_owned(),
            prefix: "acme_".to_owned(),
            checksum,
        };
        for value in [
            of(ValueKind::Password, 40, "", None),
            of(ValueKind::Hex, 32, "", None),
            of(ValueKind::Base64, 32, "", None),
            of(ValueKind::Base64url, 64, "", Some(Checksum::Crc32)),
            of(ValueKind::Characters, 30, "abcdefghjk", Some(Checksum::Crc32)),
        ] {
            let one = draw(&value, &policy(), &OsEntropy).unwrap();
            let two = draw(&value, &policy(), &OsEntropy).unwrap();
            assert!(one.expose() != two.expose());
            assert!(one.expose().starts_with("acme_"));
            assert!(conforms(&value, one.expose()), "{value:?}");
            assert!(!conforms(&value, &one.expose().replace("acme_", "acme-")), "{value:?}");
            assert!(!conforms(&value, &format!("{}x", one.expose())), "{value:?}");
            assert!(!conforms(&value, ""), "{value:?}");
        }
        let value = of(ValueKind::Base64url, 64, "", Some(Checksum::Crc32));
        let text = draw(&value, &policy(), &OsEntropy).unwrap().expose().to_owned();
        let typo = text.replacen(text.chars().nth(9).unwrap(), "~", 1);
        assert!(!conforms(&value, &typo));
    }
}
