//! What a person writes into the page's forms, as an order.

use rotation::page::{Call, Html, View};
use serde_json::{Map, Value, json};

/// The field with the reason, which the page asks for beside the plan.
pub(crate) const WHY: &str = "why";
/// The field with who asks.
pub(crate) const ASKED_BY: &str = "askedBy";

/// What CloudWatch hands on of the forms: a text for each field.
pub(crate) fn written<'a>(payload: &'a Value, field: &str) -> &'a str {
    let forms = payload.pointer("/widgetContext/forms/all").and_then(|forms| forms.get(field));
    forms.and_then(Value::as_str).unwrap_or_default().trim()
}

/// The order of the form, with this name. What makes no sense in it is found when the order is read.
pub(crate) fn order(payload: &Value, name: &str) -> Value {
    let text = |field: &str| written(payload, field);
    let list = |field: &str| -> Vec<&str> { text(field).split([',', ' ']).filter(|it| !it.is_empty()).collect() };
    let mut select = Map::new();
    for field in ["names", "functions", "except"] {
        if !list(field).is_empty() {
            select.insert(field.to_owned(), json!(list(field)));
        }
    }
    let tags: Map<_, _> = text("tags").split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(tag).collect();
    if !tags.is_empty() {
        select.insert("tags".to_owned(), tags.into());
    }
    if !text("olderThanDays").is_empty() {
        // A text that is no number stays one, and the order says so.
        let days =
            text("olderThanDays").parse::<u64>().map_or_else(|_| json!(text("olderThanDays")), |days| json!(days));
        select.insert("olderThanDays".to_owned(), days);
    }
    let mode = if text("mode").is_empty() { "rotate" } else { text("mode") };
    json!({"name": name, "mode": mode, "select": select})
}

/// A tag as `key=value`, or a key alone, which stands for any value.
fn tag(tag: &str) -> (String, Value) {
    let (key, value) = tag.split_once('=').unwrap_or((tag, ""));
    (key.trim().to_owned(), value.trim().into())
}

/// The form, with the button that asks for the plan.
pub(super) fn select(select: Option<&Value>, mode: &str, view: &View, html: &mut Html) {
    html.markup("<form class=\"select\" aria-label=\"Which secrets\">");
    fields(select, mode, html);
    html.markup(
        "</form><p class=\"dim\">A secret is selected if it meets all that is written.</p><div class=\"acts\">",
    );
    let call = Call { label: "Plan", name: "Plan", confirmation: None, in_place: true, payload: json!({"Do": "plan"}) };
    view.call(&call, html);
    html.markup("</div>");
}

/// The fields of the selection, as they were filled in. A person who comes for the first time selects all.
fn fields(select: Option<&Value>, mode: &str, html: &mut Html) {
    let joined = |name: &str| {
        let list = select.and_then(|select| select.get(name)).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let tags = select.and_then(|select| select.get("tags")).and_then(Value::as_object).into_iter().flatten();
    let tags: Vec<_> = tags
        .map(|(key, value)| match value.as_str() {
            Some("") | None => key.clone(),
            Some(value) => format!("{key}={value}"),
        })
        .collect();
    let days = select.and_then(|select| select.get("olderThanDays")).and_then(Value::as_u64);
    let names = if select.is_some() { joined("names") } else { "*".to_owned() };
    field("names", "Names (* alone or at the end stands for any)", &names, html);
    field("functions", "Functions that rotate them", &joined("functions"), html);
    field("tags", "Tags (key=value)", &tags.join(", "), html);
    field("olderThanDays", "Not rotated for days", &days.map(|days| days.to_string()).unwrap_or_default(), html);
    field("except", "Left out (names)", &joined("except"), html);
    html.markup("<label>What is done<select name=\"mode\">");
    for (word, label) in
        [("rotate", "rotate once, in waves"), ("emergency", "emergency: rotate until what is current now is refused")]
    {
        html.markup("<option").attribute("value", word).markup(if word == mode { " selected" } else { "" }).markup(">");
        html.markup(label).markup("</option>");
    }
    html.markup("</select></label>");
}

/// A field with its label.
pub(super) fn field(name: &'static str, label: &'static str, value: &str, html: &mut Html) {
    html.markup("<label>").markup(label).markup("<input type=\"text\" autocomplete=\"off\"").attribute("name", name);
    html.attribute("value", value).markup("></label>");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::order::Order;
    use rotation::error::{Code, Fact};

    fn of(fields: &Value) -> Value {
        order(&json!({"widgetContext": {"forms": {"all": fields}}}), "n")
    }

    #[test]
    fn what_is_written_becomes_an_order() {
        let order =
            of(&json!({"names": "shop/*, billing/a", "functions": "lockstep-postgres", "tags": "env=prod, team",
            "olderThanDays": " 30 ", "except": "", "mode": "rotate"}));
        let select = json!({"names": ["shop/*", "billing/a"], "functions": ["lockstep-postgres"],
            "tags": {"env": "prod", "team": ""}, "olderThanDays": 30});
        assert_eq!(order, json!({"name": "n", "mode": "rotate", "select": select}));
        Order::read(&order, "page").unwrap();
        // What was written stands in the form again.
        let mut html = Html::new();
        fields(Some(&select), "rotate", &mut html);
        let html = html.into_string();
        for value in ["shop/*, billing/a", "env=prod, team", "\"30\"", "value=\"rotate\" selected"] {
            assert!(html.contains(value), "{value} is not in {html}");
        }
    }

    #[test]
    fn an_empty_form_selects_nothing_and_nonsense_is_refused() {
        for wrong in [
            json!({}),
            json!({"names": " , "}),
            json!({"names": "*", "olderThanDays": "a month"}),
            json!({"names": "*", "mode": "x"}),
        ] {
            let error = Order::read(&of(&wrong), "page").unwrap_err();
            assert_eq!(error.code(), Code::OrderInvalid, "{wrong}");
            assert!(error.fact(Fact::Field).is_some(), "{wrong}");
        }
        let text = of(&json!({"names": 7}));
        assert_eq!(text["select"], json!({}), "CloudWatch sends texts");
    }
}
