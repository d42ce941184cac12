//! Sets another user's password, as a superuser, on all of that user's accounts in one statement.
//!
//! The statement carries a hash that is made here, so that no password reaches the server or its logs. MariaDB with a password
//! validation plugin and `strict_password_validation` refuses hashes. There the password itself is sent, over TLS.

use crate::catalog::accounts::{Account, Accounts, Authentication};
use crate::catalog::sockets::Sockets;
use crate::connect::{Session, errno, text};
use crate::sql::hash;
use crate::sql::preamble::ServerInfo;
use crate::sql::quote::{AccountName, literal};
use rotation::database::PasswordChange;
use rotation::password::OsEntropy;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// "Your password does not satisfy the current policy requirements."
const NOT_VALID_PASSWORD: &str = "1819";

/// An authentication plugin whose hashes can be made here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Plugin {
    CachingSha2,
    Native,
    Ed25519,
}

/// What a statement does with an account's lock. The order is that of the statements: those that let a user in come last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lock {
    On,
    AsItIs,
    Off,
}

/// An account that gets a password.
#[derive(Clone, Debug)]
pub(crate) struct AccountUpdate {
    pub(crate) name: AccountName,
    pub(crate) plugin: Plugin,
    pub(crate) lock: Lock,
    /// Whether its secondary password ends.
    pub(crate) discard: bool,
    /// MariaDB: the ways to log in that it has beside the password.
    pub(crate) sockets: Sockets,
}

/// Plugins of accounts that may be named in an error (MySQL manual, "Available Authentication Plugins"; MariaDB Knowledge Base,
/// "Authentication Plugins").
const OTHER_PLUGINS: &[&str] = &[
    "AWSAuthenticationPlugin",
    "auth_socket",
    "authentication_fido",
    "authentication_kerberos",
    "authentication_ldap_sasl",
    "authentication_ldap_simple",
    "authentication_oci",
    "authentication_openid_connect",
    "authentication_pam",
    "authentication_webauthn",
    "authentication_windows",
    "caching_sha2_password",
    "ed25519",
    "gssapi",
    "mysql_native_password",
    "mysql_no_login",
    "mysql_old_password",
    "named_pipe",
    "pam",
    "parsec",
    "sha256_password",
    "unix_socket",
];

impl Plugin {
    /// The plugin of an account, which keeps it.
    ///
    /// # Errors
    /// [`Code::AuthenticationUnsupported`] if the plugin has no password, or a hash that cannot be made here.
    pub(crate) fn of(subject: &Account, mariadb: bool) -> Result<Self> {
        let Authentication { plugin, several, .. } = &subject.authentication;
        let known = match (plugin.as_str(), mariadb, several) {
            ("caching_sha2_password", false, false) => Some(Self::CachingSha2),
            ("mysql_native_password", _, false) => Some(Self::Native),
            ("ed25519", true, false) => Some(Self::Ed25519),
            _ => None,
        };
        known.ok_or_else(|| {
            // A hostile server names it as it likes.
            let plugin = OTHER_PLUGINS.iter().find(|known| *known == plugin).unwrap_or(&"a plugin of another name");
            let found = if *several { format!("{plugin}, and another way besides") } else { (*plugin).to_owned() };
            let expected = if mariadb {
                "mysql_native_password or ed25519"
            } else {
                "caching_sha2_password or mysql_native_password"
            };
            Error::new(Code::AuthenticationUnsupported)
                .with(Fact::User, &subject.name)
                .with(Fact::Found, found)
                .with(Fact::Expected, expected)
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::CachingSha2 => "caching_sha2_password",
            Self::Native => "mysql_native_password",
            Self::Ed25519 => "ed25519",
        }
    }

    /// A hash as strong as the strongest that these accounts have.
    fn hash(self, password: &Password, accounts: &Accounts) -> Result<Zeroizing<String>> {
        match self {
            Self::CachingSha2 => {
                let stored = accounts.list.iter().map(|account| &account.authentication);
                let stored = stored.filter(|it| it.plugin == self.name()).map(|it| it.hash.0.as_slice());
                // The number of rounds is the first part that differs.
                hash::caching_sha2(password, stored.max().unwrap_or_default(), &OsEntropy)
            }
            Self::Native => Ok(hash::native(password)),
            Self::Ed25519 => Ok(hash::ed25519(password)),
        }
    }
}

/// What gives an account the password, for each plugin.
#[derive(Debug)]
pub(crate) struct IdentifiedBy {
    /// `IDENTIFIED VIA` or `IDENTIFIED WITH`.
    identified: &'static str,
    ways: BTreeMap<Plugin, Zeroizing<String>>,
}

impl IdentifiedBy {
    /// # Errors
    /// [`Code::EntropyUnavailable`]; [`Code::TlsRequired`] if the server wants to see passwords and the session has no TLS.
    pub(crate) fn new(
        session: &Session,
        server: &ServerInfo,
        accounts: &Accounts,
        plugins: impl IntoIterator<Item = Plugin>,
        password: &Password,
    ) -> Result<Self> {
        needs_tls(session, accounts)?;
        let (identified, with) = if server.mariadb { ("IDENTIFIED VIA", "USING") } else { ("IDENTIFIED WITH", "AS") };
        let mut ways = BTreeMap::new();
        for plugin in plugins {
            if ways.contains_key(&plugin) {
                continue;
            }
            let name = plugin.name();
            let way = if accounts.passwords_validated {
                let password = Zeroizing::new(literal(password.expose()));
                format!("{name} USING PASSWORD({})", *password)
            } else {
                let hash = plugin.hash(password, accounts)?;
                let hash = Zeroizing::new(literal(&hash));
                format!("{name} {with} {}", *hash)
            };
            ways.insert(plugin, Zeroizing::new(way));
        }
        Ok(Self { identified, ways })
    }

    /// The clause for an account with this plugin and these ways beside it.
    pub(crate) fn by(&self, plugin: Plugin, sockets: &Sockets) -> Zeroizing<String> {
        let way = self.ways.get(&plugin).map_or("", |way| way.as_str());
        Zeroizing::new(format!("{} {}", self.identified, *Zeroizing::new(sockets.with(way))))
    }
}

/// Checks that a password can be sent to a server that wants to see it.
///
/// # Errors
/// [`Code::TlsRequired`].
pub(crate) fn needs_tls(session: &Session, accounts: &Accounts) -> Result<()> {
    if accounts.passwords_validated && !session.encrypted() {
        let what = "the new password, which the server's password validation plugin wants to see";
        return Err(Error::new(Code::TlsRequired).with(Fact::What, what));
    }
    Ok(())
}

/// Sets a user's password on all of its accounts, and ends their other passwords.
///
/// # Errors
/// [`Code::AuthenticationUnsupported`], [`Code::TlsRequired`] before any change; [`Code::PasswordRefused`]; others by
/// error number.
pub(crate) async fn set(
    session: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    user: &str,
    new: &Password,
) -> Result<()> {
    let mut targets = Vec::new();
    for account in accounts.of(user) {
        let plugin = Plugin::of(account, server.mariadb)?;
        let discard = account.authentication.secondary;
        let (name, sockets) = (account.name.clone(), account.authentication.sockets.clone());
        targets.push(AccountUpdate { name, plugin, lock: Lock::AsItIs, discard, sockets });
    }
    // MariaDB changes one account after the other. The session's own account comes last: until then a second run begins anew.
    targets.sort_by_key(|target| target.name == server.account);
    apply(session, server, accounts, &targets, new).await
}

/// MySQL: sets a user's password on all of its accounts, and keeps `from` working. An account retains `from` if that is
/// its primary password, and keeps it anyway as its secondary one. An account that already has the new password is left
/// alone: retaining it would end the previous one.
///
/// # Errors
/// Those of [`set`].
pub(crate) async fn set_and_retain(
    session: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    change: PasswordChange<'_>,
) -> Result<()> {
    let mut targets = Vec::new();
    for account in accounts.of(change.user) {
        let plugin = Plugin::of(account, server.mariadb)?;
        let primary = &account.authentication.hash.0;
        if !hash::matches(primary, change.to) {
            let retain = if hash::matches(primary, change.from) { " RETAIN CURRENT PASSWORD" } else { "" };
            targets.push((&account.name, plugin, retain));
        }
    }
    if targets.is_empty() {
        return Ok(());
    }
    let plugins = targets.iter().map(|(_, plugin, _)| *plugin);
    let identified = IdentifiedBy::new(session, server, accounts, plugins, change.to)?;
    let beside = Sockets::default();
    let part = |(name, plugin, retain): &(&AccountName, Plugin, &str)| {
        format!("{name} {}{retain}", *identified.by(*plugin, &beside))
    };
    let sql = Zeroizing::new(format!("ALTER USER {}", targets.iter().map(part).collect::<Vec<_>>().join(", ")));
    session.run(&sql).await.map(drop)
}

/// Sets the password of these accounts in one round trip. MySQL changes all accounts of a statement or none. MariaDB
/// stops at the first that fails, and a second run changes the rest.
///
/// # Errors
/// [`Code::TlsRequired`]; [`Code::PasswordRefused`]; others by error number.
pub(crate) async fn apply(
    session: &mut Session,
    server: &ServerInfo,
    accounts: &Accounts,
    targets: &[AccountUpdate],
    new: &Password,
) -> Result<()> {
    let identified = IdentifiedBy::new(session, server, accounts, targets.iter().map(|target| target.plugin), new)?;
    let sql = statements(targets, &identified);
    match session.run(&sql).await {
        Err(error) if accounts.passwords_validated && errno::is(&error, errno::CANNOT_USER) => {
            // Only the list of warnings has the reason.
            let warnings = session.run("SHOW WARNINGS").await?;
            let refused = warnings.iter().flatten().any(|row| text(row, 1) == NOT_VALID_PASSWORD);
            Err(if refused { error.recoded(Code::PasswordRefused) } else { error })
        }
        done => done.map(drop),
    }
}

fn statements(targets: &[AccountUpdate], identified: &IdentifiedBy) -> Zeroizing<String> {
    let mut statements = Vec::new();
    let discarded: Vec<String> = targets
        .iter()
        .filter(|target| target.discard)
        .map(|target| format!("{} DISCARD OLD PASSWORD", target.name))
        .collect();
    if !discarded.is_empty() {
        statements.push(format!("ALTER USER {}", discarded.join(", ")));
    }
    for (lock, clause) in [(Lock::On, " ACCOUNT LOCK"), (Lock::AsItIs, ""), (Lock::Off, " ACCOUNT UNLOCK")] {
        let group = targets.iter().filter(|target| target.lock == lock);
        let parts: Vec<String> =
            group.map(|target| format!("{} {}", target.name, *identified.by(target.plugin, &target.sockets))).collect();
        if !parts.is_empty() {
            statements.push(format!("ALTER USER {}{clause}", parts.join(", ")));
        }
    }
    Zeroizing::new(statements.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(host: &str, plugin: Plugin, lock: Lock, discard: bool) -> AccountUpdate {
        let sockets = Sockets::default();
        AccountUpdate { name: AccountName::new("app", host), plugin, lock, discard, sockets }
    }

    #[test]
    fn what_lets_somebody_in_comes_last_and_in_one_statement() {
        let clauses = [(Plugin::CachingSha2, "SHA2"), (Plugin::Native, "NATIVE")];
        let ways = clauses.map(|(plugin, clause)| (plugin, Zeroizing::new(clause.to_owned()))).into_iter().collect();
        let identified = IdentifiedBy { identified: "IDENTIFIED WITH", ways };
        let targets = [
            target("%", Plugin::CachingSha2, Lock::Off, true),
            target("closed", Plugin::CachingSha2, Lock::On, false),
            target("old", Plugin::Native, Lock::Off, true),
        ];
        assert_eq!(
            *statements(&targets, &identified),
            "ALTER USER 'app'@'%' DISCARD OLD PASSWORD, 'app'@'old' DISCARD OLD PASSWORD; \
             ALTER USER 'app'@'closed' IDENTIFIED WITH SHA2 ACCOUNT LOCK; \
             ALTER USER 'app'@'%' IDENTIFIED WITH SHA2, 'app'@'old' IDENTIFIED WITH NATIVE ACCOUNT UNLOCK"
        );
    }

    #[test]
    fn only_plugins_whose_hashes_are_known_get_one() {
        let subject = |plugin: &str, several| {
            let authentication = Authentication { plugin: plugin.to_owned(), several, ..Authentication::default() };
            Account { authentication, ..Account::default() }
        };
        for (plugin, mariadb) in [
            ("caching_sha2_password", true),
            ("ed25519", false),
            ("sha256_password", false),
            ("auth_socket", false),
            ("AWSAuthenticationPlugin", false),
            ("unix_socket", true),
            ("parsec", true),
            ("pam", true),
        ] {
            let error = Plugin::of(&subject(plugin, false), mariadb).unwrap_err();
            assert_eq!((error.code(), error.fact(Fact::Found)), (Code::AuthenticationUnsupported, Some(plugin)));
        }
        assert_eq!(Plugin::of(&subject("ed25519", false), true).unwrap(), Plugin::Ed25519);
        assert_eq!(Plugin::of(&subject("mysql_native_password", false), false).unwrap(), Plugin::Native);
        assert!(Plugin::of(&subject("mysql_native_password", true), true).is_err());
    }
}
