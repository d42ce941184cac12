//! What a person asks for.

use super::invalid::invalid;
use super::select::Select;
use super::waves::{Share, Waves};
use super::window::Window;
use rotation::error::Result;
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

/// The same in an emergency, where the order does not say it.
const URGENT_PER_HOST: usize = 5;
/// The longest reason, in bytes.
pub(crate) const WHY: usize = 500;
/// The order is part of every state, and a state has 256 KiB.
const LONGEST: usize = 16_000;

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
    /// The run's name; by default the name of the execution.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// `true`: this execution goes on with the run of this name, and does nothing twice. Without it, a secret that the run has rotated
    /// before is a failure: a name that is used again would make an old rotation look like a new one.
    #[serde(default, rename = "continue", skip_serializing_if = "is_false")]
    pub goes_on: bool,
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
    /// In an emergency: ends the leaked credential as soon as a new one is current, where a server or issuer can.
    #[serde(default, skip_serializing_if = "is_false")]
    pub end_early: bool,
    /// In an emergency: ends the sessions of the leaked credential's user once the credential is refused.
    #[serde(default, skip_serializing_if = "is_false")]
    pub end_sessions: bool,
    /// For a roll back: the name of the run whose rotations are undone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// For a rekey: the new KMS key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kms_key: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// The key of an emergency of this name. No name has a slash.
pub(crate) fn emergency_key(name: &str) -> String {
    format!("emergency/{name}")
}

/// Whether it is the name of a run. The parameter with the stop flag rests on `go`, and `stop` stops all runs. Step Functions allows 80
/// characters in an execution's name.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    (1..=80).contains(&name.len()) && name.chars().all(plain) && !matches!(name, "go" | "stop")
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
    /// [`Code::OrderInvalid`](rotation::Code::OrderInvalid).
    pub fn read(value: &Value, execution: &str) -> Result<Self> {
        let mut order: Self = Self::deserialize(value).map_err(|_| {
            invalid("(the order)", "a field that is unknown, or of another type", "the fields of docs/fleet.md")
        })?;
        if order.name.is_empty() {
            execution.clone_into(&mut order.name);
        }
        // Nobody waits for a dead server in an emergency.
        if order.mode == Mode::Emergency && value.pointer("/pace/perHost").is_none() {
            order.pace.per_host = URGENT_PER_HOST;
        }
        order.check(value.to_string().len())?;
        Ok(order)
    }

    fn check(&self, size: usize) -> Result<()> {
        let refused = |field: &str, expected: &str| Err(invalid(field, "something else", expected));
        self.select.check()?;
        self.waves.check()?;
        if let Some(window) = &self.window {
            window.check()?;
        }
        if size > LONGEST {
            return refused("(the order)", "16,000 bytes at most; select by names or tags instead of a long list");
        }
        if self.run && self.why.trim().is_empty() {
            return Err(invalid("why", "nothing", "the reason, for the record"));
        }
        if self.run && !is_name(&self.name) {
            return refused("name", "1 to 80 letters, digits, hyphens and underscores; not go and not stop");
        }
        if self.why.len() > WHY {
            return refused("why", "500 bytes at most");
        }
        if self.asked_by.len() > 200 {
            return refused("askedBy", "200 bytes at most");
        }
        if !(1..=MOST_PER_SECOND).contains(&self.pace.per_second) {
            let expected = "1 to 25: the service allows 50 writes a second, and a rotation makes two";
            return refused("pace.perSecond", expected);
        }
        if self.pace.per_host == 0 || self.pace.hosts == 0 {
            return refused("pace", "at least one secret of at least one host at a time");
        }
        if !(1..=3_600).contains(&self.patience_seconds) {
            return refused("patienceSeconds", "1 to 3600");
        }
        if (self.end_early || self.end_sessions) && self.mode != Mode::Emergency {
            return refused("endEarly", "endEarly and endSessions only with the mode emergency");
        }
        // A rotation of the run itself would take a secret out of the selection.
        if self.select.older_than_days.is_some() && matches!(self.mode, Mode::Emergency | Mode::RollBack) {
            return refused("select.olderThanDays", "no age with the modes emergency and roll-back");
        }
        match self.mode {
            Mode::RollBack if self.of.is_empty() => Err(invalid("of", "nothing", "the name of the run that is undone")),
            // The key of an emergency is none: what it replaced has leaked.
            Mode::RollBack if !is_name(&self.of) => refused("of", "the name of a run; an emergency is not rolled back"),
            Mode::Rekey if self.kms_key.is_empty() => Err(invalid("kmsKey", "nothing", "the new KMS key")),
            _ => Ok(()),
        }
    }

    /// An order that does nothing, for a selection alone.
    pub(crate) fn of(select: Select) -> Self {
        Self {
            run: false,
            name: String::new(),
            goes_on: false,
            mode: Mode::Rotate,
            why: String::new(),
            asked_by: String::new(),
            select,
            waves: Waves::default(),
            pace: Pace::default(),
            tolerate: none(),
            window: None,
            patience_seconds: patience(),
            end_early: false,
            end_sessions: false,
            of: String::new(),
            kms_key: String::new(),
        }
    }

    /// What tells the rotations of this run from those of others. An emergency never takes the rotation of a regular run for its own,
    /// which may have made the very credential that has leaked.
    pub fn key(&self) -> String {
        match self.mode {
            Mode::Emergency => emergency_key(&self.name),
            _ => self.name.clone(),
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
            // The state passes through JSON, whose numbers are doubles in many places.
            Mode::Emergency => u32::MAX as usize,
            _ => self.tolerate.of(all) + 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rotation::error::Code;
    use serde_json::json;

    fn code(order: &Value) -> Option<Code> {
        Order::read(order, "execution").err().map(|error| error.code())
    }

    #[test]
    fn a_plan_needs_a_selection_and_a_run_a_reason() {
        assert_eq!(code(&json!({"select": {"names": ["*"]}})), None);
        assert_eq!(code(&json!({})), Some(Code::OrderInvalid));
        assert_eq!(code(&json!({"select": {"names": ["*"]}, "run": true})), Some(Code::OrderInvalid));
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
            ("name", json!("go")),
            ("name", json!("stop")),
            ("window", json!({"fromHour": 24, "hours": 1})),
            ("mode", json!("roll-back")),
            ("mode", json!("rekey")),
            ("endEarly", json!(true)),
            ("why", json!("\u{4e2d}".repeat(170))),
            ("select", json!({"names": ["a*b"]})),
            ("select", json!({"names": ["*"], "except": ["*/billing"]})),
            ("select", json!({"secrets": vec!["arn:aws:secretsmanager:eu-central-1:123456789012:secret:a"; 300]})),
            ("waves", json!({"canary": 0})),
            ("endSessions", json!(true)),
            ("tolerrate", json!(1)),
        ] {
            let mut order = json!({"select": {"names": ["*"]}, "run": true, "why": "drill"});
            order[field] = value.clone();
            assert!(code(&order).is_some(), "{field}: {value}");
        }
    }

    #[test]
    fn an_emergency_is_not_rolled_back() {
        let of = |of: &str| code(&json!({"select": {"names": ["*"]}, "mode": "roll-back", "of": of}));
        assert_eq!(of("november"), None);
        assert_eq!(of(&emergency_key("november")), Some(Code::OrderInvalid));
    }

    #[test]
    fn an_age_does_not_go_with_what_changes_it() {
        for mode in ["emergency", "roll-back"] {
            let order = json!({"select": {"names": ["*"], "olderThanDays": 30}, "mode": mode, "of": "x"});
            assert_eq!(code(&order), Some(Code::OrderInvalid), "{mode}");
        }
    }

    #[test]
    fn an_emergency_is_another_run_than_a_rotation_of_the_same_name() {
        let key = |mode: &str| {
            let order = json!({"select": {"names": ["*"]}, "mode": mode, "name": "november"});
            Order::read(&order, "e").unwrap().key()
        };
        assert_ne!(key("emergency"), key("rotate"));
    }

    #[test]
    fn an_emergency_has_one_wave_and_goes_on() {
        let order = json!({"select": {"names": ["*"]}, "mode": "emergency"});
        let order = Order::read(&order, "e").unwrap();
        assert_eq!(order.waves(200), [200]);
        assert!(order.stops_at(200) > 1_000_000);
        assert_eq!(order.pace.per_host, URGENT_PER_HOST);
    }
}
