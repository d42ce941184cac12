//! Which accounts of a name are the secret's: `'app'@'10.%'` may have another password than `'app'@'%'`, and another application.
//!
//! **Invariant:** no password is replaced that the secret does not know, beside one that it knows. Without it, the rotation of one
//! account loses the credential of another one for good. Test: `an_account_of_the_same_name_with_another_password_is_not_changed`.

use crate::catalog::accounts::{Account, Accounts};
use rotation::database::Evidence;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// What is known about a user before its accounts are looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known<'a> {
    /// Passwords that the secret's versions, or an earlier run of this rotation, may have given to the user.
    pub(crate) passwords: &'a [&'a Password],
    /// Whether something else says that the user is the secret's: then no account has to have a password of the secret, but either
    /// all of them have one or none.
    pub(crate) is_the_secrets: bool,
}

/// Checks that all accounts of a user are the secret's. An account is if its password is in the secret. One account alone is, too, because
/// nothing else has this name. Accounts with one and the same hash count as one: a rotation sets the same hash everywhere.
///
/// Older versions are read only if the known passwords do not settle it.
///
/// # Errors
/// [`Code::AccountsDiffer`]; those of the store.
pub(crate) async fn check(accounts: &Accounts, user: &str, known: Known<'_>, evidence: &impl Evidence) -> Result<()> {
    let all = accounts.of(user);
    let mut unknown = all.clone();
    unknown.retain(|account| !known.passwords.iter().any(|password| account.has(password)));
    if unknown.is_empty() || is_one(&all) {
        return Ok(());
    }
    let previous = evidence.previous_password(user).await?;
    unknown.retain(|account| !previous.iter().any(|password| account.has(password)));
    if !unknown.is_empty() {
        let older = evidence.passwords(user).await?;
        unknown.retain(|account| !older.iter().any(|password| account.has(password)));
    }
    let Some(first) = unknown.first() else { return Ok(()) };
    if unknown.len() == all.len() && (known.is_the_secrets || is_one(&unknown)) {
        return Ok(());
    }
    Err(Error::new(Code::AccountsDiffer).with(Fact::User, &first.name))
}

/// Whether the accounts have one hash.
fn is_one(accounts: &[&Account]) -> bool {
    accounts.windows(2).all(|two| match two {
        [one, other] => one.authentication == other.authentication,
        _ => true,
    })
}
