//! A lab with the real function for signing keys, and moto's S3 and Systems Manager, which the function reaches through a relay.

use crate::{OVERTIME, merged, uuid};
use lab::Lab;
use lab::disturb::Disturb;
use lab::relay::Relay;
use lab::servers::moto::Moto;
use lab::stack::Builder;
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// The bucket of all tests.
pub const BUCKET: &str = "tokens.example.com";

/// The release binary, built once per test process.
pub async fn function() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || async { lab::build::release_binary("lockstep-signing-key").await.expect("the function builds") };
    BINARY.get_or_init(build).await.clone()
}

/// A lab and what the keys are published in, for one test.
pub struct World {
    // Dropped in this order: first who calls moto, then moto.
    /// The local AWS with the function.
    pub lab: Lab,
    /// Between the function and moto.
    pub relay: Relay,
    /// S3 and Systems Manager.
    pub moto: Moto,
}

/// A secret with signing keys.
pub type Secret<'a> = crate::Secret<'a, Moto>;

impl World {
    /// Starts everything, with an empty bucket.
    pub async fn start() -> Self {
        Self::with(|function| function).await
    }

    /// The same, with more settings of the function.
    pub async fn with(settings: impl FnOnce(Builder) -> Builder) -> Self {
        let moto = Moto::start().await.expect("moto starts");
        let disturb = Disturb::new();
        let relay = Relay::start(moto.port(), disturb.clone()).await.expect("a port");
        let mut function = Lab::builder(function().await).overtime(OVERTIME).disturb(disturb);
        for (name, url) in Moto::environment_behind(relay.port()) {
            function = function.env(name, url);
        }
        let world = Self { lab: settings(function).start().await.expect("the lab starts"), relay, moto };
        // Everybody may read what is published, as behind a web server, and the tests write what others would.
        let policy = json!({"Version": "2012-10-17", "Statement": [{
            "Effect": "Allow", "Principal": "*", "Action": "s3:*", "Resource": format!("arn:aws:s3:::{BUCKET}/*"),
        }]});
        for (query, body) in [("", String::new()), ("?policy", policy.to_string())] {
            let put = reqwest::Client::new().put(format!("{}/{BUCKET}{query}", world.moto.url())).body(body);
            put.send().await.expect("moto answers").error_for_status().expect("the bucket is made");
        }
        // moto loads a service at its first call, for which the function would not wait on a machine with other work to do.
        world.ssm("DescribeParameters", json!({})).await;
        world
    }

    /// A secret without keys that publishes in these places, with more fields.
    pub async fn secret(&self, places: &[&str], fields: Value) -> Secret<'_> {
        let value = json!({
            "algorithm": "ES256", "maxTokenLifetime": 3600, "maxCache": 600, "rotation": {"publish": places},
        });
        let value = merged(value, fields);
        let arn = self.lab.create_secret(&format!("test/{}", uuid()), &value.to_string()).await;
        self.secret_of(arn.expect("the secret is created"))
    }

    /// The secret with this ARN.
    pub fn secret_of(&self, arn: String) -> Secret<'_> {
        Secret::new(&self.lab, &self.moto, arn)
    }

    /// The URL at which verifiers find an object.
    pub fn url(&self, key: &str) -> String {
        format!("{}/{BUCKET}/{key}", self.moto.url())
    }

    /// The object of this key as verifiers get it: the value of `Cache-Control`, and the JSON.
    pub async fn object(&self, key: &str) -> (String, Value) {
        let answer = reqwest::get(self.url(key)).await.expect("moto answers").error_for_status().expect("it is there");
        let cached = answer.headers()["cache-control"].to_str().expect("text").to_owned();
        (cached, answer.json().await.expect("JSON"))
    }

    /// Writes an object, as somebody else would.
    pub async fn write(&self, key: &str, value: &Value) {
        let put = reqwest::Client::new().put(self.url(key)).body(value.to_string());
        put.send().await.expect("moto answers").error_for_status().expect("it is written");
    }

    /// Deletes an object.
    pub async fn delete(&self, key: &str) {
        let delete = reqwest::Client::new().delete(self.url(key));
        delete.send().await.expect("moto answers").error_for_status().expect("it is deleted");
    }

    /// Calls Systems Manager.
    pub async fn ssm(&self, operation: &str, request: Value) -> Value {
        self.call("ssm", &format!("AmazonSSM.{operation}"), request).await
    }

    /// Calls KMS.
    pub async fn kms(&self, operation: &str, request: Value) -> Value {
        self.call("kms", &format!("TrentService.{operation}"), request).await
    }

    async fn call(&self, service: &str, target: &str, request: Value) -> Value {
        let call = reqwest::Client::new().post(self.moto.url()).header("x-amz-target", target);
        // moto tells services apart by the scope of a signature, and checks none.
        let signed = format!(
            "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let call = call
            .header("authorization", signed)
            .header("content-type", "application/x-amz-json-1.1")
            .body(request.to_string());
        let answer = call.send().await.expect("moto answers").error_for_status().expect("moto does it");
        // Some operations answer nothing.
        serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default()
    }

    /// The set in a parameter.
    pub async fn parameter(&self, name: &str) -> Value {
        let answer = self.ssm("GetParameter", json!({"Name": name})).await;
        serde_json::from_str(answer["Parameter"]["Value"].as_str().expect("a value")).expect("JSON")
    }

    /// The daily look.
    pub async fn look(&self) -> Value {
        self.lab.invoke(&json!({"Step": "watch"})).await.result().expect("the function looks")
    }
}

/// The ids in a set, sorted.
pub fn ids(set: &Value) -> Vec<String> {
    let keys = set["keys"].as_array().expect("keys").iter();
    let mut ids: Vec<_> = keys.map(|key| key["kid"].as_str().expect("kid").to_owned()).collect();
    ids.sort();
    ids
}

/// The id of the key that a version has under this name.
pub fn id(version: &Value, name: &str) -> String {
    version[name]["kid"].as_str().expect(name).to_owned()
}
