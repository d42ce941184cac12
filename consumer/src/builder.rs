//! How a secret is set up.

use crate::error::{Error, SourceError};
use crate::label::Label;
use crate::secret::{RotatingSecret, Settings, Shared, Update, ahead, ask};
use crate::source::{Fetched, Source};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two attempts of the first read. They double up to ten times this.
const START_PAUSE: Duration = Duration::from_millis(200);

/// As good as for ever. The sum of a longer time and a moment may be more than the clock can tell.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Sets up a [`RotatingSecret`]. The defaults suit an application with a connection pool.
#[must_use]
pub struct Builder {
    source: Arc<dyn Source>,
    settings: Settings,
}

impl RotatingSecret {
    /// Sets up a secret from this source.
    pub fn builder(source: impl Source) -> Builder {
        Builder { source: Arc::new(source), settings: Settings::default() }
    }
}

impl Builder {
    /// How often to read the secret, at least: 5 minutes unless given. The read happens after 80 to 100 percent of this time.
    /// `docs/consumers.md` says which times are safe for which strategy.
    pub fn refresh_every(mut self, interval: Duration) -> Self {
        self.settings.refresh_every = interval.max(Duration::from_millis(1));
        self
    }

    /// For how long to use the last version while the source cannot be read: a day unless given.
    pub fn serve_stale_for(mut self, limit: Duration) -> Self {
        self.settings.serve_stale_for = limit;
        self
    }

    /// How long one read may take: 5 seconds unless given.
    pub fn fetch_within(mut self, limit: Duration) -> Self {
        self.settings.fetch_within = limit;
        self
    }

    /// For how long [`start`](Self::start) repeats a read that failed for a transient cause: 15 seconds unless given.
    pub fn start_within(mut self, limit: Duration) -> Self {
        self.settings.start_within = limit;
        self
    }

    /// For how long to look for a version that works, after a refused login: 30 seconds unless given.
    pub fn search_for(mut self, limit: Duration) -> Self {
        self.settings.search_for = limit;
        self
    }

    /// How many reads refused logins may cause: `burst` at once, and one in each `interval` after that. 20, and one in 500 ms, unless
    /// given.
    pub fn forced_fetches(mut self, burst: u32, interval: Duration) -> Self {
        self.settings.forced_fetches = (burst, interval);
        self
    }

    /// How many logins may be made with versions that were refused already: `burst` at once, and one in each `interval` after that. 4, and
    /// one in 20 seconds, unless given. If your server locks accounts after a few refused logins, choose less.
    pub fn retried_logins(mut self, burst: u32, interval: Duration) -> Self {
        self.settings.retried_logins = (burst, interval);
        self
    }

    /// Over how much time pools close the connections of a version that is not in use any more: 2 minutes unless given.
    pub fn retire_over(mut self, time: Duration) -> Self {
        self.settings.retire_over = time;
        self
    }

    /// Is called when a version is used for the first time: for a metric of the update's latency. It must not block.
    pub fn on_update(mut self, tell: impl Fn(&Update) + Send + Sync + 'static) -> Self {
        self.settings.on_update = Some(Arc::new(tell));
        self
    }

    /// Reads the secret for the first time, and keeps it fresh from then on. Call it within a Tokio runtime.
    ///
    /// # Errors
    /// [`Error::Source`] if the secret cannot be read, and [`Error::NoValue`] if it has no value. A cause that can go away by itself is
    /// returned only after [`start_within`](Self::start_within).
    pub async fn start(self) -> Result<RotatingSecret, Error> {
        let Self { source, mut settings } = self;
        if let Some(interval) = source.refresh_every() {
            settings.refresh_every = settings.refresh_every.min(interval);
        }
        if let Some(limit) = source.serve_for() {
            settings.serve_stale_for = settings.serve_stale_for.min(limit);
        }
        let settings = bounded(settings);
        let secret: Arc<str> = source.name().into();
        let (first, began) = first(&*source, &secret, &settings).await?;
        Ok(RotatingSecret::new(Shared::new(source, secret, settings, first, began)))
    }
}

fn bounded(mut settings: Settings) -> Settings {
    let (forced, retried) = (&mut settings.forced_fetches.1, &mut settings.retried_logins.1);
    for time in [
        &mut settings.refresh_every,
        &mut settings.serve_stale_for,
        &mut settings.fetch_within,
        &mut settings.start_within,
        &mut settings.search_for,
        &mut settings.retire_over,
        forced,
        retried,
    ] {
        *time = (*time).min(LONGEST);
    }
    settings
}

async fn first(source: &dyn Source, secret: &str, settings: &Settings) -> Result<(Fetched, Instant), Error> {
    let deadline = Instant::now() + settings.start_within;
    let mut pause = START_PAUSE;
    loop {
        let began = Instant::now();
        match ask(source, Label::Current, false, settings.fetch_within).await {
            Ok(Some(fetched)) => return Ok((fetched, began)),
            Ok(None) => return Err(Error::NoValue { secret: secret.to_owned() }),
            Err(cause) if !cause.is_transient() || Instant::now() + pause >= deadline => {
                let origin = source.origin();
                return Err(SourceError { secret: secret.to_owned(), label: Label::Current, origin, cause }.into());
            }
            Err(_) => sleep(ahead(pause)).await,
        }
        pause = (pause * 2).min(START_PAUSE * 10);
    }
}
