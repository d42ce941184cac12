//! A report for auditors: each secret's cadence, last rotation and exceptions, as JSON and as CSV.

use serde_json::{Map, Value, json};

/// The columns, in the answer to `status` and in the report.
const COLUMNS: [(&str, &str); 8] = [
    ("name", "name"),
    ("secret", "arn"),
    ("rotationEnabled", "rotation_enabled"),
    ("cadence", "cadence"),
    ("lastRotated", "last_rotated"),
    ("next", "next_rotation"),
    ("state", "state"),
    ("exceptions", "exceptions"),
];

/// The report from the answer to `status`: `secrets` as objects, and `csv` as RFC 4180 has it.
pub fn of_status(status: &Value) -> Value {
    let rows: Vec<&Value> = status.get("secrets").and_then(Value::as_array).into_iter().flatten().collect();
    let secrets: Vec<Value> = rows
        .iter()
        .map(|row| {
            let column = |(from, to): &(&str, &str)| ((*to).to_owned(), row.get(*from).cloned().unwrap_or_default());
            COLUMNS.iter().map(column).collect::<Map<_, _>>().into()
        })
        .collect();
    let exceptions = rows.iter().filter(|row| row.get("exceptions").is_some_and(|it| *it != json!([]))).count();
    json!({
        "step": "report",
        "function": status.get("function"),
        "at": status.get("at"),
        "served": rows.len(),
        "withExceptions": exceptions,
        "log": status.get("log"),
        "csv": csv(&secrets),
        "secrets": secrets,
    })
}

/// The lines of the CSV.
pub fn csv(secrets: &[Value]) -> String {
    let mut text = COLUMNS.map(|(_, to)| to).join(",");
    text.push_str("\r\n");
    for secret in secrets {
        let cells = COLUMNS.map(|(_, to)| cell(&shown(secret.get(to).unwrap_or(&Value::Null))));
        text.push_str(&cells.join(","));
        text.push_str("\r\n");
    }
    text
}

fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(" "),
        other => other.to_string(),
    }
}

/// A cell. A spreadsheet takes a text that begins with one of these characters for a formula, and a secret's name may begin so:
/// an apostrophe before it makes it a text.
fn cell(text: &str) -> String {
    let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let text = if formula { format!("'{text}") } else { text.to_owned() };
    if text.contains(['"', ',', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_formula_and_never_another_cell() {
        let row = |name: &str| json!({"name": name, "secret": "arn", "exceptions": ["never-rotated", "rotation-off"]});
        let hostile = ["=HYPERLINK(\"http://a\")", "@SUM(1)", "+1", "-1", "a,b", "a\r\n\"b\""];
        let report = of_status(&json!({"secrets": hostile.map(row)}));
        let csv = report["csv"].as_str().unwrap();
        let names = ["\"'=HYPERLINK(\"\"http://a\"\")\"", "'@SUM(1)", "'+1", "'-1", "\"a,b\"", "\"a\r\n\"\"b\"\"\""];
        for name in names {
            assert!(csv.contains(&format!("\r\n{name},arn,,,,,,never-rotated rotation-off\r\n")), "{csv}");
        }
        assert_eq!(report["withExceptions"], 6);
    }
}
