//! Names and texts of all Unicode, quoted here and read by real servers.
//!
//! `PROPTEST_CASES=1000000 cargo test --release -p lockstep-mysql fuzz` searches for long. What fails is printed as JSON: put it into
//! `fuzz-corpus/texts.json`, which each run tries first.

use crate::sql::quote::{AccountName, identifier, literal};
use lab::servers::mysql::{Kind, MySql, Options};
use mysql_async::prelude::Queryable as _;
use mysql_async::{Conn, Row};
use proptest::prelude::{ProptestConfig, Strategy as _, prop, prop_oneof};
use proptest::strategy::{BoxedStrategy, ValueTree as _};
use proptest::test_runner::TestRunner;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const KEPT: &str = include_str!("../../fuzz-corpus/texts.json");
/// How many texts one round trip tries.
const BATCH: usize = 64;
/// MySQL's limit for a user's name, in characters. MariaDB's is larger.
const LONGEST_USER: usize = 32;

/// What every session begins with (see `preamble`).
const PREAMBLE: &str = "SET NAMES utf8mb4; SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES'";

/// Texts without NUL, which passwords and names cannot hold.
fn texts() -> BoxedStrategy<String> {
    prop_oneof![
        "[^\0]{0,24}",
        "[\"'`\\\\%_a;, @-]{1,12}",
        "(N|_utf8|X|B|\\\\)?['\"`\\\\]{0,5}(--|/\\*!|\\*/|;|#|\n|\r|\u{1a}|\u{2028}|\u{a0}|x){0,4}['\"`\\\\]{0,3}",
        // Bytes that end in a backslash or a quote where the server takes them for GBK or Shift-JIS.
        "[\u{fb01}ソ表縗誠構運\u{bf}]{1,3}['\"\\\\]{0,2}",
        prop::sample::select(&["user", "root", "'", "`", "\"", "\\", "\\'", "A", "é", "\u{10ffff}"][..])
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

fn hex(text: &str) -> String {
    text.bytes().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02X}");
        hex
    })
}

async fn ask(conn: &mut Conn, sql: String, texts: &[String]) -> Vec<Row> {
    let rows = conn.query(sql).await;
    rows.unwrap_or_else(|error| panic!("{error} for one of {}", serde_json::json!(texts)))
}

fn column(row: &Row, index: usize) -> String {
    row.get::<String, _>(index).unwrap_or_default()
}

/// The server reads each literal as the text that it stands for. It quotes in the same way itself, where `QUOTE`'s backslashes have no
/// part in it.
async fn literals(conn: &mut Conn, texts: &[String]) {
    let selects: Vec<_> = texts
        .iter()
        .map(|text| format!("SELECT HEX({}), QUOTE(CONVERT(X'{}' USING utf8mb4))", literal(text), hex(text)))
        .collect();
    for (text, row) in texts.iter().zip(ask(conn, selects.join(" UNION ALL "), texts).await) {
        assert_eq!(column(&row, 0), hex(text), "{text:?}: {}", literal(text));
        if !text.contains(['\\', '\u{1a}', '\'']) {
            assert_eq!(column(&row, 1), literal(text), "{text:?}");
        }
    }
}

/// A name that the server can have: it knows no characters beyond U+FFFF in names, and drops spaces at the end.
fn is_a_name(text: &str) -> bool {
    let known = |c: char| c <= '\u{ffff}' && c != '\0';
    !text.is_empty() && text.chars().all(known) && !text.ends_with(char::is_whitespace) && text.chars().count() <= 64
}

async fn identifiers(conn: &mut Conn, texts: &[String]) {
    let names: Vec<String> = texts
        .iter()
        // An alias cannot begin with a space either.
        .filter(|text| is_a_name(text) && !text.starts_with(|c: char| c.is_whitespace() || c.is_control()))
        .cloned()
        .collect();
    if names.is_empty() {
        return;
    }
    let columns: Vec<_> = names.iter().map(|name| format!("1 AS {}", identifier(name))).collect();
    let rows = ask(conn, format!("SELECT {}", columns.join(", ")), &names).await;
    let found: Vec<String> = rows[0].columns_ref().iter().map(|column| column.name_str().into_owned()).collect();
    assert_eq!(found, names, "one of {}", serde_json::json!(names));
}

/// Accounts of these names are made, found, shown and dropped.
async fn accounts(conn: &mut Conn, texts: &[String]) {
    let mut names: BTreeSet<&String> =
        // MySQL drops white space at the beginning of a user's name.
        texts.iter().filter(|text| is_a_name(text) && !text.starts_with(|c: char| c.is_whitespace())).collect();
    names.retain(|name| name.chars().count() <= LONGEST_USER);
    let accounts: Vec<_> = names.iter().map(|name| AccountName::new(name, "fuzz.example")).collect();
    if accounts.is_empty() {
        return;
    }
    let all = accounts.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    ask(conn, format!("CREATE USER {all}"), texts).await;
    let found = ask(conn, "SELECT HEX(User) FROM mysql.user WHERE Host = 'fuzz.example'".to_owned(), texts).await;
    let found: BTreeSet<String> = found.iter().map(|row| column(row, 0)).collect();
    assert_eq!(found, names.iter().map(|name| hex(name)).collect(), "one of {}", serde_json::json!(texts));
    for (account, name) in accounts.iter().zip(&names).take(8) {
        ask(conn, format!("SHOW CREATE USER {account}"), texts).await;
        let by_name =
            format!("SELECT COUNT(*) FROM mysql.user WHERE User = {} AND Host = 'fuzz.example'", literal(name));
        assert_eq!(column(&ask(conn, by_name, texts).await[0], 0), "1", "{name:?}");
    }
    ask(conn, format!("DROP USER {all}"), texts).await;
}

async fn agrees(kind: Kind) {
    let server = MySql::start(Options::default().kind(kind)).await.unwrap();
    let mut conn = server.connect_superuser().await.unwrap();
    for session in [
        "SELECT 1",
        "SET SESSION sql_mode = 'ANSI_QUOTES,PAD_CHAR_TO_FULL_LENGTH'",
        "SET NAMES gbk; SET SESSION sql_mode = 'TRADITIONAL'",
        "SET NAMES latin1; SET SESSION sql_mode = 'ANSI'",
    ] {
        conn.query_drop(format!("{session}; {PREAMBLE}")).await.unwrap();
        for texts in sample().chunks(BATCH) {
            literals(&mut conn, texts).await;
            identifiers(&mut conn, texts).await;
            accounts(&mut conn, texts).await;
        }
    }
}

#[tokio::test]
async fn fuzz_quotes_as_mysql_reads() {
    agrees(Kind::MySql).await;
}

#[tokio::test]
async fn fuzz_quotes_as_mariadb_reads() {
    agrees(Kind::MariaDb).await;
}
