//! A TXT record that a person makes once (draft-ietf-acme-dns-persist).

use integration_tests::certificates::World;
use lab::route53::Names;
use lab::servers::pebble::Options;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_error_names_the_record_that_a_person_makes_once() {
    let world = World::start(Options::default()).await;
    let options = json!({"rotation": {"challenge": "dns-persist-01"}});
    let secret = world.secret(&["example.com", "*.example.com", "example.net"], options).await;
    let names = Names::new(world.pebble.names_management());
    for _ in 0..2 {
        let error = secret.refused().await;
        assert_eq!(error.error_type, "validation-failed");
        let quoted: Vec<&str> = error.error_message.split('`').collect();
        let name = quoted.iter().find(|text| text.starts_with("_validation-persist.")).expect("a name");
        let value = quoted.iter().find(|text| text.contains("accounturi=")).expect("a value");
        assert!(value.starts_with("pebble.letsencrypt.org; accounturi=https://localhost:"), "{value}");
        names.answer(name, &[(*value).to_owned()]).await.unwrap();
    }
    secret.rotated().await;
    secret.rotated().await;
    assert_eq!(world.route53.batches(), 0, "no rotation changes DNS");
}
