//! Rotations that have to fail, and what has to hold then: the code, in time, with nothing lost and nothing given away; and with
//! the cause gone, the same rotation goes on to its end.

use crate::{Secret, Server, World, uuid};
use lab::lambda::{Outcome, StepError};
use serde_json::{Value, json};
use std::time::Duration;

/// No single wait of the function is longer than its limit for a statement, 9 s; a login and a statement may follow one
/// another. This is half of what a step has in AWS's template.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(15);

/// A rotation that has to fail with this code, in time, with nothing lost and nothing given away.
pub async fn failure<S: Server>(world: &World<S>, secret: &Secret<'_, S>, token: &str, code: &str) -> StepError {
    let before = secret.at("AWSCURRENT").await;
    let report = world.lab.rotate_to(&secret.arn, token).await.expect("the rotation begins");
    let error = report.error().expect("a step fails");
    let text = &error.error_message;
    assert_eq!(error.error_type, code, "{}: {text}", world.server.fields());
    assert_eq!(secret.at("AWSCURRENT").await, before);
    let took = report.steps.last().expect("a step").duration();
    assert!(took < ANSWER_LIMIT, "{took:?}: {text}");
    let superusers = world.server.superuser().1.expose().to_owned();
    let (current, pending) = (secret.credential("AWSCURRENT").await.1, secret.credential("AWSPENDING").await.1);
    let output = world.lab.function_output();
    for password in [superusers, current, pending] {
        assert!(!text.contains(&password) && !output.contains(&password), "a password was printed");
    }
    error
}

/// The same for the user's own login, of which the message has to say where it was going. Returns the token.
pub async fn fails<S: Server>(world: &World<S>, secret: &Secret<'_, S>, code: &str) -> String {
    let token = uuid();
    fails_again(world, secret, &token, code).await;
    token
}

/// The same under a token that has failed before.
pub async fn fails_again<S: Server>(world: &World<S>, secret: &Secret<'_, S>, token: &str, code: &str) {
    let document = secret.at("AWSCURRENT").await;
    let error = failure(world, secret, token, code).await;
    let [host, user] = [&document["host"], &document["username"]];
    for fact in [format!("host={host}"), format!("port=\"{}\"", document["port"]), format!("user={user}")] {
        assert!(error.error_message.contains(&fact), "{fact}: {}", error.error_message);
    }
}

/// With the cause gone: the current credential is good, and the same rotation goes on to its end.
pub async fn converges<S: Server>(world: &World<S>, secret: &Secret<'_, S>, token: &str) {
    assert!(secret.opens("AWSCURRENT").await, "the current credential is out of order");
    let report = world.lab.rotate_to(&secret.arn, token).await.expect("the rotation begins again");
    assert!(report.rotated(), "{}: {:?}", world.server.fields(), report.error());
    assert_eq!(secret.labels().await[token], json!(["AWSCURRENT"]));
    assert!(secret.opens("AWSCURRENT").await, "the new credential is out of order");
}

/// Most of these ended within the limit. The machine may have held one up in its last moment, or those that ran at once.
pub fn in_time(took: &[Duration], limit: Duration) {
    let late = took.iter().filter(|took| **took >= limit).count();
    assert!(late * 2 < took.len(), "{took:?} are not within {limit:?}");
}

/// Whether the log of an invocation says that trying again will help.
pub fn retryable(outcome: &Outcome) -> bool {
    String::from_utf8_lossy(&outcome.log).contains(r#""class":"retryable""#)
}

/// The code of a failure, or else the outcome.
pub fn code(answer: Result<Value, StepError>) -> String {
    match answer {
        Ok(answer) => answer["outcome"].as_str().unwrap_or_default().to_owned(),
        Err(error) => error.error_type,
    }
}
