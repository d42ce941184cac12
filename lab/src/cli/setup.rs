//! What every rotation here stands on: a function, a lab, and a secret that opens something.

use super::Stop;
use super::client::Client;
use super::screen::Screen;
use crate::Lab;
use crate::build::release_binary;
use crate::endpoint::{Bound, Endpoint};
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that was set up. Dropping it ends all of it.
pub(super) struct Bench<O> {
    // Dropped in this order: first who uses what the secret opens, then that.
    pub(super) lab: Lab,
    pub(super) client: Client,
    pub(super) opened: Arc<O>,
    /// The secret that the command rotates.
    pub(super) secret: &'static str,
}

impl<O> Bench<O> {
    pub(super) fn new(screen: &Screen, lab: Lab, opened: O, secret: &'static str) -> Self {
        screen.fact("aws", &format!("{}: Secrets Manager and Lambda", lab.url()));
        let client = Client::new(lab.url());
        Self { lab, client, opened: Arc::new(opened), secret }
    }

    /// Creates a secret and returns its ARN.
    pub(super) async fn create(&self, name: &str, value: &impl Serialize) -> Result<String, Stop> {
        let text = serde_json::to_string(value).unwrap_or_default();
        let request = json!({ "Name": name, "SecretString": text });
        let created = self.client.call("CreateSecret", request).await.map_err(setup)?;
        Ok(created.get("ARN").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

/// Where AWS will be: on `port`, or on any for 0. To be done first, because it fails at once if it fails.
pub(super) async fn bind(port: u16) -> Result<Bound, Stop> {
    Endpoint::bind(port).await.map_err(|error| cannot_listen(&error, port))
}

/// The function's binary: `given`, or the package's own, which is built.
pub(super) async fn function(screen: &Screen, package: &str, given: Option<&Path>) -> Result<PathBuf, Stop> {
    let Some(given) = given else {
        screen.fact("build", &format!("{package}, release profile"));
        let binary = release_binary(package).await.map_err(setup)?;
        let bytes = binary.metadata().map(|metadata| metadata.len()).unwrap_or_default();
        screen.fact("function", &format!("{package}, {}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000));
        return Ok(binary);
    };
    let path = given.canonicalize().map_err(|error| Stop::Setup(format!("--function {}: {error}", given.display())))?;
    screen.fact("function", &path.display().to_string());
    Ok(path)
}

pub(super) fn setup(error: impl std::fmt::Display) -> Stop {
    Stop::Setup(error.to_string())
}

fn cannot_listen(error: &io::Error, port: u16) -> Stop {
    Stop::Setup(match error.kind() {
        io::ErrorKind::AddrInUse => {
            format!("port {port} is taken (by another `cargo lab serve`?); choose another with --port")
        }
        io::ErrorKind::PermissionDenied => format!("port {port} needs privileges; choose one above 1023 with --port"),
        _ => format!("port {port} could not be bound: {error}"),
    })
}
