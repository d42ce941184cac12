//! What the server knows about a user: its accounts, `'user'@'host'` each, with everything that ALTER USER can change.
//!
//! It is read as structured facts from the grant tables (MySQL manual, "Grant Tables"; MariaDB Knowledge Base,
//! "mysql.global_priv Table"). The text of SHOW CREATE USER is never taken apart.

use crate::catalog::options::Options;
use crate::catalog::power::Powers;
use crate::connect::{Row, Rows, Session, text};
use crate::sql::hash;
use crate::sql::preamble::{self, Server};
use crate::sql::quote::{AccountName, literal};
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// What MySQL keeps in `User_attributes`, as far as it is understood here.
const MYSQL_ATTRIBUTES: &[&str] =
    &["additional_password", "metadata", "multi_factor_authentication", "Password_locking", "Restrictions"];
/// What MariaDB keeps in `global_priv`, as far as it is understood here.
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
    /// `PASSWORD EXPIRE`; not what becomes of a lifetime.
    pub(crate) expired: bool,
    pub(crate) options: Options,
    /// MySQL: the object behind `COMMENT` and `ATTRIBUTE`.
    pub(crate) attribute: Map<String, Value>,
    /// MySQL: partial revokes, by schema.
    pub(crate) restrictions: BTreeMap<String, BTreeSet<String>>,
    /// MariaDB: the role that sessions start with.
    pub(crate) default_role: Option<String>,
    /// What makes it as good as a superuser.
    pub(crate) power: Option<String>,
    /// What is there and has no meaning here.
    pub(crate) unknown: Vec<String>,
}

/// How an account proves who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Authentication {
    pub(crate) plugin: String,
    pub(crate) hash: Hash,
    /// MySQL: whether there is a secondary password.
    pub(crate) secondary: bool,
    pub(crate) secondary_hash: Hash,
    /// Several factors (MySQL), or several ways of which one suffices (MariaDB).
    pub(crate) several: bool,
}

/// What the server keeps in place of a password.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Hash(pub(crate) Vec<u8>);

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hash)")
    }
}

/// The questions that every reading begins with, in this order; the positions of their answers.
#[derive(Clone, Copy, Debug)]
enum Question {
    Accounts,
    Validation,
    Roles,
    Proxies,
    Powers,
}

/// How many they are.
pub(crate) const QUESTIONS: usize = 5;

/// The accounts of some users, and what else has to be known before one of them is changed.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Accounts {
    /// In the order of their names.
    pub(crate) list: Vec<Account>,
    /// MariaDB: every new password has to be seen by a plugin, so that hashes are refused.
    pub(crate) passwords_validated: bool,
}

/// The versions whose grant tables are known here. Others have others.
///
/// # Errors
/// [`Code::TargetRefused`] with what was found and expected.
pub(crate) fn known_tables(session: &Session) -> Result<()> {
    let version @ (major, minor, patch) = session.version();
    // MySQL has not come to 10, and MariaDB began there.
    if ((8, 0, 14)..(10, 0, 0)).contains(&version) || version >= (10, 6, 0) {
        return Ok(());
    }
    Err(Error::new(Code::TargetRefused)
        .with(Fact::Found, format_args!("a server of version {major}.{minor}.{patch}"))
        .with(Fact::Expected, "MySQL from 8.0.14 on, or MariaDB from 10.6 on, for whatever a superuser does"))
}

/// Begins the work on the first of the users, and reads the accounts of all of them, as a superuser. One round trip.
///
/// # Errors
/// Those of [`preamble::begin`]; [`Code::PrivilegeMissing`] if the superuser may not read the grant tables.
pub(crate) async fn read(session: &mut Session, names: &[&str]) -> Result<(Server, Accounts)> {
    known_tables(session)?;
    let user = names.first().copied().unwrap_or_default();
    let (server, answers) = preamble::begin(session, user, &Accounts::questions(names)).await?;
    let accounts = Accounts::of_answers(&answers, names, server.mariadb)?;
    Ok((server, accounts))
}

impl Accounts {
    /// Questions that both servers answer, each from its own tables: in a comment `/*!80014 … */` MySQL reads on from that
    /// version and MariaDB never, in `/*M! … */` only MariaDB does (their manuals' "Comments" and "Comment Syntax").
    pub(crate) fn questions(names: &[&str]) -> String {
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
        [&accounts, validation, roles, proxies, &Powers::question()].join("; ")
    }

    /// # Errors
    /// [`Code::Internal`] if the answers are not those of [`questions`](Self::questions).
    pub(crate) fn of_answers(answers: &[Rows], names: &[&str], mariadb: bool) -> Result<Self> {
        let rows = |question: Question| answers.get(question as usize).map(Vec::as_slice);
        let (Some(accounts), Some(validation), Some(roles), Some(proxies), Some(powers)) = (
            rows(Question::Accounts),
            rows(Question::Validation),
            rows(Question::Roles),
            rows(Question::Proxies),
            rows(Question::Powers),
        ) else {
            return Err(Error::new(Code::Internal).with(Fact::What, "fewer answers than questions"));
        };
        let powers = Powers::read(powers, roles.iter().chain(proxies));
        let read = if mariadb { Account::of_mariadb } else { Account::of_mysql };
        let mut list: Vec<Account> = accounts.iter().filter_map(read).collect();
        // The server compares without regard to spaces at the end, and in case of a conversion perhaps to more.
        list.retain(|account| names.contains(&account.name.user.as_str()));
        for account in &mut list {
            account.power = powers.of(&account.name);
        }
        let passwords_validated = validation.first().is_some_and(|row| text(row, 0) == "1");
        Ok(Self { list, passwords_validated })
    }

    /// The rows about who has which roles and who may stand for whom.
    pub(crate) fn edges(answers: &[Rows]) -> (&[Row], &[Row]) {
        let rows = |question: Question| answers.get(question as usize).map_or(&[][..], Vec::as_slice);
        (rows(Question::Roles), rows(Question::Proxies))
    }

    /// The accounts of one user.
    pub(crate) fn of(&self, user: &str) -> Vec<&Account> {
        self.list.iter().filter(|account| account.name.user == user).collect()
    }
}

/// That a user is there, and that a password would let it in.
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

impl Account {
    /// Whether this is a password of the account, by what the server keeps.
    pub(crate) fn has(&self, password: &Password) -> bool {
        let Authentication { hash, secondary_hash, .. } = &self.authentication;
        [hash, secondary_hash].into_iter().any(|stored| hash::matches(&stored.0, password))
    }

    /// Whoever may write a secret names the user in it. A superuser's rights must not turn that into a way to take over the
    /// server.
    ///
    /// # Errors
    /// [`Code::RoleProtected`].
    pub(crate) fn unprotected(&self, server: &Server, allow_powerful: bool) -> Result<()> {
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
                hash: Hash(row.get(3).cloned().flatten().unwrap_or_default()),
                secondary: attributes.contains_key("additional_password"),
                secondary_hash: Hash(
                    attributes.get("additional_password").and_then(Value::as_str).unwrap_or_default().into(),
                ),
                several: attributes.contains_key("multi_factor_authentication"),
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

    /// Nothing for a role, which is no account.
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
        let unknown = fields.keys().filter(|key| !MARIADB_FIELDS.contains(&key.as_str()));
        Some(Self {
            name: AccountName::of_row(row, 0),
            authentication: Authentication {
                plugin: string("plugin"),
                hash: Hash(string("authentication_string").into_bytes()),
                secondary: false,
                secondary_hash: Hash::default(),
                several: fields.contains_key("auth_or"),
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

/// A column with a JSON object; NULL is an empty one.
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
