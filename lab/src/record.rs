//! Which calls of AWS the functions make, for a comparison with their roles' permissions.
//!
//! With `LOCKSTEP_RECORD_CALLS=DIRECTORY` each call of a function is appended to `DIRECTORY/PROCESS.jsonl` as one line:
//! `{"function": "lockstep-postgres", "action": "secretsmanager:GetSecretValue", "label": "AWSCURRENT"}`. The action is IAM's name
//! for it, and the label is what the call says about `VersionStage`, or null.

use serde_json::json;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// The variable that names the directory.
const VARIABLE: &str = "LOCKSTEP_RECORD_CALLS";

/// A file that calls are appended to, or nothing.
#[derive(Clone, Default)]
pub(crate) struct Record(Option<Arc<Mutex<File>>>);

impl Record {
    /// What the environment asks for.
    pub(crate) fn from_env() -> io::Result<Self> {
        match std::env::var_os(VARIABLE).filter(|value| !value.is_empty()) {
            Some(directory) => Self::new(&PathBuf::from(directory)),
            None => Ok(Self(None)),
        }
    }

    fn new(directory: &Path) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let path = directory.join(format!("{}.jsonl", std::process::id()));
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        Ok(Self(Some(Arc::new(Mutex::new(file)))))
    }

    /// Notes that a function has called `service:operation`, and which label the call names as `VersionStage`.
    pub(crate) fn call(&self, function: &str, service: &str, operation: &str, label: Option<&str>) {
        let Some(file) = &self.0 else { return };
        let action = format!("{service}:{operation}");
        let line = format!("{}\n", json!({"function": function, "action": action, "label": label}));
        // One write for a line: other labs of this process append to the same file. A record that cannot be written shows as one
        // that misses what was called.
        let _ = file.lock().unwrap_or_else(PoisonError::into_inner).write_all(line.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_lines_of_json_and_nothing_is_lost_between_labs() {
        let directory = tempfile::tempdir().unwrap();
        let (one, two) = (Record::new(directory.path()).unwrap(), Record::new(directory.path()).unwrap());
        one.call("lockstep-mysql", "rds", "DescribeDBInstances", None);
        two.call("lockstep-api-key", "secretsmanager", "GetSecretValue", Some("AWSCURRENT"));
        Record::default().call("nobody", "rds", "DescribeDBClusters", None);
        let file = directory.path().join(format!("{}.jsonl", std::process::id()));
        let text = fs::read_to_string(file).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = [
            json!({"function": "lockstep-mysql", "action": "rds:DescribeDBInstances", "label": null}),
            json!({"function": "lockstep-api-key", "action": "secretsmanager:GetSecretValue", "label": "AWSCURRENT"}),
        ];
        assert_eq!(lines, expected);
    }
}
