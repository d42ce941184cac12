//! What must hold after each effect and at the end.

use super::case::{
    Case, FIRST_PASSWORD, Owned, SECOND_SECRET, SECRET, STRANGER_PASSWORD, SUPERUSER_PASSWORD, Strategy, Target, USER,
};
use super::history::Act;
use super::issuer::Issuer;
use super::labels::Labels;
use super::pki::Pki;
use super::places::Places;
use super::server::{Server, User, Users};

use crate::secretsmanager::Service;
use rotation::Code;
use rotation::protocol::StepReport;
use rotation::protocol::label::{CURRENT, PENDING, PREVIOUS};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// MySQL blocks a user after this many refused logins, one after the other, if the account has `FAILED_LOGIN_ATTEMPTS 3`. Neither
/// PostgreSQL nor MariaDB (by default) blocks anybody.
const LOGIN_LIMIT: u32 = 3;

/// What a version says.
#[derive(Clone, Debug, Default)]
struct Credential {
    /// Or the id of the key, or nothing.
    user: String,
    /// Or the key.
    password: String,
    /// It has the field that a person has added.
    note: bool,
}

/// What the credential opens.
#[derive(Clone, Copy)]
pub(super) enum Outside<'a> {
    Server(&'a Server),
    Issuer(&'a Issuer),
    Places(&'a Places),
    Pki(&'a Pki),
}

/// Everything that credentials open.
pub(super) type All<'a> = (&'a Server, &'a Issuer, &'a Places, &'a Pki);

/// Who is there besides what belongs to the tested secret.
#[derive(PartialEq, Eq)]
enum Others {
    Users(Users),
    Keys(Vec<Owned>),
}

impl<'a> Outside<'a> {
    pub(super) fn of(case: Case, (server, issuer, places, pki): All<'a>) -> Self {
        match case.target {
            Target::Postgres | Target::Mysql | Target::Mariadb => Self::Server(server),
            Target::Issuer => Self::Issuer(issuer),
            Target::SigningKey => Self::Places(places),
            Target::Tls => Self::Pki(pki),
        }
    }

    /// Whether the credential works.
    pub(super) fn opens(self, user: &str, password: &str) -> bool {
        match self {
            Self::Server(server) => server.opens(user, password),
            Self::Issuer(issuer) => issuer.opens(user, password),
            Self::Places(places) => places.open(user),
            Self::Pki(pki) => pki.open(user, password),
        }
    }

    fn changes(self) -> u64 {
        match self {
            Self::Server(server) => server.changes,
            Self::Issuer(issuer) => issuer.changes(),
            Self::Places(places) => places.changes(),
            Self::Pki(pki) => pki.changes(),
        }
    }

    fn others(self) -> Others {
        match self {
            Self::Server(server) => {
                let others = server.users.iter().filter(|(name, _)| !Server::is_ours(name));
                Others::Users(others.map(|(name, user)| (name.clone(), user.clone())).collect())
            }
            Self::Issuer(issuer) => Others::Keys(issuer.living().1),
            Self::Places(places) => Others::Keys(places.strangers()),
            Self::Pki(pki) => Others::Keys(pki.strangers()),
        }
    }
}

/// Something that must not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// A stable name.
    pub kind: String,
    /// What was seen.
    pub what: String,
    /// After how many calls.
    pub at: u32,
}

/// When the judge looks.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// How many calls there were.
    pub(super) calls: u32,
    /// The number of the call whose effect it was. It is smaller if the call was held up.
    pub(super) call: u32,
    /// How many calls there were before the invocation.
    pub(super) began: u32,
    /// The number of the invocation's last question to Secrets Manager.
    pub(super) asked: u32,
    /// Whether a person did it.
    pub(super) by_person: bool,
}

/// A step has called the rotation done.
#[derive(Clone, Copy)]
struct Done {
    /// After how many calls.
    at: u32,
    /// How many calls there were before its invocation.
    began: u32,
}

/// Watches one history.
pub(super) struct Judge {
    case: Case,
    pub(super) violations: Vec<Violation>,
    pub(super) acts: Vec<Act>,
    /// Whether AWSCURRENT opens the target.
    pub(super) open: bool,
    /// Whether the user in AWSCURRENT may do other things than the base user.
    differs: bool,
    /// The most calls during which AWSCURRENT of a single user was refused.
    pub(super) longest_window: u32,
    /// Whether an event came between the last question and its effect, and AWSCURRENT was refused by it. This is a documented limit.
    pub(super) at_limit: bool,
    window: Option<u32>,
    /// Whether a person has made AWSCURRENT stop opening the target, and it does not open it yet.
    broken: bool,
    /// How many calls there were when AWSCURRENT opened the target again after that.
    mended_at: Option<u32>,
    /// Whether a key stays because nothing proves that it is the secret's, after a person's act.
    not_ours: bool,
    /// How many calls there were at the last act that can destroy a credential.
    destroyed_at: Option<u32>,
    calls: u32,
    /// How many calls there were at the last act.
    acted_at: Option<u32>,
    /// How many calls there were when an outdated answer last hid what a person had done.
    misled_at: Option<u32>,
    /// When a step last called the rotation done.
    done: Option<Done>,
    /// Whether a fault has happened.
    pub(super) faulted: bool,
    /// Whether an invocation of createSecret ran beside another one.
    pub(super) created_at_once: bool,
    /// The invocation whose write has taken effect too late, and was not replaced yet: how many calls there were before it.
    late: Option<u32>,
    /// Whether the last step that called the rotation done said that old credentials have ended.
    retired: bool,
    seen: Option<(u64, Labels)>,
    /// The user, or the chain of a certificate, in AWSCURRENT.
    current_user: String,
    versions: BTreeMap<String, Credential>,
    lost: BTreeSet<String>,
    strangers: Option<Others>,
    /// Texts that no report may hold.
    secrets: Vec<String>,
    /// AWSCURRENT has to keep the field that a person has added.
    note: bool,
}

impl Judge {
    /// `secrets` are texts that no report may hold, besides what the versions say.
    pub(super) fn new(case: Case, secrets: impl IntoIterator<Item = String>) -> Self {
        Self {
            case,
            violations: Vec::new(),
            acts: Vec::new(),
            open: true,
            differs: false,
            longest_window: 0,
            at_limit: false,
            window: None,
            broken: false,
            mended_at: None,
            not_ours: false,
            destroyed_at: None,
            calls: 0,
            acted_at: None,
            misled_at: None,
            done: None,
            faulted: false,
            created_at_once: false,
            late: None,
            retired: true,
            seen: None,
            current_user: String::new(),
            versions: BTreeMap::new(),
            lost: BTreeSet::new(),
            strangers: None,
            secrets: secrets.into_iter().collect(),
            note: false,
        }
    }

    /// Notes a violation, once for each kind.
    pub(super) fn violated(&mut self, kind: &str, what: impl Into<String>) {
        if !self.violations.iter().any(|known| known.kind == kind) {
            self.violations.push(Violation { kind: kind.to_owned(), what: what.into(), at: self.calls });
        }
    }

    pub(super) fn person_acts(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Whether a person has broken something after an invocation that began then could have proved that it works.
    fn raced(&self, began: u32) -> bool {
        self.destroyed_at.is_some_and(|at| at >= began)
    }

    pub(super) fn person_acted(&mut self) {
        self.acted_at = Some(self.calls);
        if self.acts.last().is_some_and(|act| act.destroys()) {
            self.destroyed_at = Some(self.calls);
        }
    }

    /// Whether a person has done something since then.
    pub(super) fn acted_since(&self, began: u32) -> bool {
        self.acted_at.is_some_and(|at| at >= began)
    }

    /// The next answer is outdated. After a person's act it may hide that.
    pub(super) fn answered_late(&mut self, call: u32) {
        self.misled_at = self.acted_at.map(|_| call).or(self.misled_at);
    }

    /// A person has made a version with one more field current.
    pub(super) fn edited(&mut self) {
        self.note = true;
    }

    fn credential(&mut self, service: &Service, secret: &str, id: &str) -> Credential {
        if let Some(known) = self.versions.get(id) {
            return known.clone();
        }
        // A version without a value can get one later.
        let Some(bytes) = service.value(secret, id) else { return Credential::default() };
        let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
        let text = |key: &str| value.pointer(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (user, password) = self.case.strategy.fields();
        let read = Credential { user: text(user), password: text(password), note: value.get("note").is_some() };
        self.versions.insert(id.to_owned(), read.clone());
        read
    }

    /// The user in AWSCURRENT at the last look, or the chain of its certificate.
    pub(super) fn current_user(&self) -> String {
        self.current_user.clone()
    }

    /// Whether the target has changed since the last look.
    pub(super) fn is_behind(&self, outside: Outside<'_>) -> bool {
        self.seen.as_ref().is_none_or(|(changes, _)| *changes != outside.changes())
    }

    /// Looks at the world after an effect. What a person has just broken is the new beginning.
    pub(super) fn look(&mut self, service: &Service, outside: Outside<'_>, labels: &Labels, at: At) {
        let At { calls, call, began, asked, by_person } = at;
        self.calls = calls;
        if self.seen.as_ref().is_some_and(|(changes, seen)| *changes == outside.changes() && seen == labels) {
            return;
        }
        self.seen = Some((outside.changes(), labels.clone()));
        labels.filled.iter().for_each(|id| drop(self.credential(service, SECRET, id)));
        let current = labels.holder(CURRENT).map(|id| self.credential(service, SECRET, id)).unwrap_or_default();
        current.user.clone_into(&mut self.current_user);
        let pending = labels.holder(PENDING).filter(|id| labels.filled.contains(*id));
        let pending = pending.map(|id| self.credential(service, SECRET, id));
        // A person may make a version current that has no value yet.
        let is_filled = labels.holder(CURRENT).is_some_and(|id| labels.filled.contains(id));
        let open = is_filled && outside.opens(&current.user, &current.password);
        if self.open && !open && !by_person && !self.raced(began) {
            // The value that a roll makes exists before it is stored.
            let covered = self.case.strategy == Strategy::Roll
                || pending.is_some_and(|pending| outside.opens(&pending.user, &pending.password));
            let misled = self.misled_at.is_some_and(|at| at >= began);
            let acted = self.acted_at.is_some_and(|at| at > asked);
            // A rotation that began after the person's act was completed, and its credential is refused now.
            let since_act = |done: Done| self.acted_at.is_none_or(|acted| done.began >= acted);
            let overtaken = self.done.is_some_and(|done| done.at >= call && since_act(done));
            let kind = if overtaken { "overtaken: current-refused" } else { "current-refused" };
            let mended = self.mended_at.is_some_and(|at| at > began);
            if !overtaken && (acted || misled || mended) {
                // A person acted between the last question and its effect, where nothing can be asked, or the answer was outdated. Or a
                // person had broken AWSCURRENT, and it was mended behind the back of this invocation, which had looked before.
                // What counts is that the next rotation finds the way back.
                self.at_limit = true;
            } else if self.case.strategy.takes_late_writes() && call < calls && !covered {
                // There is no lock. The invocation whose request was held up puts back what AWSCURRENT needs before it ends.
                self.late = Some(began);
            } else if self.case.never_interrupts() {
                self.violated(kind, "AWSCURRENT stopped opening the target");
            } else if covered {
                self.window = Some(calls);
            } else {
                self.violated(kind, "AWSCURRENT stopped opening the target, and AWSPENDING does not open it");
            }
        }
        let was_broken = self.broken;
        if open && let Some(since) = self.window.take() {
            self.longest_window = self.longest_window.max(calls.saturating_sub(since));
        }
        self.broken = !open && (self.broken || self.open && by_person);
        if open && !self.open && was_broken {
            self.mended_at = Some(calls);
        }
        self.open = open;
        if let Outside::Server(server) = outside
            && open
            && self.case.strategy.is_pair()
        {
            let reach = |name: &str| server.users.get(name).map(|user| server.reaches(user));
            let differs = reach(USER).is_some_and(|base| reach(&current.user) != Some(base));
            if std::mem::replace(&mut self.differs, differs) != differs && differs && !by_person && !self.raced(began) {
                self.violated("less-than-the-base", "the user in AWSCURRENT may do other things than the base user");
            }
        }
        self.look_for_lost(service, outside, by_person);
        self.look_at_strangers(outside, by_person);
        if self.note && !current.note {
            self.note = false;
            if !by_person {
                self.violated("edit-lost", "a field that a person has added to AWSCURRENT is gone from it");
            }
        }
    }

    /// Credentials that open the target and are in no version.
    fn look_for_lost(&mut self, service: &Service, outside: Outside<'_>, by_person: bool) {
        let mut lost = BTreeSet::new();
        for (user, password) in self.live(outside) {
            let known = |credential: &Credential| credential.user == user && credential.password == password;
            if !self.versions.values().any(known) && !self.is_in_second(service, &user, &password) {
                lost.insert(password);
            }
        }
        if let Outside::Pki(pki) = outside
            && pki.has_lost(self.versions.values().map(|version| version.password.as_str()))
        {
            lost.insert("an account's key".to_owned());
        }
        if !by_person && lost.iter().any(|password| !self.lost.contains(password)) {
            self.violated("lost", "a credential that opens the target is in no version");
        }
        self.lost = lost;
    }

    /// Credentials of ours that work. An issuer's new key works before it is stored: those are looked for at the end.
    fn live(&self, outside: Outside<'_>) -> Vec<(String, String)> {
        match outside {
            Outside::Server(server) => {
                let ours = server.users.iter().filter(|(name, user)| Server::is_ours(name) && !user.locked);
                let passwords = |user: &User| std::iter::once(user.primary.clone()).chain(user.secondary.clone());
                ours.flat_map(|(name, user)| passwords(user).map(|password| (name.clone(), password))).collect()
            }
            Outside::Issuer(issuer) if self.case.strategy == Strategy::SetValue => {
                issuer.living().0.into_iter().map(|Owned { id, secret }| (id, secret)).collect()
            }
            Outside::Issuer(_) | Outside::Places(_) | Outside::Pki(_) => Vec::new(),
        }
    }

    fn is_in_second(&mut self, service: &Service, user: &str, password: &str) -> bool {
        let labels = service.labels(SECOND_SECRET).unwrap_or_default();
        let (user_field, password_field) = self.case.strategy.fields();
        labels.keys().any(|id| {
            let bytes = service.value(SECOND_SECRET, id).unwrap_or_default();
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            let is = |field: &str, wanted: &str| value.pointer(field).is_some_and(|it| it == wanted);
            is(user_field, user) && is(password_field, password)
        })
    }

    fn look_at_strangers(&mut self, outside: Outside<'_>, by_person: bool) {
        let others = outside.others();
        if !by_person && self.strangers.as_ref().is_some_and(|before| *before != others) {
            self.violated("stranger-touched", "a user or a key of somebody else was changed");
        }
        self.strangers = Some(others);
    }

    /// Whether a write that came too late stands, because its invocation was killed.
    pub(super) fn is_late(&self) -> bool {
        self.late.is_some()
    }

    /// Looks for passwords in a step's report. A write of the step that came too late has to be replaced by now. `began` is the number of calls
    /// before the step's invocation.
    pub(super) fn reported(&mut self, report: &StepReport, began: u32) {
        if self.late.take_if(|late| *late == began).is_some() && !self.open {
            self.violated("late-value", "what was written too late was not replaced by what AWSCURRENT needs");
        }
        let not_ours = report.notes.warnings.iter().any(|warning| warning.code() == Code::KeyNotOurs);
        self.not_ours |= not_ours && !self.acts.is_empty();
        let text = match &report.outcome {
            Ok(_) => format!("{report:?}"),
            Err(error) => format!("{report:?} {error}"),
        };
        self.printed(&text);
    }

    /// The same in a text.
    pub(super) fn printed(&mut self, text: &str) {
        let fixed = [FIRST_PASSWORD, SUPERUSER_PASSWORD, STRANGER_PASSWORD];
        let made = self.versions.values().map(|version| version.password.as_str());
        let given = self.secrets.iter().map(String::as_str);
        if fixed.into_iter().chain(made).chain(given).any(|password| !password.is_empty() && text.contains(password)) {
            self.violated("secret-printed", "a report holds a password");
        }
    }

    /// A step says that the rotation is done. `began` is the number of calls before its invocation.
    /// `retired` is whether it says, too, that old credentials have ended as they should.
    pub(super) fn called_done(&mut self, word: &str, began: u32, retired: bool) {
        self.done = Some(Done { at: self.calls, began });
        let acted = [self.acted_at, self.misled_at].into_iter().flatten().any(|at| at >= began);
        // Two invocations of createSecret that roll a key at once end each other's (docs/issuers.md).
        let rolled_at_once = self.case.strategy == Strategy::Roll && self.created_at_once;
        self.retired = retired && !acted;
        self.at_limit |= !self.open && rolled_at_once;
        if !self.open && !self.raced(began) && !acted && !rolled_at_once {
            self.violated(
                &format!("done-but-refused: {word}"),
                "a step called the rotation done, and AWSCURRENT is refused",
            );
        }
    }

    /// A login was refused.
    pub(super) fn refused(&mut self, user: &str, in_a_row: u32, in_this_one: u32) {
        // What a person breaks in the middle of a rotation costs the step that finds it one login more.
        let in_the_middle = self.acted_at.is_some_and(|at| at > 1);
        // A fault that ends a search after its first login, or holds it up, too: the next run begins anew.
        let ended_early = self.faulted && in_this_one < LOGIN_LIMIT;
        if self.case.target == Target::Mysql && in_a_row == LOGIN_LIMIT && !in_the_middle && !ended_early {
            let kind = if in_this_one >= LOGIN_LIMIT { "logins-used-up: one step" } else { "logins-used-up: retries" };
            self.violated(kind, format!("{in_a_row} refused logins of {user}, one after the other"));
        }
    }

    /// Whether a password that opens the target for this user stands in a version, and no label leads to it.
    pub(super) fn is_unlabelled(&self, outside: Outside<'_>, labels: &Labels) -> bool {
        let opens =
            |id: &String| self.versions.get(id).is_some_and(|version| outside.opens(&version.user, &version.password));
        let services = [CURRENT, PENDING, PREVIOUS];
        let labelled =
            |id: &String| labels.of.get(id).is_some_and(|of| services.iter().any(|label| of.contains(*label)));
        let (with, without): (Vec<&String>, Vec<&String>) = labels.filled.iter().partition(|id| labelled(id));
        without.into_iter().any(opens) && !with.into_iter().any(opens)
    }

    /// After the end: a credential that should have ended still works.
    pub(super) fn look_for_survivors(&mut self, outside: Outside<'_>, labels: &Labels) {
        let survives = match (outside, self.case.strategy) {
            (Outside::Server(server), strategy) if strategy.discards() => {
                server.users.values().any(|user| user.secondary.is_some())
            }
            (Outside::Issuer(issuer), Strategy::CreateRevokeNow) => {
                let current = labels.holder(CURRENT);
                let in_use = |id: &String| {
                    current.is_some_and(|current| self.versions.get(current).is_some_and(|known| known.user == *id))
                };
                let of_version = |id: &String| self.versions.values().any(|version| version.user == *id);
                issuer.living().0.iter().any(|key| of_version(&key.id) && !in_use(&key.id))
            }
            _ => false,
        };
        // The rotation that is under way ends it.
        let goes_on = labels.holder(PENDING).is_some_and(|pending| labels.holder(CURRENT) != Some(pending));
        if survives && self.case.strategy.mints() && (self.misled_at.is_some() || self.not_ours) {
            // An outdated list of the issuer lacked a key whose version had lost its label: the next rotation finds it. Or nothing proves whose
            // key it is.
            self.at_limit = true;
        } else if survives && self.retired && !goes_on {
            self.violated("previous-lives-on", "the previous credential should have ended, and it still works");
        }
    }

    /// After two more rotations: a key that is neither AWSCURRENT's nor AWSPREVIOUS's still works.
    pub(super) fn look_for_orphans(&mut self, issuer: &Issuer, labels: &Labels) {
        if !self.case.strategy.mints() {
            return;
        }
        let kept: &[&str] = if matches!(self.case.strategy, Strategy::CreateRevoke | Strategy::CreateStored) {
            &[CURRENT, PREVIOUS]
        } else {
            &[CURRENT]
        };
        let kept: Vec<&str> = kept
            .iter()
            .filter_map(|label| self.versions.get(labels.holder(label)?))
            .map(|version| version.user.as_str())
            .collect();
        let orphans = issuer.living().0.iter().filter(|key| !kept.contains(&key.id.as_str())).count();
        // The proof of a key that a person has made is by the admin's credential, and holds for that and the one before it.
        let replaced_twice = self.acts.iter().filter(|act| **act == Act::RotateAdmin).count() > 1;
        if orphans > 0 && (replaced_twice || self.not_ours) {
            self.at_limit = true;
        } else if orphans > 0 {
            self.violated("orphan", "after two more rotations, a key still works that no label leads to");
        }
    }
}
