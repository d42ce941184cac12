//! The questions of people and of dashboards about all secrets, and the rotation that a person asks for.

use crate::aws::SecretsManager;
use crate::aws::logs::Logs;
use crate::clock::{Deadline, since_epoch};
use crate::error::{Code, Error, Fact, Result};
use crate::lambda::audit;
use crate::lambda::log::Log;
use crate::protocol::Rotation;
use crate::protocol::event::Wanted;
use crate::protocol::rotate_now::may_rotate_now;
use crate::protocol::store::SecretStore as _;
use crate::protocol::target::Target;
use serde_json::{Value, json};

/// What answers: the secrets, the function's log, and the function's ARN.
pub(super) struct Asked<'a, T> {
    pub(super) rotation: &'a Rotation<SecretsManager, T>,
    pub(super) logs: &'a Logs,
    pub(super) function: &'a str,
    pub(super) log: &'a Log,
    pub(super) deadline: Deadline,
}

impl<T: Target> Asked<'_, T> {
    pub(super) async fn status(&self, wanted: Wanted, report: bool) -> Result<Value> {
        let activity = self.logs.activity(since_epoch(), self.deadline);
        let status = self.rotation.status(self.function, wanted, activity, self.deadline).await?;
        let (served, late, reads) = status.counts();
        self.log.answered(served, late, reads);
        Ok(if report { status.report() } else { status.to_json() })
    }

    pub(super) async fn history(&self, secret: &str) -> Result<Value> {
        let activity = self.logs.activity(since_epoch(), self.deadline);
        Ok(self.rotation.history(secret, activity, self.deadline).await?.to_json())
    }

    /// Has the service begin a rotation, if the deployer lets people do so.
    pub(super) async fn rotate_now(&self, secret: &str) -> Result<Value> {
        let begun = async {
            if !self.rotation.rotates_now() {
                return Err(Error::new(Code::RotateNowOff));
            }
            let description = self.rotation.store().describe(secret, self.deadline).await?;
            may_rotate_now(&description, self.function)?;
            let arn = description.arn.unwrap_or_else(|| secret.to_owned());
            let version = self.rotation.store().rotate(&arn, self.deadline).await?;
            audit::requested(&self.log.request, &arn, &version);
            Ok(json!({"step": "rotateNow", "secret": arn, "version": version, "outcome": "requested"}))
        };
        begun.await.map_err(|error: Error| error.with_default(Fact::Secret, secret))
    }
}
