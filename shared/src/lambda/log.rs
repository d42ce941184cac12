//! What an invocation leaves behind: log lines, metrics and the record of rotations.

use crate::clock::{Stopwatch, since_epoch};
use crate::environment;
use crate::error::{Class, Code, Error, Fact, Result};
use crate::lambda::audit::{self, Ending};
use crate::lambda::metric::{Line, Metric};
use crate::lambda::telemetry;
use crate::protocol::Outcome;
use crate::protocol::diagnose::Diagnosis;
use crate::protocol::event::{Event, Request};
use crate::protocol::notes::Measures;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::recover::{Action, Recovery};
use crate::protocol::retire::Retirement;
use crate::protocol::schedule::Late;
use crate::protocol::store::Description;
use crate::protocol::watch::{Renewals, Watched};
use serde_json::Value;
use std::time::Duration;
use tracing::Span;

/// The log target of these lines. It does not depend on where this file is.
const TARGET: &str = concat!(env!("CARGO_CRATE_NAME"), "::lambda");

/// A line that names the request, the secret, the version and the step.
macro_rules! line {
    ($log:ident, $level:ident, $target:expr, $($field:tt)*) => {
        tracing::$level!(
            target: $target, request = $log.request, secret = $log.secret(), version = $log.version(), step = $log.step(),
            $($field)*
        )
    };
}

/// The result of an invocation's work.
pub(super) struct Worked {
    pub(super) answer: Result<Value>,
    /// The labels and dates that the work began with, if they could be read.
    pub(super) description: Option<Description>,
    pub(super) measured: Line,
}

impl Worked {
    pub(super) fn failed(log: &Log, error: Error) -> Self {
        Self { answer: Err(error), description: None, measured: log.line() }
    }
}

/// The log and the metrics of one invocation. Each line names the request, the secret and the version.
#[derive(Clone)]
pub(super) struct Log {
    pub(super) request: String,
    /// `None` if the payload could not be read.
    about: Option<Request>,
    since: Stopwatch,
    /// The time that the invocation was given.
    given: Duration,
}

impl Log {
    pub(super) fn begin(request: String, about: Option<Request>, given: Duration) -> Self {
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
            Request::Rotate(Event { secret, .. })
            | Request::Diagnose { secret, .. }
            | Request::Recover { secret }
            | Request::History { secret }
            | Request::Retire { secret, .. }
            | Request::RotateNow { secret } => Some(secret),
            Request::Watch | Request::Status(_) | Request::Report | Request::Help => None,
        }
    }

    fn version(&self) -> Option<&str> {
        self.event().map(|event| event.token.as_str())
    }

    fn step(&self) -> Option<&'static str> {
        Some(match self.about.as_ref()? {
            Request::Rotate(event) => event.step.as_str(),
            Request::Diagnose { .. } => "diagnose",
            Request::Recover { .. } => "recover",
            Request::Watch => "watch",
            Request::Status(_) => "status",
            Request::Report => "report",
            Request::History { .. } => "history",
            Request::RotateNow { .. } => "rotateNow",
            Request::Retire { what, .. } => what.as_str(),
            Request::Help => "describe",
        })
    }

    /// The span for lines that other crates print meanwhile. It is enabled at every level, as it prints nothing itself.
    pub(super) fn span(&self) -> Span {
        let (request, secret, version, step) = (&self.request, self.secret(), self.version(), self.step());
        tracing::error_span!(target: TARGET, "invocation", request, secret, version, step)
    }

    /// A line of metrics that names the request, the secret and the version.
    pub(super) fn line(&self) -> Line {
        let mut line = Line::new(&environment::function_name());
        if let Some(step) = self.step() {
            line.step(step);
        }
        line.property("request", Some(&self.request));
        line.property("secret", self.secret());
        line.property("version", self.version());
        line
    }

    pub(super) fn started(&self) {
        line!(self, info, TARGET, "step started");
    }

    pub(super) fn warnings(&self, warnings: &[Error], measured: &mut Line) {
        for warning in warnings {
            line!(self, warn, telemetry::NOTICE, code = warning.code().as_str(), "{warning}");
            measured.add(Metric::of_warning(warning.code()), 1);
        }
    }

    pub(super) fn done(&self, outcome: &Outcome, measured: &mut Line) {
        let change = outcome.change();
        if let Some(PreviousCredential::NotKept(because)) = change.map(|change| change.previous) {
            line!(
                self,
                warn,
                telemetry::NOTICE,
                because,
                "the previous password could not be kept: it is refused until finishSecret"
            );
            measured.add(Metric::PreviousPasswordNotKept, 1);
        }
        if let Err(error) = outcome.retired() {
            line!(
                self,
                warn,
                telemetry::NOTICE,
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
        line!(
            self,
            info,
            TARGET,
            outcome = outcome.as_str(),
            changed_as = change.map(|change| change.by),
            previous_credential = change.map(|change| change.previous.as_str()),
            milliseconds = self.since.elapsed().as_millis(),
            "step done"
        );
    }

    pub(super) fn diagnosed(&self, secret: &str, diagnosis: &Diagnosis) {
        tracing::info!(
            target: TARGET,
            request = self.request,
            secret,
            step = self.step(),
            finding = diagnosis.finding().as_str(),
            code = diagnosis.code(),
            "diagnosed"
        );
    }

    pub(super) fn recovered(&self, secret: &str, recovery: &Recovery, measured: &mut Line) {
        let action = recovery.action();
        if let Err(error) = action.retired() {
            measured.add(Metric::PreviousNotEnded, 1);
            let code = error.code().as_str();
            line!(self, warn, telemetry::NOTICE, code, "the previous credential was not ended: {error}");
        }
        if matches!(action, Action::Finished { .. }) && action.moved() {
            measured.add(Metric::RotationsSucceeded, 1);
        }
        tracing::info!(
            target: TARGET,
            request = self.request,
            secret,
            version = action.version(),
            step = self.step(),
            finding = recovery.finding().as_str(),
            outcome = action.as_str(),
            "recovered"
        );
    }

    pub(super) fn retired(&self, retirement: &Retirement) {
        tracing::info!(
            target: TARGET,
            request = self.request,
            secret = self.secret(),
            version = retirement.version(),
            step = self.step(),
            outcome = retirement.as_str(),
            "retired"
        );
    }

    pub(super) fn watched(&self, watched: &Watched, measured: &mut Line) {
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
        for noticed in &watched.noticed {
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret = noticed.fact(Fact::Secret),
                step = self.step(),
                code = noticed.code().as_str(),
                "{noticed}"
            );
            measured.add(Metric::of_warning(noticed.code()), 1);
            measured.add_some(Metric::PermanentFailures, u64::from(rings(noticed.code())));
        }
        let (overdue, unfinished) = (watched.count(Late::Overdue), watched.count(Late::Unfinished));
        measured.put(Metric::SecretsServed, watched.served);
        measured.put(Metric::SecretsOverdue, overdue);
        measured.put(Metric::SecretsStuck, unfinished);
        if let Some(renewals) = &watched.renewals {
            self.renewed(renewals, measured);
        }
        tracing::info!(
            target: TARGET,
            request = self.request,
            step = self.step(),
            served = watched.served,
            overdue,
            unfinished,
            "watched"
        );
    }

    /// A question was answered from what the service, the log and the values say.
    pub(super) fn answered(&self, served: usize, late: usize, reads: usize) {
        line!(self, info, TARGET, served, late, reads, "answered");
    }

    fn renewed(&self, renewals: &Renewals, measured: &mut Line) {
        let Renewals { days_left, expiring, begun, troubles } = renewals;
        for secret in expiring {
            let next = "invoke this function with {\"Step\": \"diagnose\", \"SecretId\": …} for it";
            tracing::warn!(
                target: telemetry::NOTICE,
                request = self.request,
                secret,
                step = self.step(),
                next,
                "the secret's certificate expires soon"
            );
        }
        for secret in begun {
            tracing::info!(target: TARGET, request = self.request, secret, step = self.step(), "a renewal has begun");
        }
        self.warnings(troubles, measured);
        if let Some(days) = days_left {
            measured.put(Metric::CertificateDaysLeft, *days);
        }
        measured.put(Metric::CertificatesExpiring, expiring.len());
    }

    fn failure(&self, error: &Error) {
        tracing::error!(
            target: TARGET,
            request = self.request,
            secret = self.secret().or(error.fact(Fact::Secret)),
            version = self.version().or(error.fact(Fact::Version)),
            step = self.step().or(error.fact(Fact::Step)),
            code = error.code().as_str(),
            class = error.class().as_str(),
            "{error}"
        );
    }

    /// Ends the invocation's log: the failure if there is one, its audit record, and the metrics.
    pub(super) fn ended(&self, worked: Worked) -> Result<Value> {
        let Worked { answer, description, mut measured } = worked;
        if let Err(error) = &answer {
            self.failure(error);
            // A question without an answer, or a recovery that is refused, is not a failed rotation.
            if matches!(self.about, None | Some(Request::Rotate(_))) {
                audit::record(&self.request, self.event(), description.as_ref(), Ending::Failed(error));
            }
        }
        // A diagnosis or a recovery by hand must not raise an alarm.
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
                measured.add_some(Metric::PermanentFailures, u64::from(error.class() == Class::Permanent));
            }
        }
        let time = self.since.elapsed();
        measured.put(Metric::StepDuration, milliseconds(time));
        measured.put(Metric::StepTimeUsed, percent(time, self.given));
    }
}

impl Measures {
    pub(super) fn put_into(&self, line: &mut Line) {
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

/// The share in percent, with one decimal place. Of no time at all it is 100.
fn percent(part: Duration, whole: Duration) -> f64 {
    if whole.is_zero() {
        return 100.0;
    }
    (part.as_secs_f64() / whole.as_secs_f64() * 1000.0).round() / 10.0
}

/// Whether the alarm for permanent failures rings for a notice of the daily look: somebody can sign tokens who should not, verifiers do not
/// know a key, a secret is about to be lost, or nobody knows, because there was no time to look.
fn rings(code: Code) -> bool {
    matches!(code, Code::PublishedSetChanged | Code::ServedSetDiffers | Code::KmsKeyPendingDeletion | Code::TimeSpent)
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
            let lines =
                printed(level, || watch.watched(&Watched { served: 2, late, ..Watched::default() }, &mut watch.line()));
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

    #[test]
    fn a_notice_that_cannot_wait_rings_the_alarm() {
        for (code, rings) in [(Code::PublishedSetChanged, true), (Code::TimeSpent, true), (Code::KmsRotationOff, false)]
        {
            let watch = log(&json!({"Step": "watch"}));
            let mut line = watch.line();
            let noticed = vec![Error::new(code).with(Fact::Secret, "one")];
            let printed = printed(LevelFilter::WARN, || {
                watch.watched(&Watched { served: 1, noticed, ..Watched::default() }, &mut line);
            });
            assert_eq!((&printed[0]["code"], &printed[0]["secret"]), (&json!(code.as_str()), &json!("one")));
            let metrics = line.document(Duration::ZERO).unwrap();
            assert_eq!(metrics.get("PermanentFailures").is_some(), rings, "{metrics}");
            assert_eq!(metrics["OtherWarnings"], 1);
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
