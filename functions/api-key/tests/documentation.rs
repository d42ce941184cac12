//! The documentation of issuers and descriptions agrees with the code.

#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing, reason = "helpers of a test")]

use api_key::description::{Strategy, read};
use api_key::sources::BUILT_IN;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

fn docs(file: &str) -> String {
    fs::read_to_string(format!("{}/../../docs/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The row of an issuer in the part of a page under a heading.
fn row<'a>(page: &'a str, heading: &str, name: &str) -> &'a str {
    let part = page.split("\n## ").find(|part| part.starts_with(heading)).unwrap();
    let start = format!("| `{name}` |");
    let mut rows = part.lines().filter(|line| line.starts_with(&start));
    let row = rows.next().unwrap_or_else(|| panic!("{name} is missing under {heading}"));
    assert!(rows.next().is_none(), "{name} stands twice under {heading}");
    row
}

#[test]
fn every_built_in_issuer_is_listed_with_what_a_secret_needs() {
    let page = docs("issuers.md");
    let schema: Value = serde_json::from_str(&docs("issuer.schema.json")).unwrap();
    for (name, text) in BUILT_IN {
        let issuer = read(text).unwrap();
        row(&page, "Traps", name);
        let row = row(&page, "Built in", name);
        let strategies = schema["$defs"]["Strategy"]["oneOf"].as_array().unwrap().iter();
        let written = strategies.filter_map(|one| one["const"].as_str()).find(|one| is(one, issuer.strategy)).unwrap();
        for expected in [format!("| {} |", issuer.title), format!("| `{written}`")] {
            assert!(row.contains(&expected), "{name}: {expected} is missing in {row}");
        }
        let fields = issuer.output.keys().chain(issuer.vars.values().map(|var| &var.field));
        let missing: Vec<_> = fields.filter(|field| !row.contains(&format!("`{field}`"))).collect();
        assert!(missing.is_empty(), "{name}: {missing:?} missing in {row}");
    }
}

fn is(written: &str, strategy: Strategy) -> bool {
    serde_json::from_value::<Strategy>(written.into()).unwrap() == strategy
}

/// The keys of the language.
fn keys(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(fields) => {
            for (name, value) in fields {
                if name == "properties" {
                    found.extend(value.as_object().unwrap().keys().cloned());
                }
                keys(value, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| keys(item, found)),
        _ => {}
    }
}

#[test]
fn every_key_and_every_choice_of_the_language_is_explained() {
    let page = docs("issuer-language.md");
    let schema: Value = serde_json::from_str(&docs("issuer.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    keys(&schema, &mut known);
    assert!(known.len() > 50, "{known:?}");
    for choices in ["Strategy", "Admin", "VarKind", "Role", "SendClient", "ValueKind"] {
        let choices = &schema["$defs"][choices]["oneOf"];
        known.extend(choices.as_array().unwrap().iter().map(|one| one["const"].as_str().unwrap().to_owned()));
    }
    let words: BTreeSet<&str> = page.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let missing: Vec<_> = known.iter().filter(|key| !words.contains(key.as_str())).collect();
    assert!(missing.is_empty(), "missing in docs/issuer-language.md: {missing:?}");
}

#[test]
fn the_example_of_the_language_is_a_description() {
    let page = docs("issuer-language.md");
    let examples: Vec<&str> = page.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    let whole: Vec<_> = examples.iter().filter(|example| example.starts_with("issuer:")).collect();
    assert_eq!(whole.len(), 1);
    for example in whole {
        if let Err(problems) = read(example) {
            panic!("{problems:#?}");
        }
    }
}
