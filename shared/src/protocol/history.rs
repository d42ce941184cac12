//! The history of one secret: its versions with dates and labels, and who replaced whom.
//!
//! The service knows when a version was made, and which labels it has now. When AWSCURRENT moved, and from which version, is in the
//! audit records of the function that moved it, as far back as the log was read. AWSPREVIOUS tells the last move without a record: the
//! service puts it on the version that AWSCURRENT has left.

use crate::clock::{Deadline, age_of, date};
use crate::error::{Code, Error, Fact, Result, short_name};
use crate::protocol::Rotation;
use crate::protocol::activity::{Activity, Record};
use crate::protocol::store::{Description, ListedVersion, SecretStore};
use crate::protocol::target::Target;
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The answer to a question for a secret's history.
#[derive(Clone, Debug)]
pub struct History {
    secret: String,
    description: Description,
    versions: Vec<ListedVersion>,
    /// Why the versions without a label and the dates are missing, as an error's code.
    unlisted: Option<&'static str>,
    activity: Activity,
}

/// A move of AWSCURRENT to a version.
struct Moved<'a> {
    from: Option<&'a str>,
    at: Option<Duration>,
    source: &'static str,
}

impl History {
    fn of(secret: &str, description: Description, listed: Vec<ListedVersion>, activity: Activity) -> Self {
        let arn = description.arn.clone().unwrap_or_else(|| secret.to_owned());
        let mut versions = listed;
        // The list may lack the version that a rotation is making, and it is older than the description.
        for (id, labels) in &description.labels {
            match versions.iter_mut().find(|version| version.id == *id) {
                Some(version) => version.labels.clone_from(labels),
                None => versions.push(ListedVersion { id: id.clone(), labels: labels.clone(), created: None }),
            }
        }
        for version in &mut versions {
            version.labels.sort();
        }
        // A version without a date is the one that is being made.
        versions.sort_by(|a, b| {
            let order = |version: &ListedVersion| version.created.unwrap_or(Duration::MAX);
            order(b).cmp(&order(a)).then_with(|| a.id.cmp(&b.id))
        });
        Self { secret: arn, description, versions, unlisted: None, activity }
    }

    fn moved<'a>(&'a self, version: &str) -> Option<Moved<'a>> {
        let records = self.activity.of(&self.secret);
        let record = records.filter(|record| record.moved()).find(|record| record.version.as_deref() == Some(version));
        if let Some(record) = record {
            return Some(Moved { from: record.replaced.as_deref(), at: Some(record.at), source: "log" });
        }
        let previous = self.description.previous_version();
        let inferred = self.description.current_version() == Some(version) && previous.is_some();
        inferred.then_some(Moved { from: previous, at: None, source: "labels" })
    }

    fn version_json(&self, version: &ListedVersion) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("version", version.id.as_str().into());
        put("labels", version.labels.clone().into());
        put("created", version.created.and_then(date).into());
        put("ageSeconds", version.created.map(|created| age_of(created).as_secs()).into());
        if let Some(moved) = self.moved(&version.id) {
            put("becameCurrent", moved.at.and_then(date).into());
            put("replaced", moved.from.into());
            put("source", moved.source.into());
        }
        let by = self.versions.iter().find(|other| {
            self.moved(&other.id).is_some_and(|moved| moved.from == Some(version.id.as_str())) && other.id != version.id
        });
        if let Some(by) = by {
            put("replacedBy", by.id.as_str().into());
        }
        let of_version = |record: &&Record| record.version.as_deref() == Some(version.id.as_str());
        let events = self.activity.of(&self.secret).filter(of_version).map(Record::to_json);
        put("events", events.collect::<Vec<_>>().into());
        fields.into()
    }

    /// The answer. It holds ids, labels, dates and words, and never a secret's value.
    pub fn to_json(&self) -> Value {
        let rotated = self.description.rotated();
        json!({
            "step": "history",
            "secret": self.secret,
            "name": short_name(&self.secret),
            "rotationEnabled": rotated.rotation_enabled,
            "cadence": rotated.cadence(),
            "created": self.description.created.and_then(date),
            "lastRotated": rotated.last_rotated.and_then(date),
            "next": rotated.due().filter(|_| rotated.rotation_enabled).and_then(date),
            "log": self.activity.log_json(),
            "notListed": self.unlisted,
            "versions": self.versions.iter().map(|version| self.version_json(version)).collect::<Vec<_>>(),
        })
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// The history of one secret. Reads only, and no value. `activity` reads the log.
    ///
    /// # Errors
    /// Those of DescribeSecret; [`Code::TimeSpent`]. Without a list of versions, those with labels are told.
    pub async fn history(
        &self,
        secret: &str,
        activity: impl Future<Output = Activity>,
        deadline: Deadline,
    ) -> Result<History> {
        let (described, listed) = (self.store().describe(secret, deadline), self.store().versions(secret, deadline));
        let work = async { tokio::join!(described, listed, activity) };
        let spent = |_| Error::new(Code::TimeSpent).with(Fact::Secret, secret);
        let (described, listed, activity) = deadline.limit(work).await.map_err(spent)?;
        let described = described.map_err(|error| error.with_default(Fact::Secret, secret))?;
        let (listed, unlisted) = match listed {
            Ok(listed) => (listed, None),
            Err(error) => (Vec::new(), Some(error.code().as_str())),
        };
        Ok(History { unlisted, ..History::of(secret, described, listed, activity) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};

    #[test]
    fn versions_are_told_newest_first_and_by_whom_they_were_replaced() {
        let arn = "arn:aws:secretsmanager:r:1:secret:a-AbCdEf";
        let label = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
        let labels = [label("v4", PENDING), label("v3", CURRENT), label("v2", PREVIOUS)].into();
        let description = Description { labels, arn: Some(arn.to_owned()), ..Description::default() };
        let listed =
            |n: u64| ListedVersion { id: format!("v{n}"), labels: Vec::new(), created: Some(Duration::from_secs(n)) };
        let record = Record {
            at: Duration::from_secs(12),
            secret: Some("a".to_owned()),
            version: Some("v2".to_owned()),
            outcome: "promoted".to_owned(),
            replaced: Some("v1".to_owned()),
            ..Record::default()
        };
        let activity = Activity { records: vec![record], ..Activity::default() };
        let history = History::of("a", description, [1, 2, 3].map(listed).into(), activity).to_json();
        let told: Vec<_> = history["versions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|version| {
                let text = |name: &str| version[name].as_str().unwrap_or("-").to_owned();
                [text("version"), text("replaced"), text("replacedBy"), text("source")]
            })
            .collect();
        assert_eq!(
            told,
            [
                ["v4", "-", "-", "-"].map(str::to_owned),
                ["v3", "v2", "-", "labels"].map(str::to_owned),
                ["v2", "v1", "v3", "log"].map(str::to_owned),
                ["v1", "-", "v2", "-"].map(str::to_owned),
            ]
        );
        assert_eq!(history["versions"][2]["becameCurrent"], "1970-01-01T00:00:12Z");
    }
}
