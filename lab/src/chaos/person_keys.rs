//! What people do with signing keys and published sets.

use super::by_hand::{document, put, strip_pending};
use super::case::SECRET;
use super::places::STRANGER;
use super::world::{World, rotate_beside};
use rotation::protocol::label::CURRENT;
use serde_json::{Value, json};
use std::sync::Arc;

/// Says that a key of AWSCURRENT has leaked, as docs/signing-keys.md tells: `current` or `next`.
pub(super) async fn leak(world: &Arc<World>, which: &str) {
    let kid = document(world, CURRENT).and_then(|document| document.get(which)?.get("kid").cloned());
    let Some(kid) = kid.filter(Value::is_string) else { return };
    strip_pending(world).await;
    put(world, CURRENT, |document| {
        if let Some(options) = document.get_mut("rotation").and_then(Value::as_object_mut) {
            options.insert("emergency".to_owned(), json!({"leaked": kid}));
        }
    })
    .await;
    rotate_beside(world, SECRET).await;
}

/// Removes the key that signs from the first place.
pub(super) fn drop_published(world: &World) {
    let kid = document(world, CURRENT).and_then(|document| document.get("current")?.get("kid").cloned());
    edit_keys(world, |keys| keys.retain(|key| key.get("kid") != kid.as_ref()));
}

/// Removes all keys from the first place, and leaves the rest as it is.
pub(super) fn empty_published(world: &World) {
    edit_keys(world, Vec::clear);
}

/// Deletes the first place's set.
pub(super) fn delete_published(world: &World) {
    world.inner().places.edit(|_| None);
}

/// Adds a key of somebody else to the first place.
pub(super) fn add_published(world: &World) {
    let mut inner = world.inner();
    let kid = format!("{STRANGER}{}", inner.calls);
    inner.places.edit(|mut set| {
        if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
            keys.push(json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "use": "sig",
                "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}));
        }
        Some(set).filter(Value::is_object)
    });
}

fn edit_keys(world: &World, edit: impl FnOnce(&mut Vec<Value>)) {
    world.inner().places.edit(|mut set| {
        if let Some(keys) = set.get_mut("keys").and_then(Value::as_array_mut) {
            edit(keys);
        }
        Some(set).filter(Value::is_object)
    });
}
