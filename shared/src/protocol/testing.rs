//! A store for unit tests, which answers the few questions that they ask.

use crate::clock::Deadline;
use crate::error::{Code, Error, Result};
use crate::protocol::schedule::RotatedSecret;
use crate::protocol::store::{
    Description, EncryptionKey, ListedVersion, PutOutcome, SecretStore, Version, VersionSelector,
};
use crate::secret::{RotationToken, SecretText};
use async_trait::async_trait;
use std::sync::Mutex;

/// A store with one version, `old`, and with KMS keys that answer by their names.
pub(crate) struct Store {
    /// What DescribeSecret says.
    pub(crate) described: Result<Description>,
    /// The keys that were asked for.
    pub(crate) keys: Mutex<Vec<String>>,
}

impl Store {
    pub(crate) fn new(described: Result<Description>) -> Self {
        Self { described, keys: Mutex::default() }
    }
}

#[async_trait]
impl SecretStore for Store {
    async fn encryption_key(&self, key: &str, _: Deadline) -> Result<Option<EncryptionKey>> {
        self.keys.lock().unwrap().push(key.to_owned());
        match key.split('-').next().unwrap_or_default() {
            "denied" => Err(Error::new(Code::ServiceDenied)),
            "silent" => Err(Error::new(Code::ServiceUnavailable)),
            state => Ok(Some(EncryptionKey { arn: key.to_owned(), state: state.to_owned(), rotates: Some(false) })),
        }
    }
    async fn describe(&self, _: &str, _: Deadline) -> Result<Description> {
        self.described.clone()
    }
    async fn value(&self, _: &str, _: VersionSelector<'_>, _: Deadline) -> Result<Option<Version>> {
        Ok(Some(Version { id: "old".to_owned(), text: "{}".into(), age: None }))
    }
    async fn versions(&self, _: &str, _: Deadline) -> Result<Vec<ListedVersion>> {
        unreachable!()
    }
    async fn put_pending(
        &self,
        _: &str,
        _: &str,
        _: Option<&RotationToken>,
        _: &SecretText,
        _: Deadline,
    ) -> Result<PutOutcome> {
        unreachable!()
    }
    async fn promote(&self, _: &str, _: &str, _: &str, _: Deadline) -> Result<()> {
        unreachable!()
    }
    async fn mark(&self, _: &str, _: &str, _: &str, _: Option<&str>, _: Deadline) -> Result<()> {
        unreachable!()
    }
    async fn served(&self, _: &str, _: Deadline) -> Result<Vec<RotatedSecret>> {
        unreachable!()
    }
}
