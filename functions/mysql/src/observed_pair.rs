//! The two users of a pair as the server shows them.

use crate::catalog::accounts::{Account, Accounts, known_tables, need_a_password_only, usable};
use crate::catalog::grants::Grants;
use crate::catalog::options::Means;
use crate::connect::{Rows, Session};
use crate::sql::changes::Grantee;
use crate::sql::password::{AccountUpdate, Lock as AccountLock, Plugin};
use crate::sql::preamble::{self, ServerInfo};
use rotation::database::{Pair, Side};
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeSet;

/// Whether reading takes the lock on the pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lock {
    Taken,
    /// Another session of this step holds it.
    HeldByOther,
}

/// The pair as it is.
#[derive(Debug)]
pub(crate) struct ObservedPair {
    pub(crate) accounts: Accounts,
    pub(crate) base: Vec<Grantee>,
    pub(crate) clone: Vec<Grantee>,
}

impl ObservedPair {
    fn queries(pair: &Pair) -> String {
        let names = [pair.base.as_str(), pair.clone.as_str()];
        format!("{}; {}", Accounts::queries(&names), Grants::queries(&names))
    }

    /// Reads the pair, at the beginning of a session.
    pub(crate) async fn begin(session: &mut Session, pair: &Pair, lock: Lock) -> Result<(ServerInfo, Self)> {
        known_tables(session)?;
        let lock = (lock == Lock::Taken).then_some(pair.base.as_str());
        let begun = preamble::begin(session, lock, &Self::queries(pair)).await;
        let (server, answers) = begun.map_err(explain_reading)?;
        let observed = Self::of_answers(&answers, pair, &server)?;
        Ok((server, observed))
    }

    /// Reads the pair again.
    pub(crate) async fn again(session: &mut Session, pair: &Pair, server: &ServerInfo) -> Result<Self> {
        let answers = session.run(&Self::queries(pair)).await?;
        Self::of_answers(&answers, pair, server)
    }

    fn of_answers(answers: &[Rows], pair: &Pair, server: &ServerInfo) -> Result<Self> {
        let accounts = Accounts::of_answers(answers, &[&pair.base, &pair.clone], server.mariadb)?;
        let grants = Grants::of_answers(answers, &accounts.list, server.mariadb)?;
        let subjects = accounts.list.iter().cloned().zip(grants).map(|(account, grants)| Grantee { account, grants });
        let (base, clone) = subjects.partition(|subject| subject.account.name.user == pair.base);
        Ok(Self { accounts, base, clone })
    }

    /// Checks that both users may be changed and are understood. Returns the authentication plugins of the base's
    /// accounts, for which passwords are made.
    pub(crate) fn ready(
        &self,
        pair: &Pair,
        server: &ServerInfo,
        means: Means,
        allow_powerful: bool,
    ) -> Result<BTreeSet<Plugin>> {
        let base = self.accounts.of(&pair.base);
        usable(&base, &pair.base).map_err(|error| error.with(Fact::Partner, &pair.clone))?;
        for account in &self.accounts.list {
            account.unprotected(server, allow_powerful)?;
        }
        self.understood()?;
        need_a_password_only(&base, &pair.base, server, means)?;
        base.into_iter().map(|account| Plugin::of(account, server.mariadb)).collect()
    }

    pub(crate) fn understood(&self) -> Result<()> {
        for subject in self.base.iter().chain(&self.clone) {
            if let Some(what) = subject.grants.unknown.first() {
                return Err(Error::new(Code::PrivilegeUnknown)
                    .with(Fact::User, &subject.account.name)
                    .with(Fact::What, what));
            }
        }
        Ok(())
    }

    /// The accounts of the base, each with the clone's account for the same host.
    fn both(&self) -> impl Iterator<Item = (&Account, Option<&Account>)> {
        self.base.iter().map(|base| {
            let same = |clone: &&Grantee| clone.account.name.host == base.account.name.host;
            (&base.account, self.clone.iter().find(same).map(|clone| &clone.account))
        })
    }

    /// The accounts that get the pending password. On its own turn the clone also takes the base's plugin and lock.
    pub(crate) fn targets(&self, user: &str, mariadb: bool) -> Result<Vec<AccountUpdate>> {
        let of_base = self.base.iter().any(|subject| subject.account.name.user == user);
        let pending = if of_base { Side::Base } else { Side::Clone };
        let target = |(base, clone): (&Account, Option<&Account>)| {
            let plugin = Plugin::of(base, mariadb)?;
            let sockets = base.authentication.sockets.clone();
            Ok(match (pending, clone) {
                (Side::Base, _) => {
                    let discard = base.authentication.secondary;
                    Some(AccountUpdate { name: base.name.clone(), plugin, lock: AccountLock::AsItIs, discard, sockets })
                }
                (Side::Clone, Some(clone)) => Some(AccountUpdate {
                    name: clone.name.clone(),
                    plugin,
                    lock: if base.locked { AccountLock::On } else { AccountLock::Off },
                    discard: clone.authentication.secondary,
                    sockets,
                }),
                (Side::Clone, None) => None,
            })
        };
        self.both().filter_map(|both| target(both).transpose()).collect()
    }

    /// A difference in how a clone's account logs in, although it has its password.
    pub(crate) fn logs_in_differently(&self) -> Option<String> {
        self.both().find_map(|(base, clone)| {
            let clone = clone?;
            let shown = &clone.name;
            if clone.locked != base.locked {
                Some(format!("{shown}: ACCOUNT {} is missing", if base.locked { "LOCK" } else { "UNLOCK" }))
            } else if clone.authentication.plugin != base.authentication.plugin || clone.authentication.several {
                Some(format!("{shown}: the authentication plugin is not {}", base.authentication.plugin))
            } else if clone.authentication.sockets != base.authentication.sockets {
                Some(format!("{shown}: unix_socket is not where the base user has it"))
            } else {
                None
            }
        })
    }
}

/// Says what a superuser lacks that may not read the grant tables.
pub(crate) fn explain_reading(error: Error) -> Error {
    if error.code() == Code::PrivilegeMissing {
        return error.with_default(Fact::What, "the superuser needs SELECT on the schema mysql");
    }
    error
}
