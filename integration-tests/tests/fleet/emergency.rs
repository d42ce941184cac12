//! An emergency: every leaked credential ends, and its death is proved. And the way back.

use super::support::{DUAL, KEY, MYSQL, PAIR, POSTGRES, fleet, order, run, values, version};
use lab::load::Strategy;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn every_leaked_credential_is_dead_at_the_end() {
    let fleet = fleet(10, &[POSTGRES, PAIR, MYSQL, DUAL, KEY], 50, &[]).await;
    let leaked = values(&fleet).await;
    for (secret, kind, value) in &leaked {
        assert!(fleet.opens(*kind, value).await.unwrap(), "{secret} works before");
    }
    let ended = run(&fleet, "one", &order("leak", json!({"mode": "emergency"}))).await;
    assert_eq!(ended.answer["tally"], json!({"rotated": 10}), "{:?}", ended.answer);
    let report = ended.answer["leaked"].as_array().unwrap().clone();
    for (secret, kind, value) in &leaked {
        assert!(!fleet.opens(*kind, value).await.unwrap(), "{kind}: the leaked credential is refused");
        let now = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(*kind, &now).await.unwrap(), "{kind}: the new one works");
        let line = report.iter().find(|line| line["secret"] == json!(secret)).unwrap();
        assert!(line["deadAfter"].as_u64().unwrap() > 0, "{line}");
        // The runbook's table.
        let rounds = if kind.strategy == Strategy::SingleUser { 1 } else { 2 };
        assert_eq!(line["rounds"], rounds, "{kind}: {line}");
    }
    let printed = fleet.printed();
    for metric in ["EmergencyRotations", "TimeToRevoke", "FleetRuns"] {
        assert!(printed.contains(&format!("\"{metric}\":")), "{metric}");
    }
    assert!(printed.contains("a test"), "the reason is in the record");
    for (_, _, value) in &leaked {
        let value: Value = serde_json::from_str(value).unwrap();
        let credential = value.get("password").or(value.get("apiKey")).and_then(Value::as_str).unwrap();
        assert!(!printed.contains(credential), "a leaked value is in the log");
    }
    fleet.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_back_returns_where_the_previous_credential_works() {
    let fleet = fleet(6, &[POSTGRES, PAIR, DUAL], 50, &[]).await;
    let mut before = Vec::new();
    for (secret, kind) in fleet.secrets() {
        before.push((secret.to_owned(), kind, version(&fleet, secret, "AWSCURRENT").await.unwrap()));
    }
    assert_eq!(run(&fleet, "one", &order("regretted", json!({}))).await.status, "SUCCEEDED");
    let back = order("back", json!({"mode": "roll-back", "of": "regretted"}));
    let ended = run(&fleet, "two", &back).await;
    assert_eq!(ended.answer["tally"], json!({"rolled-back": 4, "kept": 2}), "{:?}", ended.answer);
    assert_eq!(ended.answer["rolledBackPercent"], 66);
    for (secret, kind, old) in &before {
        let current = version(&fleet, secret, "AWSCURRENT").await.unwrap();
        assert_eq!(current == *old, kind.strategy != Strategy::SingleUser, "{kind}");
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(*kind, &value).await.unwrap(), "{kind}");
    }
    // Another run's roll back moves nothing.
    let other = order("other", json!({"mode": "roll-back", "of": "never"}));
    assert_eq!(run(&fleet, "three", &other).await.answer["tally"], json!({"kept": 6}));
    fleet.shutdown().await;
}
