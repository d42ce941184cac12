//! Whether the secrets that this function rotates are rotated in time.
//!
//! A rotation that never begins invokes no function and raises no error, and a CloudWatch alarm cannot look back over the weeks
//! between two rotations. So a schedule asks this function once a day.

use crate::clock::Deadline;
use crate::error::Result;
use crate::protocol::Rotation;
use crate::protocol::schedule::{Late, RotatedSecret};
use crate::protocol::store::SecretStore;
use crate::protocol::target::Target;
use serde_json::{Value, json};
use std::time::Duration;

/// The state of all secrets that this function rotates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many there are.
    pub served: usize,
    /// Those that are late, with their ARNs.
    pub late: Vec<(String, Late)>,
}

impl Watched {
    /// How many secrets are late in this way.
    pub fn count(&self, kind: Late) -> usize {
        self.late.iter().filter(|(_, late)| *late == kind).count()
    }

    /// The answer.
    pub fn to_json(&self) -> Value {
        let late = |(arn, late): &(String, Late)| json!({"secret": arn, "late": late.as_str()});
        json!({"step": "watch", "served": self.served, "late": self.late.iter().map(late).collect::<Vec<_>>()})
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Looks at all secrets that name this function. Reads only. `function` is its ARN.
    ///
    /// # Errors
    /// Those of ListSecrets.
    pub async fn watch(&self, function: &str, now: Duration, deadline: Deadline) -> Result<Watched> {
        let served = self.store().served(function, deadline).await?;
        let late = |secret: &RotatedSecret| Some((secret.arn.clone(), secret.late(now)?));
        Ok(Watched { served: served.len(), late: served.iter().filter_map(late).collect() })
    }
}
