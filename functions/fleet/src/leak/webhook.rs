//! GitHub's webhook of secret scanning, over a Function URL.
//!
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>

use super::found::{Leaked, Report, printable};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rotation::error::Error;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// GitHub delivers within seconds, and a person may deliver again within hours.
const OLDEST: u64 = 24 * 3_600;
/// So many signatures are remembered.
const REMEMBERED: usize = 1_000;

/// Why a request is not followed.
#[derive(Debug)]
pub(super) enum Refusal {
    /// It is not one to follow, with the status of the answer.
    Because(u16, &'static str),
    /// It could not be looked at.
    Failed(Error),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The signatures of requests that this process has followed. Another process does not know them; there the name of the execution, which
/// follows from the leaked value, keeps a replay from starting anything.
#[derive(Debug, Default)]
pub(super) struct Recent(Mutex<VecDeque<Vec<u8>>>);

impl Recent {
    fn is_new(&self, signature: &[u8]) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.iter().any(|one| one == signature) {
            return false;
        }
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(signature.to_vec());
        true
    }
}

/// The body of a request whose signature is right, that is young, and that was not followed before. `now` in seconds since the Unix
/// epoch.
pub(super) fn verified(request: &Value, secret: &str, recent: &Recent, now: u64) -> Result<Value, Refusal> {
    let refuse = |status, reason| Err(Refusal::Because(status, reason));
    let header = |name: &str| request.get("headers").and_then(|headers| headers.get(name)).and_then(Value::as_str);
    let text = request.get("body").and_then(Value::as_str).unwrap_or_default();
    let body = if request.get("isBase64Encoded").and_then(Value::as_bool) == Some(true) {
        STANDARD.decode(text).unwrap_or_default()
    } else {
        text.as_bytes().to_vec()
    };
    // An empty key would sign for everybody.
    if secret.len() < 16 {
        return refuse(500, "the secret of the webhook is shorter than 16 characters");
    }
    let signature = header("x-hub-signature-256").and_then(|it| it.strip_prefix("sha256=")).and_then(hexadecimal);
    let Some(signature) = signature else { return refuse(401, "no signature") };
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    // It compares in constant time.
    if hmac::verify(&key, &body, &signature).is_err() {
        return refuse(401, "wrong signature");
    }
    let Ok(body) = serde_json::from_slice::<Value>(&body) else { return refuse(400, "no JSON") };
    if header("x-github-event") == Some("ping") {
        return refuse(200, "a ping");
    }
    if header("x-github-event") != Some("secret_scanning_alert") {
        return refuse(202, "an event of another kind");
    }
    let date = |name: &str| body.pointer(&format!("/alert/{name}")).and_then(Value::as_str).and_then(seconds);
    let Some(at) = date("updated_at").max(date("created_at")) else { return refuse(400, "no date") };
    if at + OLDEST < now {
        return refuse(409, "too old");
    }
    if !recent.is_new(&signature) {
        return refuse(409, "a replay");
    }
    Ok(body)
}

/// What the alert says. GitHub does not send the value with it. Whoever fetches it with the alert's address can put it into
/// `alert.secret`, as the API names it.
pub(super) fn report(body: &Value) -> Report {
    let text = |pointer: &str| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    if !matches!(text("/action"), "created" | "reopened" | "publicly_leaked") {
        return Report::default();
    }
    let value = text("/alert/secret");
    let (rule, place) = (printable(text("/alert/secret_type"), value), printable(text("/alert/html_url"), value));
    if value.is_empty() {
        let notice = format!("{rule} at {place}: fetch the alert's secret, and hand it to \"Do\": \"leak\"");
        return Report { notices: vec![notice], ..Report::default() };
    }
    Report { leaked: vec![Leaked { value: value.into(), rule, place }], ..Report::default() }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<_> = text.chars().map(|c| c.to_digit(16)).collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair.iter().fold(0, |byte, digit| byte * 16 + digit)).ok()).collect()
}

/// The seconds since the Unix epoch of `2026-11-29T22:00:00Z`. <https://howardhinnant.github.io/date_algorithms.html#days_from_civil>
fn seconds(date: &str) -> Option<u64> {
    let mut numbers = date.split(['-', 'T', ':', 'Z', '.', '+']).map(|number| number.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    let (year, month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?, next()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, of_era) = (year / 400, year % 400);
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + (153 * month + 2) / 5 + day - 1;
    Some(days.checked_sub(719_468)? * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "it is a secret of a webhook";
    /// 2026-11-29T22:00:00Z
    const NOW: u64 = 1_795_989_600;

    fn request(body: &Value, secret: &str) -> Value {
        let body = body.to_string();
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
        let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        json!({
            "requestContext": {"http": {"method": "POST"}},
            "headers": {"x-hub-signature-256": format!("sha256={hex}"), "x-github-event": "secret_scanning_alert"},
            "body": body,
        })
    }

    fn alert() -> Value {
        json!({"action": "created", "alert": {"created_at": "2026-11-29T21:59:30Z", "secret_type": "x", "html_url": "https://github.com/a/b/1"}})
    }

    fn refused(request: &Value, recent: &Recent, now: u64) -> Option<u16> {
        match verified(request, SECRET, recent, now) {
            Ok(_) => None,
            Err(Refusal::Because(status, _)) => Some(status),
            Err(Refusal::Failed(error)) => panic!("{error}"),
        }
    }

    #[test]
    fn only_what_github_signed_is_followed_and_only_once() {
        let recent = Recent::default();
        let good = request(&alert(), SECRET);
        assert_eq!(refused(&request(&alert(), "another secret, as long"), &recent, NOW), Some(401));
        let mut unsigned = good.clone();
        unsigned["headers"].as_object_mut().unwrap().remove("x-hub-signature-256");
        assert_eq!(refused(&unsigned, &recent, NOW), Some(401));
        let mut changed = good.clone();
        changed["body"] = good["body"].as_str().unwrap().replace("created\"", "reopened\"").into();
        assert_eq!(refused(&changed, &recent, NOW), Some(401));
        assert_eq!(refused(&good, &recent, NOW), None);
        assert_eq!(refused(&good, &recent, NOW), Some(409), "a replay");
        // The header with the delivery's id is not signed, so that it proves nothing.
        let mut renamed = good.clone();
        renamed["headers"]["x-github-delivery"] = "another".into();
        assert_eq!(refused(&renamed, &recent, NOW), Some(409));
        assert_eq!(refused(&good, &Recent::default(), NOW + OLDEST + 60), Some(409), "too old");
    }

    #[test]
    fn other_events_are_refused() {
        let mut other = request(&alert(), SECRET);
        other["headers"]["x-github-event"] = "push".into();
        assert_eq!(refused(&other, &Recent::default(), NOW), Some(202));
        assert!(matches!(verified(&request(&alert(), ""), "", &Recent::default(), NOW), Err(Refusal::Because(500, _))));
    }

    #[test]
    fn an_alert_without_its_value_is_a_notice() {
        let report_of = |more: Value| {
            let mut alert = alert();
            alert["alert"]["secret"] = more;
            report(&alert)
        };
        assert_eq!(report_of(Value::Null).notices.len(), 1);
        assert_eq!(report_of(json!("hunter2")).leaked[0].value.expose(), "hunter2");
    }

    #[test]
    fn dates_are_read() {
        assert_eq!(seconds("2026-11-29T22:00:00Z"), Some(NOW));
        assert_eq!(seconds("1970-01-01T00:00:01Z"), Some(1));
        assert_eq!(seconds("2024-02-29T00:00:00Z"), Some(1_709_164_800));
        for wrong in ["", "yesterday", "2026-13-01T00:00:00Z"] {
            assert_eq!(seconds(wrong), None, "{wrong}");
        }
    }
}
