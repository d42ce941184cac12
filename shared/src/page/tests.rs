use super::*;
use crate::error::{Code, Fact};
use serde_json::json;

const HOSTILE: &str =
    "</td></table></div><img src=x onerror=alert(1)><script>alert(2)</script>\"' onmouseover=\"alert(3)";

/// Every text of a JSON value becomes the hostile one, but `step`, by which the page is chosen.
fn hostile(value: &Value) -> Value {
    match value {
        Value::String(_) => HOSTILE.into(),
        Value::Array(items) => items.iter().map(hostile).collect(),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| (name.clone(), if name == "step" { value.clone() } else { hostile(value) }))
            .collect(),
        other => other.clone(),
    }
}

fn answers() -> [Value; 4] {
    let record = json!({"at": "2026-11-29T21:50:07Z", "secret": "s", "outcome": "failed", "step": "setSecret", "code": "c",
        "version": "v"});
    [
        json!({"step": "status", "function": "f", "at": "2026-11-29T21:50:07Z", "served": 1, "late": 1, "canRotate": true,
            "log": {"since": "2026-11-29T21:50:07Z", "trouble": "t"}, "activity": [record],
            "secrets": [{"secret": "s", "name": "n", "state": "late", "user": "u", "opens": "o", "strategy": "x",
                "ageSeconds": 7, "last": record, "next": "d", "cadence": "c"}, {"notRead": "why"}]}),
        json!({"step": "diagnose", "secret": "s", "finding": "f", "what": "w", "nextAction": "n", "due": "d",
            "error": {"message": "m"}, "companion": {"secret": "c", "credential": "works", "error": {"message": "m"}},
            "versions": [{"version": "v", "labels": ["a", "b"], "credential": "works", "error": {"message": "m"}}]}),
        json!({"step": "history", "name": "n", "cadence": "c", "created": "d", "lastRotated": "d", "next": "d",
            "log": {"since": null, "trouble": "t"},
            "versions": [{"version": "v", "labels": ["l"], "created": "d", "becameCurrent": "d", "replaced": "r",
                "replacedBy": "b", "events": [record]}]}),
        json!({"step": "rotateNow", "secret": "s", "version": "v"}),
    ]
}

fn views() -> [View; 2] {
    let context = json!({"widgetContext": {"theme": HOSTILE, "locale": HOSTILE, "title": HOSTILE, "params": {"x": HOSTILE},
        "timezone": {"label": HOSTILE, "offsetISO": HOSTILE}, "forms": {"all": {"a": HOSTILE}}, "domain": HOSTILE}});
    [View::of_widget(&context, HOSTILE).unwrap(), View::of_browser()]
}

/// The tags of a page, without texts.
fn tags(page: &str) -> Vec<String> {
    let mut tags = Vec::new();
    let mut rest = page;
    while let Some((_, after)) = rest.split_once('<') {
        let (tag, after) = after.split_once('>').unwrap();
        tags.push(tag.split([' ', '/']).find(|it| !it.is_empty()).unwrap_or_default().to_owned());
        rest = after;
    }
    tags
}

/// Chromium reads the same in `integration-tests`.
#[test]
fn no_text_of_an_answer_becomes_markup() {
    for (answer, view) in answers().iter().flat_map(|answer| views().map(|view| (answer, view))) {
        let (mild, wild) = (page(answer, &view), page(&hostile(answer), &view));
        let known = [
            "style",
            "div",
            "h2",
            "h3",
            "p",
            "strong",
            "table",
            "caption",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "span",
            "br",
            "time",
            "code",
            "button",
            "a",
            "cwdb-action",
        ];
        for page in [&mild, &wild] {
            let others: Vec<_> = tags(page).into_iter().filter(|tag| !known.contains(&tag.as_str())).collect();
            assert!(others.is_empty(), "{others:?}");
        }
        assert!(wild.contains("&lt;img src=x onerror=alert(1)&gt;"), "the text is shown");
        // No attribute of the text's own: a quote never ends an attribute.
        assert!(!wild.contains("\" onmouseover="), "{wild}");
        assert!(!wild.contains("onerror=alert(1)>"), "{wild}");
    }
}

#[test]
fn a_row_tells_what_people_ask_for() {
    let [status, ..] = answers();
    let [widget, browser] = views();
    let shown = page(&status, &widget);
    for part in ["Late: overdue", ">n</th>", ">u<br>", "7 s", "failed</span> in setSecret", "not read: why"] {
        assert!(shown.contains(part), "{part} is not in {shown}");
    }
    assert!(shown.contains("confirmation=\"The credential will be replaced"), "{shown}");
    assert!(shown.contains(r#"{"SecretId":"s","Step":"rotateNow"}"#), "{shown}");
    assert!(page(&status, &browser).contains("href=\"/rotate?function=f&amp;secret=s\""));
    let off = json!({"step": "status", "canRotate": false, "secrets": [{"name": "n"}]});
    assert!(!page(&off, &widget).contains("Rotate now"));
    let busy = json!({"step": "status", "canRotate": true, "secrets": [{"name": "n", "state": "under-way"}]});
    assert!(!page(&busy, &widget).contains("Rotate now"));
}

#[test]
fn an_error_is_told_with_its_code() {
    let error = Error::new(Code::RotateNowRefused).with(Fact::What, HOSTILE);
    let shown = refusal(&error, &View::of_browser());
    assert!(shown.contains("<code>rotate-now-refused</code>") && !shown.contains("<img"), "{shown}");
}
