//! Names and texts as parts of SQL. ALTER ROLE takes no parameters, so they are quoted here.
//!
//! PostgreSQL manual 4.1.1 (quoted identifiers) and 4.1.2.2 (escape strings).

/// A quoted identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A string constant that does not depend on `standard_conforming_strings`. With a backslash in it, it is an escape string.
pub(crate) fn literal(text: &str) -> String {
    let doubled = text.replace('\'', "''");
    if doubled.contains('\\') { format!("E'{}'", doubled.replace('\\', "\\\\")) } else { format!("'{doubled}'") }
}

/// A parameter's name; extensions' parameters have two parts.
pub(crate) fn setting_name(name: &str) -> String {
    name.split('.').map(identifier).collect::<Vec<_>>().join(".")
}

/// Parameters whose value is a list of names (GUC_LIST_QUOTE in guc_tables.c). The catalog holds the list as one text with quoted
/// items. SET takes the items one by one.
const LISTS: &[&str] = &[
    "local_preload_libraries",
    "search_path",
    "session_preload_libraries",
    "shared_preload_libraries",
    "temp_tablespaces",
    "unix_socket_directories",
];

/// A parameter's value from pg_db_role_setting.
pub(crate) fn setting_value(name: &str, value: &str) -> String {
    if LISTS.contains(&name.to_ascii_lowercase().as_str()) {
        list_items(value).iter().map(|item| literal(item)).collect::<Vec<_>>().join(", ")
    } else {
        literal(value)
    }
}

/// The items of a list. They are separated by commas, and in double quotes if they need them.
fn list_items(list: &str) -> Vec<String> {
    let (mut items, mut item, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = list.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                item.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => items.push(std::mem::take(&mut item)),
            _ if !quoted && letter.is_whitespace() => {}
            _ => item.push(letter),
        }
    }
    items.push(item);
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_ends_its_quotes_early() {
        assert_eq!(identifier(r#"a"b'c\d%e"#), r#""a""b'c\d%e""#);
        assert_eq!(literal(r"it's"), r"'it''s'");
        assert_eq!(literal(r"\'; DROP ROLE x --"), r"E'\\''; DROP ROLE x --'");
    }

    #[test]
    fn lists_are_taken_apart_and_other_values_are_not() {
        assert_eq!(setting_value("search_path", r#""$user", app, "a""b, c""#), r#"'$user', 'app', 'a"b, c'"#);
        assert_eq!(setting_value("search_path", r#""""#), "''");
        assert_eq!(setting_value("DateStyle", "ISO, MDY"), "'ISO, MDY'");
        assert_eq!(setting_name("app.user"), r#""app"."user""#);
    }
}
