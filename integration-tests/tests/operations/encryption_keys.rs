//! What the daily look says of the KMS keys of secrets. moto has KMS.

use integration_tests::signing::World;
use integration_tests::uuid;
use serde_json::{Value, json};

/// A secret under this key that rotates.
async fn under(world: &World, key: Option<&str>) -> String {
    let value = json!({"algorithm": "ES256", "maxTokenLifetime": 9, "maxCache": 1});
    let arn = world.lab.create_secret(&format!("test/{}", uuid()), &value.to_string()).await.expect("a secret");
    if let Some(key) = key {
        let update = json!({"SecretId": arn, "KmsKeyId": key});
        world.lab.call("UpdateSecret", update).await.expect("the key is taken");
    }
    world.secret_of(arn.clone()).rotated().await;
    arn
}

/// The codes that the look notices, and the whole answer.
async fn noticed(world: &World) -> (Vec<String>, String) {
    let looked = world.look().await;
    let noticed = looked["noticed"].as_array().cloned().unwrap_or_default();
    let code =
        |one: &Value| one.as_str().expect("text").split(']').next().expect("a code").trim_start_matches('[').to_owned();
    let mut codes: Vec<_> = noticed.iter().map(code).collect();
    codes.sort();
    (codes, looked.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_does_not_rotate_or_is_to_be_deleted_is_noticed() {
    let world = World::start().await;
    let made = async |request: Value| {
        let answer = world.kms("CreateKey", request).await;
        answer["KeyMetadata"]["Arn"].as_str().expect("an ARN").to_owned()
    };
    let key = made(json!({})).await;
    let (first, second) = (under(&world, Some(&key)).await, under(&world, Some(&key)).await);
    under(&world, None).await;
    under(&world, Some("alias/aws/secretsmanager")).await;
    let (codes, answer) = noticed(&world).await;
    assert_eq!(codes, ["kms-rotation-off"], "each key is asked once: {answer}");
    assert!(answer.contains(&key) && (answer.contains(&first) || answer.contains(&second)), "{answer}");
    assert!(world.lab.function_output().contains("kms-rotation-off"));

    world.kms("EnableKeyRotation", json!({"KeyId": key})).await;
    assert_eq!(noticed(&world).await.0, [""; 0]);

    // moto knows a key by its id alone here.
    let id = key.rsplit('/').next().expect("an id");
    world.kms("ScheduleKeyDeletion", json!({"KeyId": id, "PendingWindowInDays": 30})).await;
    let (codes, answer) = noticed(&world).await;
    assert_eq!(codes, ["kms-key-pending-deletion"]);
    assert!(answer.contains("PendingDeletion") && answer.contains("1 more secret"), "{answer}");
    world.kms("CancelKeyDeletion", json!({"KeyId": id})).await;
    let (codes, answer) = noticed(&world).await;
    assert!(codes == ["kms-key-pending-deletion"] && answer.contains("Disabled"), "{answer}");

    // A key that is not there is told.
    world.kms("EnableKey", json!({"KeyId": id})).await;
    under(&world, Some("arn:aws:kms:us-east-1:123456789012:key/00000000-0000-4000-8000-000000000000")).await;
    let (codes, answer) = noticed(&world).await;
    assert!(codes == ["kms-key-pending-deletion"] && answer.contains("Gone"), "{answer}");
}
