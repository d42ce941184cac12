//! What every change begins with: the first queries, the server's time limits, and the lock against other invocations.

use crate::connect::{LOCK_LIMIT, STATEMENT_LIMIT, Session};
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;
use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};

/// Kept for the answer when the server's time limits are cut to the time that the step has left.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// The server ends a session, and its lock, that says nothing for this long: the function may have died without a good-bye. Between
/// two statements are at most some calls to Secrets Manager.
const IDLE_LIMIT_MILLISECONDS: u32 = 60_000;

/// Settings that must not be the user's choice. `transaction_timeout` (from PostgreSQL 17 on) would end the session, and its lock, while
/// Secrets Manager is asked.
pub(crate) const PINNED: &str = "SET LOCAL search_path = pg_catalog, pg_temp; SET LOCAL \"DateStyle\" = 'ISO, YMD'; SET LOCAL \"TimeZone\" = 'UTC'; \
     SELECT set_config('transaction_timeout', '0', true) WHERE current_setting('transaction_timeout', true) <> '0'";

/// COMMIT returns when the change is on the disk, and with a synchronous standby also there. Otherwise a crash of the server could bring
/// the old password back. A setting that waits for more stays as it is (manual, "synchronous_commit").
const DURABLE: &str = "SELECT set_config('synchronous_commit', 'on', true) \
                       WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// The first half of our advisory lock's key: "Lock" in ASCII. The second half is made from the user's name.
const LOCK_CLASS: i32 = 0x4C6F_636B;

/// Whose rights a transaction runs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunAs {
    /// The user who logged in, even if a `role` setting starts its sessions as another: only the user may change its password.
    SessionUser,
    /// The superuser, with its `role` setting, which may give it its rights. If that takes them away instead, the setting does not
    /// apply: ALTER DATABASE can start all sessions as the owner, for example.
    Superuser,
}

/// The statements that begin a transaction on `user`. They are sent together with the first queries.
///
/// * `READ WRITE`: the user's settings may say `default_transaction_read_only`.
/// * READ COMMITTED: the changes of the lock's last owner have to be visible.
/// * A pinned `search_path`: with the user's own, `=` could be another user's operator (CVE-2018-1058).
/// * A date style and a time zone in which VALID UNTIL is read as it is printed. `SQL` prints abbreviations of zones.
/// * A commit that lasts.
/// * An advisory lock, so that two invocations at once queue here. Otherwise two concurrent ALTER ROLEs of one user would end
///   one of them in "tuple concurrently updated".
///
/// # Errors
/// [`Code::TimeSpent`] if too little time is left to begin.
fn begin(session: &Session, user: &str, rights: RunAs) -> Result<String> {
    let limits = limits(session)?;
    let role = match rights {
        RunAs::SessionUser => "SET LOCAL ROLE NONE",
        RunAs::Superuser => {
            "SELECT set_config('role', 'none', true) FROM pg_roles \
             WHERE rolname = current_user AND NOT (rolsuper OR rolcreaterole)"
        }
    };
    Ok(format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; {limits}; {PINNED}; {DURABLE}; {role}; SELECT pg_advisory_xact_lock({LOCK_CLASS}, {})",
        lock_key(user)
    ))
}

/// Begins a transaction that only reads, takes the lock on `user` if there is one to take, and sends `queries`, in one round trip.
///
/// # Errors
/// [`Code::TimeSpent`] if too little time is left to begin; [`Code::LockTimeout`]; others by SQLSTATE.
pub(crate) async fn look(session: &Session, lock: Option<&str>, queries: &str) -> Result<Vec<SimpleQueryMessage>> {
    let limits = limits(session)?;
    let lock = lock.map(|user| format!("SELECT pg_advisory_xact_lock({LOCK_CLASS}, {}); ", lock_key(user)));
    let lock = lock.unwrap_or_default();
    session.run(&format!("BEGIN READ ONLY; {limits}; {PINNED}; {lock}{queries}")).await
}

/// Statements that set the server's time limits by the time that is left. They are sent before every later statement of the
/// transaction, because the one before may have waited.
///
/// # Errors
/// [`Code::TimeSpent`] if too little time is left to begin.
pub(crate) fn limits(session: &Session) -> Result<String> {
    let left = session.deadline.left().saturating_sub(ANSWER_MARGIN);
    if left.is_zero() {
        return Err(Error::new(Code::TimeSpent));
    }
    // The lock's limit is the shorter one however little time is left, so that the error can name it.
    let (lock, statement) = (LOCK_LIMIT.min(left / 4 * 3).as_millis(), STATEMENT_LIMIT.min(left).as_millis());
    // Zero means no limit.
    let (lock, statement) = (lock.max(1), statement.max(1));
    Ok(format!(
        "SET LOCAL lock_timeout = {lock}; SET LOCAL statement_timeout = {statement}; \
         SET LOCAL idle_in_transaction_session_timeout = {IDLE_LIMIT_MILLISECONDS}"
    ))
}

/// A user's name as 32 bits (FNV-1a). If two names share them, their changes queue and nothing else happens.
fn lock_key(user: &str) -> i32 {
    let hash = user.bytes().fold(0x811C_9DC5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    i32::from_ne_bytes(hash.to_ne_bytes())
}

/// What the server says about itself and the session.
#[derive(Debug)]
pub(crate) struct ServerInfo {
    /// `server_version_num`: 150004 is 15.4, 90624 is 9.6.24.
    pub(crate) version: u32,
    pub(crate) password_encryption: String,
    pub(crate) session_user: String,
    /// The role whose rights the session has.
    pub(crate) current_user: String,
}

impl ServerInfo {
    /// A query whose row [`read`](Self::read) understands.
    pub(crate) const QUERY: &'static str = "SELECT 'server', current_setting('password_encryption'), pg_is_in_recovery(), session_user, current_user, \
         current_setting('server_version_num')";

    /// # Errors
    /// [`Code::ServerReadOnly`] on a standby; [`Code::ServerStrange`] if the row is not there.
    pub(crate) fn read(messages: &[SimpleQueryMessage]) -> Result<Self> {
        let strange = |what| Error::new(Code::ServerStrange).with(Fact::What, what);
        let row = rows(messages, "server").next().ok_or_else(|| strange("no row about the server"))?;
        if text(row, 2) == "t" {
            return Err(Error::new(Code::ServerReadOnly));
        }
        Ok(Self {
            version: text(row, 5).parse().map_err(|_| strange("no server_version_num"))?,
            password_encryption: text(row, 1).to_owned(),
            session_user: text(row, 3).to_owned(),
            current_user: text(row, 4).to_owned(),
        })
    }
}

/// The rows that begin with this tag, from the answers to several queries.
pub(crate) fn rows<'a>(messages: &'a [SimpleQueryMessage], tag: &'a str) -> impl Iterator<Item = &'a SimpleQueryRow> {
    messages.iter().filter_map(move |message| match message {
        SimpleQueryMessage::Row(row) if row.try_get(0).ok().flatten() == Some(tag) => Some(row),
        _ => None,
    })
}

/// A column's text; empty for NULL.
pub(crate) fn text(row: &SimpleQueryRow, column: usize) -> &str {
    row.try_get(column).ok().flatten().unwrap_or_default()
}

/// Whether a boolean column is true.
pub(crate) fn flag(row: &SimpleQueryRow, column: usize) -> bool {
    text(row, column) == "t"
}

/// Begins a transaction on `user`, and sends the query about the server and `queries`, in one round trip.
///
/// # Errors
/// Those of [`begin`] and by SQLSTATE.
pub(crate) async fn ask(
    session: &Session,
    user: &str,
    rights: RunAs,
    queries: &str,
) -> Result<Vec<SimpleQueryMessage>> {
    let begin = begin(session, user, rights)?;
    let sql = [&begin, ServerInfo::QUERY, queries].join("; ");
    session.run(&sql).await.map_err(|error| match error.fact(Fact::SqlState) {
        // feature_not_supported: a standby has no READ WRITE.
        Some("0A000") => error.recoded(Code::ServerReadOnly),
        _ => error,
    })
}
