//! The frame of every session: settings that must not be the user's or the server's choice, the lock against ourselves, and
//! what the server says about itself.

use crate::connect::{Row, Rows, Session, text};
use crate::sql::quote::AccountName;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// Not longer than a rotation may stand in the way of others, and not shorter than a busy server's hiccup. Without it,
/// ALTER USER would wait a year for a transaction that has read the grant tables (`lock_wait_timeout`'s default).
const LOCK_LIMIT: Duration = Duration::from_secs(5);
/// MariaDB's limit for a whole statement: some of its locks heed no other (KB, "max_statement_time"), and a change that is still
/// queued when nobody waits for it any more could take effect long after. The lock's limit comes first.
const STATEMENT_LIMIT: Duration = Duration::from_secs(8);
/// Left for the answer when these limits are cut to what the step has left.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
/// By how much the lock's limit comes first, at least.
const LOCK_FIRST: Duration = Duration::from_millis(250);
/// From here on an account can keep its previous password (MySQL manual, "Dual Password Support").
const DUAL_PASSWORDS_SINCE: (u16, u16, u16) = (8, 0, 14);

/// What a session is and where it ended up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Server {
    /// MariaDB, which shares MySQL's protocol and not its account management.
    pub(crate) mariadb: bool,
    /// Major, minor and patch version.
    pub(crate) version: (u16, u16, u16),
    /// The account that the server matched, which need not be the one that was asked for.
    pub(crate) account: AccountName,
}

impl Server {
    /// Whether an account can have two passwords.
    pub(crate) fn has_dual_passwords(&self) -> bool {
        !self.mariadb && self.version >= DUAL_PASSWORDS_SINCE
    }
}

/// Begins the work on `user` and asks `questions`, in one round trip: the server, and the rows of each question.
///
/// * `NO_BACKSLASH_ESCAPES`, so that a quote is the only character with a meaning inside a literal; and nothing else, so
///   that `ANSI_QUOTES` and the like mean nothing either (MySQL manual, "Server SQL Modes"). MariaDB would make a user that
///   GRANT names and that is not there, but for `NO_AUTO_CREATE_USER`.
/// * Limits for the metadata lock and for the rows of the grant tables.
/// * A user lock, so that two invocations at once queue here.
///
/// # Errors
/// [`Code::LockTimeout`] if another session holds our lock; [`Code::ServerReadOnly`]; [`Code::TimeSpent`] if too little
/// time is left to begin; others by error number.
pub(crate) async fn begin(session: &mut Session, user: &str, questions: &str) -> Result<(Server, Vec<Rows>)> {
    let (seconds, statement) = limits(session.deadline.left())?;
    let lock = lock_name(user);
    let sql = format!(
        "SET NAMES utf8mb4; \
         SET SESSION sql_mode = CONCAT('NO_BACKSLASH_ESCAPES' /*M! , ',NO_AUTO_CREATE_USER' */), \
         sql_quote_show_create = 1, lock_wait_timeout = {seconds}, \
         innodb_lock_wait_timeout = {seconds} /*M! , max_statement_time = {statement} */; \
         SELECT GET_LOCK('{lock}', {seconds}), VERSION(), CURRENT_USER(), @@GLOBAL.read_only, \
         @@GLOBAL.innodb_read_only; {questions}"
    );
    let mut answers = session.run(sql.trim_end_matches("; ")).await?.into_iter();
    let first = answers.next().and_then(|rows| rows.into_iter().next());
    let first = first.ok_or_else(|| Error::new(Code::Internal).with(Fact::What, "no row about the server"))?;
    if text(&first, 0) != "1" {
        return Err(Error::new(Code::LockTimeout).with(Fact::What, format_args!("the user lock {lock}")));
    }
    // Changed here, the account would differ from the writer's. Some may write even so: the replica's master, for one.
    if [3, 4].iter().any(|&column| !matches!(text(&first, column), "0" | "OFF")) {
        return Err(Error::new(Code::ServerReadOnly));
    }
    Ok((Server::of_row(&first), answers.collect()))
}

impl Server {
    fn of_row(row: &Row) -> Self {
        let (version, account) = (text(row, 1), text(row, 2));
        let (user, host) = account.rsplit_once('@').unwrap_or((account, ""));
        Self { mariadb: version.contains("MariaDB"), version: numbers(version), account: AccountName::new(user, host) }
    }

    /// # Errors
    /// [`Code::LoginForbidden`] if the server made somebody else of the user: the anonymous one, or whom a proxy stands for.
    pub(crate) fn expect_user(&self, user: &str) -> Result<()> {
        expect_user(&self.account.user, user)
    }
}

/// # Errors
/// [`Code::LoginForbidden`].
pub(crate) fn expect_user(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(Code::LoginForbidden)
        .with(Fact::User, expected)
        .with(Fact::Found, found)
        .with(Fact::What, "the session belongs to another user"))
}

/// Seconds for locks and for a statement, of those that the step has left. Those for locks are whole, which is all that the
/// settings take, and at least one, as zero would mean not to wait at all. Where a second is nearly all there is, the statement
/// gets some of the answer's margin, so that the lock's limit still comes first.
fn limits(step: Duration) -> Result<(u64, f64)> {
    let left = step.saturating_sub(ANSWER_MARGIN);
    if left.is_zero() {
        return Err(Error::new(Code::TimeSpent));
    }
    let lock = LOCK_LIMIT.min(left / 4 * 3).as_secs().max(1);
    let statement = left.max(Duration::from_secs(lock) + LOCK_FIRST).min(step).min(STATEMENT_LIMIT);
    Ok((lock, statement.as_secs_f64()))
}

/// User locks have names of at most 64 characters, without regard to case; user names have more, and mind it. A hash
/// (64-bit FNV-1a) fits: two names may share one, and then they queue.
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
        let server = |version: &str| Server {
            mariadb: version.contains("MariaDB"),
            version: numbers(version),
            account: AccountName::default(),
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
