//! The other accounts of a user: `'app'@'10.%'` beside `'app'@'%'`.
//!
//! They share a password, as people see it, since a secret has one. Most users can neither see nor change any account but the
//! one that they are logged in to. One that may see the others must change them, too, or nothing at all: consumers that the
//! server matches with another account would be locked out.

use crate::catalog::accounts;
use crate::connect::{Row, Rows, Session, text};
use crate::sql::hash;
use crate::sql::password;
use crate::sql::preamble::Server;
use crate::sql::quote::{AccountName, literal};
use rotation::database::PasswordChange;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// A question that nobody is refused: it shows what there is to see. `GRANTEE` is a name in quotes that are not escaped.
pub(crate) fn question(user: &str) -> String {
    let start = literal(&start(user));
    format!(
        "SELECT DISTINCT GRANTEE FROM information_schema.USER_PRIVILEGES \
         WHERE LEFT(GRANTEE, CHAR_LENGTH({start})) = {start}"
    )
}

/// The accounts in the answer that are not the session's own.
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

/// Changes the password on all accounts of the user, its own among them, which takes what a superuser has.
///
/// # Errors
/// [`Code::PrivilegeMissing`]; those of [`password::set`].
pub(crate) async fn change_all(session: &mut Session, change: PasswordChange<'_>, retain: bool) -> Result<Server> {
    let (server, accounts) = accounts::read(session, &[change.user]).await.map_err(explain)?;
    let changed = if retain {
        password::set_and_retain(session, &server, &accounts, change).await
    } else {
        password::set(session, &server, &accounts, change.user, change.to).await
    };
    changed.map_err(|error| explain(error).with_default(Fact::What, "the accounts of the user, all at once"))?;
    Ok(server)
}

/// The other accounts that have this password as their primary one, by name: what may be discarded there is not what consumers
/// read.
///
/// # Errors
/// Those of reading.
pub(crate) async fn with_primary(session: &mut Session, own: &AccountName, current: &Password) -> Result<Vec<String>> {
    let (_, accounts) = accounts::read(session, &[&own.user]).await.map_err(explain)?;
    let others = accounts.of(&own.user).into_iter().filter(|account| account.name != *own);
    let others = others.filter(|account| hash::matches(&account.authentication.hash.0, current));
    Ok(others.map(|account| account.name.to_string()).collect())
}

/// A user that may see its other accounts and not change them has to be told what is missing.
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
