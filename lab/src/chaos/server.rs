//! A database server, as far as rotations notice it.

use super::case::{CLONE, FIRST_PASSWORD, STRANGER, STRANGER_PASSWORD, SUPERUSER, SUPERUSER_PASSWORD, Target, USER};
use std::collections::{BTreeMap, BTreeSet};

/// A user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct User {
    pub(super) primary: String,
    /// MySQL: the previous password, which still works.
    pub(super) secondary: Option<String>,
    pub(super) locked: bool,
    pub(super) privileges: BTreeSet<&'static str>,
    /// PostgreSQL: the roles that this one is in.
    pub(super) member_of: BTreeSet<String>,
}

impl User {
    pub(super) fn opens(&self, password: &str) -> bool {
        !self.locked && self.has(password)
    }

    pub(super) fn has(&self, password: &str) -> bool {
        self.primary == password || self.secondary.as_deref() == Some(password)
    }
}

pub(super) type Users = BTreeMap<String, User>;

/// The server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) target: Target,
    pub(super) users: Users,
    /// Who holds the lock on a name: the number of a session.
    pub(super) locks: BTreeMap<String, u64>,
    pub(super) sessions: u64,
    /// Refused logins of each user, one after the other.
    pub(super) refused: BTreeMap<String, u32>,
    /// Counts the changes of users.
    pub(super) changes: u64,
}

/// What the base user may do.
pub(super) const PRIVILEGES: [&str; 2] = ["read", "write"];

impl Server {
    pub(super) fn new(target: Target) -> Self {
        let user = |password: &str, privileges: &[&'static str]| User {
            primary: password.to_owned(),
            privileges: privileges.iter().copied().collect(),
            ..User::default()
        };
        let users = [
            (USER, user(FIRST_PASSWORD, &PRIVILEGES)),
            (SUPERUSER, user(SUPERUSER_PASSWORD, &["all"])),
            (STRANGER, user(STRANGER_PASSWORD, &["read"])),
        ];
        let users = users.into_iter().map(|(name, user)| (name.to_owned(), user)).collect();
        Self { target, users, locks: BTreeMap::new(), sessions: 0, refused: BTreeMap::new(), changes: 0 }
    }

    pub(super) fn opens(&self, user: &str, password: &str) -> bool {
        self.users.get(user).is_some_and(|user| user.opens(password))
    }

    /// A new session's number, or none if the login is refused.
    pub(super) fn log_in(&mut self, user: &str, password: &str) -> Option<u64> {
        if !self.opens(user, password) {
            if !self.users.contains_key(user) {
                return None;
            }
            *self.refused.entry(user.to_owned()).or_default() += 1;
            return None;
        }
        self.refused.remove(user);
        self.sessions += 1;
        Some(self.sessions)
    }

    /// The lock ends with its session.
    pub(super) fn end_session(&mut self, session: u64) {
        self.locks.retain(|_, holder| *holder != session);
    }

    /// Whether the session has the lock now.
    pub(super) fn try_lock(&mut self, name: &str, session: u64) -> bool {
        *self.locks.entry(name.to_owned()).or_insert(session) == session
    }

    /// The users' state may be changed; the judge looks again.
    pub(super) fn change(&mut self) -> &mut Users {
        self.changes += 1;
        &mut self.users
    }

    /// What a user may do, by itself or as a member of roles.
    pub(super) fn reaches(&self, user: &User) -> BTreeSet<&'static str> {
        let mut reach = user.privileges.clone();
        for role in user.member_of.iter().filter_map(|role| self.users.get(role)) {
            reach.extend(self.reaches(role));
        }
        reach
    }

    /// Removes a user, and its memberships.
    pub(super) fn drop_user(&mut self, name: &str) {
        let users = self.change();
        users.remove(name);
        users.values_mut().for_each(|user| {
            user.member_of.remove(name);
        });
    }

    /// Whether a user belongs to the tested secret.
    pub(super) fn is_ours(user: &str) -> bool {
        user == USER || user.starts_with(CLONE)
    }
}
