//! As much of DER as public keys need.

/// Modulus and exponent of an `RSAPublicKey`: a sequence of two integers (RFC 8017, appendix A.1.1).
pub(super) fn rsa_parts(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (sequence, _) = element(der, 0x30)?;
    let (modulus, rest) = element(sequence, 0x02)?;
    let (exponent, _) = element(rest, 0x02)?;
    Some((unpadded(modulus), unpadded(exponent)))
}

/// The content of an element with this tag, and what follows it (X.690, section 8.1).
pub(super) fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first().filter(|_| found == tag)?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // The number of bytes that hold the length. A key's length fits into two.
        0x81 | 0x82 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (bytes.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    rest.split_at_checked(length)
}

/// A positive integer whose first bit is set begins with a zero byte.
fn unpadded(integer: &[u8]) -> &[u8] {
    integer.strip_prefix(&[0]).unwrap_or(integer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn der_that_is_cut_or_long_is_none() {
        assert_eq!(rsa_parts(&[0x30, 6, 2, 1, 5, 2, 1, 3]), Some((&[5][..], &[3][..])));
        for bad in
            [&[][..], &[0x30], &[0x30, 7, 2, 1, 5, 2, 1, 3], &[0x30, 0x83, 0, 0, 1], &[0x31, 0], &[0x30, 0x82, 1]]
        {
            assert_eq!(rsa_parts(bad), None);
        }
    }
}
