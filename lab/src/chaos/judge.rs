//! What must hold after each effect and at the end.

use super::case::{
    Case, FIRST_PASSWORD, SECOND_SECRET, SECRET, STRANGER_PASSWORD, SUPERUSER_PASSWORD, Strategy, Target, USER,
};
use super::history::Act;
use super::labels::Labels;
use super::server::{Server, Users};

use crate::secretsmanager::Service;
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
    user: String,
    password: String,
    /// It has the field that a person has added.
    note: bool,
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
    /// Whether a person did it.
    pub(super) by_person: bool,
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
    /// How often a person's act came between the last question and its effect, and AWSCURRENT was refused by it.
    pub(super) races: u32,
    window: Option<u32>,
    /// How many calls there were at the last act that can destroy a credential.
    destroyed_at: Option<u32>,
    calls: u32,
    /// How many calls there were at the last act.
    acted_at: Option<u32>,
    /// How many calls there were when a step last called the rotation done.
    done_at: Option<u32>,
    /// Whether a fault has happened.
    pub(super) faulted: bool,
    /// Whether the last step that called the rotation done said that old credentials have ended.
    retired: bool,
    seen: Option<(u64, Labels)>,
    versions: BTreeMap<String, Credential>,
    lost: BTreeSet<String>,
    strangers: Option<Users>,
    /// AWSCURRENT has to keep the field that a person has added.
    note: bool,
}

impl Judge {
    pub(super) fn new(case: Case) -> Self {
        Self {
            case,
            violations: Vec::new(),
            acts: Vec::new(),
            open: true,
            differs: false,
            longest_window: 0,
            races: 0,
            window: None,
            destroyed_at: None,
            calls: 0,
            acted_at: None,
            done_at: None,
            faulted: false,
            retired: true,
            seen: None,
            versions: BTreeMap::new(),
            lost: BTreeSet::new(),
            strangers: None,
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
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = Credential { user: text("username"), password: text("password"), note: value.get("note").is_some() };
        self.versions.insert(id.to_owned(), read.clone());
        read
    }

    /// Whether the server has changed since the last look.
    pub(super) fn is_behind(&self, server: &Server) -> bool {
        self.seen.as_ref().is_none_or(|(changes, _)| *changes != server.changes)
    }

    /// Looks at the world after an effect. What a person has just broken is the new beginning.
    pub(super) fn look(&mut self, service: &Service, server: &Server, labels: &Labels, at: At) {
        let At { calls, call, began, by_person } = at;
        self.calls = calls;
        if self.seen.as_ref().is_some_and(|(changes, seen)| *changes == server.changes && seen == labels) {
            return;
        }
        self.seen = Some((server.changes, labels.clone()));
        labels.filled.iter().for_each(|id| drop(self.credential(service, SECRET, id)));
        let current = labels.holder(CURRENT).map(|id| self.credential(service, SECRET, id)).unwrap_or_default();
        let pending = labels.holder(PENDING).filter(|id| labels.filled.contains(*id));
        let pending = pending.map(|id| self.credential(service, SECRET, id));
        let open = server.opens(&current.user, &current.password);
        if self.open && !open && !by_person && !self.raced(began) {
            let covered = pending.is_some_and(|pending| server.opens(&pending.user, &pending.password));
            let since = |at: Option<u32>| at.is_some_and(|at| at >= call);
            let (overtaken, acted) = (since(self.done_at), since(self.acted_at));
            let kind = if overtaken { "overtaken: current-refused" } else { "current-refused" };
            if !overtaken && acted {
                // A person acted between the last question and its effect, where nothing can be asked. What counts is that the
                // next rotation finds the way back.
                self.races += 1;
            } else if self.case.strategy.never_interrupts() {
                self.violated(kind, "AWSCURRENT stopped to open the target");
            } else if covered {
                self.window = Some(calls);
            } else {
                self.violated(kind, "AWSCURRENT stopped to open the target, and AWSPENDING does not open it");
            }
        }
        if open && let Some(since) = self.window.take() {
            self.longest_window = self.longest_window.max(calls.saturating_sub(since));
        }
        self.open = open;
        if open && self.case.strategy.is_pair() {
            let reach = |name: &str| server.users.get(name).map(|user| server.reaches(user));
            let differs = reach(USER).is_some_and(|base| reach(&current.user) != Some(base));
            if std::mem::replace(&mut self.differs, differs) != differs && differs && !by_person && !self.raced(began) {
                self.violated("less-than-the-base", "the user in AWSCURRENT may do other things than the base user");
            }
        }
        self.look_for_lost(service, server, by_person);
        self.look_at_strangers(server, by_person);
        if self.note && !current.note {
            self.note = false;
            if !by_person {
                self.violated("edit-lost", "a field that a person has added to AWSCURRENT is gone from it");
            }
        }
    }

    /// Passwords that open the target and are in no version.
    fn look_for_lost(&mut self, service: &Service, server: &Server, by_person: bool) {
        let mut lost = BTreeSet::new();
        for (name, user) in server.users.iter().filter(|(name, user)| Server::is_ours(name) && !user.locked) {
            for password in [Some(&user.primary), user.secondary.as_ref()].into_iter().flatten() {
                let known = |credential: &Credential| credential.user == *name && credential.password == *password;
                if !self.versions.values().any(known) && !self.is_in_second(service, name, password) {
                    lost.insert(password.clone());
                }
            }
        }
        if !by_person && lost.iter().any(|password| !self.lost.contains(password)) {
            self.violated("lost", "a password that opens the target is in no version");
        }
        self.lost = lost;
    }

    fn is_in_second(&mut self, service: &Service, user: &str, password: &str) -> bool {
        let labels = service.labels(SECOND_SECRET).unwrap_or_default();
        labels.keys().any(|id| {
            let bytes = service.value(SECOND_SECRET, id).unwrap_or_default();
            let value: Value = serde_json::from_slice(&bytes).unwrap_or_default();
            value.get("username").is_some_and(|it| it == user) && value.get("password").is_some_and(|it| it == password)
        })
    }

    fn look_at_strangers(&mut self, server: &Server, by_person: bool) {
        let others = server.users.iter().filter(|(name, _)| !Server::is_ours(name));
        let others: Users = others.map(|(name, user)| (name.clone(), user.clone())).collect();
        if !by_person && self.strangers.as_ref().is_some_and(|before| *before != others) {
            self.violated("stranger-touched", "another user was changed");
        }
        self.strangers = Some(others);
    }

    /// Looks for passwords in what a step has put out.
    pub(super) fn reported(&mut self, report: &StepReport) {
        let text = match &report.outcome {
            Ok(_) => format!("{report:?}"),
            Err(error) => format!("{report:?} {error}"),
        };
        let fixed = [FIRST_PASSWORD, SUPERUSER_PASSWORD, STRANGER_PASSWORD];
        let made = self.versions.values().map(|version| version.password.as_str());
        if fixed.into_iter().chain(made).any(|password| !password.is_empty() && text.contains(password)) {
            self.violated("secret-printed", "a report holds a password");
        }
    }

    /// A step says that the rotation is done. `began` is the number of calls before its invocation.
    /// `retired` is whether it says, too, that old credentials have ended as they should.
    pub(super) fn called_done(&mut self, word: &str, began: u32, retired: bool) {
        self.done_at = Some(self.calls);
        let acted = self.acted_at.is_some_and(|at| at >= began);
        self.retired = retired && !acted;
        if !self.open && !self.raced(began) && !acted {
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
    pub(super) fn is_unlabelled(&self, server: &Server, labels: &Labels) -> bool {
        let opens =
            |id: &String| self.versions.get(id).is_some_and(|version| server.opens(&version.user, &version.password));
        let services = [CURRENT, PENDING, PREVIOUS];
        let labelled =
            |id: &String| labels.of.get(id).is_some_and(|of| services.iter().any(|label| of.contains(*label)));
        let (with, without): (Vec<&String>, Vec<&String>) = labels.filled.iter().partition(|id| labelled(id));
        without.into_iter().any(opens) && !with.into_iter().any(opens)
    }

    /// After the end: a password that should have ended still works.
    pub(super) fn look_for_survivors(&mut self, server: &Server) {
        let survives = server.users.values().any(|user| user.secondary.is_some());
        if self.case.strategy == Strategy::DualPasswordDiscard && survives && self.retired {
            self.violated("previous-lives-on", "the previous password should have ended, and it still works");
        }
    }
}
