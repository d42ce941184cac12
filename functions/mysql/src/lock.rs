//! A session that holds the lock on a user or a pair.

use crate::catalog::accounts::Accounts;
use crate::connect::Session;
use crate::observed_pair::ObservedPair;
use crate::sql::password::Plugin;
use crate::sql::preamble::ServerInfo;
use crate::sql::quote::AccountName;
use std::collections::BTreeSet;

/// A session that holds the lock, and what was read under it. The lock is a user lock of the server and ends with the session
/// (MySQL manual, "Locking Functions").
pub(crate) struct Locked {
    pub(crate) session: Session,
    pub(crate) server: ServerInfo,
    pub(crate) about: About,
    /// Accounts of these users without a password, to which nothing is done.
    pub(crate) left_alone: Vec<AccountName>,
}

/// Whose password is to change.
pub(crate) enum About {
    /// That of the user who is logged in. If the user has other accounts that it can see: all of its accounts.
    Own { siblings: Option<Accounts> },
    /// That of another user, who has these accounts. `retain`: the password before stays valid.
    Other { accounts: Accounts, retain: bool },
    /// That of one side of a pair. The plugins are those of the base's accounts.
    Pair { observed: ObservedPair, plugins: BTreeSet<Plugin> },
}
