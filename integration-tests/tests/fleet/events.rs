//! The files in `events/fleet`: each is sent to the real function, and the answer has what `events/README.md` says.

use super::support::{POSTGRES, fleet, versions};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const SETTINGS: [(&str, &str); 2] = [("FINGERPRINT_KEY_SECRET", "fleet/key"), ("WEBHOOK_SECRET", "fleet/webhook")];

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../events")
}

fn event(name: &str) -> Value {
    let text = std::fs::read_to_string(directory().join("fleet").join(name)).expect("the file is there");
    serde_json::from_str(&text).expect(name)
}

/// The files of the table, each with the function that it is for, and the field that its answer has.
fn table() -> Vec<(String, String, String)> {
    let page = std::fs::read_to_string(directory().join("README.md")).expect("the page is there");
    let part =
        page.split("## The fleet's").nth(1).and_then(|rest| rest.split("\n## ").next()).expect("the part is there");
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(|cell| cell.trim().trim_matches('`').to_owned()).collect();
        let file = cells.get(1).filter(|file| file.ends_with(".json"))?;
        Some((file.clone(), cells.get(2)?.clone(), cells.get(5)?.clone()))
    };
    part.lines().filter_map(row).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_event_is_answered_as_the_page_says_and_rotates_nothing() {
    let entries = std::fs::read_dir(directory().join("fleet")).expect("the directory is there");
    let files: BTreeSet<_> =
        entries.map(|it| it.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    let table = table();
    assert_eq!(table.iter().map(|(file, _, _)| file.clone()).collect::<BTreeSet<_>>(), files);

    let fleet = fleet(2, &[POSTGRES], 50, &SETTINGS).await;
    for name in ["plan.json", "spread.json"] {
        assert!(fleet.ask_page(&event(name)).await.is_ok(), "{name} needs no key");
    }
    let missing = fleet.ask_leaks(&event("gitleaks.json")).await.expect_err("the key is not there").to_string();
    assert!(missing.contains("configuration-invalid"), "{missing}");
    fleet.lab().create_secret("fleet/key", "a key of fingerprints, which is long enough").await.unwrap();
    fleet.lab().create_secret("fleet/webhook", "a secret of a webhook").await.unwrap();
    let functions = ["lockstep-fleet", "lockstep-fleet-page", "lockstep-fleet-leaks"];
    for (file, function, field) in &table {
        for other in functions {
            let answer = fleet.ask_function(other, &event(file)).await;
            if other == function {
                let answer = answer.unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(answer.get(field).is_some(), "{file}: {answer}");
            } else {
                let error = answer.expect_err("it is for another function").to_string();
                assert!(error.contains("order-invalid") && error.contains("Do"), "{file} {other}: {error}");
            }
        }
    }
    assert_eq!(fleet.ask_leaks(&event("gitleaks.json")).await.unwrap()["matched"], 0);
    assert_eq!(fleet.ask_leaks(&event("webhook-unsigned.json")).await.unwrap()["statusCode"], json!(401));
    for (secret, _) in fleet.secrets() {
        assert_eq!(versions(&fleet, secret).await, 1, "{secret}");
    }
    fleet.shutdown().await;
}
