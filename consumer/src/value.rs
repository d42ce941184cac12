//! The value of a version: text that is zeroized and never printed.

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashMap;
use std::fmt;
use zeroize::Zeroizing;

/// A secret's value as it is stored. Its memory is overwritten when it is dropped, and its `Debug` shows a placeholder.
///
/// ```
/// # use lockstep_secret::SecretText;
/// let text = SecretText::from("hunter2".to_owned());
/// assert!(!format!("{text:?}").contains("hunter2"));
/// assert_eq!(text.expose(), "hunter2");
/// ```
/// It cannot be printed by accident:
/// ```compile_fail,E0277
/// # use lockstep_secret::SecretText;
/// println!("{}", SecretText::from("hunter2".to_owned()));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text itself. Keep it out of everything that is printed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText([REDACTED])")
    }
}

/// Why a field of a secret cannot be read. No variant holds any part of the value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// The value is not a JSON object. Somebody stored a bare password or another format. Store
    /// `{"username": "…", "password": "…"}`, or read the value with [`Snapshot::text`](crate::Snapshot::text).
    #[error("version {version_id} of the secret {secret} is not a JSON object")]
    NotAnObject {
        /// The secret's name.
        secret: String,
        /// The version.
        version_id: String,
    },
    /// The JSON object does not have this key, or there is neither a text nor a number under it.
    #[error("version {version_id} of the secret {secret} has no text or number under the key {key:?}")]
    MissingKey {
        /// The secret's name.
        secret: String,
        /// The version.
        version_id: String,
        /// The key that was asked for.
        key: String,
    },
    /// The host is the path of a socket. Whoever wants a socket says so in the application's own options: a secret must not choose it.
    #[error("the host in version {version_id} of the secret {secret} is the path of a socket, not the name of a host")]
    NotAHost {
        /// The secret's name.
        secret: String,
        /// The version.
        version_id: String,
    },
    /// There is a character in the field that no HTTP header may have, such as the end of a line.
    #[error("the field {key:?} in version {version_id} of the secret {secret} cannot stand in an HTTP header")]
    NotAHeader {
        /// The secret's name.
        secret: String,
        /// The version.
        version_id: String,
        /// The key that was asked for.
        key: String,
    },
}

/// The texts, numbers and booleans at the top of a JSON object. Other values are left out.
pub(crate) struct Fields(HashMap<String, SecretText>);

impl Fields {
    /// The fields of a value, if it is a JSON object.
    pub(crate) fn of(text: &SecretText) -> Option<Self> {
        serde_json::from_str(text.expose()).ok()
    }

    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(SecretText::expose)
    }
}

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object)
    }
}

struct Object;

impl<'de> Visitor<'de> for Object {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut fields = HashMap::new();
        while let Some(key) = map.next_key::<String>()? {
            // As with most parsers, the last one of two equal keys counts.
            match map.next_value::<Field>()?.0 {
                Some(text) => fields.insert(key, text),
                None => fields.remove(&key),
            };
        }
        Ok(Fields(fields))
    }
}

/// A text or a number as text; nothing for other values.
struct Field(Option<SecretText>);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyField)
    }
}

struct AnyField;

impl<'de> Visitor<'de> for AnyField {
    type Value = Field;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_str<E>(self, text: &str) -> Result<Field, E> {
        Ok(Field(Some(text.to_owned().into())))
    }

    fn visit_string<E>(self, text: String) -> Result<Field, E> {
        Ok(Field(Some(text.into())))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Field, E> {
        Ok(Field(Some(value.to_string().into())))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Field, E> {
        Ok(Field(Some(number.to_string().into())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Field, E> {
        Ok(Field(Some(number.to_string().into())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Field, E> {
        Ok(Field(Some(number.to_string().into())))
    }

    fn visit_unit<E>(self) -> Result<Field, E> {
        Ok(Field(None))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut elements: A) -> Result<Field, A::Error> {
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Field(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Field, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Field(None))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(json: &str) -> Option<Fields> {
        Fields::of(&json.to_owned().into())
    }

    #[test]
    fn texts_and_numbers_are_read_and_the_rest_is_left_out() {
        let json = r#"{"username": "app", "port": 5432, "off": -1, "ssl": false, "none": null, "rotation": {"a": [1, {}]},
            "list": [{"x": 1}], "password": "p\u00e4ss\"word", "real": 1.5}"#;
        let fields = fields(json).unwrap();
        let read = |key| fields.get(key);
        assert_eq!((read("username"), read("port"), read("off")), (Some("app"), Some("5432"), Some("-1")));
        assert_eq!((read("ssl"), read("real"), read("password")), (Some("false"), Some("1.5"), Some("päss\"word")));
        assert_eq!((read("none"), read("rotation"), read("list"), read("absent")), (None, None, None, None));
    }

    #[test]
    fn the_last_of_two_equal_keys_counts() {
        assert_eq!(fields(r#"{"a": "1", "a": "2"}"#).unwrap().get("a"), Some("2"));
        assert_eq!(fields(r#"{"a": "1", "a": null}"#).unwrap().get("a"), None);
    }

    #[test]
    fn what_is_no_object_has_no_fields() {
        for json in ["", "hunter2", "\"hunter2\"", "[]", "{", "{} x", "null"] {
            assert!(fields(json).is_none(), "{json}");
        }
    }
}
