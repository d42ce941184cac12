//! The part of a document that a description uses, without prose.

use super::compare::used;
use super::document::Document;
use api_key::description::Issuer;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// Texts for people, and what is of no use to a comparison. An excerpt has facts alone.
const PROSE: [&str; 10] = [
    "callbacks",
    "description",
    "example",
    "examples",
    "externalDocs",
    "operationId",
    "security",
    "summary",
    "tags",
    "title",
];
/// Members whose own members have names that the vendor chose. `description` is a field's name there, and no prose.
const NAMED: [&str; 10] = [
    "$defs",
    "content",
    "definitions",
    "headers",
    "parameters",
    "paths",
    "patternProperties",
    "properties",
    "responses",
    "schemas",
];

impl Document {
    /// The operations that a description uses, with all that these refer to, and without prose. `None`: it uses none of them.
    pub fn excerpt(&self, issuer: &Issuer) -> Option<Value> {
        let used = used(issuer, std::slice::from_ref(self));
        if used.is_empty() {
            return None;
        }
        let mut paths = Map::new();
        for operation in &used {
            let item = paths.entry(operation.path).or_insert_with(|| json!({}));
            let Some(item) = item.as_object_mut() else { continue };
            let whole = self.root.get("paths").and_then(|paths| paths.get(operation.path));
            let whole = whole.map(|whole| self.follow(whole).unwrap_or(whole));
            for name in ["parameters", "servers", operation.method] {
                if let Some(value) = whole.and_then(|whole| whole.get(name)) {
                    item.insert(name.to_owned(), bare(value, name == "parameters"));
                }
            }
        }
        let mut excerpt = Map::new();
        for name in ["openapi", "swagger", "servers", "basePath", "consumes", "produces"] {
            if let Some(value) = self.root.get(name) {
                excerpt.insert(name.to_owned(), bare(value, false));
            }
        }
        let info = self.root.get("info").and_then(Value::as_object);
        let named =
            info.into_iter().flatten().filter(|(name, _)| ["title", "version", "license"].contains(&name.as_str()));
        let named: Map<_, _> = named.map(|(name, value)| (name.clone(), value.clone())).collect();
        excerpt.insert("info".to_owned(), Value::Object(named));
        excerpt.insert("x-excerpt-for".to_owned(), issuer.id.clone().into());
        excerpt.insert("paths".to_owned(), Value::Object(paths));
        let mut excerpt = Value::Object(excerpt);
        self.bring_along(&mut excerpt);
        Some(excerpt)
    }

    /// Adds all that the excerpt refers to.
    fn bring_along(&self, excerpt: &mut Value) {
        let mut brought = BTreeSet::new();
        loop {
            let mut references = BTreeSet::new();
            collect(excerpt, &mut references);
            let missing: Vec<_> = references.difference(&brought).cloned().collect();
            if missing.is_empty() {
                return;
            }
            for reference in missing {
                if let (Some(place), Ok(target)) = (reference.strip_prefix('#'), self.follow_once(&reference)) {
                    put(excerpt, place, bare(target, false));
                }
                brought.insert(reference);
            }
        }
    }

    fn follow_once(&self, reference: &str) -> Result<&Value, ()> {
        let place = reference.strip_prefix('#').ok_or(())?;
        self.root.pointer(place).ok_or(())
    }
}

/// A value without prose. `named`: its members' names are the vendor's.
fn bare(value: &Value, named: bool) -> Value {
    match value {
        Value::Object(map) => {
            let keeps = |name: &str| named || !(PROSE.contains(&name) || name.starts_with("x-"));
            let members = map.iter().filter(|(name, _)| keeps(name));
            let bare = |(name, member): (&String, &Value)| {
                let inner = !named && NAMED.contains(&name.as_str());
                // The values of these are data, and no schemas.
                let is_data = !named && matches!(name.as_str(), "enum" | "const" | "required");
                (name.clone(), if is_data { member.clone() } else { bare(member, inner) })
            };
            Value::Object(members.map(bare).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(|item| bare(item, false)).collect()),
        other => other.clone(),
    }
}

/// The references within a document.
fn collect(value: &Value, references: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
                references.insert(reference.to_owned());
            }
            map.values().for_each(|member| collect(member, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// Puts a value at a place of objects, which are made as needed.
fn put(root: &mut Value, place: &str, value: Value) {
    let mut here = root;
    for token in place.split('/').skip(1) {
        let token = token.replace("~1", "/").replace("~0", "~");
        let Some(map) = here.as_object_mut() else { return };
        here = map.entry(token).or_insert_with(|| json!({}));
    }
    *here = value;
}
