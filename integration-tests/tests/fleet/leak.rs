//! From a leak to the right secret: gitleaks, and GitHub's webhook.

use super::support::{DUAL, POSTGRES, fleet, run, values, versions};
use aws_lc_rs::hmac;
use lab::fleet::{FleetLab, Sent};
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

const KEY: &str = "a key of fingerprints, which is long enough";
pub(super) const WEBHOOK: &str = "a secret of a webhook";
const SETTINGS: [(&str, &str); 3] =
    [("FINGERPRINT_KEY_SECRET", "fleet/key"), ("WEBHOOK_SECRET", "fleet/webhook"), ("START_ON_LEAK", "true")];

/// A fleet whose secrets have fingerprints, with further settings.
pub(super) async fn with_fingerprints(more: &[(&str, &str)]) -> FleetLab {
    let fleet = fleet(4, &[POSTGRES, DUAL], 50, &[&SETTINGS, more].concat()).await;
    fleet.lab().create_secret("fleet/key", KEY).await.unwrap();
    fleet.lab().create_secret("fleet/webhook", WEBHOOK).await.unwrap();
    let tagged = json!({"Do": "fingerprints", "Select": {"names": ["load/*"]}});
    let answer = fleet.ask(&tagged).await.unwrap();
    assert_eq!((&answer["tagged"], &answer["secrets"]), (&json!(4), &json!(4)), "{answer}");
    // Nothing has changed since.
    assert_eq!(fleet.ask(&tagged).await.unwrap()["tagged"], 0);
    fleet
}

pub(super) fn password(value: &str) -> String {
    let value: Value = serde_json::from_str(value).unwrap();
    value["password"].as_str().unwrap().to_owned()
}

/// What gitleaks itself finds in a directory with this text.
async fn gitleaks(text: String) -> Value {
    let find = move || {
        let program = lab::provision::gitleaks().expect("gitleaks is there");
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("repository")).unwrap();
        std::fs::write(directory.path().join("repository/settings.py"), text).unwrap();
        let report = directory.path().join("report.json");
        let mut command = Command::new(program);
        command.args(["detect", "--no-git", "--exit-code", "0", "-f", "json", "-s"]);
        command.arg(directory.path().join("repository")).arg("-r").arg(&report);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap()
    };
    tokio::task::spawn_blocking(find).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_that_gitleaks_finds_is_rotated_until_it_is_dead() {
    let fleet = with_fingerprints(&[]).await;
    let all = values(&fleet).await;
    let (secret, kind, leaked) = all.iter().find(|(_, kind, _)| *kind == DUAL).unwrap();
    let report = gitleaks(format!("DB_PASSWORD = \"{}\"\n", password(leaked))).await;
    assert!(!report.as_array().unwrap().is_empty(), "gitleaks finds it");
    let answer = fleet.ask_leaks(&json!({"Do": "leak", "Report": report})).await.unwrap();
    assert_eq!((&answer["matched"], &answer["matches"][0]["arn"]), (&json!(1), &json!(secret)), "{answer}");
    assert!(!answer.to_string().contains(&password(leaked)) && !fleet.printed().contains(&password(leaked)));
    // It proposes, and starts nothing: the secret has no tag that allows it.
    assert_eq!(answer["started"], json!([]));
    assert_eq!(versions(&fleet, secret).await, 1);

    let ended = run(&fleet, "proposal", &answer["proposals"][0]).await;
    assert_eq!(ended.answer["tally"], json!({"rotated": 1}), "{:?}", ended.answer);
    let line = &ended.answer["leaked"][0];
    assert_eq!(line["rounds"], 2, "the server kept the leaked password once");
    assert!(line["deadAfter"].as_u64().unwrap() > 0);
    assert!(!fleet.opens(*kind, leaked).await.unwrap(), "the leaked password is refused");
    for (other, ..) in all.iter().filter(|(other, ..)| other != secret) {
        assert_eq!(versions(&fleet, other).await, 1, "{other} is not touched");
    }

    let unknown = gitleaks("DB_PASSWORD = \"q8Zt4nVx2LwP9sKd7HrB3mYc6TfG1jQe\"\n".to_owned()).await;
    let answer = fleet.ask_leaks(&json!({"Do": "leak", "Report": unknown})).await.unwrap();
    assert_eq!((&answer["matched"], &answer["proposals"]), (&json!(0), &json!([])), "{answer}");
    assert!(answer["unknown"].as_u64().unwrap() > 0);
    fleet.shutdown().await;
}

/// A request as an HTTP API hands it on.
fn request(value: &str, number: usize, key: &str) -> Value {
    let alert = json!({"action": "created", "number": number, "alert": {
        "created_at": date(), "secret_type": "generic", "html_url": "https://github.com/a/b/security/1", "secret": value}});
    signed(&alert, key)
}

/// An alert, signed as GitHub signs it.
pub(super) fn signed(alert: &Value, key: &str) -> Value {
    let body = alert.to_string();
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), body.as_bytes());
    let hex: String = signature.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    json!({
        "version": "2.0", "requestContext": {"http": {"method": "POST", "path": "/"}},
        "headers": {"x-hub-signature-256": format!("sha256={hex}"), "x-github-event": "secret_scanning_alert"},
        "body": body, "isBase64Encoded": false,
    })
}

pub(super) fn date() -> String {
    let output = Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

pub(super) async fn status(fleet: &FleetLab, request: &Value) -> (u64, Value) {
    let answer = fleet.ask_leaks(request).await.unwrap();
    let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap();
    (answer["statusCode"].as_u64().unwrap(), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_rotates_only_what_it_may_and_only_once() {
    let fleet = with_fingerprints(&[]).await;
    let all = values(&fleet).await;
    let (allowed, kind, leaked) = &all[0];
    let (other, _, other_value) = &all[2];
    let tag = json!({"SecretId": allowed, "Tags": [{"Key": "lockstep:on-leak", "Value": "rotate"}]});
    fleet.lab().call("TagResource", tag).await.unwrap();

    // A flood under a wrong key, a replay, an unknown value, and a secret whose owner has not allowed it: nothing rotates.
    for number in 0..50 {
        let forged = request(&password(leaked), number, "not the secret of the webhook");
        assert_eq!(status(&fleet, &forged).await.0, 401);
    }
    let foreign = request(&password(other_value), 1, WEBHOOK);
    let accepted = (202, json!({"accepted": true}));
    assert_eq!(status(&fleet, &foreign).await, accepted);
    assert_eq!(status(&fleet, &foreign).await.0, 409, "a replay");
    assert_eq!(status(&fleet, &request("nobody-has-this-value", 2, WEBHOOK)).await, accepted);
    // Deliveries that somebody has kept, and those of a clock that is wrong.
    for at in ["2026-01-01T00:00:00Z", "2999-01-01T00:00:00Z"] {
        let mut alert: Value =
            serde_json::from_str(request(&password(leaked), 4, WEBHOOK)["body"].as_str().unwrap()).unwrap();
        alert["alert"]["created_at"] = at.into();
        assert_eq!(status(&fleet, &signed(&alert, WEBHOOK)).await.0, 409, "{at}");
    }
    for (secret, ..) in &all {
        assert_eq!(versions(&fleet, secret).await, 1, "{secret}");
    }
    // GitHub shows the answer to many. People are told in the log.
    let printed = fleet.printed();
    assert!(printed.contains(other) && printed.contains("belongs to no secret"), "{printed}");
    assert!(!printed.contains("nobody-has-this-value"));

    assert_eq!(status(&fleet, &request(&password(leaked), 3, WEBHOOK)).await, accepted);
    for _ in 0..300 {
        if !fleet.opens(*kind, leaked).await.unwrap() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert!(!fleet.opens(*kind, leaked).await.unwrap(), "the leaked password is refused");
    assert_eq!(versions(&fleet, other).await, 1, "the other one is not touched");
    fleet.shutdown().await;
}

/// Step Functions has no such machine: people are told why, and once it is there the same delivery is followed.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_that_cannot_be_started_is_told_and_not_lost() {
    let gone = "arn:aws:states:us-east-1:123456789012:stateMachine:gone";
    let fleet = with_fingerprints(&[("STATE_MACHINE_ARN", gone)]).await;
    let (secret, _, leaked) = values(&fleet).await.remove(0);
    let tag = json!({"SecretId": secret, "Tags": [{"Key": "lockstep:on-leak", "Value": "rotate"}]});
    fleet.lab().call("TagResource", tag).await.unwrap();
    let delivery = request(&password(&leaked), 1, WEBHOOK);
    for _ in 0..2 {
        // GitHub shows that it failed, and is not told that it was followed.
        assert_eq!(status(&fleet, &delivery).await.0, 503);
    }
    let printed = fleet.printed();
    for told in
        ["a credential has leaked", "an emergency could not be started", "StartExecution", "StateMachineDoesNotExist"]
    {
        assert!(printed.contains(told), "{told} is not in {printed}");
    }
    // Who reports it by hand reads it in the answer, beside the order to start.
    let answer = fleet.ask_leaks(&json!({"Do": "leak", "Report": [{"Secret": password(&leaked)}]})).await.unwrap();
    assert_eq!((&answer["started"], answer["notStarted"].as_array().map(Vec::len)), (&json!([]), Some(1)), "{answer}");
    assert_eq!(answer["notStarted"][0]["code"], "service-refused", "{answer}");
    assert_eq!(answer["notStarted"][0]["order"]["select"]["secrets"], json!([secret]));
    assert_eq!(answer["proposals"], json!([]), "nobody starts it twice");
    assert_eq!(versions(&fleet, &secret).await, 1, "nothing was rotated");
    fleet.shutdown().await;
}

/// Allows an emergency of the first secret, and returns its ARN and the request that reports its value.
async fn allowed(fleet: &FleetLab) -> (String, Value) {
    let (secret, _, leaked) = values(fleet).await.remove(0);
    let tag = json!({"SecretId": secret, "Tags": [{"Key": "lockstep:on-leak", "Value": "rotate"}]});
    fleet.lab().call("TagResource", tag).await.unwrap();
    (secret, json!({"Do": "leak", "Report": [{"Secret": password(&leaked)}]}))
}

/// What nobody knows is never "it runs already": then nobody works on a credential that lives.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_that_failed_is_started_once_more() {
    let fleet = with_fingerprints(&[]).await;
    let (_, leak) = allowed(&fleet).await;
    let there = || Sent::Answered(400, json!({"__type": "ExecutionAlreadyExists"}));
    let refused = || Sent::Answered(400, json!({"__type": "AccessDeniedException"}));
    let status = |status: &str| Sent::Answered(200, json!({"status": status}));
    let started = |answer: &Value, field: &str| answer[field].as_array().map_or(0, Vec::len);

    fleet.intercept(move |operation, _| if operation == "StartExecution" { there() } else { refused() });
    let answer = fleet.ask_leaks(&leak).await.unwrap();
    assert_eq!((started(&answer, "alreadyStarted"), &answer["notStarted"][0]["code"]), (0, &json!("service-denied")));

    fleet.intercept(move |operation, _| if operation == "StartExecution" { there() } else { status("RUNNING") });
    let answer = fleet.ask_leaks(&leak).await.unwrap();
    let first = answer["alreadyStarted"][0].as_str().unwrap().to_owned();
    assert!(fleet.printed().contains("an emergency runs for a leaked credential"));

    let before = first.clone();
    fleet.intercept(move |operation, request| match operation {
        "StartExecution" if request["name"] == before.as_str() => there(),
        "StartExecution" => Sent::Answered(200, json!({"executionArn": "arn", "startDate": 1})),
        _ => status("FAILED"),
    });
    let answer = fleet.ask_leaks(&leak).await.unwrap();
    assert_eq!(answer["started"], json!([format!("{first}-2")]), "{answer}");

    fleet.intercept(move |operation, _| if operation == "StartExecution" { there() } else { status("ABORTED") });
    let answer = fleet.ask_leaks(&leak).await.unwrap();
    assert_eq!((started(&answer, "started"), started(&answer, "alreadyStarted")), (0, 0));
    assert!(answer["notStarted"][0]["message"].as_str().unwrap().contains("by hand"), "{answer}");
    fleet.shutdown().await;
}

/// Whatever stands still afterwards, people know of the leak.
#[tokio::test(flavor = "multi_thread")]
async fn people_are_told_before_the_next_call() {
    let fleet = with_fingerprints(&[]).await;
    let (secret, leak) = allowed(&fleet).await;
    fleet.intercept(|_, _| Sent::Nowhere);
    let began = Instant::now();
    let reported = fleet.ask_leaks(&leak);
    let told = async {
        while !fleet.printed().contains("a credential has leaked") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    };
    let (answer, told) = tokio::join!(reported, told);
    assert!(told < Duration::from_secs(8), "before Step Functions gave no answer: {told:?}");
    let answer = answer.unwrap();
    assert_eq!(answer["notStarted"][0]["code"], "service-unavailable", "{answer}");
    assert!(fleet.printed().contains("an emergency could not be started") && fleet.printed().contains(&secret));
    fleet.shutdown().await;
}

/// How old a value is comes from the labels that the list has, although the tag is older: nothing was tagged since the rotation.
#[tokio::test(flavor = "multi_thread")]
async fn the_age_of_a_value_follows_the_labels() {
    let fleet = with_fingerprints(&[]).await;
    let (secret, leak) = allowed(&fleet).await;
    let rotated = json!({"run": true, "why": "a test", "select": {"secrets": [secret]}, "pace": {"perSecond": 25}});
    assert_eq!(run(&fleet, "rotated", &rotated).await.status, "SUCCEEDED");
    fleet.intercept(|_, _| Sent::Answered(200, json!({"executionArn": "arn", "startDate": 1})));
    let answer = fleet.ask_leaks(&leak).await.unwrap();
    assert_eq!(answer["matches"][0]["value"], "previous", "{answer}");
    fleet.shutdown().await;
}

/// A schedule waits for no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_without_fingerprints_is_told() {
    let fleet = with_fingerprints(&[]).await;
    let other = json!({"Name": "load/binary", "SecretBinary": "AAAA"});
    let binary = fleet.lab().call("CreateSecret", other).await.unwrap()["ARN"].as_str().unwrap().to_owned();
    let function = fleet.function().replace("lockstep-fleet", "mine");
    fleet.lab().service().attach(&binary, &function, &json!({"AutomaticallyAfterDays": 30})).unwrap();
    let answer = fleet.ask(&json!({"Do": "fingerprints", "Select": {"names": ["load/*"]}})).await.unwrap();
    assert_eq!(answer["unread"], json!([{"secret": "load/binary", "code": "secret-not-found"}]), "{answer}");
    let printed = fleet.printed();
    assert!(printed.contains("\"FingerprintsUnread\":1"), "{printed}");
    // The alarm for notices hears the other function alone.
    assert!(!printed.contains("rotation::notice"), "{printed}");
    assert!(
        printed.lines().any(|line| line.contains("\"audit\":\"leak\"") && line.contains("load/binary")),
        "{printed}"
    );
    fleet.shutdown().await;
}
