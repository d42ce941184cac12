//! A lab with the real function for API keys, and an issuer's API over TLS: a double of a known one, or the lab's own.

use crate::{OVERTIME, merged, uuid};
use axum::Router;
use lab::Lab;
use lab::disturb::Disturb;
use lab::issuer::{Https, Issuer, Options};
use lab::stack::Builder;
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

/// A secret with an API key.
pub type Secret<'a> = crate::Secret<'a, Https>;

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
        let admin = merged(json!({"issuer": issuer}), admin);
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
        Secret::new(&self.lab, &self.https, arn)
    }
}
