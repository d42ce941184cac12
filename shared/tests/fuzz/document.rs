//! The JSON of a secret. The writer of a secret chooses every byte of it.

use crate::{MARKER, config, judge};
use proptest::prelude::*;
use rotation::Code;
use rotation::document::{Document, MAX_BYTES};
use std::fs;

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/secrets");

/// Reads every field in every way. What is wrong with a field is said without its value.
fn read(text: &str) -> Result<(), TestCaseError> {
    let document = match Document::parse(text.into()) {
        Ok(document) => document,
        Err(error) => return judge(&error),
    };
    prop_assert_eq!(document.text().expose(), text);
    prop_assert!(!format!("{document:?}").contains(MARKER), "{:?}", document);
    prop_assert!(document.same_besides(&document, &[]), "{text}");
    let keys: Vec<String> = document.keys().map(str::to_owned).collect();
    for key in keys.iter().map(String::as_str).chain(["absent"]) {
        let errors = [
            document.string(key).err(),
            document.optional_string(key).err(),
            document.password(key).err(),
            document.port(key).err(),
            document.boolean(key).err(),
            document.hours(key).err(),
            document.pair_of_names(key).err(),
            document.typed::<Vec<u8>>(key, "bytes").err(),
            document.options(&["users"]).err(),
        ];
        for error in errors.iter().flatten() {
            judge(error)?;
        }
    }
    change(&document)
}

/// Writes a value under each key in turn. All other bytes stay as they are.
fn change(document: &Document) -> Result<(), TestCaseError> {
    let before = document.text().expose();
    for key in document.keys() {
        let value = "n\"e\\w\u{1}é\u{1f600}";
        let changed = match document.with(&[(key, value)]) {
            Ok(changed) => changed,
            Err(error) => {
                prop_assert_eq!(error.code(), Code::SecretTooLarge);
                continue;
            }
        };
        prop_assert_eq!(changed.string(key).unwrap(), value);
        prop_assert!(changed.keys().eq(document.keys()));
        for other in document.keys().filter(|other| *other != key) {
            let text = |document: &Document| document.json(other).map(|text| text.expose().to_owned());
            prop_assert_eq!(text(&changed), text(document));
        }
        // Exactly one piece of the text is another.
        let old = document.json(key).unwrap();
        let new = serde_json::Value::from(value).to_string();
        let after = changed.text().expose();
        let same = before.bytes().zip(after.bytes()).take_while(|(before, after)| before == after).count();
        let at = (0..=same).rev().find(|&at| {
            before.is_char_boundary(at)
                && before[at..].starts_with(old.expose())
                && after.is_char_boundary(at)
                && after[at..].starts_with(&new)
                && before[at + old.expose().len()..] == after[at + new.len()..]
        });
        prop_assert!(at.is_some(), "{before} became {after}");
        // An edit is noticed, and what the rotation writes is no edit.
        prop_assert!(!document.same_besides(&changed, &[]) || key == "rotation", "{before}: {key}");
        prop_assert!(document.same_besides(&changed, &[key]), "{before}: {key}");
        // And it can be taken back.
        match changed.with_json(&[(key, old.expose())]) {
            Ok(restored) => prop_assert_eq!(restored.text().expose(), before),
            Err(error) => prop_assert_eq!(error.code(), Code::SecretTooLarge),
        }
    }
    match document.with_json(&[("a new key \"of ours", "[1, {}]")]) {
        Ok(added) => {
            prop_assert!(added.keys().eq(document.keys().chain(["a new key \"of ours"])));
            for key in document.keys() {
                let text = |document: &Document| document.json(key).map(|text| text.expose().to_owned());
                prop_assert_eq!(text(&added), text(document));
            }
        }
        Err(error) => prop_assert_eq!(error.code(), Code::SecretTooLarge),
    }
    Ok(())
}

fn space() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "", " ", "\n", "\t", "\r\n  ", "   "][..])
}

/// A JSON string as people and programs write it: with escapes that are needed and that are not, and such as no text can have.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => "[ !#-\\[\\]-~]{0,6}",
        1 => "\\PC".prop_map(|c| serde_json::Value::from(c).to_string().trim_matches('"').to_owned()),
        2 => prop::sample::select(&[
            "\\\"", "\\\\", "\\/", "\\b", "\\n", "\\u0041", "\\u0000", "\\ud83d\\ude00", "\\ud800", "\\udfff", "\\u00e9", "\u{2028}", "é",
        ][..]).prop_map(str::to_owned),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| format!("\"{}{MARKER}\"", pieces.concat()))
}

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        prop::sample::select(
            &[
                "\"password\"",
                "\"username\"",
                "\"host\"",
                "\"port\"",
                "\"ssl\"",
                "\"rotation\"",
                "\"pass\\u0077ord\"",
                "\"\"",
                "\"a\"",
                "\"é\"",
            ][..]
        )
        .prop_map(str::to_owned),
        "\"[a-z]{1,3}\"",
    ]
}

/// A JSON value as a text: with numbers and white space in every form.
fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        string(),
        prop::sample::select(
            &[
                "null",
                "true",
                "false",
                "0",
                "-0",
                "1.50e+3",
                "1e999",
                "-1E-999",
                "123456789012345678901234567890",
                "5432",
                "\"5432\"",
                "\"\"",
                "0.1000000000000000055511151231257827",
                "65536",
                "18446744073709551616",
            ][..]
        )
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(4, 20, 4, |inner| {
        let items = prop::collection::vec((inner.clone(), space()), 0..4);
        let fields = prop::collection::vec((key(), space(), inner), 0..4);
        prop_oneof![
            items.prop_map(|items| {
                let items: Vec<_> = items.iter().map(|(item, space)| format!("{space}{item}")).collect();
                format!("[{}]", items.join(","))
            }),
            fields.prop_map(|fields| object(&fields)),
        ]
    })
}

fn object(fields: &[(String, &str, String)]) -> String {
    let fields: Vec<_> =
        fields.iter().map(|(key, space, value)| format!("{space}{key}{space}:{value}{space}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn document() -> impl Strategy<Value = String> {
    let fields = prop::collection::vec((key(), space(), value()), 0..6);
    (space(), fields, space()).prop_map(|(before, fields, after)| format!("{before}{}{after}", object(&fields)))
}

proptest! {
    #![proptest_config(config("fuzz-corpus/secrets.txt"))]

    #[test]
    fn any_text_is_a_document_or_refused(text in "\\PC{0,60}|[\\[\\]{}\",:\\\\ a-z0-9]{0,60}|(\0|\u{feff}|\\{|\\}|\"){0,9}") {
        read(&text)?;
    }

    #[test]
    fn any_document_is_read_and_only_what_is_written_changes(text in document()) {
        read(&text)?;
    }

    #[test]
    fn a_damaged_document_is_read_or_refused(text in document(), at in any::<prop::sample::Index>(), piece in "[\\[\\]{}\",:\\\\ a0\0]?", remove in 0_usize..4) {
        let mut letters: Vec<char> = text.chars().collect();
        let at = at.index(letters.len() + 1);
        let end = (at + remove).min(letters.len());
        letters.splice(at..end, piece.chars());
        read(&letters.into_iter().collect::<String>())?;
    }

    #[test]
    fn a_document_at_the_limit_is_written_and_one_beyond_it_is_not(length in MAX_BYTES - 40..MAX_BYTES + 40) {
        let document = Document::parse("{\"password\":\"\"}".into()).unwrap();
        let written = document.with(&[("password", &"x".repeat(length))]);
        prop_assert_eq!(written.is_ok(), length + "{\"password\":\"\"}".len() <= MAX_BYTES);
    }
}

proptest! {
    // Each of these is long.
    #![proptest_config(ProptestConfig { cases: config("").cases.div_ceil(8), ..config("fuzz-corpus/secrets.txt") })]

    #[test]
    fn what_nests_takes_no_stack(depth in prop_oneof![1_usize..300, 1_usize..300, 1_usize..300, Just(32_760_usize)], open in "[\\[]|\\{\"a\":", closed in any::<bool>()) {
        let close = if open == "[" { "]" } else { "}" };
        let inner = format!("{}1{}", open.repeat(depth), if closed { close.repeat(depth) } else { String::new() });
        read(&format!("{{\"a\":{inner}}}"))?;
    }
}

#[test]
fn the_corpus_is_judged() {
    let files: Vec<_> = fs::read_dir(FILES).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 5, "the corpus is not there");
    for file in files {
        let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
        read(&text).unwrap_or_else(|failure| panic!("{}: {failure}", file.display()));
    }
}
