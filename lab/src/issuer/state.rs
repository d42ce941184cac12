//! The lab's own issuer, without its HTTP API.

use super::keys::{Key, Keys, Options, Use, random};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// How the function is told to talk to the lab's issuer.
pub const DESCRIPTION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/issuers/lab.yaml");

/// An issuer of API keys. Clones share their state.
///
/// ```no_run
/// # async fn example(lab: lab::Lab) -> std::io::Result<()> {
/// use lab::issuer::{Https, Issuer, Options};
///
/// let issuer = Issuer::new(Options { max_keys: Some(3), ..Options::default() });
/// let server = Https::start(issuer.router(), lab.disturb().clone())?;
/// let (id, secret) = issuer.mint("made by hand");
/// // Let the function rotate it at server.url(), with issuer.admin_token().
/// assert!(issuer.works(&secret), "{id} is in its grace period");
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Issuer(Arc<Shared>);

struct Shared {
    options: Options,
    admin_token: String,
    keys: Mutex<Keys>,
}

impl Issuer {
    /// An issuer without keys.
    pub fn new(options: Options) -> Self {
        let keys = Mutex::new(Keys::new(options.clone()));
        Self(Arc::new(Shared { options, admin_token: format!("labadmin_{}", random(40)), keys }))
    }

    /// The bearer token that may make, list and delete keys. Keep it out of anything that is printed.
    pub fn admin_token(&self) -> &str {
        &self.0.admin_token
    }

    /// Makes a key by hand, which works at once and whatever the limits; returns its id and its secret.
    pub fn mint(&self, name: &str) -> (String, String) {
        let entry = self.keys().mint(name, Instant::now());
        (entry.id, entry.secret)
    }

    /// The keys that work or will: new ones even before they have spread, deleted ones until they are refused. Oldest
    /// first.
    pub fn live(&self) -> Vec<Key> {
        self.keys().live(Instant::now())
    }

    /// Whether a key would be accepted now. Asking does not count as a [use](Self::uses).
    pub fn works(&self, secret: &str) -> bool {
        self.keys().identify(secret, false, Instant::now()).is_some()
    }

    /// How many keys were ever created over HTTP.
    pub fn created(&self) -> usize {
        self.keys().created
    }

    /// The ids of the keys that were deleted, in that order.
    pub fn revoked(&self) -> Vec<String> {
        self.keys().revoked.clone()
    }

    /// What was asked with a key, in order.
    pub fn uses(&self) -> Vec<Use> {
        self.keys().uses.clone()
    }

    /// Grants a key something by hand; false if there is none of that id.
    pub fn grant(&self, id: &str, scope: &str) -> bool {
        self.keys().grant(id, scope)
    }

    /// What a key may do, in order.
    pub fn grants(&self, id: &str) -> Vec<String> {
        self.keys().grants(id)
    }

    /// Gives a key another secret, `secret` or a random one. The one that it had ends. Returns the new one.
    pub(crate) fn renew(&self, id: &str, secret: Option<String>) -> Option<String> {
        self.keys().renew(id, secret)
    }

    /// Deletes a key by hand; false if there is none of that id any more.
    pub(crate) fn delete(&self, id: &str) -> bool {
        self.keys().delete(id, Instant::now())
    }

    /// The key that a secret works for, or did a moment ago.
    pub(crate) fn identify(&self, secret: &str, stale: bool) -> Option<Key> {
        self.keys().identify(secret, stale, Instant::now())
    }

    /// The keys that work or will, each with its secret. Keep it out of anything that is printed.
    pub(crate) fn secrets(&self) -> Vec<(Key, String)> {
        self.keys().secrets(Instant::now())
    }

    /// How many changes of keys there were.
    pub(crate) fn changes(&self) -> u64 {
        self.keys().changes
    }

    pub(super) fn options(&self) -> &Options {
        &self.0.options
    }

    pub(super) fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("options", &self.0.options).finish_non_exhaustive()
    }
}
