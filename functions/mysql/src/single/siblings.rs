//! The other accounts of a user: `'app'@'10.%'` beside `'app'@'%'`.
//!
//! A secret has one password, so people expect that these accounts share it. Most users can neither see nor change an
//! account other than the one that they are logged in to. If a user can see the others, all of them change, or none:
//! otherwise consumers that the server matches with another account would be locked out.

use crate::catalog::accounts::{self, Accounts};
use crate::connect::{Row, Rows, Session, text};
use crate::sql::preamble::ServerInfo;
use crate::sql::quote::{AccountName, literal};
use crate::sql::{hash, password};
use rotation::database::PasswordChange;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// A query that no server refuses: it shows the accounts that the user may see. `GRANTEE` is a name in quotes, without
/// escapes.
pub(crate) fn query(user: &str) -> String {
    let start = literal(&start(user));
    format!(
        "SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES \
         WHERE LEFT(GRANTEE, CHAR_LENGTH({start})) = {start}"
    )
}

/// The accounts in the answer, except the session's own.
pub(crate) fn among(answer: Option<&Rows>, own: &AccountName) -> Vec<AccountName> {
    let start = start(&own.user);
    let sibling = |row: &Row| {
        let host = text(row, 0).strip_prefix(&start)?.strip_suffix('\'')?;
        (host != own.host).then(|| AccountName::new(&own.user, host))
    };
    answer.into_iter().flatten().filter_map(sibling).collect()
}

fn start(user: &str) -> String {
    format!("'{user}'@'")
}

/// Reads all accounts of the user. Whoever sees them in `information_schema` may read the grant tables.
///
/// # Errors
/// Those of reading.
pub(crate) async fn read(session: &mut Session, user: &str) -> Result<Accounts> {
    accounts::read(session, &[user]).await.map(|(_, accounts)| accounts).map_err(explain)
}

/// Changes the password on all accounts of the user, the session's own included. This takes the rights of a superuser.
///
/// # Errors
/// [`Code::PrivilegeMissing`]; those of [`password::set`].
pub(crate) async fn change_all(
    session: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    change: PasswordChange<'_>,
) -> Result<()> {
    let changed = if server.has_dual_passwords() {
        password::set_and_retain(session, server, accounts, change).await
    } else {
        password::set(session, server, accounts, change.user, change.to).await
    };
    changed.map_err(|error| explain(error).with_default(Fact::What, "the accounts of the user, all at once"))
}

/// The names of the other accounts whose primary password is this one. There the secondary one may be discarded,
/// because consumers do not read it.
pub(crate) fn with_primary(accounts: &Accounts, own: &AccountName, current: &Password) -> Vec<String> {
    let others = accounts.of(&own.user).into_iter().filter(|account| account.name != *own);
    let others = others.filter(|account| hash::matches(&account.authentication.hash.0, current));
    others.map(|account| account.name.to_string()).collect()
}

/// Says what is missing to a user that may see its other accounts and may not change them.
pub(crate) fn explain(error: Error) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error;
    }
    let what = "the user has accounts for other hosts, which have to change together with its own: GRANT CREATE USER and SELECT \
                on mysql.*, or revoke what lets it see them, or use alternating users";
    error.with(Fact::What, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_accounts_of_that_very_name_are_siblings() {
        let rows: Rows = ["'app'@'%'", "'app'@'10.%'", "'APP'@'10.%'", "'app'", "'application'@'%'"]
            .map(|grantee| vec![Some(grantee.as_bytes().to_vec())])
            .into();
        let own = AccountName::new("app", "%");
        let siblings = among(Some(&rows), &own);
        assert_eq!(siblings, [AccountName::new("app", "10.%")]);
        assert!(among(None, &own).is_empty());
    }
}
