//! Bytes and texts in the characters that others take: hexadecimal digits, and percent-encoding.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All characters but the unreserved ones of RFC 3986.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Bytes as hexadecimal digits, in small letters.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes that hexadecimal digits stand for, in small or capital letters. `None` for any other character, and for half a byte.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs.map(|pair| if let [high, low] = pair { byte(*high, *low) } else { None }).collect()
}

/// A text as a value in a query or in a form (RFC 3986, section 2.3).
pub fn percent_encoded(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

/// The text that a percent-encoded one stands for. `None` if a percent sign has no two digits behind it, or if it is no UTF-8.
pub fn percent_decoded(text: &str) -> Option<String> {
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(next) = rest.next() {
        bytes.push(if next == b'%' { byte(rest.next()?, rest.next()?)? } else { next });
    }
    String::from_utf8(bytes).ok()
}

fn byte(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digits_are_read_back() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(hex(&all).len(), 512);
        assert_eq!(from_hex(&hex(&all)).as_ref(), Some(&all));
        assert_eq!(from_hex(&hex(&all).to_uppercase()).as_ref(), Some(&all));
        assert_eq!((hex(&[]), from_hex("")), (String::new(), Some(Vec::new())));
        for wrong in ["a", "abc", "0g", "+1", " 1", "é", "0x"] {
            assert_eq!(from_hex(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_text_adds_nothing_to_a_query() {
        assert_eq!(percent_encoded("_acme-challenge.example.com~"), "_acme-challenge.example.com~");
        assert_eq!(percent_encoded("a&type=A#%2e\\052/?é +"), "a%26type%3DA%23%252e%5C052%2F%3F%C3%A9%20%2B");
        for text in ["", "é %41+", "a/b?c=d&e"] {
            assert_eq!(percent_decoded(&percent_encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(percent_decoded("a%2fb%2F+").as_deref(), Some("a/b/+"));
        for wrong in ["%", "%4", "%4g", "%ff", "a%"] {
            assert_eq!(percent_decoded(wrong), None, "{wrong}");
        }
    }
}
