//! Secrets that cannot be right, whatever the server is, and what has to hold for them.

use crate::{STEPS, Secret, Server, World, merged, uuid};
use lab::lambda::StepError;
use lab::servers::Password;
use serde_json::{Value, json};

/// A text, the code that it is refused with, and what the message names. `password` stands in each, to be looked for where
/// it should not be.
pub fn secrets<S: Server>(world: &World<S>, password: &str) -> Vec<(String, &'static str, String)> {
    let base = world.document("app", password);
    let with = |more: Value| merged(base.clone(), more).to_string();
    let rotation = |options: Value| with(json!({"rotation": options}));
    let quoted = format!("\"{password}\"");
    let mut cases: Vec<(String, &'static str, String)> = vec![
        (password.to_owned(), "secret-not-json", "text that is not JSON".to_owned()),
        (format!("{{\"password\": {quoted}"), "secret-not-json", "text that is not JSON".to_owned()),
        (format!("{{'password': '{password}'}}"), "secret-not-json", "text that is not JSON".to_owned()),
        (quoted.clone(), "secret-not-json", "a string".to_owned()),
        (format!("[{quoted}]"), "secret-not-json", "an array".to_owned()),
        ("null".to_owned(), "secret-not-json", "null".to_owned()),
        ("{}".to_owned(), "field-missing", field("engine")),
        (with(json!({"engine": "oracle-ee"})), "engine-mismatch", "oracle-ee".to_owned()),
        (with(json!({"engine": "POSTGRES"})), "engine-mismatch", "POSTGRES".to_owned()),
        (with(json!({"ssl": "maybe"})), "field-invalid", field("ssl")),
        (with(json!({"ssl": 0})), "field-invalid", field("ssl")),
        (with(json!({"ssl": {"password": password}})), "field-invalid", field("ssl")),
        (format!("{{\"note\": 1, \"note\": {quoted}}}"), "field-invalid", "the same key twice".to_owned()),
        (with(json!({})).replacen('{', &format!("{{\"password\": {quoted},"), 1), "field-invalid", field("password")),
        (with(json!({"dbname": 7})), "field-invalid", field("dbname")),
        (with(json!({"masterarn": [password]})), "field-invalid", field("masterarn")),
        (with(json!({"rotation": [password]})), "field-invalid", field("rotation")),
        (with(json!({"rotation": password})), "field-invalid", field("rotation")),
        (rotation(json!({"superUserRescue": true})), "option-unknown", "rotation.superUserRescue".to_owned()),
        (rotation(json!({"users": "app"})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app"]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", "app"]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", ""]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", 7]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", "b\0"]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", "b", "c"]})), "field-invalid", field("rotation.users")),
        (rotation(json!({"users": ["app", "b"]})), "field-missing", field("masterarn")),
        (rotation(json!({"superuserRescue": true})), "field-missing", field("masterarn")),
        (rotation(json!({"superuserRescue": "maybe"})), "field-invalid", field("rotation.superuserRescue")),
        (rotation(json!({"setPasswordAs": "superuser"})), "field-missing", field("masterarn")),
        (rotation(json!({"setPasswordAs": true})), "field-invalid", field("rotation.setPasswordAs")),
        (rotation(json!({"setPasswordAs": password})), "field-invalid", field("rotation.setPasswordAs")),
        (rotation(json!({"caBundle": 7})), "field-invalid", field("rotation.caBundle")),
        (rotation(json!({"caBundle": password})), "ca-bundle-invalid", field("rotation.caBundle")),
        (
            with(json!({"masterarn": "arn", "rotation": {"users": ["b", "c"]}})),
            "field-invalid",
            field("rotation.users"),
        ),
        (
            with(json!({"masterarn": "arn", "rotation": {"users": ["app", "b"], "superuserRescue": true}})),
            "field-invalid",
            field("rotation.superuserRescue"),
        ),
        (
            with(json!({"masterarn": "arn", "rotation": {"users": ["app", "b"], "setPasswordAs": "superuser"}})),
            "field-invalid",
            field("rotation.setPasswordAs"),
        ),
        (
            with(json!({"masterarn": "arn", "rotation": {"superuserRescue": true, "setPasswordAs": "superuser"}})),
            "field-invalid",
            field("rotation.setPasswordAs"),
        ),
    ];
    for required in ["engine", "host", "username", "password"] {
        for absent in [Value::Null, json!("")] {
            let code = if absent.is_null() { "field-missing" } else { "field-invalid" };
            cases.push((with(json!({required: absent})), code, field(required)));
        }
        for wrong in [json!(7), json!(true), json!([password]), json!({"a": password}), json!(format!("{password}\0"))]
        {
            cases.push((with(json!({required: wrong})), "field-invalid", field(required)));
        }
        let null =
            with(json!({})).replace(&format!("\"{required}\":{}", base[required]), &format!("\"{required}\":null"));
        cases.push((null, "field-missing", field(required)));
    }
    for port in [json!(0), json!(70_000), json!(-1), json!(5432.5), json!("x"), json!(""), json!(true), json!([5432])] {
        cases.push((with(json!({"port": port})), "field-invalid", field("port")));
    }
    cases
}

/// How a message names a field.
pub fn field(name: &str) -> String {
    format!("field={name:?}")
}

/// A password that is easy to find where it should not be.
pub fn marked() -> String {
    format!("S3cr3t-{}", Password::random().expose())
}

/// A rotation that has to fail and to leave AWSCURRENT as it is; with the step that failed.
pub async fn refused<S: Server>(world: &World<S>, secret: &Secret<'_, S>) -> (StepError, String) {
    let current = json!({"SecretId": secret.arn, "VersionStage": "AWSCURRENT"});
    let before = world.lab.call("GetSecretValue", current.clone()).await.expect("the service answers");
    let report = secret.rotate().await;
    let error = report.error().unwrap_or_else(|| panic!("no step of {before} failed"));
    assert_eq!(world.lab.call("GetSecretValue", current).await.expect("the service answers"), before);
    (error, report.steps.last().expect("a step").step.clone())
}

/// A pending version with a value that somebody else put there. Returns its token.
pub async fn planted<S: Server>(world: &World<S>, secret: &Secret<'_, S>, text: &str) -> String {
    // A rotation cannot begin while another one's version is pending.
    for version in secret.holders("AWSPENDING").await {
        let request = json!({"SecretId": secret.arn, "VersionStage": "AWSPENDING", "RemoveFromVersionId": version});
        world.lab.call("UpdateSecretVersionStage", request).await.expect("the service answers");
    }
    let token = secret.registered().await;
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "SecretString": text,
        "VersionStages": ["AWSPENDING"]});
    world.lab.call("PutSecretValue", request).await.expect("the service answers");
    // createSecret leaves it alone: a version's value never changes.
    assert_eq!(secret.step("createSecret", &token).await.expect("the service answers")["outcome"], "already-proposed");
    token
}

/// That a pending version with these fields, which createSecret did not make, is refused by every later step, by its code and the
/// field, without a word of what it holds.
pub async fn never_tried<S: Server>(
    world: &World<S>,
    secret: &Secret<'_, S>,
    tampered: Value,
    (code, name): (&str, &str),
) {
    let new = merged(merged(secret.at("AWSCURRENT").await, json!({"password": marked()})), tampered);
    let token = planted(world, secret, &new.to_string()).await;
    for step in &STEPS[1..] {
        let error = secret.step(step, &token).await.expect_err("it is refused");
        assert_eq!(error.error_type, code, "{name}, {step}: {}", error.error_message);
        let named = name.is_empty() || error.error_message.contains(&field(name));
        assert!(named, "{name}, {step}: {}", error.error_message);
        assert!(!error.error_message.contains("S3cr3t"), "{}", error.error_message);
    }
}

/// Moves AWSCURRENT to a new version with this value, and leaves AWSPENDING where it is.
pub async fn moved<S: Server>(world: &World<S>, secret: &Secret<'_, S>, value: &Value) {
    let (old, new) = (secret.holders("AWSCURRENT").await, uuid());
    for (operation, request) in [
        (
            "PutSecretValue",
            json!({"ClientRequestToken": new, "SecretString": value.to_string(), "VersionStages": ["X"]}),
        ),
        (
            "UpdateSecretVersionStage",
            json!({"VersionStage": "AWSCURRENT", "MoveToVersionId": new, "RemoveFromVersionId": old[0]}),
        ),
    ] {
        let request = merged(request, json!({"SecretId": secret.arn}));
        world.lab.call(operation, request).await.expect("the version is current");
    }
}
