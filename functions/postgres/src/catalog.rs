//! What the catalogs say about roles. Only views that every user may read are used: RDS hides pg_authid.

use crate::sql::preamble::{ServerInfo, flag, rows, text};
use crate::sql::quote::literal;
use rotation::{Code, Error, Fact, Result};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Roles whose members are as powerful as a superuser: they read or write the server's files, run programs (PostgreSQL manual
/// 21.5), or administer a managed server. Before version 16, a role with CREATEROLE can make itself a member of these.
const POWERFUL_GROUPS: &str = "'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files', \
    'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin'";

/// What a setting is for: a database (the empty name: all databases), and the parameter.
pub(crate) type SettingKey = (String, String);

/// A role: everything in which a clone has to be like its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    /// `VALID UNTIL` has passed.
    pub(crate) expired: bool,
    /// The role itself and each role that it is a member of, directly or not, and whether that one is as powerful as a
    /// superuser.
    pub(crate) reach: BTreeMap<String, bool>,
    /// Its direct memberships.
    pub(crate) member_of: Vec<Membership>,
    /// Whether it owns anything in this database, or a whole database.
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
        // `to_jsonb` reads the options only if the columns exist: they came with version 16. Names are compared as text, which does
        // not cut a name that is too long to that of another role.
        format!(
            "SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
               rolbypassrls, rolconnlimit, coalesce(rolvaliduntil::text, 'infinity'), \
               coalesce(rolvaliduntil <= now(), false), current_setting('server_version_num')::int4 >= 160000, \
               EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid \
                 AND d.deptype = 'o' \
                 AND d.dbid IN (SELECT 0 UNION SELECT oid FROM pg_database WHERE datname = current_database())) \
             FROM pg_roles r WHERE rolname::text IN ({names}); \
             WITH RECURSIVE reach AS (SELECT oid AS role, oid FROM pg_roles WHERE rolname::text IN ({names}) \
               UNION SELECT role, m.roleid FROM reach JOIN pg_auth_members m ON m.member = reach.oid) \
             SELECT 'reach', r.rolname, g.rolname, g.rolsuper OR g.rolname IN ({POWERFUL_GROUPS}) \
               OR (g.rolcreaterole AND current_setting('server_version_num')::int4 < 160000) \
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
            role.reach = named("reach", role.name.clone()).map(|row| (text(row, 2).to_owned(), flag(row, 3))).collect();
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
        match self.reach.iter().find(|(role, powerful)| **powerful || own(role)) {
            Some(_) if allow_powerful => Ok(()),
            Some((role, _)) if *role == self.name => protected("it is a superuser, or amounts to one"),
            Some((role, _)) => protected(&format!("it is a member of {role}, and as powerful as that")),
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
