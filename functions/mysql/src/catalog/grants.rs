//! What an account may do, as data. The text of SHOW GRANTS is never parsed.
//!
//! Static privileges at the global level and on schemas are read from `information_schema`, which has them as the words
//! that GRANT takes. It lacks a table's GRANT OPTION without another privilege, routines, proxies and roles, and it
//! still shows the GRANT OPTION of a dynamic privilege after REVOKE (MySQL 9.7). Those are read from the grant tables.

use crate::catalog::accounts::{Account, Accounts, QUERIES};
use crate::connect::{Row, Rows, text};
use crate::sql::quote::{AccountName, identifier, literal};
use rotation::{Code, Error, Fact, Result};
use std::collections::{BTreeMap, BTreeSet};

/// A privilege's name in the grant tables' SET columns, and its name in GRANT.
const SET_WORDS: &[(&str, &str)] = &[
    ("Alter", "ALTER"),
    ("Alter Routine", "ALTER ROUTINE"),
    ("Create", "CREATE"),
    ("Create View", "CREATE VIEW"),
    ("Delete", "DELETE"),
    ("Delete versioning rows", "DELETE HISTORY"),
    ("Drop", "DROP"),
    ("Execute", "EXECUTE"),
    ("Index", "INDEX"),
    ("Insert", "INSERT"),
    ("References", "REFERENCES"),
    ("Select", "SELECT"),
    ("Show Create Routine", "SHOW CREATE ROUTINE"),
    ("Show view", "SHOW VIEW"),
    ("Trigger", "TRIGGER"),
    ("Update", "UPDATE"),
];
/// GRANT OPTION in those columns.
const SET_GRANT: &str = "Grant";

/// The kinds of routines: FUNCTION and PROCEDURE on both servers, LIBRARY on MySQL from 9.2 on, packages on MariaDB.
const ROUTINES: &[&str] = &["FUNCTION", "LIBRARY", "PACKAGE", "PACKAGE BODY", "PROCEDURE"];

/// The level that a privilege holds for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Global,
    /// One dynamic privilege, by its name.
    Dynamic(String),
    /// A schema, or a pattern with `%`, `_` and `\_` as GRANT takes it.
    Schema(String),
    Table(String, String),
    /// The kind, the schema and the name.
    Routine(String, String, String),
}

/// A privilege's word, and the column that it is limited to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Privilege {
    pub(crate) word: String,
    pub(crate) column: Option<String>,
}

/// What one account may do at one level.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Privileges {
    pub(crate) words: BTreeSet<Privilege>,
    pub(crate) grantable: bool,
}

/// What one account may do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Grants {
    pub(crate) privileges: BTreeMap<Level, Privileges>,
    /// Roles, and whether WITH ADMIN OPTION. A role of MariaDB has no host.
    pub(crate) roles: BTreeMap<AccountName, bool>,
    pub(crate) default_roles: BTreeSet<AccountName>,
    /// Accounts that it may log in as (PROXY), and whether WITH GRANT OPTION.
    pub(crate) proxies: BTreeMap<AccountName, bool>,
    /// MySQL's partial revokes: global privileges that it does not have in a schema.
    pub(crate) restrictions: BTreeMap<String, BTreeSet<String>>,
    /// Routines for which it gave itself its privileges, as the server does for whoever makes a routine.
    pub(crate) made: BTreeSet<Level>,
    /// Privileges that are not understood here.
    pub(crate) unknown: Vec<String>,
}

/// The queries after those about accounts, in the order of their answers.
#[derive(Clone, Copy, Debug)]
enum Query {
    Global,
    Dynamic,
    Schemas,
    Tables,
    Columns,
    Routines,
    DefaultRoles,
}

impl Level {
    /// The text after ON.
    pub(crate) fn on(&self) -> String {
        match self {
            Self::Global | Self::Dynamic(_) => "*.*".to_owned(),
            Self::Schema(schema) => format!("{}.*", identifier(schema)),
            Self::Table(schema, table) => format!("{}.{}", identifier(schema), identifier(table)),
            Self::Routine(kind, schema, name) => format!("{kind} {}.{}", identifier(schema), identifier(name)),
        }
    }
}

impl Privilege {
    pub(crate) fn new(word: &str) -> Self {
        Self { word: word.to_owned(), column: None }
    }
}

/// Privileges as GRANT and REVOKE take them.
pub(crate) fn list<'a>(privileges: impl IntoIterator<Item = &'a Privilege>) -> String {
    let shown = privileges.into_iter().map(|privilege| match &privilege.column {
        Some(column) => format!("{} ({})", privilege.word, identifier(column)),
        None => privilege.word.clone(),
    });
    shown.collect::<Vec<_>>().join(", ")
}

impl Grants {
    /// Queries that follow those of [`Accounts::queries`].
    pub(crate) fn queries(names: &[&str]) -> String {
        let grantee = names.iter().map(|name| {
            let start = literal(&grantee(name, ""));
            format!("LEFT(GRANTEE, CHAR_LENGTH({start}) - 1) = LEFT({start}, CHAR_LENGTH({start}) - 1)")
        });
        let grantee = grantee.collect::<Vec<_>>().join(" OR ");
        let names = names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
        [
            format!(
                "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE FROM information_schema.USER_PRIVILEGES WHERE {grantee}"
            ),
            format!(
                "SELECT /*!80014 USER, HOST, PRIV, WITH_GRANT_OPTION FROM mysql.global_grants WHERE USER IN ({names}) */ \
                 /*M! 0 FROM DUAL WHERE FALSE */"
            ),
            format!(
                "SELECT GRANTEE, PRIVILEGE_TYPE, IS_GRANTABLE, TABLE_SCHEMA \
                 FROM information_schema.SCHEMA_PRIVILEGES WHERE {grantee}"
            ),
            format!("SELECT User, Host, Db, Table_name, Table_priv FROM mysql.tables_priv WHERE User IN ({names})"),
            format!(
                "SELECT User, Host, Db, Table_name, Column_priv, Column_name FROM mysql.columns_priv \
                 WHERE User IN ({names})"
            ),
            format!(
                "SELECT User, Host, Db, Routine_name, Proc_priv, Routine_type, Grantor FROM mysql.procs_priv \
                 WHERE User IN ({names})"
            ),
            format!(
                "SELECT /*!80014 USER, HOST, DEFAULT_ROLE_USER, DEFAULT_ROLE_HOST FROM mysql.default_roles \
                 WHERE USER IN ({names}) */ /*M! 0 FROM DUAL WHERE FALSE */"
            ),
        ]
        .join("; ")
    }

    /// What each of these accounts may do, in the order of the accounts.
    ///
    /// # Errors
    /// [`Code::PrivilegeMissing`] if the superuser sees no privileges; [`Code::ServerStrange`].
    pub(crate) fn of_answers(answers: &[Rows], accounts: &[Account], mariadb: bool) -> Result<Vec<Self>> {
        let answer = |query: Query| answers.get(QUERIES + query as usize).map_or(&[][..], Vec::as_slice);
        if answers.len() != QUERIES + Query::DefaultRoles as usize + 1 {
            return Err(Error::new(Code::ServerStrange).with(Fact::What, "not as many answers as questions"));
        }
        let (roles, proxies) = Accounts::edges(answers);
        let read = |account: &Account| {
            let own = |rows: &'_ [Row]| {
                rows.iter().filter(|row| AccountName::of_row(row, 0) == account.name).cloned().collect::<Vec<_>>()
            };
            let grantee = grantee(&account.name.user, &account.name.host);
            let granted = |query| answer(query).iter().filter(|row| text(row, 0) == grantee);
            // Every account has at least the word USAGE.
            if granted(Query::Global).next().is_none() {
                let what = "SELECT on the schema mysql, to see other accounts' privileges";
                return Err(Error::new(Code::PrivilegeMissing).with(Fact::What, what));
            }
            let mut grants = Self {
                restrictions: account.restrictions.clone(),
                unknown: account.unknown.clone(),
                roles: own(roles).iter().map(|row| (AccountName::of_row(row, 2), text(row, 4) == "Y")).collect(),
                proxies: own(proxies).iter().map(|row| (AccountName::of_row(row, 2), text(row, 4) == "1")).collect(),
                ..Self::default()
            };
            // All of MySQL's dynamic privileges have an underscore in their names, and no static one does.
            let dynamic = |row: &&Row| !mariadb && text(row, 1).contains('_');
            for row in granted(Query::Global).filter(|row| !dynamic(row)) {
                grants.word(Level::Global, text(row, 1), text(row, 2) == "YES");
            }
            for row in own(answer(Query::Dynamic)) {
                let word = text(&row, 2);
                grants.word(Level::Dynamic(word.to_owned()), word, text(&row, 3) == "Y");
            }
            for row in granted(Query::Schemas) {
                grants.word(Level::Schema(text(row, 3).to_owned()), text(row, 1), text(row, 2) == "YES");
            }
            let table = |row: &Row| Level::Table(text(row, 2).to_owned(), text(row, 3).to_owned());
            for row in own(answer(Query::Tables)) {
                grants.set(&table(&row), text(&row, 4), None);
            }
            for row in own(answer(Query::Columns)) {
                grants.set(&table(&row), text(&row, 4), Some(text(&row, 5)));
            }
            for row in own(answer(Query::Routines)) {
                let (kind, schema, routine) = (text(&row, 5), text(&row, 2), text(&row, 3));
                if ROUTINES.contains(&kind) {
                    let level = Level::Routine(kind.to_owned(), schema.to_owned(), routine.to_owned());
                    grants.set(&level, text(&row, 4), None);
                    // The grantor's host is the client's, not that of the account.
                    let grantor = text(&row, 6).rsplit_once('@').map(|(user, _)| user);
                    if grantor == Some(account.name.user.as_str()) {
                        grants.made.insert(level);
                    }
                } else {
                    grants.unknown.push(format!("a privilege for a routine of the kind {kind:?}"));
                }
            }
            grants.default_roles = match &account.default_role {
                // A default role stays, without effect, after the role itself was revoked.
                Some(role) => grants.roles.keys().filter(|granted| granted.user == *role).cloned().collect(),
                None => own(answer(Query::DefaultRoles)).iter().map(|row| AccountName::of_row(row, 2)).collect(),
            };
            Ok(grants)
        };
        accounts.iter().map(read).collect()
    }

    /// One word of `information_schema`.
    fn word(&mut self, level: Level, word: &str, grantable: bool) {
        if word.is_empty() || !word.chars().all(|c| c.is_ascii_uppercase() || matches!(c, ' ' | '_')) {
            self.unknown.push(format!("the privilege {word:?} on {}", level.on()));
            return;
        }
        if word == "USAGE" && !grantable {
            return;
        }
        let privileges = self.privileges.entry(level).or_default();
        privileges.grantable |= grantable;
        if word != "USAGE" {
            privileges.words.insert(Privilege::new(word));
        }
    }

    /// The words of a column of the type SET.
    fn set(&mut self, level: &Level, set: &str, column: Option<&str>) {
        for member in set.split(',').filter(|member| !member.is_empty()) {
            let known = SET_WORDS.iter().find(|(name, _)| *name == member);
            if known.is_none() && member != SET_GRANT {
                self.unknown.push(format!("the privilege {member:?} on {}", level.on()));
                continue;
            }
            let privileges = self.privileges.entry(level.clone()).or_default();
            match known {
                Some((_, word)) => {
                    let column = column.map(str::to_owned);
                    privileges.words.insert(Privilege { word: (*word).to_owned(), column });
                }
                None => privileges.grantable = true,
            }
        }
    }
}

/// An account as `information_schema` shows it: in quotes, with nothing escaped.
fn grantee(user: &str, host: &str) -> String {
    format!("'{user}'@'{host}'")
}
