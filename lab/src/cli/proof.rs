//! Proves a rotation by use: with the passwords themselves, at the database, as a client would.

use super::Strategy;
use super::setup::{Bench, SECRET, USER};
use super::steps::Rotated;
use crate::servers::Password;
use crate::servers::postgres::Postgres;
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
    credential: Credential,
}

#[derive(Clone)]
struct Credential {
    user: String,
    password: Password,
}

impl Before {
    /// Reads the current credential, as a client of the database does.
    pub(super) async fn read(bench: &Bench) -> Result<Self, String> {
        let version = bench.client.version(SECRET, "AWSCURRENT").await.map_err(|error| error.to_string())?;
        Ok(Self { version, credential: Credential::read(bench, "AWSCURRENT").await? })
    }
}

impl Credential {
    async fn read(bench: &Bench, stage: &str) -> Result<Self, String> {
        let value = bench.client.credential(SECRET, stage).await.map_err(|error| error.to_string())?;
        let text = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(Self { user: text("username"), password: text("password").into() })
    }

    async fn opens(&self, database: &Postgres) -> Result<bool, String> {
        database.can_login(&self.user, &self.password).await.map_err(|error| error.to_string())
    }
}

/// Checks the outcome of a rotation against what was before it.
pub(super) async fn prove(bench: &Bench, before: &Before, rotated: &Rotated) -> Vec<Proof> {
    vec![old_password(bench, before).await, new_password(bench).await, labels(bench, before, rotated).await]
}

async fn old_password(bench: &Bench, before: &Before) -> Proof {
    let opens = before.credential.opens(&bench.database).await;
    let user = &before.credential.user;
    match (bench.strategy, opens) {
        (Strategy::SingleUser, Ok(false)) => Proof::holds("the old password is refused"),
        (Strategy::SingleUser, Ok(true)) => Proof::fails("the old password still opens the database"),
        (Strategy::AlternatingUsers, Ok(true)) => {
            Proof::holds(format!("the previous credential ({user}) still opens the database"))
        }
        (Strategy::AlternatingUsers, Ok(false)) => Proof::fails(format!("the previous credential ({user}) is refused")),
        (_, Err(error)) => Proof::fails(format!("the old password could not be tried: {error}")),
    }
}

async fn new_password(bench: &Bench) -> Proof {
    let session = match Session::open(bench).await {
        Ok(session) => session,
        Err(error) => return Proof::fails(format!("the new password does not open the database: {error}")),
    };
    let Session { user, role, length } = session;
    if role != USER {
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
        let client = bench.database.connect(&user, &password, "postgres").await.map_err(|error| error.to_string())?;
        let row = client.query_one("SELECT current_user::text", &[]).await.map_err(|error| error.to_string())?;
        let role = row.try_get(0).map_err(|error| error.to_string())?;
        Ok(Self { user, role, length: password.expose().chars().count() })
    }
}

async fn labels(bench: &Bench, before: &Before, rotated: &Rotated) -> Proof {
    let mut found = Vec::new();
    for label in ["AWSCURRENT", "AWSPREVIOUS", "AWSPENDING"] {
        match bench.client.version(SECRET, label).await {
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
