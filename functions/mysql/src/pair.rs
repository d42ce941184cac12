//! Alternating users. For every account of the base user the clone has one with the same host pattern, which is made like it.
//!
//! Account statements commit by themselves, so the state after each of them has to be safe. A new account is created
//! locked, with a password that nobody knows. It is made like the base's account, and the result is read back. Only the
//! last statement sets the pending password and unlocks the account.

use crate::catalog::accounts::Account;
use crate::catalog::grants::{Level, list};
use crate::catalog::options::Means;
use crate::connect::{Session, only_value};
use crate::lock::{About, Locked};
use crate::observed_pair::{Lock, ObservedPair, explain_reading};
use crate::ownership::{self, Known};
use crate::sql::changes::{Change, CloneTask, Grantee, ObjectGrant, Right};
use crate::sql::hash;
use crate::sql::password::{self, IdentifiedBy, Plugin};
use crate::sql::preamble::ServerInfo;
use crate::sql::quote::literal;
use rotation::database::{Evidence, Pair, PasswordChange, Side, Turn};
use rotation::protocol::observation::PreviousCredential;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// How often the difference is worked out anew. One round is enough, unless a statement has a side effect, an object
/// was dropped, or another client changes the same accounts.
const ROUNDS: usize = 4;

/// A table, a column or a routine does not exist. A privilege on it cannot be granted, and the base's has no effect.
/// ER_BAD_FIELD_ERROR, ER_NO_SUCH_TABLE, ER_SP_DOES_NOT_EXIST, ER_BAD_DB_ERROR.
const GONE: &[&str] = &["1054", "1146", "1305", "1049"];
/// Another client was faster: it made or dropped the account, or revoked the grant. ER_CANNOT_USER,
/// ER_NONEXISTING_GRANT, ER_NONEXISTING_TABLE_GRANT, ER_NONEXISTING_PROC_GRANT.
const OUTRUN: &[&str] = &["1396", "1141", "1147", "1403"];
/// How GRANT and REVOKE say that the superuser lacks what it would pass on. The number depends on the level; two of
/// them are those of a refused login. ER_DBACCESS_DENIED_ERROR, ER_ACCESS_DENIED_ERROR, ER_TABLEACCESS_DENIED_ERROR,
/// ER_COLUMNACCESS_DENIED_ERROR, ER_SPECIFIC_ACCESS_DENIED_ERROR, ER_PROCACCESS_DENIED_ERROR,
/// ER_ACCESS_DENIED_NO_PASSWORD_ERROR.
const DENIED: &[&str] = &["1044", "1045", "1142", "1143", "1227", "1370", "1698"];

/// Takes the lock on the pair and reads it. One round trip, and one more for proofs that only the server or a version has.
///
/// # Errors
/// [`Code::RoleMissing`], [`Code::RoleUnusable`], [`Code::RoleProtected`], [`Code::PairUnproven`],
/// [`Code::AccountsDiffer`], [`Code::AuthenticationUnsupported`], [`Code::PrivilegeUnknown`], [`Code::TlsRequired`]; others by error
/// number.
pub(crate) async fn lock(
    mut session: Session,
    turn: Turn<'_>,
    evidence: &impl Evidence,
    allow_powerful: bool,
) -> Result<Locked> {
    let (server, observed) = ObservedPair::begin(&mut session, turn.pair, Lock::Taken).await?;
    let means = Means { encrypted: evidence.uses_tls(), certificate: evidence.has_client_certificate() };
    let plugins = observed.ready(turn.pair, &server, means, allow_powerful)?;
    prove(&mut session, turn, &observed, evidence).await?;
    all_accounts_are_the_secrets(&observed, turn, evidence).await?;
    password::needs_tls(&session, &observed.accounts)?;
    let left_alone = observed.accounts.left_alone.clone();
    Ok(Locked { session, server, about: About::Pair { observed, plugins }, left_alone })
}

/// The same, to end the password of the pending side, for one that no version holds.
///
/// The next rotation has to recognise the user without its password. Of several accounts of a name it would not know whose they are, unless
/// `rotation.users` names the pair, and it would refuse them for good.
///
/// # Errors
/// Those of [`lock`]; [`Code::AccountsDiffer`].
pub(crate) async fn lock_to_shut(
    session: Session,
    turn: Turn<'_>,
    evidence: &impl Evidence,
    allow_powerful: bool,
) -> Result<Locked> {
    let user = turn.pair.user(turn.pending);
    let locked = lock(session, turn, evidence, allow_powerful).await?;
    if let About::Pair { observed, .. } = &locked.about
        && !turn.pair.named
        && observed.accounts.of(user).len() > 1
    {
        let what = "the user has accounts for several hosts, so that only a rotation can end its password: rotate once more, or name \
                    the pair in rotation.users";
        return Err(Error::new(Code::AccountsDiffer).with(Fact::User, user).with(Fact::What, what));
    }
    Ok(locked)
}

/// Creates the clone's accounts if they are absent and this is its turn, and makes them like the base's. If anything differs, one
/// round trip for each change and one to read the result back.
///
/// # Errors
/// [`Code::PrivilegeMissing`] naming the grant; [`Code::PrivilegesDiffer`] if another client changes the accounts, too; others by
/// error number.
pub(crate) async fn align(
    session: &mut Session,
    server: &ServerInfo,
    observed: &mut ObservedPair,
    plugins: &BTreeSet<Plugin>,
    Turn { pair, pending, new, current }: Turn<'_>,
) -> Result<()> {
    // A clone that is gone is made again on its own turn.
    if pending == Side::Base && observed.clone.is_empty() {
        return Ok(());
    }
    // A server that wants to see passwords takes only one that its rules allow.
    let first = if observed.accounts.passwords_validated { new.clone() } else { hash::mark(&pair.clone, current) };
    let identified = IdentifiedBy::new(session, server, &observed.accounts, plugins.iter().copied(), &first)?;
    let task = CloneTask { clone: &pair.clone, mariadb: server.mariadb, in_use: pending == Side::Base };
    let mut gone = BTreeSet::new();
    for round in 0.. {
        let of_base = |account: &Account| {
            let sockets = &account.authentication.sockets;
            Plugin::of(account, server.mariadb).map(|plugin| identified.by(plugin, sockets)).unwrap_or_default()
        };
        let mut changes = task.changes(&observed.base, &observed.clone, of_base);
        changes.retain(|change| !gone.contains(&change.sql));
        let Some(first) = changes.first() else { break };
        if round == ROUNDS {
            return Err(differ(pair, &first.what));
        }
        keep_definers(session, pair, server.mariadb, &changes).await?;
        let mut changed = false;
        for change in &changes {
            let done = apply(session, change, &mut gone).await;
            changed |= done.map_err(|error| explain(error, &change.what, &change.needs, server))?;
        }
        if !changed {
            break;
        }
        *observed = ObservedPair::again(session, pair, server).await?;
    }
    Ok(())
}

/// Sets the password of the side whose turn it is, and unlocks the clone's accounts if it is theirs. One round trip.
///
/// # Errors
/// [`Code::PrivilegeMissing`], [`Code::PasswordRefused`]; others by error number.
pub(crate) async fn set(
    session: &mut Session,
    server: &ServerInfo,
    observed: &ObservedPair,
    change: PasswordChange<'_>,
) -> Result<PreviousCredential> {
    let targets = observed.targets(change.user, server.mariadb)?;
    let set = password::apply(session, server, &observed.accounts, &targets, change.to).await;
    set.map_err(|error| explain(error, "the password", &Right::CreateUser, server))?;
    Ok(PreviousCredential::Works)
}

/// Compares the pair, as a superuser. One round trip. The lock is held by the session of the pending user.
///
/// # Errors
/// [`Code::PrivilegesDiffer`] naming the first difference; those of reading.
pub(crate) async fn compare(mut session: Session, pair: &Pair, pending: Side) -> Result<()> {
    let (server, observed) = ObservedPair::begin(&mut session, pair, Lock::HeldByOther).await?;
    observed.understood()?;
    if pending == Side::Base && observed.clone.is_empty() {
        session.close().await;
        return Ok(());
    }
    let task = CloneTask { clone: &pair.clone, mariadb: server.mariadb, in_use: pending == Side::Base };
    for change in task.changes(&observed.base, &observed.clone, |_| Zeroizing::default()) {
        let counts = match &change.grants {
            Some(granted) => has_object(&mut session, granted).await?,
            None => true,
        };
        if counts {
            return Err(differ(pair, &change.what));
        }
    }
    if pending == Side::Clone
        && let Some(what) = observed.logs_in_differently()
    {
        return Err(differ(pair, &what));
    }
    session.close().await;
    Ok(())
}

fn differ(pair: &Pair, what: &str) -> Error {
    Error::new(Code::PrivilegesDiffer).with(Fact::User, &pair.clone).with(Fact::What, what)
}

/// Proves that the two users belong together. The server knows nothing of pairs, so one of these has to hold:
///
/// * An earlier run of this rotation made the clone, and left its mark or set the pending password.
/// * The secret's previous version is the clone's.
///
/// A clone that does not exist needs no proof, unless the base looks like a clone itself. Equal privileges prove
/// nothing, because many users have the same.
///
/// **Invariant:** a pair's user is changed only if the secret or the database proves that the two belong
/// together. A name that ends in `_clone` proves nothing: AWS's function resets the unrelated user `x` if an ordinary
/// user is called `x_clone`. Test: `a_partner_that_nothing_proves_is_not_touched`.
async fn prove(session: &mut Session, turn: Turn<'_>, observed: &ObservedPair, evidence: &impl Evidence) -> Result<()> {
    let Turn { pair, pending, new, current } = turn;
    if pair.named {
        return Ok(());
    }
    if pending == Side::Base {
        // The versions have already shown that the current user is this base's clone. A clone that is gone may never have been.
        if !observed.clone.is_empty() || evidence.held(&pair.base).await? {
            return Ok(());
        }
        return Err(pair.unproven("the user that the secret holds now does not exist at the server"));
    }
    if observed.clone.is_empty() {
        return prove_original(session, pair).await;
    }
    let mark = hash::mark(&pair.clone, current);
    let ours = |subject: &Grantee| {
        let stored = &subject.account.authentication.hash.0;
        hash::matches(stored, &mark) || hash::matches(stored, new)
    };
    if observed.clone.iter().all(ours) {
        return Ok(());
    }
    if evidence.held(&pair.clone).await? {
        return Ok(());
    }
    // An edit by hand hides the clone's version. That the server knows its password shows that the clone was set by this secret.
    let passwords = evidence.passwords(&pair.clone).await?;
    let known = |subject: &Grantee| {
        passwords.iter().any(|password| hash::matches(&subject.account.authentication.hash.0, password))
    };
    if observed.clone.iter().all(known) {
        return Ok(());
    }
    let what = "the partner exists, and no older version of the secret has its password: it is somebody else's, or was made by a \
                rotation that was given up";
    Err(pair.unproven(what))
}

/// Checks the accounts of both users, so that a turn does not begin that the next one cannot follow. Names in `rotation.users` say
/// that the users are the secret's.
async fn all_accounts_are_the_secrets(
    observed: &ObservedPair,
    Turn { pair, pending, new, current }: Turn<'_>,
    evidence: &impl Evidence,
) -> Result<()> {
    let mark = hash::mark(&pair.clone, current);
    for (side, user) in [(Side::Base, &pair.base), (Side::Clone, &pair.clone)] {
        let pending_passwords = [new, &mark];
        let passwords: &[&Password] = if side == pending { &pending_passwords } else { &[current] };
        let known = Known { passwords, is_the_secrets: pair.named || side != pending };
        ownership::check(&observed.accounts, user, known, evidence).await?;
    }
    Ok(())
}

/// Proves that the base is not the clone of a user that exists. Its own clone would leave that user with a password
/// that no rotation changes any more.
async fn prove_original(session: &mut Session, pair: &Pair) -> Result<()> {
    let Some(original) = pair.original() else { return Ok(()) };
    let query = format!("SELECT 1 FROM mysql.user WHERE User = {}", literal(original));
    let answers = session.run(&query).await.map_err(explain_reading)?;
    if answers.iter().all(Vec::is_empty) {
        return Ok(());
    }
    let what = "the secret's user has the name of a clone, its original exists, and the secret's previous version does not hold \
                that: the previous version was replaced by hand, or the names only look like a pair's";
    Err(pair.unproven(what))
}

/// Makes one change; `false` if nothing could be done. `gone` collects the statements that cannot be granted because
/// their object does not exist.
async fn apply(session: &mut Session, change: &Change, gone: &mut BTreeSet<String>) -> Result<bool> {
    match (session.run(&change.sql).await, &change.grants) {
        (Err(error), Some(granted)) if is_one_of(&error, GONE) => {
            gone.insert(change.sql.clone());
            apply_one_by_one(session, granted, gone).await
        }
        // The next round reads the accounts again.
        (Err(error), _) if is_one_of(&error, OUTRUN) => Ok(true),
        (done, _) => done.map(|_| true),
    }
}

/// Grants each privilege by itself: one missing column makes the whole statement fail.
async fn apply_one_by_one(session: &mut Session, granted: &ObjectGrant, gone: &mut BTreeSet<String>) -> Result<bool> {
    let mut changed = false;
    if granted.privileges.len() < 2 || granted.privileges.iter().all(|privilege| privilege.column.is_none()) {
        return Ok(changed);
    }
    for privilege in &granted.privileges {
        let to = &granted.to;
        let sql = format!("GRANT {} ON {} TO {to}", list([privilege]), granted.level.on());
        match session.run(&sql).await {
            Err(error) if is_one_of(&error, GONE) => drop(gone.insert(sql)),
            done => {
                done?;
                changed = true;
            }
        }
    }
    Ok(changed)
}

fn is_one_of(error: &Error, numbers: &[&str]) -> bool {
    error.fact(Fact::ErrorNumber).is_some_and(|number| numbers.contains(&number))
}

/// Checks that no view or stored program runs with the rights of an account that is dropped: it would fail from then on
/// (MySQL manual, "Orphan Stored Objects").
async fn keep_definers(session: &mut Session, pair: &Pair, mariadb: bool, changes: &[Change]) -> Result<()> {
    let dropped = changes.iter().filter_map(|change| change.drops.as_ref());
    for name in dropped {
        sees_definers(session, pair, mariadb).await?;
        let definer = literal(&format!("{}@{}", name.user, name.host));
        let places = ["VIEWS", "ROUTINES", "TRIGGERS", "EVENTS"];
        let count =
            |place: &str| format!("(SELECT COUNT(*) FROM information_schema.{place} WHERE DEFINER = {definer})");
        let sql = format!("SELECT {}", places.map(count).join(" + "));
        let answers = session.run(&sql).await?;
        let found = only_value(&answers);
        if found != "0" {
            let what = format!(
                "the base user has no account for that host any more, but {name} cannot be dropped: it is the definer of \
                 {found} views or stored programs. Give them another definer, or make the base user's account again"
            );
            return Err(differ(pair, &what));
        }
    }
    Ok(())
}

/// Checks that the superuser sees all definers. MySQL itself refuses to drop a definer (error 4006). MariaDB drops it,
/// and shows a definer only to a user that may see the object.
async fn sees_definers(session: &mut Session, pair: &Pair, mariadb: bool) -> Result<()> {
    if !mariadb {
        return Ok(());
    }
    let sql = "SELECT COUNT(DISTINCT PRIVILEGE_TYPE) FROM information_schema.USER_PRIVILEGES \
               WHERE PRIVILEGE_TYPE IN ('SELECT', 'SHOW VIEW', 'TRIGGER', 'EVENT') \
               AND GRANTEE = CONCAT(CHAR(39), REPLACE(CURRENT_USER(), '@', CONCAT(CHAR(39), '@', CHAR(39))), CHAR(39))";
    let answers = session.run(sql).await?;
    if only_value(&answers) == "4" {
        return Ok(());
    }
    let what = "the base user has an account less than the clone, and the superuser cannot see whether views or stored programs \
                run with the rights of that one: GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON *.* to it, or drop the account by hand";
    Err(differ(pair, what))
}

/// Whether the object of a privilege exists.
async fn has_object(session: &mut Session, granted: &ObjectGrant) -> Result<bool> {
    let query = match &granted.level {
        Level::Table(schema, table) => {
            let place = format!("TABLE_SCHEMA = {} AND TABLE_NAME = {}", literal(schema), literal(table));
            let columns = granted.privileges.iter().map(|privilege| privilege.column.as_deref());
            let columns: Option<Vec<String>> = columns.map(|column| column.map(literal)).collect();
            match columns {
                // Columns only.
                Some(columns) if !columns.is_empty() => {
                    format!("information_schema.COLUMNS WHERE {place} AND COLUMN_NAME IN ({})", columns.join(", "))
                }
                _ => format!("information_schema.TABLES WHERE {place}"),
            }
        }
        Level::Routine(kind, schema, name) if kind != "LIBRARY" => format!(
            "information_schema.ROUTINES WHERE ROUTINE_SCHEMA = {} AND ROUTINE_NAME = {} AND ROUTINE_TYPE = {}",
            literal(schema),
            literal(name),
            literal(kind)
        ),
        _ => return Ok(true),
    };
    let answers = session.run(&format!("SELECT COUNT(*) FROM {query}")).await?;
    Ok(only_value(&answers) != "0")
}

/// Adds the refused change to an error and, if a privilege is missing, the statement that would help.
pub(crate) fn explain(error: Error, what: &str, needs: &Right, server: &ServerInfo) -> Error {
    let denied = is_one_of(&error, DENIED);
    if !denied && error.code() != Code::PrivilegeMissing {
        return error.with_default(Fact::What, what);
    }
    let to = &server.account;
    let help = match needs {
        Right::CreateUser if server.mariadb => format!("run GRANT CREATE USER ON *.* TO {to}"),
        Right::CreateUser => {
            format!("run GRANT CREATE USER ON *.* TO {to}; if the users have SYSTEM_USER, that, too")
        }
        Right::Privileges(words, level) => {
            format!("run GRANT {words} ON {} TO {to} WITH GRANT OPTION", level.on())
        }
        Right::Admin(role) if server.mariadb => format!("run GRANT {role} TO {to} WITH ADMIN OPTION"),
        Right::Admin(role) => {
            format!("run GRANT {role} TO {to} WITH ADMIN OPTION, or GRANT ROLE_ADMIN ON *.* TO {to}")
        }
        Right::DefaultRole if server.mariadb => format!("run GRANT UPDATE ON mysql.* TO {to}"),
        Right::DefaultRole => format!("run GRANT CREATE USER ON *.* TO {to}"),
        Right::Proxy(other) => format!("run GRANT PROXY ON {other} TO {to} WITH GRANT OPTION"),
    };
    // The superuser lacks the privilege, not the user that is rotated.
    error.recoded(Code::PrivilegeMissing).with(Fact::User, to).with(Fact::What, format_args!("{what}; {help}"))
}
