//! A transaction that holds the lock on a user or a pair.

use crate::connect::Session;
use crate::observed_pair::ObservedPair;
use crate::owned::{Owned, drops_role};
use crate::sql::password::Encryption;
use rotation::database::Pair;
use rotation::{Code, Error, Fact};

/// A session in a transaction that holds the lock, and what was read under it. The lock ends with the transaction, and the
/// transaction ends with the session.
pub(crate) struct Locked {
    pub(crate) session: Session,
    pub(crate) encryption: Encryption,
    /// The superuser who sets another user's password. `None`: the user sets its own.
    pub(crate) superuser: Option<String>,
    /// The pair that the user belongs to.
    pub(crate) pair: Option<LockedPair>,
}

/// A pair as it is.
pub(crate) struct LockedPair {
    pub(crate) observed: ObservedPair,
    /// The server's `server_version_num`.
    pub(crate) version: u32,
    /// What the clone owns in each database.
    pub(crate) owned: Vec<Owned>,
}

impl LockedPair {
    /// What a person should know, although the rotation goes on. That a server's resets end a role setting is said when the clone is
    /// made, and whenever the clone owns something: then a session of it was reset, or AWS's function has made it.
    pub(crate) fn remarks(&self, pair: &Pair) -> Vec<Error> {
        let mut remarks = Vec::new();
        let about = |code| Error::new(code).with(Fact::User, &pair.clone).with(Fact::Partner, &pair.base);
        if drops_role(self.version) && (self.observed.clone.is_none() || !self.owned.is_empty()) {
            let (major, minor) = (self.version / 10_000, self.version % 10_000);
            remarks.push(about(Code::RoleNotKept).with(Fact::Found, format_args!("PostgreSQL {major}.{minor}")));
        }
        let left: Vec<String> = self.owned.iter().filter_map(Owned::left).collect();
        if !left.is_empty() {
            remarks.push(about(Code::CloneOwnsObjects).with(Fact::What, left.join(", ")));
        }
        remarks
    }
}
