//! Whether a pending version may follow the current one.
//!
//! **Invariant:** no key that verifiers need is lost on the way, and none comes in that no rotation made. People edit AWSCURRENT during a
//! rotation, in the fields that a rotation writes, too. Test: `an_edit_of_the_keys_is_not_lost`.

use crate::plan::still_public_by_itself;
use crate::secret::{MOST_REVOKED, SigningSecret, WRITTEN};
use rotation::document::Document;
use rotation::protocol::target::Versions;
use rotation::{Code, Error, Fact, Result};
use serde_json::Value;

/// Whether the key that signs is left because it has leaked.
pub fn ends_tokens(current: &SigningSecret, pending: &SigningSecret) -> bool {
    current.current.as_ref().is_some_and(|key| pending.is_revoked(&key.kid))
}

/// The ids of the keys that have signed and that the pending version ends. Living tokens end with them.
pub fn ended<'a>(current: &'a SigningSecret, pending: &'a SigningSecret) -> impl Iterator<Item = &'a str> {
    let signed = current.current.iter().map(|key| key.kid.as_str());
    let signed = signed.chain(current.previous.iter().map(|one| one.kid.as_str()));
    signed.filter(|kid| pending.is_revoked(kid))
}

/// Whether the pending version ends a key that has leaked.
pub fn is_emergency(current: &SigningSecret, pending: &SigningSecret) -> bool {
    pending.revoked.iter().any(|one| !current.is_revoked(&one.kid))
}

/// The two versions, once nothing but what a rotation writes differs and the pending one can follow the current one.
///
/// # Errors
/// [`Code::PendingOutdated`] after an edit of AWSCURRENT; [`Code::PendingMismatch`] for a version that no rotation made; those of
/// [`SigningSecret::read`].
pub fn followed(versions: Versions<'_>, now: u64) -> Result<(SigningSecret, SigningSecret)> {
    versions.unedited(&WRITTEN)?;
    let (current, pending) = (SigningSecret::read(versions.current)?, made(versions.pending)?);
    follows(&current, &pending, now)?;
    Ok((current, pending))
}

/// A version that a rotation has made: it has both keys, and its set is that of its keys.
///
/// # Errors
/// [`Code::PendingMismatch`]; those of [`SigningSecret::read`].
pub fn made(document: &Document) -> Result<SigningSecret> {
    let secret = SigningSecret::read(document)?;
    for (key, name) in [(&secret.current, "current"), (&secret.next, "next")] {
        key.as_ref().ok_or_else(|| mismatch(name))?;
    }
    let jwks: Option<Value> = document.typed("jwks", "a JWK Set")?;
    if jwks == Some(secret.jwks()) { Ok(secret) } else { Err(mismatch("jwks")) }
}

fn follows(current: &SigningSecret, pending: &SigningSecret, now: u64) -> Result<()> {
    let outdated = |field: &str| Err(Error::new(Code::PendingOutdated).with(Fact::Field, field));
    // More leaked keys than are remembered: the oldest were dropped.
    let is_full = pending.revoked.len() >= MOST_REVOKED;
    if !is_full && current.revoked.iter().any(|one| !pending.is_revoked(&one.kid)) {
        return outdated("revoked");
    }
    let (before, after) = (current.public_keys(), pending.public_keys());
    let is_kept = |kid: &str, jwk: &Value| after.contains(jwk) || pending.is_revoked(kid);
    for (key, name) in [(&current.current, "current"), (&current.next, "next")] {
        if key.as_ref().is_some_and(|key| !is_kept(&key.kid, &key.jwk())) {
            return outdated(name);
        }
    }
    let lives = still_public_by_itself(current, now);
    if lives.into_iter().any(|one| !is_kept(&one.kid, &one.public_key)) {
        return outdated("previous");
    }
    if pending.previous.iter().any(|one| !before.contains(&one.public_key)) {
        return outdated("previous");
    }
    let signed = |jwk: &Value| current.signers().any(|key| key.jwk() == *jwk);
    let is_known = pending.current.as_ref().is_some_and(|signs| signed(&signs.jwk()));
    if current.current.is_none() || is_known || (ends_tokens(current, pending) && current.next.is_none()) {
        return Ok(());
    }
    Err(mismatch("current"))
}

fn mismatch(field: &'static str) -> Error {
    Error::new(Code::PendingMismatch).with(Fact::Field, field)
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
        Arc::new(SigningKey::generate(Algorithm::EdDsa, 1).unwrap())
    }

    fn previous(key: &SigningKey, retire_at: u64) -> Previous {
        Previous { kid: key.kid.clone(), retire_at, public_key: key.jwk() }
    }

    /// AWSCURRENT with an old key, and the version that a rotation makes of it.
    fn versions() -> (SigningSecret, SigningSecret) {
        let (old, signs, next) = (key(), key(), key());
        let secret = |current: &Arc<SigningKey>, next, previous| SigningSecret {
            algorithm: Algorithm::EdDsa,
            max_token_lifetime: 100,
            max_cache: 10,
            current: Some(Arc::clone(current)),
            next: Some(next),
            previous,
            revoked: vec![Revoked { kid: "leaked".to_owned(), revoked_at: 5 }],
            places: Vec::new(),
            verify_at: None,
            leaked: None,
        };
        let current = secret(&signs, Arc::clone(&next), vec![previous(&old, NOW + 9)]);
        let pending = secret(&next, key(), vec![previous(&signs, NOW + 110), previous(&old, NOW + 9)]);
        (current, pending)
    }

    fn refused(current: &SigningSecret, pending: &SigningSecret, now: u64) -> Option<(Code, String)> {
        let error = follows(current, pending, now).err()?;
        Some((error.code(), error.fact(Fact::Field).unwrap_or_default().to_owned()))
    }

    #[test]
    fn what_a_rotation_makes_follows() {
        let (current, mut pending) = versions();
        assert_eq!(refused(&current, &pending, NOW), None);
        // It is promoted already.
        assert_eq!(refused(&pending, &pending, NOW), None);
        // The time of the old key was over as the version was made.
        pending.previous.pop();
        assert_eq!(refused(&current, &pending, NOW + 9), None);
    }

    #[test]
    fn an_edit_of_the_keys_is_not_lost() {
        let outdated = |field: &str| Some((Code::PendingOutdated, field.to_owned()));
        type Edit = fn(&mut SigningSecret);
        let edits: [(Edit, &str); 6] = [
            (|secret| secret.current = Some(key()), "current"),
            (|secret| secret.next = Some(key()), "next"),
            (|secret| secret.previous.push(previous(&key(), NOW + 1)), "previous"),
            (|secret| secret.previous.clear(), "previous"),
            (|secret| secret.revoked.push(Revoked { kid: "other".to_owned(), revoked_at: NOW }), "revoked"),
            // The same id, and another key.
            (
                |secret| {
                    let kid = secret.current.as_ref().unwrap().kid.clone();
                    let pem = key().stored()["privateKey"].as_str().unwrap().into();
                    secret.current = Some(Arc::new(SigningKey::read(&pem, Algorithm::EdDsa, Some(kid), 1).unwrap()));
                },
                "current",
            ),
        ];
        for (number, (edit, field)) in edits.into_iter().enumerate() {
            let (mut current, pending) = versions();
            edit(&mut current);
            assert_eq!(refused(&current, &pending, NOW), outdated(field), "edit {number}");
        }
    }

    #[test]
    fn a_key_that_was_never_the_secrets_does_not_sign() {
        let (current, mut pending) = versions();
        pending.next = pending.current.take();
        pending.current = Some(key());
        assert_eq!(refused(&current, &pending, NOW), Some((Code::PendingMismatch, "current".to_owned())));
    }

    #[test]
    fn a_leaked_key_goes() {
        let (current, mut pending) = versions();
        let leaked = pending.previous.remove(0);
        pending.revoked.push(Revoked { kid: leaked.kid, revoked_at: NOW });
        assert_eq!(refused(&current, &pending, NOW), None);
        assert!(is_emergency(&current, &pending) && ends_tokens(&current, &pending));
        let signed = current.current.as_ref().unwrap().kid.as_str();
        assert_eq!(ended(&current, &pending).collect::<Vec<_>>(), [signed]);
        pending.revoked.clear();
        pending.revoked.push(Revoked { kid: current.next.as_ref().unwrap().kid.clone(), revoked_at: NOW });
        assert_eq!(ended(&current, &pending).count(), 0, "it never signed");
    }
}
