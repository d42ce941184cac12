//! Which accounts are as powerful as a superuser, by themselves or through a role or a proxy.

use crate::connect::{Row, text};
use crate::sql::quote::{AccountName, identifier, literal};
use std::collections::{BTreeMap, BTreeSet};

/// Global privileges that lead to all others: the word, MySQL's column in `mysql.user`, and MariaDB's bit in
/// `global_priv.access` (`privilege_t` in sql/privilege.h). Reading and writing the server's files is one of them, and so is reading
/// the binary log, which has the hash of each password that is set.
const GLOBAL: &[(&str, &str, u32)] = &[
    ("SUPER", "Super_priv", 15),
    ("CREATE USER", "Create_user_priv", 25),
    ("GRANT OPTION", "Grant_priv", 10),
    ("FILE", "File_priv", 9),
    ("REPLICATION SLAVE", "Repl_slave_priv", 19),
];

/// Reading the schema `mysql`, which has the hash of every password.
const READ: (&str, &str, u32) = ("SELECT", "Select_priv", 0);

/// The tables of that schema, and the columns, that have passwords or their hashes.
const PASSWORD_TABLES: &str =
    "'user', 'global_priv', 'password_history', 'general_log', 'slow_log', 'servers', 'slave_master_info'";
const PASSWORD_COLUMNS: &str =
    "'authentication_string', 'Password', 'User_attributes', 'Priv', 'argument', 'sql_text', 'User_password'";

/// MariaDB's tables of the schema `performance_schema` that show others' statements as they were sent, with hashes and passwords in them.
/// MySQL rewrites such statements (MySQL manual, "Passwords and Logging").
const STATEMENT_TABLES: &str = "'threads|processlist|events_statements_.*'";

/// Privileges that lead to all others if they hold in the schema `mysql`, as a global one does. ALTER can make a
/// superuser the default in MariaDB's `global_priv`, and DROP makes room for another table.
const WRITE: &[(&str, &str, u32)] = &[
    ("INSERT", "Insert_priv", 1),
    ("UPDATE", "Update_priv", 2),
    ("DELETE", "Delete_priv", 3),
    ("DROP", "Drop_priv", 5),
    ("ALTER", "Alter_priv", 13),
];

/// MySQL's dynamic privileges of that kind: to act as another user, to grant rights, to copy the server (a donor of CLONE asks for
/// BACKUP_ADMIN alone), to see its passwords, or to make it apply changes from another server or from a text (MySQL manual, "Dynamic
/// Privilege Descriptions").
const DYNAMIC: &[&str] = &[
    "ALLOW_NONEXISTENT_DEFINER",
    "BACKUP_ADMIN",
    "BINLOG_ADMIN",
    "CLONE_ADMIN",
    "GROUP_REPLICATION_ADMIN",
    "GROUP_REPLICATION_STREAM",
    "PERSIST_RO_VARIABLES_ADMIN",
    "REPLICATION_APPLIER",
    "REPLICATION_SLAVE_ADMIN",
    "ROLE_ADMIN",
    "SENSITIVE_VARIABLES_OBSERVER",
    "SET_ANY_DEFINER",
    "SET_USER_ID",
    "SYSTEM_USER",
    "SYSTEM_VARIABLES_ADMIN",
];

/// MariaDB's privileges of that kind. There PROCESS shows the passwords in others' statements, which MySQL hides; BINLOG MONITOR and
/// SLAVE MONITOR read the events of logs; and CONNECTION ADMIN sets `init_connect`, which others' sessions run.
const MARIADB: &[(&str, u32)] = &[
    ("PROCESS", 8),
    ("BINLOG MONITOR", 20),
    ("SET USER", 30),
    ("CONNECTION ADMIN", 32),
    ("REPLICATION SLAVE ADMIN", 34),
    ("BINLOG REPLAY", 37),
    ("SLAVE MONITOR", 38),
];

/// The powers of every account on the server, and the accounts that each can become.
#[derive(Clone, Debug, Default)]
pub(crate) struct Powers {
    own: BTreeMap<AccountName, String>,
    becomes: BTreeMap<AccountName, BTreeSet<AccountName>>,
}

impl Powers {
    /// A query for rows of a user, a host and what makes the account powerful.
    pub(crate) fn query() -> String {
        let held = |(word, column, _): &(&str, &str, u32)| format!("IF({column} = 'Y', '{word}', NULL)");
        // A partial revoke takes the privilege back for the schema `mysql`.
        let written = |(word, column, _): &(&str, &str, u32)| {
            let restriction = literal(&format!(r#"{{"Database": "mysql", "Privileges": ["{word}"]}}"#));
            format!(
                "IF({column} = 'Y' AND NOT COALESCE(JSON_CONTAINS(User_attributes, {restriction}, '$.Restrictions'), 0), \
                 '{word} on the schema mysql', NULL)"
            )
        };
        let bit = |(word, bit): (&str, u32)| {
            format!("IF(COALESCE(JSON_VALUE(Priv, '$.access'), 0) & {}, '{word}', NULL)", 1_u64 << bit)
        };
        let mysql: Vec<String> = GLOBAL.iter().map(held).chain(WRITE.iter().chain([&READ]).map(written)).collect();
        let all =
            GLOBAL.iter().chain(WRITE).chain([&READ]).map(|&(word, _, bit)| (word, bit)).chain(MARIADB.iter().copied());
        let mariadb: Vec<String> = all.map(bit).collect();
        let columns = WRITE.iter().map(|(_, column, _)| *column).collect::<Vec<_>>().join(", ");
        let words = WRITE.iter().map(|(word, _, _)| *word).collect::<Vec<_>>().join("|");
        let dynamic = DYNAMIC.iter().map(|word| literal(word)).collect::<Vec<_>>().join(", ");
        format!(
            "SELECT User, Host, what FROM ( \
               SELECT User, Host /*!80014 , CONCAT_WS(', ', {}) AS what FROM mysql.user */ \
               /*M! , CONCAT_WS(', ', {}) AS what FROM mysql.global_priv */) AS every WHERE what <> '' \
             /*!80014 UNION ALL SELECT USER, HOST, PRIV FROM mysql.global_grants WHERE PRIV IN ({dynamic}) */ \
             UNION ALL SELECT User, Host, 'writing in the schema mysql' FROM mysql.db \
               WHERE 'mysql' LIKE Db ESCAPE '\\' AND 'Y' IN ({columns}) \
             UNION ALL SELECT User, Host, 'writing tables of the schema mysql' FROM mysql.tables_priv \
               WHERE Db = 'mysql' AND CONCAT_WS(',', Table_priv, Column_priv) REGEXP '{words}' \
             UNION ALL SELECT User, Host, 'reading the schema mysql' FROM mysql.db \
               WHERE 'mysql' LIKE Db ESCAPE '\\' AND Select_priv = 'Y' \
             UNION ALL SELECT User, Host, 'reading passwords in the schema mysql' FROM mysql.tables_priv \
               WHERE Db = 'mysql' AND Table_name IN ({PASSWORD_TABLES}) AND FIND_IN_SET('Select', Table_priv) \
             UNION ALL SELECT User, Host, 'reading passwords in the schema mysql' FROM mysql.columns_priv \
               WHERE Db = 'mysql' AND Table_name IN ({PASSWORD_TABLES}) AND Column_name IN ({PASSWORD_COLUMNS}) \
                 AND FIND_IN_SET('Select', Column_priv) \
             /*M! UNION ALL SELECT User, Host, 'reading the statements of others' FROM mysql.db \
               WHERE 'performance_schema' LIKE Db ESCAPE '\\' AND Select_priv = 'Y' \
             UNION ALL SELECT User, Host, 'reading the statements of others' FROM mysql.tables_priv \
               WHERE Db = 'performance_schema' AND Table_name REGEXP {STATEMENT_TABLES} \
                 AND (FIND_IN_SET('Select', Table_priv) OR FIND_IN_SET('Select', Column_priv)) */",
            mysql.join(", "),
            mariadb.join(", ")
        )
    }

    /// Reads those rows, and rows of an account and another one that it can become.
    pub(crate) fn read<'a>(powers: &[Row], edges: impl Iterator<Item = &'a Row>) -> Self {
        let mut becomes: BTreeMap<AccountName, BTreeSet<AccountName>> = BTreeMap::new();
        for row in edges {
            becomes.entry(AccountName::of_row(row, 0)).or_default().insert(AccountName::of_row(row, 2));
        }
        let own = powers.iter().map(|row| (AccountName::of_row(row, 0), text(row, 2).to_owned())).collect();
        Self { own, becomes }
    }

    /// What makes the account powerful.
    pub(crate) fn of(&self, account: &AccountName) -> Option<String> {
        let mut reached = BTreeSet::from([account]);
        let mut next = vec![account];
        while let Some(current) = next.pop() {
            if let Some(what) = self.own.get(current) {
                return Some(if current == account {
                    what.clone()
                } else {
                    format!("{what}, through {}", shown(current))
                });
            }
            for other in self.becomes.get(current).into_iter().flatten() {
                // A proxy for the account without a name is one for every account.
                if other.user.is_empty() && other.host.is_empty() {
                    return Some("PROXY on every account".to_owned());
                }
                if reached.insert(other) {
                    next.push(other);
                }
            }
        }
        None
    }
}

/// A role of MariaDB has no host.
fn shown(name: &AccountName) -> String {
    if name.host.is_empty() { identifier(&name.user) } else { name.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[&str]) -> Row {
        values.iter().map(|value| Some(value.as_bytes().to_vec())).collect()
    }

    #[test]
    fn power_comes_through_roles_of_roles_and_proxies() {
        let powers = [row(&["boss", "%", "SUPER"]), row(&["admin", "", "CREATE USER"])];
        let edges = [
            row(&["app", "%", "writer", ""]),
            row(&["writer", "", "admin", ""]),
            row(&["admin", "", "writer", ""]),
            row(&["deputy", "%", "boss", "%"]),
            row(&["anyone", "%", "", ""]),
            row(&["reader", "%", "viewer", "%"]),
        ];
        let powers = Powers::read(&powers, edges.iter());
        let of = |user: &str| powers.of(&AccountName::new(user, "%"));
        assert_eq!(of("boss").unwrap(), "SUPER");
        assert_eq!(of("app").unwrap(), "CREATE USER, through `admin`");
        assert_eq!(of("deputy").unwrap(), "SUPER, through 'boss'@'%'");
        assert_eq!(of("anyone").unwrap(), "PROXY on every account");
        assert_eq!(of("reader"), None);
    }
}
