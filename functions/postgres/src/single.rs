//! One user: its own password is changed, by itself or, if it is locked out, by a superuser. Two round trips.

use crate::catalog::Role;
use crate::connect::Session;
use crate::settings::Settings;
use crate::sql::password::{Encryption, set_password};
use crate::sql::preamble::{RunAs, ServerInfo, ask, rows, text};
use rotation::database::expect_user;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// Changes the password of the user who is logged in.
///
/// # Errors
/// [`Code::ServerReadOnly`], [`Code::LockTimeout`], and others by SQLSTATE.
pub(crate) async fn change_own_password(
    session: Session,
    user: &str,
    new: &Password,
    settings: Settings,
) -> Result<()> {
    let answers = ask(&session, user, RunAs::SessionUser, "").await?;
    let server = ServerInfo::read(&answers)?;
    expect_user(&server.session_user, user)?;
    let encryption = Encryption::choose(&server, settings.allow_md5)?;
    set_password(session, user, new, encryption).await
}

/// Sets the password of a user that is locked out, as a superuser.
///
/// # Errors
/// [`Code::RoleMissing`]; [`Code::RoleUnusable`] if a new password would not help; [`Code::RoleProtected`]; those of
/// [`change_own_password`].
pub(crate) async fn rescue(superuser: Session, user: &str, new: &Password, settings: Settings) -> Result<()> {
    let answers = ask(&superuser, user, RunAs::Superuser, &Role::query(&[user])).await?;
    let server = ServerInfo::read(&answers)?;
    let role = Role::read(&answers).into_iter().next();
    let role = role.ok_or_else(|| Error::new(Code::RoleMissing).with(Fact::User, user))?;
    role.usable()?;
    role.unprotected(&server, settings.allow_powerful_roles)?;
    let encryption = Encryption::choose(&server, settings.allow_md5)?;
    set_password(superuser, user, new, encryption).await
}

/// Proves that the session belongs to this user and works. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`] if it belongs to another user; others by SQLSTATE.
pub(crate) async fn prove(session: Session, user: &str) -> Result<()> {
    let answers = session.run("SELECT 'session', session_user").await?;
    let found = rows(&answers, "session").next().map(|row| text(row, 1));
    expect_user(found.unwrap_or_default(), user)?;
    session.close().await;
    Ok(())
}
