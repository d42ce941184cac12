//! What a function's own log says about rotations: its audit records, read back.
//!
//! Whoever may write to the log group, or may invoke the function, may write a line that looks like a record. So a record is only
//! shown, and nothing depends on it but what the answer to a question says. Each part of it has to look like what it should be.

use crate::clock::date;
use crate::error::{secret_name, short_name};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// The longest message that is read as a record. A record has about 700 bytes; a secret's ARN takes at most 600 of more.
const LONGEST: usize = 8 << 10;

/// The outcome of a record that somebody has asked for a rotation.
pub(crate) const REQUESTED: &str = "requested";

/// How a rotation, or an attempt at one, ended, by an audit record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// When the line was written, as the time since the Unix epoch.
    pub at: Duration,
    /// The secret, as the invocation named it: its ARN, if Secrets Manager has invoked the function.
    pub secret: Option<String>,
    /// The version that the rotation was to make current.
    pub version: Option<String>,
    /// The step, or `recover`.
    pub step: Option<String>,
    /// `promoted`, `found-current`, `failed`, `requested`, or what a recovery did.
    pub outcome: String,
    /// The error's code, if the step failed.
    pub code: Option<String>,
    /// The version that AWSCURRENT moved away from.
    pub replaced: Option<String>,
    /// `request` if somebody asked for the rotation, else `unknown`.
    pub trigger: Option<String>,
}

impl Record {
    /// Reads a line of the log that was written at this time since the Unix epoch. `None` if it is not an audit record.
    pub fn read(at: Duration, line: &str) -> Option<Self> {
        if line.len() > LONGEST {
            return None;
        }
        let fields: Map<String, Value> = serde_json::from_str(line.trim()).ok()?;
        let text = |name: &str| fields.get(name).and_then(Value::as_str);
        if text("audit") != Some("rotation") {
            return None;
        }
        let word = |name: &str| text(name).filter(|it| is_word(it)).map(str::to_owned);
        Some(Self {
            at,
            secret: text("secret").map(|secret| secret_name(secret).to_owned()),
            version: word("version"),
            step: word("step"),
            outcome: word("outcome")?,
            code: word("code"),
            replaced: word("replaced"),
            trigger: word("trigger"),
        })
    }

    /// Whether the step that it is about failed.
    pub fn failed(&self) -> bool {
        self.outcome == "failed"
    }

    /// Whether AWSCURRENT moved.
    pub fn moved(&self) -> bool {
        self.replaced.is_some() || self.outcome == "promoted"
    }

    /// As JSON.
    pub fn to_json(&self) -> Value {
        let mut fields = Map::new();
        fields.insert("at".to_owned(), date(self.at).into());
        fields.insert("outcome".to_owned(), self.outcome.as_str().into());
        let optional = [
            ("secret", &self.secret),
            ("version", &self.version),
            ("step", &self.step),
            ("code", &self.code),
            ("replaced", &self.replaced),
            ("trigger", &self.trigger),
        ];
        for (name, value) in optional {
            if let Some(value) = value {
                fields.insert(name.to_owned(), value.as_str().into());
            }
        }
        fields.into()
    }
}

/// Ids of versions, steps, outcomes and codes: ASCII letters, digits and hyphens.
fn is_word(text: &str) -> bool {
    !text.is_empty() && text.len() <= 64 && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
}

/// What was read of the log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Activity {
    /// The records, newest first.
    pub records: Vec<Record>,
    /// How far back the log was read to its end, as the time since the Unix epoch. `None`: not at all.
    pub since: Option<Duration>,
    /// Why the log was not read, or not as far as it should be.
    pub trouble: Option<&'static str>,
    /// How many calls of FilterLogEvents it took.
    pub calls: u32,
}

impl Activity {
    /// A log that was not read, for this reason.
    pub fn unread(trouble: &'static str) -> Self {
        Self { trouble: Some(trouble), ..Self::default() }
    }

    /// The newest record about the end of a rotation of a secret.
    pub fn last_of<'a>(&'a self, arn: &'a str) -> Option<&'a Record> {
        self.of(arn).find(|record| record.outcome != REQUESTED)
    }

    /// The records about a secret, newest first. People may have invoked the function with the secret's name.
    pub fn of<'a>(&'a self, arn: &'a str) -> impl Iterator<Item = &'a Record> {
        let name = short_name(arn);
        self.records.iter().filter(move |record| record.secret.as_deref().is_some_and(|it| it == arn || it == name))
    }

    /// What was read, without the records.
    pub fn log_json(&self) -> Value {
        json!({
            "read": self.since.is_some(),
            "since": self.since.and_then(date),
            "trouble": self.trouble,
            "calls": self.calls,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:secretsmanager:us-east-1:123456789012:secret:app/db-AbCdEf";

    fn line(fields: &Value) -> String {
        let mut line = json!({"audit": "rotation", "outcome": "promoted", "secret": ARN, "version": "v2", "replaced": "v1",
            "step": "finishSecret", "message": "rotation audit", "target": "rotation::audit"});
        for (name, value) in fields.as_object().unwrap() {
            line[name] = value.clone();
        }
        line.to_string()
    }

    #[test]
    fn a_record_is_read_and_what_is_none_is_not() {
        let at = Duration::from_secs(5);
        let record = Record::read(at, &line(&json!({}))).unwrap();
        assert_eq!((record.secret.as_deref(), record.replaced.as_deref()), (Some(ARN), Some("v1")));
        assert!(record.moved() && !record.failed());
        for none in
            ["", "{}", "START RequestId: 1", "[1]", &line(&json!({"audit": "other"})), &line(&json!({"outcome": 7}))]
        {
            assert_eq!(Record::read(at, none), None, "{none}");
        }
        assert_eq!(Record::read(at, &line(&json!({"more": "x".repeat(LONGEST)}))), None);
    }

    #[test]
    fn what_strangers_write_into_a_record_is_not_repeated() {
        let hostile = "<img src=x onerror=alert(1)>";
        let fields =
            json!({"secret": hostile, "version": hostile, "step": hostile, "code": hostile, "replaced": hostile});
        let record = Record::read(Duration::ZERO, &line(&fields)).unwrap();
        assert!(!record.to_json().to_string().contains("onerror"), "{record:?}");
        assert_eq!(Record::read(Duration::ZERO, &line(&json!({"outcome": hostile}))), None);
    }

    #[test]
    fn records_of_a_secret_are_found_by_its_arn_and_its_name() {
        let record = |secret: &str| Record { secret: Some(secret.to_owned()), ..Record::default() };
        let records = vec![record("other"), record("app/db"), record(ARN), record("app/d")];
        let activity = Activity { records, ..Activity::default() };
        assert_eq!(activity.of(ARN).count(), 2);
        assert_eq!(short_name(ARN), "app/db");
        assert_eq!((short_name("a-bcdefg"), short_name("arn:x:secret:a-b")), ("a-bcdefg", "arn:x:secret:a-b"));
    }
}
