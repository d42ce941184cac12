//! What somebody else has changed in a set.

use super::set::{Owner, PublishedSet, kid_of};
use crate::plan::{Dates, still_public};
use rotation::{Code, Error, Fact};

/// What to do about a change that was undone.
const FIND_OUT: &str = "Find out who wrote there. Nothing else is to be done: the place has this secret's keys again.";
/// What to do about a change that stands.
const WRITE_AGAIN: &str = "Nothing was written. While a rotation is unfinished only that rotation writes: start it again with RotateSecret, which \
                           puts right what is published, or give it up. Then invoke {\"Step\": \"watch\"}. Find out who wrote there.";
/// What to do about somebody else's key.
const REMOVE: &str = "Remove the key unless you know whose it is: it lets its owner sign tokens. This function leaves it where it is. Find out who \
                      wrote there.";

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

impl PublishedSet {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::algorithm::Algorithm;
    use crate::published::testing::{NOW, dates, holds, key, owner, secret};
    use crate::secret::Revoked;
    use serde_json::json;

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

    /// It is this secret's, and leaves by itself.
    #[test]
    fn a_leaked_key_is_not_told_as_somebody_elses() {
        let mut secret = secret();
        let set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        secret.previous.clear();
        secret.revoked.push(Revoked { kid: "old".to_owned(), revoked_at: NOW });
        assert!(holds(&set, "old"));
        assert_eq!(set.changes(owner(&secret), NOW, dates(), &[]), []);
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
}
