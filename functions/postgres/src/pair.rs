//! Two users that take turns. The clone is made to follow the base in everything; what it takes is worked out as a list of
//! statements, from facts, before the first one runs. A list that comes out empty proves that the two are alike.

use crate::catalog::{Membership, Place, Role};
use crate::connect::Session;
use crate::single::{Allowed, expect_session_user};
use crate::sql::password::{Encryption, set_password};
use crate::sql::preamble::{As, PINNED, Server, ask, limits, rows, text};
use crate::sql::quote::{identifier, literal, setting_name, setting_value};
use rotation::database::{Pair, Side, Turn};
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;

/// A change to the clone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Change {
    sql: String,
    /// What it changes, in words: for the log of a failure, and for a comparison that finds a difference.
    what: String,
    /// What the superuser lacks if the server refuses it.
    needs: Need,
}

/// A right that a change takes.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Need {
    /// To make roles.
    CreateRole,
    /// To administer this role.
    Admin(String),
    /// To act in place of this role, which has granted what is to be revoked.
    RightsOf(String),
    /// To have these attributes oneself, and to administer the clone.
    Attributes(String),
    /// To set this parameter, and to administer the clone.
    Parameter(String),
    /// To act in place of both users.
    RightsOfBoth(String, String),
}

/// Makes the clone if it is absent and this is its turn, makes it follow the base, and sets the pending side's password
/// last. One transaction: two round trips, and one for each thing that has to change.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`], [`Code::RoleProtected`], [`Code::PairUnproven`] before anything is
/// changed; [`Code::PrivilegeMissing`] naming the grant; others by SQLSTATE.
pub(crate) async fn converge(
    superuser: Session,
    Turn { pair, pending, new, .. }: Turn<'_>,
    allowed: Allowed,
) -> Result<()> {
    let names = related_names(pair);
    let answers = ask(&superuser, &pair.base, As::Superuser, &Role::query(&names)).await?;
    let server = Server::read(&answers)?;
    let encryption = Encryption::choose(&server, allowed.md5)?;
    let roles = Observed::new(pair, Role::read(&answers));
    let base = roles.provable(pair, pending)?;
    for role in [Some(base), roles.clone.as_ref()].into_iter().flatten() {
        role.unprotected(&server, allowed.powerful_roles)?;
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
    set.map_err(|error| explain(error, "the password", &Need::Admin(user.to_owned()), &server.current_user))
}

/// As one of the pair: proves whose session it is, and that nothing is left to converge. One round trip.
///
/// # Errors
/// [`Code::LoginForbidden`], [`Code::PrivilegesDiffer`] naming the first difference.
pub(crate) async fn prove(session: Session, user: &str, pair: &Pair) -> Result<()> {
    let questions = Role::query(&related_names(pair));
    let sql = format!(
        "BEGIN READ ONLY; {PINNED}; \
         SELECT 'session', session_user, current_user, current_database(); {questions}; COMMIT"
    );
    let answers = session.run(&sql).await?;
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
    session.close().await;
    Ok(())
}

/// The pair, and the user that the base might itself be a clone of.
fn related_names(pair: &Pair) -> Vec<&str> {
    [Some(pair.base.as_str()), Some(pair.clone.as_str()), pair.original()].into_iter().flatten().collect()
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

/// What it takes to make the clone follow the base, in order.
fn changes(base: &Role, clone: Option<&Role>, name: &str) -> Vec<Change> {
    let mut list = Vec::new();
    let quoted = identifier(name);
    let absent = Role { name: name.to_owned(), ..Role::default() };
    if clone.is_none() {
        list.push(Change {
            sql: format!("CREATE ROLE {quoted}"),
            what: "the user does not exist".to_owned(),
            needs: Need::CreateRole,
        });
    }
    let clone = clone.unwrap_or(&absent);
    membership(base, clone, &quoted, &mut list);
    let attributes = attribute_options(base, clone).join(" ");
    if !attributes.is_empty() {
        list.push(Change {
            sql: format!("ALTER ROLE {quoted} {attributes}"),
            what: format!("attributes: {attributes}"),
            needs: Need::Attributes(attributes),
        });
    }
    settings(base, clone, &quoted, &mut list);
    list
}

fn membership(base: &Role, clone: &Role, quoted: &str, list: &mut Vec<Change>) {
    let (own, others): (Vec<_>, Vec<_>) = clone.member_of.iter().partition(|grant| grant.group == base.name);
    // Without SET the clone's sessions could not start as the base. CONNECT is checked before they do, which takes INHERIT.
    if !own.iter().any(|grant| grant.set) || !own.iter().any(|grant| grant.inherit) {
        let options = if base.grants_have_options { " WITH INHERIT TRUE, SET TRUE" } else { "" };
        list.push(Change {
            sql: format!("GRANT {} TO {quoted}{options}", identifier(&base.name)),
            what: format!("not a full member of {}", base.name),
            needs: Need::Admin(base.name.clone()),
        });
    }
    for grant in own.iter().filter(|grant| grant.admin) {
        list.push(revoke("ADMIN OPTION FOR ", grant, quoted, format!("may grant {} to others", grant.group)));
    }
    // Through the base it has every other membership that it should have.
    for grant in others {
        list.push(revoke("", grant, quoted, format!("a member of {} by itself", grant.group)));
    }
}

/// From PostgreSQL 16, REVOKE takes away what one grantor gave: the one that it names (manual, REVOKE).
fn revoke(option: &str, grant: &Membership, quoted: &str, what: String) -> Change {
    let group = identifier(&grant.group);
    let (by, needs) = match &grant.grantor {
        Some(grantor) => (format!(" GRANTED BY {}", identifier(grantor)), Need::RightsOf(grantor.clone())),
        None => (String::new(), Need::Admin(grant.group.clone())),
    };
    Change { sql: format!("REVOKE {option}{group} FROM {quoted}{by}"), what, needs }
}

/// Only what differs: a superuser that is not one may give just the attributes that it has itself, and asking for the
/// absence of the others would be refused, too.
fn attribute_options(base: &Role, clone: &Role) -> Vec<String> {
    let (base, clone, grants_have_options) = (&base.attributes, &clone.attributes, base.grants_have_options);
    // Before PostgreSQL 16, NOINHERIT would take away the base's own privileges, which no NOINHERIT takes from the base:
    // CONNECT on a database, which is checked before the session starts as the base. Later it is an option of the grant.
    let inherit = base.inherit || !grants_have_options;
    let flags = [
        ("SUPERUSER", base.superuser, clone.superuser),
        ("INHERIT", inherit, clone.inherit),
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
    let wanted = wanted_settings(base);
    let change = |(database, name): &Place, action: String| {
        let (place, place_in_words) = match database.as_str() {
            "" => (String::new(), String::new()),
            database => (format!(" IN DATABASE {}", identifier(database)), format!(" in database {database}")),
        };
        Change {
            sql: format!("ALTER ROLE {quoted}{place} {action}"),
            what: format!("setting {name}{place_in_words}"),
            needs: Need::Parameter(name.clone()),
        }
    };
    for (place, value) in wanted.iter().filter(|(place, value)| clone.settings.get(*place) != Some(*value)) {
        let (_, name) = place;
        list.push(change(place, format!("SET {} TO {}", setting_name(name), setting_value(name, value))));
    }
    for place in clone.settings.keys().filter(|place| !wanted.contains_key(*place)) {
        list.push(change(place, format!("RESET {}", setting_name(&place.1))));
    }
}

/// The base's settings. What its sessions start as, so do the clone's: the base itself as a rule, so that what they create
/// belongs to the base.
fn wanted_settings(base: &Role) -> BTreeMap<Place, String> {
    let mut wanted = base.settings.clone();
    let mut starts = |database: &str| {
        wanted.insert((database.to_owned(), "role".to_owned()), base.starts_as(database).to_owned());
    };
    starts("");
    // The clone has a role for all databases now, which outranks what a database has for all roles.
    base.role_databases().into_iter().for_each(&mut starts);
    wanted
}

/// What the clone made before its sessions started as the base, as those of AWS's function do not, would be out of reach of
/// both users' sessions from now on.
fn inheritance(base: &Role, clone: &Role) -> Option<Change> {
    clone.owns.then(|| Change {
        sql: format!("REASSIGN OWNED BY {} TO {}", identifier(&clone.name), identifier(&base.name)),
        what: format!("what {} owns", clone.name),
        needs: Need::RightsOfBoth(base.name.clone(), clone.name.clone()),
    })
}

/// Says which change was refused and, if it was for want of privilege, what would help.
fn explain(error: Error, what: &str, needs: &Need, superuser: &str) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error.with_default(Fact::What, what);
    }
    let to = readable(superuser);
    let help = match needs {
        Need::CreateRole => format!("run ALTER ROLE {to} CREATEROLE"),
        // From PostgreSQL 16, CREATEROLE is not enough to administer a role that one has not created (manual 21.2).
        Need::Admin(role) => format!("run GRANT {} TO {to} WITH ADMIN OPTION", readable(role)),
        Need::RightsOf(grantor) => format!("{to} needs the rights of {}, which granted it", readable(grantor)),
        Need::RightsOfBoth(base, clone) => {
            let (base, clone) = (readable(base), readable(clone));
            format!("run REASSIGN OWNED BY {clone} TO {base}, or GRANT {base}, {clone} TO {to}")
        }
        Need::Attributes(options) => format!("{to} needs {options} itself, and ADMIN OPTION on the clone"),
        Need::Parameter(name) => {
            format!(
                "run GRANT SET ON PARAMETER {} TO {to}; it needs ADMIN OPTION on the clone, too",
                setting_name(name)
            )
        }
    };
    // Who may not is the superuser, whatever the user is that the rotation is about.
    error.with(Fact::User, superuser).with(Fact::What, format_args!("{what}; {help}"))
}

/// A name for people to paste: the quotes only where a name needs them.
fn readable(name: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if name.chars().all(plain) { name.to_owned() } else { identifier(name) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::Attributes;

    fn role(name: &str) -> Role {
        let attributes = Attributes { login: true, ..Attributes::default() };
        let reach = BTreeMap::from([(name.to_owned(), false)]);
        Role { name: name.to_owned(), attributes, reach, ..Role::default() }
    }

    fn member(group: &str) -> Membership {
        Membership { group: group.to_owned(), admin: false, inherit: true, set: true, grantor: None }
    }

    fn sql(base: &Role, clone: Option<&Role>) -> Vec<String> {
        changes(base, clone, "app_clone").into_iter().map(|change| change.sql).collect()
    }

    /// The clone after its changes, as the catalogs would show it.
    fn followed(base: &Role) -> Role {
        let mut clone = Role { name: "app_clone".to_owned(), ..base.clone() };
        clone.member_of = vec![member(&base.name)];
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
        clone.member_of.push(member("reporting"));
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
    fn a_role_for_a_whole_database_holds_for_the_clone() {
        let mut base = role("app");
        base.role_for_all.insert("db".to_owned(), "owner".to_owned());
        let statements = sql(&base, None);
        assert!(statements.contains(&r#"ALTER ROLE "app_clone" SET "role" TO 'app'"#.to_owned()));
        assert!(statements.contains(&r#"ALTER ROLE "app_clone" IN DATABASE "db" SET "role" TO 'owner'"#.to_owned()));
        assert_eq!((base.starts_as("db"), base.starts_as("other")), ("owner", "app"));
        // The base's own setting for all databases outranks the database's for all roles.
        base.settings.insert(place("", "role"), "none".to_owned());
        assert_eq!(base.starts_as("db"), "app");
    }

    #[test]
    fn from_16_on_a_membership_is_granted_with_its_options_and_revoked_from_its_grantor() {
        let mut base = role("app");
        base.grants_have_options = true;
        base.attributes.inherit = false;
        let mut clone = followed(&base);
        let by = |grantor: &str, group| Membership { grantor: Some(grantor.to_owned()), ..member(group) };
        clone.member_of = vec![
            Membership { set: false, admin: true, ..by("boss", "app") },
            by("boss", "reporting"),
            by("deputy", "reporting"),
        ];
        assert_eq!(
            sql(&base, Some(&clone)),
            [
                r#"GRANT "app" TO "app_clone" WITH INHERIT TRUE, SET TRUE"#,
                r#"REVOKE ADMIN OPTION FOR "app" FROM "app_clone" GRANTED BY "boss""#,
                r#"REVOKE "reporting" FROM "app_clone" GRANTED BY "boss""#,
                r#"REVOKE "reporting" FROM "app_clone" GRANTED BY "deputy""#,
            ]
        );
    }

    #[test]
    fn before_16_the_clone_inherits_in_any_case() {
        let mut base = role("app");
        base.attributes.inherit = false;
        let mut clone = followed(&base);
        assert_eq!(sql(&base, Some(&clone)), [r#"ALTER ROLE "app_clone" INHERIT"#]);
        clone.attributes.inherit = true;
        assert_eq!(sql(&base, Some(&clone)), Vec::<String>::new());
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
        clone_of_clone.reach.insert("app_clone".to_owned(), false);
        let observed = Observed { base: Some(clone_of_clone), clone: Some(followed(&role("app"))) };
        assert_eq!(observed.provable(&named, Side::Clone).unwrap_err().code(), Code::PairUnproven);

        let mut base = role("x_clone");
        base.member_of.push(member("x"));
        let pair = Pair { base: "x_clone".to_owned(), clone: "x_clone_clone".to_owned(), named: false };
        let observed = Observed { base: Some(base), clone: None };
        assert_eq!(observed.provable(&pair, Side::Clone).unwrap_err().code(), Code::PairUnproven);
    }
}
