//! Counts the SDK's retries, so that an error can say "throttled eleven times" instead of "timed out". Limits the answers, because the
//! SDK reads each to its end.

use crate::aws::throttle::is_throttle;
use crate::net::weight::Weight;
use aws_sdk_secretsmanager::config::interceptors::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_secretsmanager::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// How much memory an answer may take. The largest are those that hold a secret of 64 KiB.
const HEAVIEST: usize = 1 << 20;
/// The same for a list. The largest page of ListSecrets has 100 secrets with 50 tags each, which are 11 MB.
pub(super) const HEAVIEST_LIST: usize = 16 << 20;
/// Where reading ends, whatever the text is. It is twice the limit of a list. So a limit of memory is always reached first, and the error
/// can say that the answer was too large.
const MOST_BYTES: usize = 2 * HEAVIEST_LIST;

/// Counts the attempts of one call, and remembers whether the last one was throttled.
#[derive(Clone, Debug, Default)]
pub(super) struct Attempts {
    seen: Arc<Seen>,
    /// The throttled answers to all calls of the process.
    throttles: Throttles,
    weight: Budget,
}

/// What the answers to a call, or to all calls for one list, may still weigh.
#[derive(Clone, Debug)]
pub(super) struct Budget(Arc<Mutex<Weight>>);

impl Budget {
    /// So many bytes of memory.
    pub(super) fn of(bytes: usize) -> Self {
        Self(Arc::new(Mutex::new(Weight::limited_to(bytes))))
    }

    /// False once the answers are too heavy.
    fn takes(&self, piece: &[u8]) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).takes(piece)
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self::of(HEAVIEST)
    }
}

/// How many answers were throttled.
#[derive(Clone, Debug, Default)]
pub(super) struct Throttles(Arc<AtomicU32>);

#[derive(Debug, Default)]
struct Seen {
    count: AtomicU32,
    sent: AtomicBool,
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

    /// The same, for one page of a list: its answer counts in `budget`.
    #[must_use]
    pub(super) fn of_a_list(self, budget: &Budget) -> Self {
        Self { weight: budget.clone(), ..self }
    }

    /// How many attempts have ended.
    pub(super) fn count(&self) -> u32 {
        self.seen.count.load(Ordering::Relaxed)
    }

    /// Whether an attempt was begun, so that it may have had its effect.
    pub(super) fn sent(&self) -> bool {
        self.seen.sent.load(Ordering::Relaxed)
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

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_secretsmanager::error::BoxError> {
        self.seen.sent.store(true, Ordering::Relaxed);
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), aws_sdk_secretsmanager::error::BoxError> {
        let (weight, too_large) = (self.weight.clone(), Arc::clone(&self.seen.too_large));
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
