//! The function as Lambda sees it: from a payload to an answer, within the invocation's time.

use crate::clock::{Deadline, Stopwatch};
use crate::environment::{Defaults, Settings};
use crate::error::{Code, Error, Fact, Result};
use crate::event::Event;
use crate::protocol::Rotation;
use crate::store::SecretsManager;
use crate::target::Target;
use crate::telemetry;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// Kept back from the invocation's deadline, so that the last word is our own error and not "Task timed out": enough to
/// drop what is under way, write a log line and post the answer on a small, throttled CPU.
const REPLY_MARGIN: Duration = Duration::from_millis(700);

/// Runs a rotation function until Lambda ends the process. `function` is the binary's crate name.
pub fn main<T: Target + 'static>(
    function: &'static str,
    defaults: Defaults,
    target: impl FnOnce(&Settings) -> Result<T>,
) -> ExitCode {
    telemetry::install(function);
    // One invocation at a time: one thread is enough, and starts faster than several.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return fail("the async runtime could not be started"),
    };
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_none() {
        return fail("this is an AWS Lambda function: deploy it with `sam deploy`, or run it locally with `cargo lab`");
    }
    match runtime.block_on(serve(defaults, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => fail("the Lambda Runtime API could not be reached"),
    }
}

fn fail(why: &'static str) -> ExitCode {
    tracing::error!(why, "cannot run");
    // Where a log level of `off` would hide the line above, a person at a terminal still sees why.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{why}\n").as_bytes());
    ExitCode::FAILURE
}

async fn serve<T: Target + 'static>(
    defaults: Defaults,
    target: impl FnOnce(&Settings) -> Result<T>,
) -> Result<(), lambda_runtime::Error> {
    // A mistake in the configuration is the answer to every invocation, with its code and next action: a function that
    // exits at start would show people "Runtime.ExitError" instead.
    let rotation = match Settings::from_env(defaults).and_then(|settings| Ok((target(&settings)?, settings))) {
        Ok((target, settings)) => {
            let store = SecretsManager::from_env(settings.endpoint.as_deref()).await;
            Ok(Arc::new(Rotation::new(store, target)))
        }
        Err(error) => Err(error),
    };
    lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Value>| {
        let rotation = rotation.clone()?;
        let deadline = Deadline::at_epoch(Duration::from_millis(invocation.context.deadline)).less(REPLY_MARGIN);
        // A task of its own, so that a panic comes back as a value whose text nobody prints.
        match tokio::spawn(async move { answer(&rotation, &invocation.payload, deadline).await }).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log")),
        }
    }))
    .await
}

async fn answer<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    payload: &Value,
    deadline: Deadline,
) -> Result<Value> {
    let watch = Stopwatch::start();
    let event = Event::parse(payload).inspect_err(log_error)?;
    tracing::info!(secret = event.secret, version = event.token, step = event.step.as_str(), "step started");
    match rotation.run(&event, deadline).await {
        Ok(outcome) => {
            tracing::info!(
                secret = event.secret,
                version = event.token,
                step = event.step.as_str(),
                outcome = outcome.as_str(),
                changed_as = outcome.changed_as(),
                milliseconds = watch.elapsed().as_millis(),
                "step done"
            );
            let mut answer = json!({"step": event.step.as_str(), "outcome": outcome.as_str()});
            if let (Some(fields), Some(credential)) = (answer.as_object_mut(), outcome.changed_as()) {
                fields.insert("changedAs".to_owned(), credential.into());
            }
            Ok(answer)
        }
        Err(error) => {
            let error = error.with_default(Fact::Step, event.step).with_default(Fact::Version, &event.token);
            log_error(&error);
            Err(error)
        }
    }
}

fn log_error(error: &Error) {
    let facts: Value = error.facts().map(|(fact, value)| (fact.as_str(), value)).collect();
    tracing::error!(
        code = error.code().as_str(),
        class = error.class().as_str(),
        %facts,
        next = error.code().next_action(),
        "{}",
        error.code().summary()
    );
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.code().as_str().to_owned(), error_message: error.to_string() }
    }
}
