//! Which change of a zone's record sets adds or removes values. Pure.

use crate::encoding::fingerprint;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a mark begins.
const MARK: &str = "lockstep ";
/// The bytes of a hash that tell the owners in a hosted zone apart.
const ID_BYTES: usize = 8;
/// The characters of a value that tell the values of an owner apart.
const START: usize = 8;
/// The age at which nobody uses a value any more: an invocation lasts 15 minutes at most. A value that is still used, by a process that
/// keeps its order, is added again.
const LEFT_BEHIND: Duration = Duration::from_secs(3_600);
/// How long resolvers may keep a record of ours, in seconds. Nobody but the CA asks for it, and only once.
const TTL: u32 = 60;

/// The values of a TXT record set, as Route 53 has them, quotes included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// Its time to live.
    pub ttl: u32,
    /// Its values.
    pub values: Vec<String>,
}

/// What is to become of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// They are there.
    Present,
    /// They are not there.
    Absent,
}

/// One change of a batch. Route 53 carries out a batch as a whole, or not at all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `DELETE` removes exactly this record set, and fails if it is another by now. `CREATE` fails if there is one.
    pub action: &'static str,
    /// The name, without a dot at its end.
    pub name: String,
    /// The record set.
    pub set: RecordSet,
}

/// Whose values these are, and since when they are there.
///
/// Beside each value of ours stands a second one, its *mark*. By it a later rotation of the same secret finds what a process that died
/// has left behind. CAs look for their own value and ignore all others (RFC 8555, section 8.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The first digits of the hash of the secret's ARN.
    id: String,
    /// In seconds since the Unix epoch.
    since: u64,
}

/// What a mark says.
struct Mark<'a> {
    owner: &'a str,
    since: u64,
    /// The first characters of the value that it stands beside.
    start: &'a str,
}

impl Owner {
    /// The owner of values that are added for this secret at this moment.
    pub fn new(secret: &str, since: Duration) -> Self {
        Self { id: fingerprint(secret, ID_BYTES), since: since.as_secs() }
    }

    fn mark(&self, value: &str) -> String {
        quoted(&format!("{MARK}{} {} {}", self.id, self.since, start(value)))
    }
}

impl<'a> Mark<'a> {
    fn read(value: &'a str) -> Option<Self> {
        let mut parts = value.trim_matches('"').strip_prefix(MARK)?.split(' ');
        let (owner, since, start) = (parts.next()?, parts.next()?.parse().ok()?, parts.next()?);
        (start.len() == START).then_some(Self { owner, since, start })
    }

    fn is_beside(&self, value: &str) -> bool {
        start(value.trim_matches('"')) == self.start
    }
}

/// The changes that make these values present or absent at the moment `at`. `now` has the record set of each name, if there is one.
///
/// **Invariant:** a record set is only replaced by way of a comparison: the batch removes exactly what was read. Otherwise two
/// rotations would overwrite each other's values. Test: `a_set_is_replaced_only_if_it_is_what_was_read`.
pub fn changes(
    now: &BTreeMap<String, Option<RecordSet>>,
    wanted: &[(String, String)],
    wish: Wish,
    owner: &Owner,
    at: Duration,
) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, set) in now {
        let ours: Vec<&str> = wanted.iter().filter(|(at, _)| at == name).map(|(_, value)| value.as_str()).collect();
        let before = set.as_ref().map(|set| set.values.clone()).unwrap_or_default();
        let mut after = without_left_behind(&before, &ours, owner, at);
        for value in ours {
            let (mark, value) = (owner.mark(value), quoted(value));
            // A mark with another time is replaced: the change that follows says when all name servers have the value.
            let is_kept = |there: &String| wish == Wish::Present && *there == mark;
            after.retain(|there| is_kept(there) || !is_mark_of(owner, there, &value));
            match wish {
                Wish::Present => after.extend([value, mark].into_iter().filter(|it| !before.contains(it))),
                // Two secrets with one account may have the same value.
                Wish::Absent if after.iter().any(|there| Mark::read(there).is_some_and(|it| it.is_beside(&value))) => {}
                Wish::Absent => after.retain(|there| *there != value),
            }
        }
        if after == before {
            continue;
        }
        let change = |action, set| Change { action, name: name.clone(), set };
        changes.extend(set.clone().map(|set| change("DELETE", set)));
        if !after.is_empty() {
            let ttl = set.as_ref().map_or(TTL, |set| set.ttl);
            changes.push(change("CREATE", RecordSet { ttl, values: after }));
        }
    }
    changes
}

/// The values without those of this owner that were left behind. Values that are wanted stay.
fn without_left_behind(before: &[String], wanted: &[&str], owner: &Owner, at: Duration) -> Vec<String> {
    let marks = before.iter().filter_map(|value| Mark::read(value));
    let is_wanted = |mark: &Mark<'_>| wanted.iter().any(|value| mark.is_beside(value));
    let is_old = |mark: &Mark<'_>| mark.since.saturating_add(LEFT_BEHIND.as_secs()) < at.as_secs();
    let left: Vec<Mark<'_>> = marks.filter(|mark| mark.owner == owner.id && is_old(mark) && !is_wanted(mark)).collect();
    let stays = |value: &&String| {
        left.iter().all(|mark| !mark.is_beside(value) && !is_mark_of(owner, value, &quoted(mark.start)))
    };
    before.iter().filter(stays).cloned().collect()
}

/// Whether a value is this owner's mark beside another value.
fn is_mark_of(owner: &Owner, there: &str, value: &str) -> bool {
    Mark::read(there).is_some_and(|mark| mark.owner == owner.id && mark.is_beside(value))
}

/// The first characters of a value. The values that CAs ask for are hashes in base64.
fn start(value: &str) -> &str {
    value.get(..START).unwrap_or(value)
}

/// A value as Route 53 wants it.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const ONE: &str = "0123456789abcdef";
    const TWO: &str = "fedcba9876543210";

    fn owner(age: u64) -> Owner {
        Owner::new("secret", NOW - Duration::from_secs(age))
    }

    fn values(plain: &[&str]) -> Vec<String> {
        plain.iter().map(|value| quoted(value)).collect()
    }

    /// The values after the changes, if there are any. What is removed is what was read, and nothing is created over what is there.
    fn after(before: &[String], wanted: &[&str], wish: Wish, owner: &Owner) -> Option<Vec<String>> {
        let wanted: Vec<_> = wanted.iter().map(|value| ("a".to_owned(), (*value).to_owned())).collect();
        let there = (!before.is_empty()).then(|| RecordSet { ttl: 300, values: before.to_vec() });
        let changes = changes(&[("a".to_owned(), there.clone())].into(), &wanted, wish, owner, NOW);
        let changed = !changes.is_empty();
        let end = changes.into_iter().fold(there, |there, change| match change.action {
            "DELETE" => {
                assert_eq!(there.as_ref(), Some(&change.set));
                None
            }
            _ => {
                assert_eq!(there, None);
                Some(change.set)
            }
        });
        changed.then(|| end.map(|set| set.values).unwrap_or_default())
    }

    #[test]
    fn a_set_is_replaced_only_if_it_is_what_was_read() {
        let owner = owner(0);
        let marked = |others: &[&str]| {
            let mut all = values(others);
            all.extend([quoted(ONE), owner.mark(ONE)]);
            all
        };
        for others in [&[][..], &["other"], &["other", "another"]] {
            let added = after(&values(others), &[ONE], Wish::Present, &owner).unwrap();
            assert_eq!(added, marked(others));
            assert_eq!(after(&added, &[ONE], Wish::Present, &owner), None, "to do so again changes nothing");
            assert_eq!(after(&added, &[ONE], Wish::Absent, &owner), Some(values(others)));
            assert_eq!(after(&values(others), &[ONE], Wish::Absent, &owner), None);
        }
        let both = after(&[], &[ONE, TWO], Wish::Present, &owner).unwrap();
        assert_eq!(both, [quoted(ONE), owner.mark(ONE), quoted(TWO), owner.mark(TWO)]);
        assert_eq!(after(&both, &[TWO], Wish::Absent, &owner), Some(marked(&[])));
    }

    #[test]
    fn a_value_that_another_attempt_added_is_added_anew() {
        let before = after(&[], &[ONE], Wish::Present, &owner(100)).unwrap();
        // Otherwise nobody would know when all name servers have it.
        let again = after(&before, &[ONE], Wish::Present, &owner(0)).unwrap();
        assert_eq!(again, [quoted(ONE), owner(0).mark(ONE)]);
        assert_eq!(after(&again, &[ONE], Wish::Absent, &owner(100)), Some(vec![]), "whatever its time is");
    }

    #[test]
    fn what_a_process_that_died_has_left_behind_is_removed() {
        let old = after(&values(&["other"]), &[ONE], Wish::Present, &owner(4_000)).unwrap();
        let recent = after(&values(&["other"]), &[ONE], Wish::Present, &owner(1_000)).unwrap();
        let now = owner(0);
        let with_two: Vec<_> = values(&["other", TWO]).into_iter().chain([now.mark(TWO)]).collect();
        assert_eq!(after(&old, &[TWO], Wish::Present, &now), Some(with_two));
        assert_eq!(after(&old, &[TWO], Wish::Absent, &now), Some(values(&["other"])));
        assert_eq!(after(&recent, &[TWO], Wish::Absent, &now), None, "somebody may use it");
        let kept = after(&old, &[ONE], Wish::Present, &now).unwrap();
        assert!(kept.contains(&quoted(ONE)), "it is wanted again");
        // Another secret's is not ours to remove.
        let other = Owner::new("other", NOW - Duration::from_secs(4_000));
        let theirs = after(&[], &[ONE], Wish::Present, &other).unwrap();
        assert_eq!(after(&theirs, &[TWO], Wish::Absent, &now), None);
    }

    #[test]
    fn a_value_that_another_secret_uses_too_stays() {
        let (one, two) = (owner(0), Owner::new("other", NOW));
        let both = after(&[], &[ONE], Wish::Present, &one).unwrap();
        let both = after(&both, &[ONE], Wish::Present, &two).unwrap();
        let left = after(&both, &[ONE], Wish::Absent, &one).unwrap();
        assert_eq!(left, [quoted(ONE), two.mark(ONE)]);
        assert_eq!(after(&left, &[ONE], Wish::Absent, &two), Some(vec![]));
    }

    #[test]
    fn what_is_no_mark_is_nobodys() {
        for text in ["", "lockstep", "lockstep a b c", "lockstep a 1 short", "Lockstep a 1 01234567", "\"lockstep a 1"]
        {
            assert!(Mark::read(text).is_none(), "{text}");
        }
        assert!(after(&values(&["é", "lockstep é 1 é"]), &["é"], Wish::Absent, &owner(0)).is_some());
    }

    #[test]
    fn the_time_to_live_of_a_set_that_is_there_stays() {
        let wanted = [("a".to_owned(), ONE.to_owned())];
        let now = [("a".to_owned(), Some(RecordSet { ttl: 300, values: values(&["other"]) }))].into();
        let changes = changes(&now, &wanted, Wish::Present, &owner(0), NOW);
        assert!(changes.iter().all(|change| change.set.ttl == 300));
    }
}
