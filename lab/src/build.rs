//! Builds a function as it is deployed: the release binary.

use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// Builds a package of this workspace, with cargo's own progress on stderr, and returns the path of its binary.
///
/// # Errors
/// What to tell a person: cargo is not there, or the package does not build.
pub async fn release_binary(package: &str) -> io::Result<PathBuf> {
    // Set by cargo, under which this runs; by hand, the one on the path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", package, "--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| io::Error::other(format!("cargo could not be started: {error}")))?
        .wait_with_output()
        .await
        .map_err(|error| io::Error::other(format!("cargo could not be waited for: {error}")))?;
    if !output.status.success() {
        return Err(io::Error::other(format!("{package} does not build; cargo says why above")));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(|message| executable(message, package));
    executable.ok_or_else(|| io::Error::other(format!("cargo built {package} but named no executable")))
}

/// The path in cargo's message about the finished binary.
fn executable(message: &str, package: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message.get("target")?.get("name")? == package;
    ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
}
