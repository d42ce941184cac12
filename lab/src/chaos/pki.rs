//! What certificates and accounts at a CA are judged by: the CA, the zone with TXT records, and ACM, which certificates are handed to.

use super::acm::Acm;
use super::ca::Ca;
use super::case::{Owned, Strategy, TLS_NAMES, ZONE};
use super::jose::jwk_of;
use super::time::Time;
use crate::route53::Route53;
use axum::Router;
use rotation::net::tls::Verifier;
use rotation::secret::SecretText;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tls::acme::AccountKey;
use tls::certificate::Chain;

/// Where the answers to the challenges for all names are.
const CHALLENGES: &str = "_acme-challenge.app.example.com";
/// The value that another secret's rotation has there.
const STRANGERS: &str = "somebody-elses-answer";

/// When a certificate is valid: the first and the last moment.
type Validity = (Duration, Duration);

/// A CA and its surroundings.
pub(super) struct Pki {
    strategy: Strategy,
    pub(super) ca: Ca,
    pub(super) route53: Route53,
    /// Its API.
    pub(super) router: Router,
    time: Arc<Time>,
    pub(super) acm: Acm,
    /// The TXT values that invocations have added: for each, how many calls there were before its invocation. `None` once that has ended.
    added: BTreeMap<String, Option<u32>>,
    /// When the certificates of versions are valid, if they serve their names. A version's value never changes.
    proved: Mutex<BTreeMap<(String, String), Option<Validity>>>,
}

/// Something that must not be: the violation's name, and what was seen.
pub(super) type Seen = (&'static str, String);

impl Pki {
    /// A CA without accounts, and a zone with somebody else's TXT record.
    pub(super) fn new(strategy: Strategy, time: Arc<Time>) -> Self {
        let route53 = Route53::new();
        if strategy == Strategy::Certificate {
            let mut zones = route53.zones();
            zones.add(ZONE, "example.com", false);
            zones.put(ZONE, CHALLENGES, "TXT", &[&format!("\"{STRANGERS}\"")]);
        }
        Self {
            strategy,
            ca: Ca::default(),
            router: route53.router(),
            route53,
            time,
            acm: Acm::new(),
            added: BTreeMap::new(),
            proved: Mutex::default(),
        }
    }

    pub(super) fn changes(&self) -> u64 {
        self.ca.changes() + u64::from(self.route53.batches()) + self.acm.changes()
    }

    /// Registers an account by hand, or gives it another key. Returns the key.
    pub(super) fn register(&mut self) -> String {
        let key = AccountKey::generate().map(|key| key.expose().to_owned()).unwrap_or_default();
        if let Some(jwk) = jwk_of(&key) {
            self.ca.replace(jwk);
        }
        key
    }

    fn values(&self) -> Vec<String> {
        self.route53.zones().values(CHALLENGES)
    }

    /// Whether a version's credential works: its chain serves the names with its key, or the CA knows the key. Before the first
    /// rotation there is none.
    pub(super) fn open(&self, chain: &str, key: &str) -> bool {
        if key.is_empty() {
            return true;
        }
        if self.strategy != Strategy::Certificate {
            return jwk_of(key).is_some_and(|jwk| self.ca.accounts().contains(&jwk));
        }
        let mut proved = self.proved.lock().unwrap_or_else(PoisonError::into_inner);
        let prove = || {
            let trusted = Verifier::with_roots(&[], &[("root", &Ca::root())]).ok()?;
            let names = TLS_NAMES.map(str::to_owned);
            let facts = Chain::read(chain).ok()?.prove(&SecretText::from(key), &names, &trusted).ok()?;
            Some((facts.not_before, facts.not_after))
        };
        let valid = proved.entry((chain.to_owned(), key.to_owned())).or_insert_with(prove);
        valid.is_some_and(|(first, last)| (first..last).contains(&self.time.now()))
    }

    /// Whether the CA has an account whose key none of these is.
    pub(super) fn has_lost<'a>(&self, keys: impl Iterator<Item = &'a str>) -> bool {
        let known: Vec<Value> = keys.filter_map(jwk_of).collect();
        self.strategy == Strategy::Account && self.ca.accounts().iter().any(|key| !known.contains(key))
    }

    /// What another secret's rotation has made.
    pub(super) fn strangers(&self) -> Vec<Owned> {
        let values = self.values().into_iter().filter(|value| value == STRANGERS);
        values.map(|value| Owned { id: CHALLENGES.to_owned(), secret: value }).collect()
    }

    /// What a completed step must not add to: TXT values, and what ACM has.
    pub(super) fn living(&self) -> Vec<Owned> {
        let owned = |secret: String| Owned { id: String::new(), secret };
        self.values().into_iter().chain(self.acm.handed().map(str::to_owned)).map(owned).collect()
    }

    /// Removes all TXT values of the names by hand, but for the stranger's.
    pub(super) fn clear_values(&mut self) {
        self.route53.zones().put(ZONE, CHALLENGES, "TXT", &[&format!("\"{STRANGERS}\"")]);
        self.added.clear();
    }

    /// Notes whose values are there.
    pub(super) fn look(&mut self, began: u32) {
        let values = self.values();
        self.added.retain(|value, _| values.contains(value));
        for value in values.into_iter().filter(|value| value != STRANGERS) {
            self.added.entry(value).or_insert(Some(began));
        }
    }

    /// The values of an invocation that has ended.
    pub(super) fn left_by(&mut self, began: u32) -> Vec<String> {
        let left = self.added.iter_mut().filter(|(_, by)| **by == Some(began));
        let left = left.map(|(value, by)| {
            *by = None;
            value.clone()
        });
        left.collect()
    }

    /// Whether a value is there.
    pub(super) fn has(&self, value: &str) -> bool {
        self.values().iter().any(|there| there == value)
    }

    /// A step has called the rotation done, whose certificate this is.
    pub(super) fn done(&self, chain: &str) -> Vec<Seen> {
        // A person may have gone back to the version before the first certificate: nothing can be handed on then.
        let own = Chain::read(chain).ok();
        let there = self.acm.handed().and_then(|pem| Chain::read(pem).ok());
        let same = own.as_ref().map(Chain::own) == there.as_ref().map(Chain::own);
        if same || own.is_none() || self.strategy != Strategy::Certificate {
            return Vec::new();
        }
        vec![(
            "handed-on-differs",
            "a step called the rotation done, and ACM has another certificate than AWSCURRENT".to_owned(),
        )]
    }
}
