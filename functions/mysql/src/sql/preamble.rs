//! What every session begins with: settings that must not be the user's or the server's choice, the lock against other
//! invocations, and what the server says about itself.

use crate::connect::{Row, Rows, Session, text};
use crate::sql::quote::AccountName;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// A rotation may block others for this long. A busy server's hiccup is shorter. The default of `lock_wait_timeout` is
/// a year: ALTER USER would wait that long for a transaction that has read the grant tables.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// MariaDB's limit for a whole statement. Some of its locks have no other limit (KB, "max_statement_time"). A change
/// that stays in the queue after the client gave up could take effect much later. The lock's limit is shorter.
const STATEMENT_LIMIT: Duration = Duration::from_secs(8);
/// The server ends a session, and its lock, that says nothing for this long: the function may have died without a good-bye. Between
/// two statements are at most some calls to Secrets Manager.
const IDLE_LIMIT_SECONDS: u32 = 60;
/// Kept for the answer when these limits are cut to the time that the step has left.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// The lock's limit is shorter by at least this much.
const LOCK_FIRST: Duration = Duration::from_millis(250);
/// The first version that can keep an account's previous password (MySQL manual, "Dual Password Support").
const DUAL_PASSWORDS_SINCE: (u16, u16, u16) = (8, 0, 14);

/// The server, and the account of the session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerInfo {
    /// MariaDB has MySQL's protocol, but manages accounts in its own way.
    pub(crate) mariadb: bool,
    /// Major, minor and patch version.
    pub(crate) version: (u16, u16, u16),
    /// The account that the server matched. Its user may be another than the one that logged in.
    pub(crate) account: AccountName,
    /// MariaDB: the session's TLS cipher; empty without TLS.
    pub(crate) cipher: String,
}

impl ServerInfo {
    fn of_row(row: &Row) -> Self {
        let (version, account) = (text(row, 1), text(row, 2));
        let (user, host) = account.rsplit_once('@').unwrap_or((account, ""));
        Self {
            mariadb: version.contains("MariaDB"),
            version: numbers(version),
            account: AccountName::new(user, host),
            cipher: text(row, 5).to_owned(),
        }
    }

    /// Whether an account can have two passwords.
    pub(crate) fn has_dual_passwords(&self) -> bool {
        !self.mariadb && self.version >= DUAL_PASSWORDS_SINCE
    }
}

/// Settings of a session that must not be the server's or `init_connect`'s choice, as the first statements of a batch.
///
/// * No transaction, and above all no read-only one: `transaction_read_only` refuses every change of an account with the error of a
///   replica, and a read-only server is recognised by its own setting. What `init_connect` began is rolled back. Before that comes
///   `completion_type`, which can have a rollback end the session, and after it `autocommit`, which would commit instead.
/// * UTF-8, in which user names are sent and compared.
/// * `NO_BACKSLASH_ESCAPES`: a quote is the only character with a meaning inside a literal. No other mode applies, `ANSI_QUOTES` for
///   example (MySQL manual, "Server SQL Modes"). With `NO_AUTO_CREATE_USER`, MariaDB's GRANT does not create a user that is absent.
/// * All rows, however many are looked at for them; on MariaDB also the warnings that say why a password is refused. MySQL has an error
///   number for that, and lets no ordinary user set their number.
/// * Limits for the metadata lock, for the rows of the grant tables and for a statement.
/// * MariaDB's `PASSWORD()` makes hashes of today.
fn settings(lock_seconds: u64, statement_seconds: f64) -> String {
    format!(
        "SET SESSION completion_type = 0; ROLLBACK; SET SESSION autocommit = 1; SET NAMES utf8mb4; \
         SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE; \
         SET SESSION sql_mode = CONCAT('NO_BACKSLASH_ESCAPES' /*M! , ',NO_AUTO_CREATE_USER' */), \
         sql_quote_show_create = 1, sql_select_limit = 18446744073709551615, sql_big_selects = 1, \
         wait_timeout = {IDLE_LIMIT_SECONDS}, lock_wait_timeout = {lock_seconds}, innodb_lock_wait_timeout = {lock_seconds} \
         /*!80014 , max_execution_time = 0 */ /*M! , max_statement_time = {statement_seconds}, \
         max_error_count = 64, old_passwords = 0 */"
    )
}

/// Begins the work on `user` and sends `queries`, in one round trip. Returns the server, and the rows of each query.
///
/// A user lock has two invocations at once queue here. Without `user` no lock is taken.
///
/// # Errors
/// [`Code::LockTimeout`] if another session holds our lock; [`Code::ServerReadOnly`]; [`Code::TimeSpent`] if too little
/// time is left to begin; others by error number.
pub(crate) async fn begin(session: &mut Session, user: Option<&str>, queries: &str) -> Result<(ServerInfo, Vec<Rows>)> {
    let (seconds, statement) = limits(session.deadline.left())?;
    let lock = user.map_or_else(|| "1".to_owned(), |user| get_lock(user, seconds));
    let sql = format!(
        "{settings}; SELECT {lock}, VERSION(), CURRENT_USER(), @@GLOBAL.read_only, \
         @@GLOBAL.innodb_read_only \
         /*M! , (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher') */; \
         {queries}",
        settings = settings(seconds, statement)
    );
    let mut answers = session.run(sql.trim_end_matches("; ")).await?.into_iter();
    let first = answers.next().and_then(|rows| rows.into_iter().next());
    let first = first.ok_or_else(|| Error::new(Code::ServerStrange).with(Fact::What, "no row about the server"))?;
    if text(&first, 0) != "1" {
        return Err(lock_is_held(user.unwrap_or_default()));
    }
    // A change here would make the account differ from that of the writer. Some users may write all the same, for
    // example the one that replicates from the primary.
    if is_read_only([text(&first, 3), text(&first, 4)]) {
        return Err(Error::new(Code::ServerReadOnly));
    }
    Ok((ServerInfo::of_row(&first), answers.collect()))
}

/// Returns the account of the session and whether the server is read-only, in one round trip, and takes the lock on `user` if there is one to take.
///
/// # Errors
/// [`Code::LockTimeout`]; [`Code::TimeSpent`] if too little time is left to begin; others by error number.
pub(crate) async fn look(session: &mut Session, user: Option<&str>) -> Result<(String, bool)> {
    let (seconds, statement) = limits(session.deadline.left())?;
    let lock = user.map_or_else(|| "1".to_owned(), |user| get_lock(user, seconds));
    let settings = settings(seconds, statement);
    let sql = format!("{settings}; SELECT {lock}, CURRENT_USER(), @@GLOBAL.read_only, @@GLOBAL.innodb_read_only");
    let answers = session.run(&sql).await?;
    let row = answers.first().and_then(|rows| rows.first());
    let row = row.ok_or_else(|| Error::new(Code::ServerStrange).with(Fact::What, "no row about the session"))?;
    if text(row, 0) != "1" {
        return Err(lock_is_held(user.unwrap_or_default()));
    }
    Ok((text(row, 1).to_owned(), is_read_only([text(row, 2), text(row, 3)])))
}

/// Whether a server takes no changes, by `read_only` and `innodb_read_only`.
fn is_read_only(settings: [&str; 2]) -> bool {
    settings.iter().any(|setting| !matches!(*setting, "0" | "OFF"))
}

fn get_lock(user: &str, seconds: u64) -> String {
    format!("GET_LOCK('{}', {seconds})", lock_name(user))
}

fn lock_is_held(user: &str) -> Error {
    Error::new(Code::LockTimeout).with(Fact::What, format_args!("the user lock {}", lock_name(user)))
}

/// Limits in seconds for locks and for a statement, from the time that the step has left. Limits for locks are whole
/// seconds, as the settings take them, and at least one, because zero means not to wait at all. If hardly more than a
/// second is left, the statement gets a part of the answer's margin, so that the lock's limit is still the shorter one.
fn limits(step: Duration) -> Result<(u64, f64)> {
    let left = step.saturating_sub(ANSWER_MARGIN);
    if left.is_zero() {
        return Err(Error::new(Code::TimeSpent));
    }
    let lock = LOCK_LIMIT.min(left / 4 * 3).as_secs().max(1);
    let statement = left.max(Duration::from_secs(lock) + LOCK_FIRST).min(step).min(STATEMENT_LIMIT);
    Ok((lock, statement.as_secs_f64()))
}

/// The name of the user lock. It has at most 64 characters and ignores the case, while a user's name may be longer and
/// does not. A hash fits (64-bit FNV-1a). If two users share one, their changes queue.
fn lock_name(user: &str) -> String {
    let hash = user
        .bytes()
        .fold(0xCBF2_9CE4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3));
    format!("lockstep.{hash:016x}")
}

/// The three leading numbers of `8.0.36`, `9.7.4-2` or `10.11.18-MariaDB-0+deb12u1`.
fn numbers(version: &str) -> (u16, u16, u16) {
    let mut parts = version.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or(0));
    let mut next = || parts.next().unwrap_or(0);
    (next(), next(), next())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_what_they_can() {
        let server = |version: &str| ServerInfo {
            mariadb: version.contains("MariaDB"),
            version: numbers(version),
            account: AccountName::default(),
            cipher: String::new(),
        };
        assert_eq!(numbers("10.11.18-MariaDB-0+deb12u1"), (10, 11, 18));
        assert_eq!(numbers("9.7"), (9, 7, 0));
        for (version, dual) in
            [("8.0.13", false), ("8.0.14", true), ("8.4.0-log", true), ("9.7.4-2", true), ("11.4.2-MariaDB", false)]
        {
            assert_eq!(server(version).has_dual_passwords(), dual, "{version}");
        }
    }

    #[test]
    fn a_lock_is_given_up_before_its_statement_and_that_before_the_step() {
        for milliseconds in 1..40_000 {
            let step = Duration::from_millis(milliseconds);
            let Ok((lock, statement)) = limits(step) else {
                assert!(step <= ANSWER_MARGIN, "{step:?}");
                continue;
            };
            let lock = Duration::from_secs(lock);
            assert!(!lock.is_zero() && lock.as_secs_f64() < statement, "{step:?}: {lock:?}, {statement}");
            assert!(statement <= step.as_secs_f64(), "{step:?}: {statement}");
        }
    }

    #[test]
    fn a_lock_has_a_short_name_of_its_own() {
        assert_eq!(lock_name("app"), lock_name("app"));
        assert_ne!(lock_name("app"), lock_name("App"));
        assert!(lock_name(&"x".repeat(80)).len() <= 64);
    }
}
