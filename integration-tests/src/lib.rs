//! What the tests share: a lab with the real function, a real PostgreSQL behind a relay, and secrets for its users.

use lab::Lab;
use lab::lambda::StepError;
use lab::relay::Relay;
use lab::servers::Password;
use lab::servers::postgres::{Options, Postgres, Version};
use lab::stack::{Builder, RotationReport};
use serde_json::{Value, json};
use std::path::PathBuf;
use tokio::sync::OnceCell;

/// The four steps, in order.
pub const STEPS: [&str; 4] = ["createSecret", "setSecret", "testSecret", "finishSecret"];

/// The release binary of the PostgreSQL function, built once per test process.
pub async fn function() -> PathBuf {
    static BINARY: OnceCell<PathBuf> = OnceCell::const_new();
    BINARY
        .get_or_init(async || lab::build::release_binary("lockstep-postgres").await.expect("the function builds"))
        .await
        .clone()
}

/// A lab and a database, for one test.
pub struct World {
    // Dropped in this order: first who uses the database, then the database.
    /// The local AWS with the function.
    pub lab: Lab,
    /// What stands between the function and the database: counts, and disturbs.
    pub relay: Relay,
    /// The database itself.
    pub postgres: Postgres,
}

impl World {
    /// PostgreSQL 15, TLS, scram-sha-256.
    pub async fn start() -> Self {
        Self::with(Options::default(), |function| function).await
    }

    /// The same on this version.
    pub async fn on(version: Version) -> Self {
        Self::with(Options::default().version(version), |function| function).await
    }

    /// A server with options, and a function with more settings than the CA to trust.
    pub async fn with(options: Options, function: impl FnOnce(Builder) -> Builder) -> Self {
        let postgres = Postgres::start(options).await.expect("PostgreSQL starts");
        Self::around(postgres, function).await
    }

    /// A lab around a server that runs already.
    pub async fn around(postgres: Postgres, settings: impl FnOnce(Builder) -> Builder) -> Self {
        let builder = Lab::builder(function().await).env("CA_BUNDLE", postgres.ca_pem());
        let lab = settings(builder).start().await.expect("the lab starts");
        let relay = lab.relay(postgres.port()).await.expect("the relay starts");
        Self { lab, relay, postgres }
    }

    /// A user's secret in AWS's format. The port is the relay's.
    pub fn document(&self, user: &str, password: &str) -> Value {
        json!({
            "engine": "postgres",
            "host": "localhost",
            "port": self.relay.port(),
            "username": user,
            "password": password,
            "dbname": "postgres",
        })
    }

    /// A database user with a random password, and its secret.
    pub async fn user(&self, name: &str) -> Secret<'_> {
        self.user_with(name, json!({})).await
    }

    /// The same, with more fields in the secret.
    pub async fn user_with(&self, name: &str, more: Value) -> Secret<'_> {
        let password = Password::random();
        self.postgres.create_user(name, &password).await.expect("the user is created");
        self.secret(merged(self.document(name, password.expose()), more)).await
    }

    /// The superuser's own secret.
    pub async fn superuser(&self) -> Secret<'_> {
        self.secret(self.document(self.postgres.superuser(), self.postgres.superuser_password().expose())).await
    }

    /// A user that alternates with its clone.
    pub async fn alternating_user(&self, name: &str) -> Secret<'_> {
        let superuser = self.superuser().await;
        self.user_with(name, json!({"masterarn": superuser.arn})).await
    }

    /// A secret with this value.
    pub async fn secret(&self, value: Value) -> Secret<'_> {
        self.secret_text(&value.to_string()).await
    }

    /// A secret with this text.
    pub async fn secret_text(&self, text: &str) -> Secret<'_> {
        let name = format!("test/{}", Password::random().expose().replace(|c: char| !c.is_ascii_alphanumeric(), "-"));
        let arn = self.lab.create_secret(&name, text).await.expect("the secret is created");
        Secret { world: self, arn }
    }

    /// The secret with this ARN, for tests that change the world in between.
    pub fn known(&self, arn: &str) -> Secret<'_> {
        Secret { world: self, arn: arn.to_owned() }
    }

    /// Runs SQL as the superuser, past the relay.
    pub async fn sql(&self, sql: &str) {
        self.postgres.connect_superuser().await.expect("the superuser logs in").batch_execute(sql).await.expect(sql);
    }

    /// Asks as the superuser, past the relay: the first column of each row, as text.
    pub async fn ask(&self, sql: &str) -> Vec<String> {
        let client = self.postgres.connect_superuser().await.expect("the superuser logs in");
        let messages = client.simple_query(sql).await.expect(sql);
        let row = |message: &tokio_postgres::SimpleQueryMessage| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        };
        messages.iter().filter_map(row).collect()
    }

    /// Whether this user can log in with this password.
    pub async fn opens(&self, user: &str, password: &str) -> bool {
        self.postgres.can_login(user, &password.into()).await.expect("the server answers")
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
    /// The document of the version with this label.
    pub async fn at(&self, label: &str) -> Value {
        let text = self.world.lab.secret_value(&self.arn, label).await.expect("the version has a value");
        serde_json::from_str(&text).expect("the value is JSON")
    }

    /// User and password of the version with this label.
    pub async fn credential(&self, label: &str) -> (String, String) {
        let document = self.at(label).await;
        let field = |name: &str| document[name].as_str().expect(name).to_owned();
        (field("username"), field("password"))
    }

    /// Whether the credential with this label opens the database.
    pub async fn opens(&self, label: &str) -> bool {
        let (user, password) = self.credential(label).await;
        self.world.opens(&user, &password).await
    }

    /// The labels of each version.
    pub async fn labels(&self) -> Value {
        self.world.lab.labels(&self.arn).await.expect("the secret is there")
    }

    /// Replaces the current value, as a person would by hand.
    pub async fn put(&self, value: &Value) {
        let request = json!({"SecretId": self.arn, "SecretString": value.to_string()});
        self.world.lab.call("PutSecretValue", request).await.expect("the value is stored");
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

    /// Invokes one step of the function for a token.
    pub async fn step(&self, step: &str, token: &str) -> Result<Value, StepError> {
        self.world.lab.invoke_step(step, &self.arn, token).await.result()
    }

    /// Invokes steps that have to succeed.
    pub async fn steps(&self, steps: &[&str], token: &str) {
        for step in steps {
            self.step(step, token).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
    }
}

/// A version id.
pub fn uuid() -> String {
    uuid::Uuid::new_v4().to_string()
}

/// `base` with the fields of `more`; a null takes a field away.
pub fn merged(mut base: Value, more: Value) -> Value {
    if let (Some(fields), Value::Object(more)) = (base.as_object_mut(), more) {
        for (name, value) in more {
            if value.is_null() {
                fields.remove(&name);
            } else {
                fields.insert(name, value);
            }
        }
    }
    base
}
