//! A secret in the lab's Secrets Manager.

use crate::{Server, uuid};
use lab::Lab;
use lab::lambda::StepError;
use lab::secretsmanager::RotationOutcome;
use lab::servers::postgres::Postgres;
use lab::stack::RotationReport;
use serde_json::{Value, json};

/// A secret, and the server that its credential is for.
pub struct Secret<'a, S = Postgres> {
    pub(crate) lab: &'a Lab,
    server: &'a S,
    /// Its ARN.
    pub arn: String,
}

impl<S> Clone for Secret<'_, S> {
    fn clone(&self) -> Self {
        Self { arn: self.arn.clone(), ..*self }
    }
}

impl<'a, S> Secret<'a, S> {
    pub(crate) fn new(lab: &'a Lab, server: &'a S, arn: String) -> Self {
        Self { lab, server, arn }
    }

    /// The lab that it is in.
    pub fn lab(&self) -> &'a Lab {
        self.lab
    }

    /// The document of the version with this label.
    pub async fn at(&self, label: &str) -> Value {
        let text = self.lab.secret_value(&self.arn, label).await.expect("the version has a value");
        serde_json::from_str(&text).expect("the value is JSON")
    }

    /// A text of the version with this label.
    pub async fn field(&self, label: &str, field: &str) -> String {
        self.at(label).await[field].as_str().expect(field).to_owned()
    }

    /// The labels of each version.
    pub async fn labels(&self) -> Value {
        self.lab.labels(&self.arn).await.expect("the secret is there")
    }

    /// The versions that have this label.
    pub async fn holders(&self, label: &str) -> Vec<String> {
        let labels = self.labels().await;
        let versions = labels.as_object().expect("labels by version").iter();
        let held = versions.filter(|(_, held)| held.as_array().is_some_and(|held| held.contains(&json!(label))));
        held.map(|(version, _)| version.clone()).collect()
    }

    /// The only version that has this label.
    pub async fn version(&self, label: &str) -> String {
        let [version] = self.holders(label).await.try_into().unwrap_or_else(|all| panic!("{label} once: {all:?}"));
        version
    }

    /// Replaces the current value, as a person would by hand.
    pub async fn put(&self, value: &Value) {
        let request = json!({"SecretId": self.arn, "SecretString": value.to_string()});
        self.lab.call("PutSecretValue", request).await.expect("the value is stored");
    }

    /// Waits until no rotation is under way.
    pub async fn settled(&self) {
        self.lab.service().wait_rotation(&self.arn).await;
    }

    /// Gives the secret the lab's function and this schedule without rotating it, and says how the test of the configuration
    /// ended.
    pub async fn attached_on(&self, rules: Value) -> RotationOutcome {
        let token = uuid();
        let end = self.lab.rotation_end(&token);
        let request = json!({"SecretId": self.arn, "ClientRequestToken": token, "RotateImmediately": false,
            "RotationLambdaARN": self.lab.function_arn(), "RotationRules": rules});
        self.lab.call("RotateSecret", request).await.expect("the function is attached");
        end.await
    }

    /// The same on a schedule of 30 days.
    pub async fn attached(&self) -> RotationOutcome {
        self.attached_on(json!({"AutomaticallyAfterDays": 30})).await
    }

    /// A whole rotation, by the service.
    pub async fn rotate(&self) -> RotationReport {
        self.lab.rotate(&self.arn).await.expect("the rotation begins")
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
        // A rotation with a function that cannot be started leaves just that behind. Then the function is gone.
        let token = uuid();
        let end = self.lab.rotation_end(&token);
        let nobody = self.lab.deploy(Lab::builder("/nonexistent/bootstrap").name(&format!("nobody-{token}")));
        let request = json!({"SecretId": self.arn, "ClientRequestToken": token, "RotationLambdaARN": nobody});
        self.lab.call("RotateSecret", request).await.expect("the rotation is registered");
        end.await;
        self.lab.host().delete(&nobody);
        token
    }

    /// Invokes one step of the function for a token.
    pub async fn step(&self, step: &str, token: &str) -> Result<Value, StepError> {
        self.lab.invoke_step(step, &self.arn, token).await.result()
    }

    /// Invokes steps that have to succeed, for a token.
    pub async fn steps(&self, steps: &[&str], token: &str) {
        for step in steps {
            self.step(step, token).await.unwrap_or_else(|error| panic!("{step}: {error:?}"));
        }
    }
}

impl<S: Server> Secret<'_, S> {
    /// User and password of the version with this label.
    pub async fn credential(&self, label: &str) -> (String, String) {
        let document = self.at(label).await;
        let field = |name: &str| document[name].as_str().expect(name).to_owned();
        (field("username"), field("password"))
    }

    /// Whether the credential with this label opens the server.
    pub async fn opens(&self, label: &str) -> bool {
        let (user, password) = self.credential(label).await;
        self.server.opens(&user, &password).await
    }

    /// Fails unless this version is current, no other one is pending, and its credential opens the server.
    pub async fn arrived(&self, token: &str) {
        let labels = self.labels().await;
        assert_eq!(self.holders("AWSCURRENT").await, [token], "{labels}");
        assert!(self.holders("AWSPENDING").await.iter().all(|version| version == token), "{labels}");
        assert!(self.opens("AWSCURRENT").await, "the current credential is refused");
    }
}
