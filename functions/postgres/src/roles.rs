//! What the catalogs say about roles. Only views that every user may read: RDS hides pg_authid.

use crate::quote::literal;
use crate::single::Allowed;
use crate::transaction::{flag, rows, text};
use rotation::{Code, Error, Fact, Result};
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::SimpleQueryMessage;

/// Roles whose members can do what a superuser can: read and write the server's files, or run programs
/// (PostgreSQL manual 21.5), or be the administrator of a managed server.
const POWERFUL_GROUPS: &str = "'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files', \
    'rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin'";

/// A setting's place: a database, or all of them (the empty name), and the parameter.
pub(crate) type Place = (String, String);

/// A role, as far as a clone has to resemble it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) attributes: Attributes,
    /// `VALID UNTIL` has passed.
    pub(crate) expired: bool,
    /// Superuser, or a member of a group that amounts to it.
    pub(crate) powerful: bool,
    /// The roles it is a direct member of, and whether it may SET ROLE to each.
    pub(crate) member_of: BTreeMap<String, bool>,
    /// `ALTER ROLE … [IN DATABASE …] SET …`.
    pub(crate) settings: BTreeMap<Place, String>,
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
    /// As the server prints it; `infinity` if there is none.
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
    /// Queries whose rows [`read`](Self::read) understands. `search_path` has to be pinned.
    pub(crate) fn query(names: &[&str]) -> String {
        let names = names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
        // `to_jsonb` reads set_option where there is one: the column came with version 16.
        format!(
            "SELECT 'role', rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, \
               rolbypassrls, rolconnlimit, coalesce(rolvaliduntil::text, 'infinity'), \
               coalesce(rolvaliduntil <= now(), false), \
               rolsuper OR EXISTS (WITH RECURSIVE groups AS ( \
                   SELECT roleid FROM pg_auth_members WHERE member = r.oid \
                   UNION SELECT m.roleid FROM pg_auth_members m JOIN groups ON m.member = groups.roleid) \
                 SELECT FROM groups JOIN pg_roles g ON g.oid = groups.roleid \
                 WHERE g.rolsuper OR g.rolname IN ({POWERFUL_GROUPS})) \
             FROM pg_roles r WHERE rolname IN ({names}); \
             SELECT 'member', m.rolname, g.rolname, bool_or(coalesce((to_jsonb(a) ->> 'set_option')::boolean, true)) \
             FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member JOIN pg_roles g ON g.oid = a.roleid \
             WHERE m.rolname IN ({names}) GROUP BY m.rolname, g.rolname; \
             SELECT 'setting', r.rolname, coalesce(d.datname, ''), split_part(c, '=', 1), substr(c, strpos(c, '=') + 1) \
             FROM pg_db_role_setting s JOIN pg_roles r ON r.oid = s.setrole \
             LEFT JOIN pg_database d ON d.oid = s.setdatabase CROSS JOIN unnest(s.setconfig) c \
             WHERE r.rolname IN ({names})"
        )
    }

    /// The roles that exist.
    pub(crate) fn read(messages: &[SimpleQueryMessage]) -> Vec<Self> {
        let role = |row| Self {
            name: text(row, 1).to_owned(),
            attributes: Attributes {
                superuser: flag(row, 2),
                inherit: flag(row, 3),
                create_role: flag(row, 4),
                create_db: flag(row, 5),
                login: flag(row, 6),
                replication: flag(row, 7),
                bypass_rls: flag(row, 8),
                connection_limit: text(row, 9).to_owned(),
                valid_until: text(row, 10).to_owned(),
            },
            expired: flag(row, 11),
            powerful: flag(row, 12),
            member_of: BTreeMap::new(),
            settings: BTreeMap::new(),
        };
        let mut roles: Vec<Self> = rows(messages, "role").map(role).collect();
        for role in &mut roles {
            let of_role = |row: &&tokio_postgres::SimpleQueryRow| text(row, 1) == role.name;
            role.member_of =
                rows(messages, "member").filter(of_role).map(|row| (text(row, 2).to_owned(), flag(row, 3))).collect();
            role.settings = rows(messages, "setting")
                .filter(of_role)
                .map(|row| ((text(row, 2).to_owned(), text(row, 3).to_owned()), text(row, 4).to_owned()))
                .collect();
        }
        roles
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

    /// Whoever may write a secret names the user in it. A superuser's rights must not turn that into a way to take over the
    /// server.
    ///
    /// # Errors
    /// [`Code::RoleProtected`].
    pub(crate) fn unprotected(&self, superuser: &str, allowed: Allowed) -> Result<()> {
        let what = if self.name == superuser {
            "it is the superuser secret's own user"
        } else if self.powerful && !allowed.powerful_roles {
            "it is a superuser, or a member of a role that amounts to one"
        } else {
            return Ok(());
        };
        Err(Error::new(Code::RoleProtected).with(Fact::User, &self.name).with(Fact::What, what))
    }

    /// Which user the role's sessions in a database become: its `role` setting there or for all databases, or itself.
    pub(crate) fn starts_as<'a>(&'a self, database: &str) -> &'a str {
        let setting = |database: &str| self.settings.get(&(database.to_owned(), "role".to_owned()));
        match setting(database).or_else(|| setting("")).map(String::as_str) {
            None | Some("none") => &self.name,
            Some(role) => role,
        }
    }

    /// The names of the databases that the role has settings for.
    pub(crate) fn databases(&self) -> BTreeSet<&str> {
        self.settings.keys().map(|(database, _)| database.as_str()).collect()
    }
}
