//! The function as Lambda sees it: from a payload to an answer, within the invocation's time.

mod audit;
mod metric;
pub mod telemetry;

use crate::aws::SecretsManager;
use crate::clock::{Deadline, Stopwatch, since_epoch};
use crate::environment::{self, Environment};
use crate::error::{Code, Error, Fact, Result};
use crate::lambda::audit::Ending;
use crate::lambda::metric::{Line, Metric};
use crate::protocol::diagnose::Diagnosis;
use crate::protocol::event::{Event, Request, Step};
use crate::protocol::notes::Measures;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::schedule::Late;
use crate::protocol::store::Description;
use crate::protocol::target::{Retired, Target};
use crate::protocol::watch::Watched;
use crate::protocol::{Outcome, Rotation, StepReport};
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use serde_json::{Map, Value};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tracing::{Instrument as _, Span};

/// Kept back from the invocation's deadline, so that the last word is our own error and not "Task timed out": enough to
/// drop what is under way, write a log line and post the answer on a small, throttled CPU.
const REPLY_MARGIN: Duration = Duration::from_millis(700);

/// Runs a rotation function until Lambda ends the process. `function` is the binary's crate name; `target` reads the
/// function's own settings.
pub fn main<T: Target + 'static>(function: &'static str, target: impl FnOnce(&Environment) -> Result<T>) -> ExitCode {
    telemetry::install(function);
    // One invocation at a time: one thread is enough, and starts faster than several.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(_) => return fail("the async runtime could not be started"),
    };
    if !environment::in_lambda() {
        return fail("this is an AWS Lambda function: deploy it with `sam deploy`, or run it locally with `cargo lab`");
    }
    match runtime.block_on(serve(target)) {
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
    target: impl FnOnce(&Environment) -> Result<T>,
) -> Result<(), lambda_runtime::Error> {
    // A mistake in the configuration is the answer to every invocation, with its code and next action: a function that
    // exits at start would show people "Runtime.ExitError" instead.
    let configured = Environment::of_process().and_then(|environment| {
        // Where Secrets Manager is, if not at the SDK's own choice.
        Ok((target(&environment)?, environment.service("SECRETS_MANAGER_ENDPOINT")?))
    });
    let rotation = match configured {
        Ok((target, endpoint)) => {
            Ok(Arc::new(Rotation::new(SecretsManager::from_env(endpoint.as_deref()).await, target)))
        }
        Err(error) => Err(error),
    };
    lambda_runtime::run(service_fn(async |invocation: LambdaEvent<Value>| invoked(rotation.clone(), invocation).await))
        .await
}

/// Carries out an invocation, and says in the log and in metrics what became of it.
async fn invoked<T: Target + 'static>(
    rotation: Result<Arc<Rotation<SecretsManager, T>>>,
    invocation: LambdaEvent<Value>,
) -> Result<Value> {
    let LambdaEvent { payload, context } = invocation;
    let end = Deadline::at_epoch(Duration::from_millis(context.deadline));
    let asked = Request::parse(&payload);
    let log = Log::begin(context.request_id, asked.as_ref().ok().cloned(), end.left());
    let worked = match rotation.and_then(|rotation| Ok((rotation, asked?))) {
        Err(error) => Worked::failed(&log, error),
        Ok((rotation, asked)) => {
            let (function, its_log) = (context.invoked_function_arn, log.clone());
            let work = async move { work(&rotation, asked, &function, &its_log, end.less(REPLY_MARGIN)).await };
            // A task of its own, so that a panic comes back as a value whose text nobody prints.
            let worked = tokio::spawn(work).await;
            let panicked = || Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log");
            worked.unwrap_or_else(|_| Worked::failed(&log, panicked()))
        }
    };
    log.ended(worked)
}

/// What became of an invocation's work.
struct Worked {
    answer: Result<Value>,
    /// The labels and dates that the work began with, if they could be read.
    description: Option<Description>,
    measured: Line,
}

impl Worked {
    fn failed(log: &Log, error: Error) -> Self {
        Self { answer: Err(error), description: None, measured: log.line() }
    }
}

async fn work<T: Target>(
    rotation: &Rotation<SecretsManager, T>,
    asked: Request,
    function: &str,
    log: &Log,
    deadline: Deadline,
) -> Worked {
    let throttles = || rotation.store().throttles().saturating_add(rotation.target().throttles());
    let before = throttles();
    let mut worked = match asked {
        Request::Rotate(event) => rotate(rotation, &event, log, deadline).await,
        Request::Diagnose { secret } => {
            let diagnosis = rotation.diagnose(&secret, deadline).instrument(log.span()).await;
            let answer = diagnosis.map(|diagnosis| {
                log.diagnosed(&secret, &diagnosis);
                diagnosis.to_json()
            });
            Worked { answer, description: None, measured: log.line() }
        }
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
            if let Some(ending) = ending(event, &outcome) {
                audit::record(&log.request, Some(event), notes.description.as_ref(), ending);
            }
            Ok(described(event, &outcome, &notes.warnings))
        }
        Err(error) => Err(error.with_default(Fact::Step, event.step).with_default(Fact::Version, &event.token)),
    };
    Worked { answer, description: notes.description, measured }
}

/// What a step that succeeded means for the record of rotations.
fn ending(event: &Event, outcome: &Outcome) -> Option<Ending<'static>> {
    match outcome {
        Outcome::Promoted(_) => Some(Ending::Promoted),
        // An attempt may have been killed between the promotion and its record.
        Outcome::AlreadyCurrent if event.step == Step::Finish => Some(Ending::FoundCurrent),
        _ => None,
    }
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

/// The log and the metrics of one invocation: each line can be found by request, secret and version.
#[derive(Clone)]
struct Log {
    request: String,
    /// `None` for what could not be read.
    about: Option<Request>,
    since: Stopwatch,
    /// The time that the invocation was given.
    given: Duration,
}

impl Log {
    fn begin(request: String, about: Option<Request>, given: Duration) -> Self {
        Self { request, about, since: Stopwatch::start(), given }
    }

    fn event(&self) -> Option<&Event> {
        match &self.about {
            Some(Request::Rotate(event)) => Some(event),
            _ => None,
        }
    }

    fn secret(&self) -> Option<&str> {
        match self.about.as_ref()? {
            Request::Rotate(Event { secret, .. }) | Request::Diagnose { secret } => Some(secret),
            Request::Watch => None,
        }
    }

    fn version(&self) -> Option<&str> {
        self.event().map(|event| event.token.as_str())
    }

    fn step(&self) -> Option<&'static str> {
        Some(match self.about.as_ref()? {
            Request::Rotate(event) => event.step.as_str(),
            Request::Diagnose { .. } => "diagnose",
            Request::Watch => "watch",
        })
    }

    /// For what others print meanwhile. Always enabled: it is a place, not a line.
    fn span(&self) -> Span {
        let (request, secret, version, step) = (&self.request, self.secret(), self.version(), self.step());
        tracing::error_span!("invocation", request, secret, version, step)
    }

    /// A line of metrics with what it can be found by.
    fn line(&self) -> Line {
        let mut line = Line::new(&environment::function_name());
        if let Some(step) = self.step() {
            line.step(step);
        }
        line.property("request", Some(&self.request));
        line.property("secret", self.secret());
        line.property("version", self.version());
        line
    }

    fn started(&self) {
        tracing::info!(
            request = self.request,
            secret = self.secret(),
            version = self.version(),
            step = self.step(),
            "step started"
        );
    }

    fn warnings(&self, warnings: &[Error], measured: &mut Line) {
        for warning in warnings {
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret = self.secret(),
                version = self.version(),
                step = self.step(),
                code = warning.code().as_str(),
                "{warning}"
            );
            measured.add(Metric::of_warning(warning.code()), 1);
        }
    }

    fn done(&self, outcome: &Outcome, measured: &mut Line) {
        let change = outcome.change();
        if let Some(PreviousCredential::NotKept(because)) = change.map(|change| change.previous) {
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret = self.secret(),
                version = self.version(),
                step = self.step(),
                because,
                "the previous password could not be kept: it is refused until finishSecret"
            );
            measured.add(Metric::PreviousPasswordNotKept, 1);
        }
        if let Err(error) = outcome.retired() {
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret = self.secret(),
                version = self.version(),
                step = self.step(),
                code = error.code().as_str(),
                "the rotation succeeded, but the previous credential was not ended: {error}"
            );
            measured.add(Metric::PreviousNotEnded, 1);
        }
        match outcome {
            Outcome::Proposed => measured.add(Metric::RotationsStarted, 1),
            Outcome::Promoted(_) => measured.add(Metric::RotationsSucceeded, 1),
            _ => {}
        }
        tracing::info!(
            request = self.request,
            secret = self.secret(),
            version = self.version(),
            step = self.step(),
            outcome = outcome.as_str(),
            changed_as = change.map(|change| change.by),
            previous_credential = change.map(|change| change.previous.as_str()),
            milliseconds = self.since.elapsed().as_millis(),
            "step done"
        );
    }

    fn diagnosed(&self, secret: &str, diagnosis: &Diagnosis) {
        tracing::info!(
            request = self.request,
            secret,
            step = self.step(),
            finding = diagnosis.finding().as_str(),
            code = diagnosis.code(),
            "diagnosed"
        );
    }

    fn watched(&self, watched: &Watched, measured: &mut Line) {
        for (secret, late) in &watched.late {
            let next = "invoke this function with {\"Step\": \"diagnose\", \"SecretId\": …} for it";
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret,
                step = self.step(),
                late = late.as_str(),
                next,
                "the secret's rotation is late"
            );
        }
        let (overdue, unfinished) = (watched.count(Late::Overdue), watched.count(Late::Unfinished));
        measured.put(Metric::SecretsServed, watched.served);
        measured.put(Metric::SecretsOverdue, overdue);
        measured.put(Metric::SecretsStuck, unfinished);
        tracing::info!(
            request = self.request,
            step = self.step(),
            served = watched.served,
            overdue,
            unfinished,
            "watched"
        );
    }

    fn failure(&self, error: &Error) {
        tracing::error!(
            request = self.request,
            secret = self.secret().or(error.fact(Fact::Secret)),
            version = self.version().or(error.fact(Fact::Version)),
            step = self.step().or(error.fact(Fact::Step)),
            code = error.code().as_str(),
            class = error.class().as_str(),
            "{error}"
        );
    }

    /// The last of it: a failure, its record, and the metrics.
    fn ended(&self, worked: Worked) -> Result<Value> {
        let Worked { answer, description, mut measured } = worked;
        if let Err(error) = &answer {
            self.failure(error);
            // A question that could not be answered is no rotation that failed.
            if !matches!(self.about, Some(Request::Diagnose { .. } | Request::Watch)) {
                audit::record(&self.request, self.event(), description.as_ref(), Ending::Failed(error));
            }
        }
        // What people do by hand, and may do wrong, is not for alarms.
        if matches!(self.about, Some(Request::Rotate(_) | Request::Watch)) {
            self.measure(answer.as_ref().err(), &mut measured);
        }
        measured.emit(since_epoch());
        answer
    }

    fn measure(&self, failure: Option<&Error>, measured: &mut Line) {
        match failure {
            None => measured.add(Metric::StepsSucceeded, 1),
            Some(error) => {
                measured.property("code", Some(error.code().as_str()));
                measured.class(error.class());
                measured.add(Metric::StepsFailed, 1);
            }
        }
        let time = self.since.elapsed();
        measured.put(Metric::StepDuration, milliseconds(time));
        measured.put(Metric::StepTimeUsed, percent(time, self.given));
    }
}

impl Measures {
    fn put_into(&self, line: &mut Line) {
        line.add_some(Metric::RefusedLogins, self.refused_logins.into());
        line.add_some(Metric::Throttles, self.throttles.into());
        if let Some(journal) = self.journal {
            line.put(Metric::JournalDepth, journal.depth);
            if let Some(overdue) = journal.overdue {
                line.put(Metric::JournalOverdue, overdue);
            }
        }
        if let Some(age) = self.credential_age {
            line.put(Metric::CredentialAge, age.as_secs());
        }
        if let Some(downtime) = self.downtime {
            line.put(Metric::DowntimeWindow, milliseconds(downtime));
        }
    }
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// With one decimal place. All of no time at all.
fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 100.0;
    }
    (part.as_secs_f64() / whole.as_secs_f64() * 1000.0).round() / 10.0
}

impl From<Error> for Diagnostic {
    fn from(error: Error) -> Self {
        Self { error_type: error.code().as_str().to_owned(), error_message: error.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::telemetry::tests::printed;
    use serde_json::json;
    use tracing::level_filters::LevelFilter;

    fn log(request: &Value) -> Log {
        Log::begin("r".to_owned(), Request::parse(request).ok(), Duration::from_secs(30))
    }

    /// The metrics that alarms look at tell how many, and send people to the log to see which.
    #[test]
    fn what_an_alarm_is_about_is_named_at_every_log_level() {
        for level in [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO] {
            let watch = log(&json!({"Step": "watch"}));
            let late = vec![("one".to_owned(), Late::Overdue), ("other".to_owned(), Late::Unfinished)];
            let lines = printed(level, || watch.watched(&Watched { served: 2, late }, &mut watch.line()));
            let late: Vec<_> = lines.iter().filter(|line| line["level"] == "WARN").collect();
            let named: Vec<_> = late.iter().map(|line| (line["secret"].as_str(), line["late"].as_str())).collect();
            assert_eq!(named, [(Some("one"), Some("overdue")), (Some("other"), Some("unfinished"))], "{level}");

            let step = log(&json!({"Step": "finishSecret", "SecretId": "s", "ClientRequestToken": "v"}));
            let warning = Error::new(Code::KeyNotRevoked).with(Fact::KeyId, "key-1");
            let lines = printed(level, || step.warnings(&[warning], &mut step.line()));
            assert_eq!(lines.len(), 1, "{level}");
            assert_eq!((&lines[0]["code"], &lines[0]["secret"]), (&json!("key-not-revoked"), &json!("s")));
            assert!(lines[0]["message"].as_str().unwrap().contains("key-1"), "{lines:?}");

            let outcome = Outcome::Promoted(Err(Error::new(Code::ConnectionLost)));
            let lines = printed(level, || step.done(&outcome, &mut step.line()));
            assert!(lines.iter().any(|line| line["code"] == "connection-lost"), "{level}: {lines:?}");
        }
    }

    /// Asking for finishSecret of the version that is current promotes nothing.
    #[test]
    fn only_what_moved_the_label_is_a_promotion() {
        for step in ["createSecret", "setSecret", "testSecret", "finishSecret"] {
            let event = Event::parse(&json!({"SecretId": "s", "ClientRequestToken": "v", "Step": step})).unwrap();
            let found = ending(&event, &Outcome::AlreadyCurrent);
            assert_eq!(matches!(found, Some(Ending::FoundCurrent)), step == "finishSecret", "{step}");
            assert_eq!(found.is_some(), step == "finishSecret", "{step}");
        }
    }

    #[test]
    fn the_share_of_the_time_is_a_percentage() {
        let second = Duration::from_secs(1);
        for (part, whole, expected) in [
            (second, 30 * second, 3.3),
            (30 * second, 30 * second, 100.0),
            (Duration::ZERO, second, 0.0),
            (second, Duration::ZERO, 100.0),
        ] {
            assert!((percent(part, whole) - expected).abs() < 0.01, "{part:?} of {whole:?}");
        }
    }
}
