//! Counts the SDK's retries, so that an error can say "throttled eleven times" instead of "timed out", and limits the answers, which
//! the SDK reads to their end.

use crate::aws::throttle::is_throttle;
use crate::net::weight::Weight;
use aws_sdk_secretsmanager::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, FinalizerInterceptorContextRef,
};
use aws_sdk_secretsmanager::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// How much memory an answer may take. The largest one is a page of ListSecrets: 100 secrets with 50 tags each are 11 MB.
const HEAVIEST: usize = 16 << 20;
/// Where reading ends, whatever the text is. Beyond the first limit, so that every answer that is too large is known to be.
const MOST_BYTES: usize = 2 * HEAVIEST;

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
    too_large: Arc<AtomicBool>,
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

    /// Whether an answer was too large to be read.
    pub(super) fn too_large(&self) -> bool {
        self.seen.too_large.load(Ordering::Relaxed)
    }

    pub(super) fn throttled(&self) -> bool {
        self.seen.throttled.load(Ordering::Relaxed)
    }
}

impl Intercept for Attempts {
    fn name(&self) -> &'static str {
        "Attempts"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_secretsmanager::error::BoxError> {
        let (mut weight, too_large) = (Weight::limited_to(HEAVIEST), Arc::clone(&self.seen.too_large));
        let response = context.response_mut();
        let body = Limited::new(response.take_body(), MOST_BYTES);
        // What is beyond the limit is dropped, and the rest is no JSON.
        let body = body.map_frame(move |frame| {
            frame.map_data(|mut data| {
                if !weight.takes(&data) {
                    too_large.store(true, Ordering::Relaxed);
                    data.clear();
                }
                data
            })
        });
        *response.body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
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
