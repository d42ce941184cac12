//! One user that is locked out, helped by a superuser.

use crate::accounts::{self, usable};
use crate::connect::Session;
use crate::password;
use rotation::Result;
use rotation::clock::Deadline;
use rotation::secret::Password;

/// Sets a user's password on all of its accounts, and ends every other one. Two round trips.
///
/// # Errors
/// [`RoleMissing`](rotation::Code::RoleMissing); [`RoleUnusable`](rotation::Code::RoleUnusable) where a new password would
/// not help; [`RoleProtected`](rotation::Code::RoleProtected); those of [`password::set`].
pub(crate) async fn rescue(
    mut superuser: Session,
    user: &str,
    new: &Password,
    allow_powerful: bool,
    deadline: Deadline,
) -> Result<()> {
    let (server, accounts) = accounts::read(&mut superuser, &[user], deadline).await?;
    let own = accounts.of(user);
    usable(&own, user)?;
    for account in own {
        account.unprotected(&server, allow_powerful)?;
    }
    password::set(&mut superuser, &server, &accounts, user, new, deadline).await?;
    superuser.close(deadline).await;
    Ok(())
}
