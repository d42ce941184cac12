//! What a person asks for.

use super::select::Select;
use super::waves::{Share, Waves};
use super::window::Window;
use rotation::error::{Code, Error, Fact, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What is done with each secret.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// One rotation each, in waves.
    #[default]
    Rotate,
    /// As many rotations as end the credential that is current now, without waves.
    Emergency,
    /// AWSCURRENT goes back to the version that another run replaced, where its credential still works.
    RollBack,
    /// The versions are encrypted with another KMS key.
    Rekey,
}

impl Mode {
    /// The word used in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rotate => "rotate",
            Self::Emergency => "emergency",
            Self::RollBack => "roll-back",
            Self::Rekey => "rekey",
        }
    }
}

/// How fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Pace {
    /// Rotations that begin in a second.
    pub per_second: u32,
    /// Secrets of one database host, or one issuer, at a time.
    pub per_host: usize,
    /// Hosts at a time.
    pub hosts: usize,
}

/// A rotation makes two writes, and the service allows 50 a second for the account. That would be 25; what else writes needs some.
///
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
const MOST_PER_SECOND: u32 = 25;

impl Default for Pace {
    fn default() -> Self {
        Self { per_second: 10, per_host: 1, hosts: 40 }
    }
}

/// An order, as it stands in the input of an execution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Order {
    /// `true`: do it. Otherwise the answer is the plan, and nothing else happens.
    #[serde(default)]
    pub run: bool,
    /// The run's name; by default the name of the execution. A second execution with the same name continues the run, and does nothing
    /// twice.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// What is done.
    #[serde(default)]
    pub mode: Mode,
    /// Why, for the record. Required.
    #[serde(default)]
    pub why: String,
    /// Who asks, in their own words. The record also has the execution, whose starter CloudTrail knows.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub asked_by: String,
    /// Which secrets.
    #[serde(default)]
    pub select: Select,
    /// In which waves. An emergency has one.
    #[serde(default)]
    pub waves: Waves,
    /// How fast.
    #[serde(default)]
    pub pace: Pace,
    /// So many failures are tolerated. One more stops the run.
    #[serde(default = "none")]
    pub tolerate: Share,
    /// When it may rotate. An emergency does not wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<Window>,
    /// How long a rotation may take before it counts as failed, in seconds.
    #[serde(default = "patience")]
    pub patience_seconds: u64,
    /// For a roll back: the name of the run whose rotations are undone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// For a rekey: the new KMS key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kms_key: String,
}

fn none() -> Share {
    Share::Count(0)
}

/// Four steps of up to a minute, which is the template's timeout.
fn patience() -> u64 {
    240
}

impl Order {
    /// Reads an order. `execution` is its name where the order has none.
    ///
    /// # Errors
    /// [`Code::EventMalformed`] where it is no order, [`Code::FieldMissing`] and [`Code::FieldInvalid`] for what is in it.
    pub fn read(value: &Value, execution: &str) -> Result<Self> {
        let mut order: Self = Self::deserialize(value).map_err(|_| {
            let error = Error::new(Code::EventMalformed).with(Fact::Field, "(the order)");
            let error = error.with(Fact::Found, "a field that is unknown, or of another type");
            error.with(Fact::Expected, "the fields of docs/fleet.md")
        })?;
        if order.name.is_empty() {
            execution.clone_into(&mut order.name);
        }
        order.check()?;
        Ok(order)
    }

    fn check(&self) -> Result<()> {
        let missing = |field: &str, expected: &str| {
            let error = Error::new(Code::FieldMissing).with(Fact::Field, field);
            Err(error.with(Fact::Expected, expected))
        };
        let invalid = |field: &str, expected: &str| {
            let error = Error::new(Code::FieldInvalid).with(Fact::Field, field);
            Err(error.with(Fact::Found, "something else").with(Fact::Expected, expected))
        };
        self.select.check()?;
        self.waves.check()?;
        if let Some(window) = &self.window {
            window.check()?;
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        if self.run && self.why.trim().is_empty() {
            return missing("why", "the reason, for the record");
        }
        // Step Functions allows 80 characters in an execution's name.
        if self.run && (self.name.is_empty() || self.name.len() > 80 || !self.name.chars().all(plain)) {
            return invalid("name", "1 to 80 letters, digits, hyphens and underscores");
        }
        if self.why.len() > 500 || self.asked_by.len() > 200 {
            return invalid("why", "500 characters at most; askedBy: 200");
        }
        if !(1..=MOST_PER_SECOND).contains(&self.pace.per_second) {
            return invalid(
                "pace.perSecond",
                "1 to 25: the service allows 50 writes a second, and a rotation makes two",
            );
        }
        if self.pace.per_host == 0 || self.pace.hosts == 0 {
            return invalid("pace", "at least one secret of at least one host at a time");
        }
        if !(1..=3_600).contains(&self.patience_seconds) {
            return invalid("patienceSeconds", "1 to 3600");
        }
        match self.mode {
            Mode::RollBack if self.of.is_empty() => missing("of", "the name of the run that is undone"),
            Mode::Rekey if self.kms_key.is_empty() => missing("kmsKey", "the new KMS key"),
            _ => Ok(()),
        }
    }

    /// The sizes of the waves.
    pub fn waves(&self, all: usize) -> Vec<usize> {
        match self.mode {
            Mode::Emergency if all == 0 => Vec::new(),
            Mode::Emergency => vec![all],
            _ => self.waves.sizes(all),
        }
    }

    /// How many failures stop the run: one more than are tolerated. An emergency goes on, because a secret that was left out stays
    /// leaked.
    pub fn stops_at(&self, all: usize) -> usize {
        match self.mode {
            Mode::Emergency => usize::MAX,
            _ => self.tolerate.of(all) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn code(order: &Value) -> Option<Code> {
        Order::read(order, "execution").err().map(|error| error.code())
    }

    #[test]
    fn a_plan_needs_a_selection_and_a_run_a_reason() {
        assert_eq!(code(&json!({"select": {"names": ["*"]}})), None);
        assert_eq!(code(&json!({})), Some(Code::FieldMissing));
        assert_eq!(code(&json!({"select": {"names": ["*"]}, "run": true})), Some(Code::FieldMissing));
        assert_eq!(code(&json!({"select": {"names": ["*"]}, "run": true, "why": "drill"})), None);
        assert!(!Order::read(&json!({"select": {"names": ["*"]}}), "e").unwrap().run, "a plan is the default");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (field, value) in [
            ("pace", json!({"perSecond": 26})),
            ("pace", json!({"perSecond": 0})),
            ("pace", json!({"perHost": 0})),
            ("waves", json!({"canary": "0%"})),
            ("patienceSeconds", json!(0)),
            ("name", json!("a b")),
            ("window", json!({"fromHour": 24, "hours": 1})),
            ("mode", json!("roll-back")),
            ("mode", json!("rekey")),
            ("tolerrate", json!(1)),
        ] {
            let mut order = json!({"select": {"names": ["*"]}, "run": true, "why": "drill"});
            order[field] = value.clone();
            assert!(code(&order).is_some(), "{field}: {value}");
        }
    }

    #[test]
    fn an_emergency_has_one_wave_and_goes_on() {
        let order = json!({"select": {"names": ["*"]}, "mode": "emergency"});
        let order = Order::read(&order, "e").unwrap();
        assert_eq!(order.waves(200), [200]);
        assert_eq!(order.stops_at(200), usize::MAX);
    }
}
