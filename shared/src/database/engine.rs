//! The seam to one kind of database server.

use super::endpoint::Endpoint;
use super::login_failure::LoginFailure;
use super::pair::{Pair, Side};
use crate::clock::Deadline;
use crate::error::{Code, Error, Fact, Result};
use crate::protocol::observation::PreviousCredential;
use crate::protocol::target::Sessions;
use crate::secret::Password;
use std::future::Future;

/// One login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// The server.
    pub endpoint: &'a Endpoint,
    /// The user's name.
    pub user: &'a str,
    /// The user's password.
    pub password: &'a Password,
    /// Whether to use only a way to authenticate that the server can neither read nor replay. It is set where the writer of the
    /// rotated secret chose the server, and the password is another secret's.
    pub channel_binding_required: bool,
}

/// A change of one user's password.
#[derive(Clone, Copy, Debug)]
pub struct PasswordChange<'a> {
    /// The user's name.
    pub user: &'a str,
    /// The password before: the one that opened the session, or the current one.
    pub from: &'a Password,
    /// The pending password.
    pub to: &'a Password,
}

/// The next password of a pair, which the superuser sets.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The two users.
    pub pair: &'a Pair,
    /// The side whose turn it is.
    pub pending: Side,
    /// The next password of that side.
    pub new: &'a Password,
    /// The password of the other side, which consumers use.
    pub current: &'a Password,
}

/// Whether a proof keeps everybody else from changing the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// It takes the lock, because AWSCURRENT moves next.
    Lock,
    /// It only looks. Any user of the server could hold the lock up, and a test needs none.
    Nothing,
    /// It only looks, and the server has to take changes: a superuser changes the password at the primary, and a replica would know it
    /// later.
    Primary,
}

/// What a session is to do with the lock.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// The user who is logged in changes its own password.
    Own(PasswordChange<'a>),
    /// A superuser sets the password of a user that no known password opens. `from` is the current one.
    Rescue(PasswordChange<'a>),
    /// A superuser sets the password of another user. A login of that user with `from` has just succeeded.
    Other(PasswordChange<'a>),
    /// A superuser makes a clone like its base, and sets the password of the pending side.
    Turn(Turn<'a>),
    /// A superuser ends the password of a side of a pair whose turn has passed, by one that nobody knows. The next turn of that side has
    /// to recognise the user as the secret's without its password.
    Shut(Turn<'a>),
    /// The user who is logged in ends every password of its own but the one that opened the session.
    Discard {
        /// The user's name.
        user: &'a str,
    },
    /// A superuser ends every password of another user but one.
    DiscardOther {
        /// The user's name.
        user: &'a str,
    },
}

/// What a secret says about its users, and its versions about a pair. Servers that have no memberships do not know which users form one.
pub trait Evidence: Send + Sync {
    /// Whether logins of the secret's users use TLS. A superuser's may, although theirs do not.
    fn uses_tls(&self) -> bool;

    /// Whether logins of the secret's users show a client's certificate.
    fn has_client_certificate(&self) -> bool;

    /// Whether AWSPREVIOUS, for the same server, holds this user. With [`MEMBERSHIPS`](Engine::MEMBERSHIPS) any older version
    /// counts. Costs a call, or several.
    ///
    /// # Errors
    /// Those of the store.
    fn held(&self, user: &str) -> impl Future<Output = Result<bool>> + Send;

    /// The password of this user in AWSPREVIOUS, if that is for the same server. Costs a call.
    ///
    /// # Errors
    /// Those of the store.
    fn previous_password(&self, user: &str) -> impl Future<Output = Result<Option<Password>>> + Send;

    /// The passwords of this user in older versions, newest first. One that the server knows shows that the secret held the user.
    ///
    /// # Errors
    /// Those of the store.
    fn passwords(&self, user: &str) -> impl Future<Output = Result<Vec<Password>>> + Send;
}

/// Checks that a session belongs to the user who logged in. A server or a proxy can map one user to another.
///
/// # Errors
/// [`Code::LoginForbidden`].
pub fn expect_user(found: &str, expected: &str) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(Error::new(Code::LoginForbidden)
        .with(Fact::User, expected)
        // A server that has received a password could answer with it.
        .with(Fact::Found, "another user")
        .with(Fact::What, "the session belongs to another user"))
}

/// Checks that a user name is not longer than the server takes, in the server's unit.
///
/// # Errors
/// [`Code::NameTooLong`].
pub fn expect_length(user: &str, found: usize, limit: usize, unit: &str) -> Result<()> {
    if found <= limit {
        return Ok(());
    }
    Err(Error::new(Code::NameTooLong)
        .with(Fact::User, user)
        .with(Fact::Found, format_args!("{found} {unit}"))
        .with(Fact::Expected, format_args!("at most {limit}")))
}

/// A kind of database server: how to log in, and how to change passwords.
///
/// Every method ends before the deadline of the login. Its error then names what it waited for.
///
/// The lock is the server's own (an advisory lock, a user lock) and ends with the session. Every change of a user's password
/// through this seam holds it.
pub trait Engine: Send + Sync {
    /// An open connection, which keeps the deadline.
    type Session: Send;
    /// A session that holds the lock on a user or a pair, and what was read about them.
    type Locked: Send;

    /// The values of the secret's `engine` that this engine serves.
    const NAMES: &'static [&'static str];
    /// Used where the secret has no `port`.
    const DEFAULT_PORT: u16;
    /// Used where the secret has no `dbname`.
    const DEFAULT_DATABASE: Option<&'static str>;
    /// Whether a user can have two passwords at a time, so that the previous one keeps working.
    const DUAL_PASSWORDS: bool;
    /// Whether a login can be bound to its TLS channel. Then only a server that knows the user's password can complete it.
    const CHANNEL_BINDING: bool;
    /// Whether the server knows which users form a pair, because the clone is a member of the base.
    const MEMBERSHIPS: bool;
    /// Whether the superuser has to compare the privileges of a pair, because neither user may see the other's.
    const SUPERUSER_COMPARES: bool;

    /// Checks that a server of this engine, which is one of [`NAMES`](Self::NAMES), takes a user name of this length.
    ///
    /// # Errors
    /// [`Code::NameTooLong`].
    fn check_name(&self, engine: &str, user: &str) -> Result<()>;

    /// Whether a server of this engine can refuse a login although the password is right. A login that is expected to work is
    /// then tried twice.
    fn may_refuse_wrongly(&self, _engine: &str) -> bool {
        false
    }

    /// Whether a server of this engine may block a user after a few refused logins. Then later attempts of a rotation whose
    /// passwords were refused try none of them again.
    fn may_block(&self, _engine: &str) -> bool {
        false
    }

    /// Whether a server of this engine changes the accounts of a user one after the other. Then a change that was interrupted can have
    /// reached some of them.
    fn may_stop_half_way(&self, _engine: &str) -> bool {
        false
    }

    /// How many refused logins end the search for a password that works, if `MAX_REFUSED_LOGINS` does not say so.
    fn most_refused_logins(&self, engine: &str) -> usize;

    /// Logs in: one connection, one attempt. The deadline is the step's, and limits every wait in the session.
    fn connect(
        &self,
        login: Login<'_>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Session, LoginFailure>> + Send;

    /// Takes the lock on the user or the pair, reads what the work needs, and checks that the work may be done. Nothing is changed.
    ///
    /// Until the session ends, no other invocation gets this lock. So the caller asks *now* whether the work is still wanted: an
    /// answer from before the lock may be outdated.
    fn lock(
        &self,
        session: Self::Session,
        work: Work<'_>,
        evidence: &impl Evidence,
    ) -> impl Future<Output = Result<Self::Locked>> + Send;

    /// Accounts of the user that have no password and are left alone, by name.
    fn left_alone(&self, _locked: &Self::Locked) -> Vec<String> {
        Vec::new()
    }

    /// For [`Work::Turn`]: what a person should know about the pair that was read, although the turn goes on.
    fn remarks(&self, _locked: &Self::Locked, _turn: Turn<'_>) -> Vec<Error> {
        Vec::new()
    }

    /// For [`Work::Turn`]: makes the clone if it is absent and this is its turn, and gives it the base's privileges. No password
    /// that anybody knows is set.
    fn align(&self, locked: &mut Self::Locked, turn: Turn<'_>) -> impl Future<Output = Result<()>> + Send;

    /// Sets the password and ends the session. Returns what became of the previous password.
    fn set_password(
        &self,
        locked: Self::Locked,
        change: PasswordChange<'_>,
    ) -> impl Future<Output = Result<PreviousCredential>> + Send;

    /// Ends a session without a change, so that the lock is free at once.
    fn unlock(&self, locked: Self::Locked) -> impl Future<Output = ()> + Send;

    /// Whether the server refused a change because an earlier run has set the pending password already.
    fn is_a_second_run(&self, refusal: &Error) -> bool;

    /// With [`DUAL_PASSWORDS`](Self::DUAL_PASSWORDS): ends every password of the user but `current`, and ends the session. For
    /// [`Work::Discard`], `current` has opened the session. `false` if that was the only one.
    fn discard_previous_password(
        &self,
        locked: Self::Locked,
        current: &Password,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Ends the sessions of this user but the one that holds the lock, and then that one. With [`Work::Discard`] it is the user who is
    /// logged in, with [`Work::Turn`] a side of the pair. An engine that knows no sessions ends none.
    ///
    /// # Errors
    /// [`Code::PrivilegeMissing`].
    fn end_sessions(&self, _locked: Self::Locked, _user: &str) -> impl Future<Output = Result<Sessions>> + Send {
        std::future::ready(Ok(Sessions::default()))
    }

    /// With [`SUPERUSER_COMPARES`](Self::SUPERUSER_COMPARES): checks that the clone's effective privileges are the base's.
    ///
    /// # Errors
    /// [`Code::PrivilegesDiffer`] naming the first difference.
    fn compare(&self, superuser: Self::Session, pair: &Pair, pending: Side) -> impl Future<Output = Result<()>> + Send;

    /// As the user who is logged in: proves that the session belongs to that user and works. For a pair whose users may see each
    /// other's privileges, it also proves that they are the base user's. With [`Hold::Lock`] it takes the lock first.
    fn prove(
        &self,
        session: Self::Session,
        user: &str,
        pair: Option<&Pair>,
        hold: Hold,
    ) -> impl Future<Output = Result<Self::Session>> + Send;

    /// Ends a session.
    fn close(&self, session: Self::Session) -> impl Future<Output = ()> + Send;
}
