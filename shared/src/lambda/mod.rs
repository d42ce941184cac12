//! The function as Lambda sees it: it takes a payload and answers within the invocation's time.

mod answers;
mod audit;
mod log;
mod metric;
mod questions;
pub mod telemetry;

pub use answers::{Answers, Invocation, answer, measure, notice, record};
pub use metric::Metric;

use crate::aws::SecretsManager;
use crate::aws::logs::Logs;
use crate::clock::{Deadline, since_epoch};
use crate::environment::{self, Environment};
use crate::error::{Code, Error, Fact, Result};
use crate::lambda::audit::Ending;
use crate::lambda::log::{Log, Worked};
use crate::lambda::questions::Asked;
use crate::net::weight::Weight;
use crate::page::{self, View};
use crate::protocol::event::{Ends, Event, Request, Wanted};
use crate::protocol::notes::Notes;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::recover::RecoverReport;
use crate::protocol::retire::RetireReport;
use crate::protocol::target::{Retired, Target};
use crate::protocol::{Outcome, Rotation, StepReport};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::Instrument as _;

/// Kept back from the invocation's deadline, so that the answer is our own error and not "Task timed out". A small, throttled CPU
/// needs this much to drop what is under way, write a log line and post the answer.
const REPLY_MARGIN: Duration = Duration::from_millis(700);

/// How much memory an event may take. Its fields take some thousand bytes.
const HEAVIEST_EVENT: usize = 1 << 20;

/// Runs a rotation function until Lambda ends the process. `function` is the binary's crate name; `target` reads the
/// function's own settings.
pub fn main<T: Target + 'static>(function: &'static str, target: impl FnOnce(&Environment) -> Result<T>) -> ExitCode {
    run(function, serve(target))
}

/// Runs a function's loop until Lambda ends the process.
fn run(function: &'static str, served: impl Future<Output = Result<(), lambda_runtime::Error>>) -> ExitCode {
    telemetry::install(function);
    // Lambda sends one invocation at a time. One thread is enough, and starts faster than several.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return fail("the async runtime could not be started"),
    };
    if !environment::in_lambda() {
        return fail("this is an AWS Lambda function: deploy it with `sam deploy`, or run it locally with `cargo lab`");
    }
    match runtime.block_on(served) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => fail("the Lambda Runtime API could not be reached"),
    }
}

fn fail(why: &'static str) -> ExitCode {
    tracing::error!(why, "cannot run");
    // The line above is JSON on standard output. A person at a terminal reads this one.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{why}\n").as_bytes());
    ExitCode::FAILURE
}

async fn serve<T: Target + 'static>(
    target: impl FnOnce(&Environment) -> Result<T>,
) -> Result<(), lambda_runtime::Error> {
    // A mistake in the configuration is the answer to every invocation, with its code and next action. If the function exited
    // at start, people would see "Runtime.ExitError" instead.
    let configured = Environment::of_process().and_then(|environment| {
        // Replaces the address that the SDK would choose.
        let recovers = environment.flag("ALLOW_RECOVER", false)?;
        let rotates_now = environment.flag("ALLOW_ROTATE_NOW", false)?;
        let retires = environment.flag("ALLOW_RETIRE", false)?;
        let logs = environment.text("AWS_ENDPOINT_URL_CLOUDWATCH_LOGS")?;
        let logs = Logs::new(&environment::log_group(), logs.as_deref());
        let endpoint = environment.service("SECRETS_MANAGER_ENDPOINT")?;
        Ok((target(&environment)?, endpoint, (recovers, rotates_now, retires), logs))
    });
    let function = match configured {
        Ok((target, endpoint, (recovers, rotates_now, retires), logs)) => {
            let store = SecretsManager::from_env(endpoint.as_deref()).await;
            let rotation = Rotation::new(store, target).with_recover(recovers).with_rotate_now(rotates_now);
            let rotation = rotation.with_retire(retires);
            Ok(Arc::new(Function { rotation, logs }))
        }
        Err(error) => Err(error),
    };
    let invoke = async |invocation: LambdaEvent<Box<RawValue>>| invoked(function.clone(), invocation).await;
    lambda_runtime::run(service_fn(invoke)).await
}

/// What every invocation works with.
struct Function<T> {
    rotation: Rotation<SecretsManager, T>,
    logs: Logs,
}

/// Carries out an invocation, and writes its log and metrics.
async fn invoked<T: Target + 'static>(
    function: Result<Arc<Function<T>>>,
    invocation: LambdaEvent<Box<RawValue>>,
) -> Result<Value> {
    let LambdaEvent { payload, context } = invocation;
    let end = Deadline::at_epoch(Duration::from_millis(context.deadline));
    let payload = read(&payload, HEAVIEST_EVENT);
    let asked = payload.as_ref().map_err(Clone::clone).and_then(Request::parse);
    let view = payload.ok().and_then(|payload| View::of_widget(&payload, &context.invoked_function_arn));
    // A step's answer is for the service, whoever sends it.
    let view = view.filter(|_| asked.as_ref().is_ok_and(is_for_people));
    let log = Log::begin(context.request_id, asked.as_ref().ok().cloned(), end.left());
    let worked = match function.and_then(|function| Ok((function, asked?))) {
        Err(error) => Worked::failed(&log, error),
        Ok((function, asked)) => {
            let (arn, its_log) = (context.invoked_function_arn, log.clone());
            let work = async move { work(&function, asked, &arn, &its_log, end.less(REPLY_MARGIN)).await };
            // In a task of its own, a panic comes back as a value, and its text is not printed.
            let worked = tokio::spawn(work).await;
            let panicked = || Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log");
            worked.unwrap_or_else(|_| Worked::failed(&log, panicked()))
        }
    };
    let answer = log.ended(worked);
    match (view, answer) {
        (Some(view), Ok(answer)) if answer.get("markdown").is_none() => Ok(page::page(&answer, &view).into()),
        // The console would show an error of a function without what it says.
        (Some(view), Err(error)) => Ok(page::refusal(&error, &view).into()),
        (_, answer) => answer,
    }
}

/// Whether a widget shows the answer as a page.
fn is_for_people(asked: &Request) -> bool {
    match asked {
        Request::Status(_) | Request::Diagnose { .. } | Request::History { .. } | Request::RotateNow { .. } => true,
        Request::Rotate(_)
        | Request::Recover { .. }
        | Request::Retire { .. }
        | Request::Watch
        | Request::Report
        | Request::Help => false,
    }
}

/// The payload, which may be 6 MB long. It is weighed first: as small objects it would take a hundred times as much memory.
fn read(payload: &RawValue, heaviest: usize) -> Result<Value> {
    let malformed = |found: &str| {
        let error = Error::new(Code::EventMalformed).with(Fact::Field, "(the payload)").with(Fact::Found, found);
        error.with(Fact::Expected, "a JSON object")
    };
    if !Weight::limited_to(heaviest).takes(payload.get().as_bytes()) {
        return Err(malformed("more than any event has"));
    }
    serde_json::from_str(payload.get()).map_err(|_| malformed("JSON that cannot be read"))
}

async fn work<T: Target>(
    Function { rotation, logs }: &Function<T>,
    asked: Request,
    function: &str,
    log: &Log,
    deadline: Deadline,
) -> Worked {
    let throttles = || {
        let own = rotation.store().throttles().saturating_add(logs.throttles());
        own.saturating_add(rotation.target().throttles())
    };
    let question = Asked { rotation, logs, function, log, deadline };
    let plain = |answer| Worked { answer, description: None, measured: log.line() };
    let before = throttles();
    let mut worked = match asked {
        Request::Rotate(event) => rotate(rotation, &event, log, deadline).await,
        Request::Diagnose { secret, version } => {
            let diagnosis = rotation.diagnose_with(&secret, version.as_deref(), deadline).instrument(log.span()).await;
            let answer = diagnosis.map(|diagnosis| {
                log.diagnosed(&secret, &diagnosis);
                diagnosis.to_json()
            });
            Worked { answer, description: None, measured: log.line() }
        }
        Request::Recover { secret } => recover(rotation, &secret, log, deadline).await,
        Request::Retire { secret, version, what } => {
            retire(rotation, (&secret, version.as_deref(), what), log, deadline).await
        }
        Request::Status(wanted) => plain(question.status(wanted, false).instrument(log.span()).await),
        // Cadence and dates are no part of a value.
        Request::Report => plain(question.status(Wanted { values: false }, true).instrument(log.span()).await),
        Request::History { secret } => plain(question.history(&secret).instrument(log.span()).await),
        Request::RotateNow { secret } => plain(question.rotate_now(&secret).instrument(log.span()).await),
        Request::Help => plain(Ok(json!({"markdown": page::HELP}))),
        Request::Watch => {
            let watched = rotation.watch(function, since_epoch(), deadline).instrument(log.span()).await;
            let mut measured = log.line();
            let answer = watched.map(|watched| {
                log.watched(&watched, &mut measured);
                watched.to_json()
            });
            Worked { answer, description: None, measured }
        }
    };
    worked.measured.add_some(Metric::Throttles, throttles().saturating_sub(before).into());
    worked
}

async fn rotate<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    event: &Event,
    log: &Log,
    deadline: Deadline,
) -> Worked {
    log.started();
    let StepReport { outcome, notes } = rotation.run(event, deadline).instrument(log.span()).await;
    let mut measured = log.line();
    notes.measures.put_into(&mut measured);
    log.warnings(&notes.warnings, &mut measured);
    let answer = match outcome {
        Ok(outcome) => {
            log.done(&outcome, &mut measured);
            if let Some(ending) = ending(&outcome) {
                audit::record(&log.request, Some(event), notes.description.as_ref(), ending);
            }
            Ok(described(event, &outcome, &notes))
        }
        Err(error) => Err(error.with_default(Fact::Step, event.step).with_default(Fact::Version, &event.token)),
    };
    Worked { answer, description: notes.description, measured }
}

async fn recover<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    secret: &str,
    log: &Log,
    deadline: Deadline,
) -> Worked {
    let RecoverReport { outcome, notes } = rotation.recover(secret, deadline).instrument(log.span()).await;
    let mut measured = log.line();
    notes.measures.put_into(&mut measured);
    log.warnings(&notes.warnings, &mut measured);
    let answer = outcome.map(|recovery| {
        log.recovered(secret, &recovery, &mut measured);
        audit::recovered(&log.request, secret, notes.description.as_ref(), recovery.action());
        recovery.to_json(&notes.warnings)
    });
    Worked { answer, description: notes.description, measured }
}

async fn retire<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    (secret, version, what): (&str, Option<&str>, Ends),
    log: &Log,
    deadline: Deadline,
) -> Worked {
    let RetireReport { outcome, notes } = rotation.retire(secret, version, what, deadline).instrument(log.span()).await;
    let mut measured = log.line();
    notes.measures.put_into(&mut measured);
    log.warnings(&notes.warnings, &mut measured);
    let answer = outcome.map(|retirement| {
        log.retired(&retirement);
        if retirement.changed() {
            audit::retired(&log.request, secret, what.as_str(), retirement.version(), retirement.as_str());
        }
        retirement.to_json(&notes.warnings)
    });
    Worked { answer, description: notes.description, measured }
}

/// The audit record of a step that succeeded, if it gets one.
fn ending(outcome: &Outcome) -> Option<Ending<'static>> {
    match outcome {
        Outcome::Promoted(_) => Some(Ending::Promoted),
        // An earlier attempt may have been killed between the promotion and its record.
        Outcome::AlreadyPromoted(_) => Some(Ending::FoundCurrent),
        _ => None,
    }
}

/// The answer. Secrets Manager only checks that there is one; people and tests read it.
fn described(event: &Event, outcome: &Outcome, notes: &Notes) -> Value {
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
    if !notes.left_alone.is_empty() {
        answer.insert("leftAlone".to_owned(), notes.left_alone.clone().into());
    }
    if !notes.warnings.is_empty() {
        let warnings = notes.warnings.iter().map(ToString::to_string).collect::<Vec<_>>();
        answer.insert("warnings".to_owned(), warnings.into());
    }
    answer.into()
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.code().as_str().to_owned(), error_message: error.to_string() }
    }
}
