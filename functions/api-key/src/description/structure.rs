//! From a tree to the types of a description, with every place whose form is wrong. A mistake must not hide the next one, so each
//! wrong place is filled with an example, and the rest is read on.

use crate::description::Problem;
use crate::description::written::{Description, Predicate};
use serde_json::Value;
use serde_path_to_error::Segment;

/// Nobody corrects more at once.
const MAX_MISTAKES: usize = 50;

/// Examples of the right form, by the end of a place's path. `*` is any name, `[]` any number. The first that fits counts.
const EXAMPLES: &[(&str, &str)] = &[
    ("vars", "{region: {default: eu, oneOf: [eu, us]}}"),
    ("vars.*", "{default: eu, oneOf: [eu, us]}"),
    ("vars.*.from", "secret"),
    ("vars.*.type", "json"),
    ("vars.*.oneOf", "[eu, us]"),
    ("vars.*.map", "{eu: eu.acme.example, us: us.acme.example}"),
    ("pages.cursor", "{from: /next, query: after}"),
    ("pages.cursor.from", "/next"),
    ("pages.number", "{query: page, first: 1}"),
    ("pages.number.first", "1"),
    ("pages", "{link: next}"),
    ("graphql.query", "'{ actor { user { id } } }'"),
    ("graphql", "{query: 'query($id: ID!) { key(id: $id) { name } }', variables: {id: '{{key.id}}'}}"),
    ("auth.admin", "{bearer: '{{admin.token}}'}"),
    ("auth.key", "{bearer: '{{key.secret}}'}"),
    ("auth", "{admin: {bearer: '{{admin.token}}'}, key: {bearer: '{{key.secret}}'}}"),
    ("basic", "{user: '{{key.id}}', password: '{{key.secret}}'}"),
    ("oauth2", "{token: /oauth/token, clientId: '{{admin.clientId}}', clientSecret: '{{admin.clientSecret}}'}"),
    ("oauth2.send", "form"),
    ("http", "{base: 'https://api.acme.example'}"),
    ("http.base", "https://api.acme.example"),
    ("http.hosts", "[api.acme.example, '*.acme.example']"),
    ("find", "{get: /keys, items: /data, id: /id, name: /name}"),
    ("create.id", "'{{name}}'"),
    ("create", "{post: /keys, json: {name: '{{name}}'}, extract: {id: /id, secret: /key}}"),
    ("roll", "{post: '/keys/{{key.id}}/roll', extract: {secret: /key}}"),
    ("set", "{put: '/keys/{{key.id}}', json: {secret: '{{key.secret}}'}}"),
    ("verify", "{get: /me, works: {status: [200]}, rejected: {status: [401]}}"),
    ("revoke", "[{delete: '/keys/{{key.id}}'}]"),
    ("revoke[]", "{delete: '/keys/{{key.id}}'}"),
    ("before", "[{post: /sudo}]"),
    ("after", "[{put: '/keys/{{key.id}}/grants'}]"),
    ("before[]", "{post: /sudo}"),
    ("after[]", "{put: '/keys/{{key.id}}/grants'}"),
    ("extract", "{id: /id, secret: /key}"),
    ("extract.*", "/key"),
    ("poll", "{every: 1s, upTo: 30s}"),
    ("poll.every", "1s"),
    ("poll.upTo", "30s"),
    ("ok", "{status: [201]}"),
    ("done", "{status: [204]}"),
    ("gone", "{status: [404]}"),
    ("none", "{status: [404]}"),
    ("works", "{status: [200]}"),
    ("rejected", "{status: [401]}"),
    ("limit", "{status: [409], where: {/error: too_many_keys}}"),
    ("status", "[200, 2xx]"),
    ("where", "{/active: true}"),
    ("value", "{kind: hex, bytes: 32}"),
    ("value.kind", "hex"),
    ("value.bytes", "32"),
    ("value.length", "32"),
    ("output", "{apiKey: key.secret, apiKeyId: key.id}"),
    ("sources", "['https://acme.example/docs/keys']"),
    ("issuer", "acme"),
    ("title", "Acme API key"),
    ("unchecked", "How long a deleted key goes on working."),
    ("strategy", "create_revoke"),
    ("admin", "secret"),
    ("as", "admin"),
    ("grace", "24h"),
    ("lifetime", "60d"),
    ("timeout", "5s"),
    ("headers", "{Accept: application/json}"),
    ("query", "{limit: 100}"),
    ("form", "{name: '{{name}}'}"),
    ("items", "/data"),
    ("id", "/id"),
    ("name", "/name"),
    ("identity", "/keyId"),
    ("complete", "true"),
    ("secretInUrl", "true"),
    ("get", "/keys"),
    ("post", "/keys"),
    ("put", "/keys"),
    ("patch", "/keys"),
    ("delete", "'/keys/{{key.id}}'"),
    ("token", "/oauth/token"),
    ("clientId", "'{{admin.clientId}}'"),
    ("clientSecret", "'{{admin.clientSecret}}'"),
    ("user", "'{{key.id}}'"),
    ("password", "'{{key.secret}}'"),
];

/// What could be read, and where the form is wrong.
pub(super) struct Read {
    /// The description, with examples in the wrong places. `None` if even these did not help.
    pub(super) description: Option<Description>,
    pub(super) problems: Vec<Problem>,
    /// The places that hold examples, or lack what was there.
    changed: Vec<String>,
}

impl Read {
    /// Whether a mistake is about what the author has written, and not about an example.
    pub(super) fn concerns_author(&self, problem: &Problem) -> bool {
        let path = &problem.path;
        // Which parts there have to be depends on the strategy.
        let strategy = self.changed.iter().any(|changed| changed == "strategy" || changed == "admin");
        let related = |changed: &String| contains(changed, path) || contains(path, changed);
        !strategy && !self.changed.iter().any(related)
    }
}

/// Whether a path is a place, or is inside of it.
fn contains(place: &str, path: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || place.is_empty() || rest.starts_with(['.', '[']))
}

/// Reads a tree.
pub(super) fn read(mut tree: Value) -> Read {
    let (mut problems, mut changed) = (Vec::new(), Vec::new());
    while problems.len() < MAX_MISTAKES {
        let error = match serde_path_to_error::deserialize::<_, Description>(&tree) {
            Ok(description) => return Read { description: Some(description), problems, changed },
            Err(error) => error,
        };
        let path: Vec<Step> = error.path().iter().filter_map(Step::of).collect();
        let mistake = Mistake::of(path, &error.into_inner().to_string(), &tree);
        let place = written(&mistake.place);
        let again = changed.contains(&place);
        problems.push(mistake.problem());
        if again || !mistake.repair(&mut tree) {
            break;
        }
        changed.push(place);
    }
    Read { description: None, problems, changed }
}

/// A step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Key(String),
    Index(usize),
}

impl Step {
    fn of(segment: &Segment) -> Option<Self> {
        match segment {
            Segment::Map { key } => Some(Self::Key(key.clone())),
            Segment::Enum { variant } => Some(Self::Key(variant.clone())),
            Segment::Seq { index } => Some(Self::Index(*index)),
            Segment::Unknown => None,
        }
    }
}

fn written(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) if text.is_empty() => text.push_str(key),
            Step::Key(key) => text.push_str(&format!(".{key}")),
        }
    }
    text
}

/// A place whose form is wrong.
struct Mistake {
    /// Where it is told.
    path: Vec<Step>,
    /// The place to be filled or emptied.
    place: Vec<Step>,
    message: String,
    example: Option<&'static str>,
}

impl Mistake {
    fn of(path: Vec<Step>, message: &str, tree: &Value) -> Self {
        let mut place = path.clone();
        if let Some(field) = quoted_after(message, "missing field `") {
            place.push(Step::Key(field.to_owned()));
        }
        let unknown = message.starts_with("unknown field `");
        let example = if unknown { None } else { example(&place) };
        let inner = at(tree, &path).and_then(of_predicate).filter(|_| message.contains("`status` and `where`"));
        Self { path, place, message: inner.unwrap_or_else(|| message.to_owned()), example }
    }

    fn problem(&self) -> Problem {
        let mut message = self.message.clone();
        if let (Some(example), Some(Step::Key(key))) = (self.example, self.place.last()) {
            message.push_str(&format!("; the right form: `{key}: {example}`"));
        } else if let Some(example) = self.example {
            message.push_str(&format!("; the right form: `{example}`"));
        }
        Problem { path: written(&self.path), message }
    }

    /// Puts the example into the place, or removes what is there.
    fn repair(&self, tree: &mut Value) -> bool {
        let Some((last, parents)) = self.place.split_last() else { return false };
        let example = self.example.and_then(|text| serde_saphyr::from_str::<Value>(text).ok());
        let Some(parent) = at_mut(tree, parents) else { return false };
        match (parent, last, example) {
            (Value::Object(fields), Step::Key(key), Some(example)) => {
                fields.insert(key.clone(), example);
                true
            }
            (Value::Object(fields), Step::Key(key), None) => fields.remove(key).is_some(),
            (Value::Array(items), Step::Index(index), Some(example)) => {
                items.get_mut(*index).map(|item| *item = example).is_some()
            }
            (Value::Array(items), Step::Index(index), None) if *index < items.len() => {
                items.remove(*index);
                true
            }
            _ => false,
        }
    }
}

fn at<'t>(tree: &'t Value, path: &[Step]) -> Option<&'t Value> {
    path.iter().try_fold(tree, |tree, step| match step {
        Step::Key(key) => tree.get(key),
        Step::Index(index) => tree.get(index),
    })
}

fn at_mut<'t>(tree: &'t mut Value, path: &[Step]) -> Option<&'t mut Value> {
    path.iter().try_fold(tree, |tree, step| match step {
        Step::Key(key) => tree.get_mut(key),
        Step::Index(index) => tree.get_mut(index),
    })
}

/// What is wrong with a predicate that has the right form as a whole.
fn of_predicate(tree: &Value) -> Option<String> {
    let error = match tree {
        Value::Object(_) => serde_path_to_error::deserialize::<_, Predicate>(tree).err()?,
        Value::Array(items) => {
            items.iter().find_map(|item| serde_path_to_error::deserialize::<_, Predicate>(item).err())?
        }
        _ => return None,
    };
    let path = error.path().to_string();
    let message = error.into_inner().to_string();
    Some(if path == "." { message } else { format!("{path}: {message}") })
}

fn quoted_after<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    message.strip_prefix(start)?.split('`').next()
}

/// The example for a place.
fn example(path: &[Step]) -> Option<&'static str> {
    EXAMPLES.iter().find(|(pattern, _)| fits(pattern, path)).map(|(_, example)| *example)
}

/// Whether a path ends as the pattern says.
fn fits(pattern: &str, path: &[Step]) -> bool {
    let mut rest = path;
    for part in pattern.rsplit('.') {
        let (name, is_item) = part.strip_suffix("[]").map_or((part, false), |name| (name, true));
        if is_item {
            let Some((Step::Index(_), before)) = rest.split_last() else { return false };
            rest = before;
        }
        let Some((Step::Key(key), before)) = rest.split_last() else { return false };
        if name != "*" && name != key {
            return false;
        }
        rest = before;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a repair would be a mistake of its own.
    #[test]
    fn every_example_has_the_right_form() {
        let sound = super::super::read::SOUND;
        let tree: Value = serde_saphyr::from_str(sound).unwrap();
        for (pattern, example) in EXAMPLES {
            let value: Value = serde_saphyr::from_str(example).unwrap_or_else(|error| panic!("{example}: {error}"));
            let Some(field) = tree.get(*pattern) else { continue };
            assert_eq!(std::mem::discriminant(field), std::mem::discriminant(&value), "{pattern}");
            let mut tree = tree.clone();
            tree[*pattern] = value;
            assert!(read(tree).problems.is_empty(), "{pattern}: {example}");
        }
    }

    #[test]
    fn a_pattern_is_the_end_of_a_path() {
        let path = |text: &str| -> Vec<Step> { text.split('.').map(|key| Step::Key(key.to_owned())).collect() };
        assert_eq!(example(&path("create.ok")), Some("{status: [201]}"));
        assert_eq!(example(&path("vars.region.from")), Some("secret"));
        assert_eq!(example(&path("auth.admin")), Some("{bearer: '{{admin.token}}'}"));
        assert_eq!(example(&path("admin")), Some("secret"));
        assert_eq!(example(&path("nothing")), None);
        let item = [Step::Key("revoke".to_owned()), Step::Index(1)];
        assert_eq!(example(&item), Some("{delete: '/keys/{{key.id}}'}"));
    }
}
