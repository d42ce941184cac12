//! Runs a rotation: invokes the function once per step, one step after the other.
//!
//! Source: "Rotation by Lambda function" (user guide): the steps and their order, the event, and when a rotation counts
//! as finished.

use std::time::Instant;

use serde_json::json;

use super::event::{RotationEvent, RotationEventKind, RotationOutcome, Step};
use super::model::{Attempt, AttemptEnd, Start};
use super::{Invocation, Service};

impl Service {
    /// Runs a rotation to its end, with as many retries as the service has been told to make.
    pub(super) async fn drive(self, start: Start) {
        let run = RotationRun { service: &self, start: &start };
        let mut retries_left = self.rotation_retries();
        let (outcome, last_event) = loop {
            match run.attempt().await {
                AttemptResult::Ended(outcome, event) => break (outcome, event),
                AttemptResult::Failed(reason) if retries_left > 0 => {
                    retries_left -= 1;
                    run.emit(RotationEventKind::RotationFailed { reason, will_retry: true });
                }
                AttemptResult::Failed(reason) => {
                    let event = RotationEventKind::RotationFailed { reason: reason.clone(), will_retry: false };
                    break (RotationOutcome::Failed(reason), event);
                }
            }
        };
        self.end_run(&start, outcome, run.event(last_event));
    }
}

struct RotationRun<'a> {
    service: &'a Service,
    start: &'a Start,
}

enum AttemptResult {
    Ended(RotationOutcome, RotationEventKind),
    /// May be retried.
    Failed(String),
}

impl RotationRun<'_> {
    async fn attempt(&self) -> AttemptResult {
        let abandoned = || AttemptResult::Ended(RotationOutcome::Abandoned, RotationEventKind::RotationAbandoned);
        let Some(attempt) = self.service.update(|state, context| state.begin_attempt(self.start, context)) else {
            return abandoned();
        };
        if !attempt.test_only {
            self.emit(RotationEventKind::RotationStarted);
        }
        let steps = self.run_steps(&attempt).await;
        let end = self.service.write(|state, context| state.end_attempt(self.start, steps.is_ok(), context.now));
        match (end, steps.err()) {
            (AttemptEnd::Abandoned, _) => abandoned(),
            (AttemptEnd::Succeeded, _) if attempt.test_only => {
                AttemptResult::Ended(RotationOutcome::Succeeded, RotationEventKind::TestRotationSucceeded)
            }
            (AttemptEnd::Succeeded, _) => {
                AttemptResult::Ended(RotationOutcome::Succeeded, RotationEventKind::RotationSucceeded)
            }
            (AttemptEnd::Failed | AttemptEnd::Unfinished, reason) => {
                let reason = reason.unwrap_or_else(|| {
                    "all steps succeeded, but AWSPENDING is still on another version than AWSCURRENT".into()
                });
                if attempt.test_only {
                    let event = RotationEventKind::TestRotationFailed { reason: reason.clone() };
                    return AttemptResult::Ended(RotationOutcome::Failed(reason), event);
                }
                AttemptResult::Failed(reason)
            }
        }
    }

    /// Invokes the steps in order until one fails or somebody interferes.
    async fn run_steps(&self, attempt: &Attempt) -> Result<(), String> {
        let steps: &[Step] = if attempt.test_only { &[Step::TestSecret] } else { &Step::ALL };
        for step in steps {
            if !self.service.continues(self.start) {
                return Err("the rotation was abandoned".into());
            }
            self.run_step(*step, attempt).await?;
        }
        Ok(())
    }

    async fn run_step(&self, step: Step, attempt: &Attempt) -> Result<(), String> {
        let invoker = self.service.invoker().ok_or("nobody invokes functions")?;
        let event = json!({
            "SecretId": self.start.secret_arn,
            "ClientRequestToken": self.start.token,
            "Step": step.name(),
            "RotationToken": attempt.rotation_token,
        });
        self.emit(RotationEventKind::StepStarted { step });
        let began = Instant::now();
        let invocation = invoker.invoke(&attempt.function_arn, event.to_string().into_bytes()).await;
        let outcome = outcome(&invocation);
        self.emit(RotationEventKind::StepFinished { step, duration: began.elapsed(), outcome: outcome.clone() });
        outcome.map(drop).map_err(|payload| format!("{step} failed: {payload}"))
    }

    fn emit(&self, kind: RotationEventKind) {
        self.service.emit(self.event(kind));
    }

    fn event(&self, kind: RotationEventKind) -> RotationEvent {
        let Start { secret_arn, token, .. } = self.start;
        RotationEvent { secret_arn: secret_arn.clone(), token: token.clone(), kind }
    }
}

fn outcome(invocation: &Invocation) -> Result<String, String> {
    let payload = String::from_utf8_lossy(&invocation.payload).into_owned();
    if invocation.function_error.is_some() { Err(payload) } else { Ok(payload) }
}

#[cfg(test)]
mod tests;
