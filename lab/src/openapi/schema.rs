//! What a schema says about a place in JSON.

use super::document::{Document, is_true};
use serde_json::{Map, Value};
use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;

/// Schemas nest and recur. Deeper than this, a schema says nothing.
const MAX_DEPTH: usize = 24;
/// The alternatives of one schema. Beyond this number it says nothing.
const MAX_ALTERNATIVES: usize = 512;
/// The schemas that are read for one place. Schemas that lead to one another would be read without end.
const MAX_READ: usize = 10_000;
/// The number of names that a message lists.
const MAX_NAMES: usize = 12;

/// One way to satisfy a schema: parts that hold together. Without any part it says nothing.
pub(super) type Parts<'a> = Vec<&'a Map<String, Value>>;

/// Reads the schemas of a document.
pub(super) struct Schemas<'a> {
    document: &'a Document,
    broken: RefCell<BTreeSet<String>>,
    /// The number of schemas that have been read for the present place.
    read: Cell<usize>,
}

/// What a schema says about a place.
pub(super) enum Told<'a> {
    /// There is such a place, with these alternatives.
    Here(Vec<Parts<'a>>),
    /// The schema does not say.
    Silent,
    /// There is no such place. What there is instead.
    Not(String),
}

/// What one alternative says about a name or an index.
pub(super) enum Step<'a> {
    /// All these schemas hold there.
    To(Vec<&'a Value>),
    Silent,
    Not(String),
}

impl<'a> Schemas<'a> {
    pub(super) fn of(document: &'a Document) -> Self {
        Self { document, broken: RefCell::default(), read: Cell::default() }
    }

    /// The references that led nowhere.
    pub(super) fn broken(&self) -> BTreeSet<String> {
        self.broken.borrow().clone()
    }

    /// All ways to satisfy all these schemas.
    pub(super) fn alternatives(&self, schemas: &[&'a Value]) -> Vec<Parts<'a>> {
        self.read.set(0);
        let each = schemas.iter().map(|schema| self.expand(schema, 0));
        each.fold(vec![Vec::new()], |sofar, further| both(&sofar, &further))
    }

    fn expand(&self, schema: &'a Value, depth: usize) -> Vec<Parts<'a>> {
        let nothing = || vec![Vec::new()];
        self.read.set(self.read.get() + 1);
        if depth > MAX_DEPTH || self.read.get() > MAX_READ {
            return nothing();
        }
        let Some(map) = schema.as_object() else { return nothing() };
        let mut alternatives = vec![vec![map]];
        if map.contains_key("$ref") {
            match self.document.follow(schema) {
                Ok(target) => alternatives = both(&alternatives, &self.expand(target, depth + 1)),
                Err(reference) => {
                    // Of a part that another file has, this document says nothing.
                    if reference.starts_with('#') {
                        self.broken.borrow_mut().insert(reference.to_owned());
                    }
                    return nothing();
                }
            }
        }
        for all in array(map, "allOf") {
            alternatives = both(&alternatives, &self.expand(all, depth + 1));
        }
        for name in ["oneOf", "anyOf"] {
            let any: Vec<_> = array(map, name).flat_map(|one| self.expand(one, depth + 1)).collect();
            if !any.is_empty() {
                alternatives = both(&alternatives, &any);
            }
        }
        alternatives
    }

    /// What the schema says about the place of these names and indexes.
    pub(super) fn place(&self, schema: &'a Value, pointer: &str) -> Told<'a> {
        let mut here = self.alternatives(&[schema]);
        let mut is_silent = false;
        for token in tokens(pointer) {
            let mut there = Vec::new();
            let mut not = None;
            for parts in &here {
                match self.step(parts, &token) {
                    Step::To(schemas) => there.extend(self.alternatives(&schemas)),
                    Step::Silent => is_silent = true,
                    Step::Not(instead) => not = Some(format!("no `{token}` of `{pointer}`; {instead}")),
                }
            }
            if there.is_empty() {
                return match not {
                    Some(instead) if !is_silent => Told::Not(instead),
                    _ => Told::Silent,
                };
            }
            here = there;
        }
        if pointer.is_empty() && here.iter().all(Vec::is_empty) {
            return Told::Silent;
        }
        Told::Here(here)
    }

    /// What one alternative says about a name or an index.
    pub(super) fn step(&self, parts: &Parts<'a>, token: &str) -> Step<'a> {
        let named: Vec<_> = parts.iter().filter_map(|part| part.get("properties")?.get(token)).collect();
        if !named.is_empty() {
            return Step::To(named);
        }
        let shapes = shapes_of(parts);
        if let Ok(index) = token.parse::<usize>()
            && shapes.as_ref().is_none_or(|shapes| shapes.contains("array"))
        {
            let items = |part: &&'a Map<String, Value>| {
                let before = part.get("prefixItems").and_then(Value::as_array);
                before.and_then(|before| before.get(index)).or_else(|| part.get("items"))
            };
            let items: Vec<_> = parts.iter().filter_map(items).collect();
            if !items.is_empty() {
                return Step::To(items);
            }
        }
        let further = parts.iter().filter_map(|part| part.get("additionalProperties"));
        let further: Vec<_> = further.filter(|it| it.as_object().is_some_and(|it| !it.is_empty())).collect();
        if !further.is_empty() {
            return Step::To(further);
        }
        let open = |part: &&'a Map<String, Value>| match part.get("additionalProperties") {
            Some(Value::Bool(open)) => *open,
            Some(_) => true,
            None => part.contains_key("patternProperties"),
        };
        if parts.iter().any(open) {
            return Step::Silent;
        }
        match &shapes {
            Some(shapes) if !shapes.contains("object") && !shapes.contains("array") => {
                return Step::Not(format!("it is {}", named_shapes(shapes)));
            }
            Some(shapes) if !shapes.contains("object") && token.parse::<usize>().is_err() => {
                return Step::Not("it is an array".to_owned());
            }
            _ => {}
        }
        let names = self.names(parts);
        let closed = parts.iter().any(|part| part.get("additionalProperties") == Some(&Value::Bool(false)));
        if names.is_empty() && !closed { Step::Silent } else { Step::Not(listed(&names)) }
    }

    /// The names of an object's fields.
    fn names(&self, parts: &Parts<'a>) -> BTreeSet<&'a str> {
        let maps = parts.iter().filter_map(|part| part.get("properties")?.as_object());
        maps.flat_map(|map| map.keys().map(String::as_str)).collect()
    }

    /// The fields that a request must have.
    pub(super) fn required(&self, parts: &Parts<'a>) -> BTreeSet<&'a str> {
        let names = parts.iter().flat_map(|part| array(part, "required")).filter_map(Value::as_str);
        names.filter(|name| !self.is_read_only(parts, name)).collect()
    }

    /// Whether a field is only in answers.
    pub(super) fn is_read_only(&self, parts: &Parts<'a>, name: &str) -> bool {
        let fields = parts.iter().filter_map(|part| part.get("properties")?.get(name));
        let fields: Vec<_> = fields.map(|field| self.document.follow(field).unwrap_or(field)).collect();
        !fields.is_empty() && fields.iter().all(|field| is_true(field.get("readOnly")))
    }
}

/// Each of these together with each of those.
fn both<'a>(these: &[Parts<'a>], those: &[Parts<'a>]) -> Vec<Parts<'a>> {
    if these.len().saturating_mul(those.len()) > MAX_ALTERNATIVES {
        return vec![Vec::new()];
    }
    these.iter().flat_map(|this| those.iter().map(move |that| [this.as_slice(), that.as_slice()].concat())).collect()
}

fn array<'a>(map: &'a Map<String, Value>, name: &str) -> impl Iterator<Item = &'a Value> {
    map.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// The types that a value can have: `object`, `array`, `string` and so on. `None`: the schema does not say.
pub(super) fn shapes_of(parts: &Parts<'_>) -> Option<BTreeSet<String>> {
    let of = |part: &&Map<String, Value>| -> Option<BTreeSet<String>> {
        match part.get("type") {
            Some(Value::String(one)) => Some([one.clone()].into()),
            Some(Value::Array(several)) => {
                let names = several.iter().filter_map(Value::as_str).filter(|name| *name != "null");
                Some(names.map(str::to_owned).collect())
            }
            _ if part.contains_key("properties") => Some(["object".to_owned()].into()),
            _ if part.contains_key("items") => Some(["array".to_owned()].into()),
            _ => None,
        }
    };
    parts.iter().filter_map(of).reduce(|these, those| {
        let common: BTreeSet<_> = these.intersection(&those).cloned().collect();
        // A contradiction in the document, e.g. `integer` and `number`, forbids nothing here.
        if common.is_empty() { these.union(&those).cloned().collect() } else { common }
    })
}

/// The names of types, for a message.
pub(super) fn named_shapes(shapes: &BTreeSet<String>) -> String {
    let article = |shape: &String| {
        let article = if shape.starts_with(['a', 'i', 'o']) { "an" } else { "a" };
        format!("{article} {shape}")
    };
    shapes.iter().map(article).collect::<Vec<_>>().join(" or ")
}

/// Names, for a message.
pub(super) fn listed(names: &BTreeSet<&str>) -> String {
    let some: Vec<_> = names.iter().take(MAX_NAMES).copied().collect();
    match names.len().saturating_sub(MAX_NAMES) {
        _ if names.is_empty() => "it has none".to_owned(),
        0 => format!("it has {}", some.join(", ")),
        more => format!("it has {} and {more} more", some.join(", ")),
    }
}

/// The names and indexes of a JSON pointer (RFC 6901).
fn tokens(pointer: &str) -> impl Iterator<Item = String> {
    pointer.split('/').skip(1).map(|token| token.replace("~1", "/").replace("~0", "~"))
}
