//! Under which keys a secret holds a database user: AWS's own, or those that `rotation.fields` names.

use crate::document::Document;
use crate::error::{Code, Error, Fact, Result, key as shown_key};

/// AWS's keys.
const KEYS: &[&str] = &["engine", "host", "port", "dbname", "username", "password", "ssl", "masterarn"];
const FIELDS: &str = "fields";
const ENGINE: &str = "engine";

/// The names that a document gives to AWS's keys.
///
/// **Invariant:** each of AWS's keys stands for one key of the document, and no two of them for the same one. Otherwise a rotation could
/// change a key that consumers do not read, and leave the one that they read. Test: `a_mapping_that_is_not_clear_is_refused`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct KeyNames {
    /// `rotation.fields`: a key of AWS's, and the document's own for it. Those that are the same are left out.
    mapped: Vec<(&'static str, String)>,
    /// `rotation.engine`: counts instead of the key `engine`.
    engine: Option<String>,
}

impl KeyNames {
    /// Reads `rotation.fields` and `rotation.engine`.
    ///
    /// # Errors
    /// [`Code::OptionUnknown`] for a key that is not AWS's; [`Code::FieldInvalid`] if a name is not a string or not clear;
    /// [`Code::FieldMissing`] if the document has no such key.
    pub(crate) fn read(document: &Document) -> Result<Self> {
        let Some(options) = document.object("rotation", "rotation.")? else { return Ok(Self::default()) };
        let engine = options.optional_string(ENGINE)?;
        let Some(fields) = options.object(FIELDS, "rotation.fields.")? else {
            return Ok(Self { mapped: Vec::new(), engine });
        };
        fields.expect_keys(KEYS)?;
        let mut names = Self { mapped: Vec::new(), engine };
        for key in KEYS.iter().copied().filter(|key| fields.has(key)) {
            let name = fields.string(key)?;
            if name == "rotation" {
                return Err(fields.invalid(key, "the key of the options themselves", "another key of the secret"));
            }
            if name != key {
                names.mapped.push((key, name));
            }
        }
        names.check(document, &fields)?;
        Ok(names)
    }

    fn check(&self, document: &Document, fields: &Document) -> Result<()> {
        let is_the_name_of = |name: &str, of: &str| KEYS.iter().find(|key| **key != of && self.of(key) == name);
        for (key, name) in &self.mapped {
            let (key, name) = (*key, name.as_str());
            if let Some(other) = is_the_name_of(name, key) {
                let found = format!("the key that stands for {other}");
                return Err(fields.invalid(key, &found, "a key of its own"));
            }
            if key == ENGINE && self.engine.is_some() {
                return Err(fields.invalid(key, "together with rotation.engine", "one of the two"));
            }
            // A text that is no key of the secret may be anything, for example the password itself: it is not printed.
            if !document.has(name) {
                return Err(Error::new(Code::FieldMissing)
                    .with(Fact::Field, format_args!("rotation.fields.{key}"))
                    .with(Fact::What, "the secret has no key with the name that stands there"));
            }
            if document.has(key) && is_the_name_of(key, key).is_none() {
                let found = format!("this key beside {}, which rotation.fields names for it", shown_key(name));
                return Err(document.invalid(key, &found, "one of the two"));
            }
        }
        Ok(())
    }

    /// Whether a document says anything about its keys.
    pub(crate) fn are_in(document: &Document) -> bool {
        let says = |options: Document| options.has(FIELDS) || options.has(ENGINE);
        document.object("rotation", "rotation.").map_or(true, |options| options.is_some_and(says))
    }

    /// The document's own key for one of AWS's.
    pub(crate) fn of<'a>(&'a self, key: &'a str) -> &'a str {
        self.mapped.iter().find(|(known, _)| *known == key).map_or(key, |(_, name)| name.as_str())
    }

    /// The same as it may be printed.
    pub(crate) fn shown<'a>(&'a self, key: &'a str) -> &'a str {
        shown_key(self.of(key))
    }

    /// Reads a value under the document's own key for one of AWS's. An error says how the document's key is known.
    ///
    /// # Errors
    /// Those of `read`.
    pub(crate) fn value<T>(&self, key: &'static str, read: impl FnOnce(&str) -> Result<T>) -> Result<T> {
        read(self.of(key)).map_err(|error| self.explained(key, error))
    }

    /// The engine: `rotation.engine`, or else what stands under the key `engine`.
    ///
    /// # Errors
    /// Those of [`Document::string`].
    pub(crate) fn engine(&self, document: &Document) -> Result<String> {
        if let Some(engine) = &self.engine {
            return Ok(engine.clone());
        }
        let engine = self.value(ENGINE, |name| document.string(name));
        // A secret of another tool mostly has no such key, and need not get one.
        if self.mapped.is_empty() {
            return engine;
        }
        engine.map_err(|error| error.with_default(Fact::What, "rotation.engine can say it instead"))
    }

    /// Whether a document holds a user name and a password alone, besides the names of these two.
    pub(crate) fn login_only(&self, document: &Document) -> bool {
        let names_only = || {
            let options = document.object("rotation", "rotation.").ok().flatten();
            options.is_some_and(|options| options.has(FIELDS) && options.keys().all(|key| key == FIELDS))
        };
        let login = [self.of("username"), self.of("password")];
        document.keys().all(|key| login.contains(&key) || (key == "rotation" && names_only()))
    }

    fn explained(&self, key: &str, error: Error) -> Error {
        if self.of(key) == key {
            return error;
        }
        error.with_default(Fact::What, format_args!("rotation.fields names this key for {key}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<KeyNames> {
        KeyNames::read(&Document::parse(text.into()).unwrap())
    }

    fn refused(text: &str) -> (Code, String) {
        let error = read(text).unwrap_err();
        let named = error.fact(Fact::Field).or_else(|| error.fact(Fact::Found)).unwrap();
        (error.code(), named.to_owned())
    }

    #[test]
    fn what_is_not_mapped_has_awss_name() {
        let names = read(r#"{"user":"a","rotation":{"fields":{"username":"user","host":"host"}},"host":"h"}"#).unwrap();
        assert_eq!((names.of("username"), names.of("host"), names.of("port")), ("user", "host", "port"));
        assert_eq!(read(r#"{"rotation":{"fields":null}}"#).unwrap(), KeyNames::default());
        assert_eq!(read(r#"{"rotation":null}"#).unwrap(), KeyNames::default());
        // The names may change places.
        let names = read(r#"{"username":"h","host":"u","rotation":{"fields":{"username":"host","host":"username"}}}"#);
        assert_eq!(names.unwrap().of("host"), "username");
    }

    #[test]
    fn a_mapping_that_is_not_clear_is_refused() {
        let of = |fields: &str| refused(&format!(r#"{{"user":"u","pass":"p","rotation":{{"fields":{fields}}}}}"#));
        let invalid = |field: &str| (Code::FieldInvalid, field.to_owned());
        assert_eq!(of(r#"{"usr":"user"}"#), (Code::OptionUnknown, "rotation.fields.usr".to_owned()));
        assert_eq!(of(r#"{"username":"user","password":"user"}"#), invalid("rotation.fields.username"));
        assert_eq!(of(r#"{"username":"host"}"#), invalid("rotation.fields.username"));
        assert_eq!(of(r#"{"username":"rotation"}"#), invalid("rotation.fields.username"));
        assert_eq!(of(r#"{"username":["user"]}"#), invalid("rotation.fields.username"));
        assert_eq!(of(r#"{"username":""}"#), invalid("rotation.fields.username"));
        assert_eq!(of(r#"{"username":"usr"}"#), (Code::FieldMissing, "rotation.fields.username".to_owned()));
        assert_eq!(of(r#"["username"]"#), invalid("rotation.fields"));
        let both = r#"{"user":"u","username":"v","rotation":{"fields":{"username":"user"}}}"#;
        assert_eq!(refused(both), invalid("username"));
        let twice = r#"{"type":"postgres","rotation":{"engine":"postgres","fields":{"engine":"type"}}}"#;
        assert_eq!(refused(twice), invalid("rotation.fields.engine"));
    }

    #[test]
    fn a_name_is_printed_only_if_it_looks_like_one() {
        for value in ["postgres://app:hunter2@db", "hunter2"] {
            let error =
                read(&format!(r#"{{"username":"u","rotation":{{"fields":{{"username":"{value}"}}}}}}"#)).unwrap_err();
            assert_eq!(error.code(), Code::FieldMissing);
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        let both = r#"{"a hunter2":"u","username":"v","rotation":{"fields":{"username":"a hunter2"}}}"#;
        assert!(!read(both).unwrap_err().to_string().contains("hunter2"));
    }

    #[test]
    fn a_document_that_says_nothing_about_its_keys_is_known() {
        let are_in = |text: &str| KeyNames::are_in(&Document::parse(text.into()).unwrap());
        assert!(!are_in("{}") && !are_in(r#"{"rotation":null}"#) && !are_in(r#"{"rotation":{"users":1}}"#));
        assert!(are_in(r#"{"rotation":{"fields":1}}"#) && are_in(r#"{"rotation":{"engine":"mysql"}}"#));
        assert!(are_in(r#"{"rotation":1}"#));
    }
}
