//! Names and texts as parts of SQL. Account statements take no parameters, so they are quoted here.
//!
//! Sessions run in `NO_BACKSLASH_ESCAPES` without `ANSI_QUOTES` (see `preamble`). There a quote is the only character
//! with a meaning, and is doubled (MySQL manual, "String Literals" and "Schema Object Names").

use crate::connect::{Row, text};
use std::fmt;

/// A string.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The name of a schema, a table, a column, a routine.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The name of an account; the host is a pattern. It is printed as SQL takes it: `'user'@'host'` (MySQL manual, "Specifying
/// Account Names").
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AccountName {
    pub(crate) user: String,
    pub(crate) host: String,
}

impl AccountName {
    pub(crate) fn new(user: &str, host: &str) -> Self {
        Self { user: user.to_owned(), host: host.to_owned() }
    }

    /// From two columns of a row: the user's, then the host's.
    pub(crate) fn of_row(row: &Row, user: usize) -> Self {
        Self::new(text(row, user), text(row, user + 1))
    }

    /// A role's name. MariaDB's has no host.
    pub(crate) fn as_role(&self, mariadb: bool) -> String {
        if mariadb { identifier(&self.user) } else { self.to_string() }
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", literal(&self.user), literal(&self.host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_its_quotes_early() {
        assert_eq!(literal(r"\'; DROP USER x --"), r"'\''; DROP USER x --'");
        assert_eq!(identifier("a`; DROP TABLE x; `b"), "`a``; DROP TABLE x; ``b`");
        assert_eq!(AccountName::new("o'brien@x", "%").to_string(), "'o''brien@x'@'%'");
    }
}
