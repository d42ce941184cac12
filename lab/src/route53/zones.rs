//! Hosted zones and their record sets, and what a batch of changes does to them. Without I/O.

use std::collections::BTreeMap;

/// Zones by id, and their record sets by name and type.
#[derive(Clone, Debug, Default)]
pub struct Zones(BTreeMap<String, Zone>);

#[derive(Clone, Debug)]
struct Zone {
    name: String,
    private: bool,
    sets: BTreeMap<(String, String), RecordSet>,
}

/// A record set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordSet {
    /// `TXT`, `CNAME` …
    pub kind: String,
    /// The time to live, in seconds.
    pub ttl: u32,
    /// The values as they are written; those of a TXT record in quotes.
    pub values: Vec<String>,
}

/// A change of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// `CREATE`, `DELETE` or `UPSERT`.
    pub action: String,
    /// The name, without a dot at its end.
    pub name: String,
    /// The record set.
    pub set: RecordSet,
}

/// An error of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// The error's name.
    pub code: String,
    /// Its message.
    pub message: String,
}

impl Refusal {
    pub(super) fn new(status: u16, code: &str, message: &str) -> Self {
        Self { status, code: code.to_owned(), message: message.to_owned() }
    }
}

impl Zones {
    /// Adds a zone.
    pub fn add(&mut self, id: &str, name: &str, private: bool) {
        let zone = Zone { name: name.to_owned(), private, sets: BTreeMap::new() };
        self.0.insert(id.to_owned(), zone);
    }

    /// Puts a record set into a zone, as a person would.
    pub fn put(&mut self, id: &str, name: &str, kind: &str, values: &[&str]) {
        if let Some(zone) = self.0.get_mut(id) {
            let values = values.iter().map(|&value| value.to_owned()).collect();
            let set = RecordSet { kind: kind.to_owned(), ttl: 300, values };
            zone.sets.insert((name.to_owned(), kind.to_owned()), set);
        }
    }

    /// The TXT values of a name in all zones, without quotes.
    pub fn values(&self, name: &str) -> Vec<String> {
        let key = (name.to_owned(), "TXT".to_owned());
        let sets = self.0.values().filter_map(|zone| zone.sets.get(&key));
        sets.flat_map(|set| &set.values).map(|value| value.trim_matches('"').to_owned()).collect()
    }

    /// How many record sets there are.
    pub fn count(&self) -> usize {
        self.0.values().map(|zone| zone.sets.len()).sum()
    }

    /// Id, name and privacy of the zones from this name on, in the order of reversed labels.
    pub(super) fn from(&self, name: &str) -> Vec<(String, String, bool)> {
        let reversed = |name: &str| name.split('.').rev().map(str::to_owned).collect::<Vec<_>>();
        let from = reversed(name);
        let mut zones: Vec<_> = self
            .0
            .iter()
            .map(|(id, zone)| (reversed(&zone.name), id.clone(), zone.name.clone(), zone.private))
            .collect();
        zones.sort();
        zones.retain(|(labels, ..)| *labels >= from);
        zones.into_iter().map(|(_, id, name, private)| (id, name, private)).collect()
    }

    /// The record sets of a zone from this name and type on.
    pub(super) fn sets(&self, id: &str, name: &str, kind: &str) -> Result<Vec<(String, RecordSet)>, Refusal> {
        let zone = self.0.get(id).ok_or_else(|| no_zone(id))?;
        let reversed = |name: &str| name.split('.').rev().map(str::to_owned).collect::<Vec<_>>();
        let from = (reversed(name), kind.to_owned());
        let mut sets: Vec<_> = zone
            .sets
            .iter()
            .map(|((name, kind), set)| ((reversed(name), kind.clone()), name.clone(), set.clone()))
            .collect();
        sets.sort_by(|one, other| one.0.cmp(&other.0));
        Ok(sets.into_iter().filter(|(place, ..)| *place >= from).map(|(_, name, set)| (name, set)).collect())
    }

    /// Carries out a batch, as a whole or not at all.
    pub(super) fn change(&mut self, id: &str, changes: &[Change]) -> Result<(), Refusal> {
        let zone = self.0.get_mut(id).ok_or_else(|| no_zone(id))?;
        let mut sets = zone.sets.clone();
        for Change { action, name, set } in changes {
            let within = *name == zone.name || name.ends_with(&format!(".{}", zone.name));
            if !within {
                return Err(invalid(&format!("RRSet with DNS name {name}. is not permitted in zone {}.", zone.name)));
            }
            let place = (name.clone(), set.kind.clone());
            match action.as_str() {
                "CREATE" if sets.contains_key(&place) => {
                    return Err(invalid(&format!(
                        "Tried to create resource record set [name='{name}.', type='{}'] but it already exists",
                        set.kind
                    )));
                }
                "DELETE" if sets.get(&place).is_none_or(|there| !same(there, set)) => {
                    return Err(invalid(&format!(
                        "Tried to delete resource record set [name='{name}.', type='{}'] but the values provided do not match the current values",
                        set.kind
                    )));
                }
                "CREATE" | "UPSERT" => drop(sets.insert(place, set.clone())),
                "DELETE" => drop(sets.remove(&place)),
                _ => return Err(Refusal::new(400, "InvalidInput", "an unknown action")),
            }
        }
        zone.sets = sets;
        Ok(())
    }
}

/// The order of values says nothing.
fn same(one: &RecordSet, other: &RecordSet) -> bool {
    let sorted = |set: &RecordSet| {
        let mut values = set.values.clone();
        values.sort();
        values
    };
    one.ttl == other.ttl && sorted(one) == sorted(other)
}

fn no_zone(id: &str) -> Refusal {
    Refusal::new(404, "NoSuchHostedZone", &format!("No hosted zone found with ID: {id}"))
}

fn invalid(message: &str) -> Refusal {
    Refusal::new(400, "InvalidChangeBatch", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(action: &str, values: &[&str]) -> Change {
        let values = values.iter().map(|&value| value.to_owned()).collect();
        let set = RecordSet { kind: "TXT".to_owned(), ttl: 60, values };
        Change { action: action.to_owned(), name: "a.example.com".to_owned(), set }
    }

    #[test]
    fn a_batch_is_carried_out_as_a_whole_or_not_at_all() {
        let mut zones = Zones::default();
        zones.add("Z1", "example.com", false);
        zones.change("Z1", &[change("CREATE", &["\"x\""])]).unwrap();
        let replace = [change("DELETE", &["\"x\""]), change("CREATE", &["\"x\"", "\"y\""])];
        zones.change("Z1", &replace).unwrap();
        assert_eq!(zones.values("a.example.com"), ["x", "y"]);
        // Another one came first.
        let error = zones.change("Z1", &[change("DELETE", &["\"x\""]), change("CREATE", &["\"z\""])]).unwrap_err();
        assert_eq!((error.status, error.code.as_str()), (400, "InvalidChangeBatch"));
        assert_eq!(zones.values("a.example.com"), ["x", "y"]);
        assert_eq!(zones.change("Z1", &[change("CREATE", &["\"z\""])]).unwrap_err().code, "InvalidChangeBatch");
        assert_eq!(zones.change("Z2", &[change("CREATE", &["\"z\""])]).unwrap_err().code, "NoSuchHostedZone");
        let outside = Change { name: "a.example.org".to_owned(), ..change("CREATE", &["\"z\""]) };
        assert_eq!(zones.change("Z1", &[outside]).unwrap_err().code, "InvalidChangeBatch");
        zones.change("Z1", &[change("DELETE", &["\"y\"", "\"x\""])]).unwrap();
        assert_eq!(zones.count(), 0);
    }

    #[test]
    fn zones_are_listed_by_reversed_labels() {
        let mut zones = Zones::default();
        for (id, name) in [("Z1", "example.com"), ("Z2", "a.example.com"), ("Z3", "example.org")] {
            zones.add(id, name, false);
        }
        let ids = |from: &str| zones.from(from).into_iter().map(|(id, ..)| id).collect::<Vec<_>>();
        assert_eq!(ids("example.com"), ["Z1", "Z2", "Z3"]);
        assert_eq!(ids("a.example.com"), ["Z2", "Z3"]);
        assert_eq!(ids("zz.example.com"), ["Z3"]);
    }
}
