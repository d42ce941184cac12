//! Builds the function as it is deployed: the release binary.

use super::Stop;
use super::screen::Screen;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

const PACKAGE: &str = "lockstep-postgres";

/// Builds the PostgreSQL function, with cargo's own progress on stderr, and returns its path.
pub(super) async fn build(screen: &Screen) -> Result<PathBuf, Stop> {
    screen.fact("build", &format!("{PACKAGE}, release profile"));
    // Set by cargo, under which this command runs; by hand, the one on the path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--release", "--package", PACKAGE, "--message-format", "json-render-diagnostics"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .map_err(|error| Stop::Setup(format!("cargo could not be started: {error}")))?
        .wait_with_output()
        .await
        .map_err(|error| Stop::Setup(format!("cargo could not be waited for: {error}")))?;
    if !output.status.success() {
        return Err(Stop::Setup(format!("{PACKAGE} does not build; cargo says why above")));
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    let executable = messages.lines().find_map(executable);
    executable.ok_or_else(|| Stop::Setup(format!("cargo built {PACKAGE} but named no executable")))
}

/// The path in cargo's message about the finished binary.
fn executable(message: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message.get("target")?.get("name")? == PACKAGE;
    ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
}
