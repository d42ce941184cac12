//! What a version of a secret was when it was last read.

use crate::label::Label;
use crate::value::{Fields, SecretText, ValueError};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use tokio::time::Instant;

/// A version of a secret, as it was last read. Cheap to clone, and it stays as it is: a rotation makes a new one.
#[derive(Clone)]
pub struct Snapshot(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    pub(crate) body: Arc<Body>,
    pub(crate) label: Label,
    /// When the source last confirmed it.
    pub(crate) confirmed: Instant,
}

/// A version. There is one for all snapshots of it, as the value of a version never changes.
pub(crate) struct Body {
    pub(crate) secret: Arc<str>,
    pub(crate) version_id: String,
    text: SecretText,
    fields: Option<Fields>,
    /// When the version was made, if the source tells.
    created: Option<SystemTime>,
    first_seen: Instant,
    used: AtomicBool,
}

impl Snapshot {
    pub(crate) fn new(body: Arc<Body>, label: Label, confirmed: Instant) -> Self {
        Self(Arc::new(Inner { body, label, confirmed }))
    }

    /// The id of the version: for Secrets Manager its `VersionId`. It is no secret.
    #[must_use]
    pub fn version_id(&self) -> &str {
        &self.0.body.version_id
    }

    /// The label under which the version was read. In the gap of a single user's rotation, this is
    /// [`Pending`](Label::Pending) if that version is the one that works.
    #[must_use]
    pub fn label(&self) -> Label {
        self.0.label
    }

    /// How long ago the source last confirmed that the version has the label.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.0.confirmed.elapsed()
    }

    /// The whole value.
    #[must_use]
    pub fn text(&self) -> &SecretText {
        &self.0.body.text
    }

    /// A text, number or boolean at the top of a JSON value. Numbers are as Rust writes them.
    ///
    /// # Errors
    /// The value is not a JSON object, or there is neither a text, a number nor a boolean under this key.
    pub fn field(&self, key: &str) -> Result<&str, ValueError> {
        let body = &*self.0.body;
        let (secret, version_id) = (|| body.secret.to_string(), || body.version_id.clone());
        let Some(fields) = &body.fields else {
            return Err(ValueError::NotAnObject { secret: secret(), version_id: version_id() });
        };
        fields.get(key).ok_or_else(|| ValueError::MissingKey {
            secret: secret(),
            version_id: version_id(),
            key: key.to_owned(),
        })
    }

    /// The user: the field `username`, as AWS's format has it.
    ///
    /// # Errors
    /// As for [`field`](Self::field).
    pub fn username(&self) -> Result<&str, ValueError> {
        self.field("username")
    }

    /// The password: the field `password`, as AWS's format has it.
    ///
    /// # Errors
    /// As for [`field`](Self::field).
    pub fn password(&self) -> Result<&str, ValueError> {
        self.field("password")
    }

    #[cfg(feature = "http")]
    pub(crate) fn not_a_header(&self, key: &str) -> ValueError {
        let (secret, version_id) = (self.0.body.secret.to_string(), self.0.body.version_id.clone());
        ValueError::NotAHeader { secret, version_id, key: key.to_owned() }
    }

    /// The host. Drivers take one that begins with a slash for the directory of a socket.
    #[cfg(any(feature = "tokio-postgres", feature = "mysql-async", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    pub(crate) fn host(&self) -> Result<&str, ValueError> {
        let host = self.field("host")?;
        if host.starts_with(['/', '@']) {
            let (secret, version_id) = (self.0.body.secret.to_string(), self.0.body.version_id.clone());
            return Err(ValueError::NotAHost { secret, version_id });
        }
        Ok(host)
    }

    /// The port, if there is one.
    #[cfg(any(feature = "tokio-postgres", feature = "mysql-async", feature = "sqlx-postgres", feature = "sqlx-mysql"))]
    pub(crate) fn port(&self) -> Option<u16> {
        self.field("port").ok()?.parse().ok()
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot")
            .field("secret", &self.0.body.secret)
            .field("version_id", &self.version_id())
            .field("label", &self.label())
            .field("age", &self.age())
            .finish_non_exhaustive()
    }
}

impl Body {
    pub(crate) fn new(secret: Arc<str>, version_id: String, text: SecretText, created: Option<SystemTime>) -> Self {
        let fields = Fields::of(&text);
        let first_seen = Instant::now();
        Self { secret, version_id, text, fields, created, first_seen, used: AtomicBool::new(false) }
    }

    /// Whether a login with it was ever accepted.
    pub(crate) fn is_used(&self) -> bool {
        self.used.load(Ordering::Relaxed)
    }

    /// Notes a use. At the first one: how long the version had existed until then.
    ///
    /// The wall clock gives the time if the source tells when the version was made. If the clock was set back meanwhile, the time
    /// since the version was first seen stands in, so that a clock that jumps cannot make a latency negative.
    pub(crate) fn used(&self) -> Option<Duration> {
        if self.used.load(Ordering::Relaxed) || self.used.swap(true, Ordering::Relaxed) {
            return None;
        }
        let since_made = self.created.and_then(|created| SystemTime::now().duration_since(created).ok());
        Some(since_made.unwrap_or_else(|| self.first_seen.elapsed()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(text: &str, created: Option<SystemTime>) -> Snapshot {
        let body = Body::new("app".into(), "v1".to_owned(), text.to_owned().into(), created);
        Snapshot::new(Arc::new(body), Label::Current, Instant::now())
    }

    #[test]
    fn debug_shows_no_value() {
        let snapshot = snapshot(r#"{"username": "app", "password": "hunter2"}"#, None);
        let text = format!("{snapshot:?}");
        assert!(text.contains("v1") && !text.contains("hunter2"), "{text}");
    }

    #[test]
    fn an_error_names_the_secret_the_version_and_the_key_but_no_value() {
        let text = snapshot(r#"{"user": "hunter2"}"#, None).password().unwrap_err().to_string();
        assert_eq!(text, r#"version v1 of the secret app has no text or number under the key "password""#);
        let text = snapshot("hunter2", None).password().unwrap_err().to_string();
        assert_eq!(text, "version v1 of the secret app is not a JSON object");
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_make_a_latency_negative() {
        let hour = Duration::from_secs(3600);
        let of = |created| snapshot("{}", Some(created)).0.body.used().unwrap();
        assert!(of(SystemTime::now() + hour) < hour);
        let old = of(SystemTime::now() - hour);
        assert!(old >= hour && old < hour + hour, "{old:?}");
    }

    #[test]
    fn only_the_first_use_counts() {
        let snapshot = snapshot("{}", None);
        assert!(snapshot.0.body.used().is_some() && snapshot.0.body.used().is_none());
    }
}
