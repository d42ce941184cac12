//! A user's accounts, `'user'@'host'` each, with everything that ALTER USER can change.
//!
//! They are read as data from the grant tables (MySQL manual, "Grant Tables"; MariaDB Knowledge Base,
//! "mysql.global_priv Table"). The text of SHOW CREATE USER is never parsed.

use crate::catalog::options::{Lacking, Means, Options};
use crate::catalog::power::Powers;
use crate::catalog::sockets::{SOCKETS, Sockets, Ways};
use crate::connect::{Row, Rows, Session, text};
use crate::sql::hash;
use crate::sql::preamble::{self, ServerInfo};
use crate::sql::quote::{AccountName, literal};
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The keys of `User_attributes` (MySQL) that are understood here.
const MYSQL_ATTRIBUTES: &[&str] =
    &["additional_password", "metadata", "multi_factor_authentication", "Password_locking", "Restrictions"];
/// The keys of `global_priv.Priv` (MariaDB) that are understood here.
const MARIADB_FIELDS: &[&str] = &[
    "access",
    "account_locked",
    "auth_or",
    "authentication_string",
    "default_role",
    "is_role",
    "max_connections",
    "max_questions",
    "max_statement_time",
    "max_updates",
    "max_user_connections",
    "password_last_changed",
    "password_lifetime",
    "plugin",
    "ssl_cipher",
    "ssl_type",
    "version_id",
    "x509_issuer",
    "x509_subject",
];

/// One account of a user.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Account {
    pub(crate) name: AccountName,
    pub(crate) authentication: Authentication,
    /// `ACCOUNT LOCK`.
    pub(crate) locked: bool,
    /// `PASSWORD EXPIRE`. A lifetime that has ended does not count.
    pub(crate) expired: bool,
    pub(crate) options: Options,
    /// MySQL: the object behind `COMMENT` and `ATTRIBUTE`.
    pub(crate) attribute: Map<String, Value>,
    /// MySQL: partial revokes, by schema.
    pub(crate) restrictions: BTreeMap<String, BTreeSet<String>>,
    /// MariaDB: the role that sessions start with.
    pub(crate) default_role: Option<String>,
    /// What makes it as powerful as a superuser.
    pub(crate) power: Option<String>,
    /// Settings that are not understood here.
    pub(crate) unknown: Vec<String>,
}

/// How an account authenticates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication {
    pub(crate) plugin: String,
    pub(crate) hash: StoredHash,
    /// MySQL: whether there is a secondary password.
    pub(crate) secondary: bool,
    pub(crate) secondary_hash: StoredHash,
    /// Whether the user has several factors (MySQL), or plugins besides the one with the password that are no sockets (MariaDB). On
    /// MariaDB, one of the plugins is enough.
    pub(crate) several: bool,
    pub(crate) sockets: Sockets,
}

impl Authentication {
    /// Whether the account has no password at all, and lets in whoever the operating system vouches for. `invalid` is the hash that
    /// MariaDB's installation gives to its own accounts.
    fn is_without_password(&self) -> bool {
        let socket = SOCKETS.contains(&self.plugin.as_str());
        !self.several && (socket || (self.hash.0 == b"invalid" && self.sockets != Sockets::default()))
    }
}

/// The hash of a password, as the server stores it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct StoredHash(pub(crate) Vec<u8>);

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

/// The queries that every reading begins with, in the order of their answers.
#[derive(Clone, Copy, Debug)]
enum Query {
    Accounts,
    Validation,
    Roles,
    Proxies,
    Powers,
}

/// The number of these queries.
pub(crate) const QUERIES: usize = 5;

/// The accounts of some users, and what else has to be known before an account is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Accounts {
    /// In the order of their names.
    pub(crate) list: Vec<Account>,
    /// MariaDB: a plugin has to see every new password, so the server refuses hashes.
    pub(crate) passwords_validated: bool,
    /// Accounts of these users that have no password, beside accounts that have one. Nothing is done to them.
    pub(crate) left_alone: Vec<AccountName>,
}

/// Checks that the grant tables of this server version are known here.
///
/// # Errors
/// [`Code::TargetRefused`].
pub(crate) fn known_tables(session: &Session) -> Result<()> {
    let version @ (major, minor, patch) = session.version();
    // MySQL's versions are below 10. MariaDB's began there.
    if ((8, 0, 14)..(10, 0, 0)).contains(&version) || version >= (10, 5, 0) {
        return Ok(());
    }
    Err(Error::new(Code::TargetRefused)
        .with(Fact::Found, format_args!("a server of version {major}.{minor}.{patch}"))
        .with(Fact::Expected, "MySQL from 8.0.14 on, or MariaDB from 10.5 on, for whatever a superuser does"))
}

/// Begins the work on the first of the users, and reads the accounts of all of them, as a superuser. One round trip.
///
/// # Errors
/// Those of [`preamble::begin`]; [`Code::PrivilegeMissing`] if the superuser may not read the grant tables.
pub(crate) async fn read(session: &mut Session, names: &[&str]) -> Result<(ServerInfo, Accounts)> {
    known_tables(session)?;
    let user = names.first().copied().unwrap_or_default();
    let (server, answers) = preamble::begin(session, Some(user), &Accounts::queries(names)).await?;
    let accounts = Accounts::of_answers(&answers, names, server.mariadb)?;
    Ok((server, accounts))
}

impl Accounts {
    /// Queries that both servers answer from their own tables. MySQL from 8.0.14 on reads `/*!80014 … */`, MariaDB
    /// never does. Only MariaDB reads `/*M! … */` (their manuals' "Comments" and "Comment Syntax").
    pub(crate) fn queries(names: &[&str]) -> String {
        let names = names.iter().map(|name| literal(name)).collect::<Vec<_>>().join(", ");
        let accounts = format!(
            "SELECT User, Host /*!80014 , plugin, CAST(authentication_string AS BINARY), ssl_type, ssl_cipher, \
               x509_issuer, x509_subject, max_questions, max_updates, max_connections, max_user_connections, \
               password_lifetime, Password_reuse_history, Password_reuse_time, Password_require_current, \
               account_locked, password_expired, User_attributes FROM mysql.user */ \
               /*M! , Priv FROM mysql.global_priv */ WHERE User IN ({names}) ORDER BY User, Host"
        );
        let validation = "SELECT /*!80014 0 */ /*M! @@GLOBAL.strict_password_validation AND EXISTS ( \
               SELECT 1 FROM information_schema.PLUGINS \
               WHERE PLUGIN_TYPE = 'PASSWORD VALIDATION' AND PLUGIN_STATUS = 'ACTIVE') */";
        let roles = "SELECT /*!80014 TO_USER, TO_HOST, FROM_USER, FROM_HOST, WITH_ADMIN_OPTION FROM mysql.role_edges */ \
               /*M! User, Host, Role, '', Admin_option FROM mysql.roles_mapping */";
        let proxies = "SELECT User, Host, Proxied_user, Proxied_host, With_grant FROM mysql.proxies_priv";
        [&accounts, validation, roles, proxies, &Powers::query()].join("; ")
    }

    /// # Errors
    /// [`Code::ServerStrange`] if the answers are not those of [`queries`](Self::queries).
    pub(crate) fn of_answers(answers: &[Rows], names: &[&str], mariadb: bool) -> Result<Self> {
        let rows = |query: Query| answers.get(query as usize).map(Vec::as_slice);
        let (Some(accounts), Some(validation), Some(roles), Some(proxies), Some(powers)) = (
            rows(Query::Accounts),
            rows(Query::Validation),
            rows(Query::Roles),
            rows(Query::Proxies),
            rows(Query::Powers),
        ) else {
            return Err(Error::new(Code::ServerStrange).with(Fact::What, "fewer answers than questions"));
        };
        let powers = Powers::read(powers, roles.iter().chain(proxies));
        let read = if mariadb { Account::of_mariadb } else { Account::of_mysql };
        let mut list: Vec<Account> = accounts.iter().filter_map(read).collect();
        // The server ignores spaces at the end of a name when it compares, and possibly other differences.
        list.retain(|account| names.contains(&account.name.user.as_str()));
        for account in &mut list {
            account.power = powers.of(&account.name);
        }
        let left_alone = take_without_password(&mut list);
        let passwords_validated = validation.first().is_some_and(|row| text(row, 0) == "1");
        Ok(Self { list, passwords_validated, left_alone })
    }

    /// The rows about roles and the rows about proxies.
    pub(crate) fn edges(answers: &[Rows]) -> (&[Row], &[Row]) {
        let rows = |query: Query| answers.get(query as usize).map_or(&[][..], Vec::as_slice);
        (rows(Query::Roles), rows(Query::Proxies))
    }

    /// The accounts of one user.
    pub(crate) fn of(&self, user: &str) -> Vec<&Account> {
        self.list.iter().filter(|account| account.name.user == user).collect()
    }
}

/// Takes the accounts without a password out of the list: there is no password to rotate. Those stay in the list whose user has no
/// other account, or whose host is that of an account with a password, because the other user of a pair has to be like that one.
fn take_without_password(list: &mut Vec<Account>) -> Vec<AccountName> {
    let without = |account: &Account| account.authentication.is_without_password();
    let (with, out): (Vec<Account>, Vec<Account>) = list.drain(..).partition(|account| !without(account));
    let (out, stay): (Vec<Account>, Vec<Account>) = out.into_iter().partition(|account| {
        with.iter().any(|other| other.name.user == account.name.user)
            && !with.iter().any(|other| other.name.host == account.name.host)
    });
    list.extend(with);
    list.extend(stay);
    list.sort_by(|one, other| one.name.cmp(&other.name));
    out.into_iter().map(|account| account.name).collect()
}

/// Checks that a user exists, and that a password would let it log in.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`].
pub(crate) fn usable(accounts: &[&Account], user: &str) -> Result<()> {
    if accounts.is_empty() {
        return Err(Error::new(Code::RoleMissing).with(Fact::User, user));
    }
    if accounts.iter().all(|account| account.locked) {
        let what = "ACCOUNT LOCK, on every account of the user";
        return Err(Error::new(Code::RoleUnusable).with(Fact::User, user).with(Fact::What, what));
    }
    Ok(())
}

/// Checks that a password would be all that a login of this function needs, for one account at least. The function could set a password
/// otherwise, and never log in with it.
///
/// # Errors
/// [`Code::TlsRequired`], [`Code::AuthenticationUnsupported`].
pub(crate) fn need_a_password_only(accounts: &[&Account], user: &str, server: &ServerInfo, means: Means) -> Result<()> {
    let mut lacking = accounts.iter().map(|account| account.options.lacking(server, means));
    let Some(Some(first)) = lacking.next() else { return Ok(()) };
    if lacking.any(|lacking| lacking.is_none()) {
        return Ok(());
    }
    let (found, expected) = match first {
        Lacking::Tls => {
            let what = "the accounts of the user REQUIRE TLS, which \"ssl\": false leaves out";
            return Err(Error::new(Code::TlsRequired).with(Fact::User, user).with(Fact::What, what));
        }
        Lacking::Cipher => {
            ("REQUIRE CIPHER of another cipher than that of the function's connection", server.cipher.as_str())
        }
        Lacking::Certificate if server.mariadb => {
            ("REQUIRE of a client's certificate", "rotation.clientCertificate, or REQUIRE NONE, SSL or CIPHER")
        }
        Lacking::Certificate => (
            "REQUIRE of a client's certificate, which CIPHER is on MySQL, too",
            "rotation.clientCertificate, or REQUIRE NONE or SSL",
        ),
    };
    Err(Error::new(Code::AuthenticationUnsupported)
        .with(Fact::User, user)
        .with(Fact::Found, format_args!("{found}, on every account of the user"))
        .with(Fact::Expected, expected))
}

impl Account {
    /// Whether this is a password of the account, by the stored hashes.
    pub(crate) fn has(&self, password: &Password) -> bool {
        let Authentication { hash, secondary_hash, .. } = &self.authentication;
        [hash, secondary_hash].into_iter().any(|stored| hash::matches(&stored.0, password))
    }

    /// **Invariant:** a superuser changes no user that is as powerful as a superuser, unless the deployer
    /// allows it. Whoever may write a secret names its user, and could take over the server otherwise. Test:
    /// `users_that_cannot_or_must_not_be_rotated_so_are_refused_untouched`.
    ///
    /// # Errors
    /// [`Code::RoleProtected`].
    pub(crate) fn unprotected(&self, server: &ServerInfo, allow_powerful: bool) -> Result<()> {
        let protected =
            |what: &str| Err(Error::new(Code::RoleProtected).with(Fact::User, &self.name).with(Fact::What, what));
        if self.name.user == server.account.user {
            return protected("it is the superuser secret's own user");
        }
        match &self.power {
            Some(power) if !allow_powerful => protected(&format!("it is a superuser, or amounts to one: {power}")),
            _ => Ok(()),
        }
    }

    fn of_mysql(row: &Row) -> Option<Self> {
        let attributes = object(row, 18);
        let (attributes, unreadable) = match attributes {
            Ok(attributes) => (attributes, None),
            Err(()) => (Map::new(), Some("User_attributes".to_owned())),
        };
        let (restrictions, odd) = restrictions(attributes.get("Restrictions"));
        let unknown = attributes.keys().filter(|key| !MYSQL_ATTRIBUTES.contains(&key.as_str()));
        Some(Self {
            name: AccountName::of_row(row, 0),
            authentication: Authentication {
                plugin: text(row, 2).to_owned(),
                hash: StoredHash(row.get(3).cloned().flatten().unwrap_or_default()),
                secondary: attributes.contains_key("additional_password"),
                secondary_hash: StoredHash(
                    attributes.get("additional_password").and_then(Value::as_str).unwrap_or_default().into(),
                ),
                several: attributes.contains_key("multi_factor_authentication"),
                sockets: Sockets::default(),
            },
            locked: text(row, 16) == "Y",
            expired: text(row, 17) == "Y",
            options: Options::of_mysql(row, &attributes),
            attribute: attributes.get("metadata").and_then(Value::as_object).cloned().unwrap_or_default(),
            restrictions,
            unknown: unknown.map(|key| format!("attribute {key}")).chain(unreadable).chain(odd).collect(),
            ..Self::default()
        })
    }

    /// `None` for a role, which is not an account.
    fn of_mariadb(row: &Row) -> Option<Self> {
        let (fields, unreadable) = match object(row, 2) {
            Ok(fields) => (fields, None),
            Err(()) => (Map::new(), Some("global_priv.Priv".to_owned())),
        };
        let flag = |key: &str| fields.get(key).and_then(Value::as_bool).unwrap_or_default();
        let string = |key: &str| fields.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        if flag("is_role") {
            return None;
        }
        let ways = Ways::read(&fields);
        let several = ways.is_none();
        let unknown = fields.keys().filter(|key| !MARIADB_FIELDS.contains(&key.as_str()));
        Some(Self {
            name: AccountName::of_row(row, 0),
            authentication: Authentication {
                plugin: ways.as_ref().map_or_else(|| string("plugin"), |ways| ways.plugin.to_owned()),
                hash: StoredHash(ways.as_ref().map_or_else(String::new, |ways| ways.hash.to_owned()).into_bytes()),
                secondary: false,
                secondary_hash: StoredHash::default(),
                several,
                sockets: ways.map(|ways| ways.sockets).unwrap_or_default(),
            },
            locked: flag("account_locked"),
            expired: fields.get("password_last_changed").and_then(Value::as_i64) == Some(0),
            options: Options::of_mariadb(&fields),
            default_role: Some(string("default_role")).filter(|role| !role.is_empty()),
            unknown: unknown.map(|key| format!("field {key}")).chain(unreadable).collect(),
            ..Self::default()
        })
    }
}

/// A column with a JSON object; an empty object for NULL.
fn object(row: &Row, column: usize) -> Result<Map<String, Value>, ()> {
    match row.get(column).and_then(Option::as_deref) {
        None => Ok(Map::new()),
        Some(json) => serde_json::from_slice(json).map_err(drop),
    }
}

/// `[{"Database": "mysql", "Privileges": ["INSERT", …]}, …]`
fn restrictions(value: Option<&Value>) -> (BTreeMap<String, BTreeSet<String>>, Option<String>) {
    let Some(value) = value else { return (BTreeMap::new(), None) };
    let read = |entry: &Value| {
        let entry = entry.as_object().filter(|entry| entry.len() == 2)?;
        let words = entry.get("Privileges")?.as_array()?.iter().map(|word| word.as_str().map(str::to_owned));
        Some((entry.get("Database")?.as_str()?.to_owned(), words.collect::<Option<_>>()?))
    };
    match value.as_array().and_then(|entries| entries.iter().map(read).collect()) {
        Some(restrictions) => (restrictions, None),
        None => (BTreeMap::new(), Some("a partial revoke".to_owned())),
    }
}
