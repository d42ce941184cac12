//! The audit record of a rotation: one log line, at every log level. It shows later that a credential was changed, and which
//! version replaced it.
//!
//! The record says only what the function knows. CloudTrail knows who asked for a rotation and who invoked the function. Every
//! principal with `lambda:InvokeFunction` can send what Secrets Manager sends, and so cause a record.

use crate::clock::date;
use crate::error::{Error, Fact};
use crate::protocol::activity::REQUESTED;
use crate::protocol::event::Event;
use crate::protocol::recover::Action;
use crate::protocol::store::Description;

/// The log target of audit records. It does not depend on where this file is.
pub(crate) const TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::audit");

/// How a rotation, or an attempt at one, ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending<'a> {
    /// finishSecret moved AWSCURRENT.
    Promoted,
    /// finishSecret found the version current and did nothing. An earlier attempt may have moved AWSCURRENT and been killed before
    /// it wrote its record, or the step was sent for a version that has been current for a long time.
    FoundCurrent,
    /// A step failed with this error.
    Failed(&'a Error),
}

/// `request` if somebody asked for the rotation, else `unknown`. A secret without a schedule rotates only on request. With a
/// schedule, both kinds look the same to the function. NextRotationDate proves nothing: AWS does not say when the service moves
/// it on, and after a change of the schedule a rotation of the old one may still come
/// (<https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_RotateSecret.html>, RotateImmediately).
pub(crate) fn trigger(description: Option<&Description>) -> &'static str {
    match description {
        Some(known) if !known.scheduled && known.next_rotation.is_none() => "request",
        _ => "unknown",
    }
}

/// What the event shows about its sender. The service sends a RotationToken, although AWS does not say that it always does, and
/// it never sends an unreadable event. The function cannot tell whether a token is genuine.
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

/// Writes the record of a recovery that has changed something.
pub(crate) fn recovered(request: &str, secret: &str, description: Option<&Description>, action: &Action) {
    if matches!(action, Action::Nothing { .. }) {
        return;
    }
    tracing::info!(
        target: TARGET,
        audit = "rotation",
        request,
        secret,
        version = action.version(),
        step = "recover",
        outcome = action.as_str(),
        replaced = description.and_then(Description::current_version).filter(|_| action.moved()),
        trigger = "request",
        invoked_by = "no-token",
        "rotation audit"
    );
}

/// Writes the record that somebody has ended what a superseded version still opened.
pub(crate) fn retired(request: &str, secret: &str, step: &str, version: &str, outcome: &str) {
    tracing::info!(
        target: TARGET,
        audit = "rotation",
        request,
        secret,
        version,
        step,
        outcome,
        trigger = "request",
        invoked_by = "no-token",
        "rotation audit"
    );
}

/// Writes the record that somebody has asked for a rotation through the function, which makes this version.
pub(crate) fn requested(request: &str, secret: &str, version: &str) {
    tracing::info!(
        target: TARGET,
        audit = "rotation",
        request,
        secret,
        version,
        step = "rotateNow",
        outcome = REQUESTED,
        trigger = "request",
        invoked_by = "no-token",
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
