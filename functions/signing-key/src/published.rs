//! A published set of keys, and what it should become. Everything here is pure.
//!
//! The set is one of RFC 7517 with one more member, which verifiers have to ignore (section 5): `lockstep`. It says whose set it is, and
//! since when each key is in it.

use crate::key::jwk::Material;
use crate::place::{MOST_KEYS, Place};
use crate::plan::{Dates, still_public};
use crate::secret::SigningSecret;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

/// The member with this function's notes.
const NOTES: &str = "lockstep";
/// What to do about a change that was undone.
const FIND_OUT: &str = "Find out who wrote there. Nothing else is to be done: the place has this secret's keys again.";
/// What to do about a change that stands.
const WRITE_AGAIN: &str = "Nothing was written. While a rotation is unfinished only that rotation writes: start it again with RotateSecret, which \
                           puts right what is published, or give it up. Then invoke {\"Step\": \"watch\"}. Find out who wrote there.";
/// What to do about somebody else's key.
const REMOVE: &str = "Remove the key unless you know whose it is: it lets its owner sign tokens. This function leaves it where it is. Find out who \
                      wrote there.";

/// A published set of keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishedSet {
    keys: Vec<Value>,
    /// Whose set it is: a fingerprint of the secret.
    owner: Option<String>,
    /// When this function added each key, in seconds since the Unix epoch.
    since: BTreeMap<String, u64>,
    /// Members that others added.
    others: Map<String, Value>,
}

/// What is wrong with a published set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A key of the secret is missing.
    Missing(String),
    /// The entry of a key of the secret is another one, or is not the only one with its id.
    Replaced(String),
    /// A key that no rotation of this secret has added.
    Added(String),
    /// A key that is noted as one of a rotation, but that no version of the secret names. A rotation that was given up leaves such a key.
    Unnamed(String),
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

    /// A set of these keys, of which a place says whose it is and since when each key is in it.
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

    /// The set with all keys of the secret whose time is not over. Nothing leaves it. `None` if nothing changes.
    #[must_use]
    pub fn grown(&self, owner: Owner<'_>, now: u64, dates: Dates) -> Option<Self> {
        let mut set = self.clone();
        set.owner = Some(owner.fingerprint.to_owned());
        let previous = still_public(owner.secret, now, dates).into_iter().map(|one| one.public_key);
        for jwk in owner.secret.signers().map(|key| key.jwk()).chain(previous) {
            let kid = kid_of(&jwk).to_owned();
            if !set.has(&jwk) {
                set.keys.retain(|key| kid_of(key) != kid);
                set.since.insert(kid, now);
                set.keys.push(jwk);
            } else {
                // A time to come would hold up every rotation.
                set.since.entry(kid).and_modify(|since| *since = (*since).min(now)).or_insert(now);
            }
        }
        (set != *self).then_some(set)
    }

    /// The set without keys whose time is over: those that have leaked, that have signed long ago, and that were never promoted.
    /// A key that this function did not add stays. `None` if nothing changes.
    #[must_use]
    pub fn trimmed(&self, owner: Owner<'_>, now: u64, dates: Dates) -> Option<Self> {
        let secret = owner.secret;
        let signers = secret.signers().map(|key| key.kid.clone());
        let public: Vec<_> = signers.chain(still_public(secret, now, dates).into_iter().map(|one| one.kid)).collect();
        let listed = |kid: &str| secret.previous.iter().any(|one| one.kid == kid);
        let ends = |kid: &str| {
            let ours = self.since.contains_key(kid) || listed(kid) || secret.is_revoked(kid);
            ours && !public.iter().any(|one| one == kid)
        };
        let mut set = self.clone();
        set.keys.retain(|key| !ends(kid_of(key)));
        let left: Vec<_> = set.keys.iter().map(|key| kid_of(key).to_owned()).collect();
        set.since.retain(|kid, _| left.contains(kid));
        (set != *self).then_some(set)
    }

    /// What somebody else has changed in the set. `others` are further ids that a version of the secret names.
    ///
    /// **Invariant:** the set's own notes excuse no key: whoever may write the set may write them. Test:
    /// `a_key_that_the_notes_alone_name_is_told_before_it_leaves`.
    pub fn changes(&self, owner: Owner<'_>, now: u64, dates: Dates, others: &[String]) -> Vec<Change> {
        let secret = owner.secret;
        let previous = still_public(secret, now, dates).into_iter().map(|one| one.public_key);
        let expected: Vec<_> = secret.signers().map(|key| key.jwk()).chain(previous).collect();
        let missing = expected.iter().filter(|jwk| !self.has(jwk)).map(|jwk| {
            let kid = kid_of(jwk).to_owned();
            if self.entries(&kid).next().is_some() { Change::Replaced(kid) } else { Change::Missing(kid) }
        });
        let mut all = secret.kids();
        all.extend(others.iter().cloned());
        let unknown = self.keys.iter().map(|key| kid_of(key).to_owned());
        let unknown = unknown.filter(|kid| !all.contains(kid) && !secret.is_revoked(kid));
        let noted = |kid| if self.since.contains_key(&kid) { Change::Unnamed(kid) } else { Change::Added(kid) };
        missing.chain(unknown.map(noted)).collect()
    }
}

impl Change {
    /// The warning about it. `is_mended` says that it was undone, which is known once the place was written.
    ///
    /// **Invariant:** a warning speaks of what was done after it was done. Otherwise a person reads that all is well while somebody else's
    /// key goes on verifying tokens. Test: `a_key_that_somebody_replaced_during_a_rotation_is_not_called_mended`.
    pub fn warning(&self, is_mended: bool) -> Error {
        let (what, kid) = match (self, is_mended) {
            (Self::Missing(kid), true) => ("a key was missing, and is back", kid),
            (Self::Missing(kid), false) => ("a key is missing, and was not put back", kid),
            (Self::Replaced(kid), true) => {
                ("a key's entry was changed, or was not the only one with its id, and is as it was", kid)
            }
            (Self::Replaced(kid), false) => {
                ("a key's entry was changed, or is not the only one with its id, and was not put right", kid)
            }
            (Self::Added(kid), _) => ("a key is there that no rotation of this secret added", kid),
            (Self::Unnamed(kid), true) => (
                "a key was there that the secret does not name, and was removed: it was of a rotation that was given up, or somebody had \
                 added it",
                kid,
            ),
            (Self::Unnamed(kid), false) => (
                "a key is there that the secret does not name, and was not removed: it is of a rotation that was given up, or somebody \
                 added it",
                kid,
            ),
        };
        let error = Error::new(Code::PublishedSetChanged).with(Fact::What, what).with(Fact::KeyId, kid);
        match self {
            Self::Added(_) => error.with(Fact::NextAction, REMOVE),
            _ if is_mended => error.with(Fact::NextAction, FIND_OUT),
            _ => error.with(Fact::NextAction, WRITE_AGAIN),
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
    use crate::key::SigningKey;
    use crate::key::algorithm::Algorithm;
    use crate::secret::{Previous, Revoked};
    use std::sync::Arc;

    const NOW: u64 = 1_800_000_000;

    fn key() -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(Algorithm::Es256, NOW - 5000).unwrap())
    }

    fn secret() -> SigningSecret {
        SigningSecret {
            algorithm: Algorithm::Es256,
            max_token_lifetime: 100,
            max_cache: 10,
            current: Some(key()),
            next: Some(key()),
            previous: vec![Previous {
                kid: "old".to_owned(),
                retire_at: NOW + 5,
                public_key: key().material().jwk("old", Algorithm::Es256),
            }],
            revoked: Vec::new(),
            places: Vec::new(),
            verify_at: None,
            leaked: None,
        }
    }

    fn owner(secret: &SigningSecret) -> Owner<'_> {
        Owner { fingerprint: "this", secret }
    }

    fn holds(set: &PublishedSet, kid: &str) -> bool {
        set.entries(kid).next().is_some()
    }

    fn dates() -> Dates {
        Dates { rotated: Some(NOW - 4000), changed: Some(NOW) }
    }

    #[test]
    fn a_set_grows_once_and_is_read_back() {
        let secret = secret();
        let set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        assert!(secret.public_keys().iter().all(|jwk| set.has(jwk)));
        assert_eq!(set.since("old", NOW), Some(NOW));
        assert_eq!(PublishedSet::read(&set.text()), Some(set.clone()));
        assert_eq!(set.grown(owner(&secret), NOW + 3, dates()), None);
        assert_eq!(set.changes(owner(&secret), NOW, dates(), &[]), []);
        for text in ["", "[]", "{}", r#"{"keys":1}"#] {
            assert_eq!(PublishedSet::read(text), None, "{text}");
        }
    }

    #[test]
    fn what_another_rotation_added_stays_when_it_grows() {
        let (one, other) = (secret(), secret());
        let set = PublishedSet::default().grown(owner(&one), NOW, dates()).unwrap();
        let both = set.grown(owner(&other), NOW + 1, dates()).unwrap();
        assert!(one.public_keys().iter().filter(|jwk| jwk["kid"] != "old").all(|jwk| both.has(jwk)));
    }

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
    fn keys_leave_when_their_time_is_over_and_others_keys_stay() {
        let mut secret = secret();
        let mut set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let foreign = key().material().jwk("foreign", Algorithm::Es256);
        set.keys.push(foreign.clone());
        // A rotation that was given up.
        let given_up = key();
        set.keys.push(given_up.jwk());
        set.since.insert(given_up.kid.clone(), NOW);
        let kept = set.trimmed(owner(&secret), NOW, dates()).unwrap();
        assert!(holds(&kept, "old") && holds(&kept, "foreign") && !holds(&kept, &given_up.kid));
        let later = set.trimmed(owner(&secret), NOW + 5, dates()).unwrap();
        assert!(!holds(&later, "old") && later.has(&secret.current.as_ref().unwrap().jwk()));
        let expected = [Change::Added("foreign".to_owned()), Change::Unnamed(given_up.kid.clone())];
        assert_eq!(set.changes(owner(&secret), NOW, dates(), &[]), expected);
        assert_eq!(set.changes(owner(&secret), NOW, dates(), std::slice::from_ref(&given_up.kid)).len(), 1);

        secret.revoked.push(Revoked { kid: "old".to_owned(), revoked_at: NOW });
        assert!(!holds(&set.trimmed(owner(&secret), NOW, dates()).unwrap(), "old"));
        assert!(later.grown(owner(&secret), NOW, dates()).is_none(), "a leaked key is back");
    }

    #[test]
    fn a_change_by_somebody_else_is_noticed() {
        let secret = secret();
        let set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let (current, next) = (secret.current.as_ref().unwrap(), secret.next.as_ref().unwrap());
        let mut changed = set.clone();
        changed.keys.retain(|one| kid_of(one) != current.kid && kid_of(one) != next.kid);
        changed.keys.push(key().material().jwk(&next.kid, Algorithm::Es256));
        let expected = [Change::Missing(current.kid.clone()), Change::Replaced(next.kid.clone())];
        assert_eq!(changed.changes(owner(&secret), NOW, dates(), &[]), expected);
        let back = changed.grown(owner(&secret), NOW + 3, dates()).unwrap();
        assert_eq!(back.changes(owner(&secret), NOW + 3, dates(), &[]), []);
        assert_eq!(back.since(&current.kid, NOW + 3), Some(NOW + 3), "it was away meanwhile");
    }

    #[test]
    fn a_key_that_somebody_replaced_during_a_rotation_is_not_called_mended() {
        let kid = || "k".to_owned();
        for change in [Change::Missing(kid()), Change::Replaced(kid()), Change::Unnamed(kid())] {
            let (stands, mended) = (change.warning(false).to_string(), change.warning(true).to_string());
            for claim in ["is back", "is as it was", "was removed"] {
                assert!(!stands.contains(claim), "{stands}");
            }
            assert!(
                stands.contains("Nothing was written") && !mended.contains("Nothing was written"),
                "{stands} {mended}"
            );
        }
        let added = Change::Added(kid());
        assert_eq!(added.warning(true).to_string(), added.warning(false).to_string());
    }

    #[test]
    fn a_second_entry_with_a_known_id_is_noticed_and_removed() {
        let secret = secret();
        let set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let current = secret.current.as_ref().unwrap();
        for kid in [current.kid.as_str(), "old"] {
            for first in [true, false] {
                let mut doubled = set.clone();
                let place = if first { 0 } else { doubled.keys.len() };
                doubled.keys.insert(place, key().material().jwk(kid, Algorithm::Es256));
                assert_eq!(doubled.changes(owner(&secret), NOW, dates(), &[]), [Change::Replaced(kid.to_owned())]);
                let back = doubled.grown(owner(&secret), NOW, dates()).unwrap();
                assert_eq!(back.entries(kid).count(), 1);
                assert_eq!(back.changes(owner(&secret), NOW, dates(), &[]), []);
            }
        }
    }

    #[test]
    fn a_key_that_the_notes_alone_name_is_told_before_it_leaves() {
        let secret = secret();
        let mut set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        set.keys.push(key().material().jwk("evil", Algorithm::Es256));
        set.since.insert("evil".to_owned(), NOW - 9);
        assert_eq!(set.changes(owner(&secret), NOW, dates(), &[]), [Change::Unnamed("evil".to_owned())]);
        assert!(!holds(&set.trimmed(owner(&secret), NOW, dates()).unwrap(), "evil"));
    }

    #[test]
    fn a_time_to_come_holds_up_no_rotation() {
        let secret = secret();
        let mut set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let next = secret.next.as_ref().unwrap();
        set.since.insert(next.kid.clone(), 1 << 63);
        assert_eq!(set.since(&next.kid, NOW), None);
        let mended = set.grown(owner(&secret), NOW, dates()).unwrap();
        assert_eq!(mended.since(&next.kid, NOW + 7), Some(NOW));
    }

    /// Verifiers go by the members beside the mathematics, too.
    #[test]
    fn an_entry_that_verifiers_do_not_use_is_corrected() {
        let secret = secret();
        let set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let current = secret.current.as_ref().unwrap();
        for (name, value) in
            [("use", json!("enc")), ("alg", json!("ES384")), ("alg", json!(1)), ("key_ops", json!(["sign"]))]
        {
            let mut spoiled = set.clone();
            spoiled.keys[0][name] = value;
            assert!(!spoiled.has(&current.jwk()), "{name}");
            assert_eq!(spoiled.changes(owner(&secret), NOW, dates(), &[]), [Change::Replaced(current.kid.clone())]);
            let back = spoiled.grown(owner(&secret), NOW, dates()).unwrap();
            assert_eq!(back.entries(&current.kid).collect::<Vec<_>>(), [&current.jwk()]);
        }
        let mut harmless = set.clone();
        harmless.keys[0]["key_ops"] = json!(["verify"]);
        assert!(harmless.has(&current.jwk()));
    }

    #[test]
    fn a_key_that_was_published_by_hand_without_its_algorithm_shows_whose_it_is() {
        let secret = secret();
        let mut jwk = secret.current.as_ref().unwrap().jwk();
        jwk.as_object_mut().unwrap().retain(|name, _| name != "alg" && name != "use");
        PublishedSet { keys: vec![jwk], ..PublishedSet::default() }.is_of(owner(&secret)).unwrap();
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
