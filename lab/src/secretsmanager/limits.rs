//! How often the service lets its operations be called.
//!
//! Source: "AWS Secrets Manager quotas" (user guide), the table of rates, each per account and region:
//! <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>. The page does not say how the service
//! measures a rate. Here it is a bucket of tokens that holds one second's worth: after a quiet second that many calls may come at
//! once.

use super::model::Operation;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::time::Instant;

/// Operations that share one rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    Read,
    /// New values and moved labels.
    Write,
    Rotate,
    Policy,
    Tag,
    Restore,
    Create,
    Delete,
    Batch,
    List,
    ListVersions,
    RandomPassword,
}

impl Group {
    fn of(operation: Operation) -> Self {
        match operation {
            Operation::DescribeSecret | Operation::GetSecretValue => Self::Read,
            Operation::PutSecretValue | Operation::UpdateSecret | Operation::UpdateSecretVersionStage => Self::Write,
            Operation::RotateSecret | Operation::CancelRotateSecret => Self::Rotate,
            Operation::DeleteResourcePolicy | Operation::GetResourcePolicy | Operation::PutResourcePolicy => {
                Self::Policy
            }
            Operation::TagResource | Operation::UntagResource => Self::Tag,
            Operation::RestoreSecret => Self::Restore,
            Operation::CreateSecret => Self::Create,
            Operation::DeleteSecret => Self::Delete,
            Operation::BatchGetSecretValue => Self::Batch,
            Operation::ListSecrets => Self::List,
            Operation::ListSecretVersionIds => Self::ListVersions,
            Operation::GetRandomPassword => Self::RandomPassword,
        }
    }

    /// Calls per second, as the page has them.
    fn rate(self) -> u32 {
        match self {
            Self::Read => 10_000,
            Self::Batch | Self::List => 100,
            Self::Write
            | Self::Rotate
            | Self::Policy
            | Self::Tag
            | Self::Restore
            | Self::Create
            | Self::Delete
            | Self::ListVersions
            | Self::RandomPassword => 50,
        }
    }
}

/// How often operations may be called, and how often they were refused. Clones share both.
#[derive(Clone, Debug)]
pub struct Limits(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    writes: u32,
    buckets: BTreeMap<Group, Bucket>,
    throttled: BTreeMap<String, u64>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Limits {
    /// The service's own rates.
    #[must_use]
    pub fn of_the_service() -> Self {
        Self::with_writes(Group::Write.rate())
    }

    /// The service's own rates, but only so many calls a second of PutSecretValue, UpdateSecret and UpdateSecretVersionStage
    /// together: the rest is used up by other programs of the account.
    #[must_use]
    pub fn with_writes(writes: u32) -> Self {
        Self(Arc::new(Mutex::new(State { writes, buckets: BTreeMap::new(), throttled: BTreeMap::new() })))
    }

    /// How many calls of each operation were refused, by the operation's name. Operations without a refused call are absent.
    #[must_use]
    pub fn throttled(&self) -> BTreeMap<String, u64> {
        self.state().throttled.clone()
    }

    /// Whether an operation may be called now. Counts the call.
    pub(super) fn admit(&self, operation: Operation, now: Instant) -> bool {
        let (mut state, group) = (self.state(), Group::of(operation));
        let rate = f64::from(if group == Group::Write { state.writes } else { group.rate() });
        let bucket = state.buckets.entry(group).or_insert(Bucket { tokens: rate, filled: now });
        let waited = now.saturating_duration_since(bucket.filled).as_secs_f64();
        bucket.tokens = (bucket.tokens + waited * rate).min(rate);
        bucket.filled = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        } else {
            *state.throttled.entry(operation.name().to_owned()).or_default() += 1;
        }
        admitted
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secretsmanager::{Consistency, Options, Service};
    use std::time::Duration;

    fn admitted(limits: &Limits, operation: Operation, now: Instant, calls: u32) -> u32 {
        (0..calls).map(|_| u32::from(limits.admit(operation, now))).sum()
    }

    #[test]
    fn writes_share_fifty_calls_a_second() {
        let (limits, begin) = (Limits::of_the_service(), Instant::now());
        assert_eq!(admitted(&limits, Operation::PutSecretValue, begin, 30), 30);
        assert_eq!(admitted(&limits, Operation::UpdateSecretVersionStage, begin, 30), 20);
        assert_eq!(admitted(&limits, Operation::RotateSecret, begin, 60), 50, "another rate");
        // A fifth of a second fills a fifth of the bucket, and a long pause no more than all of it.
        assert_eq!(admitted(&limits, Operation::PutSecretValue, begin + Duration::from_millis(200), 30), 10);
        assert_eq!(admitted(&limits, Operation::PutSecretValue, begin + Duration::from_secs(60), 90), 50);
        let expected = [("PutSecretValue", 60), ("RotateSecret", 10), ("UpdateSecretVersionStage", 10)];
        assert_eq!(limits.throttled(), expected.map(|(name, calls)| (name.to_owned(), calls)).into());
    }

    #[test]
    fn reads_have_a_rate_of_their_own() {
        let (limits, begin) = (Limits::with_writes(1), Instant::now());
        assert_eq!(admitted(&limits, Operation::GetSecretValue, begin, 6_000), 6_000);
        assert_eq!(admitted(&limits, Operation::DescribeSecret, begin, 6_000), 4_000);
        assert_eq!(admitted(&limits, Operation::UpdateSecret, begin, 2), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_beyond_the_rate_is_refused_as_aws_refuses_it() {
        let service = Service::new(Options { limits: Some(Limits::of_the_service()), ..Options::default() });
        let list = async || service.call("ListSecretVersionIds", b"{}", Consistency::Strong).await;
        for _ in 0..50 {
            assert_eq!(list().await.error_type.as_deref(), Some("ValidationException"));
        }
        let refused = list().await;
        assert_eq!((refused.status, refused.error_type.as_deref()), (400, Some("ThrottlingException")));
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert_eq!(list().await.error_type.as_deref(), Some("ValidationException"));
    }
}
