//! Counts the SDK's retries, so that an error can say "throttled eleven times" instead of "timed out".

use crate::aws::throttle::is_throttle;
use aws_sdk_secretsmanager::config::interceptors::FinalizerInterceptorContextRef;
use aws_sdk_secretsmanager::config::{ConfigBag, Intercept, RuntimeComponents};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Counts the attempts of one call, and remembers whether the last one was throttled.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    seen: Arc<Seen>,
    /// The throttled answers to all calls of the process.
    throttles: Throttles,
}

/// How many answers were throttled.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttles(Arc<AtomicU32>);

#[derive(Debug, Default)]
struct Seen {
    count: AtomicU32,
    throttled: AtomicBool,
}

impl Throttles {
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Attempts {
    /// The attempts of one call. Its throttles count in `throttles`, too.
    pub(super) fn counted(throttles: &Throttles) -> Self {
        Self { throttles: throttles.clone(), ..Self::default() }
    }

    pub(super) fn count(&self) -> u32 {
        self.seen.count.load(Ordering::Relaxed)
    }

    pub(super) fn throttled(&self) -> bool {
        self.seen.throttled.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_secretsmanager::error::BoxError> {
        let throttled = context.response().is_some_and(|response| {
            let body = response.body().bytes().unwrap_or_default();
            response.status().as_u16() == 429
                || (response.status().is_client_error() && is_throttle(&String::from_utf8_lossy(body)))
        });
        self.seen.count.fetch_add(1, Ordering::Relaxed);
        self.seen.throttled.store(throttled, Ordering::Relaxed);
        self.throttles.0.fetch_add(u32::from(throttled), Ordering::Relaxed);
        Ok(())
    }
}
