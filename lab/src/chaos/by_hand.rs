//! What people do to the tested secret in Secrets Manager.

use super::case::SECRET;
use super::world::World;
use rotation::protocol::label::{CURRENT, PENDING};
use serde_json::{Map, Value, json};

/// Returns whether the service did it.
pub(super) async fn call(world: &World, operation: &str, body: Value) -> bool {
    let done = world.service(operation, body).await;
    if let Err(code) = &done {
        world.note(|| format!("      {operation}: {code}"));
    }
    done.is_ok()
}

pub(super) fn labelled(world: &World, label: &str) -> Option<String> {
    world.labels(SECRET).holder(label).map(str::to_owned)
}

/// The newest version that has a value and no label.
pub(super) fn unlabelled(world: &World) -> Option<String> {
    let labels = world.labels(SECRET);
    labels.of.iter().rev().find(|(id, of)| of.is_empty() && labels.filled.contains(*id)).map(|(id, _)| id.clone())
}

pub(super) async fn strip_pending(world: &World) {
    if let Some(pending) = labelled(world, PENDING) {
        let body = json!({"SecretId": SECRET, "VersionStage": PENDING, "RemoveFromVersionId": pending});
        call(world, "UpdateSecretVersionStage", body).await;
    }
}

pub(super) async fn move_current(world: &World, to: impl FnOnce(&World) -> Option<String>) {
    let (from, to) = (labelled(world, CURRENT), to(world));
    if let (Some(from), Some(to)) = (from, to)
        && from != to
    {
        let body =
            json!({"SecretId": SECRET, "VersionStage": CURRENT, "MoveToVersionId": to, "RemoveFromVersionId": from});
        call(world, "UpdateSecretVersionStage", body).await;
    }
}

/// The document of the version with this label.
pub(super) fn document(world: &World, label: &str) -> Option<Map<String, Value>> {
    let id = labelled(world, label)?;
    let bytes = world.service.value(SECRET, &id)?;
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(document)) => Some(document),
        _ => None,
    }
}

/// User and password, or id and key, of the version with this label.
pub(super) fn credential(world: &World, label: &str) -> Option<(String, String)> {
    let document = Value::Object(document(world, label)?);
    let text = |key: &str| document.pointer(key).and_then(Value::as_str).map(str::to_owned);
    let (user, password) = world.case.strategy.fields();
    Some((text(user)?, text(password)?))
}

pub(super) fn current(world: &World) -> Option<(String, String)> {
    credential(world, CURRENT)
}

pub(super) fn add_note(document: &mut Map<String, Value>) {
    document.insert("note".to_owned(), json!("kept by hand"));
}

/// Stores the current document, changed, under a label. Returns whether that was possible.
pub(super) async fn put(world: &World, label: &str, edit: impl FnOnce(&mut Map<String, Value>)) -> bool {
    let Some(mut document) = document(world, CURRENT) else { return false };
    edit(&mut document);
    let text = Value::Object(document).to_string();
    let body = json!({"SecretId": SECRET, "ClientRequestToken": world.token(), "SecretString": text,
        "VersionStages": [label]});
    call(world, "PutSecretValue", body).await
}
