//! The page of all secrets.

use super::html::Html;
use super::parts::{age, cell, list, log, number, table, text};
use super::view::{Act, View};
use crate::error::short_name;
use serde_json::Value;

pub(super) fn body(answer: &Value, view: &View) -> Html {
    let mut html = Html::new();
    html.markup("<h2>Rotations</h2>");
    summary(answer, &mut html);
    secrets(answer, view, &mut html);
    activity(answer, view, &mut html);
    html.markup("<p class=\"dim\">");
    if let Some(at) = answer.get("at").and_then(Value::as_str) {
        html.markup("As of ");
        view.time(at, &mut html);
        html.markup(". ");
    }
    html.markup("Values read for this page: ").number(number(answer, "valuesRead")).markup(". ");
    log(answer, view, &mut html);
    html.markup("</p>");
    html
}

fn summary(answer: &Value, html: &mut Html) {
    let served = number(answer, "served");
    html.markup("<p><strong>")
        .number(served)
        .markup(if served == 1 { " secret" } else { " secrets" })
        .markup("</strong>");
    let counts = [("late", " late"), ("failed", " failed"), ("underWay", " under way"), ("off", " with rotation off")];
    let mut rest = served;
    for (field, words) in counts {
        let count = number(answer, field);
        rest = rest.saturating_sub(count);
        if count > 0 {
            let bad = matches!(field, "late" | "failed");
            html.markup(", <strong").markup(if bad { " class=\"bad\"" } else { "" }).markup(">");
            html.number(count).markup(words).markup("</strong>");
        }
    }
    if served > 0 {
        html.markup(", ").number(rest).markup(" in time");
    }
    html.markup("</p>");
}

fn secrets(answer: &Value, view: &View, html: &mut Html) {
    let mut rows = list(answer, "secrets").peekable();
    if rows.peek().is_none() {
        html.markup("<p>No secret names this function as the one that rotates it.</p>");
        return;
    }
    let columns = ["Secret", "State", "User", "Strategy", "Age", "Last outcome", "Next", "Actions"];
    table("The secrets that this function rotates, the most urgent first", &columns, html);
    for row in rows {
        secret(answer, row, view, html);
    }
    html.markup("</tbody></table>");
}

fn secret(answer: &Value, row: &Value, view: &View, html: &mut Html) {
    let (class, sign, words) = state(row);
    html.markup("<tr role=\"row\" class=\"").markup(class).markup("\"><th role=\"rowheader\" scope=\"row\"");
    html.attribute("title", text(row, "secret")).markup(">").text(text(row, "name")).markup("</th>");
    cell("State", html, |html| {
        html.markup("<span class=\"state\"><span aria-hidden=\"true\">").markup(sign).markup("</span> ");
        html.markup(words).markup("</span>");
    });
    cell("User", html, |html| match row.get("notRead").and_then(Value::as_str) {
        Some(why) => {
            html.markup("<span class=\"dim\">not read: ").text(why).markup("</span>");
        }
        None => {
            html.text(text(row, "user"));
            if !text(row, "opens").is_empty() {
                html.markup("<br><span class=\"dim\">").text(text(row, "opens")).markup("</span>");
            }
        }
    });
    cell("Strategy", html, |html| {
        html.text(text(row, "strategy"));
    });
    cell("Age", html, |html| {
        if let Some(seconds) = row.get("ageSeconds").and_then(Value::as_u64) {
            html.text(&age(seconds));
        }
    });
    cell("Last outcome", html, |html| last(row, view, html));
    cell("Next", html, |html| {
        if let Some(next) = row.get("next").and_then(Value::as_str) {
            view.time(next, html);
        }
        if let Some(cadence) = row.get("cadence").and_then(Value::as_str) {
            html.markup("<br><span class=\"dim\">").text(cadence).markup("</span>");
        }
    });
    cell("Actions", html, |html| {
        let function = row.get("function").and_then(Value::as_str).unwrap_or_else(|| text(answer, "function"));
        let (arn, name) = (text(row, "secret"), text(row, "name"));
        html.markup("<div class=\"acts\">");
        view.question(Act::Details, arn, name, function, html);
        view.question(Act::History, arn, name, function, html);
        let rests = !matches!(text(row, "state"), "under-way" | "off") && text(row, "late") != "unfinished";
        if rests && answer.get("canRotate") == Some(&Value::Bool(true)) {
            view.question(Act::RotateNow, arn, name, function, html);
        }
        html.markup("</div>");
    });
    html.markup("</tr>");
}

/// The row's class, and its state as a sign and in words: colour alone tells nothing.
fn state(row: &Value) -> (&'static str, &'static str, &'static str) {
    match (text(row, "state"), text(row, "late")) {
        ("late", "unfinished") => ("late", "▲", "Late: not finished"),
        ("late", _) => ("late", "▲", "Late: overdue"),
        ("failed", _) => ("failed", "✕", "Failed"),
        ("under-way", _) => ("under-way", "◐", "Under way"),
        ("off", _) => ("off", "○", "Rotation off"),
        _ => ("in-time", "✓", "In time"),
    }
}

fn last(row: &Value, view: &View, html: &mut Html) {
    let Some(last) = row.get("last") else { return };
    what(last, html);
    if let Some(at) = last.get("at").and_then(Value::as_str) {
        html.markup("<br>");
        view.time(at, html);
    }
}

/// What a record says, in a few words.
pub(super) fn what(record: &Value, html: &mut Html) {
    match text(record, "outcome") {
        "promoted" | "rotated" | "found-current" => {
            html.markup("rotated");
        }
        "never-rotated" => {
            html.markup("never rotated");
        }
        "failed" => {
            html.markup("<span class=\"bad\">failed</span>");
            if !text(record, "step").is_empty() {
                html.markup(" in ").text(text(record, "step"));
            }
            if !text(record, "code").is_empty() {
                html.markup(": <code>").text(text(record, "code")).markup("</code>");
            }
        }
        "requested" => {
            html.markup("rotation asked for");
        }
        other => {
            html.markup("recovered: ").text(other);
        }
    }
}

fn activity(answer: &Value, view: &View, html: &mut Html) {
    let mut records = list(answer, "activity").peekable();
    if records.peek().is_none() {
        return;
    }
    html.markup("<h3>Latest activity</h3>");
    table("From the function's audit records, the newest first", &["Time", "Secret", "What happened", "Version"], html);
    for record in records {
        html.markup("<tr role=\"row\">");
        cell("Time", html, |html| view.time(text(record, "at"), html));
        cell("Secret", html, |html| {
            html.text(short_name(text(record, "secret")));
        });
        cell("What happened", html, |html| what(record, html));
        cell("Version", html, |html| {
            html.markup("<code>").text(text(record, "version")).markup("</code>");
        });
        html.markup("</tr>");
    }
    html.markup("</tbody></table>");
}
