//! The function as Lambda sees it: from a payload to an answer, within the invocation's time.

use crate::clock::{Deadline, Stopwatch, since_epoch};
use crate::diagnose::Diagnosis;
use crate::environment::{self, Defaults, Settings};
use crate::error::{Code, Error, Fact, Result};
use crate::event::{Event, Request};
use crate::metric;
use crate::protocol::{Outcome, Ran, Rotation};
use crate::store::SecretsManager;
use crate::target::{PreviousCredential, Retired, Target};
use crate::telemetry;
use crate::watch::{Late, Watched};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Map, Value};
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
    if !environment::in_lambda() {
        return fail("this is an AWS Lambda function: deploy it with `sam deploy`, or run it locally with `cargo lab`");
    }
    match runtime.block_on(serve(defaults, target)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => fail("the Lambda Runtime API could not be reached"),
    }
}

fn fail(why: &'static str) -> ExitCode {
    tracing::error!(why, "cannot run");
    // The line above is JSON on standard output; a person at a terminal gets it plainly, too.
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
        let LambdaEvent { payload, context } = invocation;
        let log = Log { request: context.request_id };
        let function = context.invoked_function_arn;
        let rotation = rotation.clone().inspect_err(|error| log.failure(error))?;
        let deadline = Deadline::at_epoch(Duration::from_millis(context.deadline)).less(REPLY_MARGIN);
        let work = async move { answer(&rotation, &payload, &function, &log, deadline).await };
        // A task of its own, so that a panic comes back as a value whose text nobody prints.
        match tokio::spawn(work).await {
            Ok(answer) => answer,
            Err(_) => Err(Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log")),
        }
    }))
    .await
}

async fn answer<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    payload: &Value,
    function: &str,
    log: &Log,
    deadline: Deadline,
) -> Result<Value> {
    match Request::parse(payload).inspect_err(|error| log.failure(error))? {
        Request::Rotate(event) => rotate(rotation, &event, log, deadline).await,
        Request::Diagnose { secret } => {
            let diagnosis = rotation.diagnose(&secret, deadline).await.inspect_err(|error| log.failure(error))?;
            log.diagnosed(&secret, &diagnosis);
            Ok(diagnosis.to_json())
        }
        Request::Watch => {
            let watched = rotation.watch(function, since_epoch(), deadline).await;
            let watched = watched.inspect_err(|error| log.failure(error))?;
            log.watched(&watched);
            Ok(watched.to_json())
        }
    }
}

async fn rotate<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    event: &Event,
    log: &Log,
    deadline: Deadline,
) -> Result<Value> {
    let watch = Stopwatch::start();
    log.started(event);
    let Ran { outcome, warnings } = rotation.run(event, deadline).await;
    log.warnings(event, &warnings);
    let outcome = outcome.map_err(|error| {
        let error = error.with_default(Fact::Step, event.step).with_default(Fact::Version, &event.token);
        log.failure(&error);
        error
    })?;
    log.done(event, &outcome, watch.elapsed());
    Ok(described(event, &outcome, &warnings))
}

/// The answer. Secrets Manager looks only at whether there is one; people and tests read it.
fn described(event: &Event, outcome: &Outcome, warnings: &[Error]) -> Value {
    let mut fields = vec![("step", event.step.as_str()), ("outcome", outcome.as_str())];
    if let Some(change) = outcome.change() {
        fields.push(("changedAs", change.by));
        fields.push(("previousCredential", change.previous.as_str()));
        if let PreviousCredential::NotKept(because) = change.previous {
            fields.push(("because", because));
        }
    }
    match outcome.retired() {
        Ok(Retired::Nothing) => {}
        Ok(Retired::Previous) => fields.push(("retired", "previous")),
        Err(error) => fields.push(("notRetired", error.code().as_str())),
    }
    let mut answer: Map<_, _> = fields.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
    if !warnings.is_empty() {
        let warnings = warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        answer.insert("warnings".to_owned(), warnings.into());
    }
    answer.into()
}

/// The log of one invocation: each line can be found by request, secret and version.
struct Log {
    request: String,
}

impl Log {
    fn started(&self, event: &Event) {
        tracing::info!(
            request = self.request,
            secret = event.secret,
            version = event.token,
            step = event.step.as_str(),
            "step started"
        );
    }

    fn warnings(&self, event: &Event, warnings: &[Error]) {
        for warning in warnings {
            tracing::warn!(
                request = self.request,
                secret = event.secret,
                version = event.token,
                code = warning.code().as_str(),
                "{warning}"
            );
            metric::count(&metric::name(warning.code()));
        }
    }

    fn done(&self, event: &Event, outcome: &Outcome, time: Duration) {
        let change = outcome.change();
        if let Some(PreviousCredential::NotKept(because)) = change.map(|change| change.previous) {
            tracing::warn!(
                request = self.request,
                secret = event.secret,
                version = event.token,
                because,
                "the previous password could not be kept: it is refused until finishSecret"
            );
            metric::count("PreviousPasswordNotKept");
        }
        if let Err(error) = outcome.retired() {
            tracing::warn!(
                request = self.request,
                secret = event.secret,
                version = event.token,
                code = error.code().as_str(),
                "the rotation succeeded, but the previous password still works: {error}"
            );
            metric::count("PreviousPasswordNotDiscarded");
        }
        tracing::info!(
            request = self.request,
            secret = event.secret,
            version = event.token,
            step = event.step.as_str(),
            outcome = outcome.as_str(),
            changed_as = change.map(|change| change.by),
            previous_credential = change.map(|change| change.previous.as_str()),
            milliseconds = time.as_millis(),
            "step done"
        );
    }

    fn diagnosed(&self, secret: &str, diagnosis: &Diagnosis) {
        tracing::info!(
            request = self.request,
            secret,
            finding = diagnosis.finding().as_str(),
            code = diagnosis.code(),
            "diagnosed"
        );
    }

    fn watched(&self, watched: &Watched) {
        for (secret, late) in &watched.late {
            let next = "invoke this function with {\"Step\": \"diagnose\", \"SecretId\": …} for it";
            tracing::warn!(request = self.request, secret, late = late.as_str(), next, "the secret's rotation is late");
        }
        let (overdue, unfinished) = (watched.count(Late::Overdue), watched.count(Late::Unfinished));
        metric::gauge("SecretsServed", watched.served);
        metric::gauge("SecretsOverdue", overdue);
        metric::gauge("SecretsStuck", unfinished);
        tracing::info!(request = self.request, served = watched.served, overdue, unfinished, "watched");
    }

    fn failure(&self, error: &Error) {
        tracing::error!(
            request = self.request,
            secret = error.fact(Fact::Secret),
            version = error.fact(Fact::Version),
            step = error.fact(Fact::Step),
            code = error.code().as_str(),
            class = error.class().as_str(),
            "{error}"
        );
    }
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.code().as_str().to_owned(), error_message: error.to_string() }
    }
}
