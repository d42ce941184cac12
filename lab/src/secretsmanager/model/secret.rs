//! A secret: its versions, its metadata, its rotation, and how the service describes it.

use std::fmt;

use serde_json::{Map, Value, json};

use super::request::{Tag, check_length, encode_binary};
use super::schedule::RotationRules;
use super::version::{SecretValue, Version, Versions};
use super::{CURRENT, Context, Timestamp};
use crate::secretsmanager::ServiceError;

/// The most tags of a secret (TagResource, API reference).
const MAX_TAGS: usize = 50;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Secret {
    pub(crate) name: String,
    pub(crate) arn: String,
    pub(crate) description: Option<String>,
    pub(crate) kms_key_id: Option<String>,
    pub(crate) tags: Vec<Tag>,
    pub(crate) policy: Option<String>,
    pub(crate) created: Timestamp,
    pub(crate) last_changed: Timestamp,
    pub(crate) last_accessed: Option<Timestamp>,
    /// When a secret that was marked for deletion goes.
    pub(crate) deleted: Option<Timestamp>,
    pub(crate) versions: Versions,
    /// Absent until rotation was configured for the first time.
    pub(crate) rotation: Option<Rotation>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rotation {
    pub(crate) enabled: bool,
    pub(crate) function_arn: String,
    pub(crate) rules: Option<RotationRules>,
    pub(crate) last_rotated: Option<Timestamp>,
    pub(crate) next: Option<Timestamp>,
    pub(crate) run: Option<Run>,
}

/// A rotation in progress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    pub(crate) id: String,
    /// The version that the rotation makes.
    pub(crate) token: String,
    pub(crate) rotation_token: RotationToken,
    pub(crate) test_only: bool,
    /// Set by an operation that interferes with the rotation: no further step is called.
    pub(crate) abandoned: bool,
}

/// What proves to PutSecretValue that the caller is the rotation. Sensitive.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct RotationToken(pub(crate) String);

impl fmt::Debug for RotationToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RotationToken(redacted)")
    }
}

impl Secret {
    /// The run in progress, if any.
    pub(crate) fn run(&self) -> Option<&Run> {
        self.rotation.as_ref()?.run.as_ref()
    }

    pub(crate) fn run_mut(&mut self) -> Option<&mut Run> {
        self.rotation.as_mut()?.run.as_mut()
    }

    /// Ends the run in progress, if any, from outside.
    pub(crate) fn abandon_run(&mut self) {
        if let Some(run) = self.run_mut() {
            run.abandoned = true;
        }
    }

    /// `ARN` and `Name`, the common part of most answers.
    pub(crate) fn reference(&self) -> Map<String, Value> {
        let mut reference = Map::new();
        reference.insert("ARN".into(), json!(self.arn));
        reference.insert("Name".into(), json!(self.name));
        reference
    }

    /// [`Self::reference`] and a version's id.
    pub(crate) fn reference_to(&self, version_id: &str) -> Value {
        let mut reference = self.reference();
        reference.insert("VersionId".into(), json!(version_id));
        Value::Object(reference)
    }

    /// Finds the version that GetSecretValue asks for, marks it as accessed, and answers with its value.
    pub(crate) fn read(
        &mut self,
        version_id: Option<&str>,
        stage: Option<&str>,
        now: Timestamp,
    ) -> Result<Value, ServiceError> {
        let reference = self.reference();
        let version = self.versions.find_value(version_id, stage)?;
        version.last_accessed = Some(now.truncated_to_day());
        self.last_accessed = Some(now.truncated_to_day());
        Ok(version_entry(reference, version))
    }

    /// The answer of DescribeSecret; ListSecrets gives the labels under another key.
    pub(crate) fn describe(&self, stages_key: &str) -> Value {
        let mut entry = self.reference();
        let mut put = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                entry.insert(key.into(), value);
            }
        };
        put("Description", self.description.as_ref().filter(|text| !text.is_empty()).map(|text| json!(text)));
        put("KmsKeyId", self.kms_key_id.as_ref().map(|id| json!(id)));
        put("CreatedDate", Some(self.created.to_json()));
        put("LastChangedDate", Some(self.last_changed.to_json()));
        put("LastAccessedDate", self.last_accessed.map(Timestamp::to_json));
        put("DeletedDate", self.deleted.map(Timestamp::to_json));
        put("Tags", (!self.tags.is_empty()).then(|| tags_json(&self.tags)));
        put(stages_key, self.versions.stages_json());
        if let Some(rotation) = &self.rotation {
            put("RotationEnabled", Some(json!(rotation.enabled)));
            put("RotationLambdaARN", Some(json!(rotation.function_arn)));
            put("RotationRules", rotation.rules.as_ref().map(|rules| rules.to_json(rotation.last_rotated)));
            put("LastRotatedDate", rotation.last_rotated.map(Timestamp::to_json));
            put("NextRotationDate", rotation.next.map(Timestamp::to_json));
        }
        Value::Object(entry)
    }

    /// Adds tags; one with a known key replaces the value.
    pub(crate) fn tag(&mut self, tags: Vec<Tag>) -> Result<(), ServiceError> {
        for tag in tags {
            check_length(&tag.key, "tags.key", 1, 128)?;
            check_length(&tag.value, "tags.value", 0, 256)?;
            if tag.key.to_ascii_lowercase().starts_with("aws:") {
                return Err(ServiceError::invalid_parameter(format!(
                    "The tag key '{}' begins with aws:, which is reserved for AWS.",
                    tag.key
                )));
            }
            match self.tags.iter_mut().find(|known| known.key == tag.key) {
                Some(known) => known.value = tag.value,
                None => self.tags.push(tag),
            }
        }
        if self.tags.len() > MAX_TAGS {
            return Err(ServiceError::invalid_parameter(format!("A secret can have at most {MAX_TAGS} tags.")));
        }
        Ok(())
    }

    /// A secret as CreateSecret makes it, without a version.
    pub(crate) fn new(name: String, arn: String, context: &Context<'_>) -> Self {
        Self {
            name,
            arn,
            description: None,
            kms_key_id: None,
            tags: Vec::new(),
            policy: None,
            created: context.now,
            last_changed: context.now,
            last_accessed: None,
            deleted: None,
            versions: Versions::default(),
            rotation: None,
        }
    }
}

impl Versions {
    /// The version to read: the named one, that under the label, or the current one. It must have a value.
    fn find_value(&mut self, id: Option<&str>, stage: Option<&str>) -> Result<&mut Version, ServiceError> {
        let (found, missing) = match id {
            Some(id) => (self.get_mut(id), ServiceError::no_value_for_version(id)),
            None => {
                let stage = stage.unwrap_or(CURRENT);
                let id = self.holder(stage).map(|version| version.id.clone());
                (id.and_then(|id| self.get_mut(&id)), ServiceError::no_value_for_stage(stage))
            }
        };
        let version = found.filter(|version| version.value.is_some()).ok_or(missing)?;
        if stage.is_some_and(|stage| !version.stages.contains(stage)) {
            return Err(ServiceError::invalid_request(
                "You provided a VersionStage that is not associated to the provided VersionId.",
            ));
        }
        Ok(version)
    }

    /// The labels by version. Deprecated versions are left out, and so is the whole map where there is nothing to show.
    fn stages_json(&self) -> Option<Value> {
        let labelled = self.iter().filter(|version| !version.stages.is_empty());
        let map: Map<_, _> = labelled.map(|version| (version.id.clone(), json!(version.stages))).collect();
        (!map.is_empty()).then_some(Value::Object(map))
    }
}

fn tags_json(tags: &[Tag]) -> Value {
    tags.iter().map(|tag| json!({"Key": tag.key, "Value": tag.value})).collect()
}

/// A value with what belongs to it, as GetSecretValue answers.
fn version_entry(mut reference: Map<String, Value>, version: &Version) -> Value {
    reference.insert("VersionId".into(), json!(version.id));
    match &version.value {
        Some(SecretValue::Text(text)) => reference.insert("SecretString".into(), json!(text)),
        Some(SecretValue::Binary(bytes)) => reference.insert("SecretBinary".into(), json!(encode_binary(bytes))),
        None => None,
    };
    if !version.stages.is_empty() {
        reference.insert("VersionStages".into(), json!(version.stages));
    }
    reference.insert("CreatedDate".into(), version.created.to_json());
    Value::Object(reference)
}
