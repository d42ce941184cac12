//! One user that is locked out, helped by a superuser.

use crate::catalog::accounts::{self, usable};
use crate::connect::Session;
use crate::sql::password;
use rotation::database::OwnChange;
use rotation::{Code, Error, Fact, Result};

/// Sets a user's password on all of its accounts, and ends every other one. Two round trips.
///
/// # Errors
/// [`Code::RoleMissing`]; [`Code::RoleUnusable`] and [`Code::LoginForbidden`] where a new password would not help;
/// [`Code::RoleProtected`]; those of [`password::set`].
pub(crate) async fn rescue(mut superuser: Session, change: OwnChange<'_>, allow_powerful: bool) -> Result<()> {
    let (server, accounts) = accounts::read(&mut superuser, &[change.user]).await?;
    let own = accounts.of(change.user);
    usable(&own, change.user)?;
    for account in own {
        account.unprotected(&server, allow_powerful)?;
        // The server says "wrong password" for more than that: for what an account REQUIREs, for plaintext where MariaDB wants
        // TLS. Consumers that get in must not be locked out for it.
        if account.has(change.from) {
            let what = "the password of AWSCURRENT is right, so the server refuses the login for another reason: what the account \
                        REQUIREs, or TLS";
            return Err(Error::new(Code::LoginForbidden).with(Fact::User, &account.name).with(Fact::What, what));
        }
    }
    password::set(&mut superuser, &server, &accounts, change.user, change.to).await?;
    superuser.close().await;
    Ok(())
}
