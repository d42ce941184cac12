//! Which key signs next, which keys stay public, and when one may leave. Everything here is a pure function of the secret and of the
//! time. Times are seconds since the Unix epoch.

use crate::secret::{Previous, Revoked, SigningSecret};
use rotation::{Code, Error, Fact, Result};

/// Where a key of the next version comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The key that signs now.
    Current,
    /// The key that is public and does not sign yet.
    Next,
    /// A key that is made now.
    New,
}

/// The next version's keys.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// The key that signs.
    pub current: Source,
    /// The key that signs after that.
    pub next: Source,
    /// Keys that have signed, the latest first.
    pub previous: Vec<Previous>,
    /// Keys that have leaked.
    pub revoked: Vec<Revoked>,
}

/// What Secrets Manager says about AWSCURRENT.
#[derive(Clone, Copy, Debug, Default)]
pub struct Dates {
    /// When a rotation succeeded last.
    pub rotated: Option<u64>,
    /// The last change of anything, labels included.
    pub changed: Option<u64>,
}

/// Decides what a rotation does.
///
/// **Invariant:** a key signs only after it was public for `maxCache`. Otherwise verifiers that cache the published keys refuse its tokens.
/// Only where a key has leaked it may be sooner: then its tokens are refused anyway. Test: `a_rotation_too_soon_is_refused`.
///
/// # Errors
/// [`Code::TooSoon`]; [`Code::FieldInvalid`] if no key has the id that is said to have leaked.
pub fn plan(secret: &SigningSecret, now: u64, dates: Dates) -> Result<Plan> {
    let mut previous = still_public(secret, now, dates);
    let mut revoked = secret.revoked.clone();
    let Some(current) = &secret.current else {
        return Ok(Plan { current: Source::New, next: Source::New, previous, revoked });
    };
    if let Some(kid) = secret.leaked.as_ref().filter(|kid| !secret.is_revoked(kid)) {
        revoked.push(Revoked { kid: kid.clone(), revoked_at: now });
        let steps_in = if secret.next.is_some() { Source::Next } else { Source::New };
        let (signs, follows) = if current.kid == *kid {
            (steps_in, Source::New)
        } else if secret.next.as_ref().is_some_and(|next| next.kid == *kid) {
            (Source::Current, Source::New)
        } else if secret.previous.iter().any(|one| one.kid == *kid) {
            previous.retain(|one| one.kid != *kid);
            (Source::Current, if secret.next.is_some() { Source::Next } else { Source::New })
        } else {
            return Err(Error::new(Code::FieldInvalid)
                .with(Fact::Field, "rotation.emergency.leaked")
                .with(Fact::Found, "an id that no key of the secret has")
                .with(Fact::Expected, "the `kid` of current, next or one of previous"));
        };
        return Ok(Plan { current: signs, next: follows, previous, revoked });
    }
    // Somebody has brought the key that signs. Nobody knows the next one yet.
    let Some(next) = &secret.next else {
        return Ok(Plan { current: Source::Current, next: Source::New, previous, revoked });
    };
    let public_since = dates.rotated.unwrap_or_default().max(next.created_at);
    in_time(public_since, secret.max_cache, now, &next.kid)?;
    let retire_at = now + secret.max_token_lifetime + secret.max_cache;
    previous.insert(0, Previous { kid: current.kid.clone(), retire_at, public_key: current.jwk() });
    Ok(Plan { current: Source::Next, next: Source::New, previous, revoked })
}

/// Whether a key was public for `maxCache`.
///
/// # Errors
/// [`Code::TooSoon`].
pub fn in_time(public_since: u64, max_cache: u64, now: u64, kid: &str) -> Result<()> {
    let from = public_since.saturating_add(max_cache);
    if from <= now {
        return Ok(());
    }
    Err(Error::new(Code::TooSoon)
        .with(Fact::KeyId, kid)
        .with(Fact::Found, format_args!("public for {} s", now.saturating_sub(public_since)))
        .with(Fact::Expected, format_args!("{max_cache} s (maxCache), which are over in {} s", from - now)))
}

/// The keys that have signed and whose tokens may still live, with the time at which each may leave.
pub fn still_public(secret: &SigningSecret, now: u64, dates: Dates) -> Vec<Previous> {
    let retire_at =
        |(place, one): (usize, &Previous)| Previous { retire_at: leaves_at(secret, place, one, dates), ..one.clone() };
    let all = secret.previous.iter().enumerate().map(retire_at);
    all.filter(|one| one.retire_at > now && !secret.is_revoked(&one.kid)).collect()
}

/// The keys that have signed and whose stored time is not over. They are among [`still_public`], whatever the dates are, and were so at each
/// earlier moment.
pub fn still_public_by_itself(secret: &SigningSecret, now: u64) -> Vec<&Previous> {
    secret.previous.iter().filter(|one| one.retire_at > now && !secret.is_revoked(&one.kid)).collect()
}

/// When a key that has signed may leave.
///
/// **Invariant:** that is `maxTokenLifetime` and `maxCache` after the promotion that ended its signing. createSecret stored the time before
/// that promotion, and a rotation that was held up is promoted much later: the latest key counts from the promotion itself.
/// Otherwise tokens would be refused in their life. Test: `a_rotation_that_was_held_up_keeps_its_previous_key`.
fn leaves_at(secret: &SigningSecret, place: usize, one: &Previous, dates: Dates) -> u64 {
    if place > 0 {
        return one.retire_at;
    }
    let made_at = secret.next.as_ref().map_or(0, |next| next.created_at);
    // A version that is younger than the last rotation was made current by hand. Then the last change of any kind is the latest
    // moment at which that can have been.
    let promoted = match dates.rotated {
        Some(rotated) if rotated >= made_at => Some(rotated),
        _ => dates.changed,
    };
    let by_promotion = promoted.map(|promoted| promoted + secret.max_token_lifetime + secret.max_cache);
    one.retire_at.max(by_promotion.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::SigningKey;
    use crate::key::algorithm::Algorithm;
    use std::sync::Arc;

    const NOW: u64 = 1_800_000_000;
    const LIFETIME: u64 = 3600;
    const CACHE: u64 = 600;

    fn key(created_at: u64) -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(Algorithm::EdDsa, created_at).unwrap())
    }

    fn secret(current: bool, next: Option<u64>) -> SigningSecret {
        SigningSecret {
            algorithm: Algorithm::EdDsa,
            max_token_lifetime: LIFETIME,
            max_cache: CACHE,
            current: current.then(|| key(1)),
            next: next.map(key),
            previous: Vec::new(),
            revoked: Vec::new(),
            places: Vec::new(),
            verify_at: None,
            leaked: None,
        }
    }

    fn rotated(ago: u64) -> Dates {
        Dates { rotated: Some(NOW - ago), changed: Some(NOW) }
    }

    fn sources(plan: &Plan) -> (Source, Source) {
        (plan.current, plan.next)
    }

    #[test]
    fn each_key_is_next_before_it_signs() {
        assert_eq!(sources(&plan(&secret(false, None), NOW, Dates::default()).unwrap()), (Source::New, Source::New));
        assert_eq!(sources(&plan(&secret(true, None), NOW, Dates::default()).unwrap()), (Source::Current, Source::New));
        let full = secret(true, Some(NOW - 5000));
        let plan = plan(&full, NOW, rotated(5000)).unwrap();
        assert_eq!(sources(&plan), (Source::Next, Source::New));
        let retired: Vec<_> = plan.previous.iter().map(|one| (one.kid.as_str(), one.retire_at)).collect();
        assert_eq!(retired, [(full.current.unwrap().kid.as_str(), NOW + LIFETIME + CACHE)]);
    }

    #[test]
    fn a_rotation_too_soon_is_refused() {
        for (made, rotation, soon) in [
            (5000, Some(CACHE), false),
            (5000, Some(CACHE - 1), true),
            (CACHE - 1, Some(5000), true),
            (CACHE, None, false),
            (1, None, true),
        ] {
            let full = secret(true, Some(NOW - made));
            let dates = Dates { rotated: rotation.map(|ago| NOW - ago), changed: Some(NOW) };
            let code = plan(&full, NOW, dates).err().map(|error| error.code());
            assert_eq!(code, soon.then_some(Code::TooSoon), "{made} {rotation:?}");
        }
    }

    #[test]
    fn a_leaked_key_ends_at_once_and_no_other_does() {
        let old = Previous { kid: "old".to_owned(), retire_at: NOW + 9, public_key: key(1).jwk() };
        let leak = |kid: &dyn Fn(&SigningSecret) -> String| {
            let mut full = secret(true, Some(NOW - 1));
            full.previous = vec![old.clone()];
            full.leaked = Some(kid(&full));
            (plan(&full, NOW, rotated(1)), full)
        };
        let (current, full) = leak(&|full| full.current.as_ref().unwrap().kid.clone());
        let current = current.unwrap();
        assert_eq!(sources(&current), (Source::Next, Source::New));
        assert_eq!(current.previous.len(), 1, "the leaked key is not kept: {:?}", current.previous);
        assert_eq!(current.revoked, [Revoked { kid: full.leaked.unwrap(), revoked_at: NOW }]);

        let next = leak(&|full| full.next.as_ref().unwrap().kid.clone()).0.unwrap();
        assert_eq!(sources(&next), (Source::Current, Source::New));

        let previous = leak(&|_| "old".to_owned()).0.unwrap();
        assert_eq!((sources(&previous), previous.previous.len()), ((Source::Current, Source::Next), 0));

        let unknown = leak(&|_| "a typo".to_owned()).0.unwrap_err();
        assert_eq!(unknown.fact(Fact::Field), Some("rotation.emergency.leaked"));
    }

    /// The option stays in the secret, as people wrote it.
    #[test]
    fn an_emergency_happens_once() {
        let mut full = secret(true, Some(NOW - 5000));
        full.leaked = Some("gone".to_owned());
        full.revoked = vec![Revoked { kid: "gone".to_owned(), revoked_at: NOW - 5000 }];
        assert_eq!(sources(&plan(&full, NOW, rotated(5000)).unwrap()), (Source::Next, Source::New));
        assert_eq!(plan(&full, NOW, rotated(1)).unwrap_err().code(), Code::TooSoon);
    }

    #[test]
    fn a_rotation_that_was_held_up_keeps_its_previous_key() {
        let mut full = secret(true, Some(NOW - 100_000));
        // createSecret ran long before the promotion.
        let stored = NOW - 100_000 + LIFETIME + CACHE;
        full.previous = vec![Previous { kid: "old".to_owned(), retire_at: stored, public_key: key(1).jwk() }];
        assert_eq!(still_public(&full, NOW, rotated(10)).len(), 1);
        assert_eq!(still_public(&full, NOW, rotated(LIFETIME + CACHE)).len(), 0);
        // Made current by hand, at an unknown moment.
        let by_hand = |changed| Dates { rotated: Some(NOW - 200_000), changed: Some(changed) };
        assert_eq!(still_public(&full, NOW, by_hand(NOW - 10)).len(), 1);
        assert_eq!(still_public(&full, NOW, by_hand(NOW - LIFETIME - CACHE)).len(), 0);
    }

    #[test]
    fn only_the_latest_of_the_previous_keys_counts_from_the_promotion() {
        let mut full = secret(true, Some(NOW - 50));
        let one = |kid: &str, retire_at| Previous { kid: kid.to_owned(), retire_at, public_key: key(1).jwk() };
        full.previous = vec![one("latest", NOW - 1), one("older", NOW - 1), one("young", NOW + 1)];
        full.revoked = vec![Revoked { kid: "young".to_owned(), revoked_at: NOW }];
        let left: Vec<_> = still_public(&full, NOW, rotated(10)).into_iter().map(|one| one.kid).collect();
        assert_eq!(left, ["latest"]);
    }
}
