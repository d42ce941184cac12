//! What answers are expected to look like, and where things are in them.

use crate::description::{Expected, Scope};
use rotation::Result;
use serde_json::Value;

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads `text`.
    ///
    /// # Errors
    /// What was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let tildes = text.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if (text.is_empty() || text.starts_with('/')) && tildes {
            return Ok(Self(text.to_owned()));
        }
        Err(format!("expected a JSON pointer, which begins with `/` or is empty, found `{text}`"))
    }

    /// What is there.
    pub fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0)
    }

    /// The text there; a number's digits, too, as some issuers' ids are numbers.
    pub fn text(&self, value: &Value) -> Option<String> {
        match self.of(value)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }
}

impl std::fmt::Display for Pointer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an answer may look like: any of several.
#[derive(Clone, Debug)]
pub struct Predicates(pub Vec<Predicate>);

/// What an answer looks like.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// Lowest and highest status, each included.
    pub status: Vec<(u16, u16)>,
    /// What is where.
    pub fields: Vec<(Pointer, Expected)>,
}

impl Predicates {
    /// Whether an answer is one of these.
    ///
    /// # Errors
    /// Those of [`Expected::holds`].
    pub fn hold(&self, status: u16, body: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        for answer in &self.0 {
            if answer.holds(status, body, scope)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Predicate {
    fn holds(&self, status: u16, body: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        if !self.status.iter().any(|(low, high)| (*low..=*high).contains(&status)) {
            return Ok(false);
        }
        for (place, expected) in &self.fields {
            // What is no JSON has no places: a `where` about it holds for nothing, not for "absent".
            let Some(body) = body else { return Ok(false) };
            if !expected.holds(place.of(body), scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
