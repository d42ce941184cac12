//! What the catalogs say about roles. Only views that every user may read are used: RDS hides pg_authid.

use crate::sql::preamble::{ServerInfo, flag, rows, text};
use crate::sql::quote::literal;
use rotation::{Code, Error, Fact, Result};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Roles whose members can become a superuser, and why (PostgreSQL manual 21.5, "Predefined Roles"). The others there reach neither
/// a verifier nor the server: pg_checkpoint, pg_create_subscription, pg_database_owner, pg_maintain, pg_signal_*,
/// pg_stat_scan_tables, pg_use_reserved_connections.
const POWERFUL_GROUPS: &[(&str, &str)] = &[
    ("pg_execute_server_program", "it runs programs on the server"),
    ("pg_write_server_files", "it writes files of the server"),
    ("pg_read_server_files", "it reads files of the server"),
    ("pg_read_all_data", "it reads all tables, and the verifiers of all passwords"),
    ("pg_write_all_data", "it writes all tables, also those whose content a superuser runs"),
    ("pg_read_all_stats", "it sees all statements, and the verifiers in them"),
    ("pg_read_all_settings", "it sees all settings, and the passwords in them"),
    ("pg_monitor", "it sees all statements and settings, and the passwords and verifiers in them"),
    ("rds_superuser", "it administers the server"),
    ("cloudsqlsuperuser", "it administers the server"),
    ("azure_pg_admin", "it administers the server"),
];

/// Why the role `g` is as powerful as a superuser, as an SQL expression; NULL if it is not. Privileges count as well as membership:
/// whoever sees a superuser's verifier can act as the server of that superuser.
fn power() -> String {
    let groups: String = POWERFUL_GROUPS
        .iter()
        .map(|(group, why)| format!("WHEN g.rolname = {} THEN {} ", literal(group), literal(why)))
        .collect();
    // A function without an entry in proacl is open to all, and checks for itself who calls it.
    format!(
        "CASE WHEN g.rolsuper THEN 'it is a superuser' {groups}\
         WHEN g.rolreplication THEN 'REPLICATION copies the whole server' \
         WHEN g.rolcreaterole AND current_setting('server_version_num')::int4 < 160000 \
           THEN 'CREATEROLE grants every role before version 16' \
         WHEN has_column_privilege(g.oid, 'pg_catalog.pg_authid'::regclass, 'rolpassword', 'SELECT') \
           THEN 'it reads pg_authid, with the verifiers of all passwords' \
         WHEN has_column_privilege(g.oid, 'pg_catalog.pg_shadow'::regclass, 'passwd', 'SELECT') \
           THEN 'it reads pg_shadow, with the verifiers of all passwords' \
         WHEN EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'pg_catalog'::regnamespace AND p.proacl IS NOT NULL \
             AND p.proname IN ('pg_read_file', 'pg_read_binary_file', 'lo_import', 'lo_export') \
             AND has_function_privilege(g.oid, p.oid, 'EXECUTE')) \
           THEN 'it calls functions that read or write files of the server' END"
    )
}

/// What a setting is for: a database (the empty name: all databases), and the parameter.
pub(crate) type SettingKey = (String, String);

/// A role: everything in which a clone has to be like its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    /// `VALID UNTIL` has passed.
    pub(crate) expired: bool,
    /// The role itself and each role that it is a member of, directly or not, and why that one is as powerful as a superuser.
    pub(crate) reach: BTreeMap<String, Option<String>>,
    /// Its direct memberships.
    pub(crate) member_of: Vec<Membership>,
    /// Whether it owns anything in this database that REASSIGN OWNED gives away, or a whole database.
    pub(crate) owns: bool,
    /// `ALTER ROLE … [IN DATABASE …] SET …`.
    pub(crate) settings: BTreeMap<SettingKey, String>,
    /// `ALTER DATABASE … SET role` and `ALTER ROLE ALL SET role`, by database. They apply to a role without its own setting.
    pub(crate) role_for_all: BTreeMap<String, String>,
    /// Whether memberships have INHERIT and SET options, and one grant for each grantor (PostgreSQL 16 and later).
    pub(crate) grants_have_options: bool,
}

/// A grant of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) group: String,
    pub(crate) admin: bool,
    pub(crate) inherit: bool,
    pub(crate) set: bool,
    /// The role that granted it, if the server keeps one grant for each grantor.
    pub(crate) grantor: Option<String>,
}

/// The attributes of CREATE ROLE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Attributes {
    pub(crate) superuser: bool,
    pub(crate) inherit: bool,
    pub(crate) create_role: bool,
    pub(crate) create_db: bool,
    pub(crate) login: bool,
    pub(crate) replication: bool,
    pub(crate) bypass_rls: bool,
    pub(crate) connection_limit: String,
    /// As the server prints it; `infinity` if it is not set.
    pub(crate) valid_until: String,
}

/// What CREATE ROLE gives without options.
impl Default for Attributes {
    fn default() -> Self {
        Self {
            superuser: false,
            inherit: true,
            create_role: false,
            create_db: false,
            login: false,
            replication: false,
            bypass_rls: false,
            connection_limit: "-1".to_owned(),
            valid_until: "infinity".to_owned(),
        }
    }
}

impl Role {
    /// Queries whose rows [`read`](Self::read) takes. `search_path` has to be pinned.
    pub(crate) fn query(names: &[&str]) -> String {
        let names = names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
        let power = power();
        // `to_jsonb` reads the options only if the columns exist: they came with version 16. Names are compared as text, which does
        // not cut a name that is too long to that of another role.
        format!(
            "SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
               rolbypassrls, rolconnlimit, coalesce(rolvaliduntil::text, 'infinity'), \
               coalesce(rolvaliduntil <= now(), false), current_setting('server_version_num')::int4 >= 160000, \
               EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid \
                 AND d.deptype = 'o' AND d.classid <> 'pg_default_acl'::regclass \
                 AND d.dbid IN (SELECT 0 UNION SELECT oid FROM pg_database WHERE datname = current_database())) \
             FROM pg_roles r WHERE rolname::text IN ({names}); \
             WITH RECURSIVE reach AS (SELECT oid AS role, oid FROM pg_roles WHERE rolname::text IN ({names}) \
               UNION SELECT role, m.roleid FROM reach JOIN pg_auth_members m ON m.member = reach.oid) \
             SELECT 'reach', r.rolname, g.rolname, {power} \
             FROM reach JOIN pg_roles r ON r.oid = reach.role JOIN pg_roles g ON g.oid = reach.oid; \
             SELECT 'member', m.rolname, g.rolname, a.admin_option, \
               coalesce((to_jsonb(a) ->> 'inherit_option')::boolean, true), \
               coalesce((to_jsonb(a) ->> 'set_option')::boolean, true), \
               CASE WHEN to_jsonb(a) ? 'set_option' THEN b.rolname END \
             FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid \
             LEFT JOIN pg_roles b ON b.oid = a.grantor WHERE m.rolname::text IN ({names}) ORDER BY 2, 3, 7; \
             SELECT 'setting', coalesce(r.rolname, ''), coalesce(d.datname, ''), split_part(c, '=', 1), \
               substr(c, strpos(c, '=') + 1) \
             FROM pg_db_role_setting s LEFT JOIN pg_roles r ON r.oid = s.setrole \
             LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) c \
             WHERE (s.setdatabase = 0 OR d.oid IS NOT NULL) \
               AND (r.rolname::text IN ({names}) OR s.setrole = 0 AND split_part(c, '=', 1) = 'role')"
        )
    }

    /// The roles that exist.
    pub(crate) fn read(messages: &[SimpleQueryMessage]) -> Vec<Self> {
        let mut roles: Vec<Self> = rows(messages, "role").map(Self::of_row).collect();
        let named = |tag, name: String| rows(messages, tag).filter(move |row| text(row, 1) == name);
        for role in &mut roles {
            let power = |row| Some(text(row, 3)).filter(|why| !why.is_empty()).map(str::to_owned);
            role.reach = named("reach", role.name.clone()).map(|row| (text(row, 2).to_owned(), power(row))).collect();
            role.member_of = named("member", role.name.clone()).map(Membership::of_row).collect();
            role.settings = named("setting", role.name.clone())
                .map(|row| ((text(row, 2).to_owned(), text(row, 3).to_owned()), text(row, 4).to_owned()))
                .collect();
            role.role_for_all =
                named("setting", String::new()).map(|row| (text(row, 2).to_owned(), text(row, 4).to_owned())).collect();
        }
        roles
    }

    fn of_row(row: &SimpleQueryRow) -> Self {
        let attributes = Attributes {
            superuser: flag(row, 2),
            inherit: flag(row, 3),
            create_role: flag(row, 4),
            create_db: flag(row, 5),
            login: flag(row, 6),
            replication: flag(row, 7),
            bypass_rls: flag(row, 8),
            connection_limit: text(row, 9).to_owned(),
            valid_until: text(row, 10).to_owned(),
        };
        Self {
            name: text(row, 1).to_owned(),
            attributes,
            expired: flag(row, 11),
            grants_have_options: flag(row, 12),
            owns: flag(row, 13),
            ..Self::default()
        }
    }

    /// Whether it is a direct member of another role.
    pub(crate) fn is_in(&self, group: &str) -> bool {
        self.member_of.iter().any(|membership| membership.group == group)
    }

    /// # Errors
    /// [`Code::RoleUnusable`] if no password would let the role log in.
    pub(crate) fn usable(&self) -> Result<()> {
        let what = match (self.attributes.login, self.expired) {
            (false, _) => "NOLOGIN",
            (true, true) => "VALID UNTIL has passed",
            (true, false) => return Ok(()),
        };
        Err(Error::new(Code::RoleUnusable).with(Fact::User, &self.name).with(Fact::What, what))
    }

    /// **Invariant:** a superuser changes no user that is as powerful as a superuser, unless the deployer allows it.
    /// Whoever may write a secret names its user, and could take over the server otherwise. Test:
    /// `powerful_users_are_left_alone_unless_the_deployer_allows_them`.
    ///
    /// # Errors
    /// [`Code::RoleProtected`].
    pub(crate) fn unprotected(&self, server: &ServerInfo, allow_powerful: bool) -> Result<()> {
        let protected =
            |what: &str| Err(Error::new(Code::RoleProtected).with(Fact::User, &self.name).with(Fact::What, what));
        if self.name == server.session_user {
            return protected("it is the superuser secret's own user");
        }
        let own = |role: &str| role == server.session_user || role == server.current_user;
        // The role itself says more than what it is a member of.
        let itself = self.reach.get_key_value(&self.name).filter(|(_, why)| why.is_some());
        match itself.or_else(|| self.reach.iter().find(|(role, why)| why.is_some() || own(role))) {
            Some(_) if allow_powerful => Ok(()),
            Some((role, Some(why))) if *role == self.name => protected(&format!("it amounts to a superuser: {why}")),
            Some((role, Some(why))) => {
                protected(&format!("it is a member of {role}, which amounts to a superuser: {why}"))
            }
            Some((role, None)) => protected(&format!("it is a member of {role}, and as powerful as that")),
            None => Ok(()),
        }
    }

    /// The user that the role's sessions in a database start as (the empty name: in a database without settings). The role's own
    /// `role` setting comes first, then the one for all roles. Without both it is the role itself.
    pub(crate) fn starts_as<'a>(&'a self, database: &str) -> &'a str {
        let own = |database: &str| self.settings.get(&(database.to_owned(), "role".to_owned()));
        let all = |database: &str| self.role_for_all.get(database);
        let setting = own(database).or_else(|| own("")).or_else(|| all(database)).or_else(|| all(""));
        match setting.map(String::as_str) {
            None | Some("none") => &self.name,
            Some(role) => role,
        }
    }

    /// The databases with a setting that decides which user the role's sessions start as.
    pub(crate) fn role_databases(&self) -> BTreeSet<&str> {
        let own = self.settings.keys().filter(|(_, name)| name == "role").map(|(database, _)| database);
        own.chain(self.role_for_all.keys()).map(String::as_str).filter(|database| !database.is_empty()).collect()
    }
}

impl Membership {
    fn of_row(row: &SimpleQueryRow) -> Self {
        Self {
            group: text(row, 2).to_owned(),
            admin: flag(row, 3),
            inherit: flag(row, 4),
            set: flag(row, 5),
            grantor: Some(text(row, 6)).filter(|grantor| !grantor.is_empty()).map(str::to_owned),
        }
    }
}
