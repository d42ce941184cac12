//! What an application decides about its secret.

use super::health::Update;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The settings of a secret. [`Builder`](crate::Builder) says what each one does.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) refresh_every: Duration,
    pub(crate) serve_stale_for: Duration,
    pub(crate) fetch_within: Duration,
    pub(crate) start_within: Duration,
    pub(crate) search_for: Duration,
    pub(crate) forced_fetches: (u32, Duration),
    pub(crate) retried_logins: (u32, Duration),
    pub(crate) retire_over: Duration,
    pub(crate) on_update: Option<OnUpdate>,
}

pub(crate) type OnUpdate = Arc<dyn Fn(&Update) + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Self {
            // A month of it is 8,640 calls, 4 US cents. It bounds nothing that matters: a refused login reads at once.
            refresh_every: Duration::from_secs(300),
            // Outages of a region's Secrets Manager have lasted hours. A rotation needs the service as well, so a version does not go
            // out of date while the service is down.
            serve_stale_for: Duration::from_secs(24 * 3600),
            // The service answers within tens of milliseconds. A cold connection, TLS and KMS may add a second.
            fetch_within: Duration::from_secs(5),
            // Orchestrators give a new process tens of seconds to become ready.
            start_within: Duration::from_secs(15),
            // The usual connection timeout of pools, and well above the gap of a single user's rotation.
            search_for: Duration::from_secs(30),
            // A rotation costs two. Two a second for ever, of a thousand processes, are a fifth of the service's quota.
            forced_fetches: (20, Duration::from_millis(500)),
            // Each is a refused login more for an account that a server may lock. The first login with each version does not count.
            retried_logins: (4, Duration::from_secs(20)),
            // Many connections at once are a storm on the server, and none of the old ones is in a hurry.
            retire_over: Duration::from_secs(120),
            on_update: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("refresh_every", &self.refresh_every)
            .field("serve_stale_for", &self.serve_stale_for)
            .field("fetch_within", &self.fetch_within)
            .field("start_within", &self.start_within)
            .field("search_for", &self.search_for)
            .field("forced_fetches", &self.forced_fetches)
            .field("retried_logins", &self.retried_logins)
            .field("retire_over", &self.retire_over)
            .finish_non_exhaustive()
    }
}
