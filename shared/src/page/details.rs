//! The page of a diagnosis: the state of each version's credential, and what to do next.

use super::html::Html;
use super::parts::{age, cell, list, table, text};
use super::view::View;
use crate::error::short_name;
use serde_json::Value;

pub(super) fn body(answer: &Value, view: &View) -> Html {
    let mut html = Html::new();
    html.markup("<h2>Details of ").text(short_name(text(answer, "secret"))).markup("</h2>");
    let healthy = answer.get("healthy") == Some(&Value::Bool(true));
    html.markup("<p><strong").markup(if healthy { " class=\"good\"" } else { " class=\"bad\"" }).markup(">");
    html.text(text(answer, "finding")).markup("</strong>: ").text(text(answer, "what")).markup(".</p>");
    html.markup("<p><strong>Next:</strong> ").text(text(answer, "nextAction")).markup("</p>");
    if let Some(error) = answer.get("error").filter(|error| error.is_object()) {
        html.markup("<p class=\"bad\">").text(text(error, "message")).markup("</p>");
    }
    table("The versions, and whether their credentials work", &["Version", "Labels", "Age", "Credential"], &mut html);
    for version in list(answer, "versions") {
        self::version(version, &mut html);
    }
    html.markup("</tbody></table>");
    if let Some(companion) = answer.get("companion").filter(|companion| companion.is_object()) {
        html.markup("<p>The superuser's or admin's secret <code>").text(text(companion, "secret"));
        html.markup("</code>: ");
        credential(companion, &mut html);
        html.markup("</p>");
    }
    if let Some(due) = answer.get("due").and_then(Value::as_str) {
        html.markup("<p class=\"dim\">The next rotation is due at ");
        view.time(due, &mut html);
        html.markup(".</p>");
    }
    html
}

fn version(version: &Value, html: &mut Html) {
    html.markup("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><code>").text(text(version, "version"));
    html.markup("</code></th>");
    cell("Labels", html, |html| labels(version, html));
    cell("Age", html, |html| {
        if let Some(seconds) = version.get("ageSeconds").and_then(Value::as_u64) {
            html.text(&age(seconds));
        }
    });
    cell("Credential", html, |html| credential(version, html));
    html.markup("</tr>");
}

pub(super) fn labels(version: &Value, html: &mut Html) {
    for (at, label) in list(version, "labels").filter_map(Value::as_str).enumerate() {
        html.markup(if at > 0 { ", " } else { "" }).text(label);
    }
}

fn credential(tried: &Value, html: &mut Html) {
    let state = text(tried, "credential");
    let class = match state {
        "works" => " class=\"good\"",
        "rejected" => " class=\"bad\"",
        _ => "",
    };
    html.markup("<strong").markup(class).markup(">").text(state).markup("</strong>");
    if let Some(error) = tried.get("error") {
        html.markup("<br><span class=\"dim\">").text(text(error, "message")).markup("</span>");
    }
}
