//! The set that verifiers fetch, at the address where they fetch it: through a content delivery network, a web server, or whatever else
//! stands between a place and them. It is read as a stranger reads it, without credentials.
//!
//! Whoever writes the secret chooses the address, so the deployer lists the hosts. Of an answer nothing is printed but its status and the
//! ids of keys that the secret names.

use crate::asked::Asked;
use crate::key::SigningKey;
use crate::plan::still_public_by_itself;
use crate::public_address::PublicAddress;
use crate::published::PublishedSet;
use crate::secret::SigningSecret;
use crate::settings::Settings;
use http::{Request, header};
use http_body_util::Full;
use hyper::body::Bytes;
use rotation::clock::Deadline;
use rotation::net::http::{converse, secured};
use rotation::net::tls::Verifier;
use rotation::net::{address, tcp};
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;
use tokio_rustls::TlsConnector;

/// A set of a hundred RSA keys has about 50 KB.
const MAX_ANSWER: usize = 256 * 1024;
/// A network that answers does so in a tenth of it.
const LIMIT: Duration = Duration::from_secs(5);
/// The time for connecting to one address.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// Reads sets from outside. By default it reads none.
#[derive(Default)]
pub struct Outside {
    hosts: Vec<String>,
    /// `None` if no host is allowed.
    tls: Option<TlsConnector>,
    asked: Asked,
}

/// Who wants to know what is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A step of a rotation, or somebody who diagnoses: about one secret, now.
    Step,
    /// The daily look: about one secret of many.
    Look,
}

impl Outside {
    /// A reader by these settings.
    ///
    /// # Errors
    /// [`Code::CaBundleInvalid`].
    pub fn new(settings: &Settings) -> Result<Self> {
        let hosts = settings.verify_hosts.iter().map(|host| host.to_ascii_lowercase()).collect::<Vec<_>>();
        let extra: Vec<_> = settings.ca_bundle.iter().map(|pem| ("CA_BUNDLE", pem.as_str())).collect();
        let verifier = || Verifier::with_roots(webpki_roots::TLS_SERVER_ROOTS, &extra);
        let tls = if hosts.is_empty() { None } else { Some(TlsConnector::from(verifier()?.config())) };
        Ok(Self { hosts, tls, asked: Asked::default() })
    }

    /// Checks that the deployer allows the host.
    ///
    /// # Errors
    /// [`Code::HostDenied`].
    pub fn allow(&self, address: &PublicAddress) -> Result<()> {
        self.connector(address).map(|_| ())
    }

    fn connector(&self, address: &PublicAddress) -> Result<&TlsConnector> {
        let denied = || {
            let next = "If the host is right, add it to VERIFY_HOSTS (the template's parameter VerifyHosts). Otherwise correct rotation.verifyAt.";
            address.placed(Error::new(Code::HostDenied).with(Fact::NextAction, next))
        };
        let authority = address.authority();
        self.tls.as_ref().filter(|_| self.hosts.contains(&authority)).ok_or_else(denied)
    }

    /// The set at an address.
    ///
    /// # Errors
    /// [`Code::HostDenied`]; those of reaching the host; [`Code::AnswerTooLarge`]; [`Code::ServedSetDiffers`] if the answer is none or no
    /// set. A redirect is none, and is not followed.
    pub async fn fetch(&self, address: &PublicAddress, asks: Asks, deadline: Deadline) -> Result<PublishedSet> {
        let connector = self.connector(address)?;
        // The time counts from when the host is asked, not from when others began to wait for it.
        let fetch = async { self.fetched(connector, address, deadline.within(LIMIT)).await };
        let fetched = match asks {
            Asks::Step => fetch.await,
            Asks::Look => self.asked.once(address.authority(), (deadline, LIMIT), fetch).await,
        };
        fetched.map_err(|error| address.placed(error))
    }

    /// A daily look begins: what an earlier one has found is of no use any more.
    pub fn look_begins(&self) {
        self.asked.forget();
    }

    async fn fetched(&self, connector: &TlsConnector, at: &PublicAddress, deadline: Deadline) -> Result<PublishedSet> {
        let message = Request::get(&at.path)
            .header(header::HOST, at.authority())
            .header(header::CONNECTION, "close")
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(header::USER_AGENT, concat!("lockstep/", env!("CARGO_PKG_VERSION")))
            .body(Full::<Bytes>::default())
            .map_err(|_| Error::new(Code::FieldInvalid).with(Fact::What, "a URL that HTTP cannot carry"))?;
        // The deployer has named the host, so it may be inside the network.
        let addresses = address::resolve(&at.host, at.port, true, deadline).await?;
        let stream = tcp::connect(addresses, CONNECT_TIMEOUT, deadline).await?;
        let stream = secured(connector, &at.host, stream, deadline).await?;
        let answer = deadline.limit(converse(stream, message, MAX_ANSWER)).await;
        let (head, body) = answer.map_err(|_| Error::new(Code::ServerSilent))?.map_err(Error::new)?;
        let differs = |found: &str| {
            Error::new(Code::ServedSetDiffers).with(Fact::Status, head.status.as_u16()).with(Fact::Found, found)
        };
        match head.status.as_u16() {
            200 => {}
            300..400 => return Err(differs("a redirect, which is not followed")),
            _ => return Err(differs("no set of keys")),
        }
        let text = std::str::from_utf8(&body).ok();
        text.and_then(PublishedSet::read).ok_or_else(|| differs("something that is no set of keys"))
    }
}

impl fmt::Debug for Outside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outside").field("hosts", &self.hosts).finish_non_exhaustive()
    }
}

/// Since when the keys of a version are public everywhere, by their ids.
#[derive(Debug, Default)]
pub struct PublicSince(BTreeMap<String, u64>);

impl PublicSince {
    /// For a version without places: whoever serves its set reads AWSCURRENT, so a key is public since the rotation that named it.
    pub fn of_the_secret(secret: &SigningSecret, rotated: Option<u64>) -> Self {
        let named = |key: &SigningKey| rotated.filter(|rotated| key.created_at <= *rotated);
        Self(secret.signers().filter_map(|key| Some((key.kid.clone(), named(key)?))).collect())
    }

    /// Adds what a place says. A key is public since the last place has it.
    pub fn add(&mut self, set: &PublishedSet, secret: &SigningSecret, now: u64) {
        for key in secret.signers() {
            let since = set.since(&key.kid, now).unwrap_or(now);
            self.0.entry(key.kid.clone()).and_modify(|latest| *latest = (*latest).max(since)).or_insert(since);
        }
    }

    /// Whether every cache has to know a key. A copy may be as old as `maxCache`, so nothing follows from one that lacks a younger key.
    fn is_known(&self, kid: &str, max_cache: u64, now: u64) -> bool {
        self.0.get(kid).is_some_and(|since| since.saturating_add(max_cache) <= now)
    }

    /// Whether every cache has to know any key of the version.
    pub fn any_is_known(&self, secret: &SigningSecret, now: u64) -> bool {
        secret.signers().any(|key| self.is_known(&key.kid, secret.max_cache, now))
    }
}

/// Compares what is served with a version: the keys that every cache has to know are there, and verify what they sign. Returns the ids of
/// leaked keys that are there still, though every cache has to have dropped them.
///
/// **Invariant:** a key that was added less than `maxCache` ago may be missing. Otherwise each rotation would fail at the first cache. It
/// signs only once it is no longer so young, and that rotation's test asks for it. Test: `a_copy_may_lack_what_is_younger_than_it`.
///
/// # Errors
/// [`Code::ServedSetDiffers`].
pub fn compare(
    served: &PublishedSet,
    secret: &SigningSecret,
    since: &PublicSince,
    verifies: impl Fn(&SigningKey, &PublishedSet) -> bool,
    now: u64,
) -> Result<Vec<String>> {
    let missing = |kid: &str, found: &str| {
        Err(Error::new(Code::ServedSetDiffers).with(Fact::Found, found).with(Fact::KeyId, kid))
    };
    for key in secret.signers().filter(|key| since.is_known(&key.kid, secret.max_cache, now)) {
        if !served.serves(&key.jwk()) {
            return missing(&key.kid, "a set without a key that has been public for maxCache");
        }
        if !verifies(key, served) {
            return missing(&key.kid, "a key that does not verify what the secret's key signs");
        }
    }
    for one in still_public_by_itself(secret, now) {
        if !served.serves(&one.public_key) {
            return missing(&one.kid, "a set without a key whose tokens may still live");
        }
    }
    let dropped = |revoked_at: u64| revoked_at.saturating_add(secret.max_cache) <= now;
    let leaked = secret.revoked.iter().filter(|one| dropped(one.revoked_at));
    Ok(leaked.map(|one| one.kid.clone()).filter(|kid| served.entries(kid).next().is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::algorithm::Algorithm;
    use crate::plan::Dates;
    use crate::published::Owner;
    use crate::secret::{Previous, Revoked};
    use rotation::environment::Environment;
    use std::sync::Arc;

    const NOW: u64 = 1_800_000_000;
    const CACHE: u64 = 600;

    fn key() -> Arc<SigningKey> {
        Arc::new(SigningKey::generate(Algorithm::Es256, NOW - 5000).unwrap())
    }

    fn secret() -> SigningSecret {
        let old = key();
        SigningSecret {
            algorithm: Algorithm::Es256,
            max_token_lifetime: 100,
            max_cache: CACHE,
            current: Some(key()),
            next: Some(key()),
            previous: vec![Previous { kid: old.kid.clone(), retire_at: NOW + 5, public_key: old.jwk() }],
            revoked: vec![Revoked { kid: "leaked".to_owned(), revoked_at: NOW - CACHE }],
            places: Vec::new(),
            verify_at: None,
            leaked: None,
        }
    }

    fn set(secret: &SigningSecret, since: u64) -> PublishedSet {
        let dates = Dates { rotated: Some(NOW), changed: Some(NOW) };
        PublishedSet::default().grown(Owner { fingerprint: "this", secret }, since, dates).unwrap()
    }

    fn without(set: &PublishedSet, kid: &str) -> PublishedSet {
        let mut value: serde_json::Value = serde_json::from_str(&set.text()).unwrap();
        value["keys"].as_array_mut().unwrap().retain(|key| key["kid"] != kid);
        PublishedSet::read(&value.to_string()).unwrap()
    }

    /// What the comparison finds: the id of a key that is missing, or leaked keys.
    fn compared(served: &PublishedSet, secret: &SigningSecret, since: u64) -> Result<Vec<String>, String> {
        let mut public = PublicSince::default();
        public.add(&set(secret, since), secret, NOW);
        compare(served, secret, &public, |_, _| true, NOW)
            .map_err(|error| error.fact(Fact::KeyId).unwrap_or_default().to_owned())
    }

    #[test]
    fn a_copy_may_lack_what_is_younger_than_it() {
        let secret = secret();
        let whole = set(&secret, NOW);
        for name in [&secret.current, &secret.next] {
            let kid = &name.as_ref().unwrap().kid;
            let lacking = without(&whole, kid);
            assert_eq!(compared(&lacking, &secret, NOW - CACHE), Err(kid.clone()));
            assert_eq!(compared(&lacking, &secret, NOW - CACHE + 1), Ok(Vec::new()));
        }
        assert_eq!(compared(&whole, &secret, 5), Ok(Vec::new()));
        let previous = &secret.previous[0].kid;
        assert_eq!(compared(&without(&whole, previous), &secret, NOW), Err(previous.clone()), "its tokens live");
    }

    #[test]
    fn a_key_that_another_one_hides_is_none() {
        let secret = secret();
        let whole = set(&secret, 5);
        let kid = &secret.current.as_ref().unwrap().kid;
        let mut public = PublicSince::default();
        public.add(&whole, &secret, NOW);
        let error = compare(&whole, &secret, &public, |_, _| false, NOW).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::KeyId)), (Code::ServedSetDiffers, Some(kid.as_str())));
        for first in [true, false] {
            let mut value: serde_json::Value = serde_json::from_str(&whole.text()).unwrap();
            let keys = value["keys"].as_array_mut().unwrap();
            keys.insert(if first { 0 } else { keys.len() }, key().material().jwk(kid, Algorithm::Es256));
            let doubled = PublishedSet::read(&value.to_string()).unwrap();
            assert_eq!(compared(&doubled, &secret, 5), Err(kid.clone()), "a second entry with its id");
        }
    }

    #[test]
    fn the_last_place_counts_and_without_one_the_rotation() {
        let secret = secret();
        let kid = &secret.next.as_ref().unwrap().kid;
        let mut since = PublicSince::default();
        since.add(&set(&secret, 5), &secret, NOW);
        assert!(since.is_known(kid, CACHE, NOW));
        since.add(&set(&secret, NOW - 1), &secret, NOW);
        assert!(!since.is_known(kid, CACHE, NOW));
        since.add(&PublishedSet::default(), &secret, NOW);
        assert!(!since.any_is_known(&secret, NOW));
        for (rotated, known) in
            [(None, false), (Some(NOW - 5001), false), (Some(NOW - CACHE), true), (Some(NOW), false)]
        {
            let since = PublicSince::of_the_secret(&secret, rotated);
            assert_eq!(since.any_is_known(&secret, NOW), known, "{rotated:?}");
        }
    }

    #[test]
    fn a_leaked_key_that_is_still_served_is_told() {
        let secret = secret();
        let leaked = key().material().jwk("leaked", Algorithm::Es256);
        let mut value: serde_json::Value = serde_json::from_str(&set(&secret, 5).text()).unwrap();
        value["keys"].as_array_mut().unwrap().push(leaked);
        let served = PublishedSet::read(&value.to_string()).unwrap();
        assert_eq!(compared(&served, &secret, 5), Ok(vec!["leaked".to_owned()]));
        let young =
            SigningSecret { revoked: vec![Revoked { kid: "leaked".to_owned(), revoked_at: NOW - 1 }], ..secret };
        assert_eq!(compared(&served, &young, 5), Ok(Vec::new()));
    }

    #[test]
    fn only_hosts_that_the_deployer_names_are_asked() {
        let outside = |hosts: &str| {
            let settings = Settings::read(&Environment::of(&[("VERIFY_HOSTS", hosts)]).unwrap()).unwrap();
            Outside::new(&settings).unwrap()
        };
        let at = |text: &str| PublicAddress::read(text).unwrap();
        for (hosts, url, allowed) in [
            ("", "https://a.example/", false),
            ("a.example", "https://a.example/", true),
            ("A.example", "https://a.Example:443/", true),
            ("a.example", "https://a.example:8443/", false),
            ("a.example:8443", "https://a.example:8443/", true),
            ("a.example", "https://b.a.example/", false),
            ("a.example", "https://169.254.169.254/", false),
        ] {
            let denied = outside(hosts).allow(&at(url)).err();
            assert_eq!(denied.as_ref().map(Error::code), (!allowed).then_some(Code::HostDenied), "{hosts} {url}");
        }
    }
}
