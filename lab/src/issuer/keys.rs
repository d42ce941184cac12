//! The keys of an [`Issuer`](super::Issuer): its rules, with the time given to each, and no HTTP.

use rand::RngExt as _;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;
use time::OffsetDateTime;
use tokio::time::Instant;

/// How an [`Issuer`](super::Issuer) treats its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many keys may exist; no limit unless given.
    pub max_keys: Option<usize>,
    /// For how long a new key is refused, as where an issuer has many servers.
    pub propagation: Duration,
    /// For how long a deleted key goes on working. Until then it is listed as inactive.
    pub revocation_lag: Duration,
    /// How many requests are answered in any second; no limit unless given.
    pub rate_limit: Option<usize>,
    /// How long a reply takes. What was asked for is done before.
    pub latency: Duration,
    /// How many keys a page of the list holds, at least 1.
    pub page_size: usize,
    /// Whether a name can be given only once.
    pub unique_names: bool,
}

impl Default for Options {
    /// No limits, no delays, pages of 100 keys.
    fn default() -> Self {
        Self {
            max_keys: None,
            propagation: Duration::ZERO,
            revocation_lag: Duration::ZERO,
            rate_limit: None,
            latency: Duration::ZERO,
            page_size: 100,
            unique_names: false,
        }
    }
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its identifier.
    pub id: String,
    /// The name it was created with.
    pub name: String,
}

/// A request that was made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Use {
    /// The key; `None` where the secret is no key's and never was.
    pub id: Option<String>,
    /// Whether it was accepted.
    pub accepted: bool,
}

/// The period that [`Options::rate_limit`] is about.
const SECOND: Duration = Duration::from_secs(1);

/// One key. Not `Debug`: it holds its secret.
#[derive(Clone)]
pub(super) struct Entry {
    /// Its place in the order of creation, which pages follow.
    number: u64,
    pub(super) id: String,
    pub(super) name: String,
    pub(super) secret: String,
    pub(super) created_at: String,
    /// What it may do, which is granted after its creation.
    pub(super) grants: BTreeSet<String>,
    works_from: Instant,
    works_until: Option<Instant>,
}

impl Entry {
    /// Whether it has not been deleted.
    pub(super) fn active(&self) -> bool {
        self.works_until.is_none()
    }

    fn works(&self, now: Instant) -> bool {
        self.works_from <= now && !self.ended(now)
    }

    /// Deleted, and no longer working either.
    fn ended(&self, now: Instant) -> bool {
        self.works_until.is_some_and(|until| until <= now)
    }

    fn key(&self) -> Key {
        Key { id: self.id.clone(), name: self.name.clone() }
    }
}

/// Why no key was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// [`Options::max_keys`] exist.
    KeyLimitReached,
    /// [`Options::unique_names`], and this one is in use.
    NameTaken,
}

/// A part of the list, and where the next one begins.
pub(super) struct Page {
    pub(super) entries: Vec<Entry>,
    pub(super) next: Option<u64>,
}

/// What the issuer knows and did.
pub(super) struct Keys {
    options: Options,
    current: Vec<Entry>,
    /// Before the last change: what a stale read answers from.
    previous: Vec<Entry>,
    /// How many keys there ever were.
    numbered: u64,
    /// When the requests of the last second came.
    recent: VecDeque<Instant>,
    pub(super) created: usize,
    pub(super) revoked: Vec<String>,
    pub(super) uses: Vec<Use>,
    /// Counts the changes of keys.
    pub(super) changes: u64,
}

impl Keys {
    pub(super) fn new(options: Options) -> Self {
        let (current, previous, recent) = (Vec::new(), Vec::new(), VecDeque::new());
        let (revoked, uses) = (Vec::new(), Vec::new());
        Self { options, current, previous, numbered: 0, recent, created: 0, revoked, uses, changes: 0 }
    }

    /// Counts a request, or tells how long to wait before the next.
    pub(super) fn admit(&mut self, now: Instant) -> Result<(), Duration> {
        let Some(limit) = self.options.rate_limit else { return Ok(()) };
        while self.recent.front().is_some_and(|request| now.duration_since(*request) >= SECOND) {
            self.recent.pop_front();
        }
        if self.recent.len() < limit {
            self.recent.push_back(now);
            return Ok(());
        }
        Err(self.recent.front().map_or(SECOND, |oldest| SECOND.saturating_sub(now.duration_since(*oldest))))
    }

    /// Makes a key on request.
    pub(super) fn create(&mut self, name: &str, now: Instant) -> Result<Entry, Refused> {
        if self.options.unique_names && self.listed().any(|entry| entry.name == name) {
            return Err(Refused::NameTaken);
        }
        if self.options.max_keys.is_some_and(|most| self.listed().count() >= most) {
            return Err(Refused::KeyLimitReached);
        }
        self.created += 1;
        let (id, secret) = (format!("key_{}", random(16)), format!("lab_{}", random(40)));
        Ok(self.add(id, name, secret, now + self.options.propagation))
    }

    /// Makes a key of this id, which is its name, too, and this secret. If there is one of this id, it gets the secret and keeps its
    /// grants. Returns whether there was none.
    pub(super) fn put(&mut self, id: &str, secret: &str, now: Instant) -> Result<bool, Refused> {
        if self.listed().any(|entry| entry.id == id) {
            self.renew(id, Some(secret.to_owned()));
            return Ok(false);
        }
        if self.options.max_keys.is_some_and(|most| self.listed().count() >= most) {
            return Err(Refused::KeyLimitReached);
        }
        self.created += 1;
        self.add(id.to_owned(), id, secret.to_owned(), now + self.options.propagation);
        Ok(true)
    }

    /// Grants a key something; false if there is none of that id.
    pub(super) fn grant(&mut self, id: &str, scope: &str) -> bool {
        let Some(entry) = self.current.iter_mut().find(|entry| entry.id == id && entry.active()) else { return false };
        entry.grants.insert(scope.to_owned());
        self.changes += 1;
        true
    }

    /// What a key may do, in order.
    pub(super) fn grants(&self, id: &str) -> Vec<String> {
        let found = self.current.iter().find(|entry| entry.id == id && entry.active());
        found.map(|entry| entry.grants.iter().cloned().collect()).unwrap_or_default()
    }

    /// Makes a key that works at once, whatever the limits.
    pub(super) fn mint(&mut self, name: &str, now: Instant) -> Entry {
        self.add(format!("key_{}", random(16)), name, format!("lab_{}", random(40)), now)
    }

    fn add(&mut self, id: String, name: &str, secret: String, works_from: Instant) -> Entry {
        self.previous.clone_from(&self.current);
        self.changes += 1;
        self.numbered += 1;
        let entry = Entry {
            number: self.numbered,
            id,
            name: name.to_owned(),
            secret,
            grants: BTreeSet::new(),
            created_at: timestamp(OffsetDateTime::now_utc()),
            works_from,
            works_until: None,
        };
        self.current.push(entry.clone());
        entry
    }

    /// Deletes a key; false if there is none of that id any more.
    pub(super) fn delete(&mut self, id: &str, now: Instant) -> bool {
        let before = self.current.clone();
        let Some(entry) = self.current.iter_mut().find(|entry| entry.id == id && entry.active()) else { return false };
        entry.works_until = Some(now + self.options.revocation_lag);
        self.previous = before;
        self.changes += 1;
        self.revoked.push(id.to_owned());
        true
    }

    /// Gives a key that is not deleted another secret, `secret` or a random one. The one that it had ends. Returns the new one.
    pub(super) fn renew(&mut self, id: &str, secret: Option<String>) -> Option<String> {
        let before = self.current.clone();
        let entry = self.current.iter_mut().find(|entry| entry.id == id && entry.active())?;
        let secret = secret.unwrap_or_else(|| format!("lab_{}", random(40)));
        entry.secret.clone_from(&secret);
        self.previous = before;
        self.changes += 1;
        Some(secret)
    }

    /// The keys that work or will, each with its secret.
    pub(super) fn secrets(&self, now: Instant) -> Vec<(Key, String)> {
        let live = self.current.iter().filter(|entry| !entry.ended(now));
        live.map(|entry| (entry.key(), entry.secret.clone())).collect()
    }

    /// The keys after number `after` whose names begin with `prefix`, oldest first: as many as a page holds.
    pub(super) fn page(&self, prefix: &str, after: u64, stale: bool, now: Instant) -> Page {
        let matching = |entry: &&Entry| entry.number > after && entry.name.starts_with(prefix) && !entry.ended(now);
        let mut rest = self.read(stale).iter().filter(matching).cloned();
        let entries: Vec<_> = rest.by_ref().take(self.options.page_size.max(1)).collect();
        let next = rest.next().and_then(|_| entries.last()).map(|last| last.number);
        Page { entries, next }
    }

    /// The key that this secret works for.
    pub(super) fn identify(&self, secret: &str, stale: bool, now: Instant) -> Option<Key> {
        let known = self.read(stale).iter().find(|entry| entry.secret == secret);
        known.filter(|entry| entry.works(now)).map(Entry::key)
    }

    /// The same, and takes note of it.
    pub(super) fn identify_use(&mut self, secret: &str, stale: bool, now: Instant) -> Option<Key> {
        let known = self.current.iter().find(|entry| entry.secret == secret).map(|entry| entry.id.clone());
        let identified = self.identify(secret, stale, now);
        self.uses.push(Use { id: known, accepted: identified.is_some() });
        identified
    }

    /// The keys that work, or will work after their delay.
    pub(super) fn live(&self, now: Instant) -> Vec<Key> {
        self.current.iter().filter(|entry| !entry.ended(now)).map(Entry::key).collect()
    }

    fn listed(&self) -> impl Iterator<Item = &Entry> {
        self.current.iter().filter(|entry| entry.active())
    }

    fn read(&self, stale: bool) -> &[Entry] {
        if stale { &self.previous } else { &self.current }
    }
}

/// So many random letters and digits.
pub(super) fn random(length: usize) -> String {
    rand::rng().sample_iter(rand::distr::Alphanumeric).take(length).map(char::from).collect()
}

/// RFC 3339, to the second.
fn timestamp(time: OffsetDateTime) -> String {
    let (year, month, day) = (time.year(), u8::from(time.month()), time.day());
    let (hour, minute, second) = time.to_hms();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG: Duration = Duration::from_secs(5);

    fn ids(page: &Page) -> Vec<&str> {
        page.entries.iter().map(|entry| entry.id.as_str()).collect()
    }

    #[test]
    fn a_new_key_works_once_it_has_spread_and_a_deleted_one_until_that_has() {
        let mut keys = Keys::new(Options { propagation: LAG, revocation_lag: LAG, ..Options::default() });
        let begin = Instant::now();
        let key = keys.create("a", begin).unwrap();
        let works = |keys: &Keys, at: Duration| keys.identify(&key.secret, false, begin + at).is_some();
        let just_before = LAG.checked_sub(Duration::from_nanos(1)).unwrap();
        assert!(!works(&keys, Duration::ZERO) && !works(&keys, just_before));
        assert!(works(&keys, LAG));
        assert!(keys.delete(&key.id, begin + LAG));
        assert!(works(&keys, LAG + just_before));
        assert!(!works(&keys, LAG + LAG));
    }

    #[test]
    fn a_key_is_live_from_its_creation_until_it_no_longer_works() {
        let mut keys = Keys::new(Options { propagation: LAG, revocation_lag: LAG, ..Options::default() });
        let begin = Instant::now();
        let key = keys.create("a", begin).unwrap();
        assert_eq!(keys.live(begin), [Key { id: key.id.clone(), name: "a".into() }]);
        keys.delete(&key.id, begin);
        assert_eq!(keys.live(begin).len(), 1, "it still works for a while");
        assert_eq!(keys.live(begin + LAG), []);
    }

    #[test]
    fn a_key_of_a_chosen_id_is_made_once_and_keeps_its_grants() {
        let mut keys = Keys::new(Options { max_keys: Some(1), ..Options::default() });
        let now = Instant::now();
        assert!(!keys.grant("app", "read"), "there is no such key");
        assert_eq!(keys.put("app", "one", now), Ok(true));
        assert!(keys.grant("app", "read") && keys.grant("app", "read"));
        assert_eq!(keys.put("app", "two", now), Ok(false));
        assert_eq!(keys.put("other", "three", now), Err(Refused::KeyLimitReached));
        assert_eq!((keys.identify("one", false, now), keys.grants("app")), (None, vec!["read".to_owned()]));
        assert_eq!(keys.identify("two", false, now).map(|key| key.name), Some("app".to_owned()));
        keys.delete("app", now);
        assert_eq!(keys.put("app", "four", now), Ok(true));
        assert_eq!(keys.grants("app"), [""; 0], "another key");
    }

    #[test]
    fn a_key_is_deleted_once() {
        let mut keys = Keys::new(Options::default());
        let key = keys.mint("a", Instant::now());
        assert!(keys.delete(&key.id, Instant::now()));
        assert!(!keys.delete(&key.id, Instant::now()));
        assert_eq!(keys.revoked, [key.id]);
    }

    #[test]
    fn the_limits_are_about_keys_that_are_not_deleted() {
        let mut keys = Keys::new(Options { max_keys: Some(2), unique_names: true, ..Options::default() });
        let now = Instant::now();
        let first = keys.create("a", now).unwrap();
        assert_eq!(keys.create("a", now).map(|_| ()), Err(Refused::NameTaken));
        keys.create("b", now).unwrap();
        assert_eq!(keys.create("c", now).map(|_| ()), Err(Refused::KeyLimitReached));
        keys.delete(&first.id, now);
        keys.create("a", now).unwrap();
        assert_eq!(keys.created, 3);
    }

    #[test]
    fn pages_go_on_where_they_ended_even_if_that_key_is_gone() {
        let mut keys = Keys::new(Options { page_size: 2, ..Options::default() });
        let now = Instant::now();
        let minted: Vec<_> = ["a1", "b", "a2", "a3"].iter().map(|name| keys.mint(name, now).id).collect();
        let first = keys.page("a", 0, false, now);
        assert_eq!(ids(&first), [&minted[0], &minted[2]]);
        keys.delete(&minted[2], now);
        let second = keys.page("a", first.next.unwrap(), false, now);
        assert_eq!((ids(&second), second.next), (vec![minted[3].as_str()], None));
    }

    #[test]
    fn a_page_that_is_just_full_is_the_last() {
        let mut keys = Keys::new(Options { page_size: 2, ..Options::default() });
        let now = Instant::now();
        keys.mint("a", now);
        keys.mint("b", now);
        assert_eq!(keys.page("", 0, false, now).next, None);
    }

    #[test]
    fn a_stale_read_misses_the_last_change_and_no_other() {
        let mut keys = Keys::new(Options::default());
        let now = Instant::now();
        let (first, second) = (keys.mint("a", now), keys.mint("b", now));
        assert_eq!(ids(&keys.page("", 0, true, now)), [&first.id]);
        keys.delete(&first.id, now);
        assert!(!keys.delete("key_unknown", now), "and that changes nothing");
        assert_eq!(ids(&keys.page("", 0, true, now)), [&first.id, &second.id]);
        assert_eq!(ids(&keys.page("", 0, false, now)), [&second.id]);
        assert!(keys.identify(&first.secret, true, now).is_some());
        assert!(keys.identify(&first.secret, false, now).is_none());
    }

    #[test]
    fn a_renewed_key_keeps_its_id_and_ends_its_secret() {
        let mut keys = Keys::new(Options::default());
        let now = Instant::now();
        let key = keys.mint("a", now);
        let rolled = keys.renew(&key.id, None).unwrap();
        assert_eq!(keys.identify(&rolled, false, now).map(|key| key.id), Some(key.id.clone()));
        assert!(keys.identify(&key.secret, false, now).is_none());
        assert!(keys.identify(&key.secret, true, now).is_some(), "a stale read");
        assert_eq!(keys.renew(&key.id, Some("chosen".into())).as_deref(), Some("chosen"));
        assert_eq!(keys.secrets(now), [(Key { id: key.id.clone(), name: "a".into() }, "chosen".into())]);
        assert_eq!(keys.changes, 3);
        keys.delete(&key.id, now);
        assert_eq!((keys.renew(&key.id, None), keys.secrets(now)), (None, Vec::new()));
    }

    #[test]
    fn the_rate_is_that_of_any_one_second() {
        let mut keys = Keys::new(Options { rate_limit: Some(2), ..Options::default() });
        let begin = Instant::now();
        let at = |milliseconds| begin + Duration::from_millis(milliseconds);
        assert_eq!(keys.admit(at(0)), Ok(()));
        assert_eq!(keys.admit(at(600)), Ok(()));
        assert_eq!(keys.admit(at(900)), Err(Duration::from_millis(100)));
        assert_eq!(keys.admit(at(1000)), Ok(()), "a refused request does not count");
        assert_eq!(keys.admit(at(1100)), Err(Duration::from_millis(500)));
    }

    #[test]
    fn a_time_is_written_as_rfc_3339() {
        assert_eq!(timestamp(OffsetDateTime::from_unix_timestamp(951_786_061).unwrap()), "2000-02-29T01:01:01Z");
    }
}
