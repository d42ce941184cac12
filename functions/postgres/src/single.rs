//! One user: its own password is changed, by itself or by a superuser (`rotation.setPasswordAs`, or if the user is locked out). Two
//! round trips.

use crate::catalog::Role;
use crate::connect::Session;
use crate::lock::Locked;
use crate::settings::Settings;
use crate::sql::password::Encryption;
use crate::sql::preamble::{RunAs, ServerInfo, ask, look, rows, text};
use rotation::database::{Hold, expect_user};
use rotation::{Code, Error, Fact, Result};

/// Takes the lock on the user who is logged in, who may change its own password.
///
/// # Errors
/// [`Code::ServerReadOnly`], [`Code::LockTimeout`], and others by SQLSTATE.
pub(crate) async fn lock_own(session: Session, user: &str, settings: Settings) -> Result<Locked> {
    let answers = ask(&session, user, RunAs::SessionUser, "").await?;
    let server = ServerInfo::read(&answers)?;
    expect_user(&server.session_user, user)?;
    Ok(Locked { session, encryption: Encryption::choose(&server, settings.allow_md5)?, superuser: None, pair: None })
}

/// Takes the lock on another user, as a superuser who may set its password.
///
/// # Errors
/// [`Code::RoleMissing`]; [`Code::RoleUnusable`] if a new password would not help; [`Code::RoleProtected`]; those of
/// [`lock_own`].
pub(crate) async fn lock_other(superuser: Session, user: &str, settings: Settings) -> Result<Locked> {
    let answers = ask(&superuser, user, RunAs::Superuser, &Role::query(&[user])).await?;
    let server = ServerInfo::read(&answers)?;
    let role = Role::read(&answers).into_iter().next();
    let role = role.ok_or_else(|| Error::new(Code::RoleMissing).with(Fact::User, user))?;
    role.usable()?;
    role.unprotected(&server, settings.allow_powerful_roles)?;
    let encryption = Encryption::choose(&server, settings.allow_md5)?;
    Ok(Locked { session: superuser, encryption, superuser: Some(server.current_user), pair: None })
}

/// Adds to a refusal of a user's own password what helps. PostgreSQL itself lets every role change its own password. RDS can reserve that
/// for the members of `rds_password` (RDS user guide, "Restricting password management", `rds.restrict_password_commands`).
pub(crate) fn explain_password(error: Error) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error;
    }
    let what = "the user may not change its own password: let a superuser set it (rotation.setPasswordAs)";
    error.with_default(Fact::What, what)
}

/// Proves that the session belongs to this user and works, with the lock or without. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`] if it belongs to another user; [`Code::ServerReadOnly`] with [`Hold::Primary`]; others by SQLSTATE.
pub(crate) async fn prove(session: Session, user: &str, hold: Hold) -> Result<Session> {
    let lock = (hold == Hold::Lock).then_some(user);
    let answers = look(&session, lock, "SELECT 'session', session_user, pg_is_in_recovery()").await?;
    let row = rows(&answers, "session").next();
    expect_user(row.map_or("", |row| text(row, 1)), user)?;
    if hold == Hold::Primary && row.is_none_or(|row| text(row, 2) != "f") {
        return Err(Error::new(Code::ServerReadOnly));
    }
    Ok(session)
}
