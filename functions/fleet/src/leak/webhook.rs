//! GitHub's webhook of secret scanning, over an HTTP API of API Gateway (payload 2.0).
//!
//! <https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries>

use super::found::{Leaked, Report, printable};
use super::github::Alert;
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rotation::clock::moment;
use rotation::encoding::from_hex;
use rotation::error::Error;
use rotation::secret::SecretText;
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// GitHub delivers within seconds, and a person may deliver again within hours. A clock may be ahead by as much.
const OLDEST: u64 = 24 * 3_600;
/// The secret of the webhook is read again after so many seconds.
const KEPT: u64 = 60;
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

/// What this process remembers: the signatures of requests that it has followed, and for a minute the secret of the webhook. Another
/// process does not know them; there the name of the execution, which follows from the leaked value, keeps a replay from starting anything.
#[derive(Debug, Default)]
pub(super) struct Recent {
    followed: Mutex<VecDeque<Vec<u8>>>,
    secret: Mutex<Option<(u64, SecretText)>>,
}

impl Recent {
    /// Whether the request was followed before.
    pub(super) fn knows(&self, signature: &[u8]) -> bool {
        lock(&self.followed).iter().any(|one| one == signature)
    }

    /// The request was followed.
    pub(super) fn remember(&self, signature: Vec<u8>) {
        let mut known = lock(&self.followed);
        if known.len() == REMEMBERED {
            known.pop_front();
        }
        known.push_back(signature);
    }

    /// The secret of the webhook, if it was read less than a minute ago. `now` in seconds since the Unix epoch.
    pub(super) fn secret(&self, now: u64) -> Option<SecretText> {
        lock(&self.secret)
            .as_ref()
            .filter(|(read, _)| now.saturating_sub(*read) < KEPT)
            .map(|(_, secret)| secret.clone())
    }

    /// The secret of the webhook was read.
    pub(super) fn keep(&self, secret: &SecretText, now: u64) {
        *lock(&self.secret) = Some((now, secret.clone()));
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A header. An HTTP API gives names in small letters, and other gateways do not.
fn header<'a>(request: &'a Value, name: &str) -> Option<&'a str> {
    let headers = request.get("headers")?.as_object()?;
    headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_str()
}

/// The signature of a request, which nobody has checked.
pub(super) fn signature(request: &Value) -> Result<Vec<u8>, Refusal> {
    let signature = header(request, "x-hub-signature-256").and_then(|it| it.strip_prefix("sha256=")).and_then(from_hex);
    signature.filter(|signature| signature.len() == 32).ok_or(Refusal::Because(401, "no signature"))
}

/// A report that GitHub has signed.
#[derive(Debug)]
pub(super) struct Delivery {
    body: Value,
    /// When the alert was made or changed, in seconds since the Unix epoch.
    at: u64,
    /// Whether that is the date of the delivery, too. An old alert can be found at another place, opened again, or become public.
    is_new: bool,
}

/// The report in a request with this signature, if that is right and it is about a leak.
pub(super) fn verified(request: &Value, signature: &[u8], secret: &str) -> Result<Delivery, Refusal> {
    let refuse = |status, reason| Err(Refusal::Because(status, reason));
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
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    // It compares in constant time.
    if hmac::verify(&key, &body, signature).is_err() {
        return refuse(401, "wrong signature");
    }
    let is_alert = match header(request, "x-github-event") {
        Some("ping") => return refuse(200, "a ping"),
        Some("secret_scanning_alert") => true,
        Some("secret_scanning_alert_location") => false,
        _ => return refuse(202, "an event of another kind"),
    };
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refuse(400, "no JSON: choose the content type application/json for the webhook");
    };
    let date = |name: &str| body.pointer(&format!("/alert/{name}")).and_then(Value::as_str).and_then(moment);
    let Some(at) = date("updated_at").max(date("created_at")).map(|at| at.as_secs()) else {
        return refuse(400, "no date");
    };
    let is_new = is_alert && body.get("action").and_then(Value::as_str) == Some("created");
    Ok(Delivery { body, at, is_new })
}

impl Delivery {
    /// Why nobody should follow it now: it is about a new alert, whose date is more than a day away. A date that is far ahead would make a delivery that can be
    /// sent again for years. `now` in seconds since the Unix epoch.
    pub(super) fn is_of_another_time(&self, now: u64) -> Option<&'static str> {
        match self.at {
            at if self.is_new && at.saturating_add(OLDEST) < now => Some("too old"),
            at if at > now.saturating_add(OLDEST) => Some("of a later day: compare the clocks"),
            _ => None,
        }
    }

    fn text(&self, pointer: &str) -> &str {
        self.body.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Where a value was found, as it may be printed.
    pub(super) fn place(&self, value: &str) -> String {
        let path = self.text("/location/details/path");
        let commit: String = self.text("/location/details/commit_sha").chars().take(12).collect();
        let found = if path.is_empty() { String::new() } else { format!(" {path} in {commit}") };
        printable(&format!("{}{found}", self.text("/alert/html_url")), value)
    }

    fn tells_of_a_leak(&self) -> bool {
        matches!(self.text("/action"), "created" | "reopened" | "publicly_leaked")
    }

    /// Whether the value has to be fetched.
    pub(super) fn lacks_its_value(&self) -> bool {
        self.tells_of_a_leak() && self.text("/alert/secret").is_empty()
    }

    /// The alert that it is about, if the names and the number are some.
    pub(super) fn alert(&self) -> Option<Alert> {
        Alert::of(self.text("/repository/full_name"), self.body.pointer("/alert/number")?.as_u64()?)
    }

    /// What the alert says. GitHub does not send the value with it: it was `fetched`, or whoever fetches it, with the alert's address,
    /// can put it into `alert.secret`, as the API names it.
    pub(super) fn report(&self, fetched: Option<&SecretText>) -> Report {
        if !self.tells_of_a_leak() {
            return Report::default();
        }
        let value = fetched.map_or_else(|| self.text("/alert/secret"), SecretText::expose);
        let (rule, place) = (printable(self.text("/alert/secret_type"), value), self.place(value));
        if value.is_empty() {
            let notice = format!("{rule} at {place}: fetch the alert's secret, and hand it over as docs/fleet.md says");
            return Report { notices: vec![notice], ..Report::default() };
        }
        Report { leaked: vec![Leaked { value: value.into(), rule, place, sure: true }], ..Report::default() }
    }
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
        let hex: String = rotation::encoding::hex(signature.as_ref());
        json!({
            "requestContext": {"http": {"method": "POST"}},
            "headers": {"x-hub-signature-256": format!("sha256={hex}"), "x-github-event": "secret_scanning_alert"},
            "body": body,
        })
    }

    fn alert() -> Value {
        json!({"action": "created", "alert": {"created_at": "2026-11-29T21:59:30Z", "secret_type": "x", "html_url": "https://github.com/a/b/1"}})
    }

    fn delivery(request: &Value) -> Result<Delivery, u16> {
        let status = |refusal| match refusal {
            Refusal::Because(status, _) => status,
            Refusal::Failed(error) => panic!("{error}"),
        };
        let signature = signature(request).map_err(status)?;
        verified(request, &signature, SECRET).map_err(status)
    }

    #[test]
    fn only_what_github_signed_is_followed() {
        let good = request(&alert(), SECRET);
        assert!(delivery(&good).is_ok());
        assert_eq!(delivery(&request(&alert(), "another secret, as long")).unwrap_err(), 401);
        let mut unsigned = good.clone();
        unsigned["headers"].as_object_mut().unwrap().remove("x-hub-signature-256");
        assert_eq!(delivery(&unsigned).unwrap_err(), 401);
        let mut changed = good.clone();
        changed["body"] = good["body"].as_str().unwrap().replace("created\"", "reopened\"").into();
        assert_eq!(delivery(&changed).unwrap_err(), 401);
        // Other gateways keep the letters of a name, or encode the body.
        let mut other = good.clone();
        let headers = other["headers"].as_object_mut().unwrap();
        let signature = headers.remove("x-hub-signature-256").unwrap();
        headers.insert("X-Hub-Signature-256".to_owned(), signature);
        other["body"] = STANDARD.encode(good["body"].as_str().unwrap()).into();
        other["isBase64Encoded"] = true.into();
        assert!(delivery(&other).is_ok());
    }

    /// The alert is dated half a minute before `NOW`.
    #[test]
    fn a_date_is_a_day_away_at_most() {
        let delivery = delivery(&request(&alert(), SECRET)).unwrap();
        for (now, why) in [
            (NOW, None),
            (NOW - 30 + OLDEST, None),
            (NOW - 29 + OLDEST, Some("too old")),
            (NOW - 30 - OLDEST, None),
            (NOW - 31 - OLDEST, Some("of a later day: compare the clocks")),
        ] {
            assert_eq!(delivery.is_of_another_time(now), why, "{now}");
        }
    }

    /// GitHub says of a location no date of its own, and nothing when an old alert becomes public.
    #[test]
    fn an_old_alert_that_is_found_again_is_followed() {
        let (mut alert, march) = (alert(), NOW + 240 * 24 * 3_600);
        let mut located = request(&alert, SECRET);
        located["headers"]["x-github-event"] = "secret_scanning_alert_location".into();
        assert_eq!(delivery(&located).unwrap().is_of_another_time(march), None);
        alert["action"] = "publicly_leaked".into();
        assert_eq!(delivery(&request(&alert, SECRET)).unwrap().is_of_another_time(march), None);
        assert!(delivery(&located).unwrap().is_of_another_time(NOW - 2 * OLDEST).is_some(), "a day that is to come");
    }

    #[test]
    fn a_delivery_names_the_alert_that_is_fetched() {
        let mut alert = alert();
        alert["alert"]["number"] = 42.into();
        alert["repository"] =
            json!({"full_name": "octo-org/octo-repo", "url": "https://evil.example/repos/octo-org/octo-repo"});
        alert["alert"]["url"] = "https://evil.example/repos/octo-org/octo-repo/secret-scanning/alerts/42".into();
        let delivered = |alert: &Value| delivery(&request(alert, SECRET)).unwrap();
        assert_eq!(delivered(&alert).alert(), Alert::of("octo-org/octo-repo", 42));
        assert!(delivered(&alert).lacks_its_value());
        let report = delivered(&alert).report(Some(&"hunter2".into()));
        assert_eq!(report.leaked[0].value.expose(), "hunter2");
        // What was fetched may stand in a name.
        alert["alert"]["html_url"] = "https://github.com/octo-org/hunter2".into();
        assert_eq!(delivered(&alert).report(Some(&"hunter2".into())).leaked[0].place, "(not shown)");
        alert["action"] = "resolved".into();
        assert!(!delivered(&alert).lacks_its_value());
        alert["repository"]["full_name"] = "octo-org/../../x".into();
        assert_eq!(delivered(&alert).alert(), None);
    }

    #[test]
    fn a_request_is_remembered_once_it_was_followed() {
        let recent = Recent::default();
        assert!(!recent.knows(b"one"));
        recent.remember(b"one".to_vec());
        assert!(recent.knows(b"one") && !recent.knows(b"other"));
        assert!(recent.secret(NOW).is_none());
        recent.keep(&SECRET.into(), NOW);
        assert!(recent.secret(NOW + 59).is_some() && recent.secret(NOW + 60).is_none());
    }

    #[test]
    fn other_events_are_refused() {
        let mut other = request(&alert(), SECRET);
        other["headers"]["x-github-event"] = "push".into();
        assert_eq!(delivery(&other).unwrap_err(), 202);
        other["headers"]["x-github-event"] = "ping".into();
        assert_eq!(delivery(&other).unwrap_err(), 200);
        let unkeyed = request(&alert(), "");
        let signature = signature(&unkeyed).unwrap();
        assert!(matches!(verified(&unkeyed, &signature, ""), Err(Refusal::Because(500, _))));
    }

    #[test]
    fn an_alert_without_its_value_is_a_notice() {
        let report_of = |more: Value| {
            let mut alert = alert();
            alert["alert"]["secret"] = more;
            delivery(&request(&alert, SECRET)).unwrap().report(None)
        };
        assert_eq!(report_of(Value::Null).notices.len(), 1);
        assert_eq!(report_of(json!("hunter2")).leaked[0].value.expose(), "hunter2");
    }

    /// The fields of `secret_scanning_alert_location`:
    /// <https://docs.github.com/en/webhooks/webhook-events-and-payloads#secret_scanning_alert_location>
    #[test]
    fn a_location_says_where() {
        let mut alert = alert();
        alert["alert"]["secret"] = "hunter2-hunter2".into();
        alert["location"] = json!({"type": "commit", "details": {"path": "a/b.env", "start_line": 1, "commit_sha": "0123456789abcdef"}});
        let mut request = request(&alert, SECRET);
        request["headers"]["x-github-event"] = "secret_scanning_alert_location".into();
        let report = delivery(&request).unwrap().report(None);
        assert_eq!(report.leaked[0].place, "https://github.com/a/b/1 a/b.env in 0123456789ab");
    }

    /// GitHub writes the dates of an alert in UTC.
    #[test]
    fn a_date_that_is_none_is_refused() {
        for wrong in ["", "yesterday", "2026-13-01T00:00:00Z", "2026-11-29T18446744073709551615:00:00Z"] {
            let mut alert = alert();
            alert["alert"]["created_at"] = wrong.into();
            assert_eq!(delivery(&request(&alert, SECRET)).unwrap_err(), 400, "{wrong}");
        }
    }
}
