//! Builds the functions, or takes ones that were built already.

use serde_json::Value;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;

/// The directory with the functions to take instead of building them, each under its package's name.
const READY: &str = "LOCKSTEP_FUNCTIONS";

/// How a function is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    /// Unoptimised, from the same compiled dependencies as the lab and the tests: a matter of seconds once the lab is built.
    Dev,
    /// Optimised, as it is deployed: a matter of minutes.
    Release,
}

impl Profile {
    // Without `--package`, cargo chooses the dependencies' features for the whole workspace, so all functions share them.
    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &["--features", "lab/as-in-tests"],
            Self::Release => &["--release"],
        }
    }
}

/// The function's binary as it is deployed; see [`binary`].
///
/// # Errors
/// As for [`binary`].
pub async fn release_binary(package: &str) -> io::Result<PathBuf> {
    binary(package, Profile::Release).await
}

/// The binary of that name in the directory `LOCKSTEP_FUNCTIONS`, if that is set.
///
/// # Errors
/// What to tell a person: the directory has no such file.
pub fn ready_binary(package: &str) -> io::Result<Option<PathBuf>> {
    let directory = std::env::var_os(READY).filter(|value| !value.is_empty());
    directory.map(|directory| ready(Path::new(&directory), package)).transpose()
}

/// The function's binary: a ready one, or one that is built here, with cargo's own progress on stderr.
///
/// # Errors
/// What to tell a person: cargo is not there, the package does not build, or `LOCKSTEP_FUNCTIONS` has no such file.
pub async fn binary(package: &str, profile: Profile) -> io::Result<PathBuf> {
    if let Some(ready) = ready_binary(package)? {
        return Ok(ready);
    }
    // Set by cargo, under which this runs; by hand, the one on the path.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["build", "--bin", package, "--message-format", "json-render-diagnostics"])
        .args(profile.arguments())
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

/// A path that holds in every working directory, as functions are started in one of their own.
fn ready(directory: &Path, package: &str) -> io::Result<PathBuf> {
    let path = std::path::absolute(directory.join(package))?;
    if path.is_file() {
        return Ok(path);
    }
    Err(io::Error::other(format!("{READY} is set, and {} is not there", path.display())))
}

/// The path in cargo's message about the finished binary.
fn executable(message: &str, package: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let ours = message.get("target")?.get("name")? == package;
    ours.then(|| message.get("executable")?.as_str().map(PathBuf::from)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_was_built_already_is_taken_by_its_name() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("lockstep-mysql"), "").unwrap();
        let path = ready(directory.path(), "lockstep-mysql").unwrap();
        assert!(path.is_absolute() && path.ends_with("lockstep-mysql"), "{}", path.display());
        let error = ready(directory.path(), "lockstep-postgres").unwrap_err().to_string();
        assert!(error.contains("LOCKSTEP_FUNCTIONS") && error.contains("lockstep-postgres"), "{error}");
    }
}
