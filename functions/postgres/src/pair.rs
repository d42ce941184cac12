//! Two users that take turns. The clone is made to follow the base in everything; what it takes is worked out as a list of
//! statements, from facts, before the first one runs. A list that comes out empty proves that the two are alike.

use crate::connect::Session;
use crate::quote::{identifier, literal, setting_name, setting_value};
use crate::roles::{Attributes, Role};
use crate::single::{Allowed, expect_session_user};
use crate::transaction::{As, Server, ask, rows, text};
use crate::verifier::{Encryption, set_password};
use rotation::clock::Deadline;
use rotation::database::{Pair, Side};
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;

const CLONE_SUFFIX: &str = "_clone";

/// A change to the clone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    sql: String,
    /// What it changes, in words: for the log of a failure, and for a comparison that finds a difference.
    what: String,
    /// What the superuser may lack if the server refuses it.
    needs: Option<String>,
}

/// Makes the clone if it is absent and this is its turn, makes it follow the base, and sets the pending side's password
/// last. One transaction: two round trips, and one for each thing that has to change.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`], [`Code::RoleProtected`], [`Code::PairUnproven`] before anything is
/// changed; [`Code::PrivilegeMissing`] naming the grant; others by SQLSTATE.
pub(crate) async fn converge(
    superuser: Session,
    pair: &Pair,
    pending: Side,
    new: &Password,
    allowed: Allowed,
    deadline: Deadline,
) -> Result<()> {
    let names = related_names(pair);
    let answers = ask(&superuser, &pair.base, As::Superuser, &Role::query(&names), deadline).await?;
    let server = Server::read(&answers)?;
    let roles = Observed::new(pair, Role::read(&answers));
    let base = roles.provable(pair, pending)?;
    for role in [Some(base), roles.clone.as_ref()].into_iter().flatten() {
        role.unprotected(&server.session_user, allowed)?;
    }
    base.usable()?;
    for change in changes(base, roles.clone.as_ref(), &pair.clone) {
        let done = superuser.run(&change.sql, deadline).await;
        done.map_err(|error| explain(error, &change, &server.session_user))?;
    }
    let encryption = Encryption::choose(&server.password_encryption, allowed.md5);
    let user = pair.user(pending);
    let set = set_password(superuser, user, new, encryption, deadline).await;
    set.map_err(|error| lacking(error, "the password", &admin_option(user, &server.session_user)))
}

/// As one of the pair: proves whose session it is, and that nothing is left to converge. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`], [`Code::PrivilegesDiffer`] naming the first difference.
pub(crate) async fn prove(session: Session, user: &str, pair: &Pair, deadline: Deadline) -> Result<()> {
    let questions = Role::query(&related_names(pair));
    // The first column is read before the path is pinned: `current_database` and the users are no matter of paths.
    let sql = format!(
        "BEGIN READ ONLY; SET LOCAL search_path = pg_catalog, pg_temp; \
         SELECT 'session', session_user, current_user, current_database(); {questions}; COMMIT"
    );
    let answers = session.run(&sql, deadline).await?;
    let row = rows(&answers, "session").next();
    let column = |index| row.map_or("", |row| text(row, index));
    expect_session_user(column(1), user)?;
    let roles = Observed::new(pair, Role::read(&answers));
    let differ = |what: &str| Err(Error::new(Code::PrivilegesDiffer).with(Fact::User, user).with(Fact::What, what));
    let Some(base) = &roles.base else { return differ("the base user does not exist") };
    let expected = base.starts_as(column(3));
    if column(2) != expected {
        return differ(&format!("sessions start as {} and not as {expected}", column(2)));
    }
    // The base user's turn can come before there is a clone.
    if (user == pair.clone || roles.clone.is_some())
        && let Some(change) = changes(base, roles.clone.as_ref(), &pair.clone).first()
    {
        return differ(&change.what);
    }
    session.close(deadline).await;
    Ok(())
}

/// The pair, and the user that the base might itself be a clone of.
fn related_names(pair: &Pair) -> Vec<&str> {
    [Some(pair.base.as_str()), Some(pair.clone.as_str()), pair.base.strip_suffix(CLONE_SUFFIX)]
        .into_iter()
        .flatten()
        .collect()
}

/// The pair as it is.
#[derive(Debug)]
struct Observed {
    base: Option<Role>,
    clone: Option<Role>,
}

impl Observed {
    fn new(pair: &Pair, roles: Vec<Role>) -> Self {
        let mut by_name: BTreeMap<String, Role> = roles.into_iter().map(|role| (role.name.clone(), role)).collect();
        Self { base: by_name.remove(&pair.base), clone: by_name.remove(&pair.clone) }
    }

    /// The base user, if the two belong together. A name that ends in `_clone` proves nothing: AWS's function resets the
    /// unrelated user `x` when a genuine user is called `x_clone`.
    fn provable(&self, pair: &Pair, pending: Side) -> Result<&Role> {
        let unproven = |what: &str| {
            Err(Error::new(Code::PairUnproven)
                .with(Fact::User, &pair.base)
                .with(Fact::Partner, &pair.clone)
                .with(Fact::What, what))
        };
        let Some(base) = &self.base else {
            return Err(Error::new(Code::RoleMissing).with(Fact::User, &pair.base).with(Fact::Partner, &pair.clone));
        };
        if base.member_of.contains_key(&pair.clone) {
            return unproven("the base user is a member of the other one");
        }
        let stripped = base.name.strip_suffix(CLONE_SUFFIX);
        if !pair.named && stripped.is_some_and(|original| base.member_of.contains_key(original)) {
            return unproven(
                "the secret's user is itself a clone, and the secret's previous version does not say of whom",
            );
        }
        match &self.clone {
            Some(clone) if !pair.named && !clone.member_of.contains_key(&pair.base) => {
                unproven("the partner exists and is not a member of the base user")
            }
            None if pending == Side::Base => {
                unproven("the user that the secret holds now does not exist at the server")
            }
            _ => Ok(base),
        }
    }
}

/// What it takes to make the clone follow the base, in order.
fn changes(base: &Role, clone: Option<&Role>, name: &str) -> Vec<Change> {
    let mut list = Vec::new();
    let quoted = identifier(name);
    let absent = Role { name: name.to_owned(), ..Role::default() };
    if clone.is_none() {
        list.push(Change {
            sql: format!("CREATE ROLE {quoted}"),
            what: "the user does not exist".to_owned(),
            needs: Some("CREATEROLE".to_owned()),
        });
    }
    let clone = clone.unwrap_or(&absent);
    membership(base, clone, &quoted, &mut list);
    let attributes = attribute_options(&base.attributes, &clone.attributes);
    if !attributes.is_empty() {
        list.push(Change {
            sql: format!("ALTER ROLE {quoted} {}", attributes.join(" ")),
            what: format!("attributes: {}", attributes.join(" ")),
            needs: Some(format!("the attributes it is to give ({})", attributes.join(" "))),
        });
    }
    settings(base, clone, &quoted, &mut list);
    list
}

fn membership(base: &Role, clone: &Role, quoted: &str, list: &mut Vec<Change>) {
    let group = identifier(&base.name);
    // With SET FALSE (PostgreSQL 16) the clone's sessions could not start as the base.
    let grant = match clone.member_of.get(&base.name) {
        None => Some(format!("GRANT {group} TO {quoted}")),
        Some(false) => Some(format!("GRANT {group} TO {quoted} WITH SET TRUE")),
        Some(true) => None,
    };
    if let Some(sql) = grant {
        list.push(Change { sql, what: format!("not a member of {}", base.name), needs: Some(base.name.clone()) });
    }
    // Through the base it has every other membership that it should have.
    for group in clone.member_of.keys().filter(|group| **group != base.name) {
        list.push(Change {
            sql: format!("REVOKE {} FROM {quoted}", identifier(group)),
            what: format!("a member of {group} by itself"),
            needs: Some(group.clone()),
        });
    }
}

/// Only what differs: a superuser that is not one may give just the attributes that it has itself, and asking for the
/// absence of the others would be refused, too.
fn attribute_options(base: &Attributes, clone: &Attributes) -> Vec<String> {
    let flags = [
        ("SUPERUSER", base.superuser, clone.superuser),
        ("INHERIT", base.inherit, clone.inherit),
        ("CREATEROLE", base.create_role, clone.create_role),
        ("CREATEDB", base.create_db, clone.create_db),
        ("LOGIN", base.login, clone.login),
        ("REPLICATION", base.replication, clone.replication),
        ("BYPASSRLS", base.bypass_rls, clone.bypass_rls),
    ];
    let flags = flags.into_iter().filter(|(_, base, clone)| base != clone);
    let mut options: Vec<String> =
        flags.map(|(name, wanted, _)| if wanted { name.to_owned() } else { format!("NO{name}") }).collect();
    if base.connection_limit != clone.connection_limit {
        options.push(format!("CONNECTION LIMIT {}", base.connection_limit));
    }
    if base.valid_until != clone.valid_until {
        options.push(format!("VALID UNTIL {}", literal(&base.valid_until)));
    }
    options
}

fn settings(base: &Role, clone: &Role, quoted: &str, list: &mut Vec<Change>) {
    let mut wanted = base.settings.clone();
    let everywhere = (String::new(), "role".to_owned());
    // Sessions of the clone start as the base, so that what they create belongs to the base. Where the base's sessions
    // start as a third role, so do the clone's.
    let own_role = wanted.get(&everywhere).is_none_or(|role| role == "none");
    if own_role {
        wanted.insert(everywhere, base.name.clone());
    }
    for database in base.databases() {
        let place = (database.to_owned(), "role".to_owned());
        if wanted.get(&place).is_some_and(|role| role == "none") {
            wanted.insert(place, base.name.clone());
        }
    }
    let target = |database: &str| match database {
        "" => format!("ALTER ROLE {quoted}"),
        name => format!("ALTER ROLE {quoted} IN DATABASE {}", identifier(name)),
    };
    for ((database, name), value) in &wanted {
        if clone.settings.get(&(database.clone(), name.clone())) != Some(value) {
            list.push(Change {
                sql: format!("{} SET {} TO {}", target(database), setting_name(name), setting_value(name, value)),
                what: format!("setting {name}"),
                needs: Some(format!("the right to set {name}, and ADMIN OPTION on the clone")),
            });
        }
    }
    for (database, name) in clone.settings.keys().filter(|place| !wanted.contains_key(*place)) {
        list.push(Change {
            sql: format!("{} RESET {}", target(database), setting_name(name)),
            what: format!("setting {name}"),
            needs: Some(format!("the right to set {name}, and ADMIN OPTION on the clone")),
        });
    }
}

fn explain(error: Error, change: &Change, superuser: &str) -> Error {
    match &change.needs {
        Some(group) if change.sql.starts_with("GRANT") || change.sql.starts_with("REVOKE") => {
            lacking(error, &change.what, &admin_option(group, superuser))
        }
        Some(needs) => lacking(error, &change.what, &format!("{superuser} needs {needs}")),
        None => error,
    }
}

/// Adds to a refusal for want of privilege what would help.
fn lacking(error: Error, what: &str, help: &str) -> Error {
    if error.code() == Code::PrivilegeMissing { error.with(Fact::What, format_args!("{what}; {help}")) } else { error }
}

/// From PostgreSQL 16, CREATEROLE is not enough to administer a role that one has not created (manual 22.2).
fn admin_option(role: &str, superuser: &str) -> String {
    format!("run GRANT {} TO {} WITH ADMIN OPTION", identifier(role), identifier(superuser))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str) -> Role {
        let attributes = Attributes { login: true, ..Attributes::default() };
        Role { name: name.to_owned(), attributes, ..Role::default() }
    }

    fn sql(base: &Role, clone: Option<&Role>) -> Vec<String> {
        changes(base, clone, "app_clone").into_iter().map(|change| change.sql).collect()
    }

    /// The clone after its changes, as the catalogs would show it.
    fn followed(base: &Role) -> Role {
        let mut clone = Role { name: "app_clone".to_owned(), ..base.clone() };
        clone.member_of = BTreeMap::from([(base.name.clone(), true)]);
        let place = (String::new(), "role".to_owned());
        clone.settings.entry(place).or_insert_with(|| base.name.clone());
        clone
    }

    fn place(database: &str, name: &str) -> (String, String) {
        (database.to_owned(), name.to_owned())
    }

    #[test]
    fn an_absent_clone_is_made_from_nothing() {
        assert_eq!(
            sql(&role("app"), None),
            [
                r#"CREATE ROLE "app_clone""#,
                r#"GRANT "app" TO "app_clone""#,
                r#"ALTER ROLE "app_clone" LOGIN"#,
                r#"ALTER ROLE "app_clone" SET "role" TO 'app'"#,
            ]
        );
    }

    #[test]
    fn what_is_alike_needs_nothing() {
        let mut base = role("app");
        base.attributes.create_db = true;
        base.settings.insert(place("", "search_path"), "a, \"$user\"".to_owned());
        base.settings.insert(place("db", "role"), "owner".to_owned());
        assert_eq!(sql(&base, Some(&followed(&base))), Vec::<String>::new());
    }

    #[test]
    fn what_the_base_lost_the_clone_loses() {
        let base = role("app");
        let mut clone = followed(&base);
        clone.attributes.create_db = true;
        clone.attributes.valid_until = "2030-01-01 00:00:00+00".to_owned();
        clone.member_of.insert("reporting".to_owned(), true);
        clone.settings.insert(place("db", "work_mem"), "64MB".to_owned());
        assert_eq!(
            sql(&base, Some(&clone)),
            [
                r#"REVOKE "reporting" FROM "app_clone""#,
                r#"ALTER ROLE "app_clone" NOCREATEDB VALID UNTIL 'infinity'"#,
                r#"ALTER ROLE "app_clone" IN DATABASE "db" RESET "work_mem""#,
            ]
        );
    }

    #[test]
    fn a_base_that_starts_as_a_third_role_passes_that_on() {
        let mut base = role("app");
        base.settings.insert(place("", "role"), "owner".to_owned());
        assert!(sql(&base, None).contains(&r#"ALTER ROLE "app_clone" SET "role" TO 'owner'"#.to_owned()));
        assert_eq!(base.starts_as("any"), "owner");
    }

    #[test]
    fn a_membership_that_cannot_be_set_is_granted_again() {
        let base = role("app");
        let mut clone = followed(&base);
        clone.member_of.insert("app".to_owned(), false);
        assert_eq!(sql(&base, Some(&clone)), [r#"GRANT "app" TO "app_clone" WITH SET TRUE"#]);
    }

    #[test]
    fn only_a_provable_pair_is_touched() {
        let pair = Pair { base: "app".to_owned(), clone: "app_clone".to_owned(), named: false };
        let named = Pair { named: true, ..pair.clone() };
        let stranger = role("app_clone");
        let observed = Observed { base: Some(role("app")), clone: Some(stranger.clone()) };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::PairUnproven);
        assert!(observed.provable(&named, Side::Clone).is_ok());

        let observed = Observed { base: None, clone: Some(stranger) };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::RoleMissing);

        let mut clone_of_clone = role("app");
        clone_of_clone.member_of.insert("app_clone".to_owned(), true);
        let observed = Observed { base: Some(clone_of_clone), clone: Some(followed(&role("app"))) };
        assert_eq!(observed.provable(&named, Side::Clone).unwrap_err().code(), Code::PairUnproven);

        let mut base = role("x_clone");
        base.member_of.insert("x".to_owned(), true);
        let pair = Pair { base: "x_clone".to_owned(), clone: "x_clone_clone".to_owned(), named: false };
        let observed = Observed { base: Some(base), clone: None };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::PairUnproven);
    }
}
