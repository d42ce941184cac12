//! Ends the sessions of a user.

use crate::lock::Locked;
use crate::sql::preamble::{limits, rows, text};
use crate::sql::quote::literal;
use rotation::protocol::target::Sessions;
use rotation::{Code, Error, Fact, Result};
use std::time::Duration;

/// How often it looks whether the sessions are gone, and how long it waits in between. A session ends at its next check for interrupts,
/// which takes milliseconds.
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Ends all sessions of the user but its own. Whoever logs in later is left alone.
///
/// A role may end the sessions of roles that it is a member of, its own among them; others take `pg_signal_backend` (manual, "Server
/// Signaling Functions"). A replica has sessions of its own, which are not seen here.
///
/// # Errors
/// [`Code::PrivilegeMissing`]; others by SQLSTATE.
pub(crate) async fn end(locked: &Locked, user: &str) -> Result<Sessions> {
    let session = &locked.session;
    // A name has 63 bytes at most, and names are compared as they are.
    let theirs = format!("FROM pg_stat_activity WHERE usename = {} AND pid <> pg_backend_pid()", literal(user));
    let sql = format!(
        "{}; SELECT 'ended', count(*) FILTER (WHERE pg_terminate_backend(pid)), clock_timestamp() {theirs}",
        limits(session)?
    );
    let answers = session.run(&sql).await.map_err(|error| explain(error, user))?;
    let strange = || Error::new(Code::ServerStrange).with(Fact::What, "no row about the sessions");
    let row = rows(&answers, "ended").next().ok_or_else(strange)?;
    let (ended, at) = (text(row, 1).parse().map_err(|_| strange())?, text(row, 2).to_owned());
    let mut left = ended;
    for _ in 0..LOOKS {
        // Within a transaction the view stays as it was read first (manual, "The Cumulative Statistics System").
        let sql = format!(
            "{}; SELECT pg_stat_clear_snapshot(); SELECT 'left', count(*) {theirs} AND backend_start <= {}::timestamptz",
            limits(session)?,
            literal(&at)
        );
        let answers = session.run(&sql).await?;
        let row = rows(&answers, "left").next().ok_or_else(strange)?;
        left = text(row, 1).parse().map_err(|_| strange())?;
        if left == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Sessions { ended, left })
}

fn explain(error: Error, user: &str) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error;
    }
    let what = "the superuser may not end the sessions of this user: GRANT pg_signal_backend TO the superuser";
    error.with(Fact::User, user).with(Fact::What, what)
}
