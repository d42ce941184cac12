//! The source and the server.

use lockstep_secret::source::Fetched;
use lockstep_secret::{Builder, Cause, ConnectError, Label, RotatingSecret, Snapshot, Source};
use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::sleep;

/// What a call to the source takes.
pub(crate) const CALL: Duration = Duration::from_millis(10);

/// A source that a test can change. A version's id is its password, so that tests are short.
#[derive(Clone, Default)]
pub(crate) struct Store(Arc<Mutex<Contents>>);

#[derive(Default)]
struct Contents {
    labels: HashMap<Label, String>,
    value: Option<String>,
    cause: Option<Cause>,
    causes: HashMap<Label, Cause>,
    panics: bool,
    makes_versions: bool,
    fetches: Vec<(Label, bool)>,
}

impl Store {
    pub(crate) fn with_current(version: &str) -> Self {
        let store = Self::default();
        store.label(Label::Current, Some(version));
        store
    }

    /// Moves a label.
    pub(crate) fn label(&self, label: Label, version: Option<&str>) {
        let labels = &mut self.0.lock().unwrap().labels;
        match version {
            Some(version) => labels.insert(label, version.to_owned()),
            None => labels.remove(&label),
        };
    }

    /// A rotation's createSecret.
    pub(crate) fn create(&self, version: &str) {
        self.label(Label::Pending, Some(version));
    }

    /// A rotation's finishSecret.
    pub(crate) fn finish(&self) {
        let labels = &mut self.0.lock().unwrap().labels;
        let pending = labels.remove(&Label::Pending).unwrap();
        let current = labels.insert(Label::Current, pending).unwrap();
        labels.insert(Label::Previous, current);
    }

    /// Stores this instead of a user and a password.
    pub(crate) fn value(&self, value: &str) {
        self.0.lock().unwrap().value = Some(value.to_owned());
    }

    /// Has every call fail, or no more.
    pub(crate) fn fail(&self, cause: Option<Cause>) {
        self.0.lock().unwrap().cause = cause;
    }

    /// Has every call for this label fail.
    pub(crate) fn fail_for(&self, label: Label, cause: Cause) {
        self.0.lock().unwrap().causes.insert(label, cause);
    }

    /// Gives a new version at each read, as IAM does.
    pub(crate) fn make_versions(&self) {
        self.0.lock().unwrap().makes_versions = true;
    }

    pub(crate) fn panic(&self, panics: bool) {
        self.0.lock().unwrap().panics = panics;
    }

    pub(crate) fn fetches(&self) -> usize {
        self.0.lock().unwrap().fetches.len()
    }

    pub(crate) fn forced(&self) -> Vec<Label> {
        self.0.lock().unwrap().fetches.iter().filter(|(_, forced)| *forced).map(|(label, _)| *label).collect()
    }

    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn secret(&self) -> Builder {
        RotatingSecret::builder(self.clone())
    }

    pub(crate) async fn start(&self) -> RotatingSecret {
        self.secret().start().await.expect("the secret is read")
    }
}

#[async_trait::async_trait]
impl Source for Store {
    fn name(&self) -> String {
        "app".to_owned()
    }

    fn origin(&self) -> &'static str {
        "the test"
    }

    fn makes_versions(&self) -> bool {
        self.0.lock().unwrap().makes_versions
    }

    async fn fetch(&self, label: Label, forced: bool) -> Result<Option<Fetched>, Cause> {
        sleep(CALL).await;
        let panics = {
            let mut contents = self.0.lock().unwrap();
            contents.fetches.push((label, forced));
            std::mem::take(&mut contents.panics)
        };
        assert!(!panics, "the source panics on purpose");
        let contents = self.0.lock().unwrap();
        if let Some(cause) = contents.cause.or(contents.causes.get(&label).copied()) {
            return Err(cause);
        }
        let made = contents.makes_versions.then(|| format!("token-{}", contents.fetches.len()));
        Ok(contents.labels.get(&label).map(|version| {
            let version = made.as_ref().unwrap_or(version);
            let value = contents.value.clone();
            let value = value.unwrap_or_else(|| format!(r#"{{"username": "app", "password": "{version}"}}"#));
            Fetched { version_id: version.clone(), value: value.into(), created: None }
        }))
    }
}

/// A server that accepts some passwords, and notes every login.
#[derive(Clone, Default)]
pub(crate) struct Server(Arc<Mutex<Door>>);

#[derive(Default)]
struct Door {
    accepts: Vec<String>,
    down: bool,
    logins: Vec<String>,
}

/// Why a login failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum LoginError {
    Refused,
    Unreachable,
}

impl Server {
    pub(crate) fn accepting(passwords: &[&str]) -> Self {
        let server = Self::default();
        server.accept(passwords);
        server
    }

    /// Accepts these passwords and no other.
    pub(crate) fn accept(&self, passwords: &[&str]) {
        self.0.lock().unwrap().accepts = passwords.iter().map(|&password| password.to_owned()).collect();
    }

    pub(crate) fn down(&self, down: bool) {
        self.0.lock().unwrap().down = down;
    }

    /// The passwords of all logins so far.
    pub(crate) fn logins(&self) -> Vec<String> {
        self.0.lock().unwrap().logins.clone()
    }

    async fn log_in(&self, snapshot: Snapshot) -> Result<String, LoginError> {
        sleep(Duration::from_millis(5)).await;
        let mut door = self.0.lock().unwrap();
        let password = snapshot.password().expect("there is a password").to_owned();
        door.logins.push(password.clone());
        match door.down {
            true => Err(LoginError::Unreachable),
            false if door.accepts.contains(&password) => Ok(password),
            false => Err(LoginError::Refused),
        }
    }

    /// Connects, and returns the password that was accepted.
    pub(crate) async fn connect(&self, secret: &RotatingSecret) -> Result<String, ConnectError<LoginError>> {
        secret.connect_with(|snapshot| self.log_in(snapshot), |error| *error == LoginError::Refused).await
    }

    pub(crate) async fn opens(&self, secret: &RotatingSecret) -> String {
        self.connect(secret).await.expect("it connects")
    }
}
