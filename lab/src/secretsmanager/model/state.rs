//! All secrets of one account in one region, and the operations on them.

use serde_json::{Map, Value, json};
use std::sync::Arc;

use super::DEFAULT_KEY;
use super::name::{self, Place};
use super::request::{self, Tag, check_length, check_version_id, required};
use super::secret::Secret;
use super::version::SecretValue;
use super::{CURRENT, Context, Operation, PENDING, Timestamp, password};
use crate::secretsmanager::ServiceError;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct State {
    place: Place,
    /// In the order of their creation. Copies of the state share the secrets that did not change: every call makes a copy.
    pub(super) secrets: Vec<Arc<Secret>>,
}

impl State {
    pub(crate) fn new(region: &str, account_id: &str) -> Self {
        Self { place: Place { region: region.into(), account_id: account_id.into() }, secrets: Vec::new() }
    }

    /// Performs an operation, wholly or, on an error, not at all.
    ///
    /// RotateSecret goes through [`State::rotate`], which says what is to be started.
    pub(crate) fn apply(
        &mut self,
        operation: Operation,
        body: &[u8],
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        let mut next = self.clone();
        next.purge(context.now);
        let reply = next.perform(operation, body, context)?;
        *self = next;
        Ok(reply)
    }

    fn perform(&mut self, operation: Operation, body: &[u8], context: &mut Context<'_>) -> Result<Value, ServiceError> {
        match operation {
            Operation::BatchGetSecretValue => self.batch_get_secret_value(request::parse(operation, body)?, context),
            Operation::CancelRotateSecret => self.cancel_rotate_secret(&request::parse(operation, body)?),
            Operation::CreateSecret => self.create_secret(request::parse(operation, body)?, context),
            Operation::DeleteResourcePolicy => self.delete_resource_policy(&request::parse(operation, body)?),
            Operation::DeleteSecret => self.delete_secret(&request::parse(operation, body)?, context),
            Operation::DescribeSecret => self.describe_secret(&request::parse(operation, body)?),
            Operation::GetRandomPassword => request::parse::<password::Parameters>(operation, body)?.generate(context),
            Operation::GetResourcePolicy => self.get_resource_policy(&request::parse(operation, body)?),
            Operation::GetSecretValue => self.get_secret_value(&request::parse(operation, body)?, context.now),
            Operation::ListSecretVersionIds => self.list_secret_version_ids(&request::parse(operation, body)?),
            Operation::ListSecrets => self.list_secrets(&request::parse(operation, body)?),
            Operation::PutResourcePolicy => self.put_resource_policy(request::parse(operation, body)?),
            Operation::PutSecretValue => self.put_secret_value(request::parse(operation, body)?, context.now),
            Operation::RestoreSecret => self.restore_secret(&request::parse(operation, body)?),
            Operation::RotateSecret => self.rotate(body, &|_| true, context).0,
            Operation::TagResource => self.tag_resource(request::parse(operation, body)?),
            Operation::UntagResource => self.untag_resource(&request::parse(operation, body)?),
            Operation::UpdateSecret => self.update_secret(request::parse(operation, body)?, context.now),
            Operation::UpdateSecretVersionStage => {
                self.update_secret_version_stage(&request::parse(operation, body)?, context.now)
            }
        }
    }

    /// The secret that `id` names, whether marked for deletion or not.
    pub(crate) fn find(&self, id: &str) -> Result<&Secret, ServiceError> {
        let found = self.secrets.iter().find(|secret| name::matches(id, &secret.name, &secret.arn));
        found.map(Arc::as_ref).ok_or_else(ServiceError::no_such_secret)
    }

    pub(super) fn find_mut(&mut self, id: &str) -> Result<&mut Secret, ServiceError> {
        let found = self.secrets.iter_mut().find(|secret| name::matches(id, &secret.name, &secret.arn));
        found.map(Arc::make_mut).ok_or_else(ServiceError::no_such_secret)
    }

    /// Replaces the random end of a secret's ARN.
    pub(crate) fn set_suffix(&mut self, id: &str, suffix: &str) -> Result<(), ServiceError> {
        let secret = self.find_mut(id)?;
        if let Some((start, _)) = secret.arn.rsplit_once('-') {
            secret.arn = format!("{start}-{suffix}");
        }
        Ok(())
    }

    /// Sets a tag whose key callers of the service may not use.
    pub(crate) fn tag_as_aws(&mut self, id: &str, key: &str, value: &str) -> Result<(), ServiceError> {
        let secret = self.find_mut(id)?;
        secret.tags.retain(|tag| tag.key != key);
        secret.tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
        Ok(())
    }

    /// The secret that a request names, where it is not marked for deletion.
    pub(super) fn live(&mut self, id: Option<&String>) -> Result<&mut Secret, ServiceError> {
        let id = required(id, "secretId")?;
        check_length(id, "secretId", 1, 2048)?;
        let secret = self.find_mut(id)?;
        if secret.deleted.is_some() {
            return Err(ServiceError::marked_for_deletion());
        }
        Ok(secret)
    }

    /// Deletes the marked secrets whose recovery window is over.
    pub(super) fn purge(&mut self, now: Timestamp) {
        self.secrets.retain(|secret| secret.deleted.is_none_or(|date| now < date));
    }

    fn create_secret(
        &mut self,
        request: request::CreateSecret,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        let name = required(request.name.as_ref(), "name")?;
        name::check_new_name(name)?;
        if request.add_replica_regions.is_some() || request.r#type.is_some() {
            return Err(ServiceError::invalid_parameter(
                "The lab has one region and no partner secrets: leave out AddReplicaRegions and Type.",
            ));
        }
        let token = request::client_request_token(request.client_request_token)?;
        let value = request::value(request.secret_string, request.secret_binary.as_ref())?;
        if let Ok(existing) = self.find(name) {
            return existing.answer_create_again(&token, value.as_ref());
        }
        let mut secret = Secret::new(name.to_owned(), self.place.arn(name, context), context);
        secret.set_metadata(request.description, request.kms_key_id)?;
        secret.tag(request.tags)?;
        let mut reply = secret.reference();
        if let Some(value) = value {
            secret.versions.put(&token, value, [CURRENT.to_owned()].into(), context.now, &secret.arn)?;
            reply.insert("VersionId".into(), json!(token));
        }
        self.secrets.push(Arc::new(secret));
        Ok(Value::Object(reply))
    }

    fn update_secret(&mut self, request: request::UpdateSecret, now: Timestamp) -> Result<Value, ServiceError> {
        let secret = self.live(request.secret_id.as_ref())?;
        let value = request::value(request.secret_string, request.secret_binary.as_ref())?;
        secret.set_metadata(request.description, request.kms_key_id)?;
        secret.last_changed = now;
        let Some(value) = value else { return Ok(Value::Object(secret.reference())) };
        let token = request::client_request_token(request.client_request_token)?;
        secret.put_value(&token, value, None, now)?;
        Ok(secret.reference_to(&token))
    }

    fn put_secret_value(&mut self, request: request::PutSecretValue, now: Timestamp) -> Result<Value, ServiceError> {
        let secret = self.live(request.secret_id.as_ref())?;
        secret.check_rotation_token(request.rotation_token.as_deref())?;
        let token = request::client_request_token(request.client_request_token)?;
        let stages = request::stages(request.version_stages)?;
        let value = request::value(request.secret_string, request.secret_binary.as_ref())?
            .ok_or_else(|| ServiceError::invalid_request("You must provide either SecretString or SecretBinary."))?;
        secret.put_value(&token, value, stages, now)?;
        let mut reply = secret.reference();
        reply.insert("VersionId".into(), json!(token));
        let stages = secret.versions.get(&token).map(|version| &version.stages);
        if let Some(stages) = stages.filter(|stages| !stages.is_empty()) {
            reply.insert("VersionStages".into(), json!(stages));
        }
        Ok(Value::Object(reply))
    }

    fn get_secret_value(&mut self, request: &request::GetSecretValue, now: Timestamp) -> Result<Value, ServiceError> {
        if let Some(id) = &request.version_id {
            check_version_id(id, "versionId")?;
        }
        let secret = self.live(request.secret_id.as_ref())?;
        secret.read(request.version_id.as_deref(), request.version_stage.as_deref(), now)
    }

    fn update_secret_version_stage(
        &mut self,
        request: &request::UpdateSecretVersionStage,
        now: Timestamp,
    ) -> Result<Value, ServiceError> {
        let stage = required(request.version_stage.as_ref(), "versionStage")?;
        check_length(stage, "versionStage", 1, 256)?;
        let secret = self.live(request.secret_id.as_ref())?;
        let (from, to) = (request.remove_from_version_id.as_deref(), request.move_to_version_id.as_deref());
        secret.versions.update_stage(stage, from, to)?;
        secret.last_changed = now;
        Ok(Value::Object(secret.reference()))
    }

    fn describe_secret(&mut self, request: &request::ById) -> Result<Value, ServiceError> {
        let id = required(request.secret_id.as_ref(), "secretId")?;
        Ok(self.find(id)?.describe("VersionIdsToStages"))
    }

    fn delete_secret(
        &mut self,
        request: &request::DeleteSecret,
        context: &mut Context<'_>,
    ) -> Result<Value, ServiceError> {
        let id = required(request.secret_id.as_ref(), "secretId")?;
        let days = match (request.recovery_window_in_days, request.force_delete_without_recovery) {
            (Some(_), true) => {
                return Err(ServiceError::invalid_parameter(
                    "You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.",
                ));
            }
            (_, true) => 0,
            // The default of DeleteSecret.
            (None, false) => 30,
            (Some(days), false) => {
                u32::try_from(days).ok().filter(|days| (7..=30).contains(days)).ok_or_else(|| {
                    ServiceError::invalid_parameter(
                        "The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).",
                    )
                })?
            }
        };
        let date = context.now.plus_days(days);
        let mut reply = match self.find_mut(id) {
            // "… and include a previously deleted or nonexistent secret, the operation does not return the error."
            Err(_) if days == 0 => self.reference_to_nothing(id, context),
            Err(error) => return Err(error),
            Ok(secret) if secret.deleted.is_some() && days > 0 => {
                return Err(ServiceError::invalid_request(
                    "You tried to perform the operation on a secret that's currently marked deleted.",
                ));
            }
            Ok(secret) => {
                secret.deleted = Some(date);
                secret.abandon_run();
                secret.reference()
            }
        };
        reply.insert("DeletionDate".into(), date.to_json());
        self.purge(context.now);
        Ok(Value::Object(reply))
    }

    /// The reference that a forced deletion of a secret that is not there answers with.
    fn reference_to_nothing(&self, id: &str, context: &mut Context<'_>) -> Map<String, Value> {
        let name = id.rsplit(':').next().unwrap_or(id);
        Secret::new(name.to_owned(), self.place.arn(name, context), context).reference()
    }

    fn restore_secret(&mut self, request: &request::ById) -> Result<Value, ServiceError> {
        let secret = self.find_mut(required(request.secret_id.as_ref(), "secretId")?)?;
        secret.deleted = None;
        Ok(Value::Object(secret.reference()))
    }

    fn tag_resource(&mut self, request: request::TagResource) -> Result<Value, ServiceError> {
        let tags = request.tags.ok_or_else(|| ServiceError::missing("tags"))?;
        self.live(request.secret_id.as_ref())?.tag(tags)?;
        Ok(json!({}))
    }

    fn untag_resource(&mut self, request: &request::UntagResource) -> Result<Value, ServiceError> {
        let keys = request.tag_keys.as_ref().ok_or_else(|| ServiceError::missing("tagKeys"))?;
        self.live(request.secret_id.as_ref())?.tags.retain(|tag| !keys.contains(&tag.key));
        Ok(json!({}))
    }

    fn put_resource_policy(&mut self, request: request::PutResourcePolicy) -> Result<Value, ServiceError> {
        let policy = request.resource_policy.ok_or_else(|| ServiceError::missing("resourcePolicy"))?;
        if !serde_json::from_str::<Value>(&policy).is_ok_and(|policy| policy.is_object()) {
            return Err(ServiceError {
                error_type: "MalformedPolicyDocumentException",
                message: "This resource policy contains invalid JSON.".into(),
            });
        }
        let secret = self.live(request.secret_id.as_ref())?;
        secret.policy = Some(policy);
        Ok(Value::Object(secret.reference()))
    }

    fn get_resource_policy(&mut self, request: &request::ById) -> Result<Value, ServiceError> {
        let secret = self.live(request.secret_id.as_ref())?;
        let mut reply = secret.reference();
        if let Some(policy) = &secret.policy {
            reply.insert("ResourcePolicy".into(), json!(policy));
        }
        Ok(Value::Object(reply))
    }

    fn delete_resource_policy(&mut self, request: &request::ById) -> Result<Value, ServiceError> {
        let secret = self.live(request.secret_id.as_ref())?;
        secret.policy = None;
        Ok(Value::Object(secret.reference()))
    }
}

impl Secret {
    /// CreateSecret for a name that is taken: fine where it repeats the call that took it.
    fn answer_create_again(&self, token: &str, value: Option<&SecretValue>) -> Result<Value, ServiceError> {
        if self.deleted.is_some() {
            // Recorded.
            return Err(ServiceError::invalid_request(
                "You can't create this secret because a secret with this name is already scheduled for deletion.",
            ));
        }
        match self.versions.get(token) {
            Some(version) if version.value.as_ref() == value => Ok(self.reference_to(token)),
            Some(_) => Err(ServiceError::token_in_use(token, &self.arn)),
            // Recorded.
            None => Err(ServiceError::exists(format!(
                "The operation failed because the secret {} already exists.",
                self.name
            ))),
        }
    }

    fn set_metadata(&mut self, description: Option<String>, kms_key_id: Option<String>) -> Result<(), ServiceError> {
        if let Some(description) = description {
            check_length(&description, "description", 0, 2048)?;
            self.description = Some(description);
        }
        if let Some(kms_key_id) = kms_key_id {
            check_length(&kms_key_id, "kmsKeyId", 0, 2048)?;
            let before = self.kms_key_id.replace(kms_key_id);
            self.versions.keep_key(before.as_deref().unwrap_or(DEFAULT_KEY));
        }
        Ok(())
    }

    /// Adds a value under `stages`, AWSCURRENT where there are none. Ends a rotation in progress whose version loses
    /// AWSPENDING by it.
    fn put_value(
        &mut self,
        token: &str,
        value: SecretValue,
        stages: Option<std::collections::BTreeSet<String>>,
        now: Timestamp,
    ) -> Result<(), ServiceError> {
        let stages = stages.unwrap_or_else(|| [CURRENT.to_owned()].into());
        let rotating = self.run().map(|run| run.token.clone());
        let was_pending = rotating.as_ref().is_some_and(|id| self.versions.holds(id, PENDING));
        self.versions.put(token, value, stages, now, &self.arn)?;
        if was_pending && rotating.is_some_and(|id| !self.versions.holds(&id, PENDING)) {
            self.abandon_run();
        }
        self.last_changed = now;
        Ok(())
    }
}
