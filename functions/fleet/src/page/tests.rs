//! What the page shows, and that no text of a stranger becomes an element.

use super::*;
use serde_json::json;

const HOSTILE: &str =
    "</td></table></form><img src=x onerror=alert(1)><script>alert(2)</script>\"' autofocus onfocus=\"alert(3)";

fn view() -> View {
    View::of_widget(&json!({"widgetContext": {}}), "arn:aws:lambda:us-east-1:1:function:lockstep-fleet").unwrap()
}

fn planned(may_run: bool) -> Value {
    json!({
        "does": "plan", "mayRun": may_run, "order": {"name": "page-1", "select": {"names": ["shop/*"], "tags": {"env": "prod"}}},
        "plan": {"mode": "rotate", "secrets": 2, "hosts": 1, "busiestHost": 2, "waves": [1, 1], "rotations": {"least": 2, "most": 2},
            "stopsAtFailures": 1, "secondsAtLeast": 200, "opensInSeconds": 7_200, "rotationOff": 1, "exceptedNobody": ["x"],
            "notSelected": ["y"],
            "leftOut": {"secrets": 3, "why": {"age": 2, "tag": 1}, "named": [{"secret": "old/one", "why": "age"}]},
            "items": [{"secret": "shop/a", "wave": 1, "host": "db1", "strategy": "single-user", "rounds": "1", "rotationEnabled": true},
                {"secret": "shop/b", "wave": 2, "host": "db1", "strategy": null, "rounds": "1 to 2", "rotationEnabled": false}]},
    })
}

fn ran(may_run: bool, flag: &str) -> Value {
    json!({
        "does": "run", "run": "page-1", "started": true, "mayRun": may_run, "flag": flag, "trouble": "",
        "runs": [
            {"execution": "e2", "run": "november", "status": "RUNNING", "began": "2026-11-29T22:00:00Z", "mode": "rotate", "why": "monthly",
                "askedBy": "anna", "plan": false},
            {"execution": "e1", "run": "e1", "status": "FAILED", "began": "2026-11-28T22:00:00Z", "ended": "2026-11-28T22:10:00Z",
                "mode": "emergency", "why": "leak", "outcome": "finished-with-failures", "tally": {"failed": 1, "rotated": 2}, "notReached": 1},
        ],
    })
}

/// Every text but the one by which the page is chosen, and the names of fields, becomes the hostile one.
fn hostile(value: &Value) -> Value {
    match value {
        Value::String(_) => HOSTILE.into(),
        Value::Array(items) => items.iter().map(hostile).collect(),
        Value::Object(fields) => {
            let kept = |name: &str| matches!(name, "does" | "status");
            fields.iter().map(|(name, it)| (name.clone(), if kept(name) { it.clone() } else { hostile(it) })).collect()
        }
        other => other.clone(),
    }
}

fn payloads(page: &str) -> Vec<Value> {
    let inside = |part: &str| serde_json::from_str(part.split_once('>')?.1.split_once("</cwdb-action>")?.0).ok();
    page.split("<cwdb-action").skip(1).filter_map(inside).collect()
}

#[test]
fn a_plan_says_what_will_happen_and_who_is_left_out() {
    let page = page(&planned(true), &view());
    for shown in [
        "Secrets: 2",
        "Secrets in each wave: 1, 1",
        "It takes 3 min",
        "Failures that stop it: 1",
        "opens in 2 h",
        "their rotation is off: 1",
        "shop/a",
        "db1",
        "1 to 2",
        "Secrets that are left out: 3",
        "2: rotated lately",
        "1: without the tag",
        "old/one (rotated lately)",
        "there is none of this name: x",
        "not selected: y",
    ] {
        assert!(page.contains(shown), "{shown} is not in {page}");
    }
    // What was written stands in the form, to be changed.
    assert!(page.contains("value=\"shop/*\"") && page.contains("value=\"env=prod\""), "{page}");
}

#[test]
fn a_plan_is_run_with_its_own_order_after_a_confirmation() {
    let page = page(&planned(true), &view());
    let run = payloads(&page).into_iter().find(|payload| payload["Do"] == "run").unwrap();
    assert_eq!(run["Order"], planned(true)["order"]);
    assert!(
        page.contains(
            "confirmation=\"The credentials will be replaced by new ones. Start the run page-1? Secrets: 2.\""
        ),
        "{page}"
    );
    assert!(page.contains("name=\"why\""), "{page}");
}

#[test]
fn without_the_deployers_consent_nothing_can_be_started_or_stopped() {
    for answer in [planned(false), ran(false, "stop")] {
        for payload in payloads(&page(&answer, &view())) {
            assert!(matches!(payload["Do"].as_str(), Some("plan" | "runs")), "{payload}");
        }
    }
    let mut nothing = planned(true);
    nothing["plan"]["secrets"] = 0.into();
    assert!(payloads(&page(&nothing, &view())).iter().all(|payload| payload["Do"] != "run"), "there is nothing to run");
}

#[test]
fn runs_are_shown_and_those_that_run_can_be_stopped() {
    let shown = page(&ran(true, "go"), &view());
    for words in [
        "The run page-1 was started",
        "november",
        "Running",
        "monthly",
        "anna",
        "finished-with-failures",
        "1 failed",
        "2 rotated",
        "1 not reached",
    ] {
        assert!(
            shown.contains(&words.replace("page-1 ", "page-1")) || shown.contains(words),
            "{words} is not in {shown}"
        );
    }
    let stops: Vec<_> = payloads(&shown).into_iter().filter(|payload| payload["Do"] == "stop").collect();
    assert_eq!(stops, [json!({"Do": "stop", "Run": "november"})], "what has ended is not stopped");
    assert!(!shown.contains("stop flag"), "it is not set");
    let stopped = page(&ran(true, "november"), &view());
    assert!(stopped.contains("The stop flag stops the run <code>november</code>"), "{stopped}");
    assert!(payloads(&stopped).contains(&json!({"Do": "go"})));
    let mut unread = ran(true, "go");
    unread["trouble"] = "service-denied".into();
    assert!(page(&unread, &view()).contains("The runs could not be read: service-denied"));
}

#[test]
fn no_text_of_a_stranger_becomes_an_element() {
    for answer in [planned(true), ran(true, "november")] {
        let mut answer = hostile(&answer);
        assert!(!page(&answer, &view()).contains("<img"), "the trouble, too");
        answer["trouble"] = "".into();
        let page = page(&answer, &view());
        for element in ["<img", "<script", "onerror=alert(1)>", "<form><", "autofocus onfocus=\""] {
            assert!(!page.contains(element), "{element} is in {page}");
        }
        let run =
            payloads(&page).into_iter().find(|payload| matches!(payload["Do"].as_str(), Some("run" | "stop"))).unwrap();
        assert!(run.to_string().contains("onerror"), "the order is handed on as it is");
    }
}
