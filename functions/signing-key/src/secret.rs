//! A secret with signing keys, as it is stored.

use crate::key::SigningKey;
use crate::key::algorithm::Algorithm;
use crate::key::jwk::Material;
use crate::place::Place;
use crate::public_address::PublicAddress;
use rotation::document::Document;
use rotation::{Code, Error, Fact, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// The keys of the secret that a rotation writes.
pub const WRITTEN: [&str; 5] = ["current", "next", "previous", "jwks", "revoked"];
/// What may stand under `rotation`.
const OPTIONS: [&str; 3] = ["publish", "verifyAt", "emergency"];
/// Tokens that live for more than a year, and caches that long, are mistakes.
const LONGEST: u64 = 366 * 24 * 3600;
/// The members of a JWK that hold private parts (RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1).
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];
/// How many leaked keys are remembered. A set that somebody published before the oldest of them leaked is long gone.
pub const MOST_REVOKED: usize = 20;
/// More places than anybody publishes in.
const MOST_PLACES: usize = 8;

/// What a version of the secret says.
#[derive(Debug)]
pub struct SigningSecret {
    /// `algorithm`: what new keys are made for.
    pub algorithm: Algorithm,
    /// `maxTokenLifetime`: the longest life of a token, in seconds.
    pub max_token_lifetime: u64,
    /// `maxCache`: for how many seconds verifiers use the published keys, and signers the secret, without a look at what is new.
    pub max_cache: u64,
    /// `current`: the key that signs.
    pub current: Option<Arc<SigningKey>>,
    /// `next`: the key that signs after the next rotation.
    pub next: Option<Arc<SigningKey>>,
    /// `previous`: keys that have signed, the latest first.
    pub previous: Vec<Previous>,
    /// `revoked`: keys that have leaked. They are never published again.
    pub revoked: Vec<Revoked>,
    /// `rotation.publish`: where the public parts are published.
    pub places: Vec<Place>,
    /// `rotation.verifyAt`: where verifiers fetch the set.
    pub verify_at: Option<PublicAddress>,
    /// `rotation.emergency.leaked`: the id of a key that has leaked.
    pub leaked: Option<String>,
}

/// A key that has signed. Only its public part is left.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Previous {
    /// Its id.
    pub kid: String,
    /// When it leaves the published keys at the earliest, in seconds since the Unix epoch.
    pub retire_at: u64,
    /// Its public part, a JWK.
    pub public_key: Value,
}

/// A key that has leaked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Revoked {
    /// Its id.
    pub kid: String,
    /// When a rotation took it out of use, in seconds since the Unix epoch.
    pub revoked_at: u64,
}

impl SigningSecret {
    /// Reads a version.
    ///
    /// # Errors
    /// [`Code::FieldMissing`], [`Code::FieldInvalid`], [`Code::OptionUnknown`], [`Code::SigningKeyInvalid`].
    pub fn read(document: &Document) -> Result<Self> {
        let name = document.string("algorithm")?;
        let names = Algorithm::ALL.map(Algorithm::as_str).join(", ");
        let algorithm = Algorithm::named(&name).ok_or_else(|| document.invalid("algorithm", "another name", &names))?;
        let options = document.options(&OPTIONS)?;
        let written = "what this function wrote there";
        let previous: Vec<Previous> = document.typed("previous", written)?.unwrap_or_default();
        let previous = previous.into_iter().map(published);
        let previous =
            previous.collect::<Result<_, _>>().map_err(|found| document.invalid("previous", found, written))?;
        let secret = Self {
            algorithm,
            max_token_lifetime: seconds(document, "maxTokenLifetime")?,
            max_cache: seconds(document, "maxCache")?,
            current: key(document, "current", "current.", algorithm)?,
            next: key(document, "next", "next.", algorithm)?,
            previous,
            revoked: document.typed("revoked", written)?.unwrap_or_default(),
            places: places(options.as_ref())?,
            verify_at: verify_at(options.as_ref())?,
            leaked: leaked(options.as_ref())?,
        };
        if secret.current.is_none() && secret.next.is_some() {
            return Err(Error::new(Code::FieldMissing).with(Fact::Field, "current"));
        }
        secret.check_ids(document)?;
        Ok(secret)
    }

    /// Checks that each id is one, and is that of one key, which has not leaked.
    fn check_ids(&self, document: &Document) -> Result<()> {
        let mut known: Vec<&str> = Vec::new();
        let signers = [("current.kid", &self.current), ("next.kid", &self.next)];
        let signers = signers.iter().filter_map(|(field, key)| Some((*field, key.as_ref()?.kid.as_str())));
        for (field, kid) in signers.chain(self.previous.iter().map(|one| ("previous", one.kid.as_str()))) {
            let found = if !is_id(kid) {
                "something else"
            } else if known.contains(&kid) {
                "the id of another key of the secret"
            } else if self.is_revoked(kid) {
                "the id of a key that has leaked, which stands in revoked"
            } else {
                known.push(kid);
                continue;
            };
            return Err(document.invalid(
                field,
                found,
                "an id of its own, of at most 128 letters, digits and ._~:/+=-",
            ));
        }
        Ok(())
    }

    /// The document with this version's keys.
    ///
    /// # Errors
    /// [`Code::SecretTooLarge`].
    pub fn write(&self, document: &Document) -> Result<Document> {
        let stored = |key: &Option<Arc<SigningKey>>| key.as_ref().map_or(Value::Null, |key| key.stored()).to_string();
        let (current, next) = (stored(&self.current), stored(&self.next));
        let (previous, jwks) = (json!(self.previous).to_string(), self.jwks().to_string());
        let mut changes = vec![
            ("current", current.as_str()),
            ("next", next.as_str()),
            ("previous", previous.as_str()),
            ("jwks", jwks.as_str()),
        ];
        let revoked = json!(self.revoked.get(self.revoked.len().saturating_sub(MOST_REVOKED)..)).to_string();
        if !self.revoked.is_empty() {
            changes.push(("revoked", &revoked));
        }
        document.with_json(&changes)
    }

    /// All keys that verifiers should have, as JWKs: the one that signs, the next one, and those that have signed.
    pub fn public_keys(&self) -> Vec<Value> {
        let own = [&self.current, &self.next].into_iter().flatten().map(|key| key.jwk());
        own.chain(self.previous.iter().map(|one| one.public_key.clone())).collect()
    }

    /// The ids of all these keys.
    pub fn kids(&self) -> Vec<String> {
        let own = self.signers().map(|key| key.kid.clone());
        own.chain(self.previous.iter().map(|one| one.kid.clone())).collect()
    }

    /// The set of RFC 7517, section 5.
    pub fn jwks(&self) -> Value {
        json!({"keys": self.public_keys()})
    }

    /// The keys with private parts.
    pub fn signers(&self) -> impl Iterator<Item = &Arc<SigningKey>> {
        [&self.current, &self.next].into_iter().flatten()
    }

    /// Whether the key of this id has leaked.
    pub fn is_revoked(&self, kid: &str) -> bool {
        self.revoked.iter().any(|one| one.kid == kid)
    }
}

/// The key as it is published: its public part alone, whatever stands beside it.
///
/// **Invariant:** nothing but what this function writes is published. Otherwise a private part that somebody pasted there would go public.
/// Test: `a_previous_key_is_published_without_what_stands_beside_it`.
fn published(one: Previous) -> Result<Previous, &'static str> {
    let text = |name: &str| one.public_key.get(name).and_then(Value::as_str);
    if PRIVATE.iter().any(|name| one.public_key.get(name).is_some()) {
        return Err("a private part");
    }
    if text("kid") != Some(&one.kid) {
        return Err("a publicKey with another kid");
    }
    let material = Material::of(&one.public_key).ok_or("a key without a public part")?;
    let algorithm = text("alg").and_then(Algorithm::named).ok_or("a publicKey without its alg")?;
    Ok(Previous { public_key: material.jwk(&one.kid, algorithm), ..one })
}

/// Whether a text is an id that may be published and printed. Thumbprints, UUIDs, dates, and ids in the form of URLs are.
pub fn is_id(kid: &str) -> bool {
    let fits = |character: char| character.is_ascii_alphanumeric() || "._~:/+=-".contains(character);
    (1..=128).contains(&kid.len()) && kid.chars().all(fits)
}

fn seconds(document: &Document, name: &str) -> Result<u64> {
    let expected = "seconds, 1 to 31622400";
    let seconds: Option<u64> = document.typed(name, expected)?;
    match seconds {
        Some(seconds) if (1..=LONGEST).contains(&seconds) => Ok(seconds),
        Some(_) => Err(document.invalid(name, "another number", expected)),
        None => Err(Error::new(Code::FieldMissing).with(Fact::Field, name).with(Fact::Expected, expected)),
    }
}

/// A key with its private part. People who bring their own need to give that part alone.
fn key(document: &Document, name: &str, prefix: &'static str, algorithm: Algorithm) -> Result<Option<Arc<SigningKey>>> {
    let Some(stored) = document.object(name, prefix)? else { return Ok(None) };
    stored.expect_keys(&["kid", "algorithm", "privateKey", "createdAt", "keyPairId"])?;
    let algorithm = match stored.optional_string("algorithm")? {
        None => algorithm,
        Some(name) => Algorithm::named(&name).ok_or_else(|| {
            stored.invalid("algorithm", "another name", &Algorithm::ALL.map(Algorithm::as_str).join(", "))
        })?,
    };
    let created_at = stored.typed("createdAt", "seconds since 1970")?.unwrap_or_default();
    let kid = stored.optional_string("kid")?;
    let read = SigningKey::read(&stored.password("privateKey")?, algorithm, kid, created_at);
    let mut key = read.map_err(|error| error.with(Fact::Field, name))?;
    key.key_pair_id = stored.optional_string("keyPairId")?;
    Ok(Some(Arc::new(key)))
}

fn places(options: Option<&Document>) -> Result<Vec<Place>> {
    let Some(options) = options else { return Ok(Vec::new()) };
    let expected = "a list of places, e.g. [\"s3://bucket/jwks.json\", \"ssm:/name\"]";
    let texts: Vec<String> = options.typed("publish", expected)?.unwrap_or_default();
    let places: Option<Vec<_>> = texts.iter().map(|text| Place::read(text)).collect();
    let mut places = places.ok_or_else(|| options.invalid("publish", "something else", expected))?;
    places.dedup();
    if places.len() > MOST_PLACES {
        return Err(options.invalid("publish", "more places", "at most 8"));
    }
    Ok(places)
}

fn verify_at(options: Option<&Document>) -> Result<Option<PublicAddress>> {
    let Some(options) = options else { return Ok(None) };
    let Some(text) = options.optional_string("verifyAt")? else { return Ok(None) };
    let expected =
        "an https URL, e.g. https://tokens.example.com/.well-known/jwks.json, without a user, a query or a fragment";
    PublicAddress::read(&text).map(Some).ok_or_else(|| options.invalid("verifyAt", "something else", expected))
}

fn leaked(options: Option<&Document>) -> Result<Option<String>> {
    let Some(options) = options else { return Ok(None) };
    let Some(emergency) = options.object("emergency", "rotation.emergency.")? else { return Ok(None) };
    emergency.expect_keys(&["leaked"])?;
    emergency.string("leaked").map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<SigningSecret> {
        SigningSecret::read(&Document::parse(text.into()).unwrap())
    }

    #[test]
    fn both_times_have_to_be_stated() {
        for (text, field) in [
            (r#"{"algorithm":"ES256","maxCache":600}"#, "maxTokenLifetime"),
            (r#"{"algorithm":"ES256","maxTokenLifetime":3600}"#, "maxCache"),
            (r#"{"algorithm":"ES256","maxTokenLifetime":0,"maxCache":600}"#, "maxTokenLifetime"),
            (r#"{"algorithm":"HS256","maxTokenLifetime":3600,"maxCache":600}"#, "algorithm"),
            (r#"{"maxTokenLifetime":3600,"maxCache":600}"#, "algorithm"),
        ] {
            assert_eq!(read(text).unwrap_err().fact(Fact::Field), Some(field), "{text}");
        }
    }

    #[test]
    fn a_written_version_is_read_back_and_its_set_has_no_private_part() {
        let mut secret = read(r#"{"algorithm":"EdDSA","maxTokenLifetime":3600,"maxCache":600,"kept":1.50}"#).unwrap();
        for place in [&mut secret.current, &mut secret.next] {
            *place = Some(Arc::new(SigningKey::generate(Algorithm::EdDsa, 5).unwrap()));
        }
        let document =
            Document::parse(r#"{"algorithm":"EdDSA","maxTokenLifetime":3600,"maxCache":600,"kept":1.50}"#.into());
        let written = secret.write(&document.unwrap()).unwrap();
        let again = SigningSecret::read(&written).unwrap();
        assert_eq!(again.jwks(), secret.jwks());
        assert!(written.text().expose().contains("\"kept\":1.50"));
        let jwks = written.json("jwks").unwrap();
        let set: Value = serde_json::from_str(jwks.expose()).unwrap();
        for key in set["keys"].as_array().unwrap() {
            let members: Vec<_> = key.as_object().unwrap().keys().map(String::as_str).collect();
            assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x"]);
        }
    }

    #[test]
    fn a_key_that_somebody_brings_keeps_its_id() {
        let key = SigningKey::generate(Algorithm::Es256, 1).unwrap();
        let pem = key.stored()["privateKey"].clone();
        let text = json!({
            "algorithm": "ES384", "maxTokenLifetime": 60, "maxCache": 60,
            "current": {"kid": "2019-key", "algorithm": "ES256", "privateKey": pem},
        });
        let secret = read(&text.to_string()).unwrap();
        let current = secret.current.unwrap();
        assert_eq!((current.kid.as_str(), current.algorithm, current.created_at), ("2019-key", Algorithm::Es256, 0));
    }

    #[test]
    fn an_option_that_does_not_exist_is_named() {
        let with = |rotation: &str| {
            read(&format!(r#"{{"algorithm":"ES256","maxTokenLifetime":9,"maxCache":9,"rotation":{rotation}}}"#))
        };
        assert_eq!(with(r#"{"emergency":{"leaked":"a"}}"#).unwrap().leaked.as_deref(), Some("a"));
        assert_eq!(with(r#"{"outlets":[]}"#).unwrap_err().code(), Code::OptionUnknown);
        assert_eq!(with(r#"{"emergency":{"kid":"a"}}"#).unwrap_err().code(), Code::OptionUnknown);
        assert_eq!(with(r#"{"publish":["https://a.example"]}"#).unwrap_err().code(), Code::FieldInvalid);
        assert_eq!(with(r#"{"publish":["ssm:/a"]}"#).unwrap().places.len(), 1);
        assert!(with(r#"{"verifyAt":"https://a.example/jwks.json"}"#).unwrap().verify_at.is_some());
        let error = with(r#"{"verifyAt":"https://u:hunter2@a.example/"}"#).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldInvalid, Some("rotation.verifyAt")));
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }

    #[test]
    fn a_previous_key_is_published_without_what_stands_beside_it() {
        let jwk = SigningKey::generate(Algorithm::Es256, 1).unwrap().jwk();
        let with = |kid: Value, changes: Value, more: Value| {
            let mut jwk = jwk.clone();
            jwk.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            let mut text = json!({
                "algorithm": "ES256", "maxTokenLifetime": 60, "maxCache": 60,
                "previous": [{"kid": kid, "retireAt": 5, "publicKey": jwk}],
            });
            text.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            read(&text.to_string())
        };
        let kid = jwk["kid"].clone();
        let read = with(kid.clone(), json!({"x5c": ["hunter2"]}), json!({})).unwrap();
        assert_eq!(read.jwks(), json!({"keys": [jwk]}));
        let own = SigningKey::generate(Algorithm::Es256, 1).unwrap();
        let current = json!({"current": {"kid": kid, "privateKey": own.stored()["privateKey"]}});
        let revoked = json!({"revoked": [{"kid": kid, "revokedAt": 1}]});
        for (number, (kid, changes, more)) in [
            (kid.clone(), json!({"d": "hunter2"}), json!({})),
            (kid.clone(), json!({"k": "hunter2"}), json!({})),
            (kid.clone(), json!({"kid": "another"}), json!({})),
            (kid.clone(), json!({"alg": "HS256"}), json!({})),
            (json!("a b"), json!({"kid": "a b"}), json!({})),
            (json!(""), json!({"kid": ""}), json!({})),
            (json!("a".repeat(129)), json!({"kid": "a".repeat(129)}), json!({})),
            (kid.clone(), json!({}), current),
            (kid, json!({}), revoked),
        ]
        .into_iter()
        .enumerate()
        {
            let error = with(kid, changes, more).unwrap_err();
            assert_eq!(
                (error.code(), error.fact(Fact::Field)),
                (Code::FieldInvalid, Some("previous")),
                "case {number}"
            );
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
