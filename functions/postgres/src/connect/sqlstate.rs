//! What a SQLSTATE means for a rotation: one table, with reasons.
//!
//! Codes: PostgreSQL manual, appendix A. During a login the server checks the password first and looks for the database
//! afterwards (`InitPostgres` in postinit.c), so a later refusal proves the password.

use rotation::database::Observation;
use rotation::{Code, Error, Fact};

/// A SQLSTATE (or a class, of two characters), what it says about the password if a login ends in it, and the code to report.
struct Meaning(&'static str, Observation, Code);

use Observation::{Rejected, Unknown, Unreachable, Works};

const TABLE: &[Meaning] = &[
    // invalid_password. The server also says this of a user that does not exist or whose VALID UNTIL has passed, so that
    // nobody can tell them apart.
    Meaning("28P01", Rejected, Code::CurrentRejected),
    // invalid_authorization_specification: no line in pg_hba.conf, or a role without LOGIN. Not about the password.
    Meaning("28000", Unknown, Code::LoginForbidden),
    // invalid_catalog_name: raised after authentication.
    Meaning("3D000", Works, Code::DatabaseUnusable),
    // insufficient_privilege: at login, CONNECT on the database is missing, which is checked after authentication.
    Meaning("42501", Works, Code::PrivilegeMissing),
    // object_not_in_prerequisite_state: at login, the database does not accept connections (datallowconn).
    Meaning("55000", Works, Code::DatabaseUnusable),
    // too_many_connections: for all slots it is raised before authentication, for the role's or the database's limit after.
    Meaning("53300", Unknown, Code::TooManyConnections),
    // cannot_connect_now: starting, stopping, or a standby that is not consistent yet.
    Meaning("57P03", Unreachable, Code::ServerNotReady),
    // admin_shutdown, crash_shutdown, database_dropped, idle_session_timeout: the session was ended.
    Meaning("57P01", Unreachable, Code::ServerNotReady),
    Meaning("57P02", Unreachable, Code::ServerNotReady),
    Meaning("57P04", Unknown, Code::DatabaseUnusable),
    Meaning("57P05", Unreachable, Code::ConnectionLost),
    // query_canceled: our statement_timeout, or an operator.
    Meaning("57014", Unknown, Code::StatementTimeout),
    // lock_not_available: our lock_timeout.
    Meaning("55P03", Unknown, Code::LockTimeout),
    // deadlock_detected, serialization_failure: the other transaction won.
    Meaning("40P01", Unknown, Code::LockTimeout),
    Meaning("40001", Unknown, Code::LockTimeout),
    // read_only_sql_transaction: a standby.
    Meaning("25006", Unknown, Code::ServerReadOnly),
    // invalid_grant_operation, invalid_grantor: an ADMIN OPTION is missing.
    Meaning("0LP01", Unknown, Code::PrivilegeMissing),
    Meaning("0L000", Unknown, Code::PrivilegeMissing),
    // undefined_object: the role.
    Meaning("42704", Unknown, Code::RoleMissing),
    // Class 08, connection exceptions; 08P01 (protocol violation) is what poolers answer to almost everything.
    Meaning("08", Unreachable, Code::ConnectionLost),
    // Class 53, insufficient resources: disk, memory.
    Meaning("53", Unknown, Code::ServerNotReady),
    // Class 58, system errors outside the server.
    Meaning("58", Unknown, Code::ServerNotReady),
];

fn row(sqlstate: &str) -> Option<&'static Meaning> {
    let exact = TABLE.iter().find(|row| row.0 == sqlstate);
    exact.or_else(|| TABLE.iter().find(|row| row.0.len() == 2 && sqlstate.starts_with(row.0)))
}

/// What the error of a login says about the password.
pub(crate) fn observation(sqlstate: &str) -> Observation {
    row(sqlstate).map_or(Unknown, |row| row.1)
}

/// The error for a SQLSTATE. It leaves out the server's message, which may quote the statement.
pub(crate) fn error(sqlstate: &str) -> Error {
    let code = row(sqlstate).map_or(Code::TargetRefused, |row| row.2);
    // A hostile server may send any text as the SQLSTATE, even a password that it was just sent.
    let genuine =
        sqlstate.len() == 5 && sqlstate.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase());
    Error::new(code).with(Fact::SqlState, if genuine { sqlstate } else { "not a SQLSTATE" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_password_is_a_rejection() {
        let rejected: Vec<&str> = TABLE.iter().filter(|row| row.1 == Rejected).map(|row| row.0).collect();
        assert_eq!(rejected, ["28P01"]);
    }

    #[test]
    fn a_class_stands_in_for_codes_without_a_row() {
        assert_eq!(observation("08006"), Unreachable);
        assert_eq!(observation("XX000"), Unknown);
        assert_eq!(error("XX000").code(), Code::TargetRefused);
        assert_eq!(error("SCRAM-SHA-256$4096:").fact(Fact::SqlState), Some("not a SQLSTATE"));
        assert_eq!(error("53200").code(), Code::ServerNotReady);
    }

    #[test]
    fn no_sqlstate_stands_twice() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!TABLE[index + 1..].iter().any(|other| other.0 == row.0), "{}", row.0);
        }
    }
}
