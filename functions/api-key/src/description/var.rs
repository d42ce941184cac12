//! A variable, and the values that it may have.

use crate::description::expect::is_empty;
use crate::description::{VarKind, VarSource, VarValue};
use serde_json::Value;
use std::collections::BTreeMap;

/// A variable.
#[derive(Clone, Debug)]
pub struct Var {
    /// Which secret has the field.
    pub from: VarSource,
    /// The field's name.
    pub field: String,
    /// The value if the field is absent.
    pub default: Option<Value>,
    /// All allowed values.
    pub one_of: Option<Vec<String>>,
    /// The allowed values, each with the value that is filled in for it.
    pub map: Option<BTreeMap<String, String>>,
    /// The pattern for the whole value, as written and compiled.
    pub pattern: Option<(String, regex_lite::Regex)>,
    /// The type of the value.
    pub kind: VarKind,
    /// For people.
    pub description: Option<String>,
}

impl Var {
    /// Reads a value of this variable.
    ///
    /// # Errors
    /// What was expected.
    pub fn read(&self, value: &Value) -> Result<VarValue, String> {
        let text = match (value, self.kind) {
            // An issuer may take nothing as everything. Only the author of the description can know that.
            (value, VarKind::Json) if is_empty(Some(value)) && self.default.as_ref() != Some(value) => {
                return Err("JSON that is not empty".to_owned());
            }
            (value, VarKind::Json) => return Ok(VarValue::Json(value.clone())),
            (Value::String(text), _) => text.clone(),
            (Value::Number(number), _) => number.to_string(),
            _ => return Err("text or a whole number".to_owned()),
        };
        if let Some(one_of) = &self.one_of
            && !one_of.contains(&text)
        {
            return Err(format!("one of {}", one_of.join(", ")));
        }
        if let Some(map) = &self.map {
            let names = || map.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return map.get(&text).map(|it| VarValue::Text(it.clone())).ok_or_else(|| format!("one of {}", names()));
        }
        if let Some((pattern, compiled)) = &self.pattern
            && !compiled.is_match(&text)
        {
            return Err(format!("text like {pattern}"));
        }
        match self.kind {
            VarKind::Integer => text.parse().map(VarValue::Integer).map_err(|_| "a whole number".to_owned()),
            // Only a description says that an issuer takes no text.
            _ if text.is_empty() && self.default.as_ref().and_then(Value::as_str) != Some("") => {
                Err("text that is not empty".to_owned())
            }
            _ => Ok(VarValue::Text(text)),
        }
    }
}
