//! What pages have in common.

use super::html::Html;
use super::view::View;
use serde_json::Value;

/// A field's text; nothing if there is none.
pub fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// A field's number; zero if there is none.
pub fn number(value: &Value, field: &str) -> u64 {
    value.get(field).and_then(Value::as_u64).unwrap_or_default()
}

/// The entries of a field's list; none if there is no list.
pub fn list<'a>(value: &'a Value, field: &str) -> impl Iterator<Item = &'a Value> {
    value.get(field).and_then(Value::as_array).into_iter().flatten()
}

/// A time that has passed, in the largest unit that says enough.
pub fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// A cell with a label for narrow screens.
pub fn cell(label: &'static str, html: &mut Html, fill: impl FnOnce(&mut Html)) {
    html.markup("<td role=\"cell\" data-label=\"").markup(label).markup("\">");
    fill(html);
    html.markup("</td>");
}

/// The beginning of a table with these columns.
pub fn table(caption: &'static str, columns: &[&'static str], html: &mut Html) {
    html.markup("<table role=\"table\"><caption>").markup(caption).markup("</caption>");
    html.markup("<thead role=\"rowgroup\"><tr role=\"row\">");
    for column in columns {
        html.markup("<th role=\"columnheader\" scope=\"col\">").markup(column).markup("</th>");
    }
    html.markup("</tr></thead><tbody role=\"rowgroup\">");
}

/// What was read of the log, in a sentence.
pub(super) fn log(answer: &Value, view: &View, html: &mut Html) {
    let Some(log) = answer.get("log") else { return };
    match log.get("since").and_then(Value::as_str) {
        Some(since) => {
            html.markup("The function's log was read back to ");
            view.time(since, html);
        }
        None => {
            html.markup("The function's log was not read");
        }
    }
    if let Some(trouble) = log.get("trouble").and_then(Value::as_str) {
        html.markup(": ").text(trouble);
    }
    html.markup(". ");
}
