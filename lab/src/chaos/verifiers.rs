//! What must hold for those who verify tokens, at each moment: of the keys of AWSCURRENT, and of those that have signed.
//!
//! An application signs with AWSCURRENT's `current`, and reads the secret again after `maxCache` at most. A verifier reads the published
//! keys again after `maxCache` at most.

use super::case::{LIFETIME, MAX_CACHE};
use super::places::{Kept, Places, STRANGER};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The keys of a version.
#[derive(Clone, Debug, Default)]
struct Keys {
    signs: Option<String>,
    next: Option<String>,
    /// The one that has signed last.
    latest: Option<String>,
    previous: BTreeSet<String>,
    revoked: BTreeSet<String>,
}

/// When the ledger is brought up to date.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// The time.
    pub(super) now: Duration,
    /// Whether a person did it.
    pub(super) by_person: bool,
    /// Whether a person has done something since the invocation began.
    pub(super) acted: bool,
    /// The invocation that did it: how many calls there were before it.
    pub(super) began: u32,
}

/// Something that must not be: the violation's name, and what was seen.
pub(super) type Seen = (&'static str, String);

/// A key is missing in a parameter, or a leaked one is back. Its writer may notice that it was late, and put things right.
#[derive(Clone, Debug)]
struct Doubt {
    began: u32,
    /// Since when the key was public.
    since: Option<Duration>,
    seen: Seen,
}

fn stranger_touched() -> Seen {
    ("stranger-touched", "a key of somebody else is gone from a published set".to_owned())
}

/// What verifiers have seen.
#[derive(Debug, Default)]
pub(super) struct Verifiers {
    versions: BTreeMap<String, Keys>,
    /// The private parts of keys, by the id of the key: the first line of their text.
    private: BTreeMap<String, String>,
    current: Option<String>,
    signs: Option<String>,
    /// The keys that have signed, and when each one stopped.
    signed: BTreeMap<String, Option<Duration>>,
    /// Of these, the keys that have signed again because a person has moved AWSCURRENT back.
    again: BTreeSet<String>,
    /// Since when a key is in a place.
    public: BTreeMap<(usize, String), Duration>,
    /// Leaked keys that have left a place.
    gone: BTreeSet<(usize, String)>,
    doubts: BTreeMap<(usize, String), Doubt>,
    /// Keys of strangers that an invocation has overwritten which failed then.
    lost: BTreeSet<String>,
    /// Since when a key was public that a person has taken out of a place.
    taken: BTreeMap<(usize, String), Duration>,
    /// Whether a person has published or signed what no rotation had.
    pub(super) at_limit: bool,
}

impl Keys {
    fn of(value: &Value) -> Self {
        let kid = |key: &Value| key.get("kid").and_then(Value::as_str).map(str::to_owned);
        let kids = |name: &str| value.get(name).and_then(Value::as_array).into_iter().flatten().filter_map(kid);
        let own = |name: &str| value.get(name).and_then(kid);
        let (signs, next, latest) = (own("current"), own("next"), kids("previous").next());
        Self { signs, next, latest, previous: kids("previous").collect(), revoked: kids("revoked").collect() }
    }

    fn public(&self) -> BTreeSet<&String> {
        self.signs.iter().chain(&self.next).chain(&self.previous).filter(|kid| !self.revoked.contains(*kid)).collect()
    }
}

impl Verifiers {
    /// Brings the ledger up to date after an effect. `version` is AWSCURRENT with its value.
    pub(super) fn look(&mut self, places: &Places, version: Option<(&str, &[u8])>, moment: Moment) -> Vec<Seen> {
        let mut seen = Vec::new();
        if let Some((id, value)) = version {
            self.read(id, value, &mut seen);
        }
        let Some(keys) = self.current.as_ref().and_then(|id| self.versions.get(id)).cloned() else { return seen };
        let published = places.kids();
        self.note_missing(places, published, &keys, moment, &mut seen);
        self.note_leaked(places, published, &keys, moment, &mut seen);
        self.note_strangers(places, moment);
        for (place, kids) in published.iter().enumerate() {
            for kid in kids {
                let at = (place, kid.clone());
                let doubt = self.doubts.remove(&at);
                // What a person takes away while a parameter is about to be written is back at once, and nobody can tell.
                let is_parameter = places.kinds().get(place) == Some(&Kept::Parameter);
                let taken = self.taken.remove(&at).filter(|_| moment.acted && is_parameter);
                self.at_limit |= taken.is_some();
                let since = doubt.and_then(|doubt| doubt.since).or(taken).unwrap_or(moment.now);
                self.public.entry((place, kid.clone())).or_insert(since);
            }
        }
        let taken = &mut self.taken;
        self.public.retain(|(place, kid), since| {
            let is_there = published.get(*place).is_some_and(|kids| kids.contains(kid));
            if !is_there && moment.by_person {
                taken.insert((*place, kid.clone()), *since);
            }
            is_there
        });
        if keys.signs != self.signs {
            self.note_signer(places, &keys, moment, &mut seen);
        }
        seen
    }

    /// Reads a version that has become current.
    fn read(&mut self, id: &str, value: &[u8], seen: &mut Vec<Seen>) {
        if self.current.as_deref() == Some(id) {
            return;
        }
        self.current = Some(id.to_owned());
        let value: Value = serde_json::from_slice(value).unwrap_or_default();
        let keys = Keys::of(&value);
        for (name, kid) in [("current", &keys.signs), ("next", &keys.next)] {
            let text = value.pointer(&format!("/{name}/privateKey")).and_then(Value::as_str);
            // The line with the key's own bytes: the first one is the header.
            if let (Some(kid), Some(line)) = (kid, text.and_then(|text| text.lines().nth(1))) {
                self.private.insert(kid.clone(), line.to_owned());
            }
        }
        let text = value.to_string();
        let own = [&keys.signs, &keys.next];
        let kept =
            self.private.iter().find(|(kid, line)| !own.contains(&&Some((*kid).clone())) && text.contains(*line));
        if kept.is_some() {
            seen.push((
                "private-part-kept",
                "AWSCURRENT has the private part of a key that does not sign any more".to_owned(),
            ));
        }
        self.versions.insert(id.to_owned(), keys);
    }

    /// Keys that have left a place, although tokens live that they have signed.
    fn note_missing(
        &mut self,
        places: &Places,
        published: &[Vec<String>],
        keys: &Keys,
        moment: Moment,
        seen: &mut Vec<Seen>,
    ) {
        let lives = |ended: &Option<Duration>| ended.is_none_or(|ended| moment.now < ended + MAX_CACHE + LIFETIME);
        for (kid, _) in self.signed.iter().filter(|(kid, ended)| lives(ended) && !keys.revoked.contains(*kid)) {
            for (place, kept) in places.kinds().iter().enumerate() {
                let at = (place, kid.clone());
                let is_there = published.get(place).is_some_and(|kids| kids.contains(kid));
                // What a person takes away is the new beginning, until it is back.
                let Some(since) = self.public.get(&at).filter(|_| !is_there) else { continue };
                if moment.by_person || moment.acted {
                    continue;
                }
                let what =
                    ("living-key-gone", "a key that has signed living tokens is not published any more".to_owned());
                match kept {
                    Kept::Object => seen.push(what),
                    Kept::Parameter => {
                        drop(self.doubts.insert(at, Doubt { began: moment.began, since: Some(*since), seen: what }));
                    }
                }
            }
        }
    }

    /// Leaked keys that have come back to a place.
    fn note_leaked(
        &mut self,
        places: &Places,
        published: &[Vec<String>],
        keys: &Keys,
        moment: Moment,
        seen: &mut Vec<Seen>,
    ) {
        for kid in &keys.revoked {
            for (place, kept) in places.kinds().iter().enumerate() {
                let at = (place, kid.clone());
                let is_there = published.get(place).is_some_and(|kids| kids.contains(kid));
                if !is_there {
                    self.gone.insert(at.clone());
                    self.doubts.retain(|known, doubt| *known != at || doubt.since.is_some());
                    continue;
                }
                if moment.by_person || !self.gone.remove(&at) {
                    continue;
                }
                let what = ("leaked-key-back", "a leaked key is published again".to_owned());
                match kept {
                    Kept::Object => seen.push(what),
                    Kept::Parameter => {
                        self.doubts.insert(at, Doubt { began: moment.began, since: None, seen: what });
                    }
                }
            }
        }
    }

    /// Keys of strangers that have left a parameter.
    fn note_strangers(&mut self, places: &Places, moment: Moment) {
        let is_lost = |kid: &String| places.lost_strangers().any(|lost| lost == kid);
        self.doubts.retain(|(_, kid), _| !kid.starts_with(STRANGER) || is_lost(kid));
        if moment.by_person || places.kinds().first() != Some(&Kept::Parameter) {
            return;
        }
        for kid in places.lost_strangers().filter(|kid| !self.lost.contains(*kid)) {
            let doubt = Doubt { began: moment.began, since: None, seen: stranger_touched() };
            self.doubts.entry((0, kid.clone())).or_insert(doubt);
        }
    }

    /// Another key signs.
    fn note_signer(&mut self, places: &Places, keys: &Keys, moment: Moment, seen: &mut Vec<Seen>) {
        let before = std::mem::replace(&mut self.signs, keys.signs.clone());
        if let Some(before) = &before {
            self.signed.insert(before.clone(), Some(moment.now));
        }
        if moment.by_person {
            // A version that a person moves AWSCURRENT to need not name the keys that have signed.
            let public = keys.public();
            let known = self.signed.len();
            self.signed.retain(|kid, _| public.contains(kid));
            self.at_limit |= self.signed.len() < known;
        }
        // The version was made before somebody moved AWSCURRENT back. It does not know that this key has signed again.
        for kid in std::mem::take(&mut self.again) {
            if keys.signs.as_ref() == Some(&kid) || keys.latest.as_ref() == Some(&kid) {
                self.again.insert(kid);
            } else {
                self.at_limit |= self.signed.remove(&kid).is_some();
            }
        }
        if moment.by_person {
            self.again.extend(keys.signs.iter().filter(|kid| self.signed.contains_key(*kid)).cloned());
        }
        let Some(signs) = &keys.signs else { return };
        self.signed.insert(signs.clone(), None);
        // The first key of a secret has no verifiers yet, and the tokens of a leaked key are refused anyway.
        if before.as_ref().is_none_or(|before| keys.revoked.contains(before)) || moment.by_person {
            return;
        }
        if moment.acted {
            // Between the last look at a place and the promotion, nothing can be asked.
            self.at_limit = true;
            return;
        }
        for place in 0..places.kinds().len() {
            match self.public.get(&(place, signs.clone())) {
                Some(since) if *since + MAX_CACHE <= moment.now => {}
                Some(_) => seen.push(("signs-too-soon", "a key signs that was not public for maxCache".to_owned())),
                None => seen.push(("signs-unpublished", "a key signs that is not public".to_owned())),
            }
        }
    }

    /// An invocation has ended. What is in doubt because of it stays as it is now, unless it says that it failed.
    pub(super) fn ended(&mut self, began: u32, failed: bool) -> Vec<Seen> {
        let mut seen = Vec::new();
        self.doubts.retain(|(_, kid), doubt| {
            let is_due = doubt.began == began;
            if is_due && !failed {
                seen.push(doubt.seen.clone());
            }
            self.at_limit |= is_due && failed;
            if is_due && failed && kid.starts_with(STRANGER) {
                self.lost.insert(kid.clone());
            }
            !is_due
        });
        seen
    }

    /// Once everything is over, and the daily look was there after the time of all previous keys.
    pub(super) fn at_the_end(&self, places: &Places) -> Vec<Seen> {
        let Some(keys) = self.current.as_ref().and_then(|id| self.versions.get(id)) else { return Vec::new() };
        let mut seen = Vec::new();
        // Of a parameter, the invocation that overwrote them has the last word: see `doubts`.
        if places.kinds().first() == Some(&Kept::Object) && places.lost_strangers().next().is_some() {
            seen.push(stranger_touched());
        }
        for kids in places.kids() {
            if keys.signs.iter().chain(&keys.next).any(|kid| !kids.contains(kid)) {
                seen.push(("key-missing", "after the daily look, a key of AWSCURRENT is not published".to_owned()));
            }
            if kids.iter().any(|kid| keys.revoked.contains(kid)) {
                seen.push(("leaked-key-public", "after the daily look, a leaked key is published".to_owned()));
            }
            let ours = |kid: &&String| {
                !kid.starts_with(STRANGER) && ![&keys.signs, &keys.next].contains(&&Some((*kid).clone()))
            };
            if kids.iter().any(|kid| ours(&kid)) {
                seen.push(("key-left-over", "after the time of all previous keys, one is still published".to_owned()));
            }
        }
        seen
    }
}
