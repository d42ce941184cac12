//! The pages: whatever an answer and a dashboard's context hold, no text of theirs becomes markup.

use crate::config;
use proptest::prelude::*;
use rotation::page::{View, page};
use serde_json::{Value, json};

/// The elements that pages have.
const KNOWN: [&str; 20] = [
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

/// Texts that mean something in HTML, or nothing.
fn text() -> impl Strategy<Value = Value> {
    prop_oneof![
        "[<>&\"'`/= a-z]{0,24}",
        "\\PC{0,12}",
        Just("</style></div><script>alert(1)</script>".to_owned()),
        Just("2026-11-29T21:50:07Z".to_owned()),
        prop::sample::select(&["late", "failed", "promoted", "unfinished", "works", "+05:30", "dark"][..])
            .prop_map(str::to_owned),
    ]
    .prop_map(Value::from)
}

/// Any JSON, under the names that answers have.
fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![4 => text(), 1 => any::<bool>().prop_map(Value::from), 1 => any::<u64>().prop_map(Value::from), 1 => Just(Value::Null)];
    let name = "secret|name|state|late|user|opens|strategy|ageSeconds|last|next|cadence|at|outcome|step|code|version|versions|labels|\
                secrets|activity|log|since|trouble|error|message|companion|credential|events|replaced|notRead|canRotate|function";
    leaf.prop_recursive(4, 60, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map(name, inner, 0..14)
                .prop_map(|fields| fields.into_iter().collect::<serde_json::Map<_, _>>().into()),
        ]
    })
}

/// The elements of a page as an HTML parser finds them: a tag begins with `<` and a letter, `/` or `!`.
fn elements(page: &str) -> Vec<&str> {
    let tags = page.split('<').skip(1).map(|tag| tag.strip_prefix('/').unwrap_or(tag));
    tags.map(|tag| tag.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '!')).next().unwrap_or_default())
        .collect()
}

proptest! {
    #![proptest_config(config("fuzz-corpus/pages.txt"))]

    #[test]
    fn no_text_becomes_markup(
        mut answer in tree(), context in tree(), function in text(),
        step in prop::sample::select(&["status", "diagnose", "history", "rotateNow"][..]),
        widget in any::<bool>(),
    ) {
        if let Some(fields) = answer.as_object_mut() {
            fields.insert("step".to_owned(), step.into());
        }
        let payload = json!({"widgetContext": {"theme": context, "timezone": context, "params": context}});
        let view = if widget { View::of_widget(&payload, function.as_str().unwrap_or_default()).unwrap() } else { View::of_browser() };
        let page = page(&answer, &view);
        for element in elements(&page) {
            prop_assert!(KNOWN.contains(&element), "{element} in {page}");
        }
        let (style, _) = page.split_once("</style>").unwrap();
        prop_assert!(!style.contains("alert"));
    }
}
