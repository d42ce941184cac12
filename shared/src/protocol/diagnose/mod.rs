//! What is wrong with a secret's rotation, and what to do about it: found out by reading and by trying credentials, without
//! changing anything.
//!
//! No credential is tried that need not be: servers count refused logins, and some lock the user after a few. AWSPENDING is tried
//! only where AWSCURRENT is refused, AWSPREVIOUS only where both are, and then the superuser's or admin's. What neither works nor is
//! refused ends the search, as it ends setSecret: nothing is concluded from silence. Where AWSCURRENT works, the superuser's or
//! admin's is tried at once, as the next rotation may need it.

mod finding;

pub use finding::Finding;

use crate::clock::Deadline;
use crate::document::Document;
use crate::error::{Class, Code, Error, Fact, Result};
use crate::protocol::Rotation;
use crate::protocol::context::StepContext;
use crate::protocol::label::Label;
use crate::protocol::label::{CURRENT, PENDING, PREVIOUS};
use crate::protocol::notes::StepNotes;
use crate::protocol::observation::{Attempt, Observation};
use crate::protocol::store::{Description, SecretStore, Version, VersionSelector};
use crate::protocol::target::{HelperSecret, Target, Versions};
use serde_json::{Map, Value, json};
use std::time::Duration;

/// As long as a function's invocation can take, so a rotation whose value is younger may be under way still.
const UNDER_WAY: Duration = Duration::from_secs(15 * 60);
/// Before the next action of a finding that a rotation under way brings about as well.
const WAIT: &str =
    "Wait a quarter of an hour and diagnose again, as the rotation may be under way. Go on if the finding stays.";

/// What was found.
#[derive(Clone, Debug)]
pub struct Diagnosis {
    secret: String,
    rotation_enabled: Option<bool>,
    since_rotation: Option<Duration>,
    versions: Vec<Examined>,
    companion: Option<HelperSecret>,
    finding: Finding,
    /// Where the finding is that a credential could not be tried: why.
    cause: Option<Error>,
    /// The rotation that is not finished may be under way.
    wait: bool,
}

/// One version that carries a label.
#[derive(Clone, Debug)]
struct Examined {
    version: String,
    labels: Vec<String>,
    age: Option<Duration>,
    credential: Credential,
}

/// What is known about a version's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Credential {
    /// The version has no value.
    None,
    /// It was not tried.
    NotTried,
    /// It is for something else than the current one, or cannot be read: no rotation would try it.
    NotOurs,
    Tried(Attempt),
}

impl Credential {
    fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NotTried | Self::NotOurs => "not-tried",
            Self::Tried(tried) => tried.observation.as_str(),
        }
    }

    /// Whether it can be left out of account: it is refused, or there is none to try.
    fn is_out(&self) -> bool {
        matches!(self, Self::None | Self::NotOurs) || self.is(Observation::Rejected)
    }

    fn is(&self, observation: Observation) -> bool {
        matches!(self, Self::Tried(tried) if tried.observation == observation)
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Tried(tried) => tried.error.as_ref(),
            Self::None | Self::NotTried | Self::NotOurs => None,
        }
    }
}

impl<S: SecretStore, T: Target> Rotation<S, T> {
    /// Examines one secret. Reads only.
    ///
    /// # Errors
    /// Those of DescribeSecret: without its answer there is nothing to tell. [`Code::TimeSpent`].
    pub async fn diagnose(&self, secret: &str, deadline: Deadline) -> Result<Diagnosis> {
        let work = async {
            let description = self.store().describe(secret, deadline).await?;
            Ok(self.examined(description, secret, deadline).await.into_diagnosis(secret))
        };
        // Every wait inside has a limit of its own that names what it waited for. This one is for what they leave out.
        let spent = || Err(Error::new(Code::TimeSpent).with(Fact::Secret, secret));
        deadline.limit(work).await.unwrap_or_else(|_| spent())
    }

    async fn examined(&self, description: Description, secret: &str, deadline: Deadline) -> Findings {
        let pending = description.pending_version().map(str::to_owned);
        let stuck = pending.filter(|id| description.current_version() != Some(id));
        let notes = StepNotes::default();
        let token = stuck.clone().unwrap_or_default();
        let context = StepContext::new(self.store(), secret, &token, description.clone(), &notes, deadline);
        let mut seen = Findings { description, stuck: stuck.is_some(), ..Findings::default() };
        self.read(&context, secret, &mut seen, deadline).await;
        let Some(current) = seen.current.document.clone() else { return seen };
        while let Some(look) = seen.next() {
            match look {
                Probe::Current => seen.current.credential = self.attempted(&context, &current, &current, look).await,
                Probe::Pending => seen.pending.credential = self.held(&context, &current, &seen.pending, look).await,
                Probe::Previous => {
                    seen.previous =
                        VersionState::of(self.store().value(secret, VersionSelector::Previous, deadline).await)
                            .if_ours();
                    seen.previous.credential = self.held(&context, &current, &seen.previous, look).await;
                }
                Probe::HelperSecret => {
                    seen.helper = match self.target().attempt_companion(&context, &current).await {
                        Ok(companion) => companion.map_or(HelperState::Nothing, HelperState::There),
                        Err(error) => HelperState::Unknown(error),
                    }
                }
            }
        }
        seen
    }

    /// Reads the two versions that are always looked at.
    async fn read(&self, context: &StepContext<'_>, secret: &str, seen: &mut Findings, deadline: Deadline) {
        let pending = async {
            match context.token() {
                "" => Ok(None),
                token => self.store().value(secret, VersionSelector::Pending(token), deadline).await,
            }
        };
        let (current, pending) = tokio::join!(self.store().value(secret, VersionSelector::Current, deadline), pending);
        (seen.current, seen.pending) = (VersionState::of(current), VersionState::of(pending));
    }

    /// What is known of a version's credential after trying it, if it can be tried.
    async fn held(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        held: &VersionState,
        look: Probe,
    ) -> Credential {
        match &held.document {
            Some(document) => self.attempted(context, current, document, look).await,
            None => held.credential.clone(),
        }
    }

    async fn attempted(
        &self,
        context: &StepContext<'_>,
        current: &Document,
        tried: &Document,
        look: Probe,
    ) -> Credential {
        let label = match look {
            Probe::Pending => Label::Pending,
            Probe::Previous => Label::Previous,
            Probe::Current | Probe::HelperSecret => Label::Current,
        };
        match self.target().attempt(context, Versions { current, pending: tried }, label).await {
            Ok(tried) => Credential::Tried(tried),
            Err(error) if look == Probe::Previous && is_of_the_version(&error) => Credential::NotOurs,
            Err(error) => Credential::Tried(Attempt::unknown(error)),
        }
    }
}

/// Whether a version is the reason that its credential was not tried. What passes by itself is not the version's.
fn is_of_the_version(error: &Error) -> bool {
    error.class() == Class::Permanent
}

/// What there is to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Probe {
    Current,
    Pending,
    Previous,
    HelperSecret,
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Findings {
    description: Description,
    /// AWSPENDING is on another version than AWSCURRENT.
    stuck: bool,
    current: VersionState,
    pending: VersionState,
    previous: VersionState,
    helper: HelperState,
}

/// What is known of the superuser's or admin's credential.
#[derive(Debug, Default)]
enum HelperState {
    #[default]
    NotLooked,
    /// The secret has none.
    Nothing,
    /// Whether there is one, or what it is, could not be found out.
    Unknown(Error),
    There(HelperSecret),
}

/// A version as far as it could be read.
#[derive(Debug)]
struct VersionState {
    age: Option<Duration>,
    document: Option<Document>,
    credential: Credential,
}

impl Default for VersionState {
    fn default() -> Self {
        Self { age: None, document: None, credential: Credential::NotTried }
    }
}

impl VersionState {
    fn of(version: Result<Option<Version>>) -> Self {
        let unread = |error| Credential::Tried(Attempt::unknown(error));
        match version {
            Ok(None) => Self { credential: Credential::None, ..Self::default() },
            Ok(Some(version)) => match Document::parse(version.text) {
                Ok(document) => Self { age: version.age, document: Some(document), ..Self::default() },
                Err(error) => Self { age: version.age, credential: unread(error), ..Self::default() },
            },
            Err(error) => Self { credential: unread(error), ..Self::default() },
        }
    }

    /// The same of a version that no rotation needs: one that holds something else is none of them.
    fn if_ours(self) -> Self {
        match self.credential.error() {
            Some(error) if matches!(error.code(), Code::SecretNotJson | Code::FieldInvalid) => {
                Self { credential: Credential::NotOurs, ..self }
            }
            _ => self,
        }
    }
}

impl Findings {
    /// What to look at next. In the order of a single user's setSecret, and no further than that would go
    /// (`database::plan::next_move`).
    fn next(&self) -> Option<Probe> {
        if self.current.credential == Credential::NotTried {
            return Some(Probe::Current);
        }
        if self.current.credential.is(Observation::Rejected) {
            for (look, held) in [(Probe::Pending, &self.pending), (Probe::Previous, &self.previous)] {
                match &held.credential {
                    Credential::NotTried => return Some(look),
                    credential if credential.is_out() => {}
                    _ => return None,
                }
            }
        } else if !matches!(&self.current.credential, Credential::Tried(tried) if tried.is_usable()) {
            return None;
        }
        matches!(self.helper, HelperState::NotLooked).then_some(Probe::HelperSecret)
    }

    /// What is the matter, and the error that kept us from knowing more.
    fn finding(&self) -> (Finding, Option<&Error>) {
        match &self.current.credential {
            Credential::None | Credential::NotTried | Credential::NotOurs => (Finding::CurrentMissing, None),
            Credential::Tried(tried) => match tried.observation {
                Observation::Unreachable | Observation::Unknown => (Finding::Unclear, tried.error.as_ref()),
                // The password is right, and the database cannot be used, for example.
                Observation::Works if !tried.is_usable() => (Finding::Unclear, tried.error.as_ref()),
                Observation::Works => self.while_consumers_are_served(),
                Observation::Rejected => self.while_consumers_are_refused(),
            },
        }
    }

    fn while_consumers_are_served(&self) -> (Finding, Option<&Error>) {
        if self.stuck {
            let young = self.pending.age.is_some_and(|age| age < UNDER_WAY);
            return (if young { Finding::UnderWay } else { Finding::Unfinished }, None);
        }
        match &self.helper {
            HelperState::Unknown(error) => return (Finding::CompanionFails, Some(error)),
            // What was not tried is no failure.
            HelperState::There(HelperSecret { tried: Some(tried), .. }) if !tried.is_usable() => {
                return (Finding::CompanionFails, tried.error.as_ref());
            }
            _ => {}
        }
        let on = self.description.rotation_enabled == Some(true);
        (if on { Finding::Healthy } else { Finding::RotationOff }, None)
    }

    fn while_consumers_are_refused(&self) -> (Finding, Option<&Error>) {
        let pending = (&self.pending.credential, Finding::PendingInEffect);
        let previous = (&self.previous.credential, Finding::PreviousInEffect);
        for (credential, in_effect) in [pending, previous] {
            match credential {
                works if works.is(Observation::Works) => return (in_effect, None),
                out if out.is_out() => {}
                unclear => return (Finding::CurrentRefused, unclear.error()),
            }
        }
        match &self.helper {
            HelperState::Nothing | HelperState::There(HelperSecret { rescues: false, .. }) => {
                (Finding::LockedOut, None)
            }
            HelperState::NotLooked | HelperState::There(HelperSecret { tried: None, .. }) => {
                (Finding::CurrentRefused, None)
            }
            HelperState::Unknown(error) => (Finding::CurrentRefused, Some(error)),
            HelperState::There(HelperSecret { tried: Some(tried), .. }) if tried.is_usable() => {
                (Finding::RescuePossible, None)
            }
            HelperState::There(HelperSecret { tried: Some(tried), .. }) => {
                (Finding::CurrentRefused, tried.error.as_ref())
            }
        }
    }

    /// Whether an invocation may be at work on the rotation that is not finished: its value is young or, as long as it has none,
    /// of an age that nobody knows. With a value, only a healthy step looks like the findings named here; without one, the current
    /// key may have been exchanged a moment ago.
    fn may_be_under_way(&self, finding: Finding) -> bool {
        if self.stuck && self.pending.credential == Credential::None {
            return !matches!(finding, Finding::Unclear | Finding::CurrentMissing);
        }
        let not_finished = matches!(finding, Finding::PendingInEffect | Finding::Unfinished);
        not_finished && self.pending.age.is_none_or(|age| age < UNDER_WAY)
    }

    fn into_diagnosis(self, secret: &str) -> Diagnosis {
        let (finding, cause) = self.finding();
        let (cause, wait) = (cause.cloned(), self.may_be_under_way(finding));
        let examined = |id: Option<&str>, held: &VersionState| {
            let id = id?;
            let labels = self.description.labels.get(id).cloned().unwrap_or_default();
            Some(Examined { version: id.to_owned(), labels, age: held.age, credential: held.credential.clone() })
        };
        let description = &self.description;
        let pending = description.pending_version().filter(|_| self.stuck);
        let versions = [
            examined(description.current_version(), &self.current),
            examined(pending, &self.pending),
            examined(description.previous_version(), &self.previous),
        ];
        Diagnosis {
            versions: versions.into_iter().flatten().collect(),
            secret: description.arn.clone().unwrap_or_else(|| secret.to_owned()),
            rotation_enabled: description.rotation_enabled,
            since_rotation: description.last_rotated.map(crate::clock::age_of),
            companion: match self.helper {
                HelperState::There(companion) => Some(companion),
                HelperState::NotLooked | HelperState::Nothing | HelperState::Unknown(_) => None,
            },
            finding,
            cause,
            wait,
        }
    }
}

impl Diagnosis {
    /// What is the matter.
    pub fn finding(&self) -> Finding {
        self.finding
    }

    /// The stable word for it: the error's code where an error kept us from finding out.
    pub fn code(&self) -> &'static str {
        self.cause.as_ref().map_or(self.finding.as_str(), |error| error.code().as_str())
    }

    /// What to do next.
    fn next_action(&self) -> String {
        let next = self.cause.as_ref().map_or(self.finding.next_action(), |error| error.code().next_action());
        if self.wait { format!("{WAIT} {next}") } else { next.to_owned() }
    }

    /// The answer. Holds ids, labels, ages and words; never a value.
    pub fn to_json(&self) -> Value {
        json!({
            "step": "diagnose",
            "secret": self.secret,
            "healthy": self.finding == Finding::Healthy,
            "finding": self.finding.as_str(),
            "what": self.finding.summary(),
            "error": self.cause.as_ref().map(error_json),
            "nextAction": self.next_action(),
            "rotationEnabled": self.rotation_enabled.unwrap_or(false),
            "secondsSinceRotation": self.since_rotation.map(|time| time.as_secs()),
            "versions": self.versions.iter().map(Examined::to_json).collect::<Vec<_>>(),
            "companion": self.companion.as_ref().map(companion_json),
        })
    }
}

fn companion_json(companion: &HelperSecret) -> Value {
    let credential = companion.tried.clone().map_or(Credential::NotTried, Credential::Tried);
    let mut fields = Map::new();
    fields.insert("secret".to_owned(), companion.secret.clone().into());
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
    use super::*;
    use crate::database::plan::{Credential as Tries, Fallbacks, Move, Observations, next_move};
    use crate::secret::SecretText;
    use Observation::{Rejected, Unknown, Unreachable, Works};

    const ALL: [Observation; 4] = [Works, Rejected, Unreachable, Unknown];

    /// What trying one would tell, with an error of this code unless it works.
    fn tried(observation: Observation, code: Code) -> Attempt {
        Attempt { observation, error: (observation != Works).then(|| Error::new(code)) }
    }

    fn credentials(code: Code) -> impl Iterator<Item = Credential> {
        ALL.into_iter().map(move |observation| Credential::Tried(tried(observation, code)))
    }

    fn helpers() -> Vec<HelperState> {
        let there = |rescues, tried| HelperState::There(HelperSecret { secret: "s".to_owned(), rescues, tried });
        let all = || ALL.into_iter().map(|observation| Some(tried(observation, Code::SuperuserRejected)));
        let mut besides = vec![HelperState::Nothing, HelperState::Unknown(Error::new(Code::SuperuserRejected))];
        for rescues in [true, false] {
            besides.extend(all().chain([None]).map(|tried| there(rescues, tried)));
        }
        // The password is right, and nothing can be done with it.
        let blocked = Attempt { observation: Works, error: Some(Error::new(Code::SuperuserRejected)) };
        besides.push(there(true, Some(blocked)));
        besides
    }

    /// What would be found in each state, and what is looked at for it.
    struct State {
        current: Credential,
        pending: Credential,
        previous: Credential,
        helper: HelperState,
    }

    impl State {
        /// All combinations in which there is a current version.
        fn all() -> Vec<Self> {
            let pendings = || credentials(Code::ConnectionLost).chain([Credential::None]);
            let previouses = || credentials(Code::ServerSilent).chain([Credential::None, Credential::NotOurs]);
            let mut all = Vec::new();
            for current in credentials(Code::ConnectionRefused) {
                for pending in pendings() {
                    for previous in previouses() {
                        for helper in helpers() {
                            let (current, pending, previous) = (current.clone(), pending.clone(), previous.clone());
                            all.push(Self { current, pending, previous, helper });
                        }
                    }
                }
            }
            all
        }

        /// As `diagnose` goes about it.
        fn seen(&self) -> (Findings, Vec<Probe>) {
            let (mut seen, mut looks) = (Findings::default(), Vec::new());
            if self.pending == Credential::None {
                seen.pending.credential = Credential::None;
            }
            while let Some(look) = seen.next() {
                assert!(!looks.contains(&look), "{look:?} twice");
                looks.push(look);
                match look {
                    Probe::Current => seen.current.credential = self.current.clone(),
                    Probe::Pending => seen.pending.credential = self.pending.clone(),
                    Probe::Previous => seen.previous.credential = self.previous.clone(),
                    Probe::HelperSecret => seen.helper = self.helper.copy(),
                }
            }
            (seen, looks)
        }

        /// As a single user's setSecret goes about it: what it tries, and how that ends. A version that is not there is as one
        /// whose credential was made a moment ago. What cannot be tried is as unknown.
        fn moves(&self) -> (Vec<Probe>, Move) {
            let of = |credential: &Credential| match credential {
                Credential::Tried(tried) => Some(tried.observation),
                _ => None,
            };
            let superuser = match &self.helper {
                HelperState::There(one) if !one.rescues => None,
                HelperState::There(one) => Some(one.tried.as_ref().map_or(Unknown, |tried| tried.observation)),
                HelperState::Unknown(_) => Some(Unknown),
                HelperState::Nothing | HelperState::NotLooked => None,
            };
            let fallbacks = Fallbacks { previous: of(&self.previous).is_some(), superuser: superuser.is_some() };
            let (mut seen, mut looks) = (Observations::default(), Vec::new());
            loop {
                match next_move(seen, fallbacks) {
                    Move::Try(Tries::Current) => {
                        seen.current = of(&self.current);
                        looks.push(Probe::Current);
                    }
                    Move::Try(Tries::Pending) => {
                        seen.pending = Some(of(&self.pending).unwrap_or(Rejected));
                        looks.extend((self.pending != Credential::None).then_some(Probe::Pending));
                    }
                    Move::Try(Tries::Previous) => {
                        seen.previous = of(&self.previous);
                        looks.push(Probe::Previous);
                    }
                    Move::Try(Tries::Superuser) => {
                        seen.superuser = superuser;
                        looks.push(Probe::HelperSecret);
                    }
                    end => return (looks, end),
                }
            }
        }
    }

    impl HelperState {
        fn copy(&self) -> Self {
            match self {
                Self::NotLooked => Self::NotLooked,
                Self::Nothing => Self::Nothing,
                Self::Unknown(error) => Self::Unknown(error.clone()),
                Self::There(companion) => Self::There(companion.clone()),
            }
        }

        fn tried(&self) -> Option<&Attempt> {
            match self {
                Self::There(companion) => companion.tried.as_ref(),
                _ => None,
            }
        }
    }

    /// Over all 1,560 states: what is found is what a rotation would come to, and no password is tried that it would not try.
    #[test]
    fn a_finding_is_what_a_rotation_would_come_to() {
        let states = State::all();
        assert_eq!(states.len(), 4 * 5 * 6 * 13);
        for state in states {
            let (seen, looks) = state.seen();
            let (finding, cause) = seen.finding();
            let (tries, end) = state.moves();
            let row = format!(
                "{:?} {:?} {:?} {:?} → {finding:?}, {end:?}",
                state.current, state.pending, state.previous, state.helper
            );
            let blocked = state.helper.tried().is_some_and(|tried| tried.observation == Works && !tried.is_usable());
            let expected = match end {
                Move::ChangeAs(Tries::Current) => match &state.helper {
                    HelperState::Unknown(_) => Finding::CompanionFails,
                    helper if helper.tried().is_some_and(|tried| !tried.is_usable()) => Finding::CompanionFails,
                    _ => Finding::RotationOff,
                },
                Move::AlreadyInEffect => Finding::PendingInEffect,
                Move::ChangeAs(Tries::Previous) => Finding::PreviousInEffect,
                Move::ChangeAs(Tries::Superuser) if blocked => Finding::CurrentRefused,
                Move::ChangeAs(Tries::Superuser) => Finding::RescuePossible,
                Move::Report(Tries::Current) => Finding::Unclear,
                Move::Report(_) => Finding::CurrentRefused,
                Move::LockedOut => Finding::LockedOut,
                Move::Try(_) | Move::ChangeAs(Tries::Pending) => unreachable!("{row}"),
            };
            assert_eq!(finding, expected, "{row}");
            let code = match end {
                Move::Report(Tries::Current) => Some(Code::ConnectionRefused),
                Move::Report(Tries::Pending) => Some(Code::ConnectionLost),
                Move::Report(Tries::Previous) => Some(Code::ServerSilent),
                Move::Report(_) if matches!(&state.helper, HelperState::There(one) if one.tried.is_none()) => None,
                Move::Report(_) => Some(Code::SuperuserRejected),
                _ if matches!(finding, Finding::CompanionFails | Finding::CurrentRefused) => {
                    Some(Code::SuperuserRejected)
                }
                _ => None,
            };
            assert_eq!(cause.map(Error::code), code, "{row}");
            // The previous version is read to know whether it is ours, and the companion's credential is no password of the secret.
            let passwords = |looks: &[Probe]| {
                let read_only =
                    |look: &Probe| *look == Probe::Previous && !matches!(state.previous, Credential::Tried(_));
                let password = |look: &&Probe| **look != Probe::HelperSecret && !read_only(look);
                looks.iter().filter(password).copied().collect::<Vec<_>>()
            };
            assert_eq!(passwords(&looks), passwords(&tries), "{row}");
            let served = state.current.is(Works);
            assert!(looks.contains(&Probe::HelperSecret) || !(served || tries.contains(&Probe::HelperSecret)), "{row}");
        }
    }

    #[test]
    fn locked_out_is_only_who_was_refused_everywhere() {
        for state in State::all() {
            let (seen, _) = state.seen();
            if seen.finding().0 == Finding::LockedOut {
                let credentials = [&state.current, &state.pending, &state.previous];
                assert!(credentials.into_iter().all(Credential::is_out), "{credentials:?}");
                let rescues = |one: &HelperSecret| one.rescues;
                assert!(!matches!(&state.helper, HelperState::Unknown(_)), "{credentials:?}");
                assert!(!matches!(&state.helper, HelperState::There(one) if rescues(one)), "{credentials:?}");
            }
        }
    }

    #[test]
    fn a_previous_version_that_is_no_document_is_not_ours() {
        let held = |text: &str| {
            let version = Version { id: "v".to_owned(), text: SecretText::from(text), age: None };
            VersionState::of(Ok(Some(version))).if_ours().credential
        };
        assert_eq!(held("plain"), Credential::NotOurs);
        assert_eq!(held(r#"{"a": 1, "a": 2}"#), Credential::NotOurs);
        assert_eq!(held("{}"), Credential::NotTried);
    }

    #[test]
    fn a_password_that_is_right_is_not_healthy_where_nothing_can_be_done_with_it() {
        let blocked = Attempt { observation: Works, error: Some(Error::new(Code::DatabaseUnusable)) };
        let mut seen = Findings { helper: HelperState::Nothing, ..Findings::default() };
        seen.current.credential = Credential::Tried(blocked);
        let (finding, cause) = seen.finding();
        assert_eq!((finding, cause.map(Error::code)), (Finding::Unclear, Some(Code::DatabaseUnusable)));
    }

    /// Between setSecret and finishSecret a healthy rotation looks as one that was left there.
    #[test]
    fn what_may_be_under_way_is_waited_for() {
        let works = || Credential::Tried(Attempt::WORKS);
        let rejected = || Credential::Tried(tried(Rejected, Code::CurrentRejected));
        let (young, old) = (Some(UNDER_WAY / 2), Some(UNDER_WAY));
        for (current, pending, age, finding, wait) in [
            (rejected(), works(), young, Finding::PendingInEffect, true),
            (rejected(), works(), old, Finding::PendingInEffect, false),
            (works(), Credential::NotTried, young, Finding::UnderWay, false),
            (works(), Credential::NotTried, old, Finding::Unfinished, false),
            // createSecret has not stored a value yet, or never will.
            (works(), Credential::None, None, Finding::Unfinished, true),
            (rejected(), rejected(), young, Finding::LockedOut, false),
            // It may have exchanged the key a moment ago.
            (rejected(), Credential::None, None, Finding::LockedOut, true),
        ] {
            let mut seen = Findings { stuck: true, helper: HelperState::Nothing, ..Findings::default() };
            (seen.current.credential, seen.pending.credential, seen.pending.age) = (current, pending, age);
            seen.previous.credential = Credential::None;
            let diagnosis = seen.into_diagnosis("s");
            assert_eq!(diagnosis.finding(), finding);
            let next = diagnosis.to_json()["nextAction"].as_str().unwrap().to_owned();
            assert_eq!(
                next,
                if wait { format!("{WAIT} {}", finding.next_action()) } else { finding.next_action().into() }
            );
            assert!(!wait || next.starts_with("Wait "), "{next}");
        }
    }

    #[test]
    fn a_companion_that_cannot_be_tried_is_told_as_such() {
        let companion = HelperSecret { secret: "admin".to_owned(), rescues: true, tried: None };
        let mut seen = Findings { helper: HelperState::There(companion), ..Findings::default() };
        seen.current.credential = Credential::Tried(Attempt::WORKS);
        seen.description.rotation_enabled = Some(true);
        let answer = seen.into_diagnosis("s").to_json();
        assert_eq!(answer["companion"], json!({"secret": "admin", "credential": "not-tried"}));
        assert_eq!(answer["finding"], "healthy");
    }
}
