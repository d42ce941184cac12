//! The labels of a secret's versions.

use std::collections::{BTreeMap, BTreeSet};

/// The labels of a secret's versions, and which versions have a value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels {
    pub(super) of: BTreeMap<String, BTreeSet<String>>,
    pub(super) filled: BTreeSet<String>,
}

impl Labels {
    pub(super) fn holder(&self, label: &str) -> Option<&str> {
        self.of.iter().find(|(_, labels)| labels.contains(label)).map(|(id, _)| id.as_str())
    }
}
