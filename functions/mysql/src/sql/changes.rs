//! The statements that make the clone's accounts like the base's. They are worked out from the grant tables before the
//! first one runs. An empty list proves that the accounts are alike, as far as they have to be now.
//!
//! **Invariant:** nothing is revoked from the clone while consumers use it, and nothing is ever revoked from the base. Without it,
//! consumers of AWSCURRENT are refused before a rotation has ended. Test: `what_the_clone_has_on_its_own_it_loses_at_its_turn`.
//!
//! The server gives EXECUTE and ALTER ROUTINE to whoever makes a routine (`automatic_sp_privileges`), thus to whichever user is in
//! use then. The base gets these as well, and from then on the clone has them because the base has. Test:
//! `both_users_go_on_using_what_either_of_them_made`.

use crate::catalog::accounts::Account;
use crate::catalog::grants::{Grants, Level, Privilege, Privileges, list};
use crate::catalog::options::Options;
use crate::sql::quote::{AccountName, literal};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::fmt;
use zeroize::Zeroizing;

/// GRANT OPTION, as a partial revoke calls it.
const RESTRICTED_GRANT: &str = "GRANT";

/// An account and what it may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Grantee {
    pub(crate) account: Account,
    pub(crate) grants: Grants,
}

/// A change to the clone.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) sql: String,
    /// What it changes, in words: for the error of a refusal, and for a comparison that finds a difference.
    pub(crate) what: String,
    /// The right that the superuser lacks if the server refuses the change.
    pub(crate) needs: Right,
    /// What it grants on an object that may have been dropped since the base got it.
    pub(crate) grants: Option<ObjectGrant>,
    /// The account that it drops.
    pub(crate) drops: Option<AccountName>,
}

/// Privileges for a table or a routine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ObjectGrant {
    pub(crate) level: Level,
    pub(crate) privileges: Vec<Privilege>,
    pub(crate) to: AccountName,
}

/// A right that a change needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Right {
    /// To create, change and drop accounts.
    CreateUser,
    /// To have these privileges and pass them on.
    Privileges(String, Level),
    /// To administer this role.
    Admin(String),
    /// To set the default roles of other accounts.
    DefaultRole,
    /// To pass on PROXY for this account.
    Proxy(String),
}

/// Statements may hold hashes, or a password, so they are not printed.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("what", &self.what).field("needs", &self.needs).finish_non_exhaustive()
    }
}

/// Which user's accounts are changed, and under which conditions.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CloneTask<'a> {
    /// The clone's user name.
    pub(crate) clone: &'a str,
    pub(crate) mariadb: bool,
    /// Whether consumers use the clone at the moment. Then a change that could refuse one of them waits for the clone's turn.
    pub(crate) in_use: bool,
}

impl CloneTask<'_> {
    /// The statements, in order. A new account is created with the clause that `identified` returns, and locked.
    pub(crate) fn changes(
        self,
        base: &[Grantee],
        clone: &[Grantee],
        identified: impl Fn(&Account) -> Zeroizing<String>,
    ) -> Vec<Change> {
        let mut changes = Vec::new();
        let counterpart = |host: &str| clone.iter().find(|subject| subject.account.name.host == host);
        for wanted in base {
            let host = &wanted.account.name.host;
            let name = AccountName { user: self.clone.to_owned(), host: host.clone() };
            let mut one = CloneAccount { name, mariadb: self.mariadb, in_use: self.in_use, changes: Vec::new() };
            match counterpart(host) {
                Some(found) => {
                    one.alter(&wanted.account, &found.account);
                    let made = one.pass_on(wanted, &found.grants);
                    one.grant(&made, &found.grants);
                }
                // The server prefers the narrower host pattern. It would match clients of another account with this one
                // while it is half made.
                None if self.in_use => {}
                None => {
                    one.create(&wanted.account, &identified(&wanted.account));
                    one.grant(&wanted.grants, &Grants::default());
                }
            }
            changes.append(&mut one.changes);
        }
        let stale = clone
            .iter()
            .filter(|subject| !base.iter().any(|other| other.account.name.host == subject.account.name.host));
        for subject in stale.filter(|_| !self.in_use) {
            changes.push(Change {
                sql: format!("DROP USER {}", subject.account.name),
                what: format!(
                    "the account {} is there without one of the base user for that host",
                    subject.account.name
                ),
                needs: Right::CreateUser,
                grants: None,
                drops: Some(subject.account.name.clone()),
            });
        }
        changes
    }
}

/// One account of the clone.
#[derive(Debug)]
struct CloneAccount {
    name: AccountName,
    mariadb: bool,
    in_use: bool,
    changes: Vec<Change>,
}

impl CloneAccount {
    fn push(&mut self, sql: String, what: &str, needs: Right) {
        let what = format!("{}: {what}", self.name);
        self.changes.push(Change { sql, what, needs, grants: None, drops: None });
    }

    fn create(&mut self, wanted: &Account, identified: &str) {
        let options = wanted.options.instead_of(&Options::none(self.mariadb), false);
        let attribute = attribute(&wanted.attribute, &Map::new());
        let sql = format!("CREATE USER {} {identified}{options} ACCOUNT LOCK{attribute}", self.name);
        self.push(sql, "the account does not exist", Right::CreateUser);
    }

    fn alter(&mut self, wanted: &Account, found: &Account) {
        let options = wanted.options.instead_of(&found.options, self.in_use);
        let attribute = attribute(&wanted.attribute, &found.attribute);
        if !options.is_empty() || !attribute.is_empty() {
            let what = if options.is_empty() { "the comment or the attribute" } else { options.trim_start() };
            self.push(format!("ALTER USER {}{options}{attribute}", self.name), what, Right::CreateUser);
        }
    }

    /// Grants come before revokes, so that an account in use never lacks a privilege that it should have. The exception
    /// is a moment within a round trip, if the server can only revoke too much and then has to grant the rest again.
    fn grant(&mut self, wanted: &Grants, found: &Grants) {
        self.grant_roles(wanted, found);
        let nothing = Privileges::default();
        for (level, privileges) in &wanted.privileges {
            let found = found.privileges.get(level).unwrap_or(&nothing);
            if *level == Level::Global && self.in_use {
                self.grant_privileges(level, &unrestricted(privileges, wanted), found);
            } else {
                self.grant_privileges(level, privileges, found);
            }
        }
        self.grant_proxies(wanted, found);
        self.default_roles(wanted, found);
        self.end_restrictions(wanted, found);
        if self.in_use {
            return;
        }
        for (level, privileges) in &found.privileges {
            self.revoke_privileges(level, wanted.privileges.get(level).unwrap_or(&nothing), privileges);
        }
        self.revoke_grant_options(wanted, found);
        self.revoke_roles_and_proxies(wanted, found);
        self.restrict(wanted, found);
    }

    /// Gives the base what the server gave to the clone alone, for having made a routine. Both are named in one statement, because
    /// its grantor then stands beside the privileges of both: if a person revokes them from the base later, the clone follows.
    /// Returns what the base has afterwards.
    fn pass_on(&mut self, base: &Grantee, found: &Grants) -> Grants {
        let mut wanted = base.grants.clone();
        for level in &found.made {
            let Some(given) = found.privileges.get(level) else { continue };
            let has = wanted.privileges.entry(level.clone()).or_default();
            let missing: Vec<Privilege> = given.words.difference(&has.words).cloned().collect();
            has.words.extend(missing.iter().cloned());
            if missing.is_empty() {
                continue;
            }
            let (words, to) = (list(&missing), base.account.name.clone());
            self.changes.push(Change {
                sql: format!("GRANT {words} ON {} TO {to}, {}", level.on(), self.name),
                what: format!("{to}: {words} on {} is missing, which {} made", level.on(), self.name),
                needs: Right::Privileges(words, level.clone()),
                grants: Some(ObjectGrant { level: level.clone(), privileges: missing, to }),
                drops: None,
            });
        }
        wanted
    }

    fn grant_privileges(&mut self, level: &Level, wanted: &Privileges, found: &Privileges) {
        let missing: Vec<Privilege> = wanted.words.difference(&found.words).cloned().collect();
        let option = wanted.grantable && !found.grantable;
        if missing.is_empty() && !option {
            return;
        }
        let words = match (missing.is_empty(), level) {
            (false, _) => list(&missing),
            (true, Level::Dynamic(word)) => word.clone(),
            (true, _) => "USAGE".to_owned(),
        };
        let with = if option { " WITH GRANT OPTION" } else { "" };
        let what = format!("{words} on {}{with} is missing", level.on());
        self.push(
            format!("GRANT {words} ON {} TO {}{with}", level.on(), self.name),
            &what,
            Right::Privileges(words, level.clone()),
        );
        if let (Level::Table(..) | Level::Routine(..), Some(change)) = (level, self.changes.last_mut()) {
            change.grants = Some(ObjectGrant { level: level.clone(), privileges: missing, to: self.name.clone() });
        }
    }

    fn revoke_privileges(&mut self, level: &Level, wanted: &Privileges, found: &Privileges) {
        let surplus: Vec<&Privilege> = found.words.difference(&wanted.words).collect();
        let everywhere = matches!(level, Level::Global | Level::Dynamic(_));
        let option = (!everywhere && found.grantable && !wanted.grantable).then(|| "GRANT OPTION".to_owned());
        let words: Vec<String> =
            Some(list(surplus.iter().copied())).filter(|words| !words.is_empty()).into_iter().chain(option).collect();
        if words.is_empty() {
            return;
        }
        let (words, on, to) = (words.join(", "), level.on(), &self.name);
        let mut sql = format!("REVOKE {words} ON {on} FROM {to}");
        // Revoking a privilege on a table also revokes it on all of the table's columns.
        let whole = |word: &str| surplus.iter().any(|privilege| privilege.column.is_none() && privilege.word == word);
        let columns = list(wanted.words.iter().filter(|kept| kept.column.is_some() && whole(&kept.word)));
        if !columns.is_empty() {
            sql.push_str(&format!("; GRANT {columns} ON {on} TO {to}"));
        }
        self.push(sql, &format!("{words} on {on} is too much"), Right::Privileges(words, level.clone()));
    }

    /// At the global level, REVOKE GRANT OPTION takes it from all privileges at once, dynamic ones included.
    fn revoke_grant_options(&mut self, wanted: &Grants, found: &Grants) {
        let global = |grants: &Grants| -> BTreeSet<Level> {
            let grantable = grants.privileges.iter().filter(|(_, privileges)| privileges.grantable);
            let levels = grantable.map(|(level, _)| level.clone());
            levels.filter(|level| matches!(level, Level::Global | Level::Dynamic(_))).collect()
        };
        let (wanted_levels, found_levels) = (global(wanted), global(found));
        // Revoking a dynamic privilege also revokes its GRANT OPTION.
        let surplus = found_levels
            .difference(&wanted_levels)
            .find(|level| !matches!(level, Level::Dynamic(_)) || wanted.privileges.contains_key(level));
        let Some(surplus) = surplus else { return };
        let to = &self.name;
        let mut sql = format!("REVOKE GRANT OPTION ON *.* FROM {to}");
        for level in &wanted_levels {
            let word = if let Level::Dynamic(word) = level { word } else { "USAGE" };
            sql.push_str(&format!("; GRANT {word} ON *.* TO {to} WITH GRANT OPTION"));
        }
        let of = if let Level::Dynamic(word) = surplus { format!(" for {word}") } else { String::new() };
        let needs = Right::Privileges("USAGE".to_owned(), Level::Global);
        self.push(sql, &format!("GRANT OPTION{of} on *.* is too much"), needs);
    }

    fn grant_roles(&mut self, wanted: &Grants, found: &Grants) {
        for (name, &admin) in &wanted.roles {
            let role = name.as_role(self.mariadb);
            let to = &self.name;
            match found.roles.get(name) {
                Some(&has) if has == admin => {}
                Some(false) | None => {
                    let with = if admin { " WITH ADMIN OPTION" } else { "" };
                    let sql = format!("GRANT {role} TO {to}{with}");
                    self.push(sql, &format!("the role {role}{with} is missing"), Right::Admin(role));
                }
                Some(true) if self.in_use => {}
                Some(true) if self.mariadb => {
                    let sql = format!("REVOKE ADMIN OPTION FOR {role} FROM {to}");
                    self.push(sql, &format!("ADMIN OPTION for the role {role} is too much"), Right::Admin(role));
                }
                // MySQL cannot revoke the option alone.
                Some(true) => {
                    let sql = format!("REVOKE {role} FROM {to}; GRANT {role} TO {to}");
                    self.push(sql, &format!("ADMIN OPTION for the role {role} is too much"), Right::Admin(role));
                }
            }
        }
    }

    fn grant_proxies(&mut self, wanted: &Grants, found: &Grants) {
        for (name, &option) in &wanted.proxies {
            let (other, to) = (name.to_string(), &self.name);
            let grant = |with: &str| format!("GRANT PROXY ON {other} TO {to}{with}");
            let (sql, what) = match (found.proxies.get(name), option) {
                (Some(true), true) | (Some(false), false) => continue,
                (Some(true), false) if self.in_use => continue,
                (Some(true), false) => (format!("REVOKE PROXY ON {other} FROM {to}; {}", grant("")), "too much"),
                (_, true) => (grant(" WITH GRANT OPTION"), "missing"),
                (_, false) => (grant(""), "missing"),
            };
            self.push(sql, &format!("PROXY on {other}, or its GRANT OPTION, is {what}"), Right::Proxy(other.clone()));
        }
    }

    fn default_roles(&mut self, wanted: &Grants, found: &Grants) {
        if wanted.default_roles == found.default_roles {
            return;
        }
        let mut roles = wanted.default_roles.clone();
        if self.in_use {
            // MariaDB has one default role, so another one would end it.
            let adds = !roles.is_subset(&found.default_roles) && (!self.mariadb || found.default_roles.is_empty());
            if !adds {
                return;
            }
            roles.extend(found.default_roles.iter().cloned());
        }
        let names = roles.iter().map(|name| name.as_role(self.mariadb)).collect::<Vec<_>>().join(", ");
        let names = if names.is_empty() { "NONE".to_owned() } else { names };
        let to = if self.mariadb { "FOR" } else { "TO" };
        let sql = format!("SET DEFAULT ROLE {names} {to} {}", self.name);
        self.push(sql, &format!("the default role is not {names}"), Right::DefaultRole);
    }

    fn revoke_roles_and_proxies(&mut self, wanted: &Grants, found: &Grants) {
        let to = self.name.clone();
        for name in found.roles.keys().filter(|name| !wanted.roles.contains_key(*name)) {
            let role = name.as_role(self.mariadb);
            self.push(format!("REVOKE {role} FROM {to}"), &format!("the role {role} is too much"), Right::Admin(role));
        }
        for name in found.proxies.keys().filter(|name| !wanted.proxies.contains_key(*name)) {
            let other = name.to_string();
            let sql = format!("REVOKE PROXY ON {other} FROM {to}");
            self.push(sql, &format!("PROXY on {other} is too much"), Right::Proxy(other.clone()));
        }
    }

    /// With `partial_revokes`, REVOKE on a schema takes a global privilege back for that schema (MySQL manual, "Privilege
    /// Restriction Using Partial Revokes").
    fn restrict(&mut self, wanted: &Grants, found: &Grants) {
        for (schema, words) in &wanted.restrictions {
            // The server may keep the restriction of a privilege that is not granted any more.
            let missing: Vec<&str> = beyond(words, found.restrictions.get(schema))
                .filter(|word| is_global(wanted, word))
                .map(|word| if word == RESTRICTED_GRANT { "GRANT OPTION" } else { word.as_str() })
                .collect();
            if missing.is_empty() {
                continue;
            }
            let (missing, level) = (missing.join(", "), Level::Schema(schema.clone()));
            let on = level.on();
            let what = format!("{missing} on {on} is too much");
            let needs = Right::Privileges(missing.clone(), level);
            self.push(format!("REVOKE {missing} ON {on} FROM {}", self.name), &what, needs);
        }
    }

    /// With `partial_revokes`, GRANT on the schema ends the restriction of a global privilege.
    fn end_restrictions(&mut self, wanted: &Grants, found: &Grants) {
        for (schema, words) in &found.restrictions {
            // Revoking a global privilege also ends its restrictions.
            let surplus = beyond(words, wanted.restrictions.get(schema));
            let surplus = surplus.filter(|word| is_global(wanted, word) && is_global(found, word));
            let (options, words): (Vec<&str>, Vec<&str>) =
                surplus.map(String::as_str).partition(|word| *word == RESTRICTED_GRANT);
            if options.is_empty() && words.is_empty() {
                continue;
            }
            let words = if words.is_empty() { "USAGE".to_owned() } else { words.join(", ") };
            let with = if options.is_empty() { "" } else { " WITH GRANT OPTION" };
            let level = Level::Schema(schema.clone());
            let on = level.on();
            let what = format!("{words} on {on}{with} is missing");
            let sql = format!("GRANT {words} ON {on} TO {}{with}", self.name);
            self.push(sql, &what, Right::Privileges(words, level));
        }
    }
}

/// The words of one restriction that another lacks.
fn beyond<'a>(words: &'a BTreeSet<String>, other: Option<&'a BTreeSet<String>>) -> impl Iterator<Item = &'a String> {
    words.iter().filter(move |word| other.is_none_or(|other| !other.contains(*word)))
}

/// Whether a privilege, as a partial revoke calls it, is granted for all schemas.
fn is_global(grants: &Grants, word: &str) -> bool {
    grants.privileges.get(&Level::Global).is_some_and(|global| match word {
        RESTRICTED_GRANT => global.grantable,
        word => global.words.contains(&Privilege::new(word)),
    })
}

/// Global privileges without those that have a restriction. Their REVOKE on a schema could take a privilege there from a clone in use,
/// so that they wait for the clone's turn.
fn unrestricted(global: &Privileges, grants: &Grants) -> Privileges {
    let restricted = |word: &str| grants.restrictions.values().any(|words| words.contains(word));
    Privileges {
        words: global.words.iter().filter(|privilege| !restricted(&privilege.word)).cloned().collect(),
        grantable: global.grantable && !restricted(RESTRICTED_GRANT),
    }
}

/// The clause that turns one attribute object into another. The server merges it, so keys that have to go are named
/// (MySQL manual, "CREATE USER Comment and Attribute Options").
fn attribute(wanted: &Map<String, Value>, found: &Map<String, Value>) -> String {
    let patch = merge_patch(wanted, found);
    if patch.is_empty() { String::new() } else { format!(" ATTRIBUTE {}", literal(&Value::Object(patch).to_string())) }
}

/// RFC 7396, backwards: the patch that turns `found` into `wanted`.
fn merge_patch(wanted: &Map<String, Value>, found: &Map<String, Value>) -> Map<String, Value> {
    let gone = found.keys().filter(|key| !wanted.contains_key(*key)).map(|key| (key.clone(), Value::Null));
    let changed = wanted.iter().filter(|(key, value)| found.get(*key) != Some(*value)).map(|(key, value)| {
        let value = match (value, found.get(key)) {
            (Value::Object(wanted), Some(Value::Object(found))) => Value::Object(merge_patch(wanted, found)),
            _ => value.clone(),
        };
        (key.clone(), value)
    });
    gone.chain(changed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const MYSQL: CloneTask<'_> = CloneTask { clone: "app_clone", mariadb: false, in_use: false };
    const MARIADB: CloneTask<'_> = CloneTask { mariadb: true, ..MYSQL };

    fn subject(user: &str, host: &str, mariadb: bool) -> Grantee {
        let name = AccountName::new(user, host);
        let account = Account { name, options: Options::none(mariadb), ..Account::default() };
        Grantee { account, grants: Grants::default() }
    }

    fn base() -> Grantee {
        subject("app", "%", false)
    }

    /// The clone after its changes, as the server would show it.
    fn followed(base: &Grantee) -> Grantee {
        let mut clone = base.clone();
        clone.account.name.user = "app_clone".to_owned();
        clone
    }

    fn give(subject: &mut Grantee, level: Level, words: &[&str], grantable: bool) {
        let words = words.iter().map(|word| match word.split_once(':') {
            Some((word, column)) => Privilege { word: word.to_owned(), column: Some(column.to_owned()) },
            None => Privilege::new(word),
        });
        subject.grants.privileges.insert(level, Privileges { words: words.collect(), grantable });
    }

    fn table() -> Level {
        Level::Table("db".to_owned(), "t`s".to_owned())
    }

    fn role_named(name: &str, host: &str) -> AccountName {
        AccountName::new(name, host)
    }

    fn sql(task: CloneTask<'_>, base: &[Grantee], clone: &[Grantee]) -> Vec<String> {
        task.changes(base, clone, |_| "IDENTIFIED".to_owned().into()).into_iter().map(|change| change.sql).collect()
    }

    /// The statements between two accounts for every host.
    fn between(task: CloneTask<'_>, base: &Grantee, clone: &Grantee) -> Vec<String> {
        sql(task, std::slice::from_ref(base), std::slice::from_ref(clone))
    }

    #[test]
    fn an_absent_account_is_made_locked_and_gets_everything() {
        let mut wanted = base();
        wanted.account.attribute.insert("team".to_owned(), "o'ps".into());
        give(&mut wanted, Level::Global, &["PROCESS", "SELECT"], false);
        give(&mut wanted, Level::Dynamic("BACKUP_ADMIN".to_owned()), &["BACKUP_ADMIN"], true);
        give(&mut wanted, Level::Schema("my\\_app%".to_owned()), &["INSERT"], true);
        give(&mut wanted, table(), &["SELECT", "UPDATE:a"], false);
        give(&mut wanted, Level::Routine("PROCEDURE".to_owned(), "db".to_owned(), "p".to_owned()), &["EXECUTE"], false);
        wanted.grants.roles = BTreeMap::from([(role_named("r", "%"), true), (role_named("s", "%"), false)]);
        wanted.grants.default_roles = BTreeSet::from([role_named("r", "%")]);
        wanted.grants.proxies = BTreeMap::from([(role_named("x", "h"), true)]);
        wanted.grants.restrictions = BTreeMap::from([("mysql".to_owned(), BTreeSet::from(["SELECT".to_owned()]))]);
        assert_eq!(
            sql(MYSQL, std::slice::from_ref(&wanted), &[]),
            [
                r#"CREATE USER 'app_clone'@'%' IDENTIFIED ACCOUNT LOCK ATTRIBUTE '{"team":"o''ps"}'"#,
                "GRANT 'r'@'%' TO 'app_clone'@'%' WITH ADMIN OPTION",
                "GRANT 's'@'%' TO 'app_clone'@'%'",
                "GRANT PROCESS, SELECT ON *.* TO 'app_clone'@'%'",
                "GRANT BACKUP_ADMIN ON *.* TO 'app_clone'@'%' WITH GRANT OPTION",
                r"GRANT INSERT ON `my\_app%`.* TO 'app_clone'@'%' WITH GRANT OPTION",
                "GRANT SELECT, UPDATE (`a`) ON `db`.`t``s` TO 'app_clone'@'%'",
                "GRANT EXECUTE ON PROCEDURE `db`.`p` TO 'app_clone'@'%'",
                "GRANT PROXY ON 'x'@'h' TO 'app_clone'@'%' WITH GRANT OPTION",
                "SET DEFAULT ROLE 'r'@'%' TO 'app_clone'@'%'",
                "REVOKE SELECT ON `mysql`.* FROM 'app_clone'@'%'",
            ]
        );
        assert_eq!(between(MYSQL, &wanted, &followed(&wanted)), Vec::<String>::new());
    }

    #[test]
    fn what_the_base_lost_the_clone_loses_after_it_got_what_is_new() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        give(&mut wanted, Level::Global, &["SELECT"], false);
        give(&mut found, Level::Global, &["PROCESS"], false);
        give(&mut found, Level::Schema("db".to_owned()), &["INSERT"], true);
        found.grants.roles.insert(role_named("r", "%"), false);
        found.grants.default_roles.insert(role_named("r", "%"));
        found.grants.proxies.insert(role_named("x", "h"), false);
        assert_eq!(
            between(MYSQL, &wanted, &found),
            [
                "GRANT SELECT ON *.* TO 'app_clone'@'%'",
                "SET DEFAULT ROLE NONE TO 'app_clone'@'%'",
                "REVOKE PROCESS ON *.* FROM 'app_clone'@'%'",
                "REVOKE INSERT, GRANT OPTION ON `db`.* FROM 'app_clone'@'%'",
                "REVOKE 'r'@'%' FROM 'app_clone'@'%'",
                "REVOKE PROXY ON 'x'@'h' FROM 'app_clone'@'%'",
            ]
        );
    }

    #[test]
    fn a_revoke_for_a_table_gives_its_columns_back() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        give(&mut wanted, table(), &["SELECT:a", "UPDATE:a"], false);
        give(&mut found, table(), &["SELECT", "SELECT:a", "UPDATE:a"], false);
        assert_eq!(
            between(MYSQL, &wanted, &found),
            ["REVOKE SELECT ON `db`.`t``s` FROM 'app_clone'@'%'; GRANT SELECT (`a`) ON `db`.`t``s` TO 'app_clone'@'%'"]
        );
    }

    #[test]
    fn a_global_grant_option_goes_with_those_of_dynamic_privileges_which_come_back() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        give(&mut wanted, Level::Global, &["SELECT"], false);
        give(&mut wanted, Level::Dynamic("BACKUP_ADMIN".to_owned()), &["BACKUP_ADMIN"], true);
        found.grants = wanted.grants.clone();
        give(&mut found, Level::Global, &["SELECT"], true);
        assert_eq!(
            between(MYSQL, &wanted, &found),
            ["REVOKE GRANT OPTION ON *.* FROM 'app_clone'@'%'; \
              GRANT BACKUP_ADMIN ON *.* TO 'app_clone'@'%' WITH GRANT OPTION"]
        );
    }

    #[test]
    fn an_admin_option_is_taken_as_each_server_can() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        wanted.grants.roles.insert(role_named("r", ""), false);
        found.grants.roles.insert(role_named("r", ""), true);
        assert_eq!(between(MARIADB, &wanted, &found), ["REVOKE ADMIN OPTION FOR `r` FROM 'app_clone'@'%'"]);
        let both = "REVOKE 'r'@'' FROM 'app_clone'@'%'; GRANT 'r'@'' TO 'app_clone'@'%'";
        assert_eq!(between(MYSQL, &wanted, &found), [both]);
        assert_eq!(between(CloneTask { in_use: true, ..MYSQL }, &wanted, &found), Vec::<String>::new());
    }

    #[test]
    fn accounts_come_and_go_with_the_bases_but_not_while_the_clone_is_in_use() {
        let base = [base(), subject("app", "10.%", false)];
        let clone = [followed(&subject("app", "%", false)), followed(&subject("app", "old", false))];
        assert_eq!(
            sql(MYSQL, &base, &clone),
            ["CREATE USER 'app_clone'@'10.%' IDENTIFIED ACCOUNT LOCK", "DROP USER 'app_clone'@'old'"]
        );
        assert_eq!(sql(CloneTask { in_use: true, ..MYSQL }, &base, &clone), Vec::<String>::new());
    }

    #[test]
    fn a_partial_revoke_is_taken_over_and_given_up() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        give(&mut wanted, Level::Global, &["INSERT", "SELECT"], true);
        found.grants = wanted.grants.clone();
        let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<BTreeSet<_>>();
        wanted.grants.restrictions.insert("mysql".to_owned(), words(&["INSERT"]));
        // DROP is not granted at all, so that its restriction goes by itself.
        found.grants.restrictions.insert("mysql".to_owned(), words(&["DROP", "GRANT", "SELECT"]));
        assert_eq!(
            between(MYSQL, &wanted, &found),
            [
                "GRANT SELECT ON `mysql`.* TO 'app_clone'@'%' WITH GRANT OPTION",
                "REVOKE INSERT ON `mysql`.* FROM 'app_clone'@'%'",
            ]
        );
        // In use, the clone does not get what would have to be taken back for a schema.
        found.grants.privileges.clear();
        found.grants.restrictions.clear();
        let in_use = CloneTask { in_use: true, ..MYSQL };
        assert_eq!(between(in_use, &wanted, &found), ["GRANT SELECT ON *.* TO 'app_clone'@'%' WITH GRANT OPTION"]);
    }

    #[test]
    fn from_a_clone_in_use_nothing_is_revoked() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        give(&mut wanted, Level::Global, &["SELECT"], false);
        give(&mut wanted, table(), &["SELECT:a"], false);
        wanted.grants.roles = BTreeMap::from([(role_named("r", "%"), false), (role_named("new", "%"), false)]);
        wanted.grants.default_roles = BTreeSet::from([role_named("new", "%")]);
        wanted.grants.proxies.insert(role_named("x", "h"), false);
        wanted.grants.restrictions.insert("db".to_owned(), BTreeSet::from(["SELECT".to_owned()]));
        give(&mut found, Level::Global, &["PROCESS", "SELECT"], true);
        give(&mut found, table(), &["SELECT", "DROP"], true);
        found.grants.roles = BTreeMap::from([(role_named("r", "%"), true), (role_named("old", "%"), false)]);
        found.grants.default_roles = BTreeSet::from([role_named("old", "%")]);
        found.grants.proxies = BTreeMap::from([(role_named("x", "h"), true), (role_named("y", "h"), false)]);
        let grants = |mariadb, default: &str| {
            let new = if mariadb { "`new`" } else { "'new'@'%'" };
            let all = [
                format!("GRANT {new} TO 'app_clone'@'%'"),
                "GRANT SELECT (`a`) ON `db`.`t``s` TO 'app_clone'@'%'".into(),
            ];
            all.into_iter().chain((!default.is_empty()).then(|| default.to_owned())).collect::<Vec<_>>()
        };
        let default = "SET DEFAULT ROLE 'new'@'%', 'old'@'%' TO 'app_clone'@'%'";
        assert_eq!(between(CloneTask { in_use: true, ..MYSQL }, &wanted, &found), grants(false, default));
        assert_eq!(between(CloneTask { in_use: true, ..MARIADB }, &wanted, &found), grants(true, ""));
    }

    #[test]
    fn what_a_clone_made_the_base_gets_once() {
        let (mut wanted, mut found) = (base(), followed(&base()));
        let routine = Level::Routine("PROCEDURE".to_owned(), "db".to_owned(), "p".to_owned());
        give(&mut found, routine.clone(), &["ALTER ROUTINE", "EXECUTE"], false);
        found.grants.made.insert(routine.clone());
        for in_use in [false, true] {
            let task = CloneTask { in_use, ..MYSQL };
            let passed = "GRANT ALTER ROUTINE, EXECUTE ON PROCEDURE `db`.`p` TO 'app'@'%', 'app_clone'@'%'";
            assert_eq!(between(task, &wanted, &found), [passed], "{in_use}");
        }
        give(&mut wanted, routine.clone(), &["ALTER ROUTINE", "EXECUTE"], false);
        assert_eq!(between(MYSQL, &wanted, &found), [""; 0]);
        // A person's REVOKE from the base.
        wanted.grants.privileges.clear();
        found.grants.made.clear();
        let revoked = "REVOKE ALTER ROUTINE, EXECUTE ON PROCEDURE `db`.`p` FROM 'app_clone'@'%'";
        assert_eq!(between(MYSQL, &wanted, &found), [revoked]);
    }

    #[test]
    fn an_attribute_is_merged_so_what_is_too_much_is_named() {
        let object = |json: &str| serde_json::from_str::<Map<String, Value>>(json).unwrap();
        let patch = |wanted, found| attribute(&object(wanted), &object(found));
        assert_eq!(patch(r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#), "");
        assert_eq!(
            patch(r#"{"a":{"b":1,"c":[null]}}"#, r#"{"a":{"b":2,"d":3},"e":4}"#),
            r#" ATTRIBUTE '{"a":{"b":1,"c":[null],"d":null},"e":null}'"#
        );
    }

    #[test]
    fn a_change_prints_no_statement() {
        let [create] = &MYSQL.changes(&[base()], &[], |_| "IDENTIFIED BY 'secret'".to_owned().into())[..] else {
            panic!()
        };
        assert!(create.sql.contains("secret"));
        assert!(!format!("{create:?}").contains("secret"));
    }
}
