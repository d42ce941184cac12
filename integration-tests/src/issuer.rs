//! A lab with the real function for API keys, and an issuer's API over TLS: a double of a known one, or the lab's own.

use crate::{OVERTIME, merged, uuid};
use axum::Router;
use lab::Lab;
use lab::disturb::Disturb;
use lab::issuer::{Https, Issuer, Options};
use lab::lambda::StepError;
use lab::stack::{Builder, RotationReport};
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::NamedTempFile;
use tokio::sync::OnceCell;

/// The release binary, built once per test process.
pub async fn function() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    let build = || async { lab::build::release_binary("lockstep-api-key").await.expect("the function builds") };
    BINARY.get_or_init(build).await.clone()
}

/// A lab and an issuer, for one test.
pub struct World {
    // Dropped in this order: first who calls the issuer, then the issuer.
    /// The local AWS with the function.
    pub lab: Lab,
    /// The issuer's server.
    pub https: Https,
    issuer: String,
    admin: String,
    /// The function reads it each time that it starts.
    _description: Option<NamedTempFile>,
}

/// The description of the lab's own issuer, which people are told to copy.
pub fn lab_description() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/issuers/lab.yaml");
    fs::read_to_string(path).expect("the description is there")
}

impl World {
    /// The function with the lab's own issuer, whose keys are described as they are to people.
    pub async fn lab(options: Options) -> (Self, Issuer) {
        Self::lab_with(options, &lab_description(), |function| function).await
    }

    /// The same with another description, and more settings of the function.
    pub async fn lab_with(
        options: Options,
        description: &str,
        settings: impl FnOnce(Builder) -> Builder,
    ) -> (Self, Issuer) {
        let issuer = Issuer::new(options);
        let admin = json!({"token": issuer.admin_token()});
        let world = Self::described(description, issuer.router(), admin, settings).await;
        (world, issuer)
    }

    /// The function with a description of its own, which has to be of the issuer `lab`.
    pub async fn described(
        description: &str,
        router: Router,
        admin: Value,
        settings: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let file = NamedTempFile::new().expect("a file");
        fs::write(file.path(), description).expect("the description is written");
        let source = format!("file:{}", file.path().display());
        let world = Self::with("lab", router, admin, |function| settings(function.env("ISSUERS", source))).await;
        Self { _description: Some(file), ..world }
    }

    /// The function with a description of this name, whose requests go to `router`, and an admin secret with these fields.
    pub async fn start(issuer: &str, router: Router, admin: Value) -> Self {
        Self::with(issuer, router, admin, |function| function).await
    }

    /// The same, and more settings of the function.
    pub async fn with(issuer: &str, router: Router, admin: Value, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let disturb = Disturb::new();
        let https = Https::start(router, disturb.clone()).expect("the issuer is served");
        let function = Lab::builder(function().await)
            .overtime(OVERTIME)
            .disturb(disturb)
            // Issuers take their time, and tests wait for them.
            .timeout(Duration::from_secs(60))
            .env("CA_BUNDLE", https.ca_pem())
            .env("ISSUER_ENDPOINT_URL", https.url());
        let lab = settings(function).start().await.expect("the lab starts");
        let admin = lab.create_secret("test/admin", &admin.to_string()).await.expect("the admin's secret is created");
        Self { lab, https, issuer: issuer.to_owned(), admin, _description: None }
    }

    /// The ARN of the admin secret.
    pub fn admin(&self) -> &str {
        &self.admin
    }

    /// What is in every secret here: the issuer, and where the admin secret is.
    pub fn document(&self, fields: Value) -> Value {
        let rotation = merged(json!({"adminSecretArn": self.admin}), fields["rotation"].clone());
        let all = merged(json!({"issuer": self.issuer}), fields);
        merged(all, json!({"rotation": rotation}))
    }

    /// A secret with these fields beside the issuer and the admin's ARN.
    pub async fn secret(&self, fields: Value) -> Secret<'_> {
        self.secret_text(&self.document(fields).to_string()).await
    }

    /// A secret with this text.
    pub async fn secret_text(&self, text: &str) -> Secret<'_> {
        let arn = self.lab.create_secret(&format!("test/{}", uuid()), text).await.expect("the secret is created");
        Secret { world: self, arn }
    }
}

/// A secret in a world.
#[derive(Clone)]
pub struct Secret<'a> {
    world: &'a World,
    /// Its ARN.
    pub arn: String,
}

impl Secret<'_> {
    /// Waits until no rotation is under way.
    pub async fn settled(&self) {
        self.world.lab.service().wait_rotation(&self.arn).await;
    }

    /// The document of the version with this label.
    pub async fn at(&self, label: &str) -> Value {
        let text = self.world.lab.secret_value(&self.arn, label).await.expect("the version has a value");
        serde_json::from_str(&text).expect("the value is JSON")
    }

    /// A text of the version with this label.
    pub async fn field(&self, label: &str, field: &str) -> String {
        self.at(label).await[field].as_str().expect(field).to_owned()
    }

    /// The version that has a label.
    pub async fn version(&self, label: &str) -> String {
        let labels = self.labels().await;
        let versions = labels.as_object().expect("labels by version").iter();
        let mut holders = versions.filter(|(_, held)| held.as_array().is_some_and(|held| held.contains(&json!(label))));
        holders.next().expect(label).0.clone()
    }

    /// Replaces the current value, as a person would by hand.
    pub async fn put(&self, value: &Value) {
        let request = json!({"SecretId": self.arn, "SecretString": value.to_string()});
        self.world.lab.call("PutSecretValue", request).await.expect("the value is stored");
    }

    /// The labels of each version.
    pub async fn labels(&self) -> Value {
        self.world.lab.labels(&self.arn).await.expect("the secret is there")
    }

    /// A whole rotation, by the service.
    pub async fn rotate(&self) -> RotationReport {
        self.world.lab.rotate(&self.arn).await.expect("the rotation begins")
    }

    /// A whole rotation that has to succeed.
    pub async fn rotated(&self) -> RotationReport {
        let report = self.rotate().await;
        assert!(report.rotated(), "{:?}", report.error());
        report
    }

    /// A whole rotation that has to fail, with the code of its failure.
    pub async fn refused(&self) -> StepError {
        let report = self.rotate().await;
        assert!(!report.rotated(), "the rotation succeeded");
        report.error().expect("a step failed")
    }

    /// Registers a version as RotateSecret does, pending and without a value, and carries out nothing. Returns its token.
    pub async fn registered(&self) -> String {
        // A rotation with a function that does not exist leaves just that behind.
        let token = uuid();
        let end = self.world.lab.rotation_end(&token);
        let nobody = self.world.lab.function_arn().replace(":function:", ":function:nobody-");
        let request = json!({"SecretId": self.arn, "ClientRequestToken": token, "RotationLambdaARN": nobody});
        self.world.lab.call("RotateSecret", request).await.expect("the rotation is registered");
        end.await;
        token
    }

    /// Invokes steps that have to succeed, for a token.
    pub async fn steps(&self, steps: &[&str], token: &str) {
        for step in steps {
            self.step(step, token).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
    }

    /// Invokes one step of the function for a token.
    pub async fn step(&self, step: &str, token: &str) -> Result<Value, StepError> {
        self.world.lab.invoke_step(step, &self.arn, token).await.result()
    }
}
