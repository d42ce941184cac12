//! How MariaDB's user who is logged in authenticates, as `SHOW CREATE USER CURRENT_USER()` shows it.
//!
//! The grant tables would have it as data, but most users may not read them. Anything that is not understood to the end is refused.

use crate::sql::quote::{AccountName, identifier};
use rotation::{Code, Error, Fact, Result};
use zeroize::Zeroizing;

/// A plugin whose hashes can be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Native,
    Ed25519,
}

/// The way with the password, and its hash: `unix_socket` may stand beside it, and nothing else.
///
/// # Errors
/// [`Code::AuthenticationUnsupported`].
pub(super) fn read(definition: &str, own: &AccountName) -> Result<(Kind, Zeroizing<String>)> {
    let name = format!("CREATE USER {}@{} IDENTIFIED ", identifier(&own.user), identifier(&own.host));
    let unsupported =
        |what: &str| Err(Error::new(Code::AuthenticationUnsupported).with(Fact::Found, what).with(Fact::User, own));
    let how = definition.strip_prefix(&name).unwrap_or_default();
    if let Some((hash, _)) = how.strip_prefix("BY PASSWORD ").and_then(text) {
        let hash = is_native(hash).then(|| (Kind::Native, Zeroizing::new(hash.to_owned())));
        return hash.map_or_else(|| unsupported("another authentication plugin"), Ok);
    }
    let Some(ways) = how.strip_prefix("VIA ").and_then(ways) else {
        return unsupported("another authentication plugin");
    };
    let with_password: Vec<(&str, &str)> =
        ways.iter().copied().filter(|(plugin, _)| *plugin != "unix_socket").collect();
    match with_password.as_slice() {
        [] => unsupported("unix_socket alone, which has no password"),
        [("mysql_native_password", hash)] if is_native(hash) => Ok((Kind::Native, Zeroizing::new((*hash).to_owned()))),
        [("ed25519", hash)] if !hash.is_empty() => Ok((Kind::Ed25519, Zeroizing::new((*hash).to_owned()))),
        [_] => unsupported("another authentication plugin"),
        _ => unsupported("several authentication plugins at once"),
    }
}

fn is_native(hash: &str) -> bool {
    hash.starts_with('*')
}

/// `plugin [USING 'text'] [OR …]`: each plugin with its text. `None` if what follows a text or a plugin is not understood.
fn ways(mut rest: &str) -> Option<Vec<(&str, &str)>> {
    let mut ways = Vec::new();
    loop {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (plugin, after) = rest.split_at_checked(end)?;
        let (hash, after) = match after.strip_prefix(" USING ") {
            Some(using) => text(using)?,
            None => ("", after),
        };
        ways.push((plugin, hash));
        match after.strip_prefix(" OR ") {
            Some(next) => rest = next,
            None if after.is_empty() || after.starts_with(' ') => return Some(ways),
            None => return None,
        }
    }
}

/// A text in quotes, without a quote in it, and what follows.
fn text(rest: &str) -> Option<(&str, &str)> {
    let (text, after) = rest.strip_prefix('\'')?.split_once('\'')?;
    (!after.starts_with('\'') && !text.contains('\\')).then_some((text, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_with_the_password_is_read_and_nothing_else_is_guessed() {
        let own = AccountName::new("a`b IDENTIFIED VIA ed25519 USING '", "%");
        let kind = |rest: &str| {
            let shown = format!("CREATE USER `a``b IDENTIFIED VIA ed25519 USING '`@`%` {rest}");
            read(&shown, &own).map(|(kind, hash)| (kind, hash.to_string()))
        };
        let (native, ed25519) = ((Kind::Native, "*0123".to_owned()), (Kind::Ed25519, "abc".to_owned()));
        for (rest, expected) in [
            ("IDENTIFIED BY PASSWORD '*0123' REQUIRE SSL", &native),
            ("IDENTIFIED VIA mysql_native_password USING '*0123'", &native),
            ("IDENTIFIED VIA mysql_native_password USING '*0123' OR unix_socket REQUIRE SSL", &native),
            ("IDENTIFIED VIA unix_socket OR mysql_native_password USING '*0123'", &native),
            ("IDENTIFIED VIA unix_socket USING 'ops' OR ed25519 USING 'abc' OR unix_socket", &ed25519),
            ("IDENTIFIED VIA ed25519 USING 'abc'", &ed25519),
        ] {
            assert_eq!(&kind(rest).unwrap(), expected, "{rest}");
        }
        for refused in [
            "IDENTIFIED VIA unix_socket",
            "IDENTIFIED VIA mysql_native_password USING 'invalid' OR unix_socket",
            "IDENTIFIED VIA mysql_native_password USING '*0123' OR ed25519 USING 'abc'",
            "IDENTIFIED VIA mysql_native_password USING '*0123' OR pam USING 'service'",
            "IDENTIFIED VIA unix_socket USING 'o''brien' OR mysql_native_password USING '*0123'",
            "IDENTIFIED VIA mysql_native_password USING '*0123'OR unix_socket",
            "IDENTIFIED VIA pam USING 'service'",
            "IDENTIFIED BY PASSWORD 'invalid'",
            "",
        ] {
            assert_eq!(kind(refused).unwrap_err().code(), Code::AuthenticationUnsupported, "{refused}");
        }
    }
}
