//! The statements that make a clone like its base. They are worked out from the catalogs before the first one runs. An empty
//! list proves that the two are alike.

use crate::catalog::{Membership, Role, SettingKey};
use crate::sql::quote::{identifier, literal, setting_name, setting_value};
use std::collections::BTreeMap;

/// A change to the clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) sql: String,
    /// What it changes, in words: for the error of a refusal, and for a comparison that finds a difference.
    pub(crate) what: String,
    /// The right that the superuser lacks if the server refuses the change.
    pub(crate) needs: Right,
}

/// A right that a change needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// To make roles.
    CreateRole,
    /// To administer this role.
    Admin(String),
    /// To act as this role, which granted the membership that is revoked.
    RightsOf(String),
    /// To have these attributes, and to administer the clone.
    Attributes(String),
    /// To set this parameter, and to administer the clone.
    Parameter(String),
    /// To act as both users.
    RightsOfBoth(String, String),
}

/// The statements, in order. `name` is the clone's.
pub(crate) fn changes(base: &Role, clone: Option<&Role>, name: &str) -> Vec<Change> {
    let mut list = Vec::new();
    let quoted = identifier(name);
    let absent = Role { name: name.to_owned(), ..Role::default() };
    if clone.is_none() {
        list.push(Change {
            sql: format!("CREATE ROLE {quoted}"),
            what: "the user does not exist".to_owned(),
            needs: Right::CreateRole,
        });
    }
    let clone = clone.unwrap_or(&absent);
    membership(base, clone, &quoted, &mut list);
    let attributes = attribute_options(base, clone).join(" ");
    if !attributes.is_empty() {
        list.push(Change {
            sql: format!("ALTER ROLE {quoted} {attributes}"),
            what: format!("attributes: {attributes}"),
            needs: Right::Attributes(attributes),
        });
    }
    settings(base, clone, &quoted, &mut list);
    list
}

/// What is made alike while the clone is in use: only what its sessions and the base lose nothing by. The rest follows at the clone's own
/// turn. If the clone has memberships of its own, its sessions would lose them by starting as the base.
pub(crate) fn changes_in_use(base: &Role, clone: &Role, name: &str) -> Vec<Change> {
    let (mut list, quoted) = (Vec::new(), identifier(name));
    full_member(base, clone, &quoted, &mut list);
    if clone.member_of.iter().all(|grant| grant.group == base.name) {
        let mut all = Vec::new();
        settings(base, clone, &quoted, &mut all);
        let starts = |change: &Change| matches!(&change.needs, Right::Parameter(name) if name == "role");
        list.extend(all.into_iter().filter(starts));
    }
    list
}

fn full_member(base: &Role, clone: &Role, quoted: &str, list: &mut Vec<Change>) {
    let own = || clone.member_of.iter().filter(|grant| grant.group == base.name);
    // Without SET the clone's sessions could not start as the base. CONNECT is checked before that, and needs INHERIT.
    if !own().any(|grant| grant.set) || !own().any(|grant| grant.inherit) {
        let options = if base.grants_have_options { " WITH INHERIT TRUE, SET TRUE" } else { "" };
        list.push(Change {
            sql: format!("GRANT {} TO {quoted}{options}", identifier(&base.name)),
            what: format!("not a full member of {}", base.name),
            needs: Right::Admin(base.name.clone()),
        });
    }
}

fn membership(base: &Role, clone: &Role, quoted: &str, list: &mut Vec<Change>) {
    full_member(base, clone, quoted, list);
    let (own, others): (Vec<_>, Vec<_>) = clone.member_of.iter().partition(|grant| grant.group == base.name);
    for grant in own.iter().filter(|grant| grant.admin) {
        list.push(revoke("ADMIN OPTION FOR ", grant, quoted, format!("may grant {} to others", grant.group)));
    }
    // The clone has all other memberships through the base.
    for grant in others {
        list.push(revoke("", grant, quoted, format!("a member of {} by itself", grant.group)));
    }
}

/// From PostgreSQL 16 on, REVOKE takes away the grant of one grantor, which it names (manual, REVOKE).
fn revoke(option: &str, grant: &Membership, quoted: &str, what: String) -> Change {
    let group = identifier(&grant.group);
    let (by, needs) = match &grant.grantor {
        Some(grantor) => (format!(" GRANTED BY {}", identifier(grantor)), Right::RightsOf(grantor.clone())),
        None => (String::new(), Right::Admin(grant.group.clone())),
    };
    Change { sql: format!("REVOKE {option}{group} FROM {quoted}{by}"), what, needs }
}

/// Only the attributes that differ. A role that is no superuser may set only the attributes that it has itself; the server also
/// refuses to take away others.
fn attribute_options(base: &Role, clone: &Role) -> Vec<String> {
    let (base, clone, grants_have_options) = (&base.attributes, &clone.attributes, base.grants_have_options);
    // Before PostgreSQL 16, NOINHERIT would keep the base's CONNECT on a database from the clone, and that is checked before the
    // session starts as the base. From 16 on, INHERIT is an option of the grant.
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
    let change = |(database, name): &SettingKey, action: String| {
        let (place, place_in_words) = match database.as_str() {
            "" => (String::new(), String::new()),
            database => (format!(" IN DATABASE {}", identifier(database)), format!(" in database {database}")),
        };
        Change {
            sql: format!("ALTER ROLE {quoted}{place} {action}"),
            what: format!("setting {name}{place_in_words}"),
            needs: Right::Parameter(name.clone()),
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

/// The base's settings. The clone's sessions start as the same role as the base's: as a rule the base itself, so that the base
/// owns everything that they create.
fn wanted_settings(base: &Role) -> BTreeMap<SettingKey, String> {
    let mut wanted = base.settings.clone();
    let mut starts = |database: &str| {
        wanted.insert((database.to_owned(), "role".to_owned()), base.starts_as(database).to_owned());
    };
    starts("");
    // The clone's role for all databases outranks a database's setting for all roles.
    base.role_databases().into_iter().for_each(&mut starts);
    wanted
}

/// Gives the base what the clone owns. Sessions of a clone that AWS's function made start as the clone. From now on they start as
/// the base, and could not reach the clone's objects any more.
pub(crate) fn inheritance(base: &Role, clone: &Role) -> Option<Change> {
    clone.owns.then(|| Change {
        sql: format!("REASSIGN OWNED BY {} TO {}", identifier(&clone.name), identifier(&base.name)),
        what: format!("what {} owns", clone.name),
        needs: Right::RightsOfBoth(base.name.clone(), clone.name.clone()),
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::catalog::Attributes;

    pub(crate) fn role(name: &str) -> Role {
        let attributes = Attributes { login: true, ..Attributes::default() };
        let reach = BTreeMap::from([(name.to_owned(), None)]);
        Role { name: name.to_owned(), attributes, reach, ..Role::default() }
    }

    pub(crate) fn member(group: &str) -> Membership {
        Membership { group: group.to_owned(), admin: false, inherit: true, set: true, grantor: None }
    }

    fn sql(base: &Role, clone: Option<&Role>) -> Vec<String> {
        changes(base, clone, "app_clone").into_iter().map(|change| change.sql).collect()
    }

    /// The clone after its changes, as the catalogs would show it.
    pub(crate) fn followed(base: &Role) -> Role {
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
    fn a_clone_in_use_loses_nothing() {
        let mut base = role("app");
        base.attributes.connection_limit = "5".to_owned();
        base.settings.insert(place("", "search_path"), "a".to_owned());
        let mut clone = followed(&role("app"));
        clone.attributes.create_db = true;
        clone.settings = BTreeMap::from([(place("db", "work_mem"), "64MB".to_owned())]);
        let sql = |clone: &Role| -> Vec<String> {
            changes_in_use(&base, clone, "app_clone").into_iter().map(|change| change.sql).collect()
        };
        assert_eq!(sql(&clone), [r#"ALTER ROLE "app_clone" SET "role" TO 'app'"#]);
        clone.member_of.push(member("reporting"));
        assert_eq!(sql(&clone), Vec::<String>::new());
        clone.member_of.retain(|grant| grant.group != "app");
        assert_eq!(sql(&clone), [r#"GRANT "app" TO "app_clone""#]);
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
}
