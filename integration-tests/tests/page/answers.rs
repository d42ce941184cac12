//! What `status`, `history`, `report` and `rotateNow` answer.

use integration_tests::issuer::{World as Issuers, lab_description};
use integration_tests::{STEPS, World};
use lab::Lab;
use lab::disturb::Fault;
use lab::issuer::Options as IssuerOptions;
use lab::logs::now;
use lab::servers::postgres::Options;
use serde_json::{Value, json};

async fn asked(lab: &Lab, event: Value) -> Value {
    lab.invoke(&event).await.result().expect("an answer")
}

/// The row of a secret.
fn row<'a>(status: &'a Value, arn: &str) -> &'a Value {
    let rows = status["secrets"].as_array().expect("rows");
    rows.iter().find(|row| row["secret"] == arn).unwrap_or_else(|| panic!("{arn} is not in {status}"))
}

#[tokio::test]
async fn each_secret_is_told_with_its_user_strategy_and_last_outcome_and_without_its_password() {
    let world = World::start().await;
    let (one, two) = (world.user("one").await, world.alternating_user("two").await);
    one.rotated().await;
    two.rotated().await;
    world.sql("ALTER ROLE one NOLOGIN").await;
    one.refused().await;
    // Nobody rotates it.
    world.user("third").await;

    let status = asked(&world.lab, json!({"Step": "status"})).await;
    assert_eq!(
        (&status["served"], &status["failed"], &status["valuesRead"]),
        (&json!(2), &json!(1), &json!(2)),
        "{status}"
    );
    assert_eq!(status["log"]["trouble"], Value::Null, "{status}");
    let first = row(&status, &one.arn);
    assert_eq!((&first["user"], &first["strategy"]), (&json!("one"), &json!("single user")), "{first}");
    assert_eq!((&first["state"], &first["last"]["outcome"]), (&json!("failed"), &json!("failed")), "{first}");
    assert_eq!((&first["last"]["step"], &first["last"]["source"]), (&json!("setSecret"), &json!("log")), "{first}");
    assert!(first["ageSeconds"].as_u64().expect("an age") < 600, "{first}");
    assert_eq!(first["exceptions"], json!(["last-rotation-failed"]));
    let second = row(&status, &two.arn);
    assert_eq!((&second["user"], &second["strategy"]), (&json!("two_clone"), &json!("alternating users")), "{second}");
    assert_eq!((&second["state"], &second["last"]["outcome"]), (&json!("in-time"), &json!("promoted")), "{second}");
    assert_eq!(status["secrets"][0]["secret"], json!(one.arn), "the most urgent is the first");
    assert_eq!(status["activity"].as_array().expect("records").len(), 3, "{status}");
    for secret in [&one, &two] {
        assert!(!status.to_string().contains(&secret.credential("AWSCURRENT").await.1), "the status shows a password");
    }

    // A version's value never changes, so it is read once.
    assert_eq!(asked(&world.lab, json!({"Step": "status"})).await["valuesRead"], 0);
    two.rotated().await;
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    assert_eq!((&status["valuesRead"], &row(&status, &two.arn)["user"]), (&json!(1), &json!("two")), "{status}");

    world.lab.host().recycle().await;
    let status = asked(&world.lab, json!({"Step": "status", "Values": false})).await;
    assert_eq!(
        (&status["valuesRead"], &row(&status, &one.arn)["notRead"]),
        (&json!(0), &json!("not-asked")),
        "{status}"
    );
}

/// What the log has is shown, and nothing depends on it.
#[tokio::test]
async fn a_log_that_cannot_be_read_is_named_and_is_no_failure() {
    let world = World::start().await;
    let secret = world.user("one").await;
    secret.rotated().await;
    world.lab.disturb().restart();
    world.lab.disturb().on_every("FilterLogEvents", Fault::Fail(403));
    for event in
        [json!({"Step": "status"}), json!({"Step": "history", "SecretId": secret.arn}), json!({"Step": "report"})]
    {
        let answer = asked(&world.lab, event).await;
        let trouble = answer["log"]["trouble"].as_str().expect("trouble");
        assert!(trouble.contains("logs:FilterLogEvents") && answer["log"]["read"] == false, "{answer}");
    }
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    let last = &row(&status, &secret.arn)["last"];
    assert_eq!((&last["outcome"], &last["source"]), (&json!("rotated"), &json!("service")), "{last}");
}

/// Old records are found behind many lines of others, and the newest record counts.
#[tokio::test]
async fn the_log_is_read_from_its_newest_end_and_lines_of_others_do_not_count() {
    const DAY: u64 = 86_400_000;
    let world = World::start().await;
    let secret = world.user("one").await;
    secret.attached().await;
    let function = "lockstep-postgres";
    let record = |outcome: &str, code: &str| {
        json!({"audit": "rotation", "secret": secret.arn, "outcome": outcome, "code": code, "step": "setSecret"})
            .to_string()
    };
    let logs = world.lab.logs();
    logs.write(function, now() - 60 * DAY, &record("failed", "old"));
    logs.write(function, now() - 3 * DAY, &record("failed", "newer"));
    for hostile in [
        "<script>alert(1)</script>",
        "{\"audit\": \"rotation\", \"outcome\": \"<script>\"}",
        "{\"audit\": \"rotation\"}",
        "[[[",
    ] {
        logs.write(function, now() - DAY, hostile);
    }
    for _ in 0..11_000 {
        logs.write(function, now() - 2 * DAY, "noise");
    }
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    assert_eq!(row(&status, &secret.arn)["last"]["code"], "newer", "{status}");
    let log = &status["log"];
    // Five spans, one of them with two pages that have nothing.
    assert_eq!((&log["calls"], &log["trouble"]), (&json!(7), &Value::Null), "{log}");
    assert_eq!(status["activity"].as_array().expect("records").len(), 2, "{status}");
    // Many more: the answer says how far it is complete.
    for at in 0..80_000 {
        logs.write(function, now() - 20 * DAY + at, "noise");
    }
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    assert!(status["log"]["trouble"].as_str().expect("trouble").contains("longer"), "{}", status["log"]);
    assert_eq!(status["activity"].as_array().expect("records").len(), 1, "{status}");
}

#[tokio::test]
async fn the_history_of_a_secret_says_who_replaced_whom() {
    let world = World::start().await;
    let secret = world.user("one").await;
    let mut versions = vec![secret.version("AWSCURRENT").await];
    for _ in 0..2 {
        secret.rotated().await;
        versions.insert(0, secret.version("AWSCURRENT").await);
    }
    let history = asked(&world.lab, json!({"Step": "history", "SecretId": secret.arn})).await;
    let told: Vec<_> = history["versions"].as_array().expect("versions").iter().collect();
    let ids: Vec<_> = told.iter().map(|version| version["version"].as_str().expect("an id")).collect();
    // Made within one second, two versions have one date.
    let mut sorted = (ids.clone(), versions.clone());
    sorted.0.sort_unstable();
    sorted.1.sort_unstable();
    assert_eq!(sorted.0, sorted.1, "{history}");
    for (newer, older) in versions.iter().zip(versions.iter().skip(1)) {
        let of = |id: &String| *told.iter().find(|version| version["version"] == json!(id)).expect("it is told");
        assert_eq!((&of(newer)["replaced"], &of(newer)["source"]), (&json!(older), &json!("log")), "{history}");
        assert_eq!(of(older)["replacedBy"], json!(newer), "{history}");
    }
}

/// The labels tell the last replacement also without a list of versions, and a function for keys may list them as well.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_without_a_list_of_versions_is_told_from_the_labels() {
    let world = World::start().await;
    let secret = world.user("one").await;
    secret.rotated().await;
    world.lab.disturb().restart();
    world.lab.disturb().on_every("ListSecretVersionIds", Fault::Fail(403));
    let history = asked(&world.lab, json!({"Step": "history", "SecretId": secret.arn})).await;
    assert_eq!(history["notListed"], "service-denied", "{history}");
    let current = secret.version("AWSCURRENT").await;
    let versions = history["versions"].as_array().expect("versions");
    let told = versions.iter().find(|version| version["version"] == json!(current)).expect("it has a label");
    assert_eq!(told["replaced"], json!(secret.version("AWSPREVIOUS").await), "{history}");

    let (world, issuer) = Issuers::lab_with(IssuerOptions::default(), &lab_description(), |function| {
        function.env("ALLOW_ROTATE_NOW", "true")
    })
    .await;
    let (id, key) = issuer.mint("by hand");
    let secret = world.secret(json!({"apiKeyId": id, "apiKey": key})).await;
    secret.rotated().await;
    let history = asked(&world.lab, json!({"Step": "history", "SecretId": secret.arn})).await;
    assert_eq!(history["versions"].as_array().expect("versions").len(), 2, "{history}");
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    let row = row(&status, &secret.arn);
    assert_eq!(row["strategy"], "API key, create_revoke", "{row}");
    assert_eq!(row["user"], secret.field("AWSCURRENT", "apiKeyId").await.as_str(), "{row}");
    asked(&world.lab, json!({"Step": "rotateNow", "SecretId": secret.arn})).await;
    secret.settled().await;
    let status = status.to_string();
    assert!(!status.contains(&secret.field("AWSPREVIOUS", "apiKey").await), "the status shows a key");
}

/// As auditors read it: a name that is a formula stays text.
#[tokio::test]
async fn the_report_has_a_line_for_each_secret() {
    let world = World::start().await;
    let good = world.user("one").await;
    good.rotated().await;
    let value = world.user("two").await.at("AWSCURRENT").await.to_string();
    let formula = world.lab.create_secret("=1+1@cmd", &value).await.expect("the name is allowed");
    world.known(&formula).attached().await;
    let report = asked(&world.lab, json!({"Step": "report"})).await;
    assert_eq!((&report["served"], &report["withExceptions"]), (&json!(2), &json!(1)), "{report}");
    let csv = report["csv"].as_str().expect("CSV");
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "name,arn,rotation_enabled,cadence,last_rotated,next_rotation,state,exceptions");
    assert_eq!(lines.len(), 3, "{csv}");
    assert!(csv.contains(&format!("\n'=1+1@cmd,{formula},true,")) && csv.contains(",never-rotated\r\n"), "{csv}");
}

#[tokio::test]
async fn a_person_rotates_only_what_is_this_functions_and_only_if_the_deployer_allows_it() {
    let ask = |secret: &str| json!({"Step": "rotateNow", "SecretId": secret});
    let off = World::start().await;
    let secret = off.user("one").await;
    secret.attached().await;
    let error = off.lab.invoke(&ask(&secret.arn)).await.result().expect_err("it is off by default");
    assert_eq!(error.error_type, "rotate-now-off", "{error:?}");
    assert_eq!(secret.holders("AWSPENDING").await, Vec::<String>::new());

    let world = World::with(Options::default(), |function| function.env("ALLOW_ROTATE_NOW", "true")).await;
    let refused = async |arn: &str| {
        let error = world.lab.invoke(&ask(arn)).await.result().expect_err("it is refused");
        error.error_type
    };
    let (secret, stranger) = (world.user("one").await, world.user("two").await);
    secret.attached().await;
    assert_eq!(refused(&stranger.arn).await, "rotate-now-refused", "no function rotates it");
    let request = json!({"SecretId": stranger.arn, "RotationLambdaARN": other(&world.lab).await, "RotateImmediately": false,
        "RotationRules": {"AutomaticallyAfterDays": 30}});
    world.lab.call("RotateSecret", request).await.expect("another function rotates it");
    stranger.settled().await;
    assert_eq!(refused(&stranger.arn).await, "rotate-now-refused", "another function rotates it");
    assert_eq!(refused("nobody").await, "secret-not-found");

    let before = secret.version("AWSCURRENT").await;
    let answer = asked(&world.lab, ask(&secret.arn)).await;
    secret.settled().await;
    assert_eq!(secret.version("AWSCURRENT").await, answer["version"].as_str().expect("a version"), "{answer}");
    assert_ne!(secret.version("AWSCURRENT").await, before);
    let status = asked(&world.lab, json!({"Step": "status"})).await;
    let outcomes: Vec<_> = status["activity"].as_array().expect("records").iter().map(|it| &it["outcome"]).collect();
    assert_eq!(outcomes, ["promoted", "requested"], "{status}");

    let token = secret.registered().await;
    secret.steps(&STEPS[..2], &token).await;
    assert_eq!(refused(&secret.arn).await, "rotate-now-refused", "its rotation is under way");
}

async fn other(lab: &Lab) -> String {
    lab.deploy(Lab::builder(integration_tests::function().await).name("mine"))
}

#[tokio::test]
async fn a_widget_gets_html_help_and_errors_that_it_can_show() {
    let world = World::start().await;
    let secret = world.user("one").await;
    secret.rotated().await;
    let help = asked(&world.lab, json!({"describe": true, "widgetContext": {}})).await;
    assert!(help["markdown"].as_str().expect("Markdown").contains("`Values`"), "{help}");
    for event in [json!({}), json!({"Step": "status"}), json!({"Step": "diagnose", "SecretId": secret.arn})] {
        let mut event = event;
        event["widgetContext"] = json!({"theme": "dark"});
        let html = asked(&world.lab, event).await;
        let html = html.as_str().expect("HTML");
        assert!(html.contains("class=\"cwdb-no-default-styles lockstep dark\""), "{html}");
    }
    let refused = json!({"Step": "rotateNow", "SecretId": secret.arn, "widgetContext": {}});
    let html = asked(&world.lab, refused).await;
    assert!(html.as_str().expect("HTML").contains("<code>rotate-now-off</code>"), "{html}");
    // A step's answer is for the service, and a recovery is for whoever reads JSON.
    let step = json!({"Step": "testSecret", "SecretId": secret.arn, "ClientRequestToken": secret.version("AWSCURRENT").await,
        "widgetContext": {}});
    assert_eq!(asked(&world.lab, step).await["outcome"], "already-current");
    let error =
        world.lab.invoke(&json!({"Step": "recover", "SecretId": secret.arn, "widgetContext": {}})).await.result();
    assert_eq!(error.expect_err("it is off").error_type, "recover-off");
}
