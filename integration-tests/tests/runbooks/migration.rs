//! The commands of docs/migration.md, typed for a pair of PostgreSQL users as AWS's function leaves it: over to this function and back.

use integration_tests::runbook::{Page, Play};
use integration_tests::{Secret, World, merged};
use lab::Lab;
use lab::servers::Password;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Blocks whose commands call what the lab is not, or depend on the reader.
const NOT_RUN: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_moved_from_aws_function_and_back() {
    let (page, terminal) = (Page::read(&docs().join("migration.md")), Page::read(&docs().join("runbooks/README.md")));
    let terminal =
        terminal.sessions.iter().find(|session| session.situation == "terminal").expect("the terminal is set up");
    let [session] = page.sessions.as_slice() else { panic!("the page is one session") };
    assert_eq!(session.situation, "migration");
    assert_eq!(page.skipped.len(), NOT_RUN, "{:#?}", page.skipped);

    let world = World::start().await;
    let secret = rotated_by_aws_function(&world).await;
    let (described, value) = (describe(&world, &secret).await, secret.at("AWSCURRENT").await);
    let play = Play::new(session, &world.lab, &secret.arn).file("ca.pem", world.server.ca_pem());
    play.play(terminal, async |what| panic!("what is {what}?")).await;

    world.lab.service().wait_rotation(&secret.arn).await;
    let now = describe(&world, &secret).await;
    for setting in ["RotationLambdaARN", "RotationEnabled"] {
        assert_eq!(now[setting], described[setting], "{setting}");
    }
    // Since a rotation the service shows the expression in days as well.
    let rules = merged(described["RotationRules"].clone(), json!({"AutomaticallyAfterDays": 10}));
    assert_eq!(now["RotationRules"], rules);
    // One rotation: it was the other user's turn, and nothing else of the value has changed.
    assert_eq!(value["username"], "app_clone");
    let current = secret.at("AWSCURRENT").await;
    let rotated = json!({"username": "app", "password": current["password"]});
    assert_eq!(current, merged(value, rotated));
    assert!(secret.opens("AWSCURRENT").await && secret.opens("AWSPREVIOUS").await);
    assert_eq!(secret.holders("AWSPENDING").await, Vec::<String>::new());
}

/// A pair after one rotation by AWS's function for alternating users, made by hand as that does it.
async fn rotated_by_aws_function(world: &World) -> Secret<'_> {
    let secret = world.alternating_user("app").await;
    let password = Password::random();
    let password = password.expose();
    world.sql(&format!("CREATE ROLE app_clone WITH LOGIN PASSWORD '{password}'")).await;
    world.sql("GRANT app TO app_clone").await;
    let clone = json!({"username": "app_clone", "password": password});
    secret.put(&merged(secret.at("AWSCURRENT").await, clone)).await;

    let old = world.lab.deploy(Lab::builder("/nonexistent/bootstrap").name("SecretsManager-rotation"));
    let request = json!({"SecretId": secret.arn, "RotationLambdaARN": old, "RotateImmediately": false,
        "RotationRules": {"ScheduleExpression": "rate(10 days)", "Duration": "3h"}});
    world.lab.call("RotateSecret", request).await.expect("rotation is turned on");
    world.lab.service().wait_rotation(&secret.arn).await;
    secret
}

async fn describe(world: &World, secret: &Secret<'_>) -> Value {
    world.lab.call("DescribeSecret", json!({"SecretId": secret.arn})).await.expect("the secret is there")
}

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs")
}
