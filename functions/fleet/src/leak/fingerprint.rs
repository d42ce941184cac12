//! Keyed fingerprints of credentials, in a tag of their secret.
//!
//! A tag, and not a store of the function's own: ListSecrets brings the tags of a hundred secrets in one call, a deleted secret takes
//! its fingerprints along, and there is nothing else to back up, to encrypt and to pay. Whoever may list secrets sees the tags. Without
//! the key a fingerprint is 128 random bits, so that it cannot be tried against guesses.
//!
//! **Invariant:** a fingerprint holds for one secret alone, because its ARN is part of it. Otherwise whoever may tag a secret copies
//! another's fingerprint, and a leak rotates the wrong secret; and whoever may write a secret tries guesses in it, and compares the tags.
//! Test: `a_copied_tag_matches_nothing`.

use super::values::{self, Kind};
use crate::digest;
use crate::plan::member::Member;
use crate::service::Version;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rotation::error::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::fmt;

/// The tag with a secret's fingerprints.
pub(super) const FINGERPRINTS: &str = "lockstep:fingerprints";
/// A key has at least so many bytes.
const SHORTEST_KEY: usize = 32;
/// A tag's value has so many characters. <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_Tag.html>
const LONGEST_TAG: usize = 256;
/// So many of them are of one version, so that there is room for those before.
const MOST_OF_ONE: usize = 4;
/// The length of a version's mark.
const MARK: usize = 4;

/// How old the credential of a fingerprint is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Age {
    /// It is in the current value, or in a pending one.
    Current,
    /// It was replaced by that one, and may still work.
    Previous,
    /// It was replaced before.
    Older,
    /// It was replaced before the tag was written, and the labels have moved since.
    Unknown,
}

impl Age {
    /// The word in answers.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Older => "older",
            Self::Unknown => "unknown",
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

/// A fingerprint in a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Print {
    /// The first 128 bits of the HMAC.
    pub(super) text: String,
    /// What it was when the tag was written.
    written: Age,
    /// The mark of the version that had it; empty if nobody knows.
    version: String,
}

/// What a tag says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) prints: Vec<Print>,
    pub(super) kind: Kind,
    /// The marks of the versions that were AWSCURRENT and AWSPREVIOUS.
    versions: Vec<String>,
}

impl Tag {
    /// How old a fingerprint's credential is, by the labels that the secret has now.
    ///
    /// **Invariant:** a value is `older` only if the tag was made of the versions that have the labels now. Otherwise a credential that somebody
    /// brought back, or that a tag of yesterday does not know, counts as dead. Test: `only_what_is_known_to_be_replaced_is_older`.
    pub(super) fn age(&self, print: &Print, labels: &BTreeMap<String, String>) -> Age {
        let has = |label: &str| labels.get(label).map(|version| mark(version));
        let (current, previous) = (has("AWSCURRENT"), has("AWSPREVIOUS"));
        let version = Some(&print.version).filter(|version| !version.is_empty());
        let knows = |mark: &Option<String>| mark.as_ref().is_none_or(|mark| self.versions.contains(mark));
        if version.is_some() && (version == current.as_ref() || version == has("AWSPENDING").as_ref()) {
            Age::Current
        } else if version.is_some() && version == previous.as_ref() {
            Age::Previous
        } else if current.is_some() && knows(&current) && knows(&previous) {
            Age::Older
        } else if print.written == Age::Older {
            Age::Unknown
        } else {
            print.written
        }
    }
}

/// Tells the versions of a secret apart.
fn mark(version: &str) -> String {
    short(&digest::of(&["version", version]))
}

/// `MARK` characters for the first bytes.
fn short(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes.get(..MARK * 3 / 4).unwrap_or_default())
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
        short(hmac::sign(&self.0, b"the id of the key").as_ref())
    }

    /// The tag of the secret `arn` with these versions as AWSCURRENT and AWSPREVIOUS, after the tag that it had; and whether each of their
    /// credentials has a fingerprint in it.
    pub(super) fn tag(&self, arn: &str, current: &Version, previous: Option<&Version>, before: &str) -> (String, bool) {
        let (mut all, mut beyond): (Vec<Print>, Vec<Print>) = (Vec::new(), Vec::new());
        let mut complete = true;
        for (version, written) in std::iter::once((current, Age::Current)).chain(previous.map(|it| (it, Age::Previous)))
        {
            let texts = values::texts(version.text.expose());
            let prints = texts.all.iter().map(|text| Print {
                text: self.of_value(text).at(arn),
                written,
                version: mark(&version.id),
            });
            let mut new: Vec<_> = prints.filter(|one| !all.iter().any(|known| known.text == one.text)).collect();
            complete &= texts.complete && new.len() <= MOST_OF_ONE;
            beyond.extend(new.split_off(new.len().min(MOST_OF_ONE)));
            all.extend(new);
        }
        let older = self.read(before).map(|tag| tag.prints).unwrap_or_default();
        for one in older {
            let is = |known: &&Print| known.text == one.text;
            // One of many values of a version may have had a place before.
            let older = beyond.iter().find(is).cloned().unwrap_or(Print { written: Age::Older, ..one.clone() });
            if !all.iter().any(|known| is(&known)) {
                all.push(older);
            }
        }
        let mut tag = format!("k:{} v:{}", self.id(), mark(&current.id));
        tag.extend(previous.map(|version| mark(&version.id)));
        tag.extend(Kind::of(current.text.expose()).letter().map(|letter| format!(" t:{letter}")));
        for one in all {
            let shown = match one.written {
                Age::Current => format!(" c:{}", one.text),
                Age::Previous => format!(" p:{}", one.text),
                Age::Older | Age::Unknown => format!(" o{}:{}", one.version, one.text),
            };
            if tag.len() + shown.len() > LONGEST_TAG {
                break;
            }
            tag.push_str(&shown);
        }
        (tag, complete)
    }

    /// What a tag says. Under another key it says nothing.
    fn read(&self, tag: &str) -> Option<Tag> {
        let (mut read, mut is_own) = (Tag { prints: Vec::new(), kind: Kind::Usual, versions: Vec::new() }, false);
        for (name, value) in tag.split(' ').filter_map(|part| part.split_once(':')) {
            let version = |number: usize| read.versions.get(number).cloned().unwrap_or_default();
            let print = |written, version| Print { text: value.to_owned(), written, version };
            match (name, name.strip_prefix('o')) {
                ("k", _) => is_own = value == self.id(),
                ("v", _) => {
                    let marks = [value.get(..MARK), value.get(MARK..MARK * 2)];
                    read.versions = marks.into_iter().flatten().map(str::to_owned).collect();
                }
                ("t", _) => {
                    let letter = |kind: &Kind| kind.letter().is_some_and(|letter| value.chars().eq([letter]));
                    read.kind = [Kind::SigningKey, Kind::Certificate].into_iter().find(letter).unwrap_or(Kind::Usual);
                }
                ("c", _) => read.prints.push(print(Age::Current, version(0))),
                ("p", _) => read.prints.push(print(Age::Previous, version(1))),
                (_, Some(mark)) => read.prints.push(print(Age::Older, mark.to_owned())),
                _ => {}
            }
        }
        is_own.then_some(read)
    }

    /// What a secret's tag says, if it has one under this key.
    pub(super) fn in_tag(&self, member: &Member) -> Option<Tag> {
        self.read(tag_of(member))
    }

    /// Whether a secret has fingerprints that this key cannot read.
    pub(super) fn cannot_read(&self, member: &Member) -> bool {
        let tag = tag_of(member);
        !tag.is_empty() && self.read(tag).is_none()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::of("0123456789abcdef0123456789abcdef").unwrap()
    }

    fn version(id: &str, password: &str) -> Version {
        Version { id: id.to_owned(), text: format!(r#"{{"engine":"postgres","password":"{password}"}}"#).into() }
    }

    fn labels(current: &str, previous: &str) -> BTreeMap<String, String> {
        let labels = [("AWSCURRENT", current), ("AWSPREVIOUS", previous)].into_iter().filter(|(_, id)| !id.is_empty());
        labels.map(|(label, id)| (label.to_owned(), id.to_owned())).collect()
    }

    fn age(tag: &str, password: &str, labels: &BTreeMap<String, String>) -> Option<Age> {
        let (tag, text) = (key().read(tag).unwrap(), key().of_value(password).at("arn"));
        tag.prints.iter().find(|print| print.text == text).map(|print| tag.age(print, labels))
    }

    #[test]
    fn a_tag_has_room_and_moves_older_values_on() {
        let of = |number: usize| version(&format!("v{number}"), &format!("password-{number:04}"));
        let mut tag = String::new();
        for number in 1..20 {
            let (current, previous) = (of(number), of(number - 1));
            let (next, complete) = key().tag("arn", &current, Some(&previous), &tag);
            assert!(complete);
            assert_eq!(key().tag("arn", &current, Some(&previous), &next).0, next, "writing it again changes nothing");
            tag = next;
        }
        assert!(tag.len() <= 256 && tag.chars().all(|c| c.is_ascii_alphanumeric() || " :_-".contains(c)), "{tag}");
        let at = |number| age(&tag, &format!("password-{number:04}"), &labels("v19", "v18"));
        assert_eq!((at(19), at(18), at(17)), (Some(Age::Current), Some(Age::Previous), Some(Age::Older)));
        assert_eq!((at(12), at(11)), (Some(Age::Older), None));
    }

    #[test]
    fn a_tag_with_all_that_it_can_hold_has_room() {
        let secret = |word: &str| {
            let fields: Vec<_> = (0..9).map(|number| format!(r#""key{number}":"{word}-key-{number}""#)).collect();
            let text = format!(r#"{{"algorithm":"ES256","maxTokenLifetime":1,{}}}"#, fields.join(","));
            Version { id: word.to_owned(), text: text.into() }
        };
        let (tag, complete) = key().tag("arn", &secret("current"), Some(&secret("previous")), "");
        assert!(!complete && tag.len() <= 256, "{tag}");
        let read = key().read(&tag).unwrap();
        assert_eq!((read.prints.len(), read.kind), (2 * MOST_OF_ONE, Kind::SigningKey));
    }

    #[test]
    fn only_what_is_known_to_be_replaced_is_older() {
        let first = key().tag("arn", &version("v1", "the-first-one"), None, "").0;
        let (second, third) = (version("v2", "the-second-one"), version("v3", "the-third-one"));
        let tag = key().tag("arn", &second, Some(&version("v1", "the-first-one")), &first).0;
        let tag = key().tag("arn", &third, Some(&second), &tag).0;
        let all = |now: &BTreeMap<String, String>| {
            ["the-first-one", "the-second-one", "the-third-one"].map(|one| age(&tag, one, now).unwrap())
        };
        assert_eq!(all(&labels("v3", "v2")), [Age::Older, Age::Previous, Age::Current]);
        assert_eq!(all(&labels("v2", "v3")), [Age::Older, Age::Current, Age::Previous], "it was rolled back");
        assert_eq!(
            all(&labels("v1", "v3")),
            [Age::Current, Age::Previous, Age::Previous],
            "an old version was brought back"
        );
        assert_eq!(all(&labels("v4", "v3")), [Age::Unknown, Age::Previous, Age::Previous], "it was rotated since");
        assert_eq!(
            all(&labels("v5", "v4")),
            [Age::Unknown, Age::Previous, Age::Current],
            "and once more: nobody knows"
        );
        assert_eq!(all(&labels("", "")), [Age::Unknown, Age::Previous, Age::Current], "the list has no labels");
        let mut pending = labels("v3", "v2");
        pending.insert("AWSPENDING".to_owned(), "v1".to_owned());
        assert_eq!(all(&pending)[0], Age::Current);
    }

    #[test]
    fn an_edit_changes_no_age() {
        let edited = Version {
            id: "v4".to_owned(),
            text: r#"{"password":"the-third-one","description":"edited by hand"}"#.into(),
        };
        let third = version("v3", "the-third-one");
        let tag = key().tag("arn", &third, Some(&version("v2", "the-second-one")), "").0;
        let tag = key().tag("arn", &edited, Some(&third), &tag).0;
        assert_eq!(age(&tag, "the-third-one", &labels("v4", "v3")), Some(Age::Current));
        assert_eq!(age(&tag, "the-second-one", &labels("v4", "v3")), Some(Age::Older));
    }

    #[test]
    fn a_copied_tag_matches_nothing() {
        let tag = key().tag("arn", &version("v", "a-password"), None, "").0;
        let prints: Vec<_> = key().read(&tag).unwrap().prints.into_iter().map(|print| print.text).collect();
        let trace = key().of_value("a-password");
        assert!(prints.contains(&trace.at("arn")) && !prints.contains(&trace.at("another")));
    }

    #[test]
    fn a_tag_under_another_key_is_told() {
        let other = Key::of("another key, another key, another key").unwrap();
        let tag = key().tag("arn", &version("v", "a-password"), None, "").0;
        let member = Member { tags: [(FINGERPRINTS.to_owned(), tag.clone())].into(), ..Member::default() };
        assert!(other.cannot_read(&member) && !key().cannot_read(&member) && !other.cannot_read(&Member::default()));
        let renewed = other.tag("arn", &version("v", "a-password"), None, &tag).0;
        assert_eq!(other.read(&renewed).unwrap().prints.len(), 1, "nothing of the other key stays");
    }

    #[test]
    fn a_short_key_is_refused() {
        assert!(Key::of("short").is_err());
    }
}
