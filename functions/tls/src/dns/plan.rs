//! Which change of a zone's record sets adds or removes values. Pure.

use std::collections::BTreeMap;

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

/// The changes that make these values present or absent. `now` has the record set of each name, if there is one.
///
/// **Invariant:** a record set is only replaced by way of a comparison: the batch removes exactly what was read. Otherwise two
/// rotations would overwrite each other's values. Test: `a_set_is_replaced_only_if_it_is_what_was_read`.
pub fn changes(now: &BTreeMap<String, Option<RecordSet>>, wanted: &[(String, String)], wish: Wish) -> Vec<Change> {
    let mut changes = Vec::new();
    for (name, set) in now {
        let ours: Vec<String> = wanted.iter().filter(|(at, _)| at == name).map(|(_, value)| quoted(value)).collect();
        let before = set.as_ref().map(|set| set.values.clone()).unwrap_or_default();
        let mut after = before.clone();
        match wish {
            Wish::Present => {
                for value in ours {
                    if !after.contains(&value) {
                        after.push(value);
                    }
                }
            }
            Wish::Absent => after.retain(|value| !ours.contains(value)),
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

/// A value as Route 53 wants it.
fn quoted(value: &str) -> String {
    format!("\"{value}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(values: &[&str]) -> Option<RecordSet> {
        Some(RecordSet { ttl: 300, values: values.iter().map(|value| quoted(value)).collect() })
    }

    fn plan(now: Option<RecordSet>, wanted: &[&str], wish: Wish) -> Vec<(&'static str, Vec<String>)> {
        let wanted: Vec<_> = wanted.iter().map(|value| ("a".to_owned(), (*value).to_owned())).collect();
        let now = [("a".to_owned(), now)].into();
        changes(&now, &wanted, wish).into_iter().map(|change| (change.action, change.set.values)).collect()
    }

    #[test]
    fn a_set_is_replaced_only_if_it_is_what_was_read() {
        let values = |values: &[&str]| set(values).unwrap().values;
        assert_eq!(plan(None, &["x", "y"], Wish::Present), [("CREATE", values(&["x", "y"]))]);
        assert_eq!(
            plan(set(&["other"]), &["x"], Wish::Present),
            [("DELETE", values(&["other"])), ("CREATE", values(&["other", "x"]))]
        );
        assert_eq!(plan(set(&["x", "y"]), &["y"], Wish::Present), []);
        assert_eq!(
            plan(set(&["x", "other"]), &["x"], Wish::Absent),
            [("DELETE", values(&["x", "other"])), ("CREATE", values(&["other"]))]
        );
        assert_eq!(plan(set(&["x"]), &["x"], Wish::Absent), [("DELETE", values(&["x"]))]);
        assert_eq!(plan(set(&["other"]), &["x"], Wish::Absent), []);
        assert_eq!(plan(None, &["x"], Wish::Absent), []);
    }

    #[test]
    fn the_time_to_live_of_a_set_that_is_there_stays() {
        let wanted = [("a".to_owned(), "x".to_owned())];
        let now = [("a".to_owned(), set(&["other"]))].into();
        assert!(changes(&now, &wanted, Wish::Present).iter().all(|change| change.set.ttl == 300));
    }

    #[test]
    fn adding_and_removing_leaves_what_was_there() {
        for before in [None, set(&["other"]), set(&["other", "another"])] {
            let wanted = [("a".to_owned(), "x".to_owned()), ("a".to_owned(), "y".to_owned())];
            let apply = |now: Option<RecordSet>, wish| {
                let changes = changes(&[("a".to_owned(), now.clone())].into(), &wanted, wish);
                changes.into_iter().fold(now, |now, change| match change.action {
                    "DELETE" => {
                        assert_eq!(now.as_ref(), Some(&change.set), "what is removed is what was read");
                        None
                    }
                    _ => {
                        assert_eq!(now, None, "there is nothing to be created over");
                        Some(change.set)
                    }
                })
            };
            assert_eq!(apply(apply(before.clone(), Wish::Present), Wish::Absent), before);
        }
    }
}
