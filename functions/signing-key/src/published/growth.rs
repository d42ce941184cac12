//! What a set should become: with each key whose time is not over, and without those whose time is.

use super::set::{Owner, PublishedSet, kid_of};
use crate::plan::{Dates, still_public};

impl PublishedSet {
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

    /// The set that AWSCURRENT asks for: what is missing comes back, and keys whose time is over leave. `None` if nothing changes.
    #[must_use]
    pub fn kept(&self, owner: Owner<'_>, now: u64, dates: Dates) -> Option<Self> {
        let grown = self.grown(owner, now, dates);
        let trimmed = grown.as_ref().unwrap_or(self).trimmed(owner, now, dates);
        trimmed.or(grown).filter(|kept| kept != self)
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::algorithm::Algorithm;
    use crate::published::Change;
    use crate::published::testing::{NOW, dates, holds, key, owner, secret};
    use crate::secret::Revoked;

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
    fn a_time_to_come_holds_up_no_rotation() {
        let secret = secret();
        let mut set = PublishedSet::default().grown(owner(&secret), NOW, dates()).unwrap();
        let next = secret.next.as_ref().unwrap();
        set.since.insert(next.kid.clone(), 1 << 63);
        assert_eq!(set.since(&next.kid, NOW), None);
        let mended = set.grown(owner(&secret), NOW, dates()).unwrap();
        assert_eq!(mended.since(&next.kid, NOW + 7), Some(NOW));
    }
}
