//! What is derived from names: tokens, an order, places on a schedule.

use aws_lc_rs::digest::{SHA256, digest};

/// SHA-256 of some texts. A byte that no name has stands between them, so that no two lists of texts are the same bytes.
pub(crate) fn of(texts: &[&str]) -> [u8; 32] {
    let joined = texts.join("\0");
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, joined.as_bytes()).as_ref());
    bytes
}

/// The first 64 bits as a number.
pub(crate) fn number(texts: &[&str]) -> u64 {
    let bytes = of(texts);
    bytes.iter().take(8).fold(0, |number, byte| (number << 8) | u64::from(*byte))
}

/// The first 64 bits in hexadecimal. Texts of this form sort as the numbers do.
pub(crate) fn key(texts: &[&str]) -> String {
    format!("{:016x}", number(texts))
}
