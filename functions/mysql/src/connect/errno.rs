//! What an error number means for a rotation. The one table, with reasons.
//!
//! Numbers: MySQL 9.7 Server Error Message Reference; MariaDB Knowledge Base, "MariaDB Error Codes". Both check the password
//! before anything else that is about the account (tried on MySQL 9.7 and MariaDB 10.11, with the right password and with a
//! wrong one in each state), so what is refused later proves the password, if its SQLSTATE shows that it came later.

use rotation::database::Observation;
use rotation::{Code, Error, Fact};

/// The password that REPLACE names is not the primary one.
pub(crate) const INCORRECT_CURRENT_PASSWORD: u16 = 3891;
/// The password is to be changed with REPLACE alone, which was left out (PASSWORD REQUIRE CURRENT).
pub(crate) const MISSING_CURRENT_PASSWORD: u16 = 3892;
/// The password is one that the account has had (PASSWORD HISTORY, PASSWORD REUSE INTERVAL).
pub(crate) const CONTRADICTS_HISTORY: u16 = 3638;
/// Too few characters differ from the password before (validate_password.changed_characters_percentage). Said only after
/// REPLACE was compared.
pub(crate) const TOO_FEW_CHANGED_CHARACTERS: u16 = 4165;
/// An option of the server forbids the statement: on MariaDB also strict_password_validation.
pub(crate) const OPTION_PREVENTS_STATEMENT: u16 = 1290;
/// CREATE, ALTER or DROP USER failed, for a reason that the number does not tell.
pub(crate) const CANNOT_USER: u16 = 1396;

/// The SQLSTATE of errors that have none, and of most that are MySQL's or MariaDB's alone.
const NO_STATE: &str = "HY000";

/// One row: an error number, what it tells about a password when a login ends in it, and the code to report.
struct Row(u16, Observation, Code);

use Observation::{Rejected, Unknown, Unreachable, Works};

const TABLE: &[Row] = &[
    // ---- the login
    // ER_ACCESS_DENIED_ERROR. Also the answer for a user that does not exist, and for REQUIRE where the connection does not
    // fulfil it: the server does not tell them apart on purpose.
    Row(1045, Rejected, Code::CurrentRejected),
    // ER_ACCESS_DENIED_NO_PASSWORD_ERROR: from plugins that know no password, such as unix_socket.
    Row(1698, Unknown, Code::LoginForbidden),
    // ER_HOST_NOT_PRIVILEGED: no account whatever its name matches where the connection comes from.
    Row(1130, Unknown, Code::LoginForbidden),
    // ER_HOST_IS_BLOCKED: max_connect_errors.
    Row(1129, Unknown, Code::LoginBlocked),
    // ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK: FAILED_LOGIN_ATTEMPTS. Whatever the password is.
    Row(3955, Unknown, Code::LoginBlocked),
    // MariaDB's ER_USER_IS_BLOCKED: max_password_errors. Whatever the password is.
    Row(4150, Unknown, Code::LoginBlocked),
    // ER_ACCOUNT_HAS_BEEN_LOCKED, and MariaDB's; ER_MUST_CHANGE_PASSWORD_LOGIN: expired; ER_MUST_CHANGE_PASSWORD: the same,
    // where the login is let in to change the password and do nothing else; ER_SERVER_OFFLINE_MODE. All of them come only
    // after the right password, and prove nothing: they have no SQLSTATE of their own (see `observation`).
    Row(3118, Unknown, Code::RoleUnusable),
    Row(4151, Unknown, Code::RoleUnusable),
    Row(1862, Unknown, Code::RoleUnusable),
    Row(1820, Unknown, Code::RoleUnusable),
    Row(3032, Unknown, Code::ServerNotReady),
    // ER_BAD_DB_ERROR, ER_DBACCESS_DENIED_ERROR: after the password.
    Row(1049, Works, Code::DatabaseUnusable),
    Row(1044, Works, Code::PrivilegeMissing),
    // ER_TOO_MANY_USER_CONNECTIONS and ER_USER_LIMIT_REACHED: the account's limits, counted after the password.
    Row(1203, Works, Code::TooManyConnections),
    Row(1226, Works, Code::TooManyConnections),
    // ER_CON_COUNT_ERROR: no slot. MySQL and MariaDB look at the password first, and are the first to be too busy for it.
    Row(1040, Unknown, Code::TooManyConnections),
    // ER_SECURE_TRANSPORT_REQUIRED, which MySQL says after the right password. MariaDB says 1045 to any.
    Row(3159, Unknown, Code::TlsRequired),
    // ER_NOT_SUPPORTED_AUTH_MODE, ER_SERVER_IS_IN_SECURE_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED (the account's plugin is gone,
    // as mysql_native_password is in 9.0).
    Row(1251, Unknown, Code::AuthenticationUnsupported),
    Row(1275, Unknown, Code::AuthenticationUnsupported),
    Row(1524, Unknown, Code::AuthenticationUnsupported),
    // ER_HANDSHAKE_ERROR, ER_NET_*: something in between.
    Row(1043, Unreachable, Code::ConnectionLost),
    Row(1152, Unreachable, Code::ConnectionLost),
    Row(1153, Unreachable, Code::ConnectionLost),
    Row(1158, Unreachable, Code::ConnectionLost),
    Row(1159, Unreachable, Code::ConnectionLost),
    Row(1160, Unreachable, Code::ConnectionLost),
    Row(1161, Unreachable, Code::ConnectionLost),
    Row(1184, Unreachable, Code::ConnectionLost),
    // CR_SERVER_GONE_ERROR, CR_SERVER_LOST, CR_CONN_HOST_ERROR: numbers of clients, which proxies hand on.
    Row(2003, Unreachable, Code::ConnectionLost),
    Row(2006, Unreachable, Code::ConnectionLost),
    Row(2013, Unreachable, Code::ConnectionLost),
    // ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN; CR's and MariaDB's ER_CONNECTION_KILLED.
    Row(1053, Unreachable, Code::ServerNotReady),
    Row(1077, Unreachable, Code::ServerNotReady),
    Row(1927, Unreachable, Code::ConnectionLost),
    // ER_OUTOFMEMORY, ER_OUT_OF_RESOURCES, ER_CANT_CREATE_THREAD.
    Row(1037, Unknown, Code::ServerNotReady),
    Row(1041, Unknown, Code::ServerNotReady),
    Row(1135, Unknown, Code::ServerNotReady),
    // ER_CLIENT_INTERACTION_TIMEOUT: wait_timeout.
    Row(4031, Unreachable, Code::ConnectionLost),
    // ---- statements
    // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_LOCK_NOWAIT; ER_USER_LOCK_DEADLOCK.
    Row(1205, Unknown, Code::LockTimeout),
    Row(1213, Unknown, Code::LockTimeout),
    Row(3572, Unknown, Code::LockTimeout),
    Row(3058, Unknown, Code::LockTimeout),
    // ER_QUERY_INTERRUPTED, ER_QUERY_TIMEOUT; MariaDB's ER_STATEMENT_TIMEOUT.
    Row(1317, Unknown, Code::StatementTimeout),
    Row(3024, Unknown, Code::StatementTimeout),
    Row(1969, Unknown, Code::StatementTimeout),
    // ER_OPTION_PREVENTS_STATEMENT: read_only as a rule. ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
    Row(1290, Unknown, Code::ServerReadOnly),
    Row(1836, Unknown, Code::ServerReadOnly),
    Row(1792, Unknown, Code::ServerReadOnly),
    // ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_PROCACCESS_DENIED_ERROR,
    // ER_CANT_CREATE_USER_WITH_GRANT, ER_PASSWORD_NOT_ALLOWED.
    Row(1227, Unknown, Code::PrivilegeMissing),
    Row(1142, Unknown, Code::PrivilegeMissing),
    Row(1143, Unknown, Code::PrivilegeMissing),
    Row(1370, Unknown, Code::PrivilegeMissing),
    Row(1410, Unknown, Code::PrivilegeMissing),
    Row(1132, Unknown, Code::PrivilegeMissing),
    // ER_CANNOT_USER, ER_PASSWORD_NO_MATCH, ER_USER_DOES_NOT_EXIST; ER_UNKNOWN_AUTHID and MariaDB's ER_INVALID_ROLE.
    Row(1396, Unknown, Code::RoleMissing),
    Row(1133, Unknown, Code::RoleMissing),
    Row(3162, Unknown, Code::RoleMissing),
    Row(3523, Unknown, Code::RoleMissing),
    Row(1959, Unknown, Code::RoleMissing),
    // ER_WRONG_STRING_LENGTH: of a user name.
    Row(1470, Unknown, Code::NameTooLong),
    // ER_NOT_VALID_PASSWORD, ER_CREDENTIALS_CONTRADICT_TO_HISTORY, ER_PASSWD_LENGTH, ER_MISSING_CURRENT_PASSWORD.
    Row(1819, Unknown, Code::PasswordRefused),
    Row(3638, Unknown, Code::PasswordRefused),
    Row(1372, Unknown, Code::PasswordRefused),
    Row(3892, Unknown, Code::PasswordRefused),
    Row(4165, Unknown, Code::PasswordRefused),
    // ER_CANNOT_USER_REFERENCED_AS_DEFINER: the account to drop is the one whose rights something runs with.
    Row(4006, Unknown, Code::PrivilegesDiffer),
];

fn row(number: u16) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.0 == number)
}

/// What the end of a login tells about the password.
///
/// A server that does not know yet what its client understands sends no SQLSTATE, and the driver then says [`NO_STATE`],
/// whatever stands in its place. Such an error is older than the password and, where there is to be TLS, than TLS: anybody
/// on the way may have sent it. So what tells anything about the password has a SQLSTATE of its own.
pub(crate) fn observation(number: u16, state: &str) -> Observation {
    match row(number).map_or(Unknown, |row| row.1) {
        Works | Rejected if state == NO_STATE => Unknown,
        observation => observation,
    }
}

/// The error for a number. The server's own words stay out of it: error 1064 quotes the statement.
pub(crate) fn error(number: u16) -> Error {
    Error::new(row(number).map_or(Code::TargetRefused, |row| row.2)).with(Fact::ErrorNumber, number)
}

/// Whether an error is the one with this number.
pub(crate) fn is(error: &Error, number: u16) -> bool {
    error.fact(Fact::ErrorNumber) == Some(number.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_password_is_a_rejection() {
        let rejected: Vec<u16> = TABLE.iter().filter(|row| row.1 == Rejected).map(|row| row.0).collect();
        assert_eq!(rejected, [1045]);
    }

    #[test]
    fn what_has_no_row_says_nothing_about_the_password() {
        assert_eq!(observation(1064, "42000"), Unknown);
        assert_eq!(error(1064).code(), Code::TargetRefused);
        assert!(is(&error(1064), 1064) && !is(&error(1064), 106));
    }

    #[test]
    fn what_may_be_older_than_the_password_says_nothing_about_it() {
        assert_eq!([observation(1045, "28000"), observation(1049, "42000")], [Rejected, Works]);
        for row in TABLE {
            assert!(!matches!(observation(row.0, NO_STATE), Works | Rejected), "{}", row.0);
        }
    }

    #[test]
    fn no_number_stands_twice() {
        for (index, row) in TABLE.iter().enumerate() {
            assert!(!TABLE[index + 1..].iter().any(|other| other.0 == row.0), "{}", row.0);
        }
    }
}
