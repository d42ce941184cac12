//! From text to a description, with mistakes that can be found: where, and what was expected.

use super::written::Description;
use super::{Issuer, compile};
use std::fmt;

/// A mistake in a description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The path in the document, e.g. `create.extract.id`; empty for the whole.
    pub path: String,
    /// What was expected and what was found. Quotes the description, which is no secret, but may be a wrong file: it is for
    /// who wrote it, not for a log.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.path, self.message) }
    }
}

/// A description is a page or two. More than this is not one.
const MAX_BYTES: usize = 256 * 1024;

/// Reads a description in YAML, of which JSON is a part.
///
/// # Errors
/// All mistakes that could be found at once, at least one.
pub fn read(text: &str) -> Result<Issuer, Vec<Problem>> {
    let whole = |message: String| vec![Problem { path: String::new(), message }];
    if text.len() > MAX_BYTES {
        return Err(whole(format!("larger than {MAX_BYTES} bytes")));
    }
    let tree: serde_json::Value =
        serde_saphyr::from_str(text).map_err(|error| whole(first_line(&error.to_string())))?;
    if !tree.is_object() {
        return Err(whole("expected a mapping with `issuer`, `strategy` and so on".to_owned()));
    }
    let written: Description = serde_path_to_error::deserialize(tree).map_err(|error| {
        let path = error.path().to_string();
        let path = if path == "." { String::new() } else { path };
        vec![Problem { path, message: error.into_inner().to_string() }]
    })?;
    compile::compile(&written)
}

/// The parser shows the lines around a mistake after its first line.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    format!("not YAML: {line}")
}
