//! Reads the audit records in the function's own log group: CloudWatch Logs' FilterLogEvents.
//!
//! The service answers with the oldest events first, and may answer with an empty page and a token for the next one. So the log is
//! read in spans, the newest span first, and the answer says how far back it was read to the end. Pages, events and time are limited: a
//! log group of years takes no longer than one of a day.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html>

use crate::aws::service::{Answer, CallError, Request, Service};
use crate::clock::Deadline;
use crate::net::weight::Weight;
use crate::protocol::activity::{Activity, Record};
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::time::Duration;

/// How far back each span reaches; it ends where the one before began. A monthly rotation is in the last but one.
const SPANS: [Duration; 5] = [HOURS, days(1), days(7), days(35), days(100)];

const HOURS: Duration = Duration::from_secs(2 * 3_600);

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}
/// Calls for one answer. The service allows five to ten a second, for all who read logs in the account and region.
const MOST_CALLS: u32 = 12;
/// Records for one answer. 200 secrets that rotate each day make 1,400 in a week.
const MOST_RECORDS: usize = 2_000;
/// The time for all calls.
const LIMIT: Duration = Duration::from_secs(6);
/// Events of one page. 500 records have about half a MiB; an answer may have one.
const PAGE: u32 = 500;
/// How much memory a page may take.
const HEAVIEST: usize = 16 << 20;
/// What an audit record has and other lines have not.
const PATTERN: &str = "{ $.audit = \"rotation\" }";

/// CloudWatch Logs, in the function's region.
pub(crate) struct Logs {
    service: Service,
    group: String,
}

impl Logs {
    /// The log group `group`. `endpoint` is where the service is, if not where the SDKs look for it.
    pub(crate) fn new(group: &str, endpoint: Option<&str>) -> Self {
        Self { service: Service::new("logs", endpoint), group: group.to_owned() }
    }

    /// How many answers have asked to slow down, since the process began.
    pub(crate) fn throttles(&self) -> u32 {
        self.service.throttles()
    }

    /// The audit records before `now`, newest first. That the log cannot be read is no failure: the answer says so.
    pub(crate) async fn activity(&self, now: Duration, deadline: Deadline) -> Activity {
        let mut activity = Activity::default();
        if self.group.is_empty() {
            return Activity::unread("the environment names no log group");
        }
        let deadline = deadline.within(LIMIT);
        let mut end = now;
        for span in SPANS {
            let start = now.saturating_sub(span);
            let mut records = Vec::new();
            // Of a span that is not read to its end, the newest records are missing. The others would be taken for the newest.
            if let Err(trouble) = self.span((start, end), &mut records, &mut activity.calls, deadline).await {
                activity.trouble = Some(trouble);
                break;
            }
            records.sort_by_key(|record| Reverse(record.at));
            activity.records.append(&mut records);
            activity.since = Some(start);
            if activity.records.len() >= MOST_RECORDS {
                break;
            }
            end = start;
        }
        activity
    }

    /// Reads one span to its end. Otherwise says what prevented it.
    async fn span(
        &self,
        (start, end): (Duration, Duration),
        records: &mut Vec<Record>,
        calls: &mut u32,
        deadline: Deadline,
    ) -> Result<(), &'static str> {
        let mut token: Option<String> = None;
        loop {
            if *calls == MOST_CALLS {
                return Err("the log is longer than what is read of it");
            }
            *calls += 1;
            let mut body = json!({
                "logGroupName": self.group,
                "startTime": milliseconds(start),
                // Inclusive, as the start is.
                "endTime": milliseconds(end).saturating_sub(1),
                "filterPattern": PATTERN,
                "limit": PAGE,
            });
            if let (Some(token), Some(fields)) = (token.take(), body.as_object_mut()) {
                fields.insert("nextToken".to_owned(), token.into());
            }
            let headers = [("x-amz-target", "Logs_20140328.FilterLogEvents")];
            let request = Request::post("application/x-amz-json-1.1", &headers, body.to_string());
            let answer = self.service.call(&request, deadline).await.map_err(|failure| failure.trouble.as_str())?;
            let page = Page::of(&answer)?;
            records.extend(page.lines.iter().filter_map(|(at, line)| Record::read(*at, line)));
            if records.len() >= MOST_RECORDS {
                return Err("the log has more records than are read of it");
            }
            match page.next {
                Some(next) => token = Some(next),
                None => return Ok(()),
            }
        }
    }
}

/// One page of an answer: its lines with their dates, and the token for the next page.
struct Page {
    lines: Vec<(Duration, String)>,
    next: Option<String>,
}

impl Page {
    fn of(answer: &Answer) -> Result<Self, &'static str> {
        // A page of many small objects would take a hundred times as much memory.
        if !Weight::limited_to(HEAVIEST).takes(&answer.body) {
            return Err(CallError::TooLarge.as_str());
        }
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        if answer.status != 200 {
            return Err(refusal(body.get("__type").and_then(Value::as_str).unwrap_or_default()));
        }
        let events = body.get("events").and_then(Value::as_array).ok_or("an answer that cannot be read")?;
        let line = |event: &Value| {
            let at = Duration::from_millis(event.get("timestamp")?.as_u64()?);
            Some((at, event.get("message")?.as_str()?.to_owned()))
        };
        let next = body.get("nextToken").and_then(Value::as_str).map(str::to_owned);
        Ok(Self { lines: events.iter().filter_map(line).collect(), next })
    }
}

/// What a refusal means. The service's own text is not repeated.
fn refusal(kind: &str) -> &'static str {
    match kind.rsplit('#').next().unwrap_or_default() {
        "AccessDeniedException" | "AccessDenied" => "the function's role may not read its log (logs:FilterLogEvents)",
        "ResourceNotFoundException" => "there is no such log group",
        _ => "CloudWatch Logs refused the call",
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(status: u16, body: &str) -> Result<(usize, Option<String>), &'static str> {
        Page::of(&Answer { status, headers: Vec::new(), body: body.into() }).map(|page| (page.lines.len(), page.next))
    }

    #[test]
    fn pages_may_be_empty_and_refusals_are_told_in_our_own_words() {
        assert_eq!(page(200, r#"{"events": [], "nextToken": "n"}"#), Ok((0, Some("n".to_owned()))));
        assert_eq!(
            page(200, r#"{"events": [{"timestamp": 5, "message": "m"}, {"timestamp": "x"}, 7]}"#),
            Ok((1, None))
        );
        assert!(page(200, "<html>").is_err() && page(200, "{}").is_err());
        let denied = page(400, r#"{"__type": "com.amazon#AccessDeniedException", "Message": "role <b>"}"#).unwrap_err();
        assert!(denied.contains("logs:FilterLogEvents"), "{denied}");
        let flood = format!("{{\"events\": [{}{{}}]}}", "{},".repeat(300_000));
        assert_eq!(page(200, &flood), Err("an answer that is too large"));
    }
}
