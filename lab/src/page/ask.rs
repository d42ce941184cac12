//! Asks the functions of the page, and joins what they answer.

use crate::lambda::{Host, StepError};
use serde_json::{Value, json};

/// The answers of all functions to `status` as one: the secrets of all, the most urgent first.
pub(super) async fn status(host: &Host, functions: &[String]) -> Value {
    let mut whole = json!({ "step": "status", "canRotate": true, "secrets": [], "activity": [], "errors": [] });
    for function in functions {
        match ask(host, function, &json!({ "Step": "status" })).await {
            Ok(mut answer) => {
                for secret in answer.get_mut("secrets").and_then(Value::as_array_mut).into_iter().flatten() {
                    put(secret, "function", function.as_str().into());
                }
                join(&mut whole, answer);
            }
            Err(error) => push(&mut whole, "errors", json!({ "function": function, "error": error.error_type })),
        }
    }
    let order = ["late", "failed", "under-way", "off", "in-time"];
    sort(&mut whole, "secrets", |secret| {
        let state = secret.get("state").and_then(Value::as_str).unwrap_or_default();
        format!(
            "{}{}",
            order.iter().position(|it| *it == state).unwrap_or(order.len()),
            secret.get("name").unwrap_or(&Value::Null)
        )
    });
    sort(&mut whole, "activity", |record| record.get("at").and_then(Value::as_str).unwrap_or_default().to_owned());
    if let Some(records) = whole.get_mut("activity").and_then(Value::as_array_mut) {
        records.reverse();
    }
    whole
}

/// Invokes a function. The error is the function's.
pub(super) async fn ask(host: &Host, function: &str, event: &Value) -> Result<Value, StepError> {
    let unknown =
        |_| StepError { error_type: "unknown-function".to_owned(), error_message: "No such function.".to_owned() };
    host.invoke(function, event.to_string().into_bytes()).await.map_err(unknown)?.result()
}

/// Adds one function's answer.
fn join(whole: &mut Value, answer: Value) {
    let Value::Object(fields) = answer else { return };
    for (name, value) in fields {
        match (whole.get(&name).cloned(), value) {
            (Some(Value::Array(mut items)), Value::Array(more)) => {
                items.extend(more);
                put(whole, &name, items.into());
            }
            (Some(Value::Number(so_far)), Value::Number(more)) => {
                let sum = so_far.as_u64().unwrap_or_default() + more.as_u64().unwrap_or_default();
                put(whole, &name, sum.into());
            }
            (Some(Value::Bool(so_far)), Value::Bool(also)) => put(whole, &name, (so_far && also).into()),
            (None, value) => put(whole, &name, value),
            _ => {}
        }
    }
}

fn put(object: &mut Value, name: &str, value: Value) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn push(object: &mut Value, name: &str, value: Value) {
    if let Some(items) = object.get_mut(name).and_then(Value::as_array_mut) {
        items.push(value);
    }
}

fn sort(object: &mut Value, name: &str, key: impl Fn(&Value) -> String) {
    if let Some(items) = object.get_mut(name).and_then(Value::as_array_mut) {
        items.sort_by_key(key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_added_up() {
        let mut whole = json!({"secrets": [], "canRotate": true});
        join(&mut whole, json!({"served": 1, "secrets": [1], "canRotate": true, "at": "a"}));
        join(&mut whole, json!({"served": 2, "secrets": [2, 3], "canRotate": false, "at": "b"}));
        assert_eq!(whole, json!({"served": 3, "secrets": [1, 2, 3], "canRotate": false, "at": "a"}));
    }
}
