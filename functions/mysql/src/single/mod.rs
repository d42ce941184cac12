//! One user: its own password is changed by itself. [`other`] has what a superuser does for it.
//!
//! MySQL keeps the previous password as the account's secondary one (manual, "Dual Password Support") until the next change.
//!
//! **Invariant:** running a step twice does not end the password that consumers still read. A second
//! `RETAIN CURRENT PASSWORD` would make the *new* password the secondary one as well. `REPLACE` prevents that: the
//! server compares it only with the primary password, within the same statement, so a second run gets error 3891. Held
//! by `a_run_again_after_set_ends_no_password`.
//!
//! A user may change its own account only with `IDENTIFIED BY` and the password itself. A hash is refused (error 1227),
//! and `REPLACE` takes the other password in clear as well. So TLS is required. MySQL's logs show neither password.
//!
//! MariaDB takes a hash, has no second password and no `REPLACE`.

pub(crate) mod other;
mod own_way;
mod siblings;

use crate::catalog::accounts::Accounts;
use crate::connect::errno::{self, is};
use crate::connect::{Session, only_value};
use crate::lock::{About, Locked};
use crate::ownership::{self, Known};
use crate::sql::hash;
use crate::sql::preamble::{self, ServerInfo};
use crate::sql::quote::{AccountName, literal};
use own_way::Kind;
use rotation::database::{Evidence, Hold, PasswordChange, expect_user};
use rotation::protocol::observation::PreviousCredential;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use zeroize::Zeroizing;

const RETAIN: &str = " RETAIN CURRENT PASSWORD";

const NO_PRIVILEGE: &str = "the user lacks APPLICATION_PASSWORD_ADMIN, which keeping the previous password takes: \
     GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO the user. A password that was kept earlier works until an administrator runs \
     ALTER USER … DISCARD OLD PASSWORD";
const NO_DUAL_PASSWORDS: &str = "MySQL before 8.0.14 keeps no second password";

/// Takes the lock on the user who is logged in. One round trip, and one more if the user sees other accounts of its name.
///
/// # Errors
/// [`Code::LoginForbidden`] if the session is another user's; [`Code::TlsRequired`]; [`Code::AccountsDiffer`];
/// [`Code::ServerReadOnly`], [`Code::LockTimeout`]; others by error number.
pub(crate) async fn lock_own(session: Session, change: PasswordChange<'_>, evidence: &impl Evidence) -> Result<Locked> {
    let locked = lock_to_discard(session, change.user).await?;
    match &locked.about {
        About::Own { siblings: Some(accounts) } => {
            let known = Known { passwords: &[change.from, change.to], is_the_secrets: false };
            ownership::check(accounts, change.user, known, evidence).await?;
        }
        _ if !locked.server.mariadb => needs_tls(&locked.session)?,
        _ => {}
    }
    Ok(locked)
}

/// The same, to end a password and set none.
///
/// # Errors
/// Those of [`lock_own`].
pub(crate) async fn lock_to_discard(mut session: Session, user: &str) -> Result<Locked> {
    let (server, answers) = preamble::begin(&mut session, Some(user), &siblings::query(user)).await?;
    expect_user(&server.account.user, user)?;
    let mut siblings = None;
    let mut left_alone = Vec::new();
    if !siblings::among(answers.first(), &server.account).is_empty() {
        let accounts = siblings::read(&mut session, user).await?;
        left_alone.clone_from(&accounts.left_alone);
        // The user alone changes its own account as any other user does.
        let alone = accounts.list.iter().all(|account| account.name == server.account);
        siblings = (!alone).then_some(accounts);
    }
    Ok(Locked { session, server, about: About::Own { siblings }, left_alone })
}

/// Changes the password of the user who is logged in. One round trip.
///
/// # Errors
/// [`Code::PasswordRefused`], [`Code::LockTimeout`]; others by error number.
pub(crate) async fn set_own(
    session: &mut Session,
    server: &ServerInfo,
    change: PasswordChange<'_>,
    siblings: Option<&Accounts>,
) -> Result<PreviousCredential> {
    let dual = server.has_dual_passwords();
    if let Some(accounts) = siblings {
        siblings::change_all(session, server, accounts, change).await?;
        return Ok(if dual { PreviousCredential::Works } else { PreviousCredential::Refused });
    }
    if server.mariadb {
        change_on_mariadb(session, &server.account, change.to).await?;
        return Ok(PreviousCredential::Refused);
    }
    change_on_mysql(session, server, change).await
}

async fn change_on_mysql(
    session: &mut Session,
    server: &ServerInfo,
    change: PasswordChange<'_>,
) -> Result<PreviousCredential> {
    if !server.has_dual_passwords() {
        // REPLACE came one patch release before RETAIN.
        set(session, change.to, None, "").await?;
        return Ok(PreviousCredential::NotKept(NO_DUAL_PASSWORDS));
    }
    let not_kept = match set(session, change.to, Some(change.from), RETAIN).await {
        Ok(()) => return Ok(PreviousCredential::Works),
        Err(error) if is(&error, errno::INCORRECT_CURRENT_PASSWORD) => {
            // `from` opened this session and is not the primary password, so it is the secondary one. An earlier run of
            // this step made it so, or a rotation that was given up. A change without RETAIN leaves it as it is.
            return set_beside_secondary(session, change.to).await;
        }
        Err(error) if error.code() == Code::PrivilegeMissing => NO_PRIVILEGE,
        Err(error) => return Err(error),
    };
    match set(session, change.to, Some(change.from), "").await {
        // `from` is the secondary password, from a time when the account had the privilege.
        Err(error) if is(&error, errno::INCORRECT_CURRENT_PASSWORD) => set_beside_secondary(session, change.to).await,
        done => done.map(|()| PreviousCredential::NotKept(not_kept)),
    }
}

/// Replaces a primary password that is not known. The secondary one, which opened the session, stays.
async fn set_beside_secondary(session: &mut Session, new: &Password) -> Result<PreviousCredential> {
    match set(session, new, None, "").await {
        Err(error) if is(&error, errno::MISSING_CURRENT_PASSWORD) => {
            let what = "a rotation that was given up has left a primary password that no version holds, and the account has \
                        PASSWORD REQUIRE CURRENT: let an administrator set the password of AWSCURRENT, and rotate again";
            Err(error.with(Fact::What, what))
        }
        done => done.map(|()| PreviousCredential::Works),
    }
}

/// `ALTER USER` on the session's own account.
async fn set(session: &mut Session, new: &Password, replace: Option<&Password>, retain: &str) -> Result<()> {
    let mut sql = Zeroizing::new(String::with_capacity(4096));
    sql.push_str("ALTER USER CURRENT_USER() IDENTIFIED BY ");
    sql.push_str(&Zeroizing::new(literal(new.expose())));
    if let Some(replace) = replace {
        sql.push_str(" REPLACE ");
        sql.push_str(&Zeroizing::new(literal(replace.expose())));
    }
    sql.push_str(retain);
    session.run(&sql).await.map(drop)
}

fn needs_tls(session: &Session) -> Result<()> {
    if session.encrypted() {
        return Ok(());
    }
    Err(Error::new(Code::TlsRequired).with(Fact::What, "the user's own password, which ALTER USER carries as it is"))
}

async fn change_on_mariadb(session: &mut Session, own: &AccountName, new: &Password) -> Result<()> {
    let hashed = match stored(session, own).await? {
        (Kind::Native, _) => hash::native(new),
        (Kind::Ed25519, _) => hash::ed25519(new),
    };
    let set = match session.run(&format!("SET PASSWORD = {}", literal(&hashed))).await {
        // A password validation plugin is active, and strict_password_validation wants it to see every password (MariaDB
        // Knowledge Base, "Password Validation Plugins"). The general log shows a password that is sent this way.
        Err(error) if is(&error, errno::OPTION_PREVENTS_STATEMENT) => {
            if !session.encrypted() {
                let what = "the new password, which the server's validation plugin wants to see";
                return Err(Error::new(Code::TlsRequired).with(Fact::What, what));
            }
            let password = Zeroizing::new(literal(new.expose()));
            let sql = Zeroizing::new(format!("SET PASSWORD = PASSWORD({})", *password));
            session.run(&sql).await
        }
        done => done,
    };
    match set {
        // If unix_socket comes before the password, a server without a binary log says that it has none, and sets the password
        // (MariaDB 10.11.18). What it has stored tells.
        Err(error) if is(&error, errno::SET_PASSWORD_NOT_APPLICABLE) => {
            let (_, hash) = stored(session, own).await?;
            if hash::matches(hash.as_bytes(), new) { Ok(()) } else { Err(error) }
        }
        done => done.map(drop),
    }
}

/// The plugin of the session's own account that has the password, and the hash. MariaDB shows every user its own account.
async fn stored(session: &mut Session, own: &AccountName) -> Result<(Kind, Zeroizing<String>)> {
    let shown = session.run("SHOW CREATE USER CURRENT_USER()").await?;
    own_way::read(only_value(&shown), own)
}

/// Ends the secondary password of the user who is logged in with the primary one.
///
/// # Errors
/// [`Code::TargetRefused`] if `current` is not the primary password; those of [`set_own`].
pub(crate) async fn discard_previous_password(
    session: &mut Session,
    server: &ServerInfo,
    current: &Password,
    siblings: Option<&Accounts>,
) -> Result<bool> {
    if !server.has_dual_passwords() {
        return Ok(false);
    }
    needs_tls(session)?;
    // The password that consumers read must not be the one that ends here. Only the server can tell which one is
    // primary, and only if the statement replaces the password with itself.
    match set(session, current, Some(current), "").await {
        Ok(()) => {}
        // The server compares the two passwords only after REPLACE was right, and finds them too much alike.
        Err(error) if is(&error, errno::TOO_FEW_CHANGED_CHARACTERS) => {}
        Err(error) => return Err(unproven_primary(error)),
    }
    let mut accounts = vec!["CURRENT_USER()".to_owned()];
    if let Some(siblings) = siblings {
        accounts.extend(siblings::with_primary(siblings, &server.account, current));
    }
    let parts: Vec<String> = accounts.iter().map(|account| format!("{account} DISCARD OLD PASSWORD")).collect();
    let discarded = session.run(&format!("ALTER USER {}", parts.join(", "))).await;
    discarded.map_err(|error| match error.code() {
        Code::PrivilegeMissing if siblings.is_none() => {
            error.with(Fact::What, "GRANT APPLICATION_PASSWORD_ADMIN ON *.* TO the user")
        }
        _ => siblings::explain(error),
    })?;
    Ok(true)
}

fn unproven_primary(error: Error) -> Error {
    if is(&error, errno::INCORRECT_CURRENT_PASSWORD) {
        let what = "the current password is the account's secondary one: a rotation was begun and not finished";
        return error.recoded(Code::TargetRefused).with(Fact::What, what);
    }
    if error.code() == Code::PasswordRefused {
        let what = "the server's rules forbid what would prove that the current password is not the one to be ended; an \
                    administrator can run ALTER USER … DISCARD OLD PASSWORD";
        return error.with(Fact::What, what);
    }
    error
}

/// Proves that the session belongs to this user and works, with the lock on a user or without. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`] if it belongs to another user; [`Code::ServerReadOnly`] with [`Hold::Primary`]; [`Code::LockTimeout`]; others by
/// error number.
pub(crate) async fn prove(mut session: Session, user: &str, lock: Option<&str>, hold: Hold) -> Result<Session> {
    let (account, read_only) = preamble::look(&mut session, lock).await?;
    if hold == Hold::Primary && read_only {
        return Err(Error::new(Code::ServerReadOnly));
    }
    expect_user(account.rsplit_once('@').map_or("", |(user, _)| user), user)?;
    Ok(session)
}
