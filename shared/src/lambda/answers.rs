//! A function that rotates nothing itself, and answers questions of its own kind within an invocation's time.

use super::metric::{Line, Metric};
use super::{REPLY_MARGIN, audit, read, run, telemetry};
use crate::clock::{Deadline, since_epoch};
use crate::environment::{Environment, function_name};
use crate::error::{Code, Error, Fact, Result};
use lambda_runtime::{LambdaEvent, service_fn};
use serde_json::Value;
use serde_json::value::RawValue;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How much memory a question may take. A payload has 6 MB at most.
const HEAVIEST: usize = 24 << 20;

/// What is known about an invocation.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Lambda's id of the request.
    pub request: String,
    /// The ARN under which the function was invoked.
    pub function: String,
    /// By when the answer has to be ready.
    pub deadline: Deadline,
}

/// What answers the questions.
pub trait Answers: Send + Sync {
    /// The answer to a payload.
    fn answer(&self, payload: Value, invocation: Invocation) -> impl Future<Output = Result<Value>> + Send;
}

/// Runs such a function until Lambda ends the process. `function` is the binary's crate name; `answers` reads the function's
/// settings. A mistake in the settings is the answer to every invocation.
pub fn answer<A: Answers + 'static>(
    function: &'static str,
    answers: impl FnOnce(&Environment) -> Result<A>,
) -> ExitCode {
    run(function, async {
        let answers = Environment::of_process().and_then(|environment| answers(&environment)).map(Arc::new);
        let invoke = async |invocation: LambdaEvent<Box<RawValue>>| answered(answers.clone(), invocation).await;
        lambda_runtime::run(service_fn(invoke)).await
    })
}

async fn answered<A: Answers + 'static>(
    answers: Result<Arc<A>>,
    invocation: LambdaEvent<Box<RawValue>>,
) -> Result<Value> {
    let LambdaEvent { payload, context } = invocation;
    let end = Deadline::at_epoch(Duration::from_millis(context.deadline)).less(REPLY_MARGIN);
    let request = context.request_id.clone();
    let about = Invocation { request: context.request_id, function: context.invoked_function_arn, deadline: end };
    let answer = async {
        let (answers, payload) = (answers?, read(&payload, HEAVIEST)?);
        // In a task of its own, a panic comes back as a value, and its text is not printed.
        let work = tokio::spawn(async move { answers.answer(payload, about).await });
        let spent = || Error::new(Code::TimeSpent);
        let panicked = || Error::new(Code::Internal).with(Fact::What, "panic; its place is in the log");
        end.limit(work).await.map_err(|_| spent())?.unwrap_or_else(|_| Err(panicked()))
    };
    let answer = answer.await;
    if let Err(error) = &answer {
        let (code, class) = (error.code().as_str(), error.class().as_str());
        tracing::error!(target: "rotation::lambda", request, code, class, "{error}");
    }
    answer
}

/// Writes a line of metrics of this function, which CloudWatch turns into metrics.
pub fn measure(metrics: impl IntoIterator<Item = (Metric, f64)>) {
    let mut line = Line::new(&function_name());
    for (metric, value) in metrics {
        line.put(metric, value);
    }
    line.emit(since_epoch());
}

/// Writes an audit record of `kind`: one line, at every log level.
pub fn record(kind: &'static str, invocation: &Invocation, about: &Value) {
    tracing::info!(target: audit::TARGET, audit = kind, request = invocation.request, about = %about, "audit");
}

/// Writes a line that alarms send people to, at every log level.
pub fn notice(what: &'static str, about: &Value) {
    tracing::warn!(target: telemetry::NOTICE, about = %about, "{what}");
}
