//! Metrics, as log lines that CloudWatch turns into metrics by itself: no call, no agent.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use crate::error::Code;
use crate::{clock, environment};
use serde_json::{Value, json};
use std::io::Write as _;
use std::time::Duration;

const NAMESPACE: &str = "Lockstep";

/// Counts one event under this name, for this function.
pub(crate) fn count(name: &str) {
    gauge(name, 1);
}

/// States how many there are, for this function.
pub(crate) fn gauge(name: &str, value: usize) {
    let line = embedded(name, value, &environment::function_name(), clock::since_epoch());
    // One write: lines of one process do not mix. A log that cannot be written is no reason to fail.
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// The metric that counts warnings of this code: its words in upper camel case.
pub(crate) fn name(code: Code) -> String {
    let capitalized = |word: &str| {
        let mut letters = word.chars();
        letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect::<String>()
    };
    code.as_str().split('-').map(capitalized).collect()
}

fn embedded(name: &str, value: usize, function: &str, now: Duration) -> Value {
    json!({
        "_aws": {
            "Timestamp": u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            "CloudWatchMetrics": [{
                "Namespace": NAMESPACE,
                "Dimensions": [["FunctionName"]],
                "Metrics": [{"Name": name, "Unit": "Count"}],
            }],
        },
        "FunctionName": function,
        name: value,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_counted_under_its_code() {
        assert_eq!(name(Code::KeyNotRevoked), "KeyNotRevoked");
    }

    #[test]
    fn every_name_that_the_directive_refers_to_is_a_member() {
        let line = embedded("PreviousPasswordNotKept", 1, "rotation", Duration::from_millis(1_700_000_000_123));
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(line["_aws"]["Timestamp"], 1_700_000_000_123_u64);
        assert_eq!(line[directive["Metrics"][0]["Name"].as_str().unwrap()], 1);
        assert_eq!(line[directive["Dimensions"][0][0].as_str().unwrap()], "rotation");
    }
}
