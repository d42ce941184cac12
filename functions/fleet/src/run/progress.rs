//! What is known about a run, about a secret, and about how far the work on the secret has come.

use crate::plan::order::Mode;
use serde::{Deserialize, Serialize};

/// What all secrets of a run have in common.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// The run's key: [`Order::key`](crate::plan::order::Order::key).
    pub run: String,
    /// What is done.
    pub mode: Mode,
    /// The run that is undone.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub of: String,
    /// The new KMS key.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub kms_key: String,
    /// The leaked credential is ended as soon as a new one is current.
    #[serde(default)]
    pub end_early: bool,
    /// The sessions of the leaked credential's user are ended.
    #[serde(default)]
    pub end_sessions: bool,
    /// How long to wait for a rotation, in milliseconds.
    pub patience: u64,
    /// When the window closes, in milliseconds since the Unix epoch. No secret begins later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closes: Option<u64>,
    /// When the run began, in milliseconds since the Unix epoch.
    pub run_began: u64,
    /// When this part of it began.
    pub part_began: u64,
    /// So many failures end a lane.
    pub stops_at: usize,
}

impl Job {
    /// Whether the window has closed by now, in milliseconds since the Unix epoch.
    pub fn is_closed(&self, now: u64) -> bool {
        self.closes.is_some_and(|closes| now >= closes)
    }
}

/// What the labels of a secret say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Whether it is scheduled for deletion.
    pub deleted: bool,
    /// Whether its rotation is turned on.
    pub enabled: bool,
    /// The version with AWSCURRENT.
    pub current: Option<String>,
    /// The version with AWSPENDING.
    pub pending: Option<String>,
    /// The version with AWSPREVIOUS.
    pub previous: Option<String>,
    /// The last change of anything in the secret, in milliseconds since the Unix epoch.
    pub changed: u64,
    /// The KMS key.
    pub key: Option<String>,
}

impl Seen {
    /// AWSCURRENT, AWSPENDING and AWSPREVIOUS, to be compared.
    pub fn labels(&self) -> String {
        let id = |version: &Option<String>| version.clone().unwrap_or_default();
        format!("{} {} {}", id(&self.current), id(&self.pending), id(&self.previous))
    }

    /// Whether a version has one of the labels.
    pub fn carries(&self, version: &str) -> bool {
        [&self.current, &self.pending, &self.previous].into_iter().any(|it| it.as_deref() == Some(version))
    }

    /// Whether a rotation was begun and has not ended.
    pub fn is_unfinished(&self) -> bool {
        self.pending.is_some() && self.pending != self.current
    }
}

/// How far the work on a secret has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Progress {
    /// When the secret's turn came, in milliseconds since the Unix epoch.
    pub began: u64,
    /// Since when it has been waited for.
    pub since: u64,
    /// The version that was current before the first round, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaced: Option<String>,
    /// The version that was AWSPREVIOUS before the first round. Its credential may be the one that leaked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// The versions that the target refused, each with the rounds after which it did, and when.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<Dead>,
    /// AWSCURRENT is older than the rotation of this run that it replaced. `None`: that was not asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub moved_back: Option<bool>,
    /// So often something was asked for again.
    pub repeats: u32,
    /// Versions that stay under an old KMS key: some of them, and how many there are.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub old_key: Vec<String>,
    /// How many versions stay under an old KMS key.
    pub old_keys: usize,
    /// The rounds for which RotateSecret was accepted in this execution.
    pub asked: u32,
    /// RotateSecret was called for the rotation of another.
    pub nudged: bool,
    /// AWSCURRENT was moved back.
    pub moved: bool,
    /// After so many rounds the function of the secret was asked to end the leaked credential.
    pub retired: u32,
    /// Why it did not end it; empty if it did.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub not_early: String,
    /// What the function of the secret was asked, and has not answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Awaits>,
    /// The sessions were ended: how many, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sessions: Option<Sessions>,
    /// What `diagnose` said, after so many rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub said: Option<Said>,
}

/// A version whose credential was refused.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Dead {
    /// Its id.
    pub version: String,
    /// After so many rounds.
    pub round: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
}

/// A question to the function of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Awaits {
    /// `diagnose`.
    Diagnosis,
    /// `retire`.
    Retirement,
    /// `endSessions`.
    Sessions,
}

/// An answer of `endSessions`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Sessions {
    /// How often it was asked for.
    pub asked: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// So many were ended. `None`: the target has no sessions, or the function did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended: Option<u64>,
    /// So many stay.
    pub left: u64,
    /// The code of the function's error; empty if it answered.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// An answer of `diagnose`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Said {
    /// After so many rounds.
    pub round: u32,
    /// When, in milliseconds since the Unix epoch.
    pub at: u64,
    /// The labels that the secret had before.
    pub labels: String,
    /// The version that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The finding; empty if the diagnosis failed.
    pub finding: String,
    /// What the target said of the version that was asked for: `works`, `rejected`, or another word.
    pub credential: String,
    /// The credential works, and something else keeps it from being used.
    pub hindered: bool,
}

/// How the work on a secret ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// This execution rotated it.
    Rotated,
    /// It was done before this execution came.
    Already,
    /// AWSCURRENT is back on the previous version.
    RolledBack,
    /// AWSCURRENT stays where it is, because the run did not move it, or the previous credential is refused.
    Kept,
    /// Its versions are under the new key.
    Rekeyed,
    /// It failed, and a person has to look.
    Failed,
    /// The lane ended before its turn.
    NotBegun,
}
