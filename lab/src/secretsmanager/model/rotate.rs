//! RotateSecret and CancelRotateSecret, and the record of a rotation in progress. Who invokes the function is
//! elsewhere; here is what each outcome does to the labels.

use serde::Deserialize;
use serde_json::{Value, json};

use super::request::{self, check_length, check_version_id};
use super::schedule::RotationRules;
use super::secret::{Rotation, RotationToken, Run, Secret};
use super::{CURRENT, Context, Operation, PENDING, State, Timestamp};
use crate::secretsmanager::ServiceError;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RotateSecret {
    secret_id: Option<String>,
    client_request_token: Option<String>,
    #[serde(rename = "RotationLambdaARN")]
    rotation_lambda_arn: Option<String>,
    rotation_rules: Option<RotationRules>,
    rotate_immediately: Option<bool>,
}

/// A rotation that is to be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Start {
    pub(crate) secret_arn: String,
    pub(crate) token: String,
    /// Tells this run from another one of the same token.
    pub(crate) run_id: String,
}

/// What one attempt at a rotation needs.
pub(crate) struct Attempt {
    pub(crate) function_arn: String,
    pub(crate) rotation_token: String,
    pub(crate) test_only: bool,
}

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AttemptEnd {
    Succeeded,
    Failed,
    /// All steps succeeded, but AWSPENDING is on another version than AWSCURRENT.
    Unfinished,
    Abandoned,
}

impl State {
    /// RotateSecret: the answer, and what is to be run. An unfinished earlier rotation is run again although the answer
    /// is an error. `knows` tells whether there is a function with an ARN.
    pub(crate) fn rotate(
        &mut self,
        body: &[u8],
        knows: &dyn Fn(&str) -> bool,
        context: &mut Context<'_>,
    ) -> (Result<Value, ServiceError>, Option<Start>) {
        let mut next = self.clone();
        next.purge(context.now);
        let mut start = None;
        let reply = next.try_rotate(body, knows, context, &mut start);
        if reply.is_ok() || start.is_some() {
            *self = next;
        }
        (reply, start)
    }

    fn try_rotate(
        &mut self,
        body: &[u8],
        knows: &dyn Fn(&str) -> bool,
        context: &mut Context<'_>,
        start: &mut Option<Start>,
    ) -> Result<Value, ServiceError> {
        let request: RotateSecret = request::parse(Operation::RotateSecret, body)?;
        let secret = self.live(request.secret_id.as_ref())?;
        // Recorded: this operation reports it as a parameter, the others as a request.
        let token =
            request.client_request_token.ok_or_else(|| ServiceError::invalid_parameter(request::MISSING_TOKEN))?;
        check_version_id(&token, "clientRequestToken")?;
        let function_arn = secret.function_to_use(request.rotation_lambda_arn)?;
        if let Some(rules) = &request.rotation_rules {
            rules.check()?;
        }
        if !knows(&function_arn) {
            return Err(ServiceError::cannot_invoke());
        }
        let running = secret.run().filter(|run| !run.abandoned);
        if running.is_some_and(|run| run.token == token) {
            return Ok(secret.reference_to(&token));
        }
        let running = running.is_some();
        if let Some(pending) = secret.unfinished() {
            if !running {
                *start = secret.begin(&pending, false, context);
            }
            return Err(ServiceError::previous_rotation_incomplete());
        }
        if running {
            // Its function is done, the service is not: the label is about to be cleaned up.
            return Err(ServiceError::previous_rotation_incomplete());
        }
        let already_there = secret.versions.get(&token).is_some();
        secret.configure(function_arn, request.rotation_rules, context.now);
        if !already_there {
            secret.versions.register_pending(&token, context.now);
            *start = secret.begin(&token, !request.rotate_immediately.unwrap_or(true), context);
        }
        Ok(secret.reference_to(&token))
    }

    /// Configures rotation without a version to test it with.
    pub(crate) fn attach(
        &mut self,
        id: &str,
        function_arn: &str,
        rules: &Value,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let unreadable = |error: serde_json::Error| ServiceError::invalid_parameter(error.to_string());
        let rules: RotationRules = serde_json::from_value(rules.clone()).map_err(unreadable)?;
        rules.check()?;
        self.find_mut(id)?.configure(function_arn.to_owned(), Some(rules), now);
        Ok(())
    }

    pub(super) fn cancel_rotate_secret(&mut self, request: &request::ById) -> Result<Value, ServiceError> {
        let secret = self.live(request.secret_id.as_ref())?;
        let pending = secret.versions.holder(PENDING).map(|version| version.id.clone());
        let Some(rotation) = &mut secret.rotation else {
            // CancelRotateSecret, InvalidRequestException (API reference).
            return Err(ServiceError::invalid_request(
                "You tried to enable rotation on a secret that doesn't already have a Lambda function ARN configured \
                 and you didn't include such an ARN as a parameter in this call.",
            ));
        };
        rotation.enabled = false;
        rotation.next = None;
        secret.abandon_run();
        let mut reply = secret.reference();
        if let Some(pending) = pending {
            reply.insert("VersionId".into(), json!(pending));
        }
        Ok(Value::Object(reply))
    }

    /// Begins an attempt with a fresh rotation token; none where the rotation was abandoned.
    pub(crate) fn begin_attempt(&mut self, start: &Start, context: &mut Context<'_>) -> Option<Attempt> {
        let rotation_token = context.uuid();
        let secret = self.find_mut(&start.secret_arn).ok()?;
        let rotation = secret.rotation.as_mut()?;
        let run = rotation.run.as_mut().filter(|run| run.id == start.run_id && !run.abandoned)?;
        run.rotation_token = RotationToken(rotation_token.clone());
        Some(Attempt { function_arn: rotation.function_arn.clone(), rotation_token, test_only: run.test_only })
    }

    /// Whether the rotation is undisturbed.
    pub(crate) fn continues(&self, start: &Start) -> bool {
        let run = self.find(&start.secret_arn).ok().and_then(Secret::run);
        run.is_some_and(|run| run.id == start.run_id && !run.abandoned)
    }

    /// Judges an attempt. A failure leaves AWSPENDING where it is, a success takes it away: the service "cleans up the
    /// AWSPENDING label". The version that a test ran against goes altogether.
    pub(crate) fn end_attempt(&mut self, start: &Start, steps_succeeded: bool, now: Timestamp) -> AttemptEnd {
        let abandoned = !self.continues(start);
        let Ok(secret) = self.find_mut(&start.secret_arn) else { return AttemptEnd::Abandoned };
        let test_only = secret.run().is_some_and(|run| run.id == start.run_id && run.test_only);
        if test_only && secret.versions.get(&start.token).is_some_and(|version| version.value.is_none()) {
            secret.versions.remove(&start.token);
        }
        match (abandoned, steps_succeeded) {
            (true, _) => AttemptEnd::Abandoned,
            (false, false) => AttemptEnd::Failed,
            (false, true) if test_only => AttemptEnd::Succeeded,
            (false, true) if secret.unfinished().is_some() => AttemptEnd::Unfinished,
            (false, true) => {
                secret.versions.strip(PENDING);
                if let Some(rotation) = &mut secret.rotation {
                    rotation.last_rotated = Some(now);
                    rotation.next = rotation.rules.as_ref().and_then(|rules| rules.next(now));
                }
                secret.last_changed = now;
                AttemptEnd::Succeeded
            }
        }
    }

    /// Forgets a rotation that no longer runs.
    pub(crate) fn end_run(&mut self, start: &Start) {
        let rotation = self.find_mut(&start.secret_arn).ok().and_then(|secret| secret.rotation.as_mut());
        if let Some(rotation) = rotation {
            rotation.run.take_if(|run| run.id == start.run_id);
        }
    }

    /// The rotation token of the run in progress.
    pub(crate) fn rotation_token(&self, start: &Start) -> Option<String> {
        let run = self.find(&start.secret_arn).ok()?.run()?;
        (run.id == start.run_id).then(|| run.rotation_token.0.clone())
    }
}

impl Secret {
    /// Refuses a rotation token that is not that of the run in progress. AWS says only that it "validates the identity
    /// with the rotation token" (PutSecretValue); that a wrong one is an access denied is our reading.
    pub(super) fn check_rotation_token(&self, token: Option<&str>) -> Result<(), ServiceError> {
        let Some(token) = token else { return Ok(()) };
        if self.run().is_some_and(|run| run.rotation_token.0 == token) {
            return Ok(());
        }
        Err(ServiceError::access_denied(
            "The RotationToken isn't that of a rotation in progress for this secret. Pass on the RotationToken of the \
             event unchanged.",
        ))
    }

    /// The version under AWSPENDING, where it is not also the current one.
    fn unfinished(&self) -> Option<String> {
        let pending = self.versions.holder(PENDING)?;
        (!pending.stages.contains(CURRENT)).then(|| pending.id.clone())
    }

    fn function_to_use(&self, requested: Option<String>) -> Result<String, ServiceError> {
        let stored = || self.rotation.as_ref().map(|rotation| rotation.function_arn.clone());
        let function = requested.filter(|arn| !arn.is_empty()).or_else(stored).ok_or_else(|| {
            // Recorded.
            ServiceError::invalid_request("No Lambda rotation function ARN is associated with this secret.")
        })?;
        check_length(&function, "rotationLambdaARN", 0, 2048)?;
        Ok(function)
    }

    fn configure(&mut self, function_arn: String, rules: Option<RotationRules>, now: Timestamp) {
        let earlier = self.rotation.take();
        let last_rotated = earlier.as_ref().and_then(|rotation| rotation.last_rotated);
        let rules = rules.or_else(|| earlier.and_then(|rotation| rotation.rules));
        let next = rules.as_ref().and_then(|rules| rules.next(now));
        self.rotation = Some(Rotation { enabled: true, function_arn, rules, last_rotated, next, run: None });
        self.last_changed = now;
    }

    /// Records a run; none where rotation is not turned on.
    fn begin(&mut self, token: &str, test_only: bool, context: &mut Context<'_>) -> Option<Start> {
        let rotation = self.rotation.as_mut().filter(|rotation| rotation.enabled)?;
        let run_id = context.uuid();
        rotation.run = Some(Run {
            id: run_id.clone(),
            token: token.to_owned(),
            rotation_token: RotationToken(context.uuid()),
            test_only,
            abandoned: false,
        });
        Some(Start { secret_arn: self.arn.clone(), token: token.to_owned(), run_id })
    }
}
