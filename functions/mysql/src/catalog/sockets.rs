//! Ways to log in without a password: whoever the server's operating system vouches for is let in.
//!
//! An account of MariaDB can have such ways beside its password: `IDENTIFIED VIA unix_socket OR mysql_native_password USING …`
//! (MariaDB Knowledge Base, "CREATE USER"). A change of the password keeps them, in their order.

use crate::sql::quote::literal;
use serde_json::{Map, Value};

/// MariaDB's plugin, and MySQL's.
pub(crate) const SOCKETS: [&str; 2] = [UNIX_SOCKET, "auth_socket"];
const UNIX_SOCKET: &str = "unix_socket";

/// The ways before and after the one with the password, as `IDENTIFIED VIA` takes them. The server tries all ways in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    before: Vec<String>,
    after: Vec<String>,
}

/// The way that has the password, and the sockets beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ways<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) sockets: Sockets,
}

impl<'a> Ways<'a> {
    /// Reads `mysql.global_priv`: `auth_or` has one object for each way, in their order. An empty object is the way that stands in the
    /// fields `plugin` and `authentication_string`, which is not always the one with the password. If there are only sockets, the
    /// first counts. `None` if there are two ways with a password, or anything that is not understood.
    pub(crate) fn read(fields: &'a Map<String, Value>) -> Option<Self> {
        let Some(list) = fields.get("auth_or") else {
            let (plugin, hash) = way(fields, fields)?;
            return Some(Self { plugin, hash, sockets: Sockets::default() });
        };
        let known = |one: &&String| *one == "plugin" || *one == "authentication_string";
        let read = |one: &'a Value| {
            let one = one.as_object()?;
            one.keys().all(|key| known(&key)).then(|| way(if one.is_empty() { fields } else { one }, fields))?
        };
        let all = list.as_array()?.iter().map(read).collect::<Option<Vec<_>>>()?;
        let with_password = |(plugin, _): &(&str, &str)| *plugin != UNIX_SOCKET;
        if all.iter().filter(|one| with_password(one)).count() > 1 {
            return None;
        }
        let own = all.iter().position(with_password).unwrap_or_default();
        let (before, rest) = all.split_at_checked(own)?;
        let ((plugin, hash), after) = rest.split_first()?;
        let named = |ways: &[(&str, &str)]| ways.iter().map(socket).collect();
        Some(Self { plugin, hash, sockets: Sockets { before: named(before), after: named(after) } })
    }
}

impl Sockets {
    /// The ways, with the one that has the password.
    pub(crate) fn with(&self, way: &str) -> String {
        let ways = self.before.iter().map(String::as_str).chain([way]).chain(self.after.iter().map(String::as_str));
        ways.collect::<Vec<_>>().join(" OR ")
    }
}

/// The plugin of a way, and its hash or its user of the operating system. An account that was made without a clause has no plugin.
fn way<'a>(one: &'a Map<String, Value>, account: &Map<String, Value>) -> Option<(&'a str, &'a str)> {
    let text = |key| one.get(key).map_or(Some(""), Value::as_str);
    let plugin = text("plugin")?;
    let alone = !account.contains_key("auth_or");
    (alone || !plugin.is_empty()).then_some((plugin, text("authentication_string")?))
}

/// A socket as `IDENTIFIED VIA` takes it.
fn socket((plugin, user): &(&str, &str)) -> String {
    if user.is_empty() { (*plugin).to_owned() } else { format!("{plugin} USING {}", literal(user)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn sockets_keep_their_place_and_two_passwords_are_not_understood() {
        let with = |ways: Option<Value>, plugin: &str| {
            let mut fields = Map::new();
            fields.insert("plugin".to_owned(), plugin.into());
            fields.insert("authentication_string".to_owned(), if plugin == "native" { "*0" } else { "" }.into());
            fields.extend(ways.map(|ways| ("auth_or".to_owned(), ways)));
            Ways::read(&fields).map(|ways| format!("{} {}: {}", ways.plugin, ways.hash, ways.sockets.with("password")))
        };
        let socket = json!({"plugin": "unix_socket"});
        let named = json!({"plugin": "unix_socket", "authentication_string": "o'brien"});
        let other = json!({"plugin": "ed25519", "authentication_string": "x"});
        for (ways, plugin, expected) in [
            (None, "native", "native *0: password"),
            (None, "", " : password"),
            (Some(json!([{}])), "native", "native *0: password"),
            (Some(json!([socket, {}])), "native", "native *0: unix_socket OR password"),
            (Some(json!([{}, named])), "native", "native *0: password OR unix_socket USING 'o''brien'"),
            // As MariaDB 10.11 stores `ed25519 … OR unix_socket`.
            (Some(json!([other, {}])), "unix_socket", "ed25519 x: password OR unix_socket"),
            (Some(json!([socket, other, {}])), "unix_socket", "ed25519 x: unix_socket OR password OR unix_socket"),
            (Some(json!([socket, {}])), "unix_socket", "unix_socket : password OR unix_socket"),
        ] {
            assert_eq!(with(ways.clone(), plugin).as_deref(), Some(expected), "{ways:?}");
        }
        for ways in [
            json!([]),
            json!([{}, other]),
            json!([{}, {"plugin": "unix_socket", "authentication_string": 1}]),
            json!([{}, {"plugin": "unix_socket", "more": "x"}]),
            json!({"plugin": "unix_socket"}),
            json!([7]),
        ] {
            assert_eq!(with(Some(ways.clone()), "native"), None, "{ways}");
        }
    }
}
