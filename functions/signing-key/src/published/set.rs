//! The set itself: how it reads and is written, whose it is, and what fits into a place.
//!
//! The set is one of RFC 7517 with one more member, which verifiers have to ignore (section 5): `lockstep`. It says whose set it is, and
//! since when each key is in it.

use crate::key::jwk::Material;
use crate::place::{MOST_KEYS, Place};
use crate::secret::SigningSecret;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The member with this function's notes.
const NOTES: &str = "lockstep";

/// A published set of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishedSet {
    pub(super) keys: Vec<Value>,
    /// Whose set it is: a fingerprint of the secret.
    pub(super) owner: Option<String>,
    /// When this function added each key, in seconds since the Unix epoch.
    pub(super) since: BTreeMap<String, u64>,
    /// Members that others added.
    others: Map<String, Value>,
}

/// The secret that owns a set, and what its keys should be.
#[derive(Clone, Copy, Debug)]
pub struct Owner<'a> {
    /// The secret's fingerprint.
    pub fingerprint: &'a str,
    /// The version whose keys have to be public.
    pub secret: &'a SigningSecret,
}

impl PublishedSet {
    /// Reads a set. `None` if the text is none.
    pub fn read(text: &str) -> Option<Self> {
        let Value::Object(mut members) = serde_json::from_str(text).ok()? else { return None };
        let Value::Array(keys) = members.remove("keys")? else { return None };
        let notes = members.remove(NOTES).unwrap_or_default();
        let since = notes.get("since").and_then(Value::as_object).into_iter().flatten();
        Some(Self {
            owner: notes.get("owner").and_then(Value::as_str).map(str::to_owned),
            since: since.filter_map(|(kid, at)| Some((kid.clone(), at.as_u64()?))).collect(),
            others: members,
            keys: Some(keys).filter(|keys| keys.len() <= MOST_KEYS)?,
        })
    }

    /// A set of these keys. `owner` is whose it is, and `since` tells since when each key is in it, as the place says.
    pub fn of(keys: Vec<Value>, owner: Option<String>, since: impl Fn(&str) -> Option<u64>) -> Self {
        let noted = keys.iter().map(kid_of).filter_map(|kid| Some((kid.to_owned(), since(kid)?))).collect();
        Self { keys, owner, since: noted, others: Map::new() }
    }

    /// The keys.
    pub fn keys(&self) -> &[Value] {
        &self.keys
    }

    /// Whose set it is.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// What is noted about since when a key is in it.
    pub fn noted(&self, kid: &str) -> Option<u64> {
        self.since.get(kid).copied()
    }

    /// The text to publish.
    pub fn text(&self) -> String {
        let mut members = self.others.clone();
        members.insert("keys".to_owned(), self.keys.clone().into());
        members.insert(NOTES.to_owned(), json!({"owner": self.owner, "since": self.since}));
        Value::Object(members).to_string()
    }

    /// Checks that the place can hold the set, and that this function can read it again.
    ///
    /// # Errors
    /// [`Code::OutletRefused`].
    pub fn fits(&self, place: &Place) -> Result<()> {
        let (keys, bytes) = (self.keys.len(), self.text().len());
        let (most_keys, most_bytes) = (place.most_keys(), place.most_bytes().unwrap_or(usize::MAX));
        if let Some(kid) = self.unfit(place) {
            return Err(Error::new(Code::OutletRefused)
                .with(Fact::Field, place)
                .with(Fact::KeyId, kid)
                .with(Fact::Found, "a key of another kind")
                .with(Fact::Expected, "ES256 or RS256, which CloudFront verifies"));
        }
        if keys <= most_keys && bytes <= most_bytes {
            return Ok(());
        }
        let size = place.most_bytes().map(|most| format!(" and {most} bytes")).unwrap_or_default();
        Err(Error::new(Code::OutletRefused)
            .with(Fact::Field, place)
            .with(Fact::Found, format_args!("a set of {keys} keys and {bytes} bytes"))
            .with(
                Fact::Expected,
                format_args!(
                    "at most {most_keys} keys{size}: a smaller maxTokenLifetime or maxCache, rarer rotations, or another place"
                ),
            ))
    }

    /// The id of a key that the place cannot hold. CloudFront takes RSA keys of 2048 bits and keys on P-256.
    fn unfit(&self, place: &Place) -> Option<&str> {
        let fits = |jwk: &&Value| jwk.get("alg").is_none_or(|alg| alg == "ES256" || alg == "RS256");
        match place {
            Place::KeyGroup(_) => self.keys.iter().find(|jwk| !fits(jwk)).map(kid_of),
            Place::Object { .. } | Place::Parameter(_) => None,
        }
    }

    /// Whether the set has grown since `before`.
    pub fn is_larger(&self, before: &Self) -> bool {
        self.keys.len() > before.keys.len() || self.text().len() > before.text().len()
    }

    /// The entries with this id.
    pub fn entries(&self, kid: &str) -> impl Iterator<Item = &Value> {
        self.keys.iter().filter(move |key| kid_of(key) == kid)
    }

    /// Whether it has this very key, and nothing else under the key's id.
    ///
    /// **Invariant:** an id has one entry. Some verifiers try each entry of an id, so a second one would let its owner sign tokens; others
    /// refuse all tokens then. Test: `a_second_entry_with_a_known_id_is_noticed_and_removed`.
    pub fn has(&self, jwk: &Value) -> bool {
        let mut entries = self.entries(kid_of(jwk));
        entries.next().is_some_and(|entry| is_usable(entry, jwk)) && entries.next().is_none()
    }

    /// Whether verifiers find this very key by its id, and no other. What else they look at depends on who serves the set.
    pub fn serves(&self, jwk: &Value) -> bool {
        let mut entries = self.entries(kid_of(jwk));
        entries.next().is_some_and(|entry| is_same(entry, jwk)) && entries.next().is_none()
    }

    /// Since when the key of this id is in it. `None` if nobody noted that, or noted a time to come.
    pub fn since(&self, kid: &str, now: u64) -> Option<u64> {
        self.since.get(kid).copied().filter(|since| *since <= now)
    }

    /// Checks that the set is this secret's, or may become it.
    ///
    /// **Invariant:** a set belongs to one secret. Otherwise whoever may write one secret could add keys to another secret's set, and sign
    /// tokens that its verifiers accept. A private key of the set does not make it another secret's: whoever has stolen one could take the
    /// set over, and the emergency of its owner would be refused. Test: `a_set_of_another_secret_is_left_alone`.
    ///
    /// # Errors
    /// [`Code::OutletTaken`].
    pub fn is_of(&self, owner: Owner<'_>) -> Result<()> {
        let taken = |found: &str| Err(Error::new(Code::OutletTaken).with(Fact::Found, found));
        match &self.owner {
            Some(fingerprint) if fingerprint == owner.fingerprint => Ok(()),
            Some(_) => taken("keys of another secret"),
            // Somebody published a key by hand. Who has its private part may speak for it.
            None if self.keys.is_empty() || secret_signs(self, owner.secret) => Ok(()),
            None => taken("keys of somebody else"),
        }
    }
}

fn secret_signs(set: &PublishedSet, secret: &SigningSecret) -> bool {
    secret.signers().any(|key| set.entries(&key.kid).any(|entry| is_same(entry, &key.jwk())))
}

/// Whether verifiers take the entry for this key, and for what it signs (RFC 7517, sections 4.2 to 4.4).
fn is_usable(entry: &Value, jwk: &Value) -> bool {
    let verifies = entry.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|operation| operation == "verify"))
    });
    is_same(entry, jwk) && verifies && ["kid", "alg", "use"].iter().all(|name| entry.get(name) == jwk.get(name))
}

/// Whether the entry is this key.
fn is_same(entry: &Value, jwk: &Value) -> bool {
    Material::of(entry).is_some() && Material::of(entry) == Material::of(jwk)
}

/// The id of a key.
pub(crate) fn kid_of(jwk: &Value) -> &str {
    jwk.get("kid").and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::algorithm::Algorithm;
    use crate::published::testing::{NOW, dates, key, owner, secret};
    use crate::secret::Previous;

    #[test]
    fn a_set_of_another_secret_is_left_alone() {
        let (mine, yours) = (secret(), secret());
        let set = PublishedSet::default().grown(Owner { fingerprint: "other", secret: &yours }, NOW, dates()).unwrap();
        assert_eq!(set.is_of(owner(&mine)).unwrap_err().code(), Code::OutletTaken);
        let stolen = set.is_of(Owner { fingerprint: "this", secret: &yours }).unwrap_err();
        assert_eq!(stolen.code(), Code::OutletTaken, "a private key of the set does not make it one's own");
        set.is_of(Owner { fingerprint: "other", secret: &mine }).unwrap();
        let by_hand = PublishedSet { owner: None, ..set };
        assert_eq!(by_hand.is_of(owner(&mine)).unwrap_err().code(), Code::OutletTaken);
        by_hand.is_of(owner(&yours)).unwrap();
        PublishedSet::default().is_of(owner(&mine)).unwrap();
    }

    #[test]
    fn a_key_that_was_published_by_hand_without_its_algorithm_shows_whose_it_is() {
        let secret = secret();
        let mut jwk = secret.current.as_ref().unwrap().jwk();
        jwk.as_object_mut().unwrap().retain(|name, _| name != "alg" && name != "use");
        PublishedSet { keys: vec![jwk], ..PublishedSet::default() }.is_of(owner(&secret)).unwrap();
    }

    /// https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cloudfront-limits.html
    #[test]
    fn a_key_group_holds_five_keys_of_two_kinds() {
        let group = Place::read("cloudfront:a-1").unwrap();
        let fits = |algorithm: Algorithm, number: usize| {
            let kids = (0..number).map(|number| format!("key-{number}"));
            let keys = kids.map(|kid| key().material().jwk(&kid, algorithm)).collect();
            PublishedSet::of(keys, None, |_| None).fits(&group).map_err(|error| error.code())
        };
        for algorithm in [Algorithm::Es256, Algorithm::Rs256] {
            assert_eq!((fits(algorithm, 5), fits(algorithm, 6)), (Ok(()), Err(Code::OutletRefused)));
        }
        for algorithm in [Algorithm::Es384, Algorithm::EdDsa, Algorithm::Ps256] {
            assert_eq!(fits(algorithm, 1), Err(Code::OutletRefused), "{algorithm:?}");
        }
    }

    #[test]
    fn a_set_that_a_place_cannot_hold_is_refused_with_both_times() {
        let (object, parameter) = (Place::read("s3://bucket/a").unwrap(), Place::read("ssm:/a").unwrap());
        let mut secret = secret();
        let set = |secret: &SigningSecret| PublishedSet::default().grown(owner(secret), NOW, dates()).unwrap();
        for number in 3..MOST_KEYS {
            let kid = format!("old-{number}");
            let public_key = key().material().jwk(&kid, Algorithm::Es256);
            secret.previous.push(Previous { kid, retire_at: NOW + 5, public_key });
        }
        set(&secret).fits(&object).unwrap();
        assert!(PublishedSet::read(&set(&secret).text()).is_some());
        let too_large = set(&secret).fits(&parameter).unwrap_err().to_string();
        assert!(
            ["maxTokenLifetime", "maxCache", "8192 bytes"].iter().all(|text| too_large.contains(text)),
            "{too_large}"
        );
        let public_key = key().material().jwk("one more", Algorithm::Es256);
        secret.previous.push(Previous { kid: "one more".to_owned(), retire_at: NOW + 5, public_key });
        assert_eq!(set(&secret).fits(&object).unwrap_err().code(), Code::OutletRefused);
        assert!(PublishedSet::read(&set(&secret).text()).is_none());
        let smaller = set(&secret).trimmed(owner(&secret), NOW + 5, dates()).unwrap();
        assert!(!smaller.is_larger(&set(&secret)) && set(&secret).is_larger(&smaller));
    }
}
