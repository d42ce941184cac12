//! Issuers of API keys, as a rotation function meets them: over HTTPS, disturbed by the rules of
//! [`disturb`](crate::disturb).
//!
//! * [`Https`]: serves any router, such as the double of a vendor's API
//! * [`Issuer`]: the lab's own issuer, which behaves like a real one

mod https;
mod keys;
mod routes;

pub use https::{Https, Recorded, Stale};

use axum::Router;
use keys::Keys;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// What an [`Issuer`] does to those who use it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// How many keys may exist; no limit unless given.
    pub max_keys: Option<usize>,
    /// For how long a new key is refused, as where an issuer has many servers.
    pub propagation: Duration,
    /// For how long a deleted key goes on working. Until then it is listed as inactive.
    pub revocation_lag: Duration,
    /// How many requests are answered in any second; no limit unless given.
    pub rate_limit: Option<usize>,
    /// How long a reply takes. What was asked for is done before.
    pub latency: Duration,
    /// How many keys a page of the list holds, at least 1.
    pub page_size: usize,
    /// Whether a name can be given only once.
    pub unique_names: bool,
}

impl Default for Options {
    /// No limits, no delays, pages of 100 keys.
    fn default() -> Self {
        Self {
            max_keys: None,
            propagation: Duration::ZERO,
            revocation_lag: Duration::ZERO,
            rate_limit: None,
            latency: Duration::ZERO,
            page_size: 100,
            unique_names: false,
        }
    }
}

/// A key, without its secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Key {
    /// Its identifier.
    pub id: String,
    /// The name it was created with.
    pub name: String,
}

/// A request that was made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Use {
    /// The key; `None` where the secret is no key's and never was.
    pub id: Option<String>,
    /// Whether it was accepted.
    pub accepted: bool,
}

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
        Self(Arc::new(Shared { options, admin_token: format!("labadmin_{}", keys::random(40)), keys }))
    }

    /// Its HTTP API, to be served by [`Https`]: `POST`, `GET` and `DELETE` of `/v1/keys`, and `GET /v1/whoami`.
    pub fn router(&self) -> Router {
        routes::router(self.clone())
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

    fn options(&self) -> &Options {
        &self.0.options
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("options", &self.0.options).finish_non_exhaustive()
    }
}
