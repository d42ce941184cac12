//! An emergency: every leaked credential ends, and its death is proved. And the way back.

use super::support::{DUAL, KEY, MYSQL, PAIR, POSTGRES, again, fleet, order, run, values, version};
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

/// One rotation is enough where the server or the issuer ends a credential before its time. The sessions go last.
#[tokio::test(flavor = "multi_thread")]
async fn what_has_leaked_ends_early_with_its_sessions() {
    let fleet = fleet(4, &[POSTGRES, PAIR, DUAL, KEY], 50, &[]).await;
    let leaked = values(&fleet).await;
    let mut sessions = Vec::new();
    for (secret, kind, value) in &leaked {
        if kind.engine == POSTGRES.engine {
            sessions.push((secret.clone(), fleet.session(value).await.unwrap()));
        }
    }
    let early = json!({"mode": "emergency", "endEarly": true, "endSessions": true});
    let ended = run(&fleet, "one", &order("leak", early)).await;
    assert_eq!(ended.answer["tally"], json!({"rotated": 4}), "{:?}\n{}", ended.answer, fleet.printed());
    let report = ended.answer["leaked"].as_array().unwrap();
    for (secret, kind, value) in &leaked {
        assert!(!fleet.opens(*kind, value).await.unwrap(), "{kind}: the leaked credential is refused");
        let now = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(*kind, &now).await.unwrap(), "{kind}: the new one works");
        let line = report.iter().find(|line| line["secret"] == json!(secret)).unwrap();
        assert_eq!((&line["rounds"], &line["reason"]), (&json!(1), &Value::Null), "{kind}: {line}");
        let expected = if kind.engine == POSTGRES.engine { json!(1) } else { line["sessions"].clone() };
        assert_eq!(line["sessions"], expected, "{kind}: {line}");
    }
    for (secret, session) in &sessions {
        assert!(session.simple_query("SELECT 1").await.is_err(), "{secret}: the session has ended");
    }
    // The next rotation sets what nobody knows any more.
    let next = run(&fleet, "two", &order("next", json!({}))).await;
    assert_eq!(next.answer["tally"], json!({"rotated": 4}), "{:?}", next.answer);
    fleet.shutdown().await;
}

/// What the run of that name has made weeks ago may be what has leaked now.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_was_used_before_proves_nothing() {
    let fleet = fleet(1, &[POSTGRES], 50, &[]).await;
    let emergency = order("leak", json!({"mode": "emergency"}));
    assert_eq!(run(&fleet, "one", &emergency).await.status, "SUCCEEDED");
    let (_, kind, leaked) = values(&fleet).await.remove(0);
    let second = run(&fleet, "two", &emergency).await;
    assert_eq!((second.status.as_str(), &second.answer["tally"]), ("FAILED", &json!({"failed": 1})));
    assert_eq!(second.answer["failures"][0]["reason"], "name-used-before");
    assert!(fleet.opens(kind, &leaked).await.unwrap(), "it lives, and nobody says otherwise");
    // An execution that goes on with the run proves again what that run replaced.
    assert_eq!(run(&fleet, "three", &again(&emergency)).await.answer["tally"], json!({"already": 1}));
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
    assert_eq!(ended.status, "SUCCEEDED");
    assert_eq!(ended.answer["rolledBackPercent"], 66);
    for (secret, kind, old) in &before {
        let current = version(&fleet, secret, "AWSCURRENT").await.unwrap();
        assert_eq!(current == *old, kind.strategy != Strategy::SingleUser, "{kind}");
        let value = fleet.lab().secret_value(secret, "AWSCURRENT").await.unwrap();
        assert!(fleet.opens(*kind, &value).await.unwrap(), "{kind}");
    }
    // The run goes on after its roll back: what was moved back is not taken for rotated.
    let forth = run(&fleet, "forth", &again(&order("regretted", json!({"tolerate": "100%"})))).await;
    let reasons = forth.answer["failures"].as_array().unwrap().iter().filter(|it| it["reason"] == "moved-back").count();
    assert_eq!(reasons, 4, "{:?}", forth.answer);
    // Another run's roll back moves nothing.
    let other = order("other", json!({"mode": "roll-back", "of": "never"}));
    assert_eq!(run(&fleet, "three", &other).await.answer["tally"], json!({"kept": 6}));
    fleet.shutdown().await;
}
