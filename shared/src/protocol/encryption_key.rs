//! Whether the KMS keys of the secrets rotate, and can be used for long. KMS rotates them itself, once it is told to.
//!
//! <https://docs.aws.amazon.com/kms/latest/developerguide/rotate-keys.html>

use crate::clock::Deadline;
use crate::error::{Code, Error, Fact};
use crate::protocol::looks::beginning_elsewhere;
use crate::protocol::schedule::RotatedSecret;
use crate::protocol::store::{EncryptionKey, SecretStore};
use std::collections::BTreeMap;
use std::time::Duration;

/// The AWS managed key, which AWS rotates.
const AWS_MANAGED: &str = "alias/aws/secretsmanager";
/// The state of a key that KMS does not know. KMS itself has no word for it.
pub(crate) const GONE: &str = "Gone";
/// The time for all keys. Two calls for a key take some tens of milliseconds.
const LIMIT: Duration = Duration::from_secs(8);

impl EncryptionKey {
    /// What a person should know about it.
    fn finding(&self) -> Option<Error> {
        let code = match (self.state.as_str(), self.rotates) {
            // Moments of a new key, and of one whose primary region changes.
            ("Creating" | "Updating", _) => return None,
            ("Enabled", Some(false)) => Code::KmsRotationOff,
            ("Enabled", _) => return None,
            _ => Code::KmsKeyPendingDeletion,
        };
        let is_word = self.state.len() <= 32 && self.state.chars().all(|c| c.is_ascii_alphanumeric());
        let state = if is_word { self.state.as_str() } else { "an unknown state" };
        let error = Error::new(code).with(Fact::KeyId, &self.arn).with(Fact::Found, state);
        if self.state != GONE {
            return Some(error);
        }
        let next = "KMS does not know the key any more, and nothing brings it back. Versions under it are lost: give the secret another key with \
                    UpdateSecret, and store a credential that works as its value.";
        Some(error.with(Fact::NextAction, next))
    }
}

/// What there is to say about the keys of these secrets. Each key is asked for once, and a key that may not be asked for is told once, for
/// all such keys: whoever does not want these findings leaves the permission out.
///
/// **Invariant:** a key that is refused, or gone, hides no other. Test: `a_key_that_is_refused_or_gone_hides_no_other`.
pub(crate) async fn findings(
    store: &dyn SecretStore,
    secrets: &[RotatedSecret],
    now: Duration,
    deadline: Deadline,
) -> Vec<Error> {
    let mut keys: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for secret in secrets {
        if let Some(key) = secret.kms_key.as_deref().filter(|key| !key.ends_with(AWS_MANAGED)) {
            keys.entry(key).or_default().push(&secret.arn);
        }
    }
    let deadline = deadline.within(LIMIT);
    let (mut found, mut denied) = (Vec::new(), None);
    for (key, users) in beginning_elsewhere(keys.into_iter().collect(), now) {
        let users = |error: Error| match users.as_slice() {
            [] => error,
            [only] => error.with(Fact::Secret, only),
            [first, others @ ..] => error
                .with(Fact::Secret, first)
                .with(Fact::What, format_args!("{} more secrets have this key", others.len())),
        };
        match store.encryption_key(key, deadline).await {
            Ok(key) => found.extend(key.and_then(|key| key.finding()).map(users)),
            Err(error) if error.code() == Code::ServiceDenied => {
                let next = "To have the KMS keys of secrets looked at, allow kms:DescribeKey and kms:GetKeyRotationStatus on them \
                            (the template's KmsKeyArns). Rotations do not need it.";
                denied.get_or_insert_with(|| users(error).with(Fact::KeyId, key).with(Fact::NextAction, next));
            }
            Err(error) => {
                // Without a route to KMS, or while it throttles, each further key would cost the same time.
                let is_the_key = !matches!(error.code(), Code::ServiceUnavailable | Code::ServiceThrottled);
                found.push(users(error).with(Fact::KeyId, key));
                if !is_the_key {
                    break;
                }
            }
        }
    }
    found.extend(denied);
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::store::Description;
    use crate::protocol::testing::Store;

    /// The codes of what is found of secrets with these keys, each with its key, and the keys that were asked for.
    async fn found(keys: &[&str]) -> (Vec<(Code, String)>, Vec<String>) {
        let secret = |key: &&str| RotatedSecret {
            arn: "s".to_owned(),
            kms_key: Some((*key).to_owned()),
            ..RotatedSecret::default()
        };
        let secrets: Vec<_> = keys.iter().map(secret).chain([RotatedSecret::default()]).collect();
        let store = Store::new(Ok(Description::default()));
        let found = findings(&store, &secrets, Duration::ZERO, Deadline::after(Duration::from_secs(60))).await;
        let key = |error: &Error| error.fact(Fact::KeyId).unwrap_or_default().to_owned();
        (found.iter().map(|error| (error.code(), key(error))).collect(), store.keys.into_inner().unwrap())
    }

    #[tokio::test]
    async fn each_key_of_a_person_is_asked_for_once_and_keys_that_are_denied_are_told_once() {
        let aws = "arn:aws:kms:eu-central-1:1:alias/aws/secretsmanager";
        let (told, asked) = found(&["Enabled-a", "denied-a", "Enabled-a", "denied-b", "Disabled-a", aws]).await;
        let is = |code, key: &str| (code, key.to_owned());
        let expected = [
            is(Code::KmsKeyPendingDeletion, "Disabled-a"),
            is(Code::KmsRotationOff, "Enabled-a"),
            is(Code::ServiceDenied, "denied-a"),
        ];
        assert_eq!(told, expected);
        assert_eq!(asked, ["Disabled-a", "Enabled-a", "denied-a", "denied-b"]);
    }

    #[tokio::test]
    async fn without_a_route_to_kms_no_further_key_is_asked_for() {
        let (told, asked) = found(&["silent-a", "silent-b"]).await;
        assert_eq!(told, [(Code::ServiceUnavailable, "silent-a".to_owned())]);
        assert_eq!(asked, ["silent-a"]);
    }

    fn key(state: &str, rotates: Option<bool>) -> Option<Code> {
        let key =
            EncryptionKey { arn: "arn:aws:kms:eu-central-1:1:key/a".to_owned(), state: state.to_owned(), rotates };
        key.finding().map(|error| error.code())
    }

    #[test]
    fn a_key_that_does_not_rotate_or_goes_is_found() {
        assert_eq!(key("Enabled", Some(true)), None);
        assert_eq!(key("Enabled", None), None, "KMS cannot rotate imported material");
        assert_eq!(key("Enabled", Some(false)), Some(Code::KmsRotationOff));
        for rotates in [None, Some(true), Some(false)] {
            for state in ["PendingDeletion", "PendingReplicaDeletion", "Disabled", "Unavailable", "PendingImport"] {
                assert_eq!(key(state, rotates), Some(Code::KmsKeyPendingDeletion), "{state}");
            }
            assert_eq!(key("Updating", rotates), None);
        }
    }

    #[test]
    fn a_word_that_is_none_is_not_printed() {
        let key = EncryptionKey { arn: "arn".to_owned(), state: "hunter2 is it".to_owned(), rotates: None };
        assert!(!key.finding().unwrap().to_string().contains("hunter2"));
    }
}
