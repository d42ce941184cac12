//! A variable, and which values it may have.

use crate::description::{VarKind, VarSource, VarValue};
use serde_json::Value;

/// A variable.
#[derive(Clone, Debug)]
pub struct Var {
    /// Which secret has it.
    pub from: VarSource,
    /// Under which field.
    pub field: String,
    /// Where the field is absent.
    pub default: Option<Value>,
    /// All values that are allowed.
    pub one_of: Option<Vec<String>>,
    /// What the whole value matches, as written.
    pub pattern: Option<(String, regex_lite::Regex)>,
    /// What it is.
    pub kind: VarKind,
    /// For people.
    pub description: Option<String>,
}

impl Var {
    /// A value, if it is one that this variable may have; else what was expected.
    pub fn read(&self, value: &Value) -> Result<VarValue, String> {
        let text = match (value, self.kind) {
            // For an issuer, nothing may mean everything: only a description's author can know.
            (value, VarKind::Json) if is_empty(value) && self.default.as_ref() != Some(value) => {
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
        if let Some((pattern, compiled)) = &self.pattern
            && !compiled.is_match(&text)
        {
            return Err(format!("text like {pattern}"));
        }
        match self.kind {
            VarKind::Integer => text.parse().map(VarValue::Integer).map_err(|_| "a whole number".to_owned()),
            _ if text.is_empty() => Err("text that is not empty".to_owned()),
            _ => Ok(VarValue::Text(text)),
        }
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}
