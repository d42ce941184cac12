//! Proves a rotation as a client would: by using the credentials at the database or API that they open.

use super::setup::Bench;
use super::steps::Rotated;
use serde_json::Value;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// A kind of credential, as far as the command must know it.
pub(super) trait Opened: Send + Sync + 'static {
    /// What a client takes from the secret.
    type Credential: Clone + Send + Sync + 'static;

    /// The noun for uses of a credential, in "3 … with a previous credential".
    const USES: &'static str;
    /// The verb for a use by a client, in "a client … 3 times".
    const USED: &'static str;
    /// The time between two uses by a client that holds a credential. Short enough that some fall into every step, long enough
    /// that they do not slow the rotation, which is measured.
    const PAUSE: Duration;

    /// Whose credential changes, and how, as `--json` says it.
    fn strategy(&self) -> String;

    /// Whether the previous credential goes on working.
    fn keeps_previous(&self) -> bool;

    /// What the secret's value says.
    fn credential(value: &Value) -> Self::Credential;

    /// Whether a credential is accepted, now.
    fn opens(&self, credential: &Self::Credential) -> impl Future<Output = Result<bool, String>> + Send;

    /// What the rotations together show, beside the proofs.
    fn remark(&self) -> Option<String> {
        None
    }

    /// What must hold after a rotation, apart from what holds for every secret.
    fn prove(&self, credentials: Credentials<'_, Self::Credential>) -> impl Future<Output = Vec<Proof>> + Send;
}

/// The credentials that a rotation is proved with.
pub(super) struct Credentials<'a, C> {
    pub(super) current: C,
    pub(super) previous: &'a C,
    /// The credential that was current before the previous rotation.
    pub(super) earlier: Option<&'a C>,
}

/// One thing that must hold, and whether it does.
pub(super) struct Proof {
    pub(super) holds: bool,
    pub(super) text: String,
}

impl Proof {
    pub(super) fn holds(text: impl Into<String>) -> Self {
        Self { holds: true, text: text.into() }
    }

    pub(super) fn fails(text: impl Into<String>) -> Self {
        Self { holds: false, text: text.into() }
    }
}

/// The state before a rotation.
pub(super) struct Before<C> {
    version: Option<String>,
    pub(super) credential: C,
}

impl<C> Before<C> {
    /// Reads the current credential, as a client does.
    pub(super) async fn read<O: Opened<Credential = C>>(bench: &Bench<O>) -> Result<Self, String> {
        let version = bench.client.version(bench.secret, "AWSCURRENT").await.map_err(|error| error.to_string())?;
        Ok(Self { version, credential: current(bench).await? })
    }
}

async fn current<O: Opened>(bench: &Bench<O>) -> Result<O::Credential, String> {
    let value = bench.client.credential(bench.secret, "AWSCURRENT").await.map_err(|error| error.to_string())?;
    Ok(O::credential(&value))
}

/// Checks the outcome of a rotation against the state before it and, if there was one, before the previous rotation.
pub(super) async fn prove<O: Opened>(
    bench: &Bench<O>,
    before: &Before<O::Credential>,
    earlier: Option<&O::Credential>,
    rotated: &Rotated,
) -> Vec<Proof> {
    let mut proofs = match current(bench).await {
        Ok(current) => bench.opened.prove(Credentials { current, previous: &before.credential, earlier }).await,
        Err(error) => vec![Proof::fails(format!("the secret could not be read: {error}"))],
    };
    proofs.push(labels(bench, before, rotated).await);
    proofs
}

async fn labels<O: Opened>(bench: &Bench<O>, before: &Before<O::Credential>, rotated: &Rotated) -> Proof {
    let mut found = Vec::new();
    for label in ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"] {
        match bench.client.version(bench.secret, label).await {
            Ok(version) => found.push(version),
            Err(error) => return Proof::fails(format!("the labels could not be read: {error}")),
        }
    }
    let new = Some(rotated.token.clone());
    let right = match found.as_slice() {
        [current, previous, pending] => {
            *current == new && *previous == before.version && (pending.is_none() || *pending == new)
        }
        _ => false,
    };
    if right {
        return Proof::holds(
            "AWSCURRENT is on the new version, AWSPREVIOUS on the old one, and nothing is left pending",
        );
    }
    let names: Vec<_> = found.iter().map(|version| version.as_deref().unwrap_or("none")).collect();
    Proof::fails(format!("AWSCURRENT, AWSPREVIOUS, AWSPENDING are on {}", names.join(", ")))
}

/// A client with a cache: it reads its credential before a rotation, and uses it over and over until it is asked for the
/// result.
pub(super) struct Holder {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u32, String>>,
}

impl Holder {
    pub(super) fn start<O: Opened>(bench: &Bench<O>, before: &Before<O::Credential>) -> Self {
        let (opened, credential) = (Arc::clone(&bench.opened), before.credential.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut uses = 0;
            loop {
                let last = stopped.load(Ordering::SeqCst);
                if !opened.opens(&credential).await? {
                    return Err(format!("refused at use {}", uses + 1));
                }
                uses += 1;
                if last {
                    return Ok(uses);
                }
                tokio::time::sleep(O::PAUSE).await;
            }
        });
        Self { stop, task }
    }

    /// Uses the credential once more and returns how often that was done, always with success.
    pub(super) async fn finish(mut self) -> Result<u32, String> {
        self.stop.store(true, Ordering::SeqCst);
        (&mut self.task).await.map_err(|error| error.to_string())?
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
