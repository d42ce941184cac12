//! The journal: which keys are still to be revoked. It is part of a version's value, and so is stored before the version is
//! promoted. A crash cannot lose a superseded key.

use crate::description::VarValue;
use aws_lc_rs::{digest, hmac};
use rotation::document::Document;
use rotation::encoding::hex;
use rotation::secret::SecretText;
use rotation::{Code, Error, Fact, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// The journal of a version.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Journal {
    /// Proof that this function issued the version's own key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// Keys that are superseded, or will be when this version is promoted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retire: Vec<Superseded>,
}

/// A key that is to be revoked.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Superseded {
    /// Its id.
    pub id: String,
    /// Proof that this function issued the key, or that the secret had the key of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<String>,
    /// When the key was superseded, in seconds since the Unix epoch. Absent: when the version of this journal was promoted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Whether the issuer's list had the key, so that a list without it shows that it has ended.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub listed: bool,
}

/// The most entries, so that a journal cannot fill the secret. Further keys are found again at the next rotation.
pub const MAX_ENTRIES: usize = 100;

impl Journal {
    /// The journal under `rotation`.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn read(options: Option<&Document>) -> Result<Self> {
        let Some(options) = options else { return Ok(Self::default()) };
        let expected = "what this function wrote there; remove the field if it cannot be restored";
        let journal: Self = options.typed("journal", expected)?.unwrap_or_default();
        let sound = journal.retire.iter().all(|entry| !entry.id.is_empty());
        if sound { Ok(journal) } else { Err(options.invalid("journal", "something else", expected)) }
    }

    /// The document with this journal.
    ///
    /// # Errors
    /// Those of [`Document::with_json`].
    pub fn write(&self, document: &Document) -> Result<Document> {
        let internal = |_| Error::new(Code::Internal).with(Fact::What, "a journal that is not JSON");
        let text = serde_json::to_string(self).map_err(internal)?;
        let options = document.json("rotation").filter(|text| text.expose() != "null");
        let options = Document::parse(options.unwrap_or_else(|| "{}".into()))?.with_json(&[("journal", &text)])?;
        document.with_json(&[("rotation", options.text().expose())])
    }
}

/// How long a superseded key stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grace {
    /// Until the rotation after the one that superseded it.
    Cycle,
    /// This long.
    For(Duration),
}

impl Superseded {
    /// Whether the grace period is over. `promoted` is when the version of this journal was promoted. All times are since the Unix
    /// epoch.
    pub fn due(&self, grace: Grace, promoted: Option<Duration>, now: Duration) -> bool {
        let since = self.since.map(Duration::from_secs);
        match grace {
            Grace::Cycle => since.is_some(),
            Grace::For(time) if time.is_zero() => true,
            // An unknown moment counts as future.
            Grace::For(time) => since.or(promoted).is_some_and(|since| now.saturating_sub(since) >= time),
        }
    }
}

/// Makes and checks proofs that a key is this secret's: an HMAC of its id, by the admin's credential, which the writer of the
/// secret does not have.
///
/// With `admin: self` the writer has that credential. Then a proof only tells the keys of this secret from those of another one,
/// such as its copy.
#[derive(Clone)]
pub struct Prover {
    /// By the admin's credential and the previous one, under which older entries were written.
    keys: Vec<hmac::Key>,
    context: String,
}

impl Prover {
    /// For the keys of a secret at an issuer. `admin` are the fields of the admin's credential; `place` are the variables that say
    /// where a key is, such as the account.
    pub fn new(
        admin: &BTreeMap<String, SecretText>,
        secret: &str,
        issuer: &str,
        place: &BTreeMap<String, VarValue>,
    ) -> Self {
        let place: String = place.iter().map(|(name, value)| format!("{name}={:?}\n", value.to_string())).collect();
        Self { keys: vec![key_of(admin)], context: format!("{secret}\n{issuer}\n{place}\n") }
    }

    /// Also accepts proofs by this credential.
    pub fn and_previous(&mut self, admin: &BTreeMap<String, SecretText>) {
        self.keys.push(key_of(admin));
    }

    /// A proof for the key of this id.
    pub fn prove(&self, id: &str) -> Option<String> {
        self.keys.first().map(|key| self.tag(key, id))
    }

    /// Whether a proof is right.
    pub fn holds(&self, id: &str, proof: Option<&str>) -> bool {
        let Some(proof) = proof else { return false };
        self.keys.iter().any(|key| {
            let right = self.tag(key, id);
            aws_lc_rs::constant_time::verify_slices_are_equal(proof.as_bytes(), right.as_bytes()).is_ok()
        })
    }

    fn tag(&self, key: &hmac::Key, id: &str) -> String {
        let tag = hmac::sign(key, format!("{}{id}", self.context).as_bytes());
        // 128 bits.
        hex(tag.as_ref().get(..16).unwrap_or_default())
    }
}

fn key_of(fields: &BTreeMap<String, SecretText>) -> hmac::Key {
    let mut material = digest::Context::new(&digest::SHA256);
    for (name, value) in fields {
        for text in [name.as_str(), value.expose()] {
            // Each text has its length before it, so that no two sets of fields give the same bytes.
            material.update(&(text.len() as u64).to_be_bytes());
            material.update(text.as_bytes());
        }
    }
    hmac::Key::new(hmac::HMAC_SHA256, material.finish().as_ref())
}

/// The beginning of the names of all keys of a secret.
pub fn name_prefix(secret: &str) -> String {
    let digest = digest::digest(&digest::SHA256, secret.as_bytes());
    format!("lockstep-{}-", hex(digest.as_ref().get(..8).unwrap_or_default()))
}

/// The name of a new key: the prefix, the version that the key is for, and the time in milliseconds, because some issuers take a
/// name only once. It has 60 characters; the shortest known limit of an issuer is 64.
pub fn name(prefix: &str, token: &str, now: Duration) -> String {
    format!("{prefix}{}-{}", token_part(token), base36(now.as_millis()))
}

/// A version's id as part of a name: the 128 bits of a UUID in base36. For any other id, 128 bits of its digest.
pub fn token_part(token: &str) -> String {
    let digits: String = token.chars().filter(|c| *c != '-').collect();
    let uuid = (digits.len() == 32).then(|| u128::from_str_radix(&digits, 16).ok()).flatten();
    let bits = uuid.unwrap_or_else(|| {
        let digest = digest::digest(&digest::SHA256, token.as_bytes());
        let first = digest.as_ref().first_chunk::<16>().copied().unwrap_or_default();
        u128::from_be_bytes(first)
    });
    base36(bits)
}

/// The parts of a name: the version, and the time since the Unix epoch.
pub fn parts<'a>(prefix: &str, name: &'a str) -> Option<(&'a str, Option<Duration>)> {
    let (token, moment) = name.strip_prefix(prefix)?.rsplit_once('-')?;
    Some((token, u64::from_str_radix(moment, 36).ok().map(Duration::from_millis)))
}

fn base36(mut number: u128) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    let mut digits = Vec::new();
    loop {
        digits.push(DIGITS.get((number % 36) as usize).copied().map_or('0', char::from));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf";

    fn admin(value: &str) -> BTreeMap<String, SecretText> {
        BTreeMap::from([("token".to_owned(), value.into())])
    }

    fn place(account: &str) -> BTreeMap<String, VarValue> {
        BTreeMap::from([("account".to_owned(), VarValue::Text(account.to_owned()))])
    }

    #[test]
    fn a_proof_is_for_one_key_of_one_secret_at_one_issuer() {
        let prover = Prover::new(&admin("a"), ARN, "sendgrid", &place("1"));
        let proof = prover.prove("k1");
        assert!(prover.holds("k1", proof.as_deref()));
        assert!(!prover.holds("k2", proof.as_deref()) && !prover.holds("k1", None));
        for other in [
            Prover::new(&admin("b"), ARN, "sendgrid", &place("1")),
            Prover::new(&admin("a"), "other", "sendgrid", &place("1")),
            Prover::new(&admin("a"), ARN, "datadog", &place("1")),
            Prover::new(&admin("a"), ARN, "sendgrid", &place("2")),
        ] {
            assert!(!other.holds("k1", proof.as_deref()));
        }
        let mut after = Prover::new(&admin("b"), ARN, "sendgrid", &place("1"));
        after.and_previous(&admin("a"));
        assert!(after.holds("k1", proof.as_deref()) && after.prove("k1") != proof);
    }

    #[test]
    fn names_are_short_and_can_be_read_back() {
        let prefix = name_prefix(ARN);
        let token = "0f6e2a3c-9d8b-4c7a-8e1f-123456789ABC";
        let name = name(&prefix, token, Duration::from_millis(1_800_000_000_123));
        assert!(name.len() <= 64, "{name}");
        let moment = Duration::from_millis(1_800_000_000_123);
        assert_eq!(parts(&prefix, &name), Some((token_part(token).as_str(), Some(moment))));
        assert!(token_part(&"x".repeat(64)).len() <= 25 && token_part(&"F".repeat(32)).len() == 25);
        assert_eq!(parts(&prefix, "lockstep-other-abc-1"), None);
    }

    #[test]
    fn a_key_is_due_when_its_grace_is_over() {
        let entry = |since| Superseded { id: "k".to_owned(), proof: None, since, listed: false };
        let (hour, now) = (Duration::from_secs(3600), Duration::from_secs(10_000));
        assert!(!entry(None).due(Grace::Cycle, Some(Duration::ZERO), now));
        assert!(entry(Some(9_999)).due(Grace::Cycle, None, now));
        assert!(entry(None).due(Grace::For(Duration::ZERO), None, now));
        assert!(!entry(None).due(Grace::For(hour), None, now));
        assert!(entry(None).due(Grace::For(hour), Some(Duration::from_secs(6_400)), now));
        assert!(!entry(Some(6_401)).due(Grace::For(hour), Some(Duration::ZERO), now));
    }

    #[test]
    fn a_journal_is_written_among_options_that_stay_as_they_are() {
        let document = Document::parse(r#"{"apiKey": "a", "rotation": {"adminSecretArn": "x"} }"#.into()).unwrap();
        let journal = Journal {
            proof: Some("p".to_owned()),
            retire: vec![Superseded { id: "k".to_owned(), proof: None, since: Some(1), listed: false }],
        };
        let written = journal.write(&document).unwrap();
        assert_eq!(
            written.text().expose(),
            r#"{"apiKey": "a", "rotation": {"adminSecretArn": "x", "journal": {"proof":"p","retire":[{"id":"k","since":1}]}} }"#
        );
        let options = written.options(&["adminSecretArn", "journal"]).unwrap();
        assert_eq!(Journal::read(options.as_ref()).unwrap(), journal);
        let bad = Document::parse(r#"{"rotation":{"journal":{"retire":[{"id":""}]}}}"#.into()).unwrap();
        assert_eq!(Journal::read(bad.options(&["journal"]).unwrap().as_ref()).unwrap_err().code(), Code::FieldInvalid);
    }
}
