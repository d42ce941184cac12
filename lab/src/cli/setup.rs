//! What every rotation needs: a function, a lab, and a secret with a credential.

use super::client::Client;
use super::screen::Screen;
use super::stop::Stop;
use super::target::Function;
use crate::Lab;
use crate::build::{self, Profile, ready_binary};
use crate::endpoint::{Bound, Endpoint};
use serde::Serialize;
use serde_json::{Value, json};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Everything that was set up. Dropping it ends all of it.
pub(super) struct Bench<O> {
    // Dropped in this order: first the users of the database or issuer, then that itself.
    pub(super) lab: Lab,
    pub(super) client: Client,
    pub(super) opened: Arc<O>,
    /// The secret that the command rotates.
    pub(super) secret: &'static str,
}

impl<O> Bench<O> {
    pub(super) fn new(screen: &Screen, lab: Lab, opened: O, secret: &'static str) -> Self {
        let client = client(screen, &lab);
        Self { lab, client, opened: Arc::new(opened), secret }
    }
}

/// Creates a secret and returns its ARN.
pub(super) async fn create_secret(client: &Client, name: &str, value: &impl Serialize) -> Result<String, Stop> {
    let text = serde_json::to_string(value).unwrap_or_default();
    let request = json!({ "Name": name, "SecretString": text });
    let created = client.call("CreateSecret", request).await.map_err(setup)?;
    Ok(created.get("ARN").and_then(Value::as_str).unwrap_or_default().to_owned())
}

/// A client of a lab that was just started, which the screen is told.
pub(super) fn client(screen: &Screen, lab: &Lab) -> Client {
    screen.fact("aws", &format!("{}: Secrets Manager and Lambda", lab.url()));
    Client::new(lab.url())
}

/// Binds AWS's port: `port`, or a free one for 0. This comes first, because a taken port is known at once.
pub(super) async fn bind(port: u16) -> Result<Bound, Stop> {
    Endpoint::bind(port).await.map_err(|error| cannot_listen(&error, port))
}

/// The function's binary: the person's own, a ready one, or the package's, which is built.
pub(super) async fn function(screen: &Screen, package: &str, which: &Function) -> Result<PathBuf, Stop> {
    let profile = match which {
        Function::Own(path) => return own(screen, path),
        Function::Built(profile) => *profile,
    };
    let ready = ready_binary(package).map_err(setup)?;
    let how = match (&ready, profile) {
        (Some(path), _) => format!("taken from {}", path.parent().unwrap_or(path).display()),
        (None, Profile::Dev) => "unoptimised (--release: as it is deployed)".to_owned(),
        (None, Profile::Release) => "as it is deployed".to_owned(),
    };
    screen.fact("build", &format!("{package}, {how}"));
    if ready.is_none() && profile == Profile::Dev {
        return build::binary(package, profile).await.map_err(setup);
    }
    let binary = build::binary(package, profile).await.map_err(setup)?;
    let bytes = binary.metadata().map(|metadata| metadata.len()).unwrap_or_default();
    screen.fact("function", &format!("{package}, {}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000));
    Ok(binary)
}

fn own(screen: &Screen, path: &Path) -> Result<PathBuf, Stop> {
    let path = path.canonicalize().map_err(|error| Stop::Setup(format!("--function {}: {error}", path.display())))?;
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
