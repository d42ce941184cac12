//! What the function of a secret answered.

use super::progress::{Awaits, Dead, Progress, Sessions};
use rotation::error::Code;
use rotation::protocol::diagnose::Finding;
use serde_json::Value;

/// Takes an answer into the progress. `now` is in milliseconds since the Unix epoch.
pub(super) fn hear(progress: &mut Progress, answer: &Value, now: u64) {
    match progress.awaits.take() {
        // An execution that an older version of this function began has no such field.
        Some(Awaits::Diagnosis) | None => diagnosed(progress, answer, now),
        Some(Awaits::Retirement) => {
            let ended = matches!(text(answer, "outcome"), "credential-ended" | "already-refused");
            progress.not_early = if ended { String::new() } else { error(answer).unwrap_or("not-endable").to_owned() };
        }
        Some(Awaits::Sessions) => {
            let asked = progress.sessions.take().unwrap_or_default();
            let number = |name: &str| answer.get(name).and_then(Value::as_u64);
            let answered = matches!(text(answer, "outcome"), "sessions-ended" | "no-sessions");
            let error = if answered { "" } else { error(answer).unwrap_or("unknown-answer") };
            // The number of all attempts.
            let ended = number("sessionsEnded").map(|ended| ended + asked.ended.unwrap_or_default()).or(asked.ended);
            let left = number("sessionsLeft").unwrap_or_default();
            progress.sessions = Some(Sessions { ended, left, error: error.to_owned(), at: now, ..asked });
        }
    }
}

/// Only words that a diagnosis has are kept: the function may be another one's, and say anything.
fn diagnosed(progress: &mut Progress, answer: &Value, now: u64) {
    let Some(said) = &mut progress.said else { return };
    said.at = now;
    let finding = Finding::ALL.iter().map(|known| known.as_str()).find(|known| *known == text(answer, "finding"));
    finding.unwrap_or_default().clone_into(&mut said.finding);
    let asked = said.version.as_deref();
    let versions = answer.get("versions").and_then(Value::as_array);
    let tried = versions.into_iter().flatten().find(|one| one.get("version").and_then(Value::as_str) == asked);
    let known = ["works", "rejected", "unreachable", "unknown", "not-tried", "none"];
    let credential = tried.and_then(|one| known.into_iter().find(|known| *known == text(one, "credential")));
    credential.unwrap_or_default().clone_into(&mut said.credential);
    said.hindered = tried.is_some_and(|one| one.get("error").is_some());
    if let (Some(version), "rejected") = (&said.version, said.credential.as_str()) {
        progress.dead.retain(|dead| dead.version != *version);
        progress.dead.push(Dead { version: version.clone(), round: said.round, at: now });
    }
}

fn text<'a>(answer: &'a Value, name: &str) -> &'a str {
    answer.get(name).and_then(Value::as_str).unwrap_or_default()
}

/// The code of the function's error, or the name of an error of Lambda's or Step Functions'. Any other text is not repeated: the function
/// may be another one's.
fn error(answer: &Value) -> Option<&'static str> {
    const OTHERS: [&str; 8] = [
        "Lambda.Unknown",
        "Lambda.ServiceException",
        "Lambda.TooManyRequestsException",
        "Lambda.AWSLambdaException",
        "Lambda.ResourceNotFoundException",
        "Sandbox.Timedout",
        "States.Timeout",
        "States.TaskFailed",
    ];
    let name = text(answer, "error");
    let code = Code::ALL.iter().map(|code| code.as_str()).find(|code| *code == name);
    let other = || OTHERS.into_iter().find(|other| *other == name);
    match name {
        "" => None,
        _ => code.or_else(other).or(Some("unknown-error")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn after(awaits: Awaits, answer: &Value) -> Progress {
        let mut progress = Progress { awaits: Some(awaits), ..Progress::default() };
        hear(&mut progress, answer, 7);
        assert_eq!(progress.awaits, None);
        progress
    }

    #[test]
    fn a_credential_that_was_not_ended_early_is_told_with_its_code() {
        let not_early = |answer: Value| after(Awaits::Retirement, &answer).not_early;
        assert_eq!(not_early(json!({"outcome": "credential-ended"})), "");
        assert_eq!(not_early(json!({"outcome": "already-refused"})), "");
        assert_eq!(not_early(json!({"outcome": "not-endable"})), "not-endable");
        assert_eq!(not_early(json!({"finding": "", "error": "retire-off"})), "retire-off");
        assert_eq!(not_early(json!({"finding": "", "error": "hunter2"})), "unknown-error");
    }

    /// The function of a secret may be another one's, and says whatever it likes.
    #[test]
    fn only_words_of_a_diagnosis_are_kept() {
        let said = |answer: Value| {
            let said =
                Some(crate::run::progress::Said { version: Some("v".to_owned()), round: 1, ..Default::default() });
            let mut progress = Progress { awaits: Some(Awaits::Diagnosis), said, ..Progress::default() };
            hear(&mut progress, &answer, 7);
            let said = progress.said.unwrap();
            (said.finding, said.credential, progress.dead.len())
        };
        let tried = |credential: &str| json!([{"version": "u", "credential": "works"}, {"version": "v", "credential": credential}]);
        let words = |finding: &str, credential: &str, dead| (finding.to_owned(), credential.to_owned(), dead);
        let answer = json!({"finding": "healthy", "versions": tried("rejected")});
        assert_eq!(said(answer), words("healthy", "rejected", 1));
        assert_eq!(said(json!({"finding": "hunter2", "versions": tried("hunter2")})), words("", "", 0));
        assert_eq!(said(json!({"finding": 7, "versions": "x"})), words("", "", 0));
    }

    #[test]
    fn sessions_of_all_attempts_count() {
        let mut progress =
            after(Awaits::Sessions, &json!({"outcome": "sessions-ended", "sessionsEnded": 3, "sessionsLeft": 1}));
        assert_eq!(progress.sessions, Some(Sessions { ended: Some(3), left: 1, at: 7, ..Sessions::default() }));
        progress.awaits = Some(Awaits::Sessions);
        hear(&mut progress, &json!({"outcome": "sessions-ended", "sessionsEnded": 1, "sessionsLeft": 0}), 8);
        assert_eq!(progress.sessions, Some(Sessions { ended: Some(4), at: 8, ..Sessions::default() }));
        let none = after(Awaits::Sessions, &json!({"outcome": "no-sessions"})).sessions.unwrap();
        assert_eq!((none.ended, none.error.as_str()), (None, ""));
        let failed = after(Awaits::Sessions, &json!({"finding": "", "error": "privilege-missing"})).sessions.unwrap();
        assert_eq!((failed.ended, failed.error.as_str()), (None, "privilege-missing"));
    }
}
