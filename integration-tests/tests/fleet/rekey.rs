//! Another KMS key for a fleet: KMS is moto's.

use super::support::{PAIR, POSTGRES, again, fleet, order, run, versions};
use lab::fleet::FleetLab;
use serde_json::{Value, json};

/// A key of this kind. moto names no usage unless it is told.
async fn key(fleet: &FleetLab, usage: &str, spec: &str) -> String {
    let made = fleet.kms("CreateKey", &json!({"KeyUsage": usage, "KeySpec": spec})).await.unwrap();
    made["KeyMetadata"]["Arn"].as_str().unwrap().to_owned()
}

/// The versions of a secret with the key that each is under.
async fn keys(fleet: &FleetLab, secret: &str) -> Vec<(Vec<String>, String)> {
    let request = json!({"SecretId": secret, "IncludeDeprecated": true});
    let listed = fleet.lab().call("ListSecretVersionIds", request).await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let labels = |version: &Value| version["VersionStages"].as_array().into_iter().flatten().map(text).collect();
    let versions = listed["Versions"].as_array().unwrap().iter();
    versions.map(|version| (labels(version), text(&version["KmsKeyIds"][0]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rekey_reaches_the_labelled_versions_and_lists_the_others() {
    let fleet = fleet(5, &[POSTGRES, PAIR], 50, &[]).await;
    // One that no function rotates has a key, too.
    fleet.lab().create_secret("load/by-hand", "{}").await.unwrap();
    for name in ["first", "second"] {
        assert_eq!(run(&fleet, name, &order(name, json!({}))).await.status, "SUCCEEDED");
    }
    let new = key(&fleet, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    let id = new.rsplit('/').next().unwrap();
    let rekey =
        order("rekey", json!({"mode": "rekey", "kmsKey": id, "waves": {"canary": 1, "growth": 2, "pauseSeconds": 0}}));
    let execution = fleet.execute("killed", &rekey).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    fleet.stop(&execution).await.unwrap();
    let ended = run(&fleet, "rekey", &again(&rekey)).await;
    assert_eq!(ended.status, "SUCCEEDED", "{:?}", ended.answer);
    let tally = &ended.answer["tally"];
    let count = |name: &str| tally[name].as_u64().unwrap_or(0);
    // The superuser's secret is the seventh.
    assert_eq!(count("rekeyed") + count("already"), 7, "{tally}");
    for (secret, _) in fleet.secrets() {
        for (labels, under) in keys(&fleet, secret).await {
            assert_eq!(under == new, !labels.is_empty(), "{labels:?} {under}");
        }
        assert_eq!(versions(&fleet, secret).await, 3, "nothing was rotated");
    }
    // Each rotated secret has one version without a label. What the execution that was killed has done is listed, too.
    let old = ended.answer["versionsUnderAnOldKey"].as_array().unwrap();
    assert_eq!(old.len(), 5, "{old:?}");
    assert!(old.iter().all(|line| line["oldKeys"] == 1 && line["oldKey"].as_array().unwrap().len() == 1), "{old:?}");
    // They rotate on under the new key.
    assert_eq!(run(&fleet, "after", &order("after", json!({}))).await.status, "SUCCEEDED");
    fleet.shutdown().await;
}

/// Before the first secret: a value under a key that nobody can use is lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_cannot_encrypt_is_refused_before_the_first_secret() {
    let fleet = fleet(1, &[POSTGRES], 50, &[]).await;
    let disabled = key(&fleet, "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT").await;
    // Its answer has no body.
    let id = disabled.rsplit('/').next().unwrap();
    let _ = fleet.kms("DisableKey", &json!({"KeyId": id})).await;
    let described = fleet.kms("DescribeKey", &json!({"KeyId": disabled})).await.unwrap();
    assert_eq!(described["KeyMetadata"]["KeyState"], "Disabled");
    let signing = key(&fleet, "SIGN_VERIFY", "RSA_2048").await;
    let unknown = disabled.rsplit_once('/').unwrap().0.to_owned() + "/00000000-0000-0000-0000-000000000000";
    for (name, key, found) in [
        ("disabled", disabled, "Disabled"),
        ("signing", signing, "not for encryption"),
        ("unknown", unknown, "does not know"),
    ] {
        for runs in [true, false] {
            let rekey = order(name, json!({"mode": "rekey", "kmsKey": key, "run": runs}));
            let ended = run(&fleet, &format!("{name}-{runs}"), &rekey).await;
            assert_eq!(ended.status, "FAILED", "{:?}", ended.answer);
            let said = ended.answer.to_string();
            assert!(said.contains("kmsKey") && said.contains(found), "{said}");
        }
    }
    let (secret, _) = fleet.secrets().next().unwrap();
    assert!(keys(&fleet, secret).await.iter().all(|(_, key)| !key.starts_with("arn:")), "nothing was changed");
    fleet.shutdown().await;
}
