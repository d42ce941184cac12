//! Whether the secrets that this function rotates are rotated in time, whether a credential that ends by itself is to be renewed, and whether
//! the KMS keys that encrypt the secrets rotate.
//!
//! A rotation that never begins invokes no function and raises no error, and a CloudWatch alarm cannot look back over the weeks
//! between two rotations. So a schedule asks this function once a day. Where a target has something to do between rotations, it is done
//! then, too.

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::Rotation;
use crate::protocol::context::StepContext;
use crate::protocol::encryption_key;
use crate::protocol::looks::{Looks, side_by_side};
use crate::protocol::notes::StepNotes;
use crate::protocol::schedule::{Late, RotatedSecret};
use crate::protocol::store::{RotationState, SecretStore, VersionSelector};
use crate::protocol::target::{Lifetime, Target, VersionWithAge};
use serde_json::{Map, Value, json};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);
/// What a look at one credential's lifetime takes at most. A look for which there is less time waits for the next day.
const ONE_LOOK: Duration = Duration::from_secs(5);
/// What a target takes at most to look after one secret: it may have several places to read, and a host that answers late.
const LOOKING_AFTER: Duration = Duration::from_secs(10);

/// The state of all secrets that this function rotates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Watched {
    /// How many there are.
    pub served: usize,
    /// Those that are late, with their ARNs.
    pub late: Vec<(String, Late)>,
    /// What the target noticed between rotations, and what there is to say about KMS keys. Each names its secret.
    pub noticed: Vec<Error>,
    /// What became of credentials that end by themselves. `None` if this function has none of these.
    pub renewals: Option<Renewals>,
}

/// Credentials that end by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Renewals {
    /// The whole days that are left to the credential that ends first.
    pub days_left: Option<u64>,
    /// The secrets whose credential has so little time left that a person should look.
    pub expiring: Vec<String>,
    /// The secrets whose rotation this look began.
    pub begun: Vec<String>,
    /// Why a secret could not be looked at, or its rotation not be begun.
    pub troubles: Vec<Error>,
}

impl Watched {
    /// How many secrets are late in this way.
    pub fn count(&self, kind: Late) -> usize {
        self.late.iter().filter(|(_, late)| *late == kind).count()
    }

    /// The answer.
    pub fn to_json(&self) -> Value {
        let late = |(arn, late): &(String, Late)| json!({"secret": arn, "late": late.as_str()});
        let late = self.late.iter().map(late).collect::<Vec<_>>();
        let mut answer = Map::from_iter([
            ("step".to_owned(), "watch".into()),
            ("served".to_owned(), self.served.into()),
            ("late".to_owned(), late.into()),
        ]);
        if let Some(Renewals { days_left, expiring, begun, troubles }) = &self.renewals {
            let troubles: Vec<String> = troubles.iter().map(ToString::to_string).collect();
            answer.extend([
                ("daysLeft".to_owned(), (*days_left).into()),
                ("expiring".to_owned(), expiring.clone().into()),
                ("renewed".to_owned(), begun.clone().into()),
                ("warnings".to_owned(), troubles.into()),
            ]);
        }
        if !self.noticed.is_empty() {
            let noticed: Vec<_> = self.noticed.iter().map(ToString::to_string).collect();
            answer.insert("noticed".to_owned(), noticed.into());
        }
        answer.into()
    }
}

impl Renewals {
    /// Adds what a look at one secret has brought.
    fn add(&mut self, secret: &str, looked: Result<Option<(Lifetime, bool)>>) {
        match looked {
            Ok(None) => {}
            Ok(Some((lifetime, begun))) => {
                let days = lifetime.left.as_secs() / DAY.as_secs();
                self.days_left = Some(self.days_left.map_or(days, |least| least.min(days)));
                if lifetime.is_short() {
                    self.expiring.push(secret.to_owned());
                }
                if begun {
                    self.begun.push(secret.to_owned());
                }
            }
            Err(error) => self.troubles.push(error.with_default(Fact::Secret, secret)),
        }
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Looks at all secrets that name this function. Where a target has something to do between rotations, it is done; where credentials
    /// end by themselves, the rotations that are due begin. Otherwise Secrets Manager is only read. `function` is its ARN.
    ///
    /// # Errors
    /// Those of ListSecrets.
    pub async fn watch(&self, function: &str, now: Duration, deadline: Deadline) -> Result<Watched> {
        let served = self.store().served(function, deadline).await?;
        let late = |secret: &RotatedSecret| Some((secret.arn.clone(), secret.late(now)?));
        let mut watched =
            Watched { served: served.len(), late: served.iter().filter_map(late).collect(), ..Watched::default() };
        self.target().look_begins();
        let (noticed, findings) = tokio::join!(
            self.look_after_all(&served, now, deadline),
            encryption_key::findings(self.store(), &served, now, deadline),
        );
        watched.noticed.extend(noticed.into_iter().chain(findings));
        if T::RENEWS {
            let (renewals, left_out) = self.renew(&served, now, deadline).await;
            watched.noticed.extend(left_out);
            watched.renewals = Some(renewals);
        }
        Ok(watched)
    }

    /// Has the target look after each secret whose rotation is turned on.
    async fn look_after_all(&self, served: &[RotatedSecret], now: Duration, deadline: Deadline) -> Vec<Error> {
        if !T::LOOKS_AFTER {
            return Vec::new();
        }
        let enabled: Vec<_> = served.iter().filter(|secret| secret.rotation_enabled).collect();
        let look = |secret: &'_ RotatedSecret| self.look_after(secret.arn.clone(), deadline.within(LOOKING_AFTER));
        let looks = side_by_side(&enabled, now, deadline, ONE_LOOK, look).await;
        let left_out = left_out(&looks);
        let named = |(secret, noticed): (&RotatedSecret, Vec<Error>)| {
            noticed.into_iter().map(|error| error.with_default(Fact::Secret, &secret.arn)).collect::<Vec<_>>()
        };
        looks.brought.into_iter().flat_map(named).chain(left_out).collect()
    }

    /// Has the target look after one secret. A failure is one more thing that was noticed: the other secrets come next.
    async fn look_after(&self, secret: String, deadline: Deadline) -> Vec<Error> {
        let secret = secret.as_str();
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

    /// Looks at the lifetime of each secret's credential. The error says which secrets there was no time for.
    async fn renew(&self, served: &[RotatedSecret], now: Duration, deadline: Deadline) -> (Renewals, Option<Error>) {
        let all: Vec<_> = served.iter().collect();
        let look = |secret| self.looked_at(secret, now, deadline.within(ONE_LOOK));
        let looks = side_by_side(&all, now, deadline, ONE_LOOK, look).await;
        let left_out = left_out(&looks);
        let mut renewals = Renewals::default();
        for (secret, looked) in looks.brought {
            renewals.add(&secret.arn, looked);
        }
        (renewals, left_out)
    }

    /// The lifetime of a secret's credential, and whether a rotation was begun because of it.
    async fn looked_at(
        &self,
        secret: &RotatedSecret,
        now: Duration,
        deadline: Deadline,
    ) -> Result<Option<(Lifetime, bool)>> {
        let current = self.store().value(&secret.arn, VersionSelector::Current, deadline).await?;
        let Some(current) = current else { return Ok(None) };
        let document = Document::parse(current.text)?;
        let Some(lifetime) = self.target().lifetime(&secret.arn, &document, deadline).await? else { return Ok(None) };
        let may = lifetime.renew && secret.rotation_enabled && !secret.is_under_way(now);
        let begun = may && self.store().rotate(&secret.arn, deadline).await?;
        Ok(Some((lifetime, begun)))
    }
}

/// What there is to say about secrets for which a look had no time.
fn left_out<R>(looks: &Looks<'_, RotatedSecret, R>) -> Option<Error> {
    let (first, all) = (looks.left_out.first()?, looks.left_out.len() + looks.brought.len());
    let what = format!("the daily look had no time for {} of {all} secrets", looks.left_out.len());
    let next = "Raise the function's timeout (the template's parameter Timeout), and mend what is slow: other errors of this look name it. \
                Tomorrow's look begins at another secret.";
    let error = Error::new(Code::TimeSpent).with(Fact::Secret, &first.arn).with(Fact::What, what);
    Some(error.with(Fact::NextAction, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_short_below_a_week_or_a_fifth() {
        let short = |left: u32, whole: u32| Lifetime { left: left * DAY, whole: whole * DAY, renew: false }.is_short();
        assert!(short(6, 90) && !short(7, 90));
        assert!(short(1, 6) && !short(2, 6));
    }
}
