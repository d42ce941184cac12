//! Metrics as log lines, which CloudWatch turns into metrics: no call, no agent. One line for each invocation.
//!
//! **Invariant:** no metric has a dimension for a secret. Otherwise each secret would cost its own metrics. The other properties
//! of a line are for searching. Test: `no_secret_and_no_version_is_a_dimension`.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use crate::error::{Class, Code};
use serde_json::{Map, Value, json};
use std::io::Write as _;
use std::time::Duration;

const NAMESPACE: &str = "Lockstep";

/// The dimensions of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    /// The function.
    Function,
    /// The function, and the function's step.
    Step,
    /// The function, and the function's step and the class of its failure.
    Class,
}

impl By {
    const ALL: [Self; 3] = [Self::Function, Self::Step, Self::Class];

    fn sets(self) -> &'static [&'static [&'static str]] {
        match self {
            Self::Function => &[&["FunctionName"]],
            Self::Step => &[&["FunctionName"], &["FunctionName", "Step"]],
            Self::Class => &[&["FunctionName"], &["FunctionName", "Step", "Class"]],
        }
    }
}

macro_rules! metrics {
    ($($(#[$doc:meta])* $name:ident: $unit:literal, $by:ident;)*) => {
        /// A metric.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Metric { $($(#[$doc])* $name,)* }

        impl Metric {
            /// Every metric, for the documentation.
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name),*];

            /// The name in CloudWatch.
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)* }
            }

            fn unit(self) -> &'static str {
                match self { $(Self::$name => $unit,)* }
            }

            fn by(self) -> By {
                match self { $(Self::$name => By::$by,)* }
            }
        }
    };
}

metrics! {
    /// createSecret stored a new value.
    RotationsStarted: "Count", Function;
    /// finishSecret moved AWSCURRENT.
    RotationsSucceeded: "Count", Function;
    /// A step answered.
    StepsSucceeded: "Count", Step;
    /// A step failed.
    StepsFailed: "Count", Class;
    /// A step, or the look for late rotations, failed for good: what a person has to be told of. An alarm on one metric needs no
    /// mathematics over the steps.
    PermanentFailures: "Count", Function;
    /// How long a step took.
    StepDuration: "Milliseconds", Step;
    /// The share of the time that the invocation was given.
    StepTimeUsed: "Percent", Step;
    /// How long AWSCURRENT named a credential that was refused.
    DowntimeWindow: "Milliseconds", Function;
    /// The age of the version that was replaced.
    CredentialAge: "Seconds", Function;
    /// Keys that are still to be revoked.
    JournalDepth: "Count", Function;
    /// Those of them whose time is over.
    JournalOverdue: "Count", Function;
    /// Logins that were refused because of the credential.
    RefusedLogins: "Count", Function;
    /// Answers that asked to slow down.
    Throttles: "Count", Function;
    /// Secrets whose rotation function this is.
    SecretsServed: "Count", Function;
    /// Those that were due more than a day ago.
    SecretsOverdue: "Count", Function;
    /// Those whose rotation was begun more than a day ago and not finished.
    SecretsStuck: "Count", Function;
    /// The whole days that are left to the certificate that expires first.
    CertificateDaysLeft: "None", Function;
    /// Certificates with less than a week, or a fifth of their life, left.
    CertificatesExpiring: "Count", Function;
    /// A warning.
    PreviousPasswordNotKept: "Count", Function;
    /// The previous credential should have been ended.
    PreviousNotEnded: "Count", Function;
    /// A warning: [`Code::KeyNotRevoked`].
    KeyNotRevoked: "Count", Function;
    /// A warning: [`Code::KeyNotOurs`].
    KeyNotOurs: "Count", Function;
    /// A warning: [`Code::OrphanPossible`].
    OrphanPossible: "Count", Function;
    /// A warning of any other code.
    OtherWarnings: "Count", Function;
    /// A fleet's run has ended, of whatever kind.
    FleetRuns: "Count", Function;
    /// Secrets that a run could not rotate, roll back or rekey.
    FleetFailures: "Count", Function;
    /// Secrets that were rotated in a hurry after a leak.
    EmergencyRotations: "Count", Function;
    /// From the beginning of an emergency to the refusal of a leaked credential: the longest of a run.
    TimeToRevoke: "Seconds", Function;
    /// The share of a run's secrets that it moved back to the previous version.
    RollbackRate: "Percent", Function;
    /// Secrets whose fingerprints could not be written.
    FingerprintsRefused: "Count", Function;
    /// Secrets whose value could not be read for fingerprints.
    FingerprintsUnread: "Count", Function;
}

impl Metric {
    /// What counts the warnings of a code.
    pub(crate) fn of_warning(code: Code) -> Self {
        match code {
            Code::KeyNotRevoked => Self::KeyNotRevoked,
            Code::KeyNotOurs => Self::KeyNotOurs,
            Code::OrphanPossible => Self::OrphanPossible,
            _ => Self::OtherWarnings,
        }
    }
}

/// A line of metrics.
#[derive(Debug)]
pub(crate) struct Line {
    members: Map<String, Value>,
    metrics: Vec<Metric>,
}

impl Line {
    /// An empty line of this function.
    pub(crate) fn new(function: &str) -> Self {
        // A dimension's value must not be empty.
        let function = if function.trim().is_empty() { "unknown" } else { function };
        let members = Map::from_iter([("FunctionName".to_owned(), function.into())]);
        Self { members, metrics: Vec::new() }
    }

    /// Says which step it is about, as dimension and as property.
    pub(crate) fn step(&mut self, step: &'static str) {
        self.members.insert("Step".to_owned(), step.into());
        self.property("step", Some(step));
    }

    /// Says of which class a failure is.
    pub(crate) fn class(&mut self, class: Class) {
        self.members.insert("Class".to_owned(), class.as_str().into());
    }

    /// Something to search for, which makes no metric of its own.
    pub(crate) fn property(&mut self, name: &'static str, value: Option<&str>) {
        if let Some(value) = value {
            self.members.insert(name.to_owned(), value.into());
        }
    }

    /// A measured value. The last one counts.
    pub(crate) fn put(&mut self, metric: Metric, value: impl Into<Value>) {
        if !self.metrics.contains(&metric) {
            self.metrics.push(metric);
        }
        self.members.insert(metric.name().to_owned(), value.into());
    }

    /// So many more.
    pub(crate) fn add(&mut self, metric: Metric, more: u64) {
        let so_far = self.members.get(metric.name()).and_then(Value::as_u64).unwrap_or_default();
        self.put(metric, so_far.saturating_add(more));
    }

    /// So many more, if any.
    pub(crate) fn add_some(&mut self, metric: Metric, more: u64) {
        if more > 0 {
            self.add(metric, more);
        }
    }

    /// Writes the line, unless nothing was measured.
    pub(crate) fn emit(self, now: Duration) {
        if let Some(document) = self.document(now) {
            // One write: lines of one process do not mix. A log that cannot be written is no reason to fail.
            let _ = std::io::stdout().write_all(format!("{document}\n").as_bytes());
        }
    }

    /// The line at this time since the Unix epoch.
    pub(super) fn document(self, now: Duration) -> Option<Value> {
        let Self { mut members, metrics } = self;
        let directives: Vec<_> = By::ALL.iter().filter_map(|by| directive(*by, &metrics, &members)).collect();
        if directives.is_empty() {
            return None;
        }
        let timestamp = u64::try_from(now.as_millis()).unwrap_or(u64::MAX);
        members.insert("_aws".to_owned(), json!({"Timestamp": timestamp, "CloudWatchMetrics": directives}));
        Some(members.into())
    }
}

/// What CloudWatch is to do with those metrics that are told apart in this way. A set of which the line does not have all
/// dimensions is left out.
fn directive(by: By, metrics: &[Metric], members: &Map<String, Value>) -> Option<Value> {
    let of_these = metrics.iter().filter(|metric| metric.by() == by);
    let definitions: Vec<_> = of_these.map(|metric| json!({"Name": metric.name(), "Unit": metric.unit()})).collect();
    let known = |set: &&&[&str]| set.iter().all(|dimension| members.contains_key(*dimension));
    let sets: Vec<_> = by.sets().iter().filter(known).collect();
    (!definitions.is_empty()).then(|| json!({"Namespace": NAMESPACE, "Dimensions": sets, "Metrics": definitions}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const NOW: Duration = Duration::from_millis(1_700_000_000_123);

    /// CloudWatch's units: MetricDatum in its API reference.
    const UNITS: &str = "Seconds Microseconds Milliseconds Bytes Kilobytes Megabytes Gigabytes Terabytes Bits Kilobits \
        Megabits Gigabits Terabits Percent Count Bytes/Second Kilobytes/Second Megabytes/Second Gigabytes/Second \
        Terabytes/Second Bits/Second Kilobits/Second Megabits/Second Gigabits/Second Terabits/Second Count/Second None";

    /// What the specification demands, as far as such lines can break it.
    fn against_the_specification(line: &Value) -> Result<(), String> {
        let rule = |holds: bool, rule: &str| if holds { Ok(()) } else { Err(rule.to_owned()) };
        let names = |value: &Value| value.as_object().map(|it| it.keys().cloned().collect::<BTreeSet<_>>());
        let set_of = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect::<BTreeSet<_>>());
        rule(line.is_object() && line.to_string().len() <= 256 * 1024, "an object of at most 256 KB")?;
        rule(names(&line["_aws"]) == set_of(&["CloudWatchMetrics", "Timestamp"]), "the metadata's members")?;
        rule(line["_aws"]["Timestamp"].is_u64(), "the timestamp is a number of milliseconds")?;
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().ok_or("an array of directives")?;
        for directive in directives {
            rule(names(directive) == set_of(&["Dimensions", "Metrics", "Namespace"]), "a directive's members")?;
            let namespace = directive["Namespace"].as_str().unwrap_or_default();
            rule((1..=1024).contains(&namespace.len()), "a namespace of 1 to 1024 characters")?;
            let sets = directive["Dimensions"].as_array().ok_or("an array of dimension sets")?;
            rule(!sets.is_empty(), "a directive has a dimension set")?;
            for set in sets {
                let set = set.as_array().ok_or("a dimension set is an array")?;
                rule(set.len() <= 30, "at most 30 dimensions in a set")?;
                for dimension in set {
                    let dimension = dimension.as_str().ok_or("a dimension is a string")?;
                    rule((1..=250).contains(&dimension.len()), "a dimension's name has 1 to 250 characters")?;
                    let value = line[dimension].as_str().ok_or("a dimension's target is a string")?;
                    rule(
                        !value.trim().is_empty() && value.len() <= 1024,
                        "a dimension's value has 1 to 1024 characters",
                    )?;
                }
            }
            let metrics = directive["Metrics"].as_array().ok_or("an array of metrics")?;
            rule(metrics.len() <= 100, "at most 100 metrics in a directive")?;
            for metric in metrics {
                rule(names(metric) == set_of(&["Name", "Unit"]), "a metric's members")?;
                let name = metric["Name"].as_str().ok_or("a metric's name is a string")?;
                rule((1..=1024).contains(&name.len()), "a metric's name has 1 to 1024 characters")?;
                let unit = metric["Unit"].as_str().ok_or("a unit is a string")?;
                rule(UNITS.split_whitespace().any(|known| known == unit), "a unit that CloudWatch knows")?;
                let numbers = |values: &Vec<Value>| values.len() <= 100 && values.iter().all(Value::is_number);
                let target = &line[name];
                rule(target.is_number() || target.as_array().is_some_and(numbers), "a metric's target is a number")?;
            }
        }
        Ok(())
    }

    /// With everything on it that there can be.
    fn full() -> Line {
        let mut line = Line::new("lockstep-postgres");
        line.step("setSecret");
        line.class(Class::Permanent);
        line.property("secret", Some("arn:aws:secretsmanager:us-east-1:123456789012:secret:a-AbCdEf"));
        line.property("code", None);
        for metric in Metric::ALL {
            line.add(*metric, 1);
        }
        line
    }

    #[test]
    fn lines_keep_to_the_specification() {
        let line = full().document(NOW).unwrap();
        assert_eq!(against_the_specification(&line), Ok(()));
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let defined: usize = directives.iter().map(|directive| directive["Metrics"].as_array().unwrap().len()).sum();
        assert_eq!(defined, Metric::ALL.len(), "each metric is defined once");
        let mut bare = Line::new("");
        bare.add(Metric::StepsFailed, 1);
        assert_eq!(against_the_specification(&bare.document(NOW).unwrap()), Ok(()));
    }

    #[test]
    fn what_breaks_the_specification_is_found() {
        for (place, value) in [
            ("/_aws/Timestamp", json!("now")),
            ("/_aws/CloudWatchMetrics", json!({})),
            ("/_aws/CloudWatchMetrics/0/Namespace", json!("")),
            ("/_aws/CloudWatchMetrics/0/Dimensions", json!([])),
            ("/_aws/CloudWatchMetrics/0/Dimensions/0", json!(vec!["FunctionName"; 31])),
            ("/_aws/CloudWatchMetrics/0/Dimensions/0/0", json!("Nothing")),
            ("/_aws/CloudWatchMetrics/0/Metrics", json!(vec![json!({"Name": "Throttles", "Unit": "Count"}); 101])),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Unit", json!("Pieces")),
            ("/_aws/CloudWatchMetrics/0/Metrics/0/Name", json!("Nothing")),
            ("/FunctionName", json!("")),
            ("/FunctionName", json!("x".repeat(1025))),
            ("/Throttles", json!("1")),
            ("/Throttles", json!(vec![1; 101])),
            ("/secret", json!("x".repeat(256 * 1024))),
        ] {
            let mut line = full().document(NOW).unwrap();
            *line.pointer_mut(place).unwrap() = value;
            assert!(against_the_specification(&line).is_err(), "{place}");
        }
    }

    #[test]
    fn a_line_that_measures_nothing_is_none() {
        let mut line = Line::new("f");
        line.step("setSecret");
        line.add_some(Metric::Throttles, 0);
        assert_eq!(line.document(NOW), None);
    }

    #[test]
    fn no_secret_and_no_version_is_a_dimension() {
        for dimension in By::ALL.iter().flat_map(|by| by.sets()).copied().flatten() {
            assert!(["FunctionName", "Step", "Class"].contains(dimension), "{dimension}");
        }
    }

    #[test]
    fn warnings_are_counted_under_their_code_and_together() {
        for code in Code::ALL {
            let capital = |word: &str| word.split_at(1).0.to_uppercase() + word.split_at(1).1;
            let words = code.as_str().split('-').map(capital);
            let metric = Metric::of_warning(*code);
            assert!(metric == Metric::OtherWarnings || metric.name() == words.collect::<String>(), "{code}");
        }
        let mut line = Line::new("f");
        line.add(Metric::KeyNotRevoked, 1);
        line.add(Metric::KeyNotRevoked, 1);
        assert_eq!(line.document(NOW).unwrap()["KeyNotRevoked"], 2);
    }

    /// docs/observability.md has a row for each metric, with its unit and dimensions, and no row for anything else.
    #[test]
    fn the_documentation_has_every_metric() {
        let page = include_str!("../../../docs/observability.md");
        let (_, section) = page.split_once("\n## Metrics\n").unwrap();
        let section = section.split("\n## ").next().unwrap();
        let rows: Vec<_> = section.lines().filter_map(|line| line.strip_prefix("| `")).collect();
        let documented: BTreeSet<String> = rows
            .iter()
            .map(|row| row.split('|').take(3).map(|cell| cell.trim().trim_matches('`')).collect::<Vec<_>>().join(" "))
            .collect();
        let letter = |by| match by {
            By::Function => "F",
            By::Step => "F S",
            By::Class => "F SC",
        };
        let known =
            Metric::ALL.iter().map(|metric| format!("{} {} {}", metric.name(), metric.unit(), letter(metric.by())));
        assert_eq!(documented, known.collect());
        assert_eq!(rows.len(), Metric::ALL.len());
    }
}
