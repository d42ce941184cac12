//! Keyed fingerprints of credentials, in a tag of their secret.
//!
//! A tag, and not a store of the function's own: ListSecrets brings the tags of a hundred secrets in one call, a deleted secret takes
//! its fingerprints along, and there is nothing else to back up, to encrypt and to pay. Whoever may list secrets sees the tags. Without
//! the key a fingerprint is 128 random bits, so that it cannot be tried against guesses.
//!
//! **Invariant:** a fingerprint holds for one secret alone, because its ARN is part of it. Otherwise whoever may tag a secret copies
//! another's fingerprint, and a leak rotates the wrong secret; and whoever may write a secret tries guesses in it, and compares the tags.
//! Test: `a_copied_tag_matches_nothing`.

use crate::plan::member::{Member, is_credential};
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
/// A tag's value has 256 characters: the id of the key takes 7, and a fingerprint 25 with its age and a space.
const MOST: usize = 9;
/// So many of them are of one version, so that there is room for those before.
const MOST_OF_ONE: usize = 4;
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

    /// What the fingerprints of a value at all secrets come from.
    pub(super) fn of_value(&self, value: &str) -> Trace {
        Trace(hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&self.0, value.as_bytes()).as_ref()))
    }

    /// Tells this key from another one.
    fn id(&self) -> String {
        let tag = hmac::sign(&self.0, b"the id of the key");
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..3).unwrap_or_default())
    }

    /// The tag of the secret `arn` with these texts in AWSCURRENT and AWSPREVIOUS, after the tag that it had; and whether it has room for
    /// all values of these versions.
    pub(super) fn tag(&self, arn: &str, current: &str, previous: Option<&str>, before: &str) -> (String, bool) {
        let mut all: Vec<(String, Age)> = Vec::new();
        let mut complete = true;
        for (text, age) in [(Some(current), Age::Current), (previous, Age::Previous)] {
            let values = text.map(values).unwrap_or_default();
            let new: Vec<_> = values.iter().map(|value| self.of_value(value).at(arn)).collect();
            let new: Vec<_> = new.into_iter().filter(|one| !all.iter().any(|(known, _)| known == one)).collect();
            complete &= new.len() <= MOST_OF_ONE;
            all.extend(new.into_iter().take(MOST_OF_ONE).map(|one| (one, age)));
        }
        for (one, _) in self.read(before) {
            if !all.iter().any(|(known, _)| known == one) {
                all.push((one.to_owned(), Age::Older));
            }
        }
        all.truncate(MOST);
        let shown = all.iter().map(|(one, age)| format!("{}:{one}", age.letter()));
        (std::iter::once(format!("k:{}", self.id())).chain(shown).collect::<Vec<_>>().join(" "), complete)
    }

    /// The fingerprints in a tag. Under another key they mean nothing.
    fn read<'a>(&self, tag: &'a str) -> Vec<(&'a str, Age)> {
        if self.is_other(tag) {
            return Vec::new();
        }
        let parts = tag.split(' ').filter_map(|one| {
            let (letter, fingerprint) = one.split_once(':')?;
            let age =
                [Age::Current, Age::Previous, Age::Older].into_iter().find(|age| letter.chars().eq([age.letter()]))?;
            Some((fingerprint, age))
        });
        parts.collect()
    }

    /// Whether a tag was written under another key.
    fn is_other(&self, tag: &str) -> bool {
        tag.split(' ').next().and_then(|first| first.strip_prefix("k:")) != Some(self.id().as_str())
    }

    /// The fingerprints in a secret's tag.
    pub(super) fn in_tag<'a>(&self, member: &'a Member) -> Vec<(&'a str, Age)> {
        self.read(tag_of(member))
    }

    /// Whether a secret has fingerprints that this key cannot read.
    pub(super) fn cannot_read(&self, member: &Member) -> bool {
        let tag = tag_of(member);
        !tag.is_empty() && self.is_other(tag)
    }
}

/// A value under the deployer's key.
pub(super) struct Trace(hmac::Key);

impl Trace {
    /// The fingerprint of the value at the secret `arn`: the first 128 bits of an HMAC.
    pub(super) fn at(&self, arn: &str) -> String {
        let tag = hmac::sign(&self.0, arn.as_bytes());
        URL_SAFE_NO_PAD.encode(tag.as_ref().get(..16).unwrap_or_default())
    }
}

fn tag_of(member: &Member) -> &str {
    member.tags.get(FINGERPRINTS).map(String::as_str).unwrap_or_default()
}

/// The values of a secret's text that may be credentials: first those whose names say so.
pub(super) fn values(text: &str) -> Vec<String> {
    let Ok(Value::Object(fields)) = serde_json::from_str::<Value>(text) else { return vec![text.to_owned()] };
    // `rotation.fields` gives other names to AWS's keys.
    let renamed =
        fields.get("rotation").and_then(|rotation| rotation.get("fields")).and_then(Value::as_object).cloned();
    let is_public = |name: &str| {
        let stands_for =
            renamed.iter().flatten().find(|(_, own)| own.as_str() == Some(name)).map(|(aws, _)| aws.as_str());
        PUBLIC.contains(&stands_for.unwrap_or(name))
    };
    let mut values: Vec<_> = fields
        .iter()
        .filter(|(name, _)| !is_public(name))
        .filter_map(|(name, value)| Some((name, value.as_str()?)))
        .filter(|(_, value)| value.len() >= SHORTEST_VALUE && !value.starts_with("arn:"))
        .collect();
    values.sort_by_key(|(name, _)| !is_credential(name));
    values.into_iter().map(|(_, value)| value.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::of("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn ages(key: &Key, tag: &str, value: &str) -> Option<Age> {
        let fingerprint = key.of_value(value).at("arn");
        key.read(tag).into_iter().find(|(one, _)| *one == fingerprint).map(|(_, age)| age)
    }

    #[test]
    fn a_tag_has_room_and_moves_older_values_on() {
        let value = |number: usize| format!(r#"{{"engine":"postgres","password":"password-{number:04}"}}"#);
        let mut tag = String::new();
        for number in 1..20 {
            let (current, previous) = (value(number), value(number - 1));
            let (next, complete) = key().tag("arn", &current, Some(&previous), &tag);
            assert!(complete);
            assert_eq!(key().tag("arn", &current, Some(&previous), &next).0, next, "writing it again changes nothing");
            tag = next;
        }
        assert!(tag.len() <= 256 && tag.chars().all(|c| c.is_ascii_alphanumeric() || " :_-".contains(c)), "{tag}");
        let at = |number| ages(&key(), &tag, &format!("password-{number:04}"));
        assert_eq!((at(19), at(18), at(17)), (Some(Age::Current), Some(Age::Previous), Some(Age::Older)));
        assert_eq!((at(11), at(10)), (Some(Age::Older), None));
    }

    /// The labels say how old a value is, and not how often the tag was written.
    #[test]
    fn the_previous_value_has_a_fingerprint_although_no_tag_was_written_in_its_time() {
        let tag = key().tag("arn", r#"{"password":"the-third-one"}"#, Some(r#"{"password":"the-second-one"}"#), "").0;
        assert_eq!(ages(&key(), &tag, "the-second-one"), Some(Age::Previous));
        let edited = r#"{"password":"the-third-one","description":"edited by hand"}"#;
        let tag = key().tag("arn", edited, Some(r#"{"password":"the-second-one"}"#), &tag).0;
        assert_eq!(ages(&key(), &tag, "the-second-one"), Some(Age::Previous), "an edit changes no age");
    }

    #[test]
    fn the_credential_comes_first() {
        let text = r#"{"account":"an-account-name","cluster":"a-cluster-name","description":"some-words","environment":"production","password":"a-password"}"#;
        assert_eq!(values(text)[0], "a-password");
        let (tag, complete) = key().tag("arn", text, None, "");
        assert!(!complete, "and what has no room is told");
        assert_eq!(ages(&key(), &tag, "a-password"), Some(Age::Current));
    }

    #[test]
    fn a_copied_tag_matches_nothing() {
        let tag = key().tag("arn", r#"{"password":"a-password"}"#, None, "").0;
        let fingerprints: Vec<_> = key().read(&tag).into_iter().map(|(one, _)| one.to_owned()).collect();
        let trace = key().of_value("a-password");
        assert!(fingerprints.contains(&trace.at("arn")) && !fingerprints.contains(&trace.at("another")));
    }

    #[test]
    fn a_tag_under_another_key_is_told() {
        let other = Key::of("another key, another key, another key").unwrap();
        let tag = key().tag("arn", "a-password", None, "").0;
        let member = Member { tags: [(FINGERPRINTS.to_owned(), tag.clone())].into(), ..Member::default() };
        assert!(other.cannot_read(&member) && !key().cannot_read(&member) && !other.cannot_read(&Member::default()));
        let renewed = other.tag("arn", "a-password", None, &tag).0;
        assert_eq!(other.read(&renewed).len(), 1, "nothing of the other key stays");
    }

    #[test]
    fn names_and_hosts_have_no_fingerprint() {
        let text = r#"{"engine":"postgres","host":"a-long-host.example.com","username":"a-long-username","masterarn":"arn:aws:x","port":5432,"password":"a-password"}"#;
        assert_eq!(values(text), ["a-password"]);
        let renamed = r#"{"server":"a-long-host.example.com","pass":"a-password","rotation":{"fields":{"host":"server","password":"pass"}}}"#;
        assert_eq!(values(renamed), ["a-password"]);
        assert_eq!(values("plain text"), ["plain text"]);
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Key::of("short").is_err());
    }
}
