//! One user, whose own password is changed. Two round trips, whoever does it.

use crate::catalog::Role;
use crate::connect::Session;
use crate::sql::password::{Encryption, set_password};
use crate::sql::preamble::{As, Server, ask, rows, text};
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};

/// What the deployer allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Allowed {
    /// Store an md5 verifier where the server asks for one.
    pub(crate) md5: bool,
    /// Let a superuser secret change roles that are as powerful as itself.
    pub(crate) powerful_roles: bool,
}

/// Changes the password of the user who is logged in.
///
/// # Errors
/// [`Code::ServerReadOnly`], [`Code::LockTimeout`], and others by SQLSTATE.
pub(crate) async fn change_own_password(session: Session, user: &str, new: &Password, allowed: Allowed) -> Result<()> {
    let answers = ask(&session, user, As::SessionUser, "").await?;
    let server = Server::read(&answers)?;
    expect_session_user(&server.session_user, user)?;
    let encryption = Encryption::choose(&server, allowed.md5)?;
    set_password(session, user, new, encryption).await
}

/// Changes another user's password, as a superuser.
///
/// # Errors
/// [`Code::RoleMissing`]; [`Code::RoleUnusable`] where a new password would not help; [`Code::RoleProtected`]; those of
/// [`change_own_password`].
pub(crate) async fn rescue(superuser: Session, user: &str, new: &Password, allowed: Allowed) -> Result<()> {
    let answers = ask(&superuser, user, As::Superuser, &Role::query(&[user])).await?;
    let server = Server::read(&answers)?;
    let role = Role::read(&answers).into_iter().next();
    let role = role.ok_or_else(|| Error::new(Code::RoleMissing).with(Fact::User, user))?;
    role.usable()?;
    role.unprotected(&server, allowed.powerful_roles)?;
    let encryption = Encryption::choose(&server, allowed.md5)?;
    set_password(superuser, user, new, encryption).await
}

/// # Errors
/// [`Code::LoginForbidden`] if the server made somebody else of the user, as a map in pg_ident.conf or a proxy can.
pub(crate) fn expect_session_user(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(Code::LoginForbidden)
        .with(Fact::User, expected)
        .with(Fact::Found, found)
        .with(Fact::What, "the session belongs to another user"))
}

/// Proves that the session is this user's and can work: one round trip.
///
/// # Errors
/// [`Code::LoginForbidden`] if it is another's; by SQLSTATE.
pub(crate) async fn prove(session: Session, user: &str) -> Result<()> {
    let answers = session.run("SELECT 'session', session_user").await?;
    let found = rows(&answers, "session").next().map(|row| text(row, 1));
    expect_session_user(found.unwrap_or_default(), user)?;
    session.close().await;
    Ok(())
}
