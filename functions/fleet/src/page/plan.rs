//! A plan, and the button that runs it.

use super::form::{ASKED_BY, WHY, field, select};
use rotation::page::parts::{age, cell, list, number, table, text};
use rotation::page::{Call, Html, View};
use serde_json::{Value, json};

/// So many secrets stand on the page. The rest is counted.
const SHOWN: usize = 100;

pub(super) fn body(answer: &Value, plan: &Value, view: &View, html: &mut Html) {
    html.markup("<h3>Plan</h3>");
    summary(plan, html);
    left_out(plan, html);
    let order = answer.get("order").unwrap_or(&Value::Null);
    if answer.get("mayRun") == Some(&Value::Bool(true)) && number(plan, "secrets") > 0 {
        run(plan, order, view, html);
    }
    let mode = text(plan, "mode");
    html.markup("<div class=\"acts\">");
    let back = Call { label: "Back", name: "Back", confirmation: None, in_place: true, payload: json!({"Do": "runs"}) };
    view.call(&back, html);
    html.markup("</div>");
    items(plan, html);
    html.markup("<h3>Plan something else</h3>");
    select(order.get("select"), mode, view, html);
}

fn summary(plan: &Value, html: &mut Html) {
    html.markup("<ul><li><strong>Secrets: ")
        .number(number(plan, "secrets"))
        .markup("</strong></li><li>Servers or issuers: ");
    html.number(number(plan, "hosts")).markup("; secrets of the busiest one: ").number(number(plan, "busiestHost"));
    html.markup("</li><li>Secrets in each wave: ");
    for (at, wave) in list(plan, "waves").filter_map(Value::as_u64).enumerate() {
        html.markup(if at > 0 { ", " } else { "" }).number(wave);
    }
    html.markup("</li>");
    if let Some(rotations) = plan.get("rotations").filter(|it| it.is_object()) {
        html.markup("<li>Rotations: ").number(number(rotations, "least"));
        if number(rotations, "least") != number(rotations, "most") {
            html.markup(" to ").number(number(rotations, "most"));
        }
        html.markup("</li>");
    }
    html.markup("<li>It takes ").text(&age(number(plan, "secondsAtLeast")));
    html.markup(" at least, beside the pauses between waves.</li>");
    match plan.get("stopsAtFailures").and_then(Value::as_u64) {
        Some(failures) => html.markup("<li>Failures that stop it: ").number(failures).markup("</li>"),
        None => html.markup("<li>No failure stops it.</li>"),
    };
    if number(plan, "opensInSeconds") > 0 {
        html.markup("<li>Its window opens in ").text(&age(number(plan, "opensInSeconds"))).markup(".</li>");
    }
    if number(plan, "rotationOff") > 0 {
        html.markup("<li class=\"bad\">Would fail, because their rotation is off: ");
        html.number(number(plan, "rotationOff")).markup("</li>");
    }
    html.markup("</ul>");
}

fn left_out(plan: &Value, html: &mut Html) {
    for (field, words) in [
        ("exceptedNobody", "Left out by name, and there is none of this name: "),
        ("notSelected", "Named, and not selected: "),
    ] {
        for name in list(plan, field).filter_map(Value::as_str) {
            html.markup("<p class=\"bad\">").markup(words).text(name).markup("</p>");
        }
    }
    let Some(left_out) = plan.get("leftOut") else { return };
    html.markup("<details><summary>Secrets that are left out: ").number(number(left_out, "secrets"));
    html.markup("</summary><ul>");
    for (why, count) in left_out.get("why").and_then(Value::as_object).into_iter().flatten() {
        html.markup("<li>").number(count.as_u64().unwrap_or_default()).markup(": ").markup(words(why)).markup("</li>");
    }
    html.markup("</ul><p>");
    for (at, one) in list(left_out, "named").enumerate() {
        html.markup(if at > 0 { ", " } else { "" })
            .text(text(one, "secret"))
            .markup(" (")
            .markup(words(text(one, "why")));
        html.markup(")");
    }
    html.markup("</p></details>");
}

fn words(why: &str) -> &'static str {
    match why {
        "no-function" => "no function rotates it",
        "name" => "another name",
        "function" => "another function",
        "owner" => "another owner",
        "tag" => "without the tag",
        "age" => "rotated lately",
        "excepted" => "left out by name",
        _ => "another server or database, or its value could not be read",
    }
}

fn run(plan: &Value, order: &Value, view: &View, html: &mut Html) {
    html.markup("<form aria-label=\"Run it\">");
    field(WHY, "Why (required, for the record)", "", html);
    field(ASKED_BY, "Who asks", "", html);
    html.markup("</form><div class=\"acts\">");
    let (secrets, name) = (number(plan, "secrets"), text(order, "name"));
    let what = if text(plan, "mode") == "emergency" {
        "The credentials that are current now will be refused, also to consumers that hold them."
    } else {
        "The credentials will be replaced by new ones."
    };
    let call = Call {
        label: "Run",
        name: "Run this plan",
        confirmation: Some(format!("{what} Start the run {name}? Secrets: {secrets}.")),
        // In a window: whoever forgot the reason does not lose the plan.
        in_place: false,
        payload: json!({"Do": "run", "Order": order}),
    };
    view.call(&call, html);
    html.markup("</div>");
}

fn items(plan: &Value, html: &mut Html) {
    table(
        "The secrets in their order",
        &["Secret", "Wave", "Server or issuer", "Strategy", "Rounds", "Rotation"],
        html,
    );
    for item in list(plan, "items").take(SHOWN) {
        html.markup("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\">")
            .text(text(item, "secret"))
            .markup("</th>");
        cell("Wave", html, |html| {
            html.number(number(item, "wave"));
        });
        for (label, field) in [("Server or issuer", "host"), ("Strategy", "strategy"), ("Rounds", "rounds")] {
            cell(label, html, |html| {
                html.text(text(item, field));
            });
        }
        cell("Rotation", html, |html| {
            let on = item.get("rotationEnabled") == Some(&Value::Bool(true));
            html.markup(if on { "on" } else { "<span class=\"bad\">off</span>" });
        });
        html.markup("</tr>");
    }
    html.markup("</tbody></table>");
    let shown = u64::try_from(list(plan, "items").take(SHOWN).count()).unwrap_or_default();
    let more = number(plan, "secrets").saturating_sub(shown);
    if more > 0 {
        html.markup("<p class=\"dim\">And ").number(more).markup(" more.</p>");
    }
}
