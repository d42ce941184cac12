//! Proves a rotation by use: with the passwords themselves, at the database, as a client would.

use super::Strategy;
use super::setup::{Bench, USER};
use super::steps::Rotated;
use crate::servers::Password;
use crate::servers::database::Database;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;

/// One thing that must hold, and whether it does.
pub(super) struct Proof {
    pub(super) holds: bool,
    pub(super) text: String,
}

/// What was so before a rotation.
pub(super) struct Before {
    version: Option<String>,
    pub(super) credential: Credential,
}

#[derive(Clone)]
pub(super) struct Credential {
    user: String,
    password: Password,
}

impl Before {
    /// Reads the current credential, as a client of the database does.
    pub(super) async fn read(bench: &Bench) -> Result<Self, String> {
        let version = bench.client.version(bench.secret, "AWSCURRENT").await.map_err(|error| error.to_string())?;
        Ok(Self { version, credential: Credential::read(bench, "AWSCURRENT").await? })
    }
}

impl Credential {
    async fn read(bench: &Bench, stage: &str) -> Result<Self, String> {
        let value = bench.client.credential(bench.secret, stage).await.map_err(|error| error.to_string())?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { user: text("username"), password: text("password").into() })
    }

    async fn opens(&self, database: &Database) -> Result<bool, String> {
        database.can_login(&self.user, &self.password).await.map_err(|error| error.to_string())
    }
}

/// Checks the outcome of a rotation against what was before it and, if there was one, before the rotation before.
pub(super) async fn prove(
    bench: &Bench,
    before: &Before,
    earlier: Option<&Credential>,
    rotated: &Rotated,
) -> Vec<Proof> {
    let mut proofs = vec![old_password(bench, before).await];
    // With one user, it is a third password of the same account; with two, it is a user's whose turn has come again.
    if let Some(earlier) = earlier {
        proofs.push(earlier_password(bench, earlier).await);
    }
    proofs.push(new_password(bench).await);
    proofs.push(labels(bench, before, rotated).await);
    proofs
}

async fn old_password(bench: &Bench, before: &Before) -> Proof {
    let opens = before.credential.opens(&bench.database).await;
    let user = &before.credential.user;
    match (bench.strategy, opens) {
        (Strategy::SingleUser, Ok(false)) => Proof::holds("the old password is refused"),
        (Strategy::SingleUser, Ok(true)) => Proof::fails("the old password still opens the database"),
        (Strategy::DualPassword, Ok(true)) => Proof::holds("the previous password still opens the database"),
        (Strategy::DualPassword, Ok(false)) => Proof::fails("the previous password is refused"),
        (Strategy::AlternatingUsers, Ok(true)) => {
            Proof::holds(format!("the previous credential ({user}) still opens the database"))
        }
        (Strategy::AlternatingUsers, Ok(false)) => Proof::fails(format!("the previous credential ({user}) is refused")),
        (_, Err(error)) => Proof::fails(format!("the old password could not be tried: {error}")),
    }
}

async fn earlier_password(bench: &Bench, earlier: &Credential) -> Proof {
    match earlier.opens(&bench.database).await {
        Ok(false) => Proof::holds("the password before that is refused"),
        Ok(true) => Proof::fails("the password before that still opens the database"),
        Err(error) => Proof::fails(format!("the password before that could not be tried: {error}")),
    }
}

async fn new_password(bench: &Bench) -> Proof {
    let session = match Session::open(bench).await {
        Ok(session) => session,
        Err(error) => return Proof::fails(format!("the new password does not open the database: {error}")),
    };
    let Session { user, role, length } = session;
    // PostgreSQL's second user acts as the first; MySQL's has privileges of its own.
    if role != USER && role != user {
        return Proof::fails(format!("{user} acts as {role} in the database, not as {USER}"));
    }
    let acting = if user == role { String::new() } else { format!(", acting as {role}") };
    Proof::holds(format!("the new password ({length} characters) opens the database as {user}{acting}"))
}

/// A session that was opened with the current secret.
struct Session {
    user: String,
    /// As whom its statements run.
    role: String,
    /// Of the password, in characters.
    length: usize,
}

impl Session {
    async fn open(bench: &Bench) -> Result<Self, String> {
        let Credential { user, password } = Credential::read(bench, "AWSCURRENT").await?;
        let identity = bench.database.identity(&user, &password).await.map_err(|error| error.to_string())?;
        Ok(Self { user: identity.user, role: identity.role, length: password.expose().chars().count() })
    }
}

async fn labels(bench: &Bench, before: &Before, rotated: &Rotated) -> Proof {
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

impl Proof {
    fn holds(text: impl Into<String>) -> Self {
        Self { holds: true, text: text.into() }
    }

    fn fails(text: impl Into<String>) -> Self {
        Self { holds: false, text: text.into() }
    }
}

/// A client that read its credential before a rotation and goes on to use it, as one with a cache does: it logs in over
/// and over until it is asked how that went.
pub(super) struct Holder {
    stop: Arc<AtomicBool>,
    task: JoinHandle<Result<u32, String>>,
}

/// Between two logins. Often enough to fall into every step, seldom enough not to slow the rotation that is measured.
const PAUSE: Duration = Duration::from_millis(20);

impl Holder {
    pub(super) fn start(bench: &Bench, before: &Before) -> Self {
        let (database, credential) = (Arc::clone(&bench.database), before.credential.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let task = tokio::spawn(async move {
            let mut logins = 0;
            loop {
                let last = stopped.load(Ordering::SeqCst);
                if !credential.opens(&database).await? {
                    return Err(format!("refused at login {}", logins + 1));
                }
                logins += 1;
                if last {
                    return Ok(logins);
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { stop, task }
    }

    /// Logs in once more and returns how many logins there were, all successful.
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
