//! Files that something else keeps up to date: the Secrets Store CSI driver, the External Secrets Operator, AWS's agent for files.

use super::{Fetched, Source};
use crate::error::Cause;
use crate::label::Label;
use crate::value::{Fields, SecretText};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use tokio::fs;

/// A file is looked at this often. A read of some hundred bytes from memory costs nothing.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// The limit of a secret's size in Secrets Manager.
const LARGEST: u64 = 65_536;
/// So many values keep their ids. A file of AWSPREVIOUS then has the id that the file of AWSCURRENT had before.
const REMEMBERED: usize = 8;

/// A mounted secret: a file with the value, or a directory with one file for each key.
///
/// The file is read again every second, and at once after a refused login. It is not watched: Kubernetes replaces a symbolic link
/// above it, which file watchers miss. A change counts as a new version, and its id is made up.
///
/// A new content that is not JSON does not replace one that was: the file is being written, or somebody has made a mistake.
#[derive(Debug)]
pub struct File {
    current: PathBuf,
    pending: Option<PathBuf>,
    previous: Option<PathBuf>,
    check_every: Duration,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    versions: VecDeque<(String, SecretText)>,
    made: u64,
    json: bool,
}

impl File {
    /// A file, or a directory of files, with what is in AWSCURRENT. Do not mount it with `subPath`: Kubernetes never updates such a mount.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        let known = Mutex::default();
        Self { current: path.into(), pending: None, previous: None, check_every: CHECK_EVERY, known }
    }

    /// Where AWSPENDING is mounted, if it is. Without it, an application is refused between setSecret and finishSecret of a single user's
    /// rotation, and until the mount has the new version.
    #[must_use]
    pub fn pending(mut self, path: impl Into<PathBuf>) -> Self {
        self.pending = Some(path.into());
        self
    }

    /// Where AWSPREVIOUS is mounted, if it is.
    #[must_use]
    pub fn previous(mut self, path: impl Into<PathBuf>) -> Self {
        self.previous = Some(path.into());
        self
    }

    /// How often to read the file: every second unless given.
    #[must_use]
    pub fn check_every(mut self, interval: Duration) -> Self {
        self.check_every = interval;
        self
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait::async_trait]
impl Source for File {
    fn name(&self) -> String {
        self.current.display().to_string()
    }

    fn origin(&self) -> &'static str {
        "the file"
    }

    async fn fetch(&self, label: Label, _: bool) -> Result<Option<Fetched>, Cause> {
        let path = match label {
            Label::Current => Some(&self.current),
            Label::Pending => self.pending.as_ref(),
            Label::Previous => self.previous.as_ref(),
        };
        let Some(path) = path else { return Ok(None) };
        match read(path).await {
            Ok((value, created)) => {
                let version_id = self.known().id(&value, label == Label::Current)?;
                Ok(Some(Fetched { version_id, value, created }))
            }
            Err(Cause::NotFound) if label != Label::Current => Ok(None),
            Err(cause) => Err(cause),
        }
    }

    fn refresh_every(&self) -> Option<Duration> {
        Some(self.check_every)
    }
}

impl Known {
    fn id(&mut self, value: &SecretText, current: bool) -> Result<String, Cause> {
        if let Some((id, _)) = self.versions.iter().find(|(_, known)| known == value) {
            return Ok(id.clone());
        }
        let json = Fields::of(value).is_some();
        if self.json && !json {
            return Err(Cause::Invalid);
        }
        self.json |= json && current;
        self.made += 1;
        let id = format!("file-{}", self.made);
        self.versions.push_front((id.clone(), value.clone()));
        self.versions.truncate(REMEMBERED);
        Ok(id)
    }
}

async fn read(path: &Path) -> Result<(SecretText, Option<SystemTime>), Cause> {
    let about = fs::metadata(path).await.map_err(|error| cause(error.kind()))?;
    let text = if about.is_dir() { directory(path).await? } else { file(path, about.len()).await? };
    Ok((text, about.modified().ok()))
}

async fn file(path: &Path, size: u64) -> Result<SecretText, Cause> {
    if size > LARGEST {
        return Err(Cause::Invalid);
    }
    fs::read_to_string(path).await.map(SecretText::from).map_err(|error| cause(error.kind()))
}

/// The files of a directory as a JSON object. Names that begin with a dot are Kubernetes' own.
async fn directory(path: &Path) -> Result<SecretText, Cause> {
    let mut entries = fs::read_dir(path).await.map_err(|error| cause(error.kind()))?;
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(|error| cause(error.kind()))? {
        let name = entry.file_name().into_string().map_err(|_| Cause::Invalid)?;
        if !name.starts_with('.') {
            names.push(name);
        }
    }
    names.sort();
    let mut fields = serde_json::Map::new();
    for name in names {
        let path = path.join(&name);
        let about = fs::metadata(&path).await.map_err(|error| cause(error.kind()))?;
        if about.is_file() {
            let text = file(&path, about.len()).await?;
            fields.insert(name, text.expose().into());
        }
    }
    if fields.is_empty() {
        return Err(Cause::NotFound);
    }
    Ok(serde_json::Value::Object(fields).to_string().into())
}

fn cause(kind: ErrorKind) -> Cause {
    match kind {
        ErrorKind::NotFound | ErrorKind::NotADirectory => Cause::NotFound,
        ErrorKind::PermissionDenied => Cause::Denied,
        ErrorKind::InvalidData => Cause::Invalid,
        _ => Cause::Unavailable,
    }
}
