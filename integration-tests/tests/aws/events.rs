//! The files in `events/`: each is sent to the real function, and the function answers what `events/README.md` says.

use integration_tests::{STEPS, Secret, World, function};
use lab::Lab;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What stands in the files as `RotationToken` and must not come back.
const ROTATION_TOKEN: &str = "an-opaque-text";

#[tokio::test]
async fn every_file_is_described_and_every_description_has_a_file() {
    let described = |rows: Vec<Vec<String>>| rows.iter().flat_map(|row| quoted(&row[0])).collect::<BTreeSet<_>>();
    let good: BTreeSet<_> = described(table("outcome")).union(&described(table("answer"))).cloned().collect();
    assert_eq!(good, files(&directory()));
    assert_eq!(described(table("found")), files(&directory().join("malformed")));
}

#[tokio::test]
async fn a_malformed_event_is_refused_as_the_table_says_before_anything_is_called() {
    let lab = lab().await;
    let rows = table("found");
    assert!(rows.len() >= 15, "only {} rows", rows.len());
    for row in rows {
        let (name, code, field, found) = (only(&row[0]), only(&row[1]), quoted(&row[2]), row[3].trim());
        let outcome = lab.invoke_bytes(read(&directory().join("malformed").join(&name))).await;
        let error = outcome.result().expect_err(&name);
        assert_eq!(error.error_type, code, "{name}");
        let text = &error.error_message;
        assert!(text.starts_with(&format!("[{code}] ")), "{name}: {text}");
        for field in &field {
            assert!(text.contains(&format!("field={field:?}, found={found:?}")), "{name}: {text}");
        }
        assert_eq!(field.is_empty(), found.is_empty(), "{name}: the row is incomplete");
        let said = format!("{text}{}", String::from_utf8_lossy(&outcome.log));
        assert!(!said.contains(ROTATION_TOKEN), "{name}: the answer shows the RotationToken");
    }
    assert_eq!(lab.calls().len(), 0, "something was read or sent");
}

#[tokio::test]
async fn a_good_event_for_a_secret_that_is_not_there_says_so() {
    let lab = lab().await;
    let names_none = |name: &String| ["watch.json", "status.json", "report.json"].contains(&name.as_str());
    for name in files(&directory()).into_iter().filter(|name| !names_none(name)) {
        let outcome = lab.invoke_bytes(read(&directory().join(&name))).await;
        let error = outcome.result().expect_err(&name);
        assert_eq!(error.error_type, "secret-not-found", "{name}: {}", error.error_message);
        let said = format!("{}{}", error.error_message, String::from_utf8_lossy(&outcome.log));
        assert!(!said.contains(ROTATION_TOKEN), "{name}: the answer shows the RotationToken");
    }
}

#[tokio::test]
async fn with_a_real_secret_and_token_each_file_does_its_step_in_both_spellings() {
    let world = World::start().await;
    let outcomes = outcomes();
    let underscored = STEPS.map(|step| format!("{}_secret", step.trim_end_matches("Secret")));
    for (number, files) in [STEPS.map(str::to_owned), underscored].into_iter().enumerate() {
        let secret = world.user(&format!("user_{number}")).await;
        let token = secret.registered().await;
        for (file, step) in files.iter().zip(STEPS) {
            let answer = send(&world, file, &secret, &token).await;
            assert_eq!((&answer["step"], &answer["outcome"]), (&json!(step), &json!(outcomes[step][0])), "{file}");
            assert_eq!(answer.get("changedAs").is_some(), step == "setSecret", "{file}: {answer}");
            // On a re-run: the second word of the table, or the same one.
            let again = send(&world, file, &secret, &token).await;
            let second = match step {
                "testSecret" => "verified",
                "finishSecret" => "already-current",
                _ => &outcomes[step][1],
            };
            assert_eq!(again["outcome"], second, "{file}");
        }
        assert!(secret.opens("AWSCURRENT").await);
        for file in &files {
            assert_eq!(send(&world, file, &secret, &token).await["outcome"], "already-current", "{file}");
        }
    }
}

#[tokio::test]
async fn test_secret_alone_verifies_the_configuration() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    let answer = send(&world, "testSecret", &secret, &token).await;
    assert_eq!(answer["outcome"], outcomes()["testSecret"][1]);
    assert_eq!(answer["outcome"], "configuration-verified");
}

#[tokio::test]
async fn the_rotation_token_is_handed_on() {
    let world = World::start().await;
    let secret = world.user("app").await;
    let token = secret.registered().await;
    // The service knows its own tokens: one that it did not make can be refused only if it got there.
    let event = filled("createSecret-with-RotationToken", &secret, &token);
    let error = world.lab.invoke(&event).await.result().expect_err("the service takes any token");
    assert_eq!(error.error_type, "service-denied", "{}", error.error_message);
    assert!(error.error_message.contains("PutSecretValue"), "{}", error.error_message);
}

/// Sends a file with a real secret and token in it, and returns the answer.
async fn send(world: &World, file: &str, secret: &Secret<'_>, token: &str) -> Value {
    let outcome = world.lab.invoke(&filled(file, secret, token)).await;
    outcome.result().unwrap_or_else(|error| panic!("{file}: {error:?}"))
}

fn filled(file: &str, secret: &Secret<'_>, token: &str) -> Value {
    let mut event: Value = serde_json::from_slice(&read(&directory().join(format!("{file}.json")))).expect(file);
    event["SecretId"] = secret.arn.as_str().into();
    event["ClientRequestToken"] = token.into();
    event
}

/// A lab whose function has no database to go to.
async fn lab() -> Lab {
    Lab::builder(function().await)
        .env("ALLOW_RECOVER", "true")
        .env("ALLOW_ROTATE_NOW", "true")
        .env("ALLOW_RETIRE", "true")
        .start()
        .await
        .expect("the lab starts")
}

/// The outcomes that the README promises for each step: on a first run, and the other one.
fn outcomes() -> BTreeMap<String, Vec<String>> {
    let rows = table("outcome");
    let outcomes =
        |row: &Vec<String>| quoted(&row[2]).into_iter().filter(|word| word.chars().all(is_outcome)).collect();
    rows.iter().map(|row| (quoted(&row[0])[0].trim_end_matches(".json").to_owned(), outcomes(row))).collect()
}

/// Outcomes are lower-case words with hyphens; what else is quoted there are names.
fn is_outcome(character: char) -> bool {
    character.is_ascii_lowercase() || character == '-'
}

/// The rows of the README's table whose last column has this title, without its head.
fn table(last_column: &str) -> Vec<Vec<String>> {
    let text = String::from_utf8(read(&directory().join("README.md"))).expect("text");
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>();
    text.lines()
        .map(cells)
        .skip_while(|row| row.last().is_none_or(|title| title != last_column))
        .skip(2)
        .take_while(|row| row.len() > 1)
        .collect()
}

/// What stands between backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn only(cell: &str) -> String {
    let quoted = quoted(cell);
    assert_eq!(quoted.len(), 1, "{cell}");
    quoted.concat()
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

fn files(directory: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(directory).expect("the directory is there");
    let names = entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name.ends_with(".json")).collect()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
