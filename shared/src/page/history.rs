//! The page of a secret's versions.

use super::details::labels;
use super::html::Html;
use super::parts::{cell, list, log, table, text};
use super::status::what;
use super::view::View;
use serde_json::Value;

pub(super) fn body(answer: &Value, view: &View) -> Html {
    let mut html = Html::new();
    html.markup("<h2>History of ").text(text(answer, "name")).markup("</h2>");
    html.markup("<p>Cadence: ").text(if text(answer, "cadence").is_empty() { "none" } else { text(answer, "cadence") });
    for (field, words) in [("created", ". Created: "), ("lastRotated", ". Last rotated: "), ("next", ". Next: ")] {
        if let Some(at) = answer.get(field).and_then(Value::as_str) {
            html.markup(words);
            view.time(at, &mut html);
        }
    }
    html.markup(".</p>");
    let columns = ["Version", "Labels", "Made", "Became current", "Replaced", "Replaced by", "Events"];
    table("The versions that Secrets Manager still has, the newest first", &columns, &mut html);
    for version in list(answer, "versions") {
        self::version(version, view, &mut html);
    }
    html.markup("</tbody></table><p class=\"dim\">");
    if let Some(why) = answer.get("notListed").and_then(Value::as_str) {
        html.markup("Versions without a label, and dates, are missing: ").text(why).markup(". ");
    }
    log(answer, view, &mut html);
    html.markup("</p>");
    html
}

fn version(version: &Value, view: &View, html: &mut Html) {
    html.markup("<tr role=\"row\"><th role=\"rowheader\" scope=\"row\"><code>").text(text(version, "version"));
    html.markup("</code></th>");
    cell("Labels", html, |html| labels(version, html));
    for (label, field) in [("Made", "created"), ("Became current", "becameCurrent")] {
        cell(label, html, |html| {
            if let Some(at) = version.get(field).and_then(Value::as_str) {
                view.time(at, html);
            }
        });
    }
    for (label, field) in [("Replaced", "replaced"), ("Replaced by", "replacedBy")] {
        cell(label, html, |html| {
            html.markup("<code>").text(text(version, field)).markup("</code>");
        });
    }
    cell("Events", html, |html| {
        for (at, event) in list(version, "events").enumerate() {
            html.markup(if at > 0 { "<br>" } else { "" });
            view.time(text(event, "at"), html);
            html.markup(" ");
            what(event, html);
        }
    });
    html.markup("</tr>");
}
