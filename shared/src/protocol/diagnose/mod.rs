//! Finds out what is wrong with a secret's rotation, and what to do about it. A diagnosis reads and tries credentials; it changes
//! nothing.
//!
//! Servers count refused logins, and some lock the user after a few. So a diagnosis tries as few credentials as possible:
//! AWSPENDING only if AWSCURRENT is refused, AWSPREVIOUS only if both are refused, and then the superuser's or admin's
//! credential. If nobody else can help, it tries older versions, newest first, until the target has refused as many credentials as
//! a rotation may cause. A credential that neither works nor is refused ends the search, as it ends setSecret. If AWSCURRENT works, the
//! superuser's or admin's credential is tried at once, because the next rotation may need it.

mod finding;
mod search;

pub use finding::Finding;

use search::{CredentialState, Findings, HelperState, Probe, Search, VersionState};

use crate::clock::{Deadline, age_of, date, since_epoch};
use crate::document::Document;
use crate::error::{Class, Code, Error, Fact, Result, secret_name};
use crate::protocol::Rotation;
use crate::protocol::context::{RefusedLogins, StepContext};
use crate::protocol::label::Label;
use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};
use crate::protocol::notes::StepNotes;
use crate::protocol::observation::Attempt;
use crate::protocol::schedule::Late;
use crate::protocol::store::{Description, SecretStore, VersionSelector};
use crate::protocol::target::{HelperSecret, OlderVersion, Target, Versions};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// Precedes the next action if a rotation that is under way would look the same.
const WAIT: &str =
    "Wait a quarter of an hour and diagnose again, as the rotation may be under way. Go on if the finding stays.";

/// The answer to a diagnosis.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    secret: String,
    rotation_enabled: Option<bool>,
    since_rotation: Option<Duration>,
    last_rotated: Option<String>,
    /// When the next rotation was or is due.
    due: Option<String>,
    versions: Vec<Examined>,
    helper: Option<HelperSecret>,
    finding: Finding,
    /// Why a credential could not be tried, if that is the finding.
    cause: Option<Error>,
    /// The rotation that is not finished may be under way.
    wait: bool,
    left: Option<LeftBehind>,
    description: Description,
    /// Whether RDS says that the server takes tokens in place of passwords. `None`: RDS was not asked.
    iam_authentication: Option<bool>,
}

/// A rotation that was begun while rotation is off: the version that is AWSPENDING, and the one that is AWSCURRENT. RotateSecret
/// then answers that it reattempts that rotation, and does not do so. Only moving a label by hand leads out.
/// <https://docs.aws.amazon.com/secretsmanager/latest/apireference/API_CancelRotateSecret.html>
#[derive(Clone, Debug)]
struct LeftBehind {
    pending: String,
    current: String,
}

/// One version that carries a label, or that was tried.
#[derive(Clone, Debug)]
struct Examined {
    version: String,
    labels: Vec<String>,
    age: Option<Duration>,
    credential: CredentialState,
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Examines one secret. Reads only.
    ///
    /// # Errors
    /// Those of DescribeSecret; [`Code::TimeSpent`].
    pub async fn diagnose(&self, secret: &str, deadline: Deadline) -> Result<Diagnosis> {
        self.diagnose_with(secret, None, deadline).await
    }

    /// The same, and tries the credential of one more version, whatever else it finds. That shows whether a credential that was
    /// replaced still opens the target. The finding does not depend on it.
    ///
    /// # Errors
    /// As for [`diagnose`](Self::diagnose).
    pub async fn diagnose_with(&self, secret: &str, version: Option<&str>, deadline: Deadline) -> Result<Diagnosis> {
        let refused = RefusedLogins::default();
        let work = self.diagnosed(secret, version, &refused, deadline);
        // Every wait inside has its own limit, whose error names what it waited for. This limit catches what they leave out.
        let spent = || Err(Error::new(Code::TimeSpent).with(Fact::Secret, secret));
        deadline.limit(work).await.unwrap_or_else(|_| spent())
    }

    /// The diagnosis. The logins that the target refused for it are added to `refused`.
    pub(super) async fn diagnosed(
        &self,
        secret: &str,
        version: Option<&str>,
        refused: &RefusedLogins,
        deadline: Deadline,
    ) -> Result<Diagnosis> {
        let description = self.store().describe(secret, deadline).await?;
        Ok(Diagnosis::of(self.examined(description, secret, version, refused, deadline).await, secret))
    }

    async fn examined(
        &self,
        description: Description,
        secret: &str,
        version: Option<&str>,
        refused: &RefusedLogins,
        deadline: Deadline,
    ) -> Findings {
        let pending = description.pending_version().map(str::to_owned);
        let stuck = pending.filter(|id| description.current_version() != Some(id));
        let notes = StepNotes::default();
        let token = stuck.clone().unwrap_or_default();
        let context = StepContext::new(self.store(), secret, &token, description.clone(), &notes, deadline);
        let context = context.with_refused(refused);
        let rotated = description.rotated();
        let overdue = rotated.due().filter(|_| rotated.late(since_epoch()) == Some(Late::Overdue));
        let mut findings = Findings { description, stuck: stuck.is_some(), overdue, ..Findings::default() };
        self.read(&context, secret, &mut findings, deadline).await;
        let Some(current) = findings.current.document.clone() else { return findings };
        let mut listed = None;
        while let Some(probe) = findings.next() {
            match probe {
                Probe::Current => {
                    findings.current.credential = self.attempted(&context, &current, &current, probe).await;
                }
                Probe::Pending => {
                    findings.pending.credential = self.held(&context, &current, &findings.pending, probe).await;
                }
                Probe::Previous => {
                    findings.previous =
                        VersionState::of(self.store().value(secret, VersionSelector::Previous, deadline).await)
                            .if_ours();
                    findings.previous.credential = self.held(&context, &current, &findings.previous, probe).await;
                }
                Probe::Helper => findings.helper = self.helper(&context, &current).await,
                Probe::Older => self.try_older(&context, &current, &mut listed, &mut findings).await,
            }
        }
        if let Some(id) = version.filter(|id| !findings.has_tried(id)) {
            // Whoever asks takes a refusal for the end of the credential.
            let context =
                StepContext::new(self.store(), secret, &token, findings.description.clone(), &notes, deadline);
            let context = context.with_refused(refused).with_certainty();
            let mut asked = VersionState::of(context.listed_version(id).await).if_ours();
            asked.credential = self.held(&context, &current, &asked, Probe::Older).await;
            findings.asked = Some((id.to_owned(), asked));
        }
        findings.iam_authentication = context.notes().clone().into_notes().iam_authentication;
        findings
    }

    /// Tries the next older version that a rotation would try. `listed` are the versions that were not looked at, newest last. They
    /// are listed once.
    async fn try_older(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        listed: &mut Option<Vec<String>>,
        findings: &mut Findings,
    ) {
        findings.search = match self.next_older(context, current, listed, findings).await {
            Ok(search) => search,
            Err(error) => Search::Failed(error),
        };
    }

    async fn next_older(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        listed: &mut Option<Vec<String>>,
        findings: &mut Findings,
    ) -> Result<Search> {
        if !T::SEARCHES_OLDER_VERSIONS {
            return Ok(Search::Over);
        }
        let mut left = match listed.take() {
            Some(left) => left,
            None => context.older_versions().await?.into_iter().rev().collect(),
        };
        while let Some(id) = left.pop() {
            // AWSPREVIOUS was tried before.
            if findings.description.previous_version() == Some(id.as_str()) {
                continue;
            }
            let mut held = VersionState::of(context.listed_version(&id).await).if_ours();
            let Some(document) = held.document.clone() else {
                match held.credential.error() {
                    Some(error) => return Err(error.clone()),
                    None => continue,
                }
            };
            match self.target().older(context, Versions { current, pending: &document }) {
                OlderVersion::Useless => {}
                OlderVersion::Untried => return Ok(Search::Spent),
                OlderVersion::Worthwhile => {
                    held.credential = self.attempted(context, current, &document, Probe::Older).await;
                    findings.older.push((id, held));
                    *listed = Some(left);
                    return Ok(Search::Open);
                }
            }
        }
        Ok(Search::Over)
    }

    async fn helper(&self, context: &StepContext<'_>, current: &Document) -> HelperState {
        match self.target().attempt_helper_secret(context, current).await {
            Ok(None) => HelperState::Nothing,
            Ok(Some(mut helper)) => {
                if let Some(Attempt { error: Some(error), .. }) = &mut helper.tried {
                    *error = context.explained(error.clone()).await;
                }
                HelperState::There(helper)
            }
            Err(error) => HelperState::Unknown(context.explained(error).await),
        }
    }

    /// Reads the two versions that every diagnosis needs.
    async fn read(&self, context: &StepContext<'_>, secret: &str, findings: &mut Findings, deadline: Deadline) {
        let pending = async {
            match context.token() {
                "" => Ok(None),
                token => self.store().value(secret, VersionSelector::Pending(token), deadline).await,
            }
        };
        let (current, pending) = tokio::join!(self.store().value(secret, VersionSelector::Current, deadline), pending);
        (findings.current, findings.pending) = (VersionState::of(current), VersionState::of(pending));
    }

    /// The state of a version's credential. It is tried if it can be.
    async fn held(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        held: &VersionState,
        probe: Probe,
    ) -> CredentialState {
        match &held.document {
            Some(document) => self.attempted(context, current, document, probe).await,
            None => held.credential.clone(),
        }
    }

    async fn attempted(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        tried: &Document,
        probe: Probe,
    ) -> CredentialState {
        let label = match probe {
            Probe::Pending => Label::Pending,
            Probe::Previous | Probe::Older => Label::Previous,
            Probe::Current | Probe::Helper => Label::Current,
        };
        match self.target().attempt(context, Versions { current, pending: tried }, label).await {
            Ok(tried) => CredentialState::Tried(tried),
            Err(error) if matches!(probe, Probe::Previous | Probe::Older) && is_of_the_version(&error) => {
                CredentialState::NotOurs
            }
            Err(error) => CredentialState::Tried(Attempt::unknown(error)),
        }
    }
}

/// Whether the version itself is the reason why its credential was not tried. A cause that passes by itself is another one.
fn is_of_the_version(error: &Error) -> bool {
    error.class() == Class::Permanent
}

impl Diagnosis {
    fn of(findings: Findings, secret: &str) -> Self {
        let (finding, cause) = findings.finding();
        let (cause, wait) = (cause.cloned(), findings.may_be_under_way(finding));
        let examined = |id: Option<&str>, held: &VersionState| {
            let id = id?;
            let labels = findings.description.labels.get(id).cloned().unwrap_or_default();
            Some(Examined { version: id.to_owned(), labels, age: held.age, credential: held.credential.clone() })
        };
        let (description, rotated) = (&findings.description, findings.description.rotated());
        let pending = description.pending_version().filter(|_| findings.stuck);
        let off = description.rotation_enabled != Some(true);
        let left = pending.filter(|_| off).zip(description.current_version());
        let older = findings.older.iter().filter_map(|(id, held)| examined(Some(id), held));
        // AWSPREVIOUS stands in the list once, also if it is the version that was asked for.
        let asked = findings.asked.iter().filter_map(|(id, held)| examined(Some(id), held));
        let untried = |id: &&str| findings.asked.as_ref().is_none_or(|(asked, _)| asked != id);
        let versions = [
            examined(description.current_version(), &findings.current),
            examined(pending.filter(untried), &findings.pending),
            examined(description.previous_version().filter(untried), &findings.previous),
        ];
        Self {
            versions: versions.into_iter().flatten().chain(older).chain(asked).collect(),
            secret: description.arn.clone().unwrap_or_else(|| secret.to_owned()),
            rotation_enabled: description.rotation_enabled,
            since_rotation: description.last_rotated.map(age_of),
            last_rotated: description.last_rotated.and_then(date),
            due: rotated.due().filter(|_| rotated.rotation_enabled).and_then(date),
            helper: match findings.helper {
                HelperState::There(helper) => Some(helper),
                HelperState::NotLooked | HelperState::Nothing | HelperState::Unknown(_) => None,
            },
            finding,
            cause,
            wait,
            iam_authentication: findings.iam_authentication,
            description: description.clone(),
            left: left.map(|(pending, current)| LeftBehind { pending: pending.into(), current: current.into() }),
        }
    }

    /// The finding.
    pub fn finding(&self) -> Finding {
        self.finding
    }

    pub(super) fn secret(&self) -> &str {
        &self.secret
    }

    /// What DescribeSecret said before anything was tried.
    pub(super) fn description(&self) -> &Description {
        &self.description
    }

    /// Why a credential could not be tried, if that is the finding.
    pub(super) fn cause(&self) -> Option<&Error> {
        self.cause.as_ref()
    }

    pub(super) fn pending_has_a_value(&self) -> bool {
        let pending = self.description.pending_version();
        let examined = self.versions.iter().find(|one| pending == Some(&one.version));
        examined.is_some_and(|one| one.credential != CredentialState::None)
    }

    /// The older version whose credential works, if that is the finding.
    pub(super) fn older_in_effect(&self) -> Option<&str> {
        let last = self.versions.last().filter(|_| self.finding == Finding::OlderInEffect)?;
        Some(&last.version)
    }

    /// The finding's stable word, or the code of the error that prevented a finding.
    pub fn code(&self) -> &'static str {
        self.cause.as_ref().map_or(self.finding.as_str(), |error| error.code().as_str())
    }

    fn what(&self) -> String {
        let what = self.finding.summary();
        match (&self.due, &self.last_rotated) {
            (Some(due), Some(last)) if self.finding == Finding::Overdue => {
                format!("{what}: since {due}, after the last rotation at {last}")
            }
            (Some(due), None) if self.finding == Finding::Overdue => {
                format!("{what}: since {due}, and never took place")
            }
            _ => what.to_owned(),
        }
    }

    /// What to do next.
    pub(super) fn next_action(&self) -> String {
        let next = match (&self.cause, self.way_out_while_off()) {
            (Some(error), _) => error.code().next_action().to_owned(),
            (None, Some(way_out)) => way_out,
            (None, None) => self.finding.next_action().to_owned(),
        };
        if self.wait { format!("{WAIT} {next}") } else { next }
    }

    /// The way out of a rotation that was begun while rotation is off, as commands.
    fn way_out_while_off(&self) -> Option<String> {
        let LeftBehind { pending, current } = self.left.as_ref()?;
        let secret = &self.secret;
        let label = format!("`aws secretsmanager update-secret-version-stage --secret-id {secret} --version-stage");
        let remove = format!("Remove AWSPENDING: {label} AWSPENDING --remove-from-version-id {pending}`.");
        let rotate = format!("`aws secretsmanager rotate-secret --secret-id {secret}`");
        let turn_on = format!("Then turn rotation on with {rotate}, if the secret is meant to rotate.");
        let steps = match self.finding {
            Finding::PendingInEffect => format!(
                "Make the pending version current, which serves consumers at once: {label} AWSCURRENT --move-to-version-id {pending} --remove-from-version-id {current}`. {turn_on}"
            ),
            Finding::Unfinished => {
                format!("The pending credential is not needed, because AWSCURRENT works. {remove} {turn_on}")
            }
            Finding::PreviousInEffect => {
                format!("The pending credential does not work. {remove} {}", self.finding.next_action())
            }
            Finding::RescuePossible | Finding::CurrentRefused => {
                format!("The pending credential does not work. {remove} Then run {rotate}.")
            }
            _ => return None,
        };
        Some(format!("Rotation is off, so Secrets Manager does not go on with the rotation that was begun. {steps}"))
    }

    /// The answer as JSON. It holds ids, labels, ages and words, and never a secret's value.
    pub fn to_json(&self) -> Value {
        json!({
            "step": "diagnose",
            "secret": self.secret,
            "healthy": self.finding == Finding::Healthy,
            "finding": self.finding.as_str(),
            "what": self.what(),
            "error": self.cause.as_ref().map(error_json),
            "nextAction": self.next_action(),
            "rotationEnabled": self.rotation_enabled.unwrap_or(false),
            "secondsSinceRotation": self.since_rotation.map(|time| time.as_secs()),
            "due": self.due,
            "iamAuthentication": self.iam_authentication,
            "versions": self.versions.iter().map(Examined::to_json).collect::<Vec<_>>(),
            "companion": self.helper.as_ref().map(helper_secret_json),
        })
    }
}

fn helper_secret_json(helper: &HelperSecret) -> Value {
    let credential = helper.tried.clone().map_or(CredentialState::NotTried, CredentialState::Tried);
    let mut fields = Map::new();
    fields.insert("secret".to_owned(), secret_name(&helper.secret).into());
    fields.insert("credential".to_owned(), credential.as_str().into());
    if let Some(error) = credential.error() {
        fields.insert("error".to_owned(), error_json(error));
    }
    fields.into()
}

impl Examined {
    fn to_json(&self) -> Value {
        let mut labels: Vec<_> = self.labels.clone();
        labels
            .sort_by_key(|label| ([CURRENT, PENDING, PREVIOUS].iter().position(|known| known == label), label.clone()));
        let mut fields = Map::new();
        fields.insert("version".to_owned(), self.version.clone().into());
        fields.insert("labels".to_owned(), labels.into());
        if let Some(age) = self.age {
            fields.insert("ageSeconds".to_owned(), age.as_secs().into());
        }
        fields.insert("credential".to_owned(), self.credential.as_str().into());
        if let Some(error) = self.credential.error() {
            fields.insert("error".to_owned(), error_json(error));
        }
        fields.into()
    }
}

fn error_json(error: &Error) -> Value {
    json!({"code": error.code().as_str(), "message": error.to_string()})
}

#[cfg(test)]
mod tests {
    use super::search::UNDER_WAY;
    use super::*;
    use crate::protocol::observation::Observation;

    /// Between setSecret and finishSecret a healthy rotation looks like one that was left there.
    #[test]
    fn what_may_be_under_way_is_waited_for() {
        let works = || CredentialState::Tried(Attempt::WORKS);
        let rejected = || {
            let error = Some(Error::new(Code::CurrentRejected));
            CredentialState::Tried(Attempt { observation: Observation::Rejected, error })
        };
        let (young, old) = (Some(UNDER_WAY / 2), Some(UNDER_WAY));
        for (current, pending, age, finding, wait) in [
            (rejected(), works(), young, Finding::PendingInEffect, true),
            (rejected(), works(), old, Finding::PendingInEffect, false),
            (works(), CredentialState::NotTried, young, Finding::UnderWay, false),
            (works(), CredentialState::NotTried, old, Finding::Unfinished, false),
            // createSecret has not stored a value yet, or never will.
            (works(), CredentialState::None, None, Finding::Unfinished, true),
            (rejected(), rejected(), young, Finding::LockedOut, false),
            // It may have exchanged the key a moment ago.
            (rejected(), CredentialState::None, None, Finding::LockedOut, true),
        ] {
            let mut findings = Findings { stuck: true, helper: HelperState::Nothing, ..Findings::default() };
            (findings.current.credential, findings.pending.credential, findings.pending.age) = (current, pending, age);
            findings.previous.credential = CredentialState::None;
            findings.search = Search::Over;
            findings.description.rotation_enabled = Some(true);
            let diagnosis = Diagnosis::of(findings, "s");
            assert_eq!(diagnosis.finding(), finding);
            let next = diagnosis.to_json()["nextAction"].as_str().unwrap().to_owned();
            assert_eq!(
                next,
                if wait { format!("{WAIT} {}", finding.next_action()) } else { finding.next_action().into() }
            );
            assert!(!wait || next.starts_with("Wait "), "{next}");
        }
    }

    /// RotateSecret does nothing then, so no advice may rely on it before a label has moved.
    #[test]
    fn while_rotation_is_off_a_label_moves_before_anything_else() {
        let rejected = || {
            let error = Some(Error::new(Code::CurrentRejected));
            CredentialState::Tried(Attempt { observation: Observation::Rejected, error })
        };
        let works = || CredentialState::Tried(Attempt::WORKS);
        let rescuer = |tried| HelperState::There(HelperSecret { secret: "admin".to_owned(), rescues: true, tried });
        let (moved, removed) = (
            "AWSCURRENT --move-to-version-id new --remove-from-version-id old`",
            "AWSPENDING --remove-from-version-id new`",
        );
        for (current, pending, previous, helper, finding, command) in [
            (rejected(), works(), CredentialState::None, HelperState::Nothing, Finding::PendingInEffect, moved),
            (works(), rejected(), CredentialState::None, HelperState::Nothing, Finding::Unfinished, removed),
            (rejected(), rejected(), works(), HelperState::Nothing, Finding::PreviousInEffect, removed),
            (rejected(), rejected(), rejected(), rescuer(Some(Attempt::WORKS)), Finding::RescuePossible, removed),
            (rejected(), rejected(), rejected(), rescuer(None), Finding::CurrentRefused, removed),
        ] {
            let label = |version: &str, label: &str| (version.to_owned(), vec![label.to_owned()]);
            let labels = [label("old", CURRENT), label("new", PENDING)].into();
            let description = Description { labels, rotation_enabled: Some(false), ..Description::default() };
            let mut findings = Findings { description, stuck: true, helper, ..Findings::default() };
            findings.pending.age = Some(UNDER_WAY);
            (findings.current.credential, findings.pending.credential) = (current, pending);
            findings.previous.credential = previous;
            let diagnosis = Diagnosis::of(findings, "s");
            assert_eq!(diagnosis.finding(), finding);
            let next = diagnosis.next_action();
            let at = |command: &str| next.find(command).unwrap_or_else(|| panic!("{command} is not in: {next}"));
            assert!(at(command) < next.find("rotate-secret").unwrap_or(next.len()), "{next}");
        }
    }

    #[test]
    fn a_companion_that_cannot_be_tried_is_told_as_such() {
        let helper = HelperSecret { secret: "admin".to_owned(), rescues: true, tried: None };
        let mut findings = Findings { helper: HelperState::There(helper), ..Findings::default() };
        findings.current.credential = CredentialState::Tried(Attempt::WORKS);
        findings.description.rotation_enabled = Some(true);
        let answer = Diagnosis::of(findings, "s").to_json();
        assert_eq!(answer["companion"], json!({"secret": "admin", "credential": "not-tried"}));
        assert_eq!(answer["finding"], "healthy");
    }
}
