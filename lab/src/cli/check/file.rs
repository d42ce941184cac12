//! The file of a secret whose key is exchanged.

use api_key::description::{Issuer, Key};
use api_key::target::key_secret::with_key;
use rotation::document::Document;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The file of a secret, and what it holds.
pub(super) struct SecretFile<'a> {
    pub(super) path: &'a Path,
    pub(super) document: &'a Document,
}

impl SecretFile<'_> {
    /// Where the new key waits until it has replaced the old one.
    pub(super) fn waiting(&self) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(".new");
        name.into()
    }

    /// Writes the secret with a new key beside the file, for the owner alone. An earlier one that still waits is not overwritten.
    pub(super) fn write(&self, issuer: &Issuer, key: &Key, previous: &Key) -> Result<(), String> {
        let document =
            with_key(self.document, issuer, key, previous.secret.as_ref()).map_err(|error| error.to_string())?;
        let write = || -> io::Result<()> {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.waiting())?;
            file.write_all(document.text().expose().as_bytes())?;
            file.sync_all()
        };
        write().map_err(|error| self.failed("write", &error))
    }

    /// Puts the new key into the place of the old one.
    pub(super) fn settle(&self) -> Result<(), String> {
        fs::rename(self.waiting(), self.path).map_err(|error| self.failed("move", &error))
    }

    fn failed(&self, doing: &str, error: &io::Error) -> String {
        format!("cannot {doing} {}: {error}", self.waiting().display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_waits_in_a_file_of_its_own_and_overwrites_none() {
        let text = api_key::sources::BUILT_IN.iter().find(|(name, _)| *name == "auth0").unwrap().1;
        let issuer = api_key::description::read(text).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret.json");
        let old = r#"{"issuer": "auth0", "clientId": "c", "clientSecret": "old"}"#;
        fs::write(&path, old).unwrap();
        let document = Document::parse(old.into()).unwrap();
        let file = SecretFile { path: &path, document: &document };
        let key = |secret: &str| Key { secret: Some(secret.into()), ..Key::of_id("x") };
        file.write(&issuer, &key("new"), &key("old")).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), old);
        assert!(file.write(&issuer, &key("newer"), &key("old")).is_err(), "the only copy of a key");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(file.waiting()).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        file.settle().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), old.replace("\"old\"", "\"new\""));
        assert!(!file.waiting().exists());
    }
}
