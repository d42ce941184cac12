//! Names and texts as they stand in SQL.

/// A name as it stands in SQL, whatever its characters and the `sql_mode` (MySQL manual, 11.2).
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text as it stands in SQL, whatever its characters (MySQL manual, 11.1.1). Not for a session with
/// `NO_BACKSLASH_ESCAPES`, where no quoted text is right in both ways; those of [`MySql::connect_superuser`](super::MySql::connect_superuser) are without.
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_texts_are_quoted_as_sql_wants_them() {
        assert_eq!(quoted("o`hara; \"x\" \\"), "`o``hara; \"x\" \\`");
        assert_eq!(literal(r#"o'hara \ "x""#), r#"'o''hara \\ "x"'"#);
    }
}
