//! Watches rotations from where they are carried out: one record per invocation that is a rotation step.

use super::{Host, Outcome, StepError};
use crate::secretsmanager::{Invocation, Invoker};
use serde::Deserialize;
use serde_json::Value;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::broadcast;

/// One of the four steps, carried out.
#[derive(Clone, Debug)]
pub struct StepReport {
    /// The step's name, e.g. `createSecret`.
    pub step: String,
    /// The secret, as the service named it to the function.
    pub secret_id: String,
    /// The version that the step was about.
    pub token: String,
    /// When the service invoked the function.
    pub began: Instant,
    /// When the service had the answer.
    pub ended: Instant,
    /// What the function answered.
    pub outcome: Outcome,
}

impl StepReport {
    /// The JSON that the function answered with, or its error.
    ///
    /// # Errors
    /// The step failed.
    pub fn result(&self) -> Result<Value, StepError> {
        self.outcome.result()
    }

    /// How long the step took the caller, a cold start included.
    pub fn duration(&self) -> Duration {
        self.outcome.duration + self.outcome.init_duration.unwrap_or_default()
    }
}

/// What a watcher sees.
#[derive(Clone, Debug)]
pub enum StepEvent {
    /// The service has invoked the function for this step.
    Started {
        /// The step's name.
        step: String,
        /// The secret, as the service named it to the function.
        secret_id: String,
    },
    /// The step is over.
    Ended(Box<StepReport>),
}

/// A [`Host`] whose rotation steps are recorded. Cheap to clone.
#[derive(Clone)]
pub struct Steps {
    host: Host,
    events: broadcast::Sender<StepEvent>,
    reports: Arc<Mutex<Vec<StepReport>>>,
}

impl Steps {
    /// Records what is invoked through it on `host`.
    pub fn new(host: Host) -> Self {
        // Four steps make eight events; a watcher that falls behind by many rotations is not watching.
        Self { host, events: broadcast::channel(256).0, reports: Arc::default() }
    }

    /// Follows the steps from now on.
    pub fn watch(&self) -> broadcast::Receiver<StepEvent> {
        self.events.subscribe()
    }

    /// The steps of the rotation to version `token`, in the order in which they ended.
    pub fn of(&self, token: &str) -> Vec<StepReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.iter().filter(|report| report.token == token).cloned().collect()
    }

    fn tell(&self, event: StepEvent) {
        // Nobody has to watch.
        let _ = self.events.send(event);
    }

    fn record(&self, event: Event, began: Instant, outcome: Outcome) {
        let Event { secret_id, client_request_token: token, step } = event;
        let report = StepReport { step, secret_id, token, began, ended: Instant::now(), outcome };
        self.reports.lock().unwrap_or_else(PoisonError::into_inner).push(report.clone());
        self.tell(StepEvent::Ended(Box::new(report)));
    }
}

/// The event that Secrets Manager sends. `RotationToken` is not read: it must not end up in a record.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Event {
    secret_id: String,
    client_request_token: String,
    step: String,
}

impl Invoker for Steps {
    fn invoke<'a>(
        &'a self,
        function_arn: &'a str,
        payload: Vec<u8>,
    ) -> Pin<Box<dyn Future<Output = Invocation> + Send + 'a>> {
        Box::pin(async move {
            let Ok(event) = serde_json::from_slice::<Event>(&payload) else {
                return Invoker::invoke(&self.host, function_arn, payload).await;
            };
            self.tell(StepEvent::Started { step: event.step.clone(), secret_id: event.secret_id.clone() });
            let began = Instant::now();
            match self.host.invoke(function_arn, payload).await {
                Ok(outcome) => {
                    let answer =
                        Invocation { payload: outcome.payload.clone(), function_error: outcome.function_error.clone() };
                    self.record(event, began, outcome);
                    answer
                }
                Err(unknown) => unknown.into(),
            }
        })
    }

    fn knows(&self, function_arn: &str) -> bool {
        Invoker::knows(&self.host, function_arn)
    }
}
