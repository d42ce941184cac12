//! Password hashes as the servers store them. A server can be given a hash instead of the password.

use aws_lc_rs::digest::{self, Context, SHA1_FOR_LEGACY_USE_ONLY, SHA256, SHA512};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use curve25519_dalek::EdwardsPoint;
use rotation::Result;
use rotation::password::Entropy;
use rotation::secret::Password;
use std::fmt::Write as _;
use zeroize::Zeroizing;

/// The alphabet of SHA-crypt, in the order of its values.
const ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/// What `caching_sha2_password` takes: longer than SHA-crypt's own 16 characters.
const SALT_CHARACTERS: usize = 20;
/// The lowest number of rounds. Before 8.0.24 there was no other (`caching_sha2_password_digest_rounds`).
const LEAST_ROUNDS: Thousands = Thousands(5);

/// Thousands of rounds, as a stored hash states them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Thousands(usize);

/// The hash of `caching_sha2_password`: SHA-crypt with SHA-256 (Drepper, "Unix crypt using SHA-256 and SHA-512"), with
/// as many rounds as the hash that it replaces.
///
/// # Errors
/// [`Code::EntropyUnavailable`](rotation::Code::EntropyUnavailable).
pub(crate) fn caching_sha2(password: &Password, replaced: &[u8], entropy: &impl Entropy) -> Result<Zeroizing<String>> {
    let rounds = parts(replaced).map_or(LEAST_ROUNDS, |(rounds, _)| rounds);
    let mut salt = [0; SALT_CHARACTERS];
    entropy.fill(&mut salt)?;
    for byte in &mut salt {
        *byte = symbol(u32::from(*byte));
    }
    Ok(with_salt(password.expose().as_bytes(), rounds, &salt))
}

/// Whether a stored `caching_sha2_password` hash is of this password.
fn is_caching_sha2_of(stored: &[u8], password: &Password) -> bool {
    parts(stored)
        .is_some_and(|(rounds, salt)| with_salt(password.expose().as_bytes(), rounds, salt).as_bytes() == stored)
}

/// Rounds and salt of `$A$<rounds/1000, three hexadecimal digits>$<20 characters of salt><43 of hash>`.
fn parts(stored: &[u8]) -> Option<(Thousands, &[u8])> {
    let (rounds, rest) = stored.strip_prefix(b"$A$")?.split_at_checked(3)?;
    let rounds = usize::from_str_radix(std::str::from_utf8(rounds).ok()?, 16).ok()?;
    let (salt, _) = rest.strip_prefix(b"$")?.split_at_checked(SALT_CHARACTERS)?;
    Some((Thousands(rounds), salt))
}

/// Whether a stored hash is of this password. The hashes of the three plugins have different forms.
pub(crate) fn matches(stored: &[u8], password: &Password) -> bool {
    is_caching_sha2_of(stored, password)
        || [native(password), ed25519(password)].iter().any(|hash| stored == hash.as_bytes())
}

/// The password of an account that is created and not finished. It is derived from another password, so that whoever
/// knows that one recognizes the account.
pub(crate) fn mark(user: &str, secret: &Password) -> Password {
    let mut context = Context::new(&SHA512);
    for part in ["lockstep: the half-made clone", user, secret.expose()] {
        context.update(part.as_bytes());
        context.update(&[0]);
    }
    let text = STANDARD_NO_PAD.encode(context.finish().as_ref());
    Password::from(text)
}

/// The hash of `mysql_native_password`.
pub(crate) fn native(password: &Password) -> Zeroizing<String> {
    let sha1 = |bytes: &[u8]| digest::digest(&SHA1_FOR_LEGACY_USE_ONLY, bytes);
    let hash = sha1(sha1(password.expose().as_bytes()).as_ref());
    let mut text = Zeroizing::new(String::from("*"));
    for byte in hash.as_ref() {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02X}");
    }
    text
}

/// The hash of MariaDB's `ed25519`: the public key whose seed, of any length, is the password.
pub(crate) fn ed25519(password: &Password) -> Zeroizing<String> {
    let hash = digest::digest(&SHA512, password.expose().as_bytes());
    let mut scalar = Zeroizing::new([0; 32]);
    for (to, from) in scalar.iter_mut().zip(hash.as_ref()) {
        *to = *from;
    }
    let public = EdwardsPoint::mul_base_clamped(*scalar).compress();
    Zeroizing::new(STANDARD_NO_PAD.encode(public.as_bytes()))
}

/// The steps are numbered as in the specification.
fn with_salt(password: &[u8], rounds: Thousands, salt: &[u8]) -> Zeroizing<String> {
    let b = sha256(&[password, salt, password]); // 4-8
    let mut a = Context::new(&SHA256); // 1-3
    a.update(password);
    a.update(salt);
    a.update(&repeated(&b, password.len())); // 9-10
    let mut length = password.len();
    while length > 0 {
        a.update(if length & 1 == 1 { &b } else { password }); // 11
        length >>= 1;
    }
    let a = a.finish(); // 12
    let p = repeated(&sha256(&vec![password; password.len()]), password.len()); // 13-16
    let first = a.as_ref().first().copied().map_or(0, usize::from);
    let s = repeated(&sha256(&vec![salt; 16 + first]), salt.len()); // 17-20
    let mut c = Zeroizing::new(a.as_ref().to_vec());
    for round in 0..rounds.0 * 1000 {
        // 21
        let mut context = Context::new(&SHA256);
        context.update(if round % 2 == 1 { &p } else { &c });
        if round % 3 != 0 {
            context.update(&s);
        }
        if round % 7 != 0 {
            context.update(&p);
        }
        context.update(if round % 2 == 1 { &c } else { &p });
        *c = context.finish().as_ref().to_vec();
    }
    let mut text = Zeroizing::new(format!("$A${:03X}$", rounds.0));
    text.reserve(SALT_CHARACTERS + 43);
    text.extend(salt.iter().copied().map(char::from));
    encode(&c, &mut text); // 22
    text
}

fn sha256(parts: &[&[u8]]) -> Zeroizing<Vec<u8>> {
    let mut context = Context::new(&SHA256);
    parts.iter().for_each(|part| context.update(part));
    Zeroizing::new(context.finish().as_ref().to_vec())
}

/// This many bytes, repeated from the start.
fn repeated(bytes: &[u8], length: usize) -> Zeroizing<Vec<u8>> {
    Zeroizing::new(bytes.iter().copied().cycle().take(length).collect())
}

/// Takes three bytes at a time, ten apart, in rotating order. The last two bytes stand alone.
fn encode(hash: &[u8], text: &mut String) {
    let byte = |index: usize| hash.get(index).copied().map_or(0, u32::from);
    let mut group = |high: u32, middle: u32, low: u32, symbols: u32| {
        let mut bits = high << 16 | middle << 8 | low;
        for _ in 0..symbols {
            text.push(char::from(symbol(bits)));
            bits >>= 6;
        }
    };
    let mut at = (0, 10, 20);
    for _ in 0..10 {
        group(byte(at.0), byte(at.1), byte(at.2), 4);
        at = (at.2 + 1, at.0 + 1, at.1 + 1);
    }
    group(0, byte(31), byte(30), 3);
}

fn symbol(bits: u32) -> u8 {
    ALPHABET.get((bits & 63) as usize).copied().unwrap_or(b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::password::OsEntropy;

    /// Taken from `mysql.user` of MySQL 9.7.4 and of MariaDB 10.11.18.
    const STORED: [(&str, &[u8], &str, &str); 4] = [
        (
            "a",
            b"$A$00A$]\x191\x1c\x06nk_\x171r\x17iel6BdWMqAT/NPZDjGEb7uz3woq5tr5MwpOKZFihaP05m76vPNA",
            "GvRmi9ungFjJD9sKjaq/T3CL1LmO2CLpz5I42gnB7Eg",
            "*667F407DE7C6AD07358FA38DAED7828A72014B4E",
        ),
        (
            "correct horse battery staple",
            b"$A$00A$FO\x05\r2\x18\x0cj_WBy%CI7\x05;)QgSl5UMVRJ06Qj7XW4k.A7Dhih.l62EOvOZ2cZOAFOV7",
            "1+uYqLS7J/yXURCXR5LjPl0TZDP5bkgVXq1Kq9aCeL4",
            "*F4AF2E5D85456A908E0F552F0366375B06267295",
        ),
        (
            "p\u{e4}ssw\u{f6}rd \u{2713}",
            b"$A$00A$Lw,\x05M\n}=\x02\x15Rk>\x1bs\x19r\x1d\x195OgJa4QmszC1KZPvZEogikzc4kOL1t8YbaOEQKyW1Ff4",
            "vQtn1FBFOlGBmx8NaxPuUfhaZeuNK967RWgnYNHgNH0",
            "*8605170CA827CE96DEEF214B7293357309C333B3",
        ),
        (
            // A hundred letters.
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
            b"$A$00A$MyHT\x0f\x1fdl\x0c\x1cPW\x15\x10]v(XI\x13ml3DqblvtWrDoEROO68UqT2cFXza50xJptEIgoaJvv4",
            "UdhomqEdOtHyENpx97aeneL7yr8EYvVvlNWoAEJEyZg",
            "*5615FCF664CC628D3AED5FD5D5138B5DAE42D72C",
        ),
    ];

    #[test]
    fn the_servers_own_hashes_are_matched() {
        for (password, caching_sha2, ed25519_key, native_hash) in STORED {
            let password = Password::from(password);
            assert!(is_caching_sha2_of(caching_sha2, &password));
            assert!(!is_caching_sha2_of(caching_sha2, &"another".into()));
            assert_eq!(*ed25519(&password), ed25519_key);
            assert_eq!(*native(&password), native_hash);
        }
    }

    #[test]
    fn a_new_hash_has_a_salt_of_its_own_and_the_rounds_of_the_old_one() {
        let new = |replaced: &[u8]| caching_sha2(&"new".into(), replaced, &OsEntropy).unwrap();
        let (one, other) = (new(STORED[0].1), new(b""));
        assert!(one.starts_with("$A$00A$") && other.starts_with("$A$005$"));
        assert_ne!(one.get(7..27), other.get(7..27));
        for hash in [one, other] {
            assert_eq!(hash.len(), 70);
            assert!(hash.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(is_caching_sha2_of(hash.as_bytes(), &"new".into()));
        }
    }

    #[test]
    fn what_is_no_such_hash_matches_nothing() {
        for stored in [&b""[..], b"$A$", b"$A$005", b"$A$XYZ$12345678901234567890", b"*0123", b"$A$005$short"] {
            assert!(!is_caching_sha2_of(stored, &"new".into()));
        }
    }
}
