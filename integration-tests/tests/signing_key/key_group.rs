//! A key group of CloudFront, for signed URLs. The double of CloudFront is compared with moto's where moto has an operation.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use integration_tests::signing::{World, id};
use integration_tests::{merged, program};
use lab::cloudfront::{CloudFront, GroupConfig, KeyConfig};
use lab::disturb::Disturb;
use lab::issuer::Https;
use lab::provision;
use serde_json::{Value, json};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;
use tokio::time::sleep;

const URL: &str = "https://d111111abcdef8.cloudfront.net/video.mp4";

/// CloudFront with a key group, and a world whose function calls it.
struct Distribution {
    world: World,
    cloudfront: CloudFront,
    _api: Https,
    group: String,
    /// The key that signs before the first rotation.
    own: Value,
}

fn run(mut command: Command) -> String {
    let output = command.stderr(Stdio::inherit()).output().expect("it starts");
    assert!(output.status.success(), "{command:?}");
    String::from_utf8(output.stdout).expect("text")
}

async fn cloudfront_py(mode: &str, asked: &Value) -> Value {
    let python = tokio::task::spawn_blocking(provision::python).await.expect("no panic").expect("Python is obtained");
    let mut command = program(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/signing_key/cloudfront.py"));
    command.args([mode, &asked.to_string()]);
    serde_json::from_str(&run(command)).expect("JSON")
}

impl Distribution {
    /// As people set it up by hand: a key pair by openssl, its public part in a group.
    async fn start(key: &[&str]) -> Self {
        let cloudfront = CloudFront::default();
        let api = Https::without_tls(cloudfront.router(), Disturb::new()).expect("CloudFront is served");
        let world = World::with(|function| {
            function
                .env("AWS_ENDPOINT_URL_CLOUDFRONT", api.url())
                .env("PLACES", "cloudfront:*,s3://tokens.example.com/*")
        });
        let world = world.await;
        let folder = tempfile::tempdir().expect("a directory");
        let (private, public) = (folder.path().join("private.pem"), folder.path().join("public.pem"));
        let mut openssl = program("openssl");
        openssl.arg("genpkey").args(key).arg("-out").arg(&private);
        run(openssl);
        let mut openssl = program("openssl");
        openssl.args(["pkey", "-pubout", "-in"]).arg(&private).arg("-out").arg(&public);
        run(openssl);
        let read = |path| std::fs::read_to_string(path).expect("a key");
        let config = KeyConfig {
            caller_reference: "by hand".to_owned(),
            name: "video-2024".to_owned(),
            encoded_key: read(&public),
            comment: "by hand".to_owned(),
        };
        let key = cloudfront.groups().create_key(config).expect("a key");
        let config = GroupConfig { name: "video".to_owned(), items: vec![key.clone()], comment: "by hand".to_owned() };
        let group = cloudfront.groups().create_group(config).expect("a group");
        let own = json!({"kid": "video-2024", "privateKey": read(&private)});
        Self { world, cloudfront, _api: api, group, own }
    }

    fn place(&self) -> String {
        format!("cloudfront:{}", self.group)
    }

    fn items(&self) -> Vec<String> {
        self.cloudfront.groups().group(&self.group).expect("the group").config.items.clone()
    }

    /// The names of all public keys of the account, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.cloudfront.groups().keys().map(|(_, key)| key.config.name.clone()).collect();
        names.sort();
        names
    }

    /// A public key of an old rotation of the group's secret, which no group has. Returns its name.
    fn left_key(&self) -> String {
        let mut groups = self.cloudfront.groups();
        let group = groups.group(&self.group).expect("the group").config.clone();
        let owner = group.comment.split(' ').nth(1).expect("an owner").to_owned();
        let encoded_key = groups.key(&group.items[0]).expect("a key").config.encoded_key.clone();
        let (name, comment) = ("left".to_owned(), format!("lockstep {owner} 5"));
        let config = KeyConfig { caller_reference: name.clone(), name: name.clone(), encoded_key, comment };
        groups.create_key(config).expect("a key");
        name
    }

    /// Whether CloudFront would let a URL pass that an application signs with this version: botocore signs, openssl verifies.
    async fn lets_in(&self, version: &Value) -> bool {
        let current = &version["current"];
        let asked = json!({"privateKey": current["privateKey"], "keyPairId": current["keyPairId"], "url": URL});
        let signed = cloudfront_py("sign", &asked).await;
        let url = signed["url"].as_str().expect("a URL");
        let part = |name: &str| {
            let value = url.split(&format!("{name}=")[..]).nth(1).expect(name);
            value.split('&').next().expect("a value").to_owned()
        };
        let key = part("Key-Pair-Id");
        if !self.items().contains(&key) {
            return false;
        }
        let until = &signed["until"];
        let policy = format!(
            r#"{{"Statement":[{{"Resource":"{URL}","Condition":{{"DateLessThan":{{"AWS:EpochTime":{until}}}}}}}]}}"#
        );
        let signature = part("Signature").replace('-', "+").replace('_', "=").replace('~', "/");
        let folder = tempfile::tempdir().expect("a directory");
        let write = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).expect("it is written");
            path
        };
        let public = self.cloudfront.groups().key(&key).expect("the key").config.encoded_key.clone();
        let mut openssl = program("openssl");
        openssl.args(["dgst", "-sha1", "-verify"]).arg(write("public.pem", public.as_bytes()));
        openssl.arg("-signature").arg(write("signature", &BASE64_STANDARD.decode(signature).expect("base64")));
        openssl.arg(write("policy", policy.as_bytes())).stdout(Stdio::null());
        openssl.status().expect("openssl runs").success()
    }
}

async fn cache() {
    sleep(Duration::from_millis(2100)).await;
}

async fn signs_on(algorithm: &str, key: &[&str]) {
    let here = Distribution::start(key).await;
    let (world, place) = (&here.world, here.place());
    let fields = json!({"algorithm": algorithm, "maxTokenLifetime": 2, "maxCache": 1, "current": here.own});
    let secret = world.secret(&[&place], fields).await;
    secret.rotated().await;
    let first = secret.at("AWSCURRENT").await;
    assert_eq!(id(&first, "current"), "video-2024", "what signs goes on");
    assert_eq!(here.items().len(), 2);
    assert!(here.lets_in(&first).await);
    let mut versions = vec![first];
    for _ in 0..2 {
        cache().await;
        secret.rotated().await;
        let version = secret.at("AWSCURRENT").await;
        assert!(here.lets_in(&version).await && here.lets_in(versions.last().expect("one")).await, "tokens live");
        versions.push(version);
    }
    let last = &versions[2];
    assert_eq!(last["current"]["keyPairId"], versions[1]["next"]["keyPairId"]);
    // Once its time is over, a key leaves the group, and is deleted if a rotation has made it.
    cache().await;
    cache().await;
    let left = here.left_key();
    assert_eq!(world.look().await["noticed"], Value::Null);
    assert!(!here.names().contains(&left), "a rotation that was given up long ago has made it");
    assert!(here.lets_in(last).await && !here.lets_in(&versions[1]).await);
    assert_eq!(here.items().len(), 2);
    assert!(here.names().contains(&"video-2024".to_owned()), "a key of somebody's own stays");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_passes_while_the_key_group_rotates() {
    signs_on("RS256", &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_url_passes_with_elliptic_curves() {
    signs_on("ES256", &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_of_somebody_else_and_a_key_that_cloudfront_cannot_use_are_refused() {
    let here = Distribution::start(&["-algorithm", "RSA"]).await;
    let place = here.place();
    let before = here.items();
    let error = here.world.secret(&[&place], json!({"algorithm": "RS256"})).await.refused().await;
    assert_eq!(error.error_type, "outlet-taken");
    let error = here.world.secret(&[&place], json!({"algorithm": "EdDSA"})).await.refused().await;
    assert!(error.error_type == "outlet-refused" && error.error_message.contains("ES256 or RS256"), "{error:?}");
    let error = here.world.secret(&["cloudfront:nobody"], json!({"algorithm": "RS256"})).await.refused().await;
    assert!(error.error_type == "outlet-refused" && error.error_message.contains("NoSuchResource"), "{error:?}");
    // Without the deployer's list no key group is written: a role's policy cannot name one.
    let world = World::start().await;
    let error = world.secret(&[&place], json!({"algorithm": "RS256"})).await.refused().await;
    assert!(error.error_type == "outlet-refused" && error.error_message.contains("PLACES"), "{error:?}");
    assert_eq!(here.items(), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leaked_key_leaves_the_group_and_what_somebody_adds_is_told() {
    let here = Distribution::start(&["-algorithm", "RSA"]).await;
    let (world, place) = (&here.world, here.place());
    let fields = json!({"algorithm": "RS256", "maxTokenLifetime": 9, "maxCache": 1, "current": here.own});
    let secret = world.secret(&[&place], fields).await;
    secret.rotated().await;
    cache().await;
    secret.rotated().await;
    let before = secret.at("AWSCURRENT").await;
    let rotation = json!({"publish": [place], "emergency": {"leaked": id(&before, "current")}});
    secret.put(&merged(before.clone(), json!({"rotation": rotation}))).await;
    secret.rotated().await;
    assert!(!here.lets_in(&before).await && here.lets_in(&secret.at("AWSCURRENT").await).await);

    let config = KeyConfig {
        caller_reference: "evil".to_owned(),
        name: "evil".to_owned(),
        encoded_key: "-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n".to_owned(),
        comment: String::new(),
    };
    let evil = here.cloudfront.groups().create_key(config).expect("a key");
    let group = here.cloudfront.groups().group(&here.group).expect("the group").clone();
    let mut config = group.config;
    config.items.push(evil.clone());
    // A key that signs is taken out, too.
    let signs = secret.at("AWSCURRENT").await["current"]["keyPairId"].as_str().expect("an id").to_owned();
    config.items.retain(|item| *item != signs);
    here.cloudfront.groups().update_group(&here.group, config, Some(&group.tag)).expect("it is written");
    let looked = world.look().await;
    let told = looked["noticed"].to_string();
    assert!(told.contains("evil") && told.contains("a key was missing, and is back"), "{looked}");
    assert!(here.items().contains(&signs) && here.items().contains(&evil));
    assert!(here.lets_in(&secret.at("AWSCURRENT").await).await);

    // Signed URLs name the id that stands in the secret.
    let mut edited = secret.at("AWSCURRENT").await;
    edited["current"]["keyPairId"] = evil.into();
    secret.put(&edited).await;
    let diagnose = json!({"Step": "diagnose", "SecretId": secret.arn});
    let found = world.lab.invoke(&diagnose).await.result().expect("a diagnosis");
    assert!(found.to_string().contains("another id at CloudFront"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_double_answers_as_moto_does() {
    let cloudfront = CloudFront::default();
    let api = Https::without_tls(cloudfront.router(), Disturb::new()).expect("CloudFront is served");
    let world = World::start().await;
    let answers = cloudfront_py("sequence", &json!({"endpoints": [api.url(), world.moto.url()]})).await;
    let (ours, moto) = (&answers[0], &answers[1]);
    let mut different: Vec<_> =
        ours.as_object().expect("answers").keys().filter(|name| ours[*name] != moto[*name]).collect();
    different.sort();
    // moto has no UpdateKeyGroup, and deletes a key that is in a group.
    let known = ["delete key in use", "list keys again", "update group", "update group late"];
    assert_eq!(different, known, "{ours:#}\n{moto:#}");
    let ended = |name: &str| (ours[name]["status"].clone(), ours[name]["error"].clone());
    assert_eq!(ended("delete key in use"), (json!(409), json!("PublicKeyInUse")));
    assert_eq!(ended("update group"), (json!(200), Value::Null));
    assert_eq!(ended("update group late"), (json!(412), json!("PreconditionFailed")));
}
