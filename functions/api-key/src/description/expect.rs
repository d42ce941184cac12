//! The expected value at a place in JSON.

use crate::description::{Escape, Scope, Template};
use rotation::Result;
use serde::Deserialize;
use serde_json::Value;

/// The expected value at a place of a JSON document.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(
    untagged,
    expecting = "expected a string, a number, a boolean, null, a list of them, or one of {exists:}, {empty:}, {not:}"
)]
pub enum Expected {
    /// This value.
    Scalar(Scalar),
    /// One of these values.
    OneOf(Vec<Scalar>),
    /// A condition.
    Is(Condition),
}

/// A value to compare with.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Scalar {
    // In the order in which they are tried: a template takes a number for text.
    /// A number.
    Integer(i64),
    /// True or false.
    Boolean(bool),
    /// Text, which may have placeholders.
    Text(Template),
    /// Null or absent.
    Null(()),
}

/// A condition on a value.
#[derive(Clone, Debug, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub enum Condition {
    /// Any value except null.
    Exists(bool),
    /// Absent, null, or an empty array, object or string.
    Empty(bool),
    /// Any value except this one.
    Not(Scalar),
}

impl Expected {
    /// The templates in the expectation.
    pub fn templates(&self) -> impl Iterator<Item = &Template> {
        let scalars = match self {
            Self::Scalar(scalar) | Self::Is(Condition::Not(scalar)) => std::slice::from_ref(scalar),
            Self::OneOf(scalars) => scalars.as_slice(),
            Self::Is(_) => &[],
        };
        scalars.iter().filter_map(|scalar| match scalar {
            Scalar::Text(template) => Some(template),
            _ => None,
        })
    }

    /// Whether a value, or the absence of one, is as expected.
    ///
    /// # Errors
    /// Those of [`Template::fill`].
    pub fn holds(&self, found: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        match self {
            Self::Scalar(scalar) => scalar.equals(found, scope),
            Self::OneOf(scalars) => {
                for scalar in scalars {
                    if scalar.equals(found, scope)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Is(Condition::Exists(wanted)) => Ok(found.is_some_and(|value| !value.is_null()) == *wanted),
            Self::Is(Condition::Empty(wanted)) => Ok(is_empty(found) == *wanted),
            Self::Is(Condition::Not(scalar)) => Ok(!scalar.equals(found, scope)?),
        }
    }
}

impl Scalar {
    fn equals(&self, found: Option<&Value>, scope: &Scope<'_>) -> Result<bool> {
        Ok(match (self, found) {
            (Self::Null(()), found) => found.is_none_or(Value::is_null),
            (Self::Text(template), Some(Value::String(text))) => {
                template.fill(scope, Escape::None)?.expose() == text.as_str()
            }
            // The description writes an id as text; the issuer's JSON may have it as a number.
            (Self::Text(template), Some(Value::Number(number))) => {
                template.fill(scope, Escape::None)?.expose() == number.to_string()
            }
            (Self::Integer(number), Some(Value::Number(found))) => found.as_i64() == Some(*number),
            (Self::Boolean(boolean), Some(Value::Bool(found))) => boolean == found,
            _ => false,
        })
    }
}

/// Whether a value is absent, null, or an empty array, object or string.
pub(super) fn is_empty(found: Option<&Value>) -> bool {
    match found {
        None | Some(Value::Null) => true,
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(Value::String(text)) => text.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn expectations_are_what_they_look_like() {
        let (vars, admin) = (BTreeMap::new(), BTreeMap::new());
        let scope = Scope {
            vars: &vars,
            admin: &admin,
            key: None,
            name: Some("n"),
            name_prefix: "",
            grace: None,
            lifetime: None,
        };
        let holds = |expected: Value, found: Option<Value>| {
            let expected: Expected = serde_json::from_value(expected).unwrap();
            expected.holds(found.as_ref(), &scope).unwrap()
        };
        for (expected, found) in [
            (json!("{{name}}"), json!("n")),
            (json!("7"), json!(7)),
            (json!(7), json!(7)),
            (json!(true), json!(true)),
            (json!(null), json!(null)),
            (json!(["a", 1]), json!(1)),
            (json!({"exists": true}), json!(0)),
            (json!({"empty": true}), json!([])),
            (json!({"empty": false}), json!([1])),
            (json!({"not": "a"}), json!("b")),
        ] {
            assert!(holds(expected.clone(), Some(found.clone())), "{expected} {found}");
        }
        for (expected, found) in [
            (json!("true"), json!(true)),
            (json!(true), json!("true")),
            (json!(7), json!(7.5)),
            (json!(["a"]), json!("b")),
            (json!({"exists": true}), json!(null)),
            (json!({"not": "a"}), json!("a")),
        ] {
            assert!(!holds(expected.clone(), Some(found.clone())), "{expected} {found}");
        }
        assert!(
            holds(json!(null), None) && holds(json!({"exists": false}), None) && holds(json!({"empty": true}), None)
        );
        assert!(!holds(json!(""), None));
    }
}
