//! Names and texts as parts of SQL. Account statements take no parameters, so they have to be quoted here.
//!
//! Sessions run in `NO_BACKSLASH_ESCAPES` without `ANSI_QUOTES` (see `frame`), where a quote is the only character with a
//! meaning, and is written twice (MySQL manual, "String Literals" and "Schema Object Names").

/// A string.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The name of a schema, a table, a column, a routine.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// The name of an account (MySQL manual, "Specifying Account Names").
pub(crate) fn account(user: &str, host: &str) -> String {
    format!("{}@{}", literal(user), literal(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_its_quotes_early() {
        assert_eq!(literal(r"\'; DROP USER x --"), r"'\''; DROP USER x --'");
        assert_eq!(identifier("a`; DROP TABLE x; `b"), "`a``; DROP TABLE x; ``b`");
        assert_eq!(account("o'brien@x", "%"), "'o''brien@x'@'%'");
    }
}
