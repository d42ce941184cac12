//! Alternating users: the clone is made like the base.

use crate::catalog::Role;
use crate::connect::Session;
use crate::settings::Settings;
use crate::sql::changes::{Right, changes, inheritance};
use crate::sql::password::{Encryption, set_password};
use crate::sql::preamble::{PINNED, RunAs, ServerInfo, ask, limits, rows, text};
use crate::sql::quote::{identifier, setting_name};
use rotation::database::{Pair, Side, Turn, expect_user};
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;

/// Makes the clone if it is absent and this is its turn, makes it like the base, and sets the pending side's password last.
/// One transaction: two round trips, and one for each change.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`], [`Code::RoleProtected`], [`Code::PairUnproven`] before anything is
/// changed; [`Code::PrivilegeMissing`] naming the grant; others by SQLSTATE.
pub(crate) async fn converge(
    superuser: Session,
    Turn { pair, pending, new, .. }: Turn<'_>,
    settings: Settings,
) -> Result<()> {
    let names = related_names(pair);
    let answers = ask(&superuser, &pair.base, RunAs::Superuser, &Role::query(&names)).await?;
    let server = ServerInfo::read(&answers)?;
    let encryption = Encryption::choose(&server, settings.allow_md5)?;
    let roles = ObservedPair::new(pair, Role::read(&answers));
    let base = roles.provable(pair, pending)?;
    for role in [Some(base), roles.clone.as_ref()].into_iter().flatten() {
        role.unprotected(&server, settings.allow_powerful_roles)?;
    }
    base.usable()?;
    let clone = roles.clone.as_ref();
    for change in changes(base, clone, &pair.clone).into_iter().chain(clone.and_then(|clone| inheritance(base, clone)))
    {
        let done = superuser.run(&format!("{}; {}", limits(&superuser)?, change.sql)).await;
        done.map_err(|error| explain(error, &change.what, &change.needs, &server.current_user))?;
    }
    let user = pair.user(pending);
    let set = set_password(superuser, user, new, encryption).await;
    set.map_err(|error| explain(error, "the password", &Right::Admin(user.to_owned()), &server.current_user))
}

/// As one of the pair: proves that the session belongs to this user, and that the clone is like the base. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`], [`Code::PrivilegesDiffer`] naming the first difference.
pub(crate) async fn prove(session: Session, user: &str, pair: &Pair) -> Result<()> {
    let queries = Role::query(&related_names(pair));
    let sql = format!(
        "BEGIN READ ONLY; {PINNED}; \
         SELECT 'session', session_user, current_user, current_database(); {queries}; COMMIT"
    );
    let answers = session.run(&sql).await?;
    let row = rows(&answers, "session").next();
    let column = |index| row.map_or("", |row| text(row, index));
    expect_user(column(1), user)?;
    let roles = ObservedPair::new(pair, Role::read(&answers));
    let differ = |what: &str| Err(Error::new(Code::PrivilegesDiffer).with(Fact::User, user).with(Fact::What, what));
    let Some(base) = &roles.base else { return differ("the base user does not exist") };
    let expected = base.starts_as(column(3));
    if column(2) != expected {
        return differ(&format!("sessions start as {} and not as {expected}", column(2)));
    }
    // The base user's turn can come before the clone exists.
    if (user == pair.clone || roles.clone.is_some())
        && let Some(change) = changes(base, roles.clone.as_ref(), &pair.clone).first()
    {
        return differ(&change.what);
    }
    session.close().await;
    Ok(())
}

/// The pair, and the user whose clone the base may be.
fn related_names(pair: &Pair) -> Vec<&str> {
    [Some(pair.base.as_str()), Some(pair.clone.as_str()), pair.original()].into_iter().flatten().collect()
}

/// The pair as it is.
#[derive(Debug)]
struct ObservedPair {
    base: Option<Role>,
    clone: Option<Role>,
}

impl ObservedPair {
    fn new(pair: &Pair, roles: Vec<Role>) -> Self {
        let mut by_name: BTreeMap<String, Role> = roles.into_iter().map(|role| (role.name.clone(), role)).collect();
        Self { base: by_name.remove(&pair.base), clone: by_name.remove(&pair.clone) }
    }

    /// The base user, if the two belong together.
    ///
    /// **Invariant:** a pair's user is changed only if the secret or the database proves that the two belong
    /// together. A name that ends in `_clone` proves nothing: AWS's function resets the unrelated user `x` if an ordinary user is
    /// called `x_clone`. Test: `only_a_provable_pair_is_touched`.
    fn provable(&self, pair: &Pair, pending: Side) -> Result<&Role> {
        let unproven = |what| Err(pair.unproven(what));
        let Some(base) = &self.base else {
            return Err(Error::new(Code::RoleMissing).with(Fact::User, &pair.base).with(Fact::Partner, &pair.clone));
        };
        if base.reach.contains_key(&pair.clone) {
            return unproven("the base user is a member of the other one");
        }
        if !pair.named && pair.original().is_some_and(|original| base.is_in(original)) {
            return unproven(
                "the secret's user is itself a clone, and the secret's previous version does not say of whom",
            );
        }
        match &self.clone {
            Some(clone) if !pair.named && !clone.is_in(&pair.base) => {
                unproven("the partner exists and is not a member of the base user")
            }
            None if pending == Side::Base => {
                unproven("the user that the secret holds now does not exist at the server")
            }
            _ => Ok(base),
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::changes::tests::{followed, member, role};

    #[test]
    fn only_a_provable_pair_is_touched() {
        let pair = Pair { base: "app".to_owned(), clone: "app_clone".to_owned(), named: false };
        let named = Pair { named: true, ..pair.clone() };
        let stranger = role("app_clone");
        let observed = ObservedPair { base: Some(role("app")), clone: Some(stranger.clone()) };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::PairUnproven);
        assert!(observed.provable(&named, Side::Clone).is_ok());

        let observed = ObservedPair { base: None, clone: Some(stranger) };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::RoleMissing);

        let mut clone_of_clone = role("app");
        clone_of_clone.reach.insert("app_clone".to_owned(), false);
        let observed = ObservedPair { base: Some(clone_of_clone), clone: Some(followed(&role("app"))) };
        assert_eq!(observed.provable(&named, Side::Clone).unwrap_err().code(), Code::PairUnproven);

        let mut base = role("x_clone");
        base.member_of.push(member("x"));
        let pair = Pair { base: "x_clone".to_owned(), clone: "x_clone_clone".to_owned(), named: false };
        let observed = ObservedPair { base: Some(base), clone: None };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::PairUnproven);
    }
}
