//! CloudWatch Logs, as far as a function asks: FilterLogEvents, over what the functions of the lab have printed.
//!
//! The order is the service's: the oldest event first. A page looks at a limited number of lines, so a page may be empty and yet have a
//! token for the next one. Of filter patterns it knows `{ $.name = "value" }`, and refuses others.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>,
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/FilterAndPatternSyntax.html>

use crate::lambda::Host;
use crate::secretsmanager::Reply;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The most events of a page (API reference, `limit`).
const LARGEST_PAGE: u64 = 10_000;
/// How many lines a page looks at.
const LOOKED_AT: usize = 5_000;

/// The logs of a lab's functions. Cheap to clone; clones share what was written besides.
#[derive(Clone)]
pub struct Logs {
    host: Host,
    more: Arc<Mutex<Vec<(String, Line)>>>,
}

/// A line, and when it was written, in milliseconds since the Unix epoch.
#[derive(Clone, Debug)]
struct Line {
    at: u64,
    stream: usize,
    text: String,
}

impl Logs {
    /// The logs of the functions of this host.
    pub fn new(host: Host) -> Self {
        Self { host, more: Arc::default() }
    }

    /// Writes a line into a function's log, as whoever may write there can. `at` is in milliseconds since the Unix epoch.
    pub fn write(&self, function: &str, at: u64, text: &str) {
        let line = Line { at, stream: usize::MAX, text: text.to_owned() };
        self.more.lock().unwrap_or_else(PoisonError::into_inner).push((function.to_owned(), line));
    }

    /// Performs the operation that `X-Amz-Target` names after `Logs_20140328.`.
    pub(crate) fn call(&self, operation: &str, body: &[u8]) -> Reply {
        if operation != "FilterLogEvents" {
            return Reply::failure("UnknownOperationException", "The lab's CloudWatch Logs has FilterLogEvents alone.");
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        match self.filter(&request) {
            Ok(body) => Reply::success(body),
            Err((kind, message)) => Reply::failure(kind, message),
        }
    }

    fn filter(&self, request: &Value) -> Result<Value, (&'static str, &'static str)> {
        const INVALID: &str = "InvalidParameterException";
        let number = |name: &str| request.get(name).and_then(Value::as_u64);
        let group = request.get("logGroupName").and_then(Value::as_str);
        let group = group.ok_or((INVALID, "The lab wants logGroupName."))?;
        let function = group.strip_prefix("/aws/lambda/").filter(|name| self.host.knows(name));
        let function = function.ok_or(("ResourceNotFoundException", "The specified log group does not exist."))?;
        let pattern = match request.get("filterPattern").and_then(Value::as_str).filter(|it| !it.is_empty()) {
            None => None,
            Some(text) => Some(Pattern::read(text).ok_or((INVALID, "Invalid filter pattern"))?),
        };
        let (start, end) = (number("startTime").unwrap_or(0), number("endTime").unwrap_or(u64::MAX));
        if start > end {
            return Err((INVALID, "startTime is after endTime."));
        }
        let from = match request.get("nextToken").and_then(Value::as_str) {
            None => 0,
            Some(token) => token.parse().map_err(|_| (INVALID, "The specified nextToken is invalid."))?,
        };
        let limit = number("limit").unwrap_or(LARGEST_PAGE);
        if !(1..=LARGEST_PAGE).contains(&limit) {
            return Err((INVALID, "limit is from 1 to 10000."));
        }
        let lines = self.lines(function);
        let within: Vec<_> = lines.iter().filter(|line| (start..=end).contains(&line.at)).collect();
        let (mut events, mut at) = (Vec::new(), from);
        for line in within.iter().skip(from).take(LOOKED_AT) {
            at += 1;
            if pattern.as_ref().is_none_or(|pattern| pattern.matches(&line.text)) {
                events.push(json!({
                    "logStreamName": format!("[$LATEST]{:032x}", line.stream), "timestamp": line.at,
                    "message": line.text, "ingestionTime": line.at, "eventId": at.to_string(),
                }));
            }
            if events.len() as u64 == limit {
                break;
            }
        }
        let mut answer = json!({ "events": events, "searchedLogStreams": [] });
        if let Some(fields) = answer.as_object_mut().filter(|_| at < within.len()) {
            fields.insert("nextToken".to_owned(), at.to_string().into());
        }
        Ok(answer)
    }

    /// All lines of a function's log, oldest first.
    fn lines(&self, function: &str) -> Vec<Line> {
        let mut lines = Vec::new();
        for (stream, output) in self.host.outputs(function).iter().enumerate() {
            // A line without a date is as old as the one before it.
            let mut at = 0;
            for text in output.lines() {
                at = date(text).unwrap_or(at);
                lines.push(Line { at, stream, text: text.to_owned() });
            }
        }
        let more = self.more.lock().unwrap_or_else(PoisonError::into_inner);
        lines.extend(more.iter().filter(|(name, _)| name == function).map(|(_, line)| line.clone()));
        lines.sort_by_key(|line| line.at);
        lines
    }
}

/// Now, in milliseconds since the Unix epoch.
pub fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// When a line of JSON says that it was written.
fn date(text: &str) -> Option<u64> {
    let line: Value = serde_json::from_str(text).ok()?;
    let written = OffsetDateTime::parse(line.get("timestamp")?.as_str()?, &Rfc3339).ok()?;
    u64::try_from(written.unix_timestamp_nanos() / 1_000_000).ok()
}

/// `{ $.name = "value" }`.
struct Pattern {
    name: String,
    value: String,
}

impl Pattern {
    fn read(text: &str) -> Option<Self> {
        let inner = text.trim().strip_prefix('{')?.strip_suffix('}')?.trim().strip_prefix("$.")?;
        let (name, value) = inner.split_once('=')?;
        let value = value.trim().strip_prefix('"')?.strip_suffix('"')?;
        let name = name.trim();
        let plain = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
        (plain(name) && plain(value)).then(|| Self { name: name.to_owned(), value: value.to_owned() })
    }

    fn matches(&self, line: &str) -> bool {
        let line: Value = serde_json::from_str(line).unwrap_or_default();
        line.get(&self.name).and_then(Value::as_str) == Some(&self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disturb::Disturb;
    use crate::lambda::Function;

    fn ask(logs: &Logs, more: &Value) -> Value {
        let mut request = json!({"logGroupName": "/aws/lambda/f", "filterPattern": "{ $.audit = \"rotation\" }"});
        for (name, value) in more.as_object().unwrap() {
            request[name] = value.clone();
        }
        logs.call("FilterLogEvents", request.to_string().as_bytes()).body
    }

    #[test]
    fn lines_are_found_by_time_and_pattern_page_by_page() {
        let host = Host::new(&Disturb::new()).unwrap();
        host.deploy(Function::new("f", "/bin/false"));
        let logs = Logs::new(host);
        for at in 0..3 {
            logs.write("f", at, &json!({"audit": "rotation", "n": at}).to_string());
            logs.write("f", at, "{\"audit\": \"other\"}");
            logs.write("g", at, "{\"audit\": \"rotation\"}");
        }
        let all = ask(&logs, &json!({}));
        assert_eq!(all["events"].as_array().unwrap().len(), 3);
        assert_eq!(ask(&logs, &json!({"startTime": 1, "endTime": 1}))["events"][0]["timestamp"], 1);
        let first = ask(&logs, &json!({"limit": 2}));
        assert_eq!(first["events"].as_array().unwrap().len(), 2);
        let second = ask(&logs, &json!({"limit": 2, "nextToken": first["nextToken"]}));
        assert_eq!((second["events"].as_array().unwrap().len(), &second["nextToken"]), (1, &Value::Null));
        for _ in 0..LOOKED_AT {
            logs.write("f", 0, "noise");
        }
        let empty = ask(&logs, &json!({"startTime": 0, "nextToken": "2"}));
        assert_eq!(empty["events"], json!([]));
        assert!(empty["nextToken"].is_string());
        for wrong in [
            json!({"logGroupName": "/aws/lambda/h"}),
            json!({"filterPattern": "{ $.a = 1 && $.b }"}),
            json!({"limit": 0}),
        ] {
            assert!(ask(&logs, &wrong)["__type"].is_string(), "{wrong}");
        }
    }
}
