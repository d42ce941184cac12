//! A secret's JSON, read and changed in place.
//!
//! The text is kept as it was stored, and a change replaces only the bytes of the value that changes. Keys, numbers,
//! order and white space that this project knows nothing about stay exactly as their owner wrote them.

use crate::error::{Code, Error, Fact, Result, key as shown_key};
use crate::password::Policy;
use crate::secret::{Password, SecretText};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use zeroize::Zeroizing;

/// Secrets Manager's limit for a secret's value, in bytes.
/// <https://docs.aws.amazon.com/secretsmanager/latest/userguide/reference_limits.html>
pub const MAX_BYTES: usize = 65_536;

/// A JSON object whose values are not printed.
#[derive(Clone)]
pub struct Document {
    text: SecretText,
    /// The place of each top-level value in the text.
    fields: Vec<(String, Range<usize>)>,
    /// The prefix of this object's fields in error messages: empty, or the keys that lead here, such as `rotation.`.
    prefix: &'static str,
}

impl Document {
    /// Reads a secret's value.
    ///
    /// # Errors
    /// [`Code::SecretNotJson`] if it is not a JSON object; [`Code::FieldInvalid`] if a key stands in it twice.
    pub fn parse(text: SecretText) -> Result<Self> {
        Self::parse_object(text, "")
    }

    fn parse_object(text: SecretText, prefix: &'static str) -> Result<Self> {
        let source = text.expose();
        let not_json = |found: &str| Error::new(Code::SecretNotJson).with(Fact::Found, found);
        let Fields(raw) = serde_json::from_str(source).map_err(|_| match serde_json::from_str::<Value>(source) {
            Ok(value) => not_json(kind(&value)),
            Err(error) => not_json("text that is not JSON")
                .with(Fact::What, format_args!("line {}, column {}", error.line(), error.column())),
        })?;
        let mut fields: Vec<(String, Range<usize>)> = Vec::with_capacity(raw.len());
        let mut seen = HashSet::with_capacity(raw.len());
        for (key, value) in raw {
            if !seen.insert(key.clone()) {
                return Err(invalid(prefix, shown_key(&key), "the same key twice", "each key once"));
            }
            // A `&RawValue` borrows from `source`, so the difference of the addresses is its offset there.
            let start = value.get().as_ptr().addr() - source.as_ptr().addr();
            fields.push((key, start..start + value.get().len()));
        }
        Ok(Self { text, fields, prefix })
    }

    /// The whole text, as it is stored.
    pub fn text(&self) -> &SecretText {
        &self.text
    }

    /// The object's keys, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(key, _)| key.as_str())
    }

    /// The same document with new string values for existing keys.
    ///
    /// # Errors
    /// [`Code::FieldMissing`] if the document has no such key; [`Code::SecretTooLarge`].
    pub fn with(&self, changes: &[(&str, &str)]) -> Result<Self> {
        let mut places = Vec::with_capacity(changes.len());
        for (key, value) in changes {
            let (_, range) = self
                .fields
                .iter()
                .find(|(known, _)| known == key)
                .ok_or_else(|| Error::new(Code::FieldMissing).with(Fact::Field, shown_key(key)))?;
            places.push((range.clone(), Value::from(*value).to_string()));
        }
        // From the back, so that the ranges before it stay valid.
        places.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        let mut text = self.text.expose().to_owned();
        for (range, value) in places {
            text.replace_range(range, &value);
        }
        limited(text, self.prefix)
    }

    /// The same document with these JSON texts under their keys. New keys are added at the end.
    ///
    /// # Errors
    /// [`Code::SecretTooLarge`]; [`Code::SecretNotJson`] if a text is not JSON.
    pub fn with_json(&self, changes: &[(&str, &str)]) -> Result<Self> {
        let mut text = self.text.expose().to_owned();
        let mut known: Vec<_> = changes.iter().filter_map(|(key, value)| Some((self.range(key)?, *value))).collect();
        // From the back, so that the ranges before it stay valid.
        known.sort_by_key(|(range, _)| std::cmp::Reverse(range.start));
        for (range, value) in known {
            text.replace_range(range, value);
        }
        let end = text.rfind('}').ok_or_else(|| Error::new(Code::SecretNotJson))?;
        let mut added = String::new();
        let mut empty = self.fields.is_empty();
        for (key, value) in changes.iter().filter(|(key, _)| self.range(key).is_none()) {
            added.push_str(if empty { "" } else { ", " });
            added.push_str(&format!("{}: {value}", Value::from(*key)));
            empty = false;
        }
        // After the last value, and before whatever white space its owner put in front of the brace.
        let last = text.get(..end).map_or(end, |before| before.trim_end().len());
        text.insert_str(last, &added);
        limited(text, self.prefix)
    }

    /// Whether another document says the same besides these keys and `rotation.journal`, which a rotation writes. White space, the order
    /// of keys and escapes say nothing. Numbers are compared as they are written: no type holds them all.
    pub fn same_besides(&self, other: &Self, keys: &[&str]) -> bool {
        let rest = |document: &Self| {
            let mut fields = Meaning::of_fields(document.fields.iter().filter_map(|(key, range)| {
                let text = document.text.expose().get(range.clone())?;
                (!keys.contains(&key.as_str())).then(|| (key.clone(), Meaning::of(text, 0)))
            }));
            if let Some(at) = fields.iter().position(|(key, _)| key == "rotation")
                && let Some((_, Meaning::Object(options))) = fields.get_mut(at)
            {
                options.retain(|(option, _)| option != "journal");
                if options.is_empty() {
                    fields.remove(at);
                }
            }
            fields
        };
        rest(self) == rest(other)
    }

    /// A value's JSON text, if there is one.
    pub fn json(&self, key: &str) -> Option<SecretText> {
        self.text.expose().get(self.range(key)?).map(SecretText::from)
    }

    /// Whether the object has this key.
    pub fn has(&self, key: &str) -> bool {
        self.range(key).is_some()
    }

    /// A value that is read as the type `T`. `None` if it is absent or null.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`], with `expected`.
    pub fn typed<T: serde::de::DeserializeOwned>(&self, key: &str, expected: &str) -> Result<Option<T>> {
        let Some(text) = self.json(key).filter(|text| text.expose() != "null") else { return Ok(None) };
        // The parser's message may quote the value, so it is dropped.
        serde_json::from_str(text.expose()).map(Some).map_err(|_| self.invalid(key, "something else", expected))
    }

    /// A required string.
    ///
    /// # Errors
    /// [`Code::FieldMissing`]; [`Code::FieldInvalid`] if it is not a string, is empty, or has a NUL character, which neither
    /// PostgreSQL nor MySQL accepts.
    pub fn string(&self, key: &str) -> Result<String> {
        match self.text_of(key)? {
            Some(text) if text.is_empty() => Err(self.invalid(key, "an empty string", FILLED)),
            Some(text) => Ok(text),
            None => {
                Err(Error::new(Code::FieldMissing).with(Fact::Field, format_args!("{}{}", self.prefix, shown_key(key))))
            }
        }
    }

    /// A string that may be absent or null. An empty one means the same, as with AWS's functions.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`] if it is not a string, or has a NUL character.
    pub fn optional_string(&self, key: &str) -> Result<Option<String>> {
        Ok(self.text_of(key)?.filter(|text| !text.is_empty()))
    }

    fn text_of(&self, key: &str) -> Result<Option<String>> {
        match self.value(key)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) if text.contains('\0') => Err(self.invalid(key, "a NUL character", FILLED)),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.invalid(key, kind(&other), FILLED)),
        }
    }

    /// An id: a string or a whole number. A number keeps all its digits, also those that no integer type can hold.
    ///
    /// # Errors
    /// As for [`string`](Self::string).
    pub fn id(&self, key: &str) -> Result<String> {
        match self.json(key) {
            Some(text) if is_whole_number(text.expose()) => Ok(text.expose().to_owned()),
            _ => self.string(key),
        }
    }

    /// The JSON of a new id: a number where this document has one and the id can be one, and else a string.
    pub fn json_of_id(&self, key: &str, id: &str) -> String {
        let is_number = self.json(key).is_some_and(|text| is_whole_number(text.expose()));
        if is_number && is_whole_number(id) { id.to_owned() } else { Value::from(id).to_string() }
    }

    /// The password under this key.
    ///
    /// # Errors
    /// As for [`string`](Self::string).
    pub fn password(&self, key: &str) -> Result<Password> {
        let password = self.string(key)?;
        // SCRAM hashes the password as often as the server asks for, so its length needs a limit.
        if password.len() > Policy::MAX_LENGTH {
            return Err(self.invalid(key, "more than 4,096 bytes", "a password of at most 4,096 bytes"));
        }
        Ok(password.into())
    }

    /// A TCP port: a number, or a string of digits.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn port(&self, key: &str) -> Result<Option<u16>> {
        let number = match self.value(key)? {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(other) => return Err(self.invalid(key, kind(&other), "a port, 1 to 65535")),
        };
        match number.and_then(|number| u16::try_from(number).ok()).filter(|&port| port > 0) {
            Some(port) => Ok(Some(port)),
            None => Err(self.invalid(key, "a value that is no port", "a port, 1 to 65535")),
        }
    }

    /// A boolean, or the strings "true" and "false" in any case.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn boolean(&self, key: &str) -> Result<Option<bool>> {
        match self.value(key)? {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(value)) => Ok(Some(value)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Some(Value::String(text)) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            Some(Value::String(_)) => Err(self.invalid(key, "another string", "true or false")),
            Some(other) => Err(self.invalid(key, kind(&other), "true or false")),
        }
    }

    /// A whole number of hours, at most a year. A longer time is a mistake.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn hours(&self, key: &str) -> Result<Option<Duration>> {
        const YEAR: u64 = 366 * 24;
        let hours = match self.value(key)? {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Number(number)) => number.as_u64(),
            Some(other) => return Err(self.invalid(key, kind(&other), "hours, 0 to 8784")),
        };
        match hours.filter(|&hours| hours <= YEAR) {
            Some(hours) => Ok(Some(Duration::from_secs(hours * 3600))),
            None => Err(self.invalid(key, "another number", "hours, 0 to 8784")),
        }
    }

    /// Two different names.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`].
    pub fn pair_of_names(&self, key: &str) -> Result<Option<(String, String)>> {
        let expected = "an array of two different names";
        let names = match self.value(key)? {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(names)) => names,
            Some(other) => return Err(self.invalid(key, kind(&other), expected)),
        };
        match names.as_slice() {
            [Value::String(one), Value::String(two)]
                if one != two && [one, two].iter().all(|name| !name.is_empty() && !name.contains('\0')) =>
            {
                Ok(Some((one.clone(), two.clone())))
            }
            _ => Err(self.invalid(key, "an array of something else", expected)),
        }
    }

    /// The object under a key. Errors about its own keys begin with `prefix`. `None` if it is absent or null.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`] if it is not an object, or has a key twice.
    pub fn object(&self, key: &str, prefix: &'static str) -> Result<Option<Self>> {
        let Some(range) = self.range(key) else { return Ok(None) };
        let text = self.text.expose().get(range).unwrap_or_default();
        if text == "null" {
            return Ok(None);
        }
        if !text.starts_with('{') {
            return Err(self.invalid(key, "a value that is no object", "an object"));
        }
        Self::parse_object(text.into(), prefix).map(Some)
    }

    /// The object under `rotation`, whose keys are this project's options.
    ///
    /// # Errors
    /// [`Code::FieldInvalid`] if it is not an object; [`Code::OptionUnknown`] naming each key that is not in `known`.
    pub fn options(&self, known: &[&str]) -> Result<Option<Self>> {
        let options = self.object("rotation", "rotation.")?;
        options.iter().try_for_each(|options| options.expect_keys(known))?;
        Ok(options)
    }

    /// Checks that the object has no other keys than these.
    ///
    /// # Errors
    /// [`Code::OptionUnknown`] naming each key that is not in `known`.
    pub fn expect_keys(&self, known: &[&str]) -> Result<()> {
        let prefix = self.prefix;
        let unknown = self.keys().filter(|key| !known.contains(key));
        let unknown: Vec<String> = unknown.map(|key| format!("{prefix}{}", shown_key(key))).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        Err(Error::new(Code::OptionUnknown)
            .with(Fact::Found, unknown.join(", "))
            .with(Fact::Expected, known.join(", ")))
    }

    /// A [`Code::FieldInvalid`] for one of this document's keys.
    pub fn invalid(&self, key: &str, found: &str, expected: &str) -> Error {
        invalid(self.prefix, key, found, expected)
    }

    fn range(&self, key: &str) -> Option<Range<usize>> {
        self.fields.iter().find(|(known, _)| known == key).map(|(_, range)| range.clone())
    }

    /// JSON allows texts that no Rust string or number can hold, such as half a surrogate pair.
    fn value(&self, key: &str) -> Result<Option<Value>> {
        let Some(range) = self.range(key) else { return Ok(None) };
        let text = self.text.expose().get(range).unwrap_or_default();
        let unreadable = |_| self.invalid(key, "a value that cannot be read", "a JSON value");
        serde_json::from_str(text).map(Some).map_err(unreadable)
    }
}

fn limited(text: String, prefix: &'static str) -> Result<Document> {
    if text.len() > MAX_BYTES {
        return Err(Error::new(Code::SecretTooLarge).with(Fact::Found, format_args!("{} bytes", text.len())));
    }
    Document::parse_object(text.into(), prefix)
}

fn invalid(prefix: &str, key: &str, found: &str, expected: &str) -> Error {
    Error::new(Code::FieldInvalid)
        .with(Fact::Field, format_args!("{prefix}{}", shown_key(key)))
        .with(Fact::Found, found)
        .with(Fact::Expected, expected)
}

/// Prints the keys, not the values.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")?;
        f.debug_set().entries(self.keys()).finish()
    }
}

/// An object's entries, in order and with repetitions.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Fields(entries))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// What a JSON text says, for comparisons. Not printed: it holds a secret.
#[derive(PartialEq, Eq)]
enum Meaning {
    /// In order of their keys, with repetitions.
    Object(Vec<(String, Self)>),
    Array(Vec<Self>),
    Text(Zeroizing<String>),
    /// Anything else, and what nests too deeply or no string can hold, as it is written.
    Written(Zeroizing<String>),
}

impl Meaning {
    /// No secret nests as deeply. Each level is read once more, so a limit keeps the time short.
    const DEEPEST: usize = 16;

    fn of(text: &str, depth: usize) -> Self {
        let written = || Self::Written(Zeroizing::new(text.to_owned()));
        let inner = |value: &RawValue| Self::of(value.get(), depth + 1);
        match text.as_bytes().first() {
            _ if depth > Self::DEEPEST => written(),
            Some(b'"') => {
                serde_json::from_str(text).map_or_else(|_| written(), |text| Self::Text(Zeroizing::new(text)))
            }
            Some(b'[') => serde_json::from_str::<Vec<&RawValue>>(text)
                .map_or_else(|_| written(), |items| Self::Array(items.into_iter().map(inner).collect())),
            Some(b'{') => serde_json::from_str(text).map_or_else(
                |_| written(),
                |Fields(fields)| {
                    Self::Object(Self::of_fields(fields.into_iter().map(|(key, value)| (key, inner(value)))))
                },
            ),
            _ => written(),
        }
    }

    fn of_fields(fields: impl Iterator<Item = (String, Self)>) -> Vec<(String, Self)> {
        let mut fields: Vec<_> = fields.collect();
        fields.sort_by(|(one, _), (other, _)| one.cmp(other));
        fields
    }
}

/// What a text has to be.
const FILLED: &str = "a string that is not empty";

/// Whether a text is a whole number in JSON, without a sign (RFC 8259, section 6).
fn is_whole_number(text: &str) -> bool {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits && (text == "0" || !text.starts_with('0'))
}

/// A JSON value's type, for error messages. Never the value.
pub fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(text: &str) -> Document {
        Document::parse(text.into()).unwrap()
    }

    #[test]
    fn a_change_touches_nothing_else() {
        let before = "{\n  \"z\": 1.50e+3, \"password\" :\"old\",\t\"big\": 123456789012345678901234567890,\n \"username\":\"u\", \"a\": {\"b\" : [ ]} }";
        let after = document(before).with(&[("username", "u_clone"), ("password", "n\"ew\\")]).unwrap();
        assert_eq!(
            after.text().expose(),
            "{\n  \"z\": 1.50e+3, \"password\" :\"n\\\"ew\\\\\",\t\"big\": 123456789012345678901234567890,\n \"username\":\"u_clone\", \"a\": {\"b\" : [ ]} }"
        );
        assert_eq!(after.string("password").unwrap(), "n\"ew\\");
    }

    #[test]
    fn what_is_added_comes_last_and_what_is_there_stays_in_place() {
        let before = document("{\n  \"b\": {\"x\": 1.0},\n  \"a\" : \"old\"\n}");
        let after = before.with_json(&[("a", "null"), ("journal", "[1]"), ("b", "{}"), ("é", "2")]).unwrap();
        assert_eq!(after.text().expose(), "{\n  \"b\": {},\n  \"a\" : null, \"journal\": [1], \"é\": 2\n}");
        assert_eq!(
            document("{ }").with_json(&[("a", "1"), ("b", "2")]).unwrap().text().expose(),
            "{\"a\": 1, \"b\": 2 }"
        );
        assert_eq!(before.with_json(&[("a", "nonsense")]).unwrap_err().code(), Code::SecretNotJson);
    }

    #[test]
    fn what_is_not_an_object_is_described_without_being_shown() {
        for (text, found) in [
            ("hunter2", "text that is not JSON"),
            ("{\"password\": \"hunter2\"", "text that is not JSON"),
            ("\"hunter2\"", "a string"),
            ("[\"hunter2\"]", "an array"),
            ("", "text that is not JSON"),
        ] {
            let error = Document::parse(text.into()).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Found)), (Code::SecretNotJson, Some(found)));
            assert!(!error.to_string().contains("hunter2"));
        }
    }

    #[test]
    fn a_repeated_key_is_refused() {
        let error = Document::parse("{\"host\":\"a\",\"host\":\"b\"}".into()).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldInvalid, Some("host")));
    }

    #[test]
    fn ports_and_booleans_in_all_forms_that_aws_accepts() {
        for text in ["{\"port\":5432}", "{\"port\":\"5432\"}"] {
            assert_eq!(document(text).port("port").unwrap(), Some(5432));
        }
        for bad in ["0", "65536", "-1", "5432.5", "\"x\"", "true", "[]"] {
            assert_eq!(
                document(&format!("{{\"port\":{bad}}}")).port("port").unwrap_err().code(),
                Code::FieldInvalid,
                "{bad}"
            );
        }
        for (text, value) in [("true", true), ("false", false), ("\"True\"", true), ("\"FALSE\"", false)] {
            assert_eq!(document(&format!("{{\"ssl\":{text}}}")).boolean("ssl").unwrap(), Some(value));
        }
        for bad in ["1", "\"yes\"", "{}"] {
            assert_eq!(document(&format!("{{\"ssl\":{bad}}}")).boolean("ssl").unwrap_err().code(), Code::FieldInvalid);
        }
    }

    #[test]
    fn what_is_empty_is_absent_where_it_may_be() {
        let document = document(r#"{"dbname":"","masterarn":null}"#);
        assert_eq!(document.optional_string("dbname").unwrap(), None);
        assert_eq!(document.optional_string("masterarn").unwrap(), None);
        assert_eq!(document.string("dbname").unwrap_err().code(), Code::FieldInvalid);
        assert_eq!(document.string("masterarn").unwrap_err().code(), Code::FieldMissing);
    }

    #[test]
    fn an_id_may_be_a_number_and_stays_one() {
        let document = document(
            r#"{"a":12345678901234567890123,"b":"7","c":1.5,"d":-1,"e":007e1}"#.replace("007e1", "7e1").as_str(),
        );
        assert_eq!(document.id("a").unwrap(), "12345678901234567890123");
        assert_eq!(document.id("b").unwrap(), "7");
        for bad in ["c", "d", "e"] {
            assert_eq!(document.id(bad).unwrap_err().code(), Code::FieldInvalid, "{bad}");
        }
        assert_eq!(document.id("f").unwrap_err().code(), Code::FieldMissing);
        assert_eq!(document.json_of_id("a", "42"), "42");
        assert_eq!(document.json_of_id("a", "042"), r#""042""#);
        assert_eq!(document.json_of_id("a", "key_1"), r#""key_1""#);
        assert_eq!(document.json_of_id("b", "42"), r#""42""#);
    }

    #[test]
    fn a_value_that_cannot_be_read_is_not_taken_for_an_absent_one() {
        let document = document(r#"{"masterarn":"\ud800","port":1e999,"password":"\udfff"}"#);
        assert_eq!(document.optional_string("masterarn").unwrap_err().code(), Code::FieldInvalid);
        assert_eq!(document.port("port").unwrap_err().code(), Code::FieldInvalid);
        assert_eq!(document.password("password").unwrap_err().code(), Code::FieldInvalid);
    }

    #[test]
    fn unknown_options_are_named() {
        let error =
            document(r#"{"rotation":{"users":["a","b"],"superUserRescue":true}}"#).options(&["users"]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Found)), (Code::OptionUnknown, Some("rotation.superUserRescue")));
        let error = document(r#"{"rotation":[]}"#).options(&["users"]).unwrap_err();
        assert_eq!((error.code(), error.fact(Fact::Field)), (Code::FieldInvalid, Some("rotation")));
    }

    #[test]
    fn a_document_beyond_the_limit_is_refused() {
        let long = "x".repeat(MAX_BYTES);
        assert_eq!(
            document("{\"password\":\"\"}").with(&[("password", &long)]).unwrap_err().code(),
            Code::SecretTooLarge
        );
    }

    #[test]
    fn debug_shows_keys_only() {
        assert_eq!(format!("{:?}", document("{\"password\":\"hunter2\"}")), "Document{\"password\"}");
    }

    #[test]
    fn an_edit_is_noticed_whatever_the_other_values_are() {
        let odd = r#""n": 1e999, "s": "\ud800", "password": "p", "rotation": {"journal": [1]}"#;
        let before = document(&format!("{{{odd}, \"big\": 123456789012345678901234567890}}"));
        for other in [r#"{"n": 1e998}"#, r#"{"big": 123456789012345678901234567891}"#, r#"{"s": "\ud801"}"#] {
            let (key, value) = other.trim_matches(['{', '}']).split_once(": ").unwrap();
            let edited = before.with_json(&[(key.trim_matches('"'), value)]).unwrap();
            assert!(!before.same_besides(&edited, &["password"]), "{other}");
        }
        let rotated = before.with_json(&[("password", "\"q\""), ("rotation", "{}")]).unwrap();
        assert!(before.same_besides(&rotated, &["password"]));
        let formatted = document(
            "{\"big\":123456789012345678901234567890,\"\\u0073\": \"\\ud800\", \"n\":1e999, \"password\":\"p\"}",
        );
        assert!(before.same_besides(&formatted, &[]));
    }

    proptest! {
        #[test]
        fn any_string_survives_the_round_trip(password in "\\PC{1,40}", extra in "\\PC{0,20}") {
            let before = serde_json::json!({"a": extra, "password": "old", "z": [1, null, {"q": extra}]}).to_string();
            let after = document(&before).with(&[("password", &password)]).unwrap();
            prop_assert_eq!(after.string("password").unwrap(), password.clone());
            let restored = after.with(&[("password", "old")]).unwrap();
            prop_assert_eq!(restored.text().expose(), before);
        }
    }
}
