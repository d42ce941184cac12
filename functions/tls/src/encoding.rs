//! Bytes as text.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use rotation::encoding::hex;

/// base64url without padding (RFC 7515, section 2).
pub(crate) fn encoded(bytes: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

/// The first bytes of a text's hash, in hexadecimal digits.
pub(crate) fn fingerprint(text: &str, bytes: usize) -> String {
    hex(digest(&SHA256, text.as_bytes()).as_ref()).chars().take(2 * bytes).collect()
}

/// PEM text of one block (RFC 7468).
pub(crate) fn pem(label: &str, der: &[u8]) -> String {
    let base64 = BASE64_STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for (at, character) in base64.chars().enumerate() {
        if at > 0 && at % 64 == 0 {
            text.push('\n');
        }
        text.push(character);
    }
    text.push_str(&format!("\n-----END {label}-----\n"));
    text
}
