//! The payload of an invocation.

use crate::{MARKER, config, judge};
use proptest::prelude::*;
use rotation::Fact;
use rotation::protocol::event::{Event, Request};
use rotation::secret::RotationToken;
use serde_json::{Value, json};

const FILES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz-corpus/events");

/// Reads a payload. What is wrong with it is said without its values.
fn read(payload: &Value) -> Result<(), TestCaseError> {
    match Request::parse(payload) {
        Err(error) => judge(&error)?,
        Ok(Request::Rotate(event)) => {
            prop_assert_eq!(payload["SecretId"].as_str(), Some(event.secret.as_str()));
            prop_assert_eq!(payload["ClientRequestToken"].as_str(), Some(event.token.as_str()));
            prop_assert_eq!(
                payload["RotationToken"].as_str(),
                event.rotation_token.as_ref().map(RotationToken::expose)
            );
        }
        Ok(
            Request::Diagnose { secret, .. }
            | Request::Recover { secret }
            | Request::History { secret }
            | Request::Retire { secret, .. }
            | Request::RotateNow { secret },
        ) => {
            prop_assert_eq!(payload["SecretId"].as_str(), Some(secret.as_str()));
        }
        Ok(Request::Watch) => prop_assert_eq!(payload["Step"].as_str(), Some("watch")),
        Ok(Request::Report) => prop_assert_eq!(payload["Step"].as_str(), Some("report")),
        Ok(Request::Status(_)) => {
            prop_assert!(
                payload["Step"] == "status" || (payload.get("Step").is_none() && payload["widgetContext"].is_object())
            );
        }
        Ok(Request::Help) => prop_assert!(payload.get("Step").is_none() && payload["describe"] == true),
    }
    Ok(())
}

/// Any JSON. Its texts and its keys hold the marker, or are names that the function knows.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}|(\0|\n|\u{1b}|a){0,9}".prop_map(|text| format!("{text}{MARKER}").into()),
        Just(Value::from("")),
        prop::sample::select(
            &[
                "setSecret",
                "finish_secret",
                "diagnose",
                "recover",
                "watch",
                "status",
                "history",
                "rotateNow",
                "retire",
                "endSessions"
            ][..]
        )
        .prop_map(Value::from),
        (2040_usize..2060).prop_map(|length| format!("{MARKER}{}", "x".repeat(length)).into()),
    ];
    let name = "SecretId|ClientRequestToken|Step|RotationToken|widgetContext|describe|Values|hunter2|\\PC{0,5}";
    leaf.prop_recursive(4, 24, 5, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..6)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// An event with some fields exchanged.
fn nearly() -> impl Strategy<Value = Value> {
    let fields = prop::sample::select(&["SecretId", "ClientRequestToken", "Step", "RotationToken"][..]);
    prop::collection::vec((fields, prop::option::of(tree())), 0..4).prop_map(|changes| {
        let mut event = json!({"SecretId": "s", "ClientRequestToken": "t", "Step": "setSecret", "RotationToken": "r"});
        for (name, value) in changes {
            match value {
                Some(value) => event[name] = value,
                None => drop(event.as_object_mut().unwrap().remove(name)),
            }
        }
        event
    })
}

proptest! {
    #![proptest_config(config("fuzz-corpus/events.txt"))]

    #[test]
    fn any_json_is_an_event_or_refused_without_being_repeated(payload in tree()) {
        read(&payload)?;
    }

    #[test]
    fn an_event_with_other_fields_is_read_or_refused(payload in nearly()) {
        read(&payload)?;
    }

    #[test]
    fn any_bytes_are_an_event_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Ok(payload) = serde_json::from_slice(&bytes) {
            read(&payload)?;
        }
    }

    #[test]
    fn a_step_that_does_not_exist_is_refused_without_being_repeated(step in "([a-zA-Z_]{0,9}|setSecret {23,40})hunter2[a-z]{0,3}") {
        let event = json!({"SecretId": "s", "ClientRequestToken": "t", "Step": step});
        judge(&Event::parse(&event).unwrap_err())?;
    }

    /// People see which spelling is wrong.
    #[test]
    fn a_step_in_another_spelling_is_shown(
        step in prop::sample::select(&["createSecret", "set_secret", "test-secret", "finishSecret"][..]),
        capitals in any::<u16>(),
    ) {
        let spell = |(index, c): (usize, char)| if capitals >> index & 1 == 1 { c.to_ascii_uppercase() } else { c };
        let step: String = step.chars().enumerate().map(spell).collect();
        let event = json!({"SecretId": "s", "ClientRequestToken": "t", "Step": step});
        match Event::parse(&event) {
            Ok(_) => prop_assert!(["createSecret", "set_secret", "finishSecret"].contains(&step.as_str())),
            Err(error) => prop_assert_eq!(error.fact(Fact::Step), Some(step.as_str())),
        }
    }

    #[test]
    fn an_event_survives_the_round_trip(
        secret in "[^\0]{1,200}", token in "[ -~]{1,64}", rotation_token in prop::option::of("\\PC{1,300}"),
        step in prop::sample::select(&["createSecret", "setSecret", "testSecret", "finishSecret"][..]),
    ) {
        let payload = json!({"SecretId": secret, "ClientRequestToken": token, "Step": step, "RotationToken": rotation_token});
        let event = Event::parse(&serde_json::from_str(&payload.to_string()).unwrap()).unwrap();
        let shown = format!("{event:?}");
        prop_assert!(rotation_token.iter().all(|token| token.len() < 9 || secret.contains(token) || !shown.contains(token)));
        prop_assert_eq!((event.secret, event.token, event.step.as_str()), (secret, token, step));
        prop_assert_eq!(event.rotation_token.map(|token| token.expose().to_owned()), rotation_token);
    }
}

#[test]
fn the_corpus_is_refused_without_being_repeated() {
    let files: Vec<_> = std::fs::read_dir(FILES).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 3, "the corpus is not there");
    for file in files {
        let payload = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let error = Request::parse(&payload).unwrap_err();
        judge(&error).unwrap_or_else(|failure| panic!("{}: {failure}", file.display()));
    }
}
