//! PostgreSQL, MySQL and MariaDB on the simulated server, behind the product's own seam.
//!
//! Each method does what the function's own does, as far as order, locks and visibility matter:
//! `functions/postgres/src/{single,pair}.rs` and `functions/mysql/src/{single/mod,pair}.rs`.

use super::case::Target;
use super::server::{PRIVILEGES, Server, User};
use super::world::{Kind, Mutation, Process, Verdict, World};
use rotation::clock::Deadline;
use rotation::database::{
    Engine, Evidence, Hold, Login, LoginFailure, Observation, Pair, PasswordChange, Side, Turn, Work, expect_user,
};
use rotation::protocol::observation::PreviousCredential;
use rotation::secret::Password;
use rotation::{Code, Error, Fact, Result};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long a server lets a session wait for a lock, as the functions ask it to.
const LOCK_LIMIT: Duration = Duration::from_secs(5);
const LOCK_POLL: Duration = Duration::from_millis(500);

pub(super) struct PostgresLike(pub(super) Arc<Process>);
pub(super) struct MySqlLike(pub(super) Arc<Process>);

/// A session. The server ends it, and its locks, when it is dropped.
pub(super) struct Session {
    process: Arc<Process>,
    number: u64,
    user: String,
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Ok(world) = self.process.world() {
            world.inner().server.end_session(self.number);
        }
    }
}

/// A session that holds the lock.
pub(super) struct Locked {
    session: Session,
    /// PostgreSQL: what the transaction has changed so far.
    staged: Option<(String, User)>,
    /// MySQL: a superuser keeps the password before.
    retain: bool,
    /// MySQL: the other user, one of whose passwords a superuser ends.
    discards: Option<String>,
}

impl Session {
    /// One exchange with the server: `effect` is what the server does.
    async fn ask<T>(
        &self,
        name: &'static str,
        about: &str,
        effect: impl FnOnce(&mut Server) -> Result<T>,
    ) -> Result<T> {
        let pass = self.process.enter(name, Kind::Session, about).await?;
        let world = self.process.world()?;
        match pass.verdict {
            Verdict::TimeOut => return Err(Error::new(Code::ConnectionLost)),
            Verdict::ReadOnly => return Err(Error::new(Code::ServerReadOnly)),
            _ => {}
        }
        let done = effect(&mut world.inner().server);
        if let Err(error) = &done {
            world.note(|| format!("      refused: {error}"));
        }
        self.process.leave(pass).await;
        if pass.verdict == Verdict::ReplyLost {
            return Err(Error::new(Code::ConnectionLost));
        }
        done
    }

    /// Takes a lock, and reads the server's state under it.
    async fn lock<T>(&self, name: &'static str, on: &str, read: impl FnOnce(&mut Server) -> Result<T>) -> Result<T> {
        let pass = self.process.enter(name, Kind::Session, on).await?;
        match pass.verdict {
            Verdict::TimeOut => return Err(Error::new(Code::ConnectionLost)),
            Verdict::ReadOnly => return Err(Error::new(Code::ServerReadOnly)),
            _ => {}
        }
        let world = self.process.world()?;
        let later = name == "lock" && world.mutation == Some(Mutation::LockAfterLabels);
        if !later {
            self.wait_for_lock(&world, on).await?;
        }
        let done = read(&mut world.inner().server);
        self.process.leave(pass).await;
        if pass.verdict == Verdict::ReplyLost {
            return Err(Error::new(Code::ConnectionLost));
        }
        done
    }

    async fn wait_for_lock(&self, world: &World, on: &str) -> Result<()> {
        if world.mutation == Some(Mutation::NoLock) {
            return Ok(());
        }
        let mut waited = Duration::ZERO;
        while !world.inner().server.try_lock(on, self.number) {
            if waited >= LOCK_LIMIT {
                return Err(Error::new(Code::LockTimeout).with(Fact::What, on));
            }
            tokio::time::sleep(LOCK_POLL).await;
            waited += LOCK_POLL;
        }
        Ok(())
    }
}

async fn connect(process: &Arc<Process>, login: Login<'_>) -> Result<Session, LoginFailure> {
    let pass = process.enter("connect", Kind::Connect, login.user).await.map_err(LoginFailure::unknown)?;
    if pass.verdict == Verdict::TimeOut {
        return Err(LoginFailure::unreachable(Error::new(Code::ConnectTimeout)));
    }
    let world = process.world().map_err(LoginFailure::unknown)?;
    let outcome = log_in(&world, process, login);
    process.leave(pass).await;
    outcome
}

fn log_in(world: &World, process: &Arc<Process>, login: Login<'_>) -> Result<Session, LoginFailure> {
    let (user, password) = (login.user, login.password.expose());
    let mut inner = world.inner();
    let locked = inner.server.users.get(user).is_some_and(|user| user.locked && user.has(password));
    if locked {
        return Err(LoginFailure::unknown(Error::new(Code::RoleUnusable).with(Fact::User, user)));
    }
    if let Some(number) = inner.server.log_in(user, password) {
        return Ok(Session { process: process.clone(), number, user: user.to_owned() });
    }
    if process.is_tracked() {
        let (in_a_row, in_this_one) = (inner.server.refused.get(user).copied().unwrap_or_default(), process.refused());
        inner.judge.refused(user, in_a_row, in_this_one);
    }
    let pretends = inner.server.target == Target::Mysql && !inner.server.users.contains_key(user);
    drop(inner);
    if pretends {
        // MySQL asks for one of its ways to authenticate, and the function does not have all of them.
        return Err(LoginFailure::unknown(Error::new(Code::AuthenticationUnsupported).with(Fact::User, user)));
    }
    world.note(|| format!("      refused: the login of {user}"));
    Err(LoginFailure { observation: Observation::Rejected, error: Error::new(Code::CurrentRejected) })
}

fn missing(user: &str) -> Error {
    Error::new(Code::RoleMissing).with(Fact::User, user)
}

/// Whether a password would let the user log in.
fn usable(server: &Server, name: &str) -> Result<()> {
    let user = server.users.get(name).ok_or_else(|| missing(name))?;
    if user.locked {
        return Err(Error::new(Code::RoleUnusable).with(Fact::User, name));
    }
    Ok(())
}

/// Whether the clone follows the base.
fn differ(pair: &Pair, what: &str) -> Error {
    Error::new(Code::PrivilegesDiffer).with(Fact::User, &pair.clone).with(Fact::What, what)
}

impl PostgresLike {
    /// Whether the clone is gone while it is in use: then only the secret's versions prove the pair.
    fn is_gone(server: &Server, pair: &Pair, pending: Side) -> bool {
        pending == Side::Base && !server.users.contains_key(&pair.clone)
    }

    fn provable(server: &Server, pair: &Pair) -> Result<()> {
        let base = server.users.get(&pair.base).ok_or_else(|| missing(&pair.base))?;
        if base.member_of.contains(&pair.clone) {
            return Err(pair.unproven("the base user is a member of the other one"));
        }
        if !pair.named && pair.original().is_some_and(|original| base.member_of.contains(original)) {
            return Err(pair.unproven("the secret's user is itself a clone"));
        }
        match server.users.get(&pair.clone) {
            Some(clone) if !pair.named && !clone.member_of.contains(&pair.base) => {
                Err(pair.unproven("the partner exists and is not a member of the base user"))
            }
            _ => Ok(()),
        }
    }
}

impl Engine for PostgresLike {
    type Session = Session;
    type Locked = Locked;

    const NAMES: &'static [&'static str] = &["postgres", "aurora-postgresql"];
    const DEFAULT_PORT: u16 = 5432;
    const DEFAULT_DATABASE: Option<&'static str> = Some("postgres");
    const DUAL_PASSWORDS: bool = false;
    const CHANNEL_BINDING: bool = true;
    const MEMBERSHIPS: bool = true;
    const SUPERUSER_COMPARES: bool = false;

    fn check_name(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    async fn connect(&self, login: Login<'_>, _: Deadline) -> Result<Session, LoginFailure> {
        connect(&self.0, login).await
    }

    async fn lock(&self, session: Session, work: Work<'_>, evidence: &impl Evidence) -> Result<Locked> {
        match work {
            Work::Own(PasswordChange { user, .. }) | Work::Discard { user } => {
                session.lock("lock", user, |_| Ok(())).await?;
            }
            Work::Rescue(PasswordChange { user, .. })
            | Work::Other(PasswordChange { user, .. })
            | Work::DiscardOther { user } => {
                session.lock("lock", user, |server| usable(server, user)).await?;
            }
            Work::Turn(Turn { pair, pending, .. }) | Work::Shut(Turn { pair, pending, .. }) => {
                let read =
                    |server: &mut Server| Self::provable(server, pair).map(|()| Self::is_gone(server, pair, pending));
                let gone = session.lock("lock", &pair.base, read).await?;
                if gone && !pair.named && !evidence.held(&pair.base).await? {
                    return Err(pair.unproven("the user that the secret holds now does not exist at the server"));
                }
                usable(&session.process.world()?.inner().server, &pair.base)?;
            }
        }
        Ok(Locked { session, staged: None, retain: false, discards: None })
    }

    async fn align(&self, locked: &mut Locked, Turn { pair, pending, .. }: Turn<'_>) -> Result<()> {
        let world = self.0.world()?;
        if Self::is_gone(&world.inner().server, pair, pending) {
            return Ok(());
        }
        let clone = world.inner().server.users.get(&pair.clone).cloned();
        let mut next = clone.clone();
        if next.is_none() {
            let new = User { locked: true, ..User::default() };
            locked.session.ask("create", &pair.clone, |_| Ok(())).await?;
            next = Some(new);
        }
        let Some(mut next) = next else { return Ok(()) };
        if !next.member_of.contains(&pair.base) {
            locked.session.ask("grant", &pair.clone, |_| Ok(())).await?;
            next.member_of.insert(pair.base.clone());
        }
        if clone.is_some() {
            // The clone has the base's LOGIN, and the base may log in.
            next.locked = false;
        }
        if clone.as_ref() != Some(&next) {
            locked.staged = Some((pair.clone.clone(), next));
        }
        Ok(())
    }

    async fn set_password(&self, locked: Locked, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        let Locked { session, staged, .. } = locked;
        let commit = |server: &mut Server| {
            let is_staged = staged.as_ref().is_some_and(|(name, _)| name == change.user);
            if !is_staged && !server.users.contains_key(change.user) {
                return Err(missing(change.user));
            }
            let users = server.change();
            if let Some((name, user)) = staged {
                users.insert(name, user);
            }
            if let Some(user) = users.get_mut(change.user) {
                change.to.expose().clone_into(&mut user.primary);
                user.locked = false;
            }
            Ok(())
        };
        session.ask("set-password", change.user, commit).await?;
        Ok(PreviousCredential::Refused)
    }

    async fn unlock(&self, locked: Locked) {
        drop(locked);
    }

    fn is_a_second_run(&self, _: &Error) -> bool {
        false
    }

    fn most_refused_logins(&self, _: &str) -> usize {
        4
    }

    async fn discard_previous_password(&self, _: Locked, _: &Password) -> Result<bool> {
        Ok(false)
    }

    async fn compare(&self, _: Session, _: &Pair, _: Side) -> Result<()> {
        Ok(())
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>, hold: Hold) -> Result<Session> {
        let on = pair.map_or(user, |pair| &pair.base);
        let read = |server: &mut Server| {
            let Some(pair) = pair else { return Ok(()) };
            if !server.users.contains_key(&pair.base) {
                return Err(differ(pair, "the base user does not exist"));
            }
            match server.users.get(&pair.clone) {
                None if user == pair.clone => Err(differ(pair, "the clone does not exist")),
                Some(clone) if !clone.member_of.contains(&pair.base) => Err(differ(pair, "the membership is missing")),
                _ => Ok(()),
            }
        };
        match hold {
            Hold::Lock => session.lock("prove", on, read).await?,
            Hold::Nothing | Hold::Primary => session.ask("prove", on, read).await?,
        }
        expect_user(&session.user, user)?;
        Ok(session)
    }

    async fn close(&self, session: Session) {
        drop(session);
    }
}

/// A password that nobody knows, made of what the clone's is and of the current one. It shows who made the clone.
fn mark(clone: &str, current: &Password) -> String {
    format!("mark of {clone} beside {}", current.expose())
}

impl MySqlLike {
    /// Whether one of these is the password of the user, who is not in use.
    fn knows_one_of(&self, user: &str, passwords: &[Password]) -> Result<bool> {
        let world = self.0.world()?;
        let inner = world.inner();
        let user = inner.server.users.get(user);
        Ok(user.is_some_and(|user| passwords.iter().any(|password| user.primary == password.expose())))
    }

    /// Whether the server alone proves the pair. If not: the user that an older version of the secret has to hold.
    fn proven<'a>(server: &Server, Turn { pair, pending, new, current }: Turn<'a>) -> Result<Option<&'a str>> {
        usable(server, &pair.base)?;
        if pair.named {
            return Ok(None);
        }
        if pending == Side::Base {
            return Ok((!server.users.contains_key(&pair.clone)).then_some(pair.base.as_str()));
        }
        let Some(clone) = server.users.get(&pair.clone) else {
            if pair.original().is_some_and(|original| server.users.contains_key(original)) {
                return Err(pair.unproven("the secret's user has the name of a clone, and its original exists"));
            }
            return Ok(None);
        };
        let ours = clone.primary == mark(&pair.clone, current) || clone.primary == new.expose();
        Ok((!ours).then_some(pair.clone.as_str()))
    }

    /// `ALTER USER … RETAIN CURRENT PASSWORD` of a superuser, who reads which password is the primary one.
    fn retain(user: &mut User, from: &str, to: &str, mutation: Option<Mutation>) {
        if user.primary == to && mutation != Some(Mutation::RetainsTwice) {
            return;
        }
        let before = std::mem::replace(&mut user.primary, to.to_owned());
        if before == from || mutation == Some(Mutation::RetainsTwice) {
            user.secondary = Some(before);
        }
    }

    /// `ALTER USER` of the user who is logged in, on MySQL.
    fn change_own(user: &mut User, from: &str, to: &str, mutation: Option<Mutation>) -> PreviousCredential {
        if mutation == Some(Mutation::RetainsTwice) {
            user.secondary = Some(std::mem::replace(&mut user.primary, to.to_owned()));
            return PreviousCredential::Works;
        }
        // REPLACE compares with the primary password. If `from` is the secondary one, it stays, and the primary one is replaced
        // without RETAIN.
        if user.primary == from {
            user.secondary = Some(std::mem::replace(&mut user.primary, to.to_owned()));
        } else {
            to.clone_into(&mut user.primary);
        }
        PreviousCredential::Works
    }
}

impl Engine for MySqlLike {
    type Session = Session;
    type Locked = Locked;

    const NAMES: &'static [&'static str] = &["mysql", "aurora-mysql", "mariadb"];
    const DEFAULT_PORT: u16 = 3306;
    const DEFAULT_DATABASE: Option<&'static str> = None;
    const DUAL_PASSWORDS: bool = true;
    const CHANNEL_BINDING: bool = false;
    const MEMBERSHIPS: bool = false;
    const SUPERUSER_COMPARES: bool = true;

    fn check_name(&self, _: &str, _: &str) -> Result<()> {
        Ok(())
    }

    fn may_refuse_wrongly(&self, engine: &str) -> bool {
        engine == "mariadb"
    }

    fn may_stop_half_way(&self, engine: &str) -> bool {
        engine == "mariadb"
    }

    async fn connect(&self, login: Login<'_>, _: Deadline) -> Result<Session, LoginFailure> {
        connect(&self.0, login).await
    }

    async fn lock(&self, session: Session, work: Work<'_>, evidence: &impl Evidence) -> Result<Locked> {
        let discards = if let Work::DiscardOther { user } = work { Some(user.to_owned()) } else { None };
        match work {
            Work::Own(PasswordChange { user, .. }) | Work::Discard { user } => {
                session.lock("lock", user, |_| Ok(())).await?;
            }
            Work::Rescue(change) => {
                let read = |server: &mut Server| {
                    usable(server, change.user)?;
                    let user = server.users.get(change.user).ok_or_else(|| missing(change.user))?;
                    if user.has(change.from.expose()) {
                        return Err(Error::new(Code::LoginForbidden).with(Fact::User, change.user));
                    }
                    Ok(())
                };
                session.lock("lock", change.user, read).await?;
            }
            Work::Other(PasswordChange { user, .. }) | Work::DiscardOther { user } => {
                session.lock("lock", user, |server| usable(server, user)).await?;
            }
            Work::Turn(turn) | Work::Shut(turn) => {
                let read = |server: &mut Server| Self::proven(server, turn);
                if let Some(user) = session.lock("lock", &turn.pair.base, read).await?
                    && !evidence.held(user).await?
                    && !self.knows_one_of(user, &evidence.passwords(user).await?)?
                {
                    return Err(turn.pair.unproven("no older version of the secret holds the other user"));
                }
            }
        }
        let retain = matches!(work, Work::Other(_)) && self.0.world()?.inner().server.target == Target::Mysql;
        Ok(Locked { session, staged: None, retain, discards })
    }

    async fn align(&self, locked: &mut Locked, turn: Turn<'_>) -> Result<()> {
        let Turn { pair, pending, new, current } = turn;
        let world = self.0.world()?;
        let session = &locked.session;
        let exists = world.inner().server.users.contains_key(&pair.clone);
        if !exists && pending == Side::Base {
            return Ok(());
        }
        if !exists {
            let create = |server: &mut Server| {
                let new = User { primary: mark(&pair.clone, current), locked: true, ..User::default() };
                server.change().entry(pair.clone.clone()).or_insert(new);
                Ok(())
            };
            session.ask("create", &pair.clone, create).await?;
        }
        if world.mutation == Some(Mutation::PasswordBeforeGrants)
            && let Some(user) = world.inner().server.change().get_mut(pair.user(pending))
        {
            new.expose().clone_into(&mut user.primary);
            user.locked = false;
        }
        let privileges = |name: &str| -> Option<BTreeSet<&'static str>> {
            let inner = world.inner();
            inner.server.users.get(name).map(|user| user.privileges.clone())
        };
        // The base was read when the lock was taken. A person may have dropped it since.
        let base = privileges(&pair.base).unwrap_or_else(|| PRIVILEGES.into_iter().collect());
        let clone = privileges(&pair.clone).unwrap_or_default();
        for privilege in PRIVILEGES {
            let (wanted, there) = (base.contains(privilege), clone.contains(privilege));
            // Nothing is revoked from a clone in use.
            if wanted == there || (there && pending == Side::Base) {
                continue;
            }
            let grant = |server: &mut Server| {
                if let Some(clone) = server.change().get_mut(&pair.clone) {
                    if wanted {
                        clone.privileges.insert(privilege)
                    } else {
                        clone.privileges.remove(privilege)
                    };
                }
                Ok(())
            };
            session.ask("grant", &format!("{privilege} {}", pair.clone), grant).await?;
        }
        Ok(())
    }

    async fn set_password(&self, locked: Locked, change: PasswordChange<'_>) -> Result<PreviousCredential> {
        let Locked { session, retain, .. } = locked;
        let own = session.user == change.user;
        let mutation = self.0.world()?.mutation;
        let effect = |server: &mut Server| {
            let dual = server.target == Target::Mysql;
            let Some(user) = server.change().get_mut(change.user) else {
                return Err(Error::new(Code::TargetRefused)
                    .with(Fact::User, change.user)
                    .with(Fact::ErrorNumber, 1396));
            };
            if own && dual {
                return Ok(Self::change_own(user, change.from.expose(), change.to.expose(), mutation));
            }
            if retain {
                Self::retain(user, change.from.expose(), change.to.expose(), mutation);
                return Ok(PreviousCredential::Works);
            }
            change.to.expose().clone_into(&mut user.primary);
            user.secondary = None;
            user.locked = false;
            Ok(PreviousCredential::Refused)
        };
        session.ask("set-password", change.user, effect).await
    }

    async fn unlock(&self, locked: Locked) {
        drop(locked);
    }

    fn is_a_second_run(&self, _: &Error) -> bool {
        false
    }

    fn may_block(&self, engine: &str) -> bool {
        engine != "mariadb"
    }

    fn most_refused_logins(&self, engine: &str) -> usize {
        if engine == "mariadb" { 5 } else { 2 }
    }

    async fn discard_previous_password(&self, locked: Locked, current: &Password) -> Result<bool> {
        let Locked { session, discards, .. } = locked;
        let user = discards.as_deref().unwrap_or(session.user.as_str());
        let discard = |server: &mut Server| {
            if server.target != Target::Mysql {
                return Ok(false);
            }
            let Some(user) = server.change().get_mut(user) else { return Err(missing(user)) };
            if user.primary != current.expose() {
                let what = "the current password is the account's secondary one";
                return Err(Error::new(Code::TargetRefused).with(Fact::What, what));
            }
            // Only a superuser sees whether there is one.
            let ended = user.secondary.take().is_some();
            Ok(ended || discards.is_none())
        };
        session.ask("discard", user, discard).await
    }

    async fn compare(&self, superuser: Session, pair: &Pair, pending: Side) -> Result<()> {
        let compare = |server: &mut Server| {
            if pending == Side::Base && !server.users.contains_key(&pair.clone) {
                return Ok(());
            }
            let (base, clone) = (server.users.get(&pair.base), server.users.get(&pair.clone));
            let (Some(base), Some(clone)) = (base, clone) else { return Err(differ(pair, "a user is missing")) };
            let (base_reaches, clone_reaches) = (server.reaches(base), server.reaches(clone));
            if !base_reaches.is_subset(&clone_reaches) || (pending == Side::Clone && base_reaches != clone_reaches) {
                return Err(differ(pair, "a privilege differs"));
            }
            if pending == Side::Clone && clone.locked != base.locked {
                return Err(differ(pair, "ACCOUNT LOCK"));
            }
            Ok(())
        };
        superuser.ask("compare", &pair.clone, compare).await
    }

    async fn prove(&self, session: Session, user: &str, pair: Option<&Pair>, hold: Hold) -> Result<Session> {
        let on = pair.map_or(user, |pair| &pair.base);
        match hold {
            Hold::Lock => session.lock("prove", on, |_| Ok(())).await?,
            Hold::Nothing | Hold::Primary => session.ask("prove", on, |_| Ok(())).await?,
        }
        expect_user(&session.user, user)?;
        Ok(session)
    }

    async fn close(&self, session: Session) {
        drop(session);
    }
}
