//! Keyed fingerprints of credentials, in a tag of their secret.
//!
//! A tag, and not a store of the function's own: ListSecrets brings the tags of a hundred secrets in one call, a deleted secret takes
//! its fingerprints along, and there is nothing else to back up, to encrypt and to pay. Whoever may list secrets sees the tags. Without
//! the key a fingerprint is 128 random bits, so that it cannot be tried against guesses.

use crate::plan::member::Member;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rotation::error::{Code, Error, Fact, Result};
use serde_json::Value;
use std::fmt;

/// The tag with a secret's fingerprints.
pub(super) const FINGERPRINTS: &str = "lockstep:fingerprints";
/// A key has at least so many bytes.
const SHORTEST_KEY: usize = 32;
/// Shorter texts are words, ports and names.
const SHORTEST_VALUE: usize = 8;
/// A tag's value has 256 characters, and a fingerprint 24 with its age, and a space.
const MOST: usize = 10;
/// Keys of a secret that hold no credential.
const PUBLIC: [&str; 14] = [
    "engine",
    "host",
    "port",
    "dbname",
    "username",
    "user",
    "masterarn",
    "issuer",
    "ssl",
    "dbInstanceIdentifier",
    "dbClusterIdentifier",
    "directory",
    "url",
    "rotation",
];

/// How old the credential of a fingerprint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It was in the current value when the tag was written.
    Current,
    /// It was replaced by that one, and may still work.
    Previous,
    /// It was replaced before.
    Older,
}

impl Age {
    /// The word in answers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Older => "older",
        }
    }

    fn letter(self) -> char {
        match self {
            Self::Current => 'c',
            Self::Previous => 'p',
            Self::Older => 'o',
        }
    }

    fn next(self) -> Self {
        match self {
            Self::Current => Self::Previous,
            Self::Previous | Self::Older => Self::Older,
        }
    }
}

/// The deployer's key.
pub(super) struct Key(hmac::Key);

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key([REDACTED])")
    }
}

impl Key {
    /// The key in a secret's text.
    pub(super) fn of(text: &str) -> Result<Self> {
        if text.len() < SHORTEST_KEY {
            let error = Error::new(Code::ConfigurationInvalid).with(Fact::Field, "FINGERPRINT_KEY_SECRET");
            let error = error.with(Fact::Found, "no value, or a short one");
            return Err(error.with(Fact::Expected, "a secret with 32 random characters or more"));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, text.as_bytes())))
    }

    /// The fingerprint of a value: the first 128 bits of its HMAC.
    pub(super) fn fingerprint(&self, value: &str) -> String {
        let tag = hmac::sign(&self.0, value.as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..16).unwrap_or_default())
    }

    /// The tag of a secret with this text, after the tag that it had.
    pub(super) fn tag(&self, text: &str, before: &str) -> String {
        let current: Vec<_> = values(text).iter().map(|value| self.fingerprint(value)).collect();
        let had: Vec<_> = read(before).collect();
        let had_current: Vec<_> = had.iter().filter(|(_, age)| *age == Age::Current).map(|(one, _)| *one).collect();
        if !had_current.is_empty()
            && had_current.iter().all(|one| current.iter().any(|it| it == one))
            && had_current.len() == current.len()
        {
            return before.to_owned();
        }
        let mut all: Vec<_> = current.iter().map(|one| (one.as_str(), Age::Current)).collect();
        for (one, age) in had {
            if !current.iter().any(|it| it == one) {
                all.push((one, age.next()));
            }
        }
        all.truncate(MOST);
        all.iter().map(|(one, age)| format!("{}:{one}", age.letter())).collect::<Vec<_>>().join(" ")
    }
}

/// The values of a secret's text that may be credentials: at most four, so that a tag has room for older ones.
fn values(text: &str) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str(text) else { return vec![text.to_owned()] };
    let mut values: Vec<_> = fields
        .into_iter()
        .filter(|(name, _)| !PUBLIC.contains(&name.as_str()))
        .filter_map(|(_, value)| value.as_str().map(str::to_owned))
        .filter(|value| value.len() >= SHORTEST_VALUE && !value.starts_with("arn:"))
        .collect();
    values.truncate(4);
    values
}

fn read(tag: &str) -> impl Iterator<Item = (&str, Age)> {
    tag.split(' ').filter_map(|one| {
        let (letter, fingerprint) = one.split_once(':')?;
        let age =
            [Age::Current, Age::Previous, Age::Older].into_iter().find(|age| letter.chars().eq([age.letter()]))?;
        Some((fingerprint, age))
    })
}

/// The fingerprints in a secret's tag.
pub(super) fn in_tag(member: &Member) -> impl Iterator<Item = (&str, Age)> {
    read(member.tags.get(FINGERPRINTS).map(String::as_str).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::of("0123456789abcdef0123456789abcdef").unwrap()
    }

    #[test]
    fn a_tag_has_room_and_moves_older_values_on() {
        let value = |number: usize| format!(r#"{{"engine":"postgres","password":"password-{number:04}"}}"#);
        let mut tag = String::new();
        for number in 0..20 {
            let next = key().tag(&value(number), &tag);
            assert_eq!(key().tag(&value(number), &next), next, "writing it again changes nothing");
            tag = next;
        }
        assert!(tag.len() <= 256 && tag.chars().all(|c| c.is_ascii_alphanumeric() || " :_-".contains(c)), "{tag}");
        let ages: Vec<_> = read(&tag).map(|(_, age)| age).collect();
        assert_eq!(ages[..3], [Age::Current, Age::Previous, Age::Older]);
        assert_eq!(ages.len(), MOST);
        let at = |number| {
            read(&tag).find(|(one, _)| *one == key().fingerprint(&format!("password-{number:04}"))).map(|it| it.1)
        };
        assert_eq!((at(19), at(18), at(11), at(1)), (Some(Age::Current), Some(Age::Previous), Some(Age::Older), None));
    }

    #[test]
    fn names_and_hosts_have_no_fingerprint() {
        let text = r#"{"engine":"postgres","host":"a-long-host.example.com","username":"a-long-username","masterarn":"arn:aws:x","port":5432,"password":"a-password"}"#;
        assert_eq!(values(text), ["a-password"]);
        assert_eq!(values("plain text"), ["plain text"]);
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Key::of("short").is_err());
    }
}
