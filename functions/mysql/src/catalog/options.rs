//! The options of CREATE USER and ALTER USER, except those of authentication and the lock.

use crate::connect::{Row, text};
use crate::sql::preamble::ServerInfo;
use crate::sql::quote::literal;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The clause of each option, in the order that both grammars want.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options(BTreeMap<Kind, String>);

/// MySQL manual, "ALTER USER Statement"; MariaDB Knowledge Base, "ALTER USER".
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Require,
    Queries,
    Updates,
    Connections,
    UserConnections,
    StatementTime,
    Lifetime,
    History,
    ReuseInterval,
    RequireCurrent,
    FailedLogins,
    LockTime,
}

/// What a login of this function has besides a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Means {
    /// TLS.
    pub(crate) encrypted: bool,
    /// A client's certificate, of whatever issuer and subject.
    pub(crate) certificate: bool,
}

/// What REQUIRE wants, and a login of this function does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lacking {
    Tls,
    /// The cipher of REQUIRE CIPHER. The server compares it with that of the connection.
    Cipher,
    /// A client's certificate.
    Certificate,
}

impl Options {
    /// The options of an account that was created without any.
    pub(crate) fn none(mariadb: bool) -> Self {
        if mariadb { Self::of_mariadb(&Map::new()) } else { Self::of_mysql(&Row::new(), &Map::new()) }
    }

    /// Reads a row whose columns from 4 on are `ssl_type` to `Password_require_current`, and `User_attributes`.
    pub(crate) fn of_mysql(row: &Row, attributes: &Map<String, Value>) -> Self {
        let require = require(text(row, 4), text(row, 5), text(row, 6), text(row, 7));
        let limit = |column| Some(text(row, column)).filter(|limit| !limit.is_empty()).unwrap_or("0");
        let locking = |key: &str| {
            let value = attributes.get("Password_locking").and_then(|locking| locking.get(key));
            value.and_then(Value::as_i64).unwrap_or_default()
        };
        let lock_time = match locking("password_lock_time_days") {
            -1 => "UNBOUNDED".to_owned(),
            days => days.to_string(),
        };
        Self(BTreeMap::from([
            (Kind::Require, require),
            (Kind::Queries, format!("MAX_QUERIES_PER_HOUR {}", limit(8))),
            (Kind::Updates, format!("MAX_UPDATES_PER_HOUR {}", limit(9))),
            (Kind::Connections, format!("MAX_CONNECTIONS_PER_HOUR {}", limit(10))),
            (Kind::UserConnections, format!("MAX_USER_CONNECTIONS {}", limit(11))),
            (Kind::Lifetime, lifetime(text(row, 12))),
            (Kind::History, format!("PASSWORD HISTORY {}", or_default(text(row, 13)))),
            (
                Kind::ReuseInterval,
                match text(row, 14) {
                    "" => "PASSWORD REUSE INTERVAL DEFAULT".to_owned(),
                    days => format!("PASSWORD REUSE INTERVAL {days} DAY"),
                },
            ),
            (
                Kind::RequireCurrent,
                match text(row, 15) {
                    "Y" => "PASSWORD REQUIRE CURRENT".to_owned(),
                    "N" => "PASSWORD REQUIRE CURRENT OPTIONAL".to_owned(),
                    _ => "PASSWORD REQUIRE CURRENT DEFAULT".to_owned(),
                },
            ),
            (Kind::FailedLogins, format!("FAILED_LOGIN_ATTEMPTS {}", locking("failed_login_attempts"))),
            (Kind::LockTime, format!("PASSWORD_LOCK_TIME {lock_time}")),
        ]))
    }

    /// Reads the JSON of `mysql.global_priv`.
    pub(crate) fn of_mariadb(fields: &Map<String, Value>) -> Self {
        let string = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default();
        let number = |key: &str| fields.get(key).and_then(Value::as_i64).unwrap_or_default();
        let kind = match number("ssl_type") {
            0 => "",
            1 => "ANY",
            2 => "X509",
            _ => "SPECIFIED",
        };
        let days = match fields.get("password_lifetime").and_then(Value::as_i64) {
            None | Some(-1) => String::new(),
            Some(days) => days.to_string(),
        };
        let seconds = fields.get("max_statement_time").and_then(Value::as_f64).unwrap_or_default();
        Self(BTreeMap::from([
            (Kind::Require, require(kind, string("ssl_cipher"), string("x509_issuer"), string("x509_subject"))),
            (Kind::Queries, format!("MAX_QUERIES_PER_HOUR {}", number("max_questions"))),
            (Kind::Updates, format!("MAX_UPDATES_PER_HOUR {}", number("max_updates"))),
            (Kind::Connections, format!("MAX_CONNECTIONS_PER_HOUR {}", number("max_connections"))),
            (Kind::UserConnections, format!("MAX_USER_CONNECTIONS {}", number("max_user_connections"))),
            (Kind::StatementTime, format!("MAX_STATEMENT_TIME {seconds}")),
            (Kind::Lifetime, lifetime(&days)),
        ]))
    }

    /// What a login of this function would lack, over a connection like that of `server`. With a client's certificate only that login
    /// shows whether the server is content with it. With CIPHER alone, MySQL asks for a
    /// client's certificate, too (`acl_check_ssl` in its sql_authentication.cc); MariaDB does not.
    pub(crate) fn lacking(&self, server: &ServerInfo, means: Means) -> Option<Lacking> {
        match self.0.get(&Kind::Require).map_or("", String::as_str) {
            "" | "REQUIRE NONE" => None,
            _ if !means.encrypted => Some(Lacking::Tls),
            "REQUIRE SSL" => None,
            cipher if server.mariadb && cipher.starts_with("REQUIRE CIPHER ") => {
                let own = format!("REQUIRE CIPHER {}", literal(&server.cipher));
                (cipher != own).then_some(Lacking::Cipher)
            }
            _ if means.certificate => None,
            _ => Some(Lacking::Certificate),
        }
    }

    /// The clauses that turn other options into these, as one text that begins with a space. It is empty if the options
    /// are alike.
    ///
    /// An account in use keeps its options: a limit, a requirement or a lifetime could refuse its consumers at once.
    pub(crate) fn instead_of(&self, others: &Self, in_use: bool) -> String {
        if in_use {
            return String::new();
        }
        let clauses = self.0.iter().filter(|(kind, clause)| others.0.get(*kind) != Some(*clause));
        let mut text = String::new();
        let mut with = false;
        for (kind, clause) in clauses {
            if (Kind::Queries..=Kind::StatementTime).contains(kind) && !with {
                text.push_str(" WITH");
                with = true;
            }
            text.push(' ');
            text.push_str(clause);
        }
        text
    }
}

fn require(kind: &str, cipher: &str, issuer: &str, subject: &str) -> String {
    match kind {
        "ANY" => "REQUIRE SSL".to_owned(),
        "X509" => "REQUIRE X509".to_owned(),
        "SPECIFIED" => {
            let parts = [("SUBJECT", subject), ("ISSUER", issuer), ("CIPHER", cipher)];
            let parts = parts.iter().filter(|(_, value)| !value.is_empty());
            let parts: Vec<String> = parts.map(|(name, value)| format!("{name} {}", literal(value))).collect();
            format!("REQUIRE {}", parts.join(" AND "))
        }
        _ => "REQUIRE NONE".to_owned(),
    }
}

fn lifetime(days: &str) -> String {
    match days {
        "" => "PASSWORD EXPIRE DEFAULT".to_owned(),
        "0" => "PASSWORD EXPIRE NEVER".to_owned(),
        days => format!("PASSWORD EXPIRE INTERVAL {days} DAY"),
    }
}

fn or_default(value: &str) -> &str {
    if value.is_empty() { "DEFAULT" } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sql::quote::AccountName;

    fn mysql(columns: &[(usize, &str)], attributes: &str) -> Options {
        let mut row: Row = vec![None; 19];
        for &(column, value) in columns {
            row[column] = Some(value.into());
        }
        Options::of_mysql(&row, &serde_json::from_str(attributes).unwrap())
    }

    fn mariadb(fields: &str) -> Options {
        Options::of_mariadb(&serde_json::from_str(fields).unwrap())
    }

    #[test]
    fn mysqls_options_in_the_order_of_its_grammar() {
        let options = mysql(
            &[
                (4, "SPECIFIED"),
                (5, ""),
                (6, "/CN='a'"),
                (7, "/CN=\\b"),
                (8, "1"),
                (11, "2"),
                (12, "0"),
                (13, "3"),
                (14, "4"),
                (15, "N"),
            ],
            r#"{"Password_locking": {"failed_login_attempts": 5, "password_lock_time_days": -1}}"#,
        );
        assert_eq!(
            options.instead_of(&Options::none(false), false),
            " REQUIRE SUBJECT '/CN=\\b' AND ISSUER '/CN=''a''' WITH MAX_QUERIES_PER_HOUR 1 MAX_USER_CONNECTIONS 2 \
             PASSWORD EXPIRE NEVER PASSWORD HISTORY 3 PASSWORD REUSE INTERVAL 4 DAY PASSWORD REQUIRE CURRENT OPTIONAL \
             FAILED_LOGIN_ATTEMPTS 5 PASSWORD_LOCK_TIME UNBOUNDED"
        );
        assert_eq!(options.instead_of(&options, false), "");
    }

    #[test]
    fn what_the_base_gave_up_goes_back_to_the_default() {
        let options = mysql(&[(4, "ANY"), (9, "7"), (12, "30"), (15, "Y")], "{}");
        assert_eq!(
            Options::none(false).instead_of(&options, false),
            " REQUIRE NONE WITH MAX_UPDATES_PER_HOUR 0 PASSWORD EXPIRE DEFAULT PASSWORD REQUIRE CURRENT DEFAULT"
        );
    }

    #[test]
    fn mariadbs_options() {
        let options = mariadb(
            r#"{"ssl_type": 2, "max_connections": 3, "max_user_connections": -1, "max_statement_time": 1.500000,
                "password_lifetime": 30}"#,
        );
        assert_eq!(
            options.instead_of(&Options::none(true), false),
            " REQUIRE X509 WITH MAX_CONNECTIONS_PER_HOUR 3 MAX_USER_CONNECTIONS -1 MAX_STATEMENT_TIME 1.5 \
             PASSWORD EXPIRE INTERVAL 30 DAY"
        );
        let defaults = r#"{"ssl_type": 0, "ssl_cipher": "", "max_statement_time": 0.000000, "password_lifetime": -1}"#;
        assert_eq!(mariadb(defaults), Options::none(true));
    }

    #[test]
    fn a_cipher_is_a_certificate_on_mysql_and_the_connections_own_on_mariadb() {
        let server = |mariadb| ServerInfo {
            mariadb,
            version: (0, 0, 0),
            account: AccountName::default(),
            cipher: "TLS_AES_256_GCM_SHA384".to_owned(),
        };
        let lacking = |is_mariadb: bool, kind, cipher: &str, encrypted| {
            let options = if is_mariadb {
                mariadb(&format!(r#"{{"ssl_type": {kind}, "ssl_cipher": "{cipher}"}}"#))
            } else {
                mysql(&[(4, ["", "ANY", "X509", "SPECIFIED"][kind]), (5, cipher)], "{}")
            };
            let none = options.lacking(&server(is_mariadb), Means { encrypted, certificate: false });
            let with = options.lacking(&server(is_mariadb), Means { encrypted, certificate: true });
            assert_eq!(with, none.filter(|lacking| *lacking != Lacking::Certificate));
            none
        };
        for is_mariadb in [false, true] {
            assert_eq!(lacking(is_mariadb, 0, "", false), None);
            assert_eq!(lacking(is_mariadb, 1, "", false), Some(Lacking::Tls));
            assert_eq!(lacking(is_mariadb, 1, "", true), None);
            assert_eq!(lacking(is_mariadb, 2, "", true), Some(Lacking::Certificate));
        }
        assert_eq!(lacking(false, 3, "TLS_AES_256_GCM_SHA384", true), Some(Lacking::Certificate));
        assert_eq!(lacking(true, 3, "TLS_AES_256_GCM_SHA384", true), None);
        assert_eq!(lacking(true, 3, "AES128-SHA", true), Some(Lacking::Cipher));
    }

    #[test]
    fn an_account_in_use_keeps_its_own() {
        let options = mysql(&[(12, "1"), (13, "2")], "{}");
        assert_eq!(options.instead_of(&Options::none(false), true), "");
        assert_ne!(options.instead_of(&Options::none(false), false), "");
    }
}
