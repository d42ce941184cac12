//! Decides what a diagnosis tries next, and what the results mean. Pure functions.

use super::finding::Finding;
use crate::document::Document;
use crate::error::{Code, Error, Result};
use crate::protocol::observation::{Attempt, Observation};
use crate::protocol::store::{Description, Version};
use crate::protocol::target::HelperSecret;
use std::time::Duration;

/// The longest time of a Lambda invocation. A rotation whose value is younger may still be under way.
pub(super) const UNDER_WAY: Duration = Duration::from_secs(15 * 60);
/// What is known about a version's credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum CredentialState {
    /// The version has no value.
    None,
    /// It was not tried.
    NotTried,
    /// The version is for another target than the current one, or cannot be read. No rotation would try it.
    NotOurs,
    Tried(Attempt),
}

impl CredentialState {
    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::NotTried | Self::NotOurs => "not-tried",
            Self::Tried(tried) => tried.observation.as_str(),
        }
    }

    /// Whether the search can go on without it: it is refused, or there is none to try.
    pub(super) fn is_out(&self) -> bool {
        matches!(self, Self::None | Self::NotOurs) || self.is(Observation::Rejected)
    }

    pub(super) fn is(&self, observation: Observation) -> bool {
        matches!(self, Self::Tried(tried) if tried.observation == observation)
    }

    pub(super) fn error(&self) -> Option<&Error> {
        match self {
            Self::Tried(tried) => tried.error.as_ref(),
            Self::None | Self::NotTried | Self::NotOurs => None,
        }
    }
}

/// A credential that a diagnosis can try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Probe {
    Current,
    Pending,
    Previous,
    Helper,
    /// The next version that is older than AWSPREVIOUS, or has lost its labels.
    Older,
}

/// What the diagnosis knows so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) description: Description,
    /// AWSPENDING and AWSCURRENT are on different versions.
    pub(super) stuck: bool,
    /// When the rotation was due, if that is more than a day ago.
    pub(super) overdue: Option<Duration>,
    pub(super) current: VersionState,
    pub(super) pending: VersionState,
    pub(super) previous: VersionState,
    pub(super) helper: HelperState,
    /// The older versions that were tried, newest first, with their ids.
    pub(super) older: Vec<(String, VersionState)>,
    pub(super) search: Search,
    /// The version that was tried because the caller asked for it, with its id.
    pub(super) asked: Option<(String, VersionState)>,
    /// Whether RDS says that the server takes tokens in place of passwords, if it was asked.
    pub(super) iam_authentication: Option<bool>,
}

/// How far the search among older versions has come.
#[derive(Debug, Default)]
pub(super) enum Search {
    /// There may be another version to try.
    #[default]
    Open,
    /// No version is left that a rotation would try.
    Over,
    /// A version is left, and the target has refused as many credentials as it may.
    Spent,
    /// The versions could not be read.
    Failed(Error),
}

/// What is known about the superuser's or admin's credential.
#[derive(Debug, Default)]
pub(super) enum HelperState {
    #[default]
    NotLooked,
    /// The secret has none.
    Nothing,
    /// It could not be found out whether the secret has one, or which one.
    Unknown(Error),
    There(HelperSecret),
}

impl HelperState {
    /// Whether a rotation would use it, or nobody can tell.
    fn rescues(&self) -> bool {
        !matches!(self, Self::Nothing | Self::There(HelperSecret { rescues: false, .. }))
    }
}

/// A version as far as it could be read.
#[derive(Debug)]
pub(super) struct VersionState {
    pub(super) age: Option<Duration>,
    pub(super) document: Option<Document>,
    pub(super) credential: CredentialState,
}

impl Default for VersionState {
    fn default() -> Self {
        Self { age: None, document: None, credential: CredentialState::NotTried }
    }
}

impl VersionState {
    pub(super) fn of(version: Result<Option<Version>>) -> Self {
        let unread = |error| CredentialState::Tried(Attempt::unknown(error));
        match version {
            Ok(None) => Self { credential: CredentialState::None, ..Self::default() },
            Ok(Some(version)) => match Document::parse(version.text) {
                Ok(document) => Self { age: version.age, document: Some(document), ..Self::default() },
                Err(error) => Self { age: version.age, credential: unread(error), ..Self::default() },
            },
            Err(error) => Self { credential: unread(error), ..Self::default() },
        }
    }

    /// The state of AWSPREVIOUS, which a rotation can do without: a version that is not a document counts as not ours.
    pub(super) fn if_ours(self) -> Self {
        match self.credential.error() {
            Some(error) if matches!(error.code(), Code::SecretNotJson | Code::FieldInvalid) => {
                Self { credential: CredentialState::NotOurs, ..self }
            }
            _ => self,
        }
    }
}

impl Findings {
    /// Whether this version's credential was tried.
    pub(super) fn has_tried(&self, version: &str) -> bool {
        let labelled = [
            (self.description.current_version(), &self.current),
            (self.description.pending_version(), &self.pending),
            (self.description.previous_version(), &self.previous),
        ];
        let older = self.older.iter().map(|(id, held)| (Some(id.as_str()), held));
        labelled
            .into_iter()
            .chain(older)
            .any(|(id, held)| id == Some(version) && matches!(held.credential, CredentialState::Tried(_)))
    }

    /// What to try next: in the order of a single user's setSecret, and never more than setSecret would try
    /// (`database::plan::next_move`).
    pub(super) fn next(&self) -> Option<Probe> {
        if self.current.credential == CredentialState::NotTried {
            return Some(Probe::Current);
        }
        if self.current.credential.is(Observation::Rejected) {
            for (probe, held) in [(Probe::Pending, &self.pending), (Probe::Previous, &self.previous)] {
                match &held.credential {
                    CredentialState::NotTried => return Some(probe),
                    credential if credential.is_out() => {}
                    _ => return None,
                }
            }
        } else if !matches!(&self.current.credential, CredentialState::Tried(tried) if tried.is_usable()) {
            return None;
        }
        match self.helper {
            HelperState::NotLooked => Some(Probe::Helper),
            _ if self.may_search() => Some(Probe::Older),
            _ => None,
        }
    }

    /// Whether an older version is to be tried: nobody else can help, and the search has neither succeeded nor ended.
    fn may_search(&self) -> bool {
        let refused = self.current.credential.is(Observation::Rejected);
        let last_is_out = self.older.last().is_none_or(|(_, held)| held.credential.is_out());
        refused && !self.helper.rescues() && matches!(self.search, Search::Open) && last_is_out
    }

    /// The finding, and the error that prevented a better one.
    pub(super) fn finding(&self) -> (Finding, Option<&Error>) {
        match &self.current.credential {
            CredentialState::None | CredentialState::NotTried | CredentialState::NotOurs => {
                (Finding::CurrentMissing, None)
            }
            CredentialState::Tried(tried) => match tried.observation {
                Observation::Unreachable | Observation::Unknown => (Finding::Unclear, tried.error.as_ref()),
                // The password is right, and the database cannot be used, for example.
                Observation::Works if !tried.is_usable() && !was_not_generated(tried) => {
                    (Finding::Unclear, tried.error.as_ref())
                }
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
            // A credential that was not tried has not failed.
            HelperState::There(HelperSecret { tried: Some(tried), .. }) if !tried.is_usable() => {
                return (Finding::CompanionFails, tried.error.as_ref());
            }
            _ => {}
        }
        let on = self.description.rotation_enabled == Some(true);
        match self.current.credential.error() {
            Some(error) if error.code() == Code::CertificateExpires => (Finding::CertificateExpires, Some(error)),
            _ if !on => (Finding::RotationOff, None),
            _ if self.overdue.is_some() => (Finding::Overdue, None),
            Some(error) => (Finding::NotGenerated, Some(error)),
            None => (Finding::Healthy, None),
        }
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
            HelperState::Nothing | HelperState::There(HelperSecret { rescues: false, .. }) => self.after_the_search(),
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

    fn after_the_search(&self) -> (Finding, Option<&Error>) {
        match self.older.last() {
            Some((_, held)) if held.credential.is(Observation::Works) => return (Finding::OlderInEffect, None),
            Some((_, held)) if !held.credential.is_out() => return (Finding::CurrentRefused, held.credential.error()),
            _ => {}
        }
        match &self.search {
            Search::Over => (Finding::LockedOut, None),
            Search::Open | Search::Spent => (Finding::NotAllTried, None),
            Search::Failed(error) => (Finding::CurrentRefused, Some(error)),
        }
    }

    /// Whether an invocation may still be working on the unfinished rotation. That is so if the pending value is recent, or if
    /// there is no value yet and so no age. With a value, only a step under way looks like the findings below. Without one, the
    /// current key may have been exchanged a moment ago.
    pub(super) fn may_be_under_way(&self, finding: Finding) -> bool {
        if self.stuck && self.pending.credential == CredentialState::None {
            return !matches!(finding, Finding::Unclear | Finding::CurrentMissing);
        }
        let not_finished = matches!(finding, Finding::PendingInEffect | Finding::Unfinished);
        not_finished && self.pending.age.is_none_or(|age| age < UNDER_WAY)
    }
}

/// Whether the credential is in use although a rotation would give it another form, or is due. Nothing is wrong with it.
fn was_not_generated(tried: &Attempt) -> bool {
    let codes = [Code::KeyNotGenerated, Code::CertificateExpires];
    tried.error.as_ref().is_some_and(|error| codes.contains(&error.code()))
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

    fn credentials(code: Code) -> impl Iterator<Item = CredentialState> {
        ALL.into_iter().map(move |observation| CredentialState::Tried(tried(observation, code)))
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
        current: CredentialState,
        pending: CredentialState,
        previous: CredentialState,
        helper: HelperState,
        older: Olders,
    }

    /// The older versions that a rotation would try, newest first, and whether the limit leaves further ones untried.
    #[derive(Clone, Debug)]
    struct Olders {
        tried: Vec<Attempt>,
        untried: bool,
    }

    impl Olders {
        fn all() -> Vec<Self> {
            let each = |seen: &[Observation]| seen.iter().map(|seen| tried(*seen, Code::ConnectTimeout)).collect();
            let over = |seen: &[Observation]| Self { tried: each(seen), untried: false };
            let mut all = vec![over(&[])];
            all.extend(ALL.map(|last| over(&[last])).into_iter().chain(ALL.map(|last| over(&[Rejected, last]))));
            all.extend([Self { untried: true, ..over(&[]) }, Self { untried: true, ..over(&[Rejected]) }]);
            all
        }
    }

    impl State {
        /// All combinations in which there is a current version.
        fn all() -> Vec<Self> {
            let pendings = || credentials(Code::ConnectionLost).chain([CredentialState::None]);
            let previouses =
                || credentials(Code::ServerSilent).chain([CredentialState::None, CredentialState::NotOurs]);
            let mut all = Vec::new();
            for current in credentials(Code::ConnectionRefused) {
                for pending in pendings() {
                    for previous in previouses() {
                        for (helper, older) in helpers()
                            .iter()
                            .flat_map(|helper| Olders::all().into_iter().map(|older| (helper.copy(), older)))
                        {
                            let (current, pending, previous) = (current.clone(), pending.clone(), previous.clone());
                            all.push(Self { current, pending, previous, helper, older });
                        }
                    }
                }
            }
            all
        }

        /// As `diagnose` goes about it.
        fn seen(&self) -> (Findings, Vec<Probe>) {
            let (mut findings, mut probes) = (Findings::default(), Vec::new());
            if self.pending == CredentialState::None {
                findings.pending.credential = CredentialState::None;
            }
            while let Some(probe) = findings.next() {
                assert!(probe == Probe::Older || !probes.contains(&probe), "{probe:?} twice");
                let next = self.older.tried.get(findings.older.len());
                if probe != Probe::Older || next.is_some() {
                    probes.push(probe);
                }
                match probe {
                    Probe::Current => findings.current.credential = self.current.clone(),
                    Probe::Pending => findings.pending.credential = self.pending.clone(),
                    Probe::Previous => findings.previous.credential = self.previous.clone(),
                    Probe::Helper => findings.helper = self.helper.copy(),
                    Probe::Older => match next {
                        Some(attempt) => {
                            let credential = CredentialState::Tried(attempt.clone());
                            findings
                                .older
                                .push(("v".to_owned(), VersionState { credential, ..VersionState::default() }));
                        }
                        None if self.older.untried => findings.search = Search::Spent,
                        None => findings.search = Search::Over,
                    },
                }
            }
            (findings, probes)
        }

        /// As a single user's setSecret goes about it: what it tries, how that ends, and whether a version was left untried. A version that is not there is as one
        /// whose credential was made a moment ago. What cannot be tried is as unknown.
        fn moves(&self) -> (Vec<Probe>, Move, bool) {
            let of = |credential: &CredentialState| match credential {
                CredentialState::Tried(tried) => Some(tried.observation),
                _ => None,
            };
            let superuser = match &self.helper {
                HelperState::There(one) if !one.rescues => None,
                HelperState::There(one) => Some(one.tried.as_ref().map_or(Unknown, |tried| tried.observation)),
                HelperState::Unknown(_) => Some(Unknown),
                HelperState::Nothing | HelperState::NotLooked => None,
            };
            // A superuser who may help makes a longer search needless.
            let mut left: Vec<_> = of(&self.previous).map(|seen| (Probe::Previous, seen)).into_iter().collect();
            let searches = superuser.is_none();
            let older = self.older.tried.iter().map(|attempt| (Probe::Older, attempt.observation));
            left.extend(older.filter(|_| searches));
            left.reverse();
            let mut fallbacks =
                Fallbacks { pending: true, fresh: false, previous: !left.is_empty(), superuser: superuser.is_some() };
            let (mut findings, mut probes) = (Observations::default(), Vec::new());
            loop {
                match next_move(findings, fallbacks) {
                    Move::Try(Tries::Current) => {
                        findings.current = of(&self.current);
                        probes.push(Probe::Current);
                    }
                    Move::Try(Tries::Pending) => {
                        findings.pending = Some(of(&self.pending).unwrap_or(Rejected));
                        probes.extend((self.pending != CredentialState::None).then_some(Probe::Pending));
                    }
                    Move::Try(Tries::Previous) => {
                        let (probe, seen) = left.pop().expect("a version is left");
                        probes.push(probe);
                        findings.previous = Some(seen).filter(|seen| *seen != Rejected);
                        fallbacks.previous = findings.previous.is_some() || !left.is_empty();
                    }
                    Move::Try(Tries::Superuser) => {
                        findings.superuser = superuser;
                        probes.push(Probe::Helper);
                    }
                    end => return (probes, end, searches && self.older.untried),
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
                Self::There(helper) => Self::There(helper.clone()),
            }
        }

        fn tried(&self) -> Option<&Attempt> {
            match self {
                Self::There(helper) => helper.tried.as_ref(),
                _ => None,
            }
        }
    }

    /// Over all 17,160 states: what is found is what a rotation would come to, and no password is tried that it would not try.
    #[test]
    fn a_finding_is_what_a_rotation_would_come_to() {
        let states = State::all();
        assert_eq!(states.len(), 4 * 5 * 6 * 13 * 11);
        for state in states {
            let (findings, probes) = state.seen();
            let (finding, cause) = findings.finding();
            let (tries, end, untried) = state.moves();
            let row = format!(
                "{:?} {:?} {:?} {:?} {:?} → {finding:?}, {end:?}",
                state.current, state.pending, state.previous, state.helper, state.older
            );
            let blocked = state.helper.tried().is_some_and(|tried| tried.observation == Works && !tried.is_usable());
            let expected = match end {
                Move::ChangeAs(Tries::Current) => match &state.helper {
                    HelperState::Unknown(_) => Finding::CompanionFails,
                    helper if helper.tried().is_some_and(|tried| !tried.is_usable()) => Finding::CompanionFails,
                    _ => Finding::RotationOff,
                },
                Move::AlreadyInEffect => Finding::PendingInEffect,
                Move::ChangeAs(Tries::Previous) if state.previous.is(Works) => Finding::PreviousInEffect,
                Move::ChangeAs(Tries::Previous) => Finding::OlderInEffect,
                Move::ChangeAs(Tries::Superuser) if blocked => Finding::CurrentRefused,
                Move::ChangeAs(Tries::Superuser) => Finding::RescuePossible,
                Move::Report(Tries::Current) => Finding::Unclear,
                Move::Report(_) => Finding::CurrentRefused,
                Move::LockedOut if untried => Finding::NotAllTried,
                Move::LockedOut => Finding::LockedOut,
                Move::Try(_) | Move::ChangeAs(Tries::Pending) => unreachable!("{row}"),
            };
            assert_eq!(finding, expected, "{row}");
            let code = match end {
                Move::Report(Tries::Current) => Some(Code::ConnectionRefused),
                Move::Report(Tries::Pending) => Some(Code::ConnectionLost),
                Move::Report(Tries::Previous) if tries.contains(&Probe::Older) => Some(Code::ConnectTimeout),
                Move::Report(Tries::Previous) => Some(Code::ServerSilent),
                Move::Report(_) if matches!(&state.helper, HelperState::There(one) if one.tried.is_none()) => None,
                Move::Report(_) => Some(Code::SuperuserRejected),
                _ if matches!(finding, Finding::CompanionFails | Finding::CurrentRefused) => {
                    Some(Code::SuperuserRejected)
                }
                _ => None,
            };
            assert_eq!(cause.map(Error::code), code, "{row}");
            // The previous version is read to know whether it is ours, and the helper's credential is no password of the secret.
            let passwords = |probes: &[Probe]| {
                let read_only =
                    |probe: &Probe| *probe == Probe::Previous && !matches!(state.previous, CredentialState::Tried(_));
                let password = |probe: &&Probe| **probe != Probe::Helper && !read_only(probe);
                probes.iter().filter(password).copied().collect::<Vec<_>>()
            };
            assert_eq!(passwords(&probes), passwords(&tries), "{row}");
            let served = state.current.is(Works);
            assert!(probes.contains(&Probe::Helper) || !(served || tries.contains(&Probe::Helper)), "{row}");
        }
    }

    #[test]
    fn locked_out_is_only_who_was_refused_everywhere() {
        for state in State::all() {
            let (findings, _) = state.seen();
            if findings.finding().0 == Finding::LockedOut {
                let credentials = [&state.current, &state.pending, &state.previous];
                assert!(credentials.into_iter().all(CredentialState::is_out), "{credentials:?}");
                let refused = |attempt: &Attempt| attempt.observation == Rejected;
                assert!(!state.older.untried && state.older.tried.iter().all(refused), "{:?}", state.older);
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
        assert_eq!(held("plain"), CredentialState::NotOurs);
        assert_eq!(held(r#"{"a": 1, "a": 2}"#), CredentialState::NotOurs);
        assert_eq!(held("{}"), CredentialState::NotTried);
    }

    #[test]
    fn a_password_that_is_right_is_not_healthy_where_nothing_can_be_done_with_it() {
        let blocked = Attempt { observation: Works, error: Some(Error::new(Code::DatabaseUnusable)) };
        let mut findings = Findings { helper: HelperState::Nothing, ..Findings::default() };
        findings.current.credential = CredentialState::Tried(blocked);
        let (finding, cause) = findings.finding();
        assert_eq!((finding, cause.map(Error::code)), (Finding::Unclear, Some(Code::DatabaseUnusable)));
    }
}
