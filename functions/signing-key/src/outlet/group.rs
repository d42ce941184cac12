//! What is noted at CloudFront about a key group and its public keys. Everything here is pure.

use crate::key::algorithm::Algorithm;
use crate::key::jwk::Material;
use crate::published::{PublishedSet, kid_of};
use crate::secret::is_id;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The first word of each comment.
const WORD: &str = "lockstep";
/// A key that a rotation has made as recently may be on its way into a group.
const YOUNG: u64 = 3600;

/// What a group was when it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub(super) tag: String,
    pub(super) name: String,
    /// The ids of its public keys, by the ids of the set's keys.
    pub(super) ids: BTreeMap<String, String>,
    pub(super) keys: Vec<Value>,
}

impl Group {
    /// CloudFront's id of a key of the set.
    pub fn id(&self, kid: &str) -> Option<&str> {
        self.ids.get(kid).map(String::as_str)
    }
}

/// The comment of a group: whose it is, and since when each key is in it. It fits into 128 characters with five keys, the most that a
/// group has.
///
/// <https://docs.aws.amazon.com/cloudfront/latest/APIReference/API_KeyGroupConfig.html>
#[derive(Debug, Default)]
pub(super) struct GroupNote {
    pub(super) owner: Option<String>,
    /// The beginnings of the hashes of the keys' ids, with the seconds since the Unix epoch.
    since: Vec<(String, u64)>,
}

/// The comment of a public key: which secret has made it, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeyNote {
    pub(super) owner: String,
    pub(super) made: u64,
}

/// A public key at CloudFront.
#[derive(Clone, Debug)]
pub(super) struct PublicKey {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) material: Option<Material>,
    pub(super) note: Option<KeyNote>,
}

/// Four characters for the id of a key: one of 16 million.
fn short(kid: &str) -> String {
    let hash = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, kid.as_bytes()));
    hash.chars().take(4).collect()
}

impl GroupNote {
    pub(super) fn of(set: &PublishedSet) -> Self {
        let since = |jwk: &Value| Some((short(kid_of(jwk)), set.noted(kid_of(jwk))?));
        Self { owner: set.owner().map(str::to_owned), since: set.keys().iter().filter_map(since).collect() }
    }

    /// Any other comment says nothing.
    pub(super) fn read(text: &str) -> Self {
        let mut words = text.split(' ');
        if words.next() != Some(WORD) {
            return Self::default();
        }
        let owner = words.next().filter(|owner| !owner.is_empty()).map(str::to_owned);
        let entry = |entry: &str| {
            let (short, since) = entry.split_at_checked(4)?;
            Some((short.to_owned(), since.parse().ok()?))
        };
        Self { owner, since: words.filter_map(entry).collect() }
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{WORD} {}", self.owner.as_deref().unwrap_or_default());
        for (short, since) in &self.since {
            text.push_str(&format!(" {short}{since}"));
        }
        text
    }

    /// Since when a key is in the group. Of two keys with the same beginning it is the later time.
    pub(super) fn since(&self, kid: &str) -> Option<u64> {
        self.since.iter().filter(|(known, _)| *known == short(kid)).map(|(_, since)| *since).max()
    }
}

impl KeyNote {
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (word, owner, made) = (words.next()?, words.next()?, words.next()?);
        (word == WORD).then_some(())?;
        Some(Self { owner: owner.to_owned(), made: made.parse().ok()? })
    }

    pub(super) fn text(&self) -> String {
        format!("{WORD} {} {}", self.owner, self.made)
    }
}

impl PublicKey {
    /// The key as an entry of a set. Its name is the key's id there.
    pub(super) fn jwk(&self) -> Value {
        let kid = if is_id(&self.name) { &self.name } else { &self.id };
        match &self.material {
            Some(material @ Material::Curve(..)) => material.jwk(kid, Algorithm::Es256),
            Some(material) => material.jwk(kid, Algorithm::Rs256),
            None => json!({"kid": kid}),
        }
    }

    /// Whether this secret has made the key, and needs it no more.
    pub(super) fn is_left_by(&self, owner: &str, kept: &[&str], now: u64) -> bool {
        let is_own = |note: &KeyNote| note.owner == owner && note.made.saturating_add(YOUNG) <= now;
        !owner.is_empty() && self.note.as_ref().is_some_and(is_own) && !kept.contains(&self.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;

    const OWNER: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    #[test]
    fn the_comment_of_a_full_group_fits_and_is_read_back() {
        let kids = ["a", "b", "c", "d", "e"];
        let keys = kids.iter().map(|kid| json!({"kid": kid})).collect();
        let set = PublishedSet::of(keys, Some(OWNER.to_owned()), |_| Some(1_800_000_000));
        let text = GroupNote::of(&set).text();
        assert!(text.len() <= 128, "{}", text.len());
        let read = GroupNote::read(&text);
        assert_eq!(read.owner.as_deref(), Some(OWNER));
        assert!(kids.iter().all(|kid| read.since(kid) == Some(1_800_000_000)) && read.since("f").is_none());
        for other in ["", "for the website", "lockstep", "lockstepx a", "lockstep "] {
            assert_eq!(GroupNote::read(other).owner, None, "{other}");
        }
    }

    #[test]
    fn of_two_keys_with_the_same_beginning_the_later_time_counts() {
        let short = short("a");
        for times in [[5, 9], [9, 5]] {
            let text = format!("lockstep {OWNER} {short}{} {short}{}", times[0], times[1]);
            assert_eq!(GroupNote::read(&text).since("a"), Some(9), "{text}");
        }
    }

    #[test]
    fn only_keys_of_this_secret_are_deleted() {
        let key = |comment: &str, name: &str| PublicKey {
            id: "K1".to_owned(),
            name: name.to_owned(),
            material: None,
            note: KeyNote::read(comment),
        };
        let now = 1_800_000_000;
        let own = KeyNote { owner: OWNER.to_owned(), made: now - YOUNG }.text();
        assert!(own.len() <= 128);
        assert!(key(&own, "left").is_left_by(OWNER, &["kept"], now));
        assert!(!key(&own, "kept").is_left_by(OWNER, &["kept"], now));
        assert!(!key(&own, "left").is_left_by(OWNER, &[], now - 1), "it may be on its way into a group");
        for comment in ["", "lockstep", "lockstep other 5", "mine", "lockstep  5"] {
            assert!(!key(comment, "left").is_left_by(OWNER, &[], now), "{comment}");
        }
        assert!(!key("lockstep  5", "left").is_left_by("", &[], now));
    }

    #[test]
    fn a_public_key_is_the_entry_that_a_set_has() {
        for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
            let key = SigningKey::generate(algorithm, 1).unwrap();
            let material = Some(key.material().clone());
            let there = PublicKey { id: "K1".to_owned(), name: key.kid.clone(), material, note: None };
            assert_eq!(there.jwk(), key.jwk());
        }
    }
}
