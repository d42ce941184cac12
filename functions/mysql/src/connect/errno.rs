//! What an error number means for a rotation: one table, with reasons.
//!
//! Numbers: MySQL 9.7 Server Error Message Reference; MariaDB Knowledge Base, "MariaDB Error Codes". Both servers check the
//! password before everything else about the account (tried on MySQL 9.7 and MariaDB 10.11, with the right password and with a
//! wrong one in each state). So a later refusal proves the password, if its SQLSTATE shows that it came later.

use rotation::database::Observation;
use rotation::{Code, Error, Fact};

/// The password that REPLACE names is not the primary one.
pub(crate) const INCORRECT_CURRENT_PASSWORD: u16 = 3891;
/// The statement lacks REPLACE, and the account requires it (PASSWORD REQUIRE CURRENT).
pub(crate) const MISSING_CURRENT_PASSWORD: u16 = 3892;
/// The account had this password before (PASSWORD HISTORY, PASSWORD REUSE INTERVAL).
pub(crate) const CONTRADICTS_HISTORY: u16 = 3638;
/// Too few characters differ from the previous password (validate_password.changed_characters_percentage). The server
/// checks this after REPLACE.
pub(crate) const TOO_FEW_CHANGED_CHARACTERS: u16 = 4165;
/// An option of the server forbids the statement. On MariaDB that includes strict_password_validation.
pub(crate) const OPTION_PREVENTS_STATEMENT: u16 = 1290;
/// SET PASSWORD is not for the plugin of the account. MariaDB also says it after it has set the password of another plugin.
pub(crate) const SET_PASSWORD_NOT_APPLICABLE: u16 = 1699;
/// A login was refused by a plugin without passwords.
const WITHOUT_PASSWORD: u16 = 1698;
/// CREATE, ALTER or DROP USER failed, for a reason that the number does not say.
pub(crate) const CANNOT_USER: u16 = 1396;

/// KILL names a session that has ended.
pub(crate) const NO_SUCH_THREAD: u16 = 1094;

/// The SQLSTATE of errors without one of their own, which are most of those that only MySQL or MariaDB has.
const NO_STATE: &str = "HY000";

/// An error number, what it says about the password if a login ends in it, and the code to report.
struct Meaning(u16, Observation, Code);

use Observation::{Rejected, Unknown, Unreachable, Works};

const TABLE: &[Meaning] = &[
    // ---- the login
    // ER_ACCESS_DENIED_ERROR. The server also says this of a user that does not exist, and if the connection lacks what
    // the account REQUIREs, so that nobody can tell them apart.
    Meaning(1045, Rejected, Code::CurrentRejected),
    // ER_ACCESS_DENIED_NO_PASSWORD_ERROR: the last way to log in takes no password, as unix_socket does. On MariaDB other ways may
    // come before it. They have refused the password then, if they take one.
    Meaning(WITHOUT_PASSWORD, Rejected, Code::LoginForbidden),
    // ER_HOST_NOT_PRIVILEGED: no account of any name matches the client's host.
    Meaning(1130, Unknown, Code::LoginForbidden),
    // ER_HOST_IS_BLOCKED: max_connect_errors.
    Meaning(1129, Unknown, Code::LoginBlocked),
    // ER_USER_ACCESS_DENIED_FOR_USER_ACCOUNT_BLOCKED_BY_PASSWORD_LOCK: FAILED_LOGIN_ATTEMPTS, with any password.
    Meaning(3955, Unknown, Code::LoginBlocked),
    // MariaDB's ER_USER_IS_BLOCKED: max_password_errors, with any password.
    Meaning(4150, Unknown, Code::LoginBlocked),
    // ER_ACCOUNT_HAS_BEEN_LOCKED, and MariaDB's; ER_MUST_CHANGE_PASSWORD_LOGIN: expired; ER_MUST_CHANGE_PASSWORD:
    // expired, but the login may change the password; ER_SERVER_OFFLINE_MODE. All of them come only after the right
    // password. They prove nothing, because they have no SQLSTATE of their own (see `observation`).
    Meaning(3118, Unknown, Code::RoleUnusable),
    Meaning(4151, Unknown, Code::RoleUnusable),
    Meaning(1862, Unknown, Code::RoleUnusable),
    Meaning(1820, Unknown, Code::RoleUnusable),
    Meaning(3032, Unknown, Code::ServerNotReady),
    // ER_BAD_DB_ERROR, ER_DBACCESS_DENIED_ERROR: after the password.
    Meaning(1049, Works, Code::DatabaseUnusable),
    Meaning(1044, Works, Code::PrivilegeMissing),
    // ER_TOO_MANY_USER_CONNECTIONS and ER_USER_LIMIT_REACHED: the account's limits, counted after the password.
    Meaning(1203, Works, Code::TooManyConnections),
    Meaning(1226, Works, Code::TooManyConnections),
    // ER_CON_COUNT_ERROR: no slot. Both servers check the password first, but may be too busy even for that.
    Meaning(1040, Unknown, Code::TooManyConnections),
    // ER_SECURE_TRANSPORT_REQUIRED: MySQL says it after the right password. MariaDB says 1045 with any password.
    Meaning(3159, Unknown, Code::TlsRequired),
    // ER_NOT_SUPPORTED_AUTH_MODE, ER_SERVER_IS_IN_SECURE_AUTH_MODE, ER_PLUGIN_IS_NOT_LOADED (the account's plugin is gone,
    // as mysql_native_password is in 9.0).
    Meaning(1251, Unknown, Code::AuthenticationUnsupported),
    Meaning(1275, Unknown, Code::AuthenticationUnsupported),
    Meaning(1524, Unknown, Code::AuthenticationUnsupported),
    // ER_HANDSHAKE_ERROR, ER_NET_*: something between client and server.
    Meaning(1043, Unreachable, Code::ConnectionLost),
    Meaning(1152, Unreachable, Code::ConnectionLost),
    Meaning(1153, Unreachable, Code::ConnectionLost),
    Meaning(1158, Unreachable, Code::ConnectionLost),
    Meaning(1159, Unreachable, Code::ConnectionLost),
    Meaning(1160, Unreachable, Code::ConnectionLost),
    Meaning(1161, Unreachable, Code::ConnectionLost),
    Meaning(1184, Unreachable, Code::ConnectionLost),
    // CR_SERVER_GONE_ERROR, CR_SERVER_LOST, CR_CONN_HOST_ERROR: clients' numbers, which proxies pass on.
    Meaning(2003, Unreachable, Code::ConnectionLost),
    Meaning(2006, Unreachable, Code::ConnectionLost),
    Meaning(2013, Unreachable, Code::ConnectionLost),
    // ER_SERVER_SHUTDOWN, ER_NORMAL_SHUTDOWN; CR's and MariaDB's ER_CONNECTION_KILLED.
    Meaning(1053, Unreachable, Code::ServerNotReady),
    Meaning(1077, Unreachable, Code::ServerNotReady),
    Meaning(1927, Unreachable, Code::ConnectionLost),
    // ER_OUTOFMEMORY, ER_OUT_OF_RESOURCES, ER_CANT_CREATE_THREAD.
    Meaning(1037, Unknown, Code::ServerNotReady),
    Meaning(1041, Unknown, Code::ServerNotReady),
    Meaning(1135, Unknown, Code::ServerNotReady),
    // ER_CLIENT_INTERACTION_TIMEOUT: wait_timeout.
    Meaning(4031, Unreachable, Code::ConnectionLost),
    // ---- statements
    // ER_LOCK_WAIT_TIMEOUT, ER_LOCK_DEADLOCK, ER_LOCK_NOWAIT; ER_USER_LOCK_DEADLOCK.
    Meaning(1205, Unknown, Code::LockTimeout),
    Meaning(1213, Unknown, Code::LockTimeout),
    Meaning(3572, Unknown, Code::LockTimeout),
    Meaning(3058, Unknown, Code::LockTimeout),
    // ER_QUERY_INTERRUPTED, ER_QUERY_TIMEOUT; MariaDB's ER_STATEMENT_TIMEOUT.
    Meaning(1317, Unknown, Code::StatementTimeout),
    Meaning(3024, Unknown, Code::StatementTimeout),
    Meaning(1969, Unknown, Code::StatementTimeout),
    // ER_OPTION_PREVENTS_STATEMENT: usually read_only. ER_READ_ONLY_MODE, ER_CANT_EXECUTE_IN_READ_ONLY_TRANSACTION.
    Meaning(1290, Unknown, Code::ServerReadOnly),
    Meaning(1836, Unknown, Code::ServerReadOnly),
    Meaning(1792, Unknown, Code::ServerReadOnly),
    // ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR, ER_COLUMNACCESS_DENIED_ERROR, ER_PROCACCESS_DENIED_ERROR,
    // ER_CANT_CREATE_USER_WITH_GRANT, ER_PASSWORD_NOT_ALLOWED.
    Meaning(1227, Unknown, Code::PrivilegeMissing),
    Meaning(1142, Unknown, Code::PrivilegeMissing),
    Meaning(1143, Unknown, Code::PrivilegeMissing),
    Meaning(1370, Unknown, Code::PrivilegeMissing),
    Meaning(1410, Unknown, Code::PrivilegeMissing),
    Meaning(1132, Unknown, Code::PrivilegeMissing),
    // ER_KILL_DENIED_ERROR: the session is another user's.
    Meaning(1095, Unknown, Code::PrivilegeMissing),
    // ER_CANNOT_USER, ER_PASSWORD_NO_MATCH, ER_USER_DOES_NOT_EXIST; ER_UNKNOWN_AUTHID and MariaDB's ER_INVALID_ROLE.
    Meaning(1396, Unknown, Code::RoleMissing),
    Meaning(1133, Unknown, Code::RoleMissing),
    Meaning(3162, Unknown, Code::RoleMissing),
    Meaning(3523, Unknown, Code::RoleMissing),
    Meaning(1959, Unknown, Code::RoleMissing),
    // ER_WRONG_STRING_LENGTH: of a user name.
    Meaning(1470, Unknown, Code::NameTooLong),
    // ER_NOT_VALID_PASSWORD, ER_CREDENTIALS_CONTRADICT_TO_HISTORY, ER_PASSWD_LENGTH, ER_MISSING_CURRENT_PASSWORD.
    Meaning(1819, Unknown, Code::PasswordRefused),
    Meaning(3638, Unknown, Code::PasswordRefused),
    Meaning(1372, Unknown, Code::PasswordRefused),
    Meaning(3892, Unknown, Code::PasswordRefused),
    Meaning(4165, Unknown, Code::PasswordRefused),
    // ER_CANNOT_USER_REFERENCED_AS_DEFINER: a view or a stored program runs with the rights of the account to drop.
    Meaning(4006, Unknown, Code::PrivilegesDiffer),
];

fn row(number: u16) -> Option<&'static Meaning> {
    TABLE.iter().find(|row| row.0 == number)
}

/// What the error of a login says about the password.
///
/// Before the server knows the client's capabilities, it sends errors without a SQLSTATE, and the driver then says
/// [`NO_STATE`]. Such an error is older than the password and older than TLS, so anybody on the path may have sent it.
/// Only an error with a SQLSTATE of its own says anything about the password.
pub(crate) fn observation(number: u16, state: &str) -> Observation {
    match row(number).map_or(Unknown, |row| row.1) {
        Works | Rejected if state == NO_STATE => Unknown,
        observation => observation,
    }
}

/// The error for a number. It leaves out the server's message: that of error 1064 quotes the statement.
pub(crate) fn error(number: u16) -> Error {
    let error = Error::new(row(number).map_or(Code::TargetRefused, |row| row.2)).with(Fact::ErrorNumber, number);
    if number == WITHOUT_PASSWORD {
        let what = "the account for this host has no password, or a way to log in without one (unix_socket) beside it";
        return error.with(Fact::What, what);
    }
    error
}

/// Whether an error has this number.
pub(crate) fn is(error: &Error, number: u16) -> bool {
    error.fact(Fact::ErrorNumber) == Some(number.to_string().as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refused_password_is_a_rejection() {
        let rejected: Vec<u16> = TABLE.iter().filter(|row| row.1 == Rejected).map(|row| row.0).collect();
        assert_eq!(rejected, [1045, WITHOUT_PASSWORD]);
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
