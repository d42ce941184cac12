//! Whether the secrets that this function rotates are rotated in time.
//!
//! A rotation that never begins invokes no function and raises no error, and a CloudWatch alarm cannot look back over the weeks
//! between two rotations. So a schedule asks this function once a day. Where a target has something to do between rotations, it is done
//! then, too.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::Rotation;
use crate::protocol::context::StepContext;
use crate::protocol::notes::StepNotes;
use crate::protocol::schedule::{Late, RotatedSecret};
use crate::protocol::store::{RotationState, SecretStore, VersionSelector};
use crate::protocol::target::{Target, VersionWithAge};
use serde_json::{Value, json};
use std::time::Duration;

/// The state of all secrets that this function rotates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many there are.
    pub served: usize,
    /// Those that are late, with their ARNs.
    pub late: Vec<(String, Late)>,
    /// What the target noticed between rotations. Each names its secret.
    pub noticed: Vec<Error>,
}

impl Watched {
    /// How many secrets are late in this way.
    pub fn count(&self, kind: Late) -> usize {
        self.late.iter().filter(|(_, late)| *late == kind).count()
    }

    /// The answer.
    pub fn to_json(&self) -> Value {
        let late = |(arn, late): &(String, Late)| json!({"secret": arn, "late": late.as_str()});
        let mut answer =
            json!({"step": "watch", "served": self.served, "late": self.late.iter().map(late).collect::<Vec<_>>()});
        if let Some(answer) = answer.as_object_mut().filter(|_| !self.noticed.is_empty()) {
            let noticed: Vec<_> = self.noticed.iter().map(ToString::to_string).collect();
            answer.insert("noticed".to_owned(), noticed.into());
        }
        answer
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Looks at all secrets that name this function. Secrets Manager is only read. `function` is its ARN.
    ///
    /// # Errors
    /// Those of ListSecrets.
    pub async fn watch(&self, function: &str, now: Duration, deadline: Deadline) -> Result<Watched> {
        let served = self.store().served(function, deadline).await?;
        let late = |secret: &RotatedSecret| Some((secret.arn.clone(), secret.late(now)?));
        let mut watched =
            Watched { served: served.len(), late: served.iter().filter_map(late).collect(), noticed: Vec::new() };
        if T::LOOKS_AFTER {
            for secret in served.iter().filter(|secret| secret.rotation_enabled) {
                let noticed = self.look_after(&secret.arn, deadline).await;
                watched.noticed.extend(noticed.into_iter().map(|error| error.with_default(Fact::Secret, &secret.arn)));
            }
        }
        Ok(watched)
    }

    /// Has the target look after one secret. A failure is one more thing that was noticed: the other secrets come next.
    async fn look_after(&self, secret: &str, deadline: Deadline) -> Vec<Error> {
        let notes = StepNotes::default();
        let work = async {
            let (description, current) = tokio::join!(
                self.store().describe(secret, deadline),
                self.store().value(secret, VersionSelector::Current, deadline),
            );
            let (description, current) = (description?, current?.ok_or_else(|| Error::new(Code::CurrentMissing))?);
            // The answers are of different moments. The next look comes in a day.
            if description.current_version() != Some(&current.id) {
                return Ok(());
            }
            let document = Document::parse(current.text)?;
            // A rotation may stay unfinished for long, and nobody else looks meanwhile.
            if description.is_unfinished() {
                let pending = description.pending_version().map(str::to_owned).unwrap_or_default();
                let pending = self.store().value(secret, VersionSelector::Pending(&pending), deadline).await?;
                let pending = pending.map(|pending| Document::parse(pending.text)).transpose()?;
                let context = StepContext::new(self.store(), secret, &current.id, description, &notes, deadline);
                let context = context.expecting(RotationState::Current);
                return self.target().look_on(&context, &document, pending.as_ref()).await;
            }
            let context = StepContext::new(self.store(), secret, &current.id, description, &notes, deadline);
            let context = context.expecting(RotationState::Current);
            self.target().look_after(&context, VersionWithAge { document: &document, age: current.age }).await
        };
        let ended = deadline.limit(work).await.unwrap_or_else(|_| Err(Error::new(Code::TimeSpent)));
        let mut noticed = notes.into_notes().warnings;
        noticed.extend(ended.err());
        noticed
    }
}
