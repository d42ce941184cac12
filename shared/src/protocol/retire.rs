//! Ends, where a person asks for it, what a superseded version still opens: its credential, before a later rotation would end it, or the
//! sessions that were opened with it.
//!
//! A regular rotation leaves the previous credential alive on purpose, so that consumers can pick up the new one. After a leak that is
//! the gap which the finder uses.

use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::context::{RefusedLogins, StepContext};
use crate::protocol::event::Ends;
use crate::protocol::label::Label;
use crate::protocol::notes::{Notes, StepNotes};
use crate::protocol::observation::{Attempt, Observation};
use crate::protocol::store::{Description, RotationState, SecretStore};
use crate::protocol::target::{Retired, Sessions, Target, Versions};
use crate::protocol::{Rotation, told};
use serde_json::{Map, Value};

/// A retirement that was carried out.
#[derive(Clone, Debug)]
pub struct RetireReport {
    /// What it did, or why it did nothing.
    pub outcome: Result<Retirement>,
    /// What it noted besides its outcome.
    pub notes: Notes,
}

/// What was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retirement {
    secret: String,
    version: String,
    what: Ends,
    retired: Retired,
    /// What the target says to the version's credential afterwards.
    credential: Observation,
    sessions: Option<Sessions>,
}

impl Retirement {
    /// The word used in results and logs.
    pub fn as_str(&self) -> &'static str {
        match (self.what, self.retired, self.credential) {
            (Ends::Sessions, ..) if self.sessions.is_none() => "no-sessions",
            (Ends::Sessions, ..) => "sessions-ended",
            (Ends::Credential, Retired::Previous, _) => "credential-ended",
            (Ends::Credential, Retired::Nothing, Observation::Rejected) => "already-refused",
            (Ends::Credential, Retired::Nothing, _) => "not-endable",
        }
    }

    /// The version that was meant.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Whether anything at the target was changed.
    pub fn changed(&self) -> bool {
        self.retired == Retired::Previous || self.sessions.is_some_and(|sessions| sessions.ended > 0)
    }

    fn next_action(&self) -> &'static str {
        let left = self.sessions.is_some_and(|sessions| sessions.left > 0);
        match (self.what, self.credential) {
            (Ends::Sessions, _) if left => {
                "Ask again. If sessions stay, end them as an administrator: docs/runbooks/leaked-credential.md."
            }
            (Ends::Sessions, _) | (Ends::Credential, Observation::Rejected) => "Nothing to do.",
            (Ends::Credential, _) => {
                "The credential cannot be ended early, or its end was not seen. Rotate once more, or end it by hand: \
                 docs/runbooks/leaked-credential.md."
            }
        }
    }

    /// The answer as JSON. It holds ids, words and numbers, and never a secret's value.
    pub fn to_json(&self, warnings: &[Error]) -> Value {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("step", self.what.as_str().into());
        put("secret", self.secret.as_str().into());
        put("version", self.version.as_str().into());
        put("outcome", self.as_str().into());
        put("credential", self.credential.as_str().into());
        if let Some(Sessions { ended, left }) = self.sessions {
            put("sessionsEnded", ended.into());
            put("sessionsLeft", left.into());
        }
        put("nextAction", self.next_action().into());
        if !warnings.is_empty() {
            put("warnings", warnings.iter().map(ToString::to_string).collect::<Vec<_>>().into());
        }
        fields.into()
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Ends the credential of a superseded version, or the sessions of its user. `version` is AWSPREVIOUS if it is not given.
    ///
    /// **Invariant:** this needs the deployer's consent. Whoever may invoke the function could otherwise have consumers refused that
    /// still hold the previous credential, or end their sessions. Test: `nothing_is_retired_without_consent`.
    ///
    /// An error is any [`Code`], with the secret as [`Fact::Secret`]: [`Code::RetireOff`] without consent, and [`Code::RetireRefused`]
    /// where it is not safe. It can be run again.
    pub async fn retire(&self, secret: &str, version: Option<&str>, what: Ends, deadline: Deadline) -> RetireReport {
        let notes = StepNotes::default();
        // Every wait inside has its own limit, whose error names what it waited for. This limit catches what they leave out.
        let outcome = deadline.limit(self.retired(secret, version, what, &notes, deadline)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Error::new(Code::TimeSpent)));
        RetireReport {
            outcome: outcome.map_err(|error| error.with_default(Fact::Secret, secret)),
            notes: notes.into_notes(),
        }
    }

    async fn retired(
        &self,
        secret: &str,
        version: Option<&str>,
        what: Ends,
        notes: &StepNotes,
        deadline: Deadline,
    ) -> Result<Retirement> {
        if !self.retires() {
            return Err(Error::new(Code::RetireOff));
        }
        let description = self.store().describe(secret, deadline).await?;
        notes.described(&description);
        let (current, old) = may_retire(&description, version)?;
        let refusals = RefusedLogins::default();
        let context = StepContext::new(self.store(), secret, &current, description.clone(), notes, deadline);
        let context = context.expecting(RotationState::Current).even_if_rotation_is_off().with_refused(&refusals);
        let context = context.with_certainty();
        let (now, superseded) = tokio::join!(context.current(), context.version(&old));
        let (id, document) = now?;
        if id != current {
            return Err(refused("AWSCURRENT has just moved"));
        }
        let Some(superseded) = superseded? else { return Err(refused("the version has no value that can be read")) };
        // **Invariant:** AWSCURRENT opens the target before anything ends. The only credential that works could end here.
        // Test: `nothing_ends_before_the_current_credential_has_worked`.
        self.current_works(&context, &document).await?;
        let versions = Versions { current: &document, pending: &superseded };
        let ended = Retirement {
            secret: context.secret().to_owned(),
            version: old,
            what,
            retired: Retired::Nothing,
            credential: self.tried(&context, versions).await?,
            sessions: None,
        };
        match what {
            Ends::Credential => self.end_credential(&context, versions, ended).await,
            Ends::Sessions => self.end_sessions(&context, versions, ended).await,
        }
    }

    async fn end_credential(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        mut ended: Retirement,
    ) -> Result<Retirement> {
        if ended.credential == Observation::Works {
            ended.retired = told(context, self.target().end_early(context, versions)).await?;
            ended.credential = self.tried(context, versions).await?;
        }
        Ok(ended)
    }

    /// **Invariant:** sessions end only once the credential that opened them is refused. Otherwise whoever has it opens new ones at
    /// once, and the report would say that they are gone. Test: `sessions_end_only_after_their_credential`.
    async fn end_sessions(
        &self,
        context: &StepContext<'_>,
        versions: Versions<'_>,
        mut ended: Retirement,
    ) -> Result<Retirement> {
        if ended.credential != Observation::Rejected {
            let what = "the version's credential was not refused, so that its sessions would be opened anew: end the credential first";
            return Err(refused(what).with(Fact::Found, ended.credential.as_str()));
        }
        ended.sessions = told(context, self.target().end_sessions(context, versions)).await?;
        Ok(ended)
    }

    /// What the target says to the credential of the superseded version.
    async fn tried(&self, context: &StepContext<'_>, versions: Versions<'_>) -> Result<Observation> {
        let Attempt { observation, error } = self.target().attempt(context, versions, Label::Previous).await?;
        match (observation, error) {
            (Observation::Unreachable | Observation::Unknown, Some(error)) => Err(error),
            (observation, _) => Ok(observation),
        }
    }
}

/// The ids of AWSCURRENT and of the version that may be retired.
fn may_retire(description: &Description, version: Option<&str>) -> Result<(String, String)> {
    let Some(current) = description.current_version() else { return Err(Error::new(Code::CurrentMissing)) };
    if description.is_unfinished() {
        return Err(refused("a rotation of the secret was begun and has not ended"));
    }
    match version.or(description.previous_version()) {
        None => Err(refused("the secret has no AWSPREVIOUS version")),
        Some(version) if version == current => Err(refused("the version is AWSCURRENT: rotate first")),
        Some(version) => Ok((current.to_owned(), version.to_owned())),
    }
}

fn refused(what: &str) -> Error {
    Error::new(Code::RetireRefused).with(Fact::What, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};

    #[test]
    fn only_a_superseded_version_of_a_secret_at_rest_may_be_retired() {
        let label = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
        let at_rest =
            Description { labels: [label("new", CURRENT), label("old", PREVIOUS)].into(), ..Description::default() };
        let both = |old: &str| Ok(("new".to_owned(), old.to_owned()));
        assert_eq!(may_retire(&at_rest, None), both("old"));
        assert_eq!(may_retire(&at_rest, Some("older")), both("older"));
        let mut rotating = at_rest.clone();
        rotating.labels.extend([label("next", PENDING)]);
        let alone = Description { labels: [label("new", CURRENT)].into(), ..Description::default() };
        for (description, version) in
            [(&at_rest, Some("new")), (&rotating, None), (&rotating, Some("old")), (&alone, None)]
        {
            assert_eq!(may_retire(description, version).unwrap_err().code(), Code::RetireRefused, "{version:?}");
        }
        assert_eq!(may_retire(&Description::default(), None).unwrap_err().code(), Code::CurrentMissing);
    }
}
