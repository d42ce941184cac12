//! The record of what became of a rotation: one line in the log, whatever the log level, for whoever has to show later that a
//! credential was changed, and by which version it was replaced.
//!
//! It says only what is known here. Who asked for a rotation is known to CloudTrail alone, and so is who invoked the function:
//! everybody with `lambda:InvokeFunction` can send what the service sends, and so cause a record.

use crate::aws::secrets_manager::date;
use crate::error::{Error, Fact};
use crate::protocol::event::Event;
use crate::protocol::store::Description;

/// The records' target in the log, by which the log knows them, wherever this file is.
pub(crate) const TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::audit");

/// How a rotation, or an attempt at one, ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending<'a> {
    /// finishSecret moved AWSCURRENT.
    Promoted,
    /// finishSecret found AWSCURRENT on the version and did nothing: an attempt that was killed before it wrote its own record may
    /// have moved it, or somebody has sent the step for a version that has been current for long.
    FoundCurrent,
    /// A step failed, in this way.
    Failed(&'a Error),
}

/// Whether the rotation was asked for. A rotation that is not scheduled at all was. Of any other nothing can be said: one that
/// somebody asks for looks the same to the function. NextRotationDate is no proof, as nothing states when the service moves it on,
/// and after a change of the schedule a rotation of the old one may still come
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>, RotateImmediately).
pub(crate) fn trigger(description: Option<&Description>) -> &'static str {
    match description {
        Some(known) if !known.scheduled && known.next_rotation.is_none() => "request",
        _ => "unknown",
    }
}

/// What the event shows of who invoked the function: the service sends a RotationToken, though nothing states that it always does,
/// and nothing that cannot be read. Whether a token is one of the service's cannot be told here.
pub(crate) fn invoked_by(event: Option<&Event>) -> &'static str {
    match event {
        None => "unreadable",
        Some(event) if event.rotation_token.is_some() => "token-present",
        Some(_) => "no-token",
    }
}

/// Writes the record.
pub(crate) fn record(request: &str, event: Option<&Event>, description: Option<&Description>, ending: Ending<'_>) {
    let current = description.and_then(Description::current_version);
    let (outcome, error, replaced, stays) = match ending {
        Ending::Promoted => ("promoted", None, current, None),
        Ending::FoundCurrent => ("found-current", None, None, None),
        Ending::Failed(error) => ("failed", Some(error), None, current),
    };
    let step = event.map(|event| event.step.as_str());
    tracing::info!(
        target: TARGET,
        audit = "rotation",
        request,
        secret = event.map(|event| event.secret.as_str()).or_else(|| error.and_then(|error| error.fact(Fact::Secret))),
        version = event.map(|event| event.token.as_str()),
        step,
        outcome,
        replaced,
        current = stays,
        code = error.map(|error| error.code().as_str()),
        class = error.map(|error| error.class().as_str()),
        trigger = trigger(description),
        next_rotation = description.and_then(|known| date(known.next_rotation?)),
        invoked_by = invoked_by(event),
        "rotation audit"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::telemetry::tests::printed;
    use serde_json::json;
    use std::time::Duration;
    use tracing::level_filters::LevelFilter;

    #[test]
    fn only_what_is_not_scheduled_was_surely_asked_for() {
        let described = |scheduled, next: Option<u64>| Description {
            scheduled,
            next_rotation: next.map(Duration::from_secs),
            ..Description::default()
        };
        assert_eq!(trigger(Some(&described(false, None))), "request");
        for description in [described(true, None), described(false, Some(1)), described(true, Some(1))] {
            assert_eq!(trigger(Some(&description)), "unknown");
        }
        assert_eq!(trigger(None), "unknown");
    }

    #[test]
    fn a_token_is_said_to_be_there_and_not_whose_it_is() {
        let event = |more: Option<&str>| {
            let mut event = json!({"SecretId": "a", "ClientRequestToken": "b", "Step": "setSecret"});
            event["RotationToken"] = json!(more);
            Event::parse(&event).unwrap()
        };
        assert_eq!(invoked_by(Some(&event(Some("anybody's")))), "token-present");
        assert_eq!(invoked_by(Some(&event(None))), "no-token");
        assert_eq!(invoked_by(None), "unreadable");
    }

    /// Whoever may invoke the function can ask for finishSecret of the version that is current.
    #[test]
    fn only_a_promotion_is_recorded_as_one() {
        let error = Error::new(crate::error::Code::LockedOut);
        let labels = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
        let description = Description {
            labels: [labels("now", "AWSCURRENT"), labels("before", "AWSPREVIOUS")].into(),
            ..Description::default()
        };
        for (ending, outcome, replaced, current) in [
            (Ending::Promoted, "promoted", Some("now"), None),
            (Ending::FoundCurrent, "found-current", None, None),
            (Ending::Failed(&error), "failed", None, Some("now")),
        ] {
            let lines = printed(LevelFilter::ERROR, || record("r", None, Some(&description), ending));
            assert_eq!(lines.len(), 1);
            assert_eq!(lines[0]["outcome"], outcome);
            assert_eq!((lines[0]["replaced"].as_str(), lines[0]["current"].as_str()), (replaced, current), "{outcome}");
        }
    }
}
