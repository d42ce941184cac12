//! Ends the sessions of a user.

use crate::connect::errno::{self, is};
use crate::connect::{Session, text};
use crate::sql::quote::literal;
use rotation::protocol::target::Sessions;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeSet;
use std::time::Duration;

/// How often it looks whether the sessions are gone, and how long it waits in between. A session ends at its next check of the flag that
/// KILL sets (MySQL manual, "KILL Statement").
const LOOKS: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// Ends all sessions of the user but its own. Whoever logs in later is left alone.
///
/// A user may end its own sessions; those of others take CONNECTION_ADMIN, and SUPER or CONNECTION ADMIN on MariaDB (the manuals, "KILL
/// Statement"). Sessions show the user and not the account, so those of accounts for other hosts count as the user's. A replica has
/// sessions of its own, which are not seen here.
///
/// # Errors
/// [`Code::PrivilegeMissing`]; others by error number.
pub(crate) async fn end(session: &mut Session, user: &str) -> Result<Sessions> {
    let theirs = of(session, user).await?;
    let mut ended = 0;
    for id in &theirs {
        match session.run(&format!("KILL {id}")).await {
            Ok(_) => ended += 1,
            Err(error) if is(&error, errno::NO_SUCH_THREAD) => {}
            Err(error) => return Err(explain(error, user)),
        }
    }
    let mut left = 0;
    for _ in 0..LOOKS {
        left = of(session, user).await?.intersection(&theirs).count();
        if left == 0 {
            break;
        }
        tokio::time::sleep(PAUSE).await;
    }
    Ok(Sessions { ended, left: u64::try_from(left).unwrap_or(u64::MAX) })
}

/// The ids of the user's sessions but this one. The server compares names without regard to case; another user's are left out here.
async fn of(session: &mut Session, user: &str) -> Result<BTreeSet<u64>> {
    let name = literal(user);
    let sql =
        format!("SELECT ID, USER FROM information_schema.PROCESSLIST WHERE USER = {name} AND ID <> CONNECTION_ID()");
    let answers = session.run(&sql).await?;
    let own = answers.iter().flatten().filter(|row| text(row, 1) == user);
    own.map(|row| {
        text(row, 0).parse().map_err(|_| Error::new(Code::ServerStrange).with(Fact::What, "a session without a number"))
    })
    .collect()
}

fn explain(error: Error, user: &str) -> Error {
    if error.code() != Code::PrivilegeMissing {
        return error;
    }
    let what = "the superuser may not end the sessions of this user: GRANT CONNECTION_ADMIN (MariaDB: CONNECTION ADMIN) ON *.* TO the \
                superuser; on Amazon RDS run CALL mysql.rds_kill for each of them";
    error.with(Fact::User, user).with(Fact::What, what)
}
