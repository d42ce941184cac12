//! The published schema of the description language is the schema of the types, and accepts what the function accepts.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

use api_key::description::{read, written::Description};
use api_key::sources::BUILT_IN;
use serde_json::{Value, json};
use std::fs;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/issuer.schema.json");
const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/issuers");

fn generated() -> Value {
    schemars::schema_for!(Description).to_value()
}

/// `UPDATE_SCHEMA=1 cargo test -p lockstep-api-key --test schema` writes it.
#[test]
fn the_published_schema_is_that_of_the_types() {
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        fs::write(FILE, format!("{:#}\n", generated())).unwrap();
    }
    assert!(
        Schema::published().0 == generated(),
        "docs/issuer.schema.json is outdated: run UPDATE_SCHEMA=1 cargo test -p lockstep-api-key --test schema"
    );
}

/// The descriptions without mistakes, and their sources.
fn good() -> Vec<(String, Value)> {
    let examples = fs::read_dir(EXAMPLES).unwrap().map(|entry| entry.unwrap().path());
    let examples = examples.filter(|path| path.extension().is_some_and(|extension| extension == "yaml"));
    let examples = examples.map(|path| (path.display().to_string(), fs::read_to_string(&path).unwrap()));
    let built_in = BUILT_IN.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    let texts: Vec<_> = built_in.chain(examples).collect();
    assert!(texts.len() > BUILT_IN.len(), "no example");
    texts.into_iter().map(|(name, text)| (name, serde_saphyr::from_str(&text).unwrap())).collect()
}

#[test]
fn every_good_description_is_valid() {
    let schema = Schema::published();
    for (name, description) in good() {
        assert_eq!(schema.mistakes(&description), Vec::<String>::new(), "{name}");
    }
}

/// An editor marks what the function refuses. Each of these has one mistake.
#[test]
fn what_the_types_refuse_is_invalid() {
    let schema = Schema::published();
    let (_, datadog) = good().into_iter().find(|(name, _)| name == "datadog").unwrap();
    for (place, mistake) in [
        ("/issuer", json!(7)),
        ("/strategy", json!("create")),
        ("/admin", json!("itself")),
        ("/grace", json!("a day")),
        ("/http/bases", json!("https://example.com")),
        ("/http/timeout", json!(5)),
        ("/auth/key/basic", json!({"user": "a"})),
        ("/find/pages", json!({"number": {"first": 1}})),
        ("/find/pages", json!({"numbers": {"query": "page"}})),
        ("/create/ok/status", json!(201)),
        ("/create/extract/id", json!(1)),
        ("/verify/poll/every", json!("2 s")),
        ("/verify/works/where", json!({"/valid": {"exist": true}})),
        ("/revoke/0/done", json!("204")),
        ("/value", json!({"kind": "octal"})),
    ] {
        let mut broken = datadog.clone();
        put(&mut broken, place, mistake);
        assert!(!schema.mistakes(&broken).is_empty(), "{place} is valid by the schema");
        assert!(read(&broken.to_string()).is_err(), "{place} is read");
    }
}

fn put(tree: &mut Value, place: &str, value: Value) {
    let (parent, name) = place.rsplit_once('/').unwrap();
    tree.pointer_mut(parent).unwrap().as_object_mut().unwrap().insert(name.to_owned(), value);
}

/// The first line names the schema for every YAML language server. People copy the example.
#[test]
fn an_editor_is_told_the_schema() {
    let example = fs::read_to_string(format!("{EXAMPLES}/lab.yaml")).unwrap();
    let built_in = BUILT_IN.iter().map(|(name, text)| (*name, *text, "../../.."));
    for (name, text, root) in built_in.chain([("lab", example.as_str(), "../..")]) {
        let expected = format!("# yaml-language-server: $schema={root}/docs/issuer.schema.json");
        assert_eq!(text.lines().next().unwrap(), expected, "{name}");
    }
}

/// The part of JSON Schema that the generator uses. Any other keyword is a panic, because an ignored keyword would accept
/// everything.
struct Schema(Value);

impl Schema {
    fn published() -> Self {
        Self(serde_json::from_str(&fs::read_to_string(FILE).unwrap()).unwrap())
    }

    fn mistakes(&self, value: &Value) -> Vec<String> {
        let mut mistakes = Vec::new();
        self.check(&self.0, value, "", &mut mistakes);
        mistakes
    }

    fn is_valid(&self, schema: &Value, value: &Value) -> bool {
        let mut mistakes = Vec::new();
        self.check(schema, value, "", &mut mistakes);
        mistakes.is_empty()
    }

    fn check(&self, schema: &Value, value: &Value, at: &str, mistakes: &mut Vec<String>) {
        let rules = match schema {
            Value::Bool(true) => return,
            Value::Bool(false) => return mistakes.push(format!("{at}: nothing may be here")),
            Value::Object(rules) => rules,
            other => panic!("not a schema: {other}"),
        };
        for (keyword, rule) in rules {
            self.rule(rules, keyword, rule, value, at, mistakes);
        }
    }

    fn rule(
        &self,
        rules: &serde_json::Map<String, Value>,
        keyword: &str,
        rule: &Value,
        value: &Value,
        at: &str,
        mistakes: &mut Vec<String>,
    ) {
        let list = || rule.as_array().unwrap_or_else(|| panic!("{keyword} is no list"));
        let matching = || list().iter().filter(|option| self.is_valid(option, value)).count();
        let holds = match keyword {
            "$schema" | "title" | "description" | "default" | "format" | "$defs" => true,
            "$ref" => {
                let place = rule.as_str().and_then(|text| text.strip_prefix('#')).unwrap();
                let schema = self.0.pointer(place).unwrap_or_else(|| panic!("{place} is not there"));
                return self.check(schema, value, at, mistakes);
            }
            "type" => match rule {
                Value::String(one) => is_a(value, one),
                several => several.as_array().unwrap().iter().any(|one| is_a(value, one.as_str().unwrap())),
            },
            "enum" => list().contains(value),
            "const" => rule == value,
            "anyOf" => matching() > 0,
            "oneOf" => matching() == 1,
            "pattern" => {
                let pattern = regex_lite::Regex::new(rule.as_str().unwrap()).unwrap();
                value.as_str().is_none_or(|text| pattern.is_match(text))
            }
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "required" => value
                .as_object()
                .is_none_or(|fields| list().iter().all(|name| fields.contains_key(name.as_str().unwrap()))),
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    self.check(rule, item, &format!("{at}/{index}"), mistakes);
                }
                true
            }
            "properties" => {
                for (name, schema) in rule.as_object().unwrap() {
                    if let Some(field) = value.get(name) {
                        self.check(schema, field, &format!("{at}/{name}"), mistakes);
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (name, field) in value.as_object().into_iter().flatten() {
                    if !known.is_some_and(|known| known.contains_key(name)) {
                        self.check(rule, field, &format!("{at}/{name}"), mistakes);
                    }
                }
                true
            }
            unknown => panic!("the schema has `{unknown}`, which this test does not know"),
        };
        if !holds {
            mistakes.push(format!("{at}: not as `{keyword}` says"));
        }
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the schema has the type `{other}`"),
    }
}
