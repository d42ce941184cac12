//! The record of what became of a rotation: one line in the log, whatever the log level, for whoever has to show later that a
//! credential was changed, and by which version it was replaced.
//!
//! It says only what is known here. Who asked for a rotation is known to CloudTrail alone.

use crate::error::{Error, Fact};
use crate::event::Event;
use crate::store::{Description, date};

/// How a rotation, or an attempt at one, ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending<'a> {
    /// finishSecret moved AWSCURRENT.
    Promoted,
    /// finishSecret found that an attempt, whose own record may be missing, had moved it.
    FoundPromoted,
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

/// Who invoked the function. Only the service has a RotationToken, but nothing states that it always sends one.
pub(crate) fn invoked_by(event: Option<&Event>) -> &'static str {
    match event {
        // The service sends nothing that cannot be read.
        None => "hand",
        Some(event) if event.rotation_token.is_some() => "secrets-manager",
        Some(_) => "unknown",
    }
}

/// Writes the record.
pub(crate) fn record(request: &str, event: Option<&Event>, description: Option<&Description>, ending: Ending<'_>) {
    let current = description.and_then(Description::current_version);
    let previous = description.and_then(Description::previous_version);
    let (outcome, error, replaced, stays) = match ending {
        Ending::Promoted => ("promoted", None, current, None),
        Ending::FoundPromoted => ("promoted", None, previous, None),
        Ending::Failed(error) => ("failed", Some(error), None, current),
    };
    let step = event.map(|event| event.step.as_str());
    tracing::info!(
        audit = "rotation",
        request,
        secret = event.map(|event| event.secret.as_str()).or_else(|| error.and_then(|error| error.fact(Fact::Secret))),
        version = event.map(|event| event.token.as_str()),
        step,
        outcome,
        again = matches!(ending, Ending::FoundPromoted).then_some(true),
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
    use serde_json::json;
    use std::time::Duration;

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
    fn only_a_rotation_token_shows_who_invokes() {
        let event = |more: Option<&str>| {
            let mut event = json!({"SecretId": "a", "ClientRequestToken": "b", "Step": "setSecret"});
            event["RotationToken"] = json!(more);
            Event::parse(&event).unwrap()
        };
        assert_eq!(invoked_by(Some(&event(Some("opaque")))), "secrets-manager");
        assert_eq!(invoked_by(Some(&event(None))), "unknown");
        assert_eq!(invoked_by(None), "hand");
    }
}
