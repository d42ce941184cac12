//! Orders whose certificate is not stored yet.

use super::certificate_secret::CertificateSecret;
use crate::certificate::KeyType;
use crate::dns::Record;
use rotation::secret::SecretText;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How many unfinished orders one process remembers. Forgetting one costs an order, nothing else.
const MOST_ORDERS: usize = 16;

/// Orders whose certificate is not stored yet, by the version that they are for. The service usually repeats a step in the same process,
/// which then goes on with the order and the key that it has: a CA that needs minutes is waited for over several attempts, and a
/// certificate that could not be stored is fetched again. CAs issue few certificates for the same names in a week.
#[derive(Default)]
pub(crate) struct Orders(Mutex<Vec<(String, Unfinished)>>);

/// An order whose certificate is not stored yet.
#[derive(Clone)]
pub(super) struct Unfinished {
    /// The secret's ARN.
    pub(super) secret: String,
    pub(super) url: String,
    pub(super) key: SecretText,
    pub(super) wanted: Wanted,
    /// The values that are there for its challenges.
    pub(super) added: Option<Added>,
}

/// Values in Route 53.
///
/// **Invariant:** they stay as long as their order is kept, and go when it ends. Otherwise attempts that are shorter than Route 53 takes
/// would never get further. Test: `an_attempt_that_ends_before_dns_is_in_sync_is_continued`.
#[derive(Clone)]
pub(super) struct Added {
    pub(super) records: Vec<Record>,
    /// When the first of them was added, since the Unix epoch.
    pub(super) since: Duration,
    /// The ids of the changes that added them.
    pub(super) changes: Vec<String>,
}

impl Added {
    /// None yet, at a moment since the Unix epoch.
    pub(super) fn at(since: Duration) -> Self {
        Self { records: Vec::new(), since, changes: Vec::new() }
    }
}

/// What an order was made for. An order for anything else is of no use.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    directory: String,
    account: String,
    names: Vec<String>,
    profile: Option<String>,
    key_type: KeyType,
}

impl Wanted {
    /// What this version of a secret asks for.
    pub(super) fn by(secret: &CertificateSecret) -> Self {
        Self {
            directory: secret.directory.as_str().to_owned(),
            account: secret.account_secret.clone(),
            names: secret.names.clone(),
            profile: secret.profile.clone(),
            key_type: secret.key_type,
        }
    }
}

impl Orders {
    fn all(&self) -> MutexGuard<'_, Vec<(String, Unfinished)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The order for this version, which stays.
    pub(super) fn known(&self, version: &str, wanted: &Wanted) -> Option<Unfinished> {
        let all = self.all();
        let known = all.iter().find(|(known, _)| known == version).map(|(_, unfinished)| unfinished.clone());
        known.filter(|unfinished| unfinished.wanted == *wanted)
    }

    /// Keeps the order for this version, in place of an earlier one. The oldest order makes room.
    pub(super) fn keep(&self, version: &str, unfinished: Unfinished) {
        let mut all = self.all();
        all.retain(|(known, _)| known != version);
        if all.len() >= MOST_ORDERS {
            all.remove(0);
        }
        all.push((version.to_owned(), unfinished));
    }

    /// The versions of a secret whose order is not finished. One version is pending at a time, so the others were given up.
    pub(super) fn versions(&self, secret: &str) -> Vec<String> {
        let all = self.all();
        let of_secret = all.iter().filter(|(_, unfinished)| unfinished.secret == secret);
        of_secret.map(|(version, _)| version.clone()).collect()
    }

    /// The values that were added for this version's order.
    pub(super) fn added(&self, version: &str) -> Option<Added> {
        let all = self.all();
        all.iter().find(|(known, _)| known == version).and_then(|(_, unfinished)| unfinished.added.clone())
    }

    /// The values that were added for this version's order are in Route 53.
    pub(super) fn remember(&self, version: &str, added: &Added) {
        self.set(version, Some(added.clone()));
    }

    /// The values of this version's order are gone from Route 53.
    pub(super) fn removed(&self, version: &str) {
        self.set(version, None);
    }

    fn set(&self, version: &str, added: Option<Added>) {
        if let Some((_, unfinished)) = self.all().iter_mut().find(|(known, _)| known == version) {
            unfinished.added = added;
        }
    }

    /// The version has a value, or the order leads nowhere.
    pub(crate) fn forget(&self, version: &str) {
        self.all().retain(|(known, _)| known != version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;
    use rotation::document::Document;
    use rotation::environment::Environment;
    use serde_json::json;

    fn secret(names: &[&str], roots: &str) -> CertificateSecret {
        let value = json!({"directory": "https://ca.example/dir", "names": names,
            "rotation": {"accountSecretArn": "account", "roots": roots}});
        let settings = Settings::read(&Environment::of(&[]).unwrap()).unwrap();
        CertificateSecret::read(&Document::parse(value.to_string().into()).unwrap(), &settings).unwrap()
    }

    #[test]
    fn an_order_is_kept_until_its_certificate_is_stored() {
        let (orders, wanted) = (Orders::default(), Wanted::by(&secret(&["example.com"], "a")));
        let unfinished = |url: &str| Unfinished {
            secret: "s".to_owned(),
            url: url.to_owned(),
            key: "key".into(),
            wanted: wanted.clone(),
            added: None,
        };
        orders.keep("v", unfinished("1"));
        let known = |wanted: &Wanted| orders.known("v", wanted).map(|it| it.url);
        assert_eq!(known(&wanted).as_deref(), Some("1"));
        assert_eq!(known(&wanted).as_deref(), Some("1"), "to look at it does not lose it");
        // The secret was edited between two attempts. Roots are not the order's.
        assert!(known(&Wanted::by(&secret(&["example.com"], "b"))).is_some());
        assert!(known(&Wanted::by(&secret(&["example.org"], "a"))).is_none());
        for number in 1..MOST_ORDERS {
            orders.keep(&number.to_string(), unfinished("2"));
        }
        assert!(known(&wanted).is_some());
        orders.keep("one more", unfinished("2"));
        assert!(known(&wanted).is_none(), "the oldest goes first");
        orders.keep("v", unfinished("3"));
        assert!(orders.added("v").is_none() && orders.added("other").is_none());
        assert!(orders.versions("s").contains(&"v".to_owned()) && orders.versions("t").is_empty());
        orders.remember("v", &Added::at(Duration::from_secs(7)));
        assert_eq!(orders.added("v").map(|added| added.since), Some(Duration::from_secs(7)));
        orders.removed("v");
        assert!(orders.added("v").is_none() && known(&wanted).is_some());
        orders.forget("v");
        assert!(known(&wanted).is_none());
    }
}
