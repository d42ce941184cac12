//! The rules of Secrets Manager, without I/O: time and randomness come in with the [`Context`].

mod batch;
mod list;
mod name;
mod operation;
mod password;
mod request;
mod rotate;
mod schedule;
mod secret;
mod state;
mod version;

#[cfg(test)]
mod tests;

pub(crate) use operation::Operation;
pub(crate) use rotate::{Attempt, AttemptEnd, Start};
pub(crate) use schedule::Timestamp;
pub(crate) use state::State;

use rand::{Rng, RngExt};

/// What ListSecretVersionIds shows for a version under the account's default key (recorded).
pub(crate) const DEFAULT_KEY: &str = "DefaultEncryptionKey";
/// The staging label of the version that clients read.
pub(crate) const CURRENT: &str = "AWSCURRENT";
/// The staging label of the version that was current before.
pub(crate) const PREVIOUS: &str = "AWSPREVIOUS";
/// The staging label of the version that a rotation makes.
pub(crate) const PENDING: &str = "AWSPENDING";

/// What an operation takes from outside: the time, and randomness for identifiers and passwords.
pub(crate) struct Context<'a> {
    pub(crate) now: Timestamp,
    pub(crate) rng: &'a mut dyn Rng,
}

impl Context<'_> {
    /// A random (version 4) UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let mut n = self.rng.random::<u128>();
        n = n & !(0xf << 76) | 0x4 << 76;
        n = n & !(0x3 << 62) | 0x2 << 62;
        let hex = format!("{n:032x}");
        let part = |range| hex.get(range).unwrap_or_default();
        format!("{}-{}-{}-{}-{}", part(0..8), part(8..12), part(12..16), part(16..20), part(20..32))
    }

    /// The six random characters that end a secret's ARN.
    fn arn_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        (0..6).filter_map(|_| ALPHABET.get(self.below(ALPHABET.len()))).map(|byte| char::from(*byte)).collect()
    }

    /// A number below `bound`, every one equally likely; 0 where `bound` is 0.
    fn below(&mut self, bound: usize) -> usize {
        if bound == 0 { 0 } else { self.rng.random_range(0..bound) }
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use serde_json::Value;

    use super::*;
    use crate::secretsmanager::ServiceError;

    /// A state with a clock that only the test moves.
    pub(crate) struct Bench {
        pub(crate) state: State,
        pub(crate) now: Timestamp,
        rng: StdRng,
    }

    impl Bench {
        pub(crate) fn new() -> Self {
            Self {
                state: State::new("eu-west-1", "123456789012"),
                now: Timestamp::from_millis(1_700_000_000_000),
                rng: StdRng::seed_from_u64(7),
            }
        }

        pub(crate) fn with_context<T>(&mut self, f: impl FnOnce(&mut State, &mut Context<'_>) -> T) -> T {
            f(&mut self.state, &mut Context { now: self.now, rng: &mut self.rng })
        }

        #[expect(clippy::needless_pass_by_value, reason = "tests pass json!(…)")]
        pub(crate) fn call(&mut self, operation: &str, body: Value) -> Result<Value, ServiceError> {
            let operation = Operation::parse(operation)?;
            let body = body.to_string();
            self.with_context(|state, context| state.apply(operation, body.as_bytes(), context))
        }

        pub(crate) fn ok(&mut self, operation: &str, body: Value) -> Value {
            self.call(operation, body).unwrap()
        }

        pub(crate) fn err(&mut self, operation: &str, body: Value) -> (&'static str, String) {
            let error = self.call(operation, body).unwrap_err();
            (error.error_type, error.message)
        }

        /// The labels of each version that has any, as DescribeSecret shows them.
        pub(crate) fn labels(&mut self, secret: &str) -> Value {
            self.ok("DescribeSecret", serde_json::json!({"SecretId": secret}))["VersionIdsToStages"].take()
        }

        pub(crate) fn advance_days(&mut self, days: u32) {
            self.now = self.now.plus_days(days);
        }
    }

    /// A version id of the permitted length that a test can recognise.
    pub(crate) fn token(n: u32) -> String {
        format!("{n:032}")
    }
}
