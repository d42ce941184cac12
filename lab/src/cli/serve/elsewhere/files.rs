//! What `sam local` reads: the functions' variables, and the options of its commands.

use crate::provision;
use serde_json::{Map, Value};
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

/// The port of `cargo lab serve` unless another is named.
const USUAL_PORT: u16 = 4566;

/// Files under `target/lab`. Dropping it removes them: they are about servers that are gone then.
pub(super) struct Files {
    /// For `--env-vars`.
    pub(super) variables: PathBuf,
    /// For `--config-file`: `--env-vars` and `--add-host`.
    pub(super) configuration: PathBuf,
}

impl Files {
    /// Writes the variables of each function, and by which name its containers find which address. `port` is the lab's.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(super) fn write(port: u16, functions: &Map<String, Value>, host: Option<(&str, Ipv4Addr)>) -> io::Result<Self> {
        let directory = provision::directory();
        std::fs::create_dir_all(&directory)?;
        // A second lab, on a port of its own, does not take the place of the first one.
        let name = if port == USUAL_PORT { "sam".to_owned() } else { format!("sam-{port}") };
        let file = |kind: &str| directory.join(format!("{name}.{kind}"));
        let files = Self { variables: file("json"), configuration: file("toml") };
        let text = serde_json::to_string_pretty(functions).unwrap_or_default();
        std::fs::write(&files.variables, format!("{text}\n"))?;
        std::fs::write(&files.configuration, configuration(&files.variables, host))?;
        Ok(files)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // They may be gone with the directory; nothing secret is in them.
        let _ = std::fs::remove_file(&self.variables);
        let _ = std::fs::remove_file(&self.configuration);
    }
}

/// The configuration file of the SAM CLI, for its two commands that run functions.
fn configuration(variables: &Path, host: Option<(&str, Ipv4Addr)>) -> String {
    let mut text = "# For `--config-file` of `sam local`, while `cargo lab serve` runs.\nversion = 0.1\n".to_owned();
    for command in ["local_invoke", "local_start_lambda"] {
        // JSON's strings are TOML's, too.
        text.push_str(&format!("\n[default.{command}.parameters]\nenv_vars = {}\n", quoted(variables)));
        if let Some((name, address)) = host {
            text.push_str(&format!("add_host = [\"{name}:{address}\"]\n"));
        }
    }
    text
}

fn quoted(path: &Path) -> String {
    Value::from(path.display().to_string()).to_string()
}

/// A path as a person types it: relative to the current directory, if it lies below.
pub(super) fn typed(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}
