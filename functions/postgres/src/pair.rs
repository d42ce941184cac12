//! Alternating users: the clone is made like the base.

use crate::catalog::Role;
use crate::connect::Session;
use crate::lock::{Locked, LockedPair};
use crate::observed_pair::{ObservedPair, related_names};
use crate::owned::Owned;
use crate::settings::Settings;
use crate::sql::changes::{Right, changes, changes_in_use, inheritance};
use crate::sql::password::Encryption;
use crate::sql::preamble::{RunAs, ServerInfo, ask, limits, look, rows, text};
use crate::sql::quote::{identifier, setting_name};
use rotation::database::{Evidence, Hold, Pair, Side, Turn, expect_user};
use rotation::{Code, Error, Fact, Result};

/// Takes the lock on the pair and reads it.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`], [`Code::RoleProtected`], [`Code::PairUnproven`]; others by SQLSTATE.
pub(crate) async fn lock(
    superuser: Session,
    Turn { pair, pending, .. }: Turn<'_>,
    evidence: &impl Evidence,
    settings: Settings,
) -> Result<Locked> {
    let names = related_names(pair);
    let queries = format!("{}; {}", Role::query(&names), Owned::query(&pair.clone));
    let answers = ask(&superuser, &pair.base, RunAs::Superuser, &queries).await?;
    let server = ServerInfo::read(&answers)?;
    let encryption = Encryption::choose(&server, settings.allow_md5)?;
    let observed = ObservedPair::new(pair, Role::read(&answers));
    let clone_is_gone = pending == Side::Base && observed.clone.is_none();
    let clone_was_ours = clone_is_gone && evidence.held(&pair.base).await?;
    let base = observed.provable(pair, pending, clone_was_ours)?;
    for role in [Some(base), observed.clone.as_ref()].into_iter().flatten() {
        role.unprotected(&server, settings.allow_powerful_roles)?;
    }
    base.usable()?;
    let pair = Some(LockedPair { observed, version: server.version, owned: Owned::read(&answers) });
    Ok(Locked { session: superuser, encryption, superuser: Some(server.current_user), pair })
}

/// Makes the clone if it is absent and this is its turn, and makes it like the base. One round trip for each change, in the
/// transaction that the password ends.
///
/// # Errors
/// [`Code::PrivilegeMissing`] naming the grant; others by SQLSTATE.
pub(crate) async fn align(locked: &mut Locked, Turn { pair, pending, .. }: Turn<'_>) -> Result<()> {
    let (Some(LockedPair { observed, .. }), Some(superuser)) = (&locked.pair, &locked.superuser) else { return Ok(()) };
    let Some(base) = &observed.base else { return Ok(()) };
    let clone = observed.clone.as_ref();
    // A clone that is gone is made again on its own turn.
    if clone.is_none() && pending == Side::Base {
        return Ok(());
    }
    let list = match clone {
        // **Invariant:** nothing is taken from a clone in use. Test: `what_the_clone_has_on_its_own_it_loses_at_its_turn`.
        Some(clone) if pending == Side::Base => changes_in_use(base, clone, &pair.clone),
        clone => changes(base, clone, &pair.clone),
    };
    for change in list.into_iter().chain(clone.and_then(|clone| inheritance(base, clone))) {
        let done = locked.session.run(&format!("{}; {}", limits(&locked.session)?, change.sql)).await;
        done.map_err(|error| explain(error, &change.what, &change.needs, superuser))?;
    }
    Ok(())
}

/// Adds to a password that was refused what the superuser lacks.
pub(crate) fn explain_password(error: Error, user: &str, superuser: &str) -> Error {
    explain(error, "the password", &Right::Admin(user.to_owned()), superuser)
}

/// As one of the pair: proves that the session belongs to this user, and that the clone is like the base, with the lock or without.
/// One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`], [`Code::PrivilegesDiffer`] naming the first difference.
pub(crate) async fn prove(session: Session, user: &str, pair: &Pair, hold: Hold) -> Result<Session> {
    let lock = (hold == Hold::Lock).then_some(pair.base.as_str());
    let queries = Role::query(&related_names(pair));
    let who = "SELECT 'session', session_user, current_user, current_database()";
    let answers = look(&session, lock, &format!("{who}; {queries}")).await?;
    let row = rows(&answers, "session").next();
    let column = |index| row.map_or("", |row| text(row, index));
    expect_user(column(1), user)?;
    let roles = ObservedPair::new(pair, Role::read(&answers));
    let differ = |what: &str| Err(Error::new(Code::PrivilegesDiffer).with(Fact::User, user).with(Fact::What, what));
    let Some(base) = &roles.base else { return differ("the base user does not exist") };
    let expected = base.starts_as(column(3));
    if column(2) != expected {
        // A server that has received the password could answer with it.
        let known =
            |role| if [&pair.base, &pair.clone].iter().any(|name| *name == role) { role } else { "another role" };
        return differ(&format!("sessions start as {} and not as {}", known(column(2)), known(expected)));
    }
    let differences = match &roles.clone {
        // The base user's turn can come before the clone exists.
        None if user == pair.base => Vec::new(),
        Some(clone) if user == pair.base => changes_in_use(base, clone, &pair.clone),
        clone => changes(base, clone.as_ref(), &pair.clone),
    };
    match differences.first() {
        Some(change) => differ(&change.what),
        None => Ok(session),
    }
}

/// Adds the refused change to an error and, if a privilege is missing, the statement that would help.
fn explain(error: Error, what: &str, needs: &Right, superuser: &str) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error.with_default(Fact::What, what);
    }
    let to = readable(superuser);
    let help = match needs {
        Right::CreateRole => format!("run ALTER ROLE {to} CREATEROLE"),
        // From PostgreSQL 16 on, CREATEROLE alone does not allow to administer a role that another created (manual 21.2).
        Right::Admin(role) => format!("run GRANT {} TO {to} WITH ADMIN OPTION", readable(role)),
        Right::RightsOf(grantor) => format!("{to} needs the rights of {}, which granted it", readable(grantor)),
        Right::RightsOfBoth(base, clone) => {
            let (base, clone) = (readable(base), readable(clone));
            format!("run REASSIGN OWNED BY {clone} TO {base}, or GRANT {base}, {clone} TO {to}")
        }
        Right::Attributes(options) => format!("{to} needs {options} itself, and ADMIN OPTION on the clone"),
        Right::Parameter(name) => {
            format!(
                "run GRANT SET ON PARAMETER {} TO {to}; it needs ADMIN OPTION on the clone, too",
                setting_name(name)
            )
        }
    };
    // The superuser lacks the privilege, not the user that is rotated.
    error.with(Fact::User, superuser).with(Fact::What, format_args!("{what}; {help}"))
}

/// A name for people to paste, in quotes only if it needs them.
fn readable(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) { name.to_owned() } else { identifier(name) }
}
