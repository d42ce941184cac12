//! Versions and their staging labels: the rules that decide which value a client reads.
//!
//! Sources: PutSecretValue and UpdateSecretVersionStage in the API reference, "Secrets Manager quotas" in the user
//! guide, and public recordings of the live service where the pages are silent.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::{CURRENT, PENDING, PREVIOUS, Timestamp};
use crate::secretsmanager::ServiceError;

/// The most staging labels over all versions of a secret (user guide, "Secrets Manager quotas").
const MAX_LABELS: usize = 20;
/// Unlabelled versions are pruned where a secret has more versions than this …
const KEPT_VERSIONS: usize = 100;
/// … and never in their first day (both: PutSecretValue, API reference).
const YOUNG_DAYS: u32 = 1;

/// What a version holds.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum SecretValue {
    Text(String),
    Binary(Vec<u8>),
}

impl SecretValue {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text(redacted)",
            Self::Binary(_) => "Binary(redacted)",
        })
    }
}

/// A version of a secret. Its value never changes once it is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    pub(crate) id: String,
    /// Absent from the moment a rotation registers the version until PutSecretValue fills it.
    pub(crate) value: Option<SecretValue>,
    /// Sorted, as the service lists them.
    pub(crate) stages: BTreeSet<String>,
    pub(crate) created: Timestamp,
    pub(crate) last_accessed: Option<Timestamp>,
    /// The KMS key that it is under, if that is not the secret's any more.
    pub(crate) old_key: Option<String>,
}

/// The versions of one secret, oldest first. A label is on one version at most. Copies share the versions that did not change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Versions(Vec<Arc<Version>>);

impl Versions {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Version> {
        self.0.iter().map(Arc::as_ref)
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Version> {
        self.iter().find(|version| version.id == id)
    }

    pub(crate) fn get_mut(&mut self, id: &str) -> Option<&mut Version> {
        self.0.iter_mut().find(|version| version.id == id).map(Arc::make_mut)
    }

    /// The version that holds `stage`.
    pub(crate) fn holder(&self, stage: &str) -> Option<&Version> {
        self.iter().find(|version| version.stages.contains(stage))
    }

    /// Whether `id` holds `stage`.
    pub(crate) fn holds(&self, id: &str, stage: &str) -> bool {
        self.get(id).is_some_and(|version| version.stages.contains(stage))
    }

    /// PutSecretValue: gives `value` to the version `id`, which it creates or finds without a value, and attaches
    /// `stages` to it.
    ///
    /// The same value for a version that has it already succeeds and changes nothing.
    ///
    /// # Errors
    /// Where the version has another value, or the secret would carry too many labels.
    pub(crate) fn put(
        &mut self,
        id: &str,
        value: SecretValue,
        mut stages: BTreeSet<String>,
        now: Timestamp,
        arn: &str,
    ) -> Result<(), ServiceError> {
        if self.0.is_empty() {
            // "If this operation creates the first version for the secret, then Secrets Manager automatically
            // attaches the staging label AWSCURRENT to it."
            stages.insert(CURRENT.to_owned());
        }
        match self.get_mut(id) {
            Some(Version { value: Some(existing), .. }) if *existing == value => return Ok(()),
            Some(Version { value: Some(_), .. }) => return Err(ServiceError::token_in_use(id, arn)),
            Some(placeholder) => {
                placeholder.value = Some(value);
                placeholder.created = now;
            }
            None => self.create(id, Some(value), now),
        }
        if stages.contains(CURRENT) && !stages.contains(PENDING) {
            // Writing a new current value by hand ends a rotation: recorded, the label AWSPENDING is gone afterwards.
            self.strip(PENDING);
        }
        for stage in stages.iter().filter(|stage| *stage != CURRENT) {
            self.attach(stage, id);
        }
        // Last, so that AWSPREVIOUS ends where AWSCURRENT was even if the caller asked for it elsewhere.
        if stages.contains(CURRENT) {
            self.attach(CURRENT, id);
        }
        self.check_label_count()?;
        self.prune(now);
        Ok(())
    }

    /// UpdateSecret with another KMS key: versions without one of AWS's labels stay under the one that they had.
    pub(crate) fn keep_key(&mut self, key: &str) {
        let stays =
            |version: &Version| ![CURRENT, PENDING, PREVIOUS].iter().any(|label| version.stages.contains(*label));
        for version in &mut self.0 {
            if stays(version) && version.old_key.is_none() {
                Arc::make_mut(version).old_key = Some(key.to_owned());
            }
        }
    }

    /// Registers a version without a value under AWSPENDING, as RotateSecret does.
    pub(crate) fn register_pending(&mut self, id: &str, now: Timestamp) {
        if self.get(id).is_none() {
            self.create(id, None, now);
        }
        self.attach(PENDING, id);
    }

    /// UpdateSecretVersionStage: moves `stage` from one version to another.
    ///
    /// # Errors
    /// Where `remove_from` is not the version that holds the label, where it is missing although another version holds
    /// it, where AWSCURRENT would end up on no version, or where a version does not exist.
    pub(crate) fn update_stage(
        &mut self,
        stage: &str,
        remove_from: Option<&str>,
        move_to: Option<&str>,
    ) -> Result<(), ServiceError> {
        for id in [remove_from, move_to].into_iter().flatten() {
            self.get(id).ok_or_else(|| ServiceError::no_value_for_version(id))?;
        }
        let holder = self.holder(stage).map(|version| version.id.clone());
        match (remove_from, move_to, holder.as_deref()) {
            (Some(from), _, holder) if holder != Some(from) => {
                return Err(ServiceError::invalid_parameter(format!(
                    "The staging label {stage} isn't attached to version {from}: {}",
                    holder.map_or_else(
                        || "it isn't attached to any version.".to_owned(),
                        |holder| format!("it is attached to version {holder}.")
                    )
                )));
            }
            (None, Some(to), Some(holder)) if holder != to => {
                // Recorded.
                return Err(ServiceError::invalid_parameter(format!(
                    "The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to \
                     version {holder}, so you must explicitly reference that version in RemoveFromVersionId."
                )));
            }
            (None, None, _) => {
                return Err(ServiceError::invalid_parameter(
                    "You must specify RemoveFromVersionId, MoveToVersionId, or both.",
                ));
            }
            (_, None, _) if stage == CURRENT => {
                // Recorded.
                return Err(ServiceError::invalid_parameter(
                    "You can only move staging label AWSCURRENT to a different secret version. It can't be completely \
                     removed.",
                ));
            }
            (_, Some(to), _) => self.attach(stage, to),
            (Some(_), None, _) => self.strip(stage),
        }
        self.check_label_count()
    }

    /// Takes `stage` away from the version that holds it.
    pub(crate) fn strip(&mut self, stage: &str) {
        for version in self.0.iter_mut().filter(|version| version.stages.contains(stage)) {
            Arc::make_mut(version).stages.remove(stage);
        }
    }

    /// Forgets a version altogether.
    pub(crate) fn remove(&mut self, id: &str) {
        self.0.retain(|version| version.id != id);
    }

    fn create(&mut self, id: &str, value: Option<SecretValue>, now: Timestamp) {
        let (id, stages) = (id.to_owned(), BTreeSet::new());
        self.0.push(Arc::new(Version { id, value, stages, created: now, last_accessed: None, old_key: None }));
    }

    /// Puts `stage` on `id`, away from where it was. "Whenever you move AWSCURRENT, Secrets Manager automatically moves
    /// the label AWSPREVIOUS to the version that AWSCURRENT was removed from."
    fn attach(&mut self, stage: &str, id: &str) {
        let holder = self.holder(stage).map(|version| version.id.clone());
        if holder.as_deref() == Some(id) {
            return;
        }
        self.strip(stage);
        if let Some(version) = self.get_mut(id) {
            version.stages.insert(stage.to_owned());
        }
        if stage == CURRENT
            && let Some(demoted) = holder
        {
            self.attach(PREVIOUS, &demoted);
        }
    }

    fn check_label_count(&self) -> Result<(), ServiceError> {
        let labels: usize = self.0.iter().map(|version| version.stages.len()).sum();
        if labels > MAX_LABELS {
            return Err(ServiceError::limit_exceeded(format!(
                "The secret's versions would have {labels} staging labels. The quota is {MAX_LABELS}."
            )));
        }
        Ok(())
    }

    /// Drops the oldest deprecated versions beyond the kept number, none of them younger than a day.
    fn prune(&mut self, now: Timestamp) {
        let mut excess = self.0.len().saturating_sub(KEPT_VERSIONS);
        self.0.retain(|version| {
            let old = version.created.plus_days(YOUNG_DAYS) <= now;
            let drop = excess > 0 && version.stages.is_empty() && old;
            excess -= usize::from(drop);
            !drop
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn put(versions: &mut Versions, id: &str, stages: &[&str]) -> Result<(), ServiceError> {
        let stages = stages.iter().map(|stage| (*stage).to_owned()).collect();
        versions.put(id, SecretValue::Text(format!("value of {id}")), stages, NOW, "arn")
    }

    fn labels(versions: &Versions, id: &str) -> Vec<String> {
        versions.get(id).unwrap().stages.iter().cloned().collect()
    }

    #[test]
    fn the_first_version_is_current_whatever_was_asked() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &["mine"]).unwrap();
        assert_eq!(labels(&versions, "a"), [CURRENT, "mine"]);
    }

    #[test]
    fn moving_current_moves_previous_and_keeps_custom_labels() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        put(&mut versions, "b", &[CURRENT, "mine"]).unwrap();
        put(&mut versions, "c", &[PENDING]).unwrap();
        versions.update_stage(CURRENT, Some("b"), Some("c")).unwrap();
        assert_eq!(labels(&versions, "a"), [""; 0]);
        assert_eq!(labels(&versions, "b"), [PREVIOUS, "mine"]);
        assert_eq!(labels(&versions, "c"), [CURRENT, PENDING]);
    }

    #[test]
    fn moving_current_back_swaps_the_two_labels() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        put(&mut versions, "b", &[CURRENT]).unwrap();
        versions.update_stage(CURRENT, Some("b"), Some("a")).unwrap();
        assert_eq!(labels(&versions, "a"), [CURRENT]);
        assert_eq!(labels(&versions, "b"), [PREVIOUS]);
    }

    #[test]
    fn a_manual_put_takes_the_pending_label_away() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        versions.register_pending("b", NOW);
        put(&mut versions, "c", &[CURRENT]).unwrap();
        assert!(versions.holder(PENDING).is_none());
        assert_eq!(labels(&versions, "a"), [PREVIOUS]);
    }

    #[test]
    fn a_label_moves_to_the_version_put_last() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        put(&mut versions, "b", &["one", "two", "three"]).unwrap();
        put(&mut versions, "c", &["one", "two", "four"]).unwrap();
        assert_eq!(labels(&versions, "b"), ["three"]);
        assert_eq!(labels(&versions, "c"), ["four", "one", "two"]);
    }

    #[test]
    fn a_value_never_changes() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        put(&mut versions, "b", &[CURRENT]).unwrap();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        assert_eq!(labels(&versions, "a"), [PREVIOUS], "the repeated call does nothing");
        let other = versions.put("a", SecretValue::Text("other".into()), BTreeSet::new(), NOW, "arn");
        assert_eq!(other.unwrap_err().error_type, "ResourceExistsException");
        let binary = versions.put("a", SecretValue::Binary(b"value of a".to_vec()), BTreeSet::new(), NOW, "arn");
        assert_eq!(binary.unwrap_err().error_type, "ResourceExistsException");
    }

    #[test]
    fn a_placeholder_takes_its_value_and_keeps_its_label() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        versions.register_pending("b", NOW);
        assert!(versions.get("b").unwrap().value.is_none());
        put(&mut versions, "b", &[PENDING]).unwrap();
        assert!(versions.get("b").unwrap().value.is_some());
        assert_eq!(labels(&versions, "b"), [PENDING]);
    }

    #[test]
    fn remove_from_must_name_the_holder() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        put(&mut versions, "b", &[PENDING]).unwrap();
        let mut refused = |from, to| {
            let error = versions.update_stage(CURRENT, from, to).unwrap_err();
            (error.error_type, error.message)
        };
        let (kind, message) = refused(None, Some("b"));
        assert_eq!(kind, "InvalidParameterException");
        assert_eq!(
            message,
            "The parameter RemoveFromVersionId can't be empty. Staging label AWSCURRENT is currently attached to \
             version a, so you must explicitly reference that version in RemoveFromVersionId."
        );
        assert_eq!(refused(Some("b"), Some("b")).0, "InvalidParameterException");
        assert_eq!(refused(Some("a"), None).0, "InvalidParameterException");
        assert_eq!(refused(None, None).0, "InvalidParameterException");
        assert_eq!(refused(Some("a"), Some("nowhere")).0, "ResourceNotFoundException");
        assert_eq!(labels(&versions, "a"), [CURRENT], "a refusal changes nothing");
    }

    #[test]
    fn a_label_that_is_nowhere_is_attached_without_remove_from() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        versions.update_stage("mine", None, Some("a")).unwrap();
        versions.update_stage("mine", None, Some("a")).unwrap();
        assert_eq!(labels(&versions, "a"), [CURRENT, "mine"]);
        versions.update_stage("mine", Some("a"), None).unwrap();
        assert_eq!(labels(&versions, "a"), [CURRENT]);
    }

    #[test]
    fn twenty_labels_and_no_more() {
        let mut versions = Versions::default();
        put(&mut versions, "a", &[CURRENT]).unwrap();
        for n in 1..20 {
            versions.update_stage(&format!("label{n}"), None, Some("a")).unwrap();
        }
        let error = versions.update_stage("label20", None, Some("a")).unwrap_err();
        assert_eq!(error.error_type, "LimitExceededException");
    }

    #[test]
    fn only_old_deprecated_versions_are_pruned() {
        let mut versions = Versions::default();
        for n in 0..150 {
            put(&mut versions, &format!("v{n}"), &[CURRENT]).unwrap();
        }
        assert_eq!(versions.iter().count(), 150, "none is a day old");
        let later = NOW.plus_days(2);
        versions.put("last", SecretValue::Text("x".into()), [CURRENT.to_owned()].into(), later, "arn").unwrap();
        assert_eq!(versions.iter().count(), 100);
        assert!(versions.get("v149").is_some() && versions.get("v0").is_none());
    }

    #[test]
    fn debug_hides_the_value() {
        let text = format!("{:?} {:?}", SecretValue::Text("hunter2".into()), SecretValue::Binary(b"hunter2".to_vec()));
        assert!(!text.contains("hunter2") && !text.contains("104"), "{text}");
    }
}
