//! Names and texts of all Unicode, quoted here and by real servers.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p lockstep-postgres fuzz` searches for long. What fails is printed as JSON: put it into
//! `fuzz-corpus/texts.json`, which each run tries first.

use crate::sql::quote::{identifier, literal, setting_name, setting_value};
use lab::servers::postgres::{Options, Postgres, Version};
use proptest::prelude::{ProptestConfig, Strategy as _, prop, prop_oneof};
use proptest::strategy::{BoxedStrategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use std::fmt::Write as _;
use tokio_postgres::{Client, SimpleColumn, SimpleQueryMessage};

const KEPT: &str = include_str!("../../fuzz-corpus/texts.json");
/// How many texts one round trip tries.
const BATCH: usize = 64;
/// NAMEDATALEN - 1.
const LONGEST_NAME: usize = 63;

/// Texts without NUL, which PostgreSQL has not.
fn texts() -> BoxedStrategy<String> {
    prop_oneof![
        "[^\0]{0,24}",
        "[\"'\\\\$a;, -]{1,12}",
        "(E|U&|N|B|X|\\$\\$|\\$a\\$)?['\"\\\\]{0,5}(--|/\\*|\\*/|;|\n|\r|\u{2028}|\u{a0}|x){0,4}['\"\\\\]{0,3}",
        prop::sample::select(
            &["user", "role", "none", "public", "default", "select", "'", "\"", "\\", "\\'", "A", "é", "\u{10ffff}"][..]
        )
        .prop_map(str::to_owned),
    ]
    .boxed()
}

/// The kept texts, and then as many others as `PROPTEST_CASES` says.
fn sample() -> Vec<String> {
    let kept: Vec<String> = serde_json::from_str(KEPT).unwrap();
    let (mut runner, texts) = (TestRunner::default(), texts());
    let cases = ProptestConfig::default().cases;
    kept.into_iter().chain((0..cases).map(|_| texts.new_tree(&mut runner).unwrap().current())).collect()
}

/// A text as the server reads it, without any quoting.
fn decoded(text: &str) -> String {
    let hex = text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    });
    format!("convert_from(decode('{hex}', 'hex'), 'UTF8')")
}

async fn rows(client: &Client, sql: &str, texts: &[String]) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await;
    let messages = messages.unwrap_or_else(|error| panic!("{error:?} for one of {}", serde_json::json!(texts)));
    let rows = messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|column| row.get(column).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

/// The server reads each literal as the text that it stands for, and quotes it in the same way itself.
async fn literals(client: &Client, texts: &[String]) {
    let values: Vec<_> = texts.iter().map(|text| format!("({}, {})", decoded(text), literal(text))).collect();
    let sql = format!("SELECT t = l, quote_literal(t), format('%L', t) FROM (VALUES {}) AS v(t, l)", values.join(", "));
    for (text, row) in texts.iter().zip(rows(client, &sql, texts).await) {
        assert_eq!(row[0].as_deref(), Some("t"), "{text:?}: {}", literal(text));
        for server in &row[1..] {
            assert_eq!(server.as_deref(), Some(literal(text).as_str()), "{text:?}");
        }
    }
}

/// The same for names: of columns, and as `quote_ident` has them.
async fn identifiers(client: &Client, texts: &[String]) {
    let names: Vec<String> =
        texts.iter().filter(|text| !text.is_empty() && text.len() <= LONGEST_NAME).cloned().collect();
    if names.is_empty() {
        return;
    }
    let columns: Vec<_> = names.iter().map(|name| format!("1 AS {}", identifier(name))).collect();
    let messages = client.simple_query(&format!("SELECT {}", columns.join(", "))).await;
    let messages = messages.unwrap_or_else(|error| panic!("{error:?} for one of {}", serde_json::json!(names)));
    let SimpleQueryMessage::RowDescription(columns) = &messages[0] else { panic!("no columns") };
    assert!(columns.iter().map(SimpleColumn::name).eq(&names), "one of {}", serde_json::json!(names));
    let values: Vec<_> = names.iter().map(|name| format!("({})", decoded(name))).collect();
    let sql = format!("SELECT quote_ident(t), format('%I', t) FROM (VALUES {}) AS v(t)", values.join(", "));
    for (name, row) in names.iter().zip(rows(client, &sql, texts).await) {
        for server in row.into_iter().flatten() {
            // The server leaves the quotes out where they change nothing.
            let server = if server.starts_with('"') { server } else { format!("\"{server}\"") };
            assert_eq!(server, identifier(name), "{name:?}");
        }
    }
}

/// What ALTER ROLE … SET stores of a list of names, and of a text, can be set again.
async fn settings(client: &Client, texts: &[String]) {
    let names: Vec<&String> =
        texts.iter().filter(|text| !text.is_empty() && text.len() <= LONGEST_NAME).take(8).collect();
    if !names.is_empty() {
        let list: Vec<_> = names.iter().map(|name| format!("quote_ident({})", decoded(name))).collect();
        let stored = rows(client, &format!("SELECT concat_ws(', ', {})", list.join(", ")), texts).await;
        let stored = stored[0][0].clone().unwrap();
        let sql = format!(
            "SET search_path TO {}; SELECT current_setting('search_path'); RESET search_path",
            setting_value("search_path", &stored)
        );
        assert_eq!(rows(client, &sql, texts).await[0][0].as_deref(), Some(stored.as_str()), "{names:?}");
    }
    for text in texts.iter().take(4) {
        let sql = format!(
            "SET {} TO {}; SELECT current_setting('app.x')",
            setting_name("app.x"),
            setting_value("app.x", text)
        );
        assert_eq!(rows(client, &sql, texts).await[0][0].as_deref(), Some(text.as_str()));
    }
}

async fn agrees(version: Version) {
    let server = Postgres::start(Options::default().version(version)).await.unwrap();
    let client = server.connect_superuser().await.unwrap();
    for session in [
        "SELECT 1",
        "SET standard_conforming_strings = off; SET escape_string_warning = off",
        "SET standard_conforming_strings = off; SET backslash_quote = off; SET quote_all_identifiers = on",
    ] {
        client.batch_execute(session).await.unwrap();
        for texts in sample().chunks(BATCH) {
            literals(&client, texts).await;
            identifiers(&client, texts).await;
            settings(&client, texts).await;
        }
    }
}

#[tokio::test]
async fn fuzz_quotes_as_postgresql_15_does() {
    agrees(Version::V15).await;
}

#[tokio::test]
async fn fuzz_quotes_as_postgresql_18_does() {
    agrees(Version::V18).await;
}
