//! The report of a run.

use super::progress::Outcome;
use super::state::State;
use crate::plan::order::Mode;
use serde_json::{Value, json};

/// A cause of a state machine may have 32,768 characters, and a line of the log 256 KB.
const BRIEF: usize = 30_000;

/// The report.
pub fn report(state: &State, now: u64) -> Value {
    let order = &state.order;
    let (moved, emergency) = (state.count(Outcome::RolledBack), order.mode == Mode::Emergency);
    let failed = state.failures.iter().filter(|_| emergency);
    let leaked: Vec<_> = failed.chain(&state.deaths).collect();
    json!({
        "run": order.name,
        "mode": order.mode.as_str(),
        "outcome": state.outcome,
        "why": order.why,
        "askedBy": order.asked_by,
        "execution": state.execution,
        "secrets": state.count,
        "wave": (state.wave + 1).min(state.waves.len()),
        "waves": state.waves,
        "seconds": now.saturating_sub(state.began) / 1_000,
        "tally": state.tally,
        "notReached": state.count.saturating_sub(state.reached()),
        "unread": state.unread,
        "failures": state.failures,
        "leaked": leaked,
        "slowestDeathMilliseconds": emergency.then_some(state.longest),
        "rolledBackPercent": (order.mode == Mode::RollBack).then(|| (moved * 100).checked_div(state.count).unwrap_or_default()),
        "versionsUnderAnOldKey": state.old_key,
        "next": advice(state),
    })
}

fn advice(state: &State) -> &'static str {
    match state.outcome.as_str() {
        "finished" if state.failures.is_empty() => "Nothing.",
        "finished" => "Look at the failures: docs/runbooks/rotation-failed.md.",
        "finished-with-failures" => {
            "A credential may live. Look at the failures, and end each of them: docs/runbooks/leaked-credential.md. Values that could not \
             be read are counted in `unread`: name those secrets."
        }
        "not-all-reached" => {
            "Some secrets were deleted, or left the selection, before their turn. Ask for a plan, and rotate what is left."
        }
        "stop-flag-unreadable" => {
            "The parameter with the stop flag could not be read: the log says why. Then start an execution with the same order, the same \
             name and \"continue\": true."
        }
        "stopped-by-flag" => {
            "Take the flag away, and start an execution with the same order, the same name and \"continue\": true."
        }
        _ => match state.order.mode {
            Mode::Rotate | Mode::Emergency => {
                "Look at the failures, and correct their cause. Then start an execution with the same order, the same name and \
                 \"continue\": true: what is done is not done twice. Or undo the run: mode roll-back, with the run's name in \"of\"."
            }
            Mode::RollBack => {
                "Look at the failures, and correct their cause. Then start an execution with the same order, the same name and \
                 \"continue\": true: what is done is not done twice."
            }
            Mode::Rekey => {
                "Look at the failures, and correct their cause. Then start an execution with the same order, the same name and \
                 \"continue\": true. Versions that were moved stay under the new key: both keys are still needed."
            }
        },
    }
}

/// A report that fits into a cause: the first entries of each list.
pub fn brief(report: &Value) -> Value {
    let mut few = 30;
    loop {
        let mut brief = report.clone();
        if let Some(fields) = brief.as_object_mut() {
            for long in ["failures", "leaked", "versionsUnderAnOldKey", "waves"] {
                if let Some(Value::Array(list)) = fields.get_mut(long) {
                    list.truncate(few);
                }
            }
        }
        if few == 0 || brief.to_string().len() <= BRIEF {
            return brief;
        }
        few /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_short_enough() {
        let failure = json!({"secret": "x".repeat(600), "reason": "y"});
        let report =
            json!({"failures": vec![failure.clone(); 400], "leaked": vec![failure; 400], "waves": vec![1; 500]});
        let brief = brief(&report);
        assert!(brief.to_string().len() <= BRIEF);
        assert!(!brief["failures"].as_array().unwrap().is_empty());
    }
}
