//! Certificates are ordered, renewed, and refused.

use integration_tests::certificates::{OTHER_DIRECTORY, Secret, World};
use integration_tests::uuid;
use lab::servers::pebble::Options;
use serde_json::json;

const NAMES: [&str; 3] = ["example.com", "*.example.com", "example.net"];

/// The PEM blocks of a version, which differ in each one.
async fn parts(secret: &Secret<'_>, label: &str) -> [String; 4] {
    let value = secret.at(label).await;
    ["certificate", "chain", "fullChain", "privateKey"].map(|field| value[field].as_str().expect(field).to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn two_names_and_a_wildcard_get_one_certificate() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&NAMES, json!({"service": "web"})).await;
    secret.rotated().await;
    let value = secret.at("AWSCURRENT").await;
    assert_eq!((&value["service"], &value["names"]), (&json!("web"), &json!(NAMES)));
    let [own, chain, full, key] = parts(&secret, "AWSCURRENT").await;
    assert!(own.starts_with("-----BEGIN CERTIFICATE-----\n") && chain.starts_with("-----BEGIN CERTIFICATE-----\n"));
    assert_eq!(full, format!("{own}{chain}"));
    assert!(key.starts_with("-----BEGIN PRIVATE KEY-----\n"));
    let [of_key, of_certificate] = [(&["pkey", "-pubout"][..], &key), (&["x509", "-noout", "-pubkey"], &own)]
        .map(|(arguments, text)| openssl(arguments, text));
    assert!(of_key == of_certificate && of_key.contains("PUBLIC KEY"), "{of_key}{of_certificate}");
    let names = openssl(&["x509", "-noout", "-ext", "subjectAltName"], &own);
    assert!(NAMES.iter().all(|name| names.contains(&format!("DNS:{name}"))), "{names}");
    assert!(value["notAfter"].as_str().is_some_and(|text| text.ends_with('Z')), "{value}");
    // Both values of example.com were in one batch; example.net is another zone. Nothing is left behind.
    assert_eq!(world.route53.batches(), 4, "two to add, two to remove");
    assert_eq!(world.route53.zones().count(), 0);

    secret.rotated().await;
    let [next, .., next_key] = parts(&secret, "AWSCURRENT").await;
    assert!(next != own && next_key != key);
    assert_eq!(parts(&secret, "AWSPREVIOUS").await[0], own, "the one before stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_kind_of_key_and_a_profile_is_issued() {
    let world = World::start(Options::default()).await;
    for (kind, shown) in [("ecdsa-p384", "secp384r1"), ("rsa-2048", "(2048 bit)")] {
        let options = json!({"rotation": {"keyType": kind, "profile": "shortlived"}});
        let secret = world.secret(&["example.com"], options).await;
        secret.rotated().await;
        let text = openssl(&["x509", "-noout", "-text"], &secret.field("AWSCURRENT", "certificate").await);
        assert!(text.contains(shown), "{text}");
    }
    let unknown = world.secret(&["example.com"], json!({"rotation": {"profile": "eternal"}})).await;
    let error = unknown.refused().await;
    assert_eq!(error.error_type, "profile-unknown");
    assert!(error.error_message.contains("shortlived"), "{}", error.error_message);
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_nonces_are_replaced() {
    let world = World::start(Options::default().nonce_rejects(30)).await;
    world.secret(&NAMES, json!({})).await.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_approved_already_need_no_record() {
    let world = World::start(Options::default().reuse(100)).await;
    let first = world.secret(&["example.com"], json!({})).await;
    first.rotated().await;
    let batches = world.route53.batches();
    assert!(batches > 0);
    let approved = world.secret(&["example.com"], json!({"rotation": {"challenge": "pre-approved"}})).await;
    approved.rotated().await;
    first.rotated().await;
    assert_eq!(world.route53.batches(), batches);

    let other = world.secret(&["example.net"], json!({"rotation": {"challenge": "pre-approved"}})).await;
    let error = other.refused().await;
    assert_eq!(error.error_type, "challenge-unavailable");
    assert!(error.error_message.contains("dns-01"), "{}", error.error_message);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_domain_elsewhere_is_delegated() {
    let world = World::start(Options::default()).await;
    // In Route 53 the CNAME is found, elsewhere the secret gives it.
    world.route53.zones().put("Z1", "_acme-challenge.example.com", "CNAME", &["a.example.net."]);
    let names = lab::route53::Names::new(world.pebble.names_management());
    for name in ["example.com", "example.org"] {
        names.alias(&format!("_acme-challenge.{name}"), "a.example.net").await.unwrap();
    }
    world.secret(&["example.com"], json!({})).await.rotated().await;
    let error = world.secret(&["example.org"], json!({})).await.refused().await;
    assert_eq!(error.error_type, "zone-unknown");
    let delegations = json!({"_acme-challenge.example.org": "a.example.net"});
    world.secret(&["example.org"], json!({"rotation": {"delegations": delegations}})).await.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_at_once_do_not_overwrite_each_others_records() {
    let world = World::start(Options::default()).await;
    world.route53.zones().put("Z1", "_acme-challenge.example.com", "TXT", &["\"someone-elses\""]);
    let [one, two, three] = [
        world.secret(&["example.com", "*.example.com"], json!({})).await,
        world.secret(&["example.com"], json!({})).await,
        world.secret(&["*.example.com"], json!({})).await,
    ];
    tokio::join!(one.rotated(), two.rotated(), three.rotated());
    assert_eq!(world.route53.zones().values("_acme-challenge.example.com"), ["someone-elses"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_ca_refuses_is_told_and_changes_nothing() {
    let world = World::start(Options::default().blocked("blocked.example.com")).await;
    let secret = world.secret(&["blocked.example.com"], json!({})).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "order-refused");
    assert!(error.error_message.contains("rejectedIdentifier"), "{}", error.error_message);

    // Nobody answers with the record: the name server is told nothing about it.
    world.route53.zones().put("Z2", "_acme-challenge.example.net", "CNAME", &["a.example.com."]);
    let unanswered = world.secret(&["example.net"], json!({})).await;
    let error = unanswered.refused().await;
    assert_eq!(error.error_type, "validation-failed");
    assert!(error.error_message.contains("example.net"), "{}", error.error_message);
    assert_eq!(world.route53.zones().count(), 1, "what was added is removed");
    let values = unanswered.labels().await;
    assert!(!values.to_string().contains("AWSPREVIOUS"), "{values}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_leads_to_no_trusted_root_is_not_stored() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({"rotation": {"roots": null}})).await;
    let error = secret.refused().await;
    assert_eq!(error.error_type, "certificate-unusable");
    assert!(error.error_message.contains("its issuer is unknown"), "{}", error.error_message);
    // The CA's root goes into the secret, and the rotation goes on.
    let mut value = secret.at("AWSCURRENT").await;
    value["rotation"]["roots"] = world.root.clone().into();
    secret.put(&value).await;
    secret.rotated().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_superseded_certificate_is_revoked_on_request() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    let serial = async |label: &str| serial(&secret.field(label, "certificate").await);
    let first = serial("AWSCURRENT").await;
    secret.rotated().await;
    assert_eq!(world.pebble.status(&first).await.unwrap(), "Valid");
    let second = serial("AWSCURRENT").await;
    let mut value = secret.at("AWSCURRENT").await;
    value["rotation"]["revokeSuperseded"] = "keyCompromise".into();
    value["rotation"]["revokeSerial"] = second.clone().into();
    secret.put(&value).await;
    let report = secret.rotated().await;
    assert!(String::from_utf8_lossy(&report.steps[3].outcome.payload).contains("previous"), "{:?}", report.steps[3]);
    assert_eq!(world.pebble.status(&second).await.unwrap(), "Revoked");
    assert_eq!(world.pebble.status(&first).await.unwrap(), "Valid");
    // The option stays in the secret, and revokes no other certificate.
    let third = serial("AWSCURRENT").await;
    secret.rotated().await;
    assert_eq!(world.pebble.status(&third).await.unwrap(), "Valid");
}

/// The serial number in hexadecimal, as openssl prints it.
fn serial(certificate: &str) -> String {
    let text = openssl(&["x509", "-noout", "-serial"], certificate);
    text.trim().strip_prefix("serial=").expect("a serial number").to_lowercase()
}

/// What openssl, which is not ours, says about a PEM text.
fn openssl(arguments: &[&str], text: &str) -> String {
    use std::io::Write as _;
    use std::process::{Command, Stdio};
    let mut openssl = Command::new("openssl");
    openssl.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut openssl = openssl.spawn().expect("openssl starts");
    openssl.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_serves_nobody_is_not_promoted() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    let first = secret.at("AWSCURRENT").await;
    secret.rotated().await;
    // Somebody else has stored the pending version: the key is not the certificate's.
    let token = secret.registered().await;
    let mut value = secret.at("AWSCURRENT").await;
    value["privateKey"] = first["privateKey"].clone();
    let request = json!({"SecretId": secret.arn, "ClientRequestToken": token, "SecretString": value.to_string(),
        "VersionStages": ["AWSPENDING"]});
    world.lab.call("PutSecretValue", request).await.expect("the value is stored");
    for step in ["setSecret", "testSecret", "finishSecret"] {
        assert_eq!(secret.step(step, &token).await.expect_err(step).error_type, "certificate-unusable");
    }
    assert_ne!(secret.version("AWSCURRENT").await, token);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_serves_its_own_directory_alone() {
    let world = World::with(Options::default(), |function| function).await;
    let other = json!({"directory": OTHER_DIRECTORY});
    let secret = world.secret(&["example.com"], other).await;
    assert_eq!(secret.refused().await.error_type, "account-not-allowed");
    assert_eq!(world.route53.batches(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_deployers_lists_are_kept() {
    let settings = |function: lab::stack::Builder| {
        function.env("ALLOWED_DOMAINS", "example.com").env("ACCOUNT_SECRET_ARNS", "arn:aws:secretsmanager:::secret:x")
    };
    let world = World::with(Options::default(), settings).await;
    let error = world.secret(&["example.net"], json!({})).await.refused().await;
    assert_eq!(error.error_type, "name-not-allowed");
    let error = world.secret(&["example.com"], json!({})).await.refused().await;
    assert_eq!(error.error_type, "account-not-allowed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_runs_twice_ends_with_one_certificate() {
    let world = World::start(Options::default()).await;
    let secret = world.secret(&["example.com"], json!({})).await;
    secret.rotated().await;
    let token = secret.registered().await;
    let (one, two) = tokio::join!(secret.step("createSecret", &token), secret.step("createSecret", &token));
    // Who sees the other's value before it requests a certificate requests none.
    let outcomes = [one, two].map(|step| match step {
        Ok(answer) => answer["outcome"].clone(),
        Err(error) => error.error_type.into(),
    });
    let fine = ["proposed", "already-proposed", "write-conflict"];
    assert!(outcomes.iter().all(|outcome| outcome.as_str().is_some_and(|it| fine.contains(&it))), "{outcomes:?}");
    assert!(outcomes.contains(&json!("proposed")), "{outcomes:?}");
    let pending = secret.field("AWSPENDING", "certificate").await;
    secret.steps(&["setSecret", "testSecret", "finishSecret"], &token).await;
    assert_eq!(secret.field("AWSCURRENT", "certificate").await, pending);
    assert!(uuid() != token);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_could_not_be_stored_is_fetched_again() {
    let world = World::start(Options::default()).await;
    let options = json!({"rotation": {"roots": world.pebble.ca_pem()}});
    let secret = world.secret(&["example.com"], options).await;
    let token = secret.registered().await;
    let refused = async || secret.step("createSecret", &token).await.expect_err("the roots are wrong").error_type;
    assert_eq!(refused().await, "certificate-unusable");
    let batches = world.route53.batches();
    assert_eq!(refused().await, "certificate-unusable");
    assert_eq!(world.route53.batches(), batches, "no other order was made");
}
