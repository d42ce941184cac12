//! What a secret's value says about itself: whose credential it is, and how it rotates. A version's value never changes, so each
//! version is read once in a process.

use crate::error::name;
use crate::protocol::schedule::RotatedSecret;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whose credential a secret holds, and how it rotates. Nothing here is secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Portrait {
    /// The user, or the id of the key. `None` if the value names none.
    pub user: Option<String>,
    /// How it rotates, in a few words.
    pub strategy: String,
    /// What the credential opens: host and port, or an issuer.
    pub opens: String,
}

impl Portrait {
    /// A portrait. Texts that do not look like names are not kept: people store passwords in the wrong field.
    pub fn new(user: Option<&str>, strategy: &str, opens: &str) -> Self {
        Self { user: user.map(|user| name(user).to_owned()), strategy: strategy.to_owned(), opens: opens.to_owned() }
    }
}

/// What was read of the current version of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The version.
    pub version: String,
    /// When it was made, as the time since the Unix epoch.
    pub created: Option<Duration>,
    /// What it says about itself; else why it cannot be read, as an error's code.
    pub portrait: Result<Portrait, &'static str>,
}

/// What was seen of the secrets that this function rotates, by their ARNs.
#[derive(Debug, Default)]
pub(crate) struct Album(Mutex<HashMap<String, Seen>>);

impl Album {
    /// What is known of a secret's current version.
    pub(crate) fn of(&self, secret: &RotatedSecret) -> Option<Seen> {
        let current = secret.current_version()?;
        self.all().get(&secret.arn).filter(|seen| seen.version == current).cloned()
    }

    pub(crate) fn keep(&self, arn: &str, seen: Seen) {
        self.all().insert(arn.to_owned(), seen);
    }

    /// Forgets all other secrets, so that what is gone does not pile up.
    pub(crate) fn keep_only(&self, secrets: &[RotatedSecret]) {
        let kept: std::collections::HashSet<&str> = secrets.iter().map(|secret| secret.arn.as_str()).collect();
        self.all().retain(|arn, _| kept.contains(arn.as_str()));
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
