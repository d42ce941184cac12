//! Predicates on answers, and places in them.

use crate::description::{Expected, Scope};
use rotation::Result;
use serde_json::Value;

/// A place in a JSON document (RFC 6901).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pointer(String);

impl Pointer {
    /// Reads a pointer.
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

    /// The value at this place.
    pub fn of<'a>(&self, value: &'a Value) -> Option<&'a Value> {
        value.pointer(&self.0)
    }

    /// The text at this place. A number counts as text, because some issuers' ids are numbers.
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

/// Predicates. One of them must hold.
#[derive(Clone, Debug)]
pub struct Predicates(pub Vec<Predicate>);

/// A predicate on an answer.
#[derive(Clone, Debug)]
pub struct Predicate {
    /// Ranges of statuses, both ends included.
    pub status: Vec<(u16, u16)>,
    /// The expected values at places of the body.
    pub fields: Vec<(Pointer, Expected)>,
    /// A text in the body.
    pub text: Option<String>,
}

/// What a predicate looks at. Not `Debug`: a body can hold a key.
#[derive(Clone, Copy)]
pub struct Answer<'a> {
    /// The HTTP status.
    pub status: u16,
    /// The body, if it is JSON.
    pub body: Option<&'a Value>,
    /// The body, if it is text.
    pub text: Option<&'a str>,
}

impl Predicates {
    /// Any of these ranges of statuses, with any body.
    pub fn statuses(status: &[(u16, u16)]) -> Self {
        Self(vec![Predicate { status: status.to_vec(), fields: Vec::new(), text: None }])
    }

    /// Whether one of the predicates holds.
    ///
    /// # Errors
    /// Those of [`Expected::holds`].
    pub fn hold(&self, answer: Answer<'_>, scope: &Scope<'_>) -> Result<bool> {
        for predicate in &self.0 {
            if predicate.holds(answer, scope)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

impl Predicate {
    fn holds(&self, answer: Answer<'_>, scope: &Scope<'_>) -> Result<bool> {
        if !self.status.iter().any(|(low, high)| (*low..=*high).contains(&answer.status)) {
            return Ok(false);
        }
        if let Some(text) = &self.text
            && !answer.text.is_some_and(|body| body.contains(text.as_str()))
        {
            return Ok(false);
        }
        for (place, expected) in &self.fields {
            // A body that is not JSON satisfies no `where`, not even "absent".
            let Some(body) = answer.body else { return Ok(false) };
            if !expected.holds(place.of(body), scope)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
