//! The seam to a kind of database server.

use super::endpoint::Endpoint;
use super::login_failure::LoginFailure;
use super::pair::{Pair, Side};
use super::plan::Credential;
use crate::clock::Deadline;
use crate::error::{Error, Result};
use crate::protocol::observation::PreviousCredential;
use crate::secret::Password;
use std::future::Future;

/// One login.
#[derive(Clone, Copy, Debug)]
pub struct Login<'a> {
    /// Where to.
    pub endpoint: &'a Endpoint,
    /// As whom.
    pub user: &'a str,
    /// With what.
    pub password: &'a Password,
    /// Which credential this is, for error messages.
    pub credential: Credential,
    /// Refuse any way to authenticate that the server could replay or read: set where somebody who may write the rotated
    /// secret chose the server that is about to see another secret's password.
    pub channel_binding_required: bool,
}

/// A user's own password, to be changed.
#[derive(Clone, Copy, Debug)]
pub struct OwnChange<'a> {
    /// Whose.
    pub user: &'a str,
    /// The password that opened the session.
    pub from: &'a Password,
    /// The pending one.
    pub to: &'a Password,
}

/// What the superuser has to do for a pair.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The two users.
    pub pair: &'a Pair,
    /// Whose turn it is.
    pub pending: Side,
    /// That user's next password.
    pub new: &'a Password,
    /// The other user's password, which consumers use.
    pub current: &'a Password,
}

/// What the versions of a secret tell about a pair, for servers that know nothing of it themselves.
pub trait Evidence: Send + Sync {
    /// The user in the AWSPREVIOUS version, if that is about the same server. Costs a call.
    ///
    /// # Errors
    /// Those of the store.
    fn previous_user(&self) -> impl Future<Output = Result<Option<String>>> + Send;
}

/// A kind of database server: how to log in, and how to change passwords.
///
/// Every method ends before the deadline of the login with an error that names what it waited for.
pub trait Engine: Send + Sync {
    /// An open connection, which keeps the deadline.
    type Session: Send;

    /// The values of the secret's `engine` that this engine serves.
    const NAMES: &'static [&'static str];
    /// Used where the secret has no `port`.
    const DEFAULT_PORT: u16;
    /// Used where the secret has no `dbname`.
    const DEFAULT_DATABASE: Option<&'static str>;
    /// Whether an account can have two passwords at a time, so that the one before keeps working.
    const DUAL_PASSWORDS: bool;
    /// Whether a login can be bound to its TLS channel, so that only a server that knows the user's password can take part in it.
    const CHANNEL_BINDING: bool;
    /// Whether the superuser has to compare the privileges of a pair, since neither user may see the other's.
    const SUPERUSER_COMPARES: bool;

    /// Checks that a server of this engine, which is one of [`NAMES`](Self::NAMES), takes a user name of this length.
    ///
    /// # Errors
    /// [`NameTooLong`](crate::Code::NameTooLong) with what was found and expected.
    fn check_name(&self, engine: &str, user: &str) -> Result<()>;

    /// Whether a server of this engine can refuse a login although the password is right. A login that is expected to work is
    /// then tried twice.
    fn may_refuse_wrongly(&self, _engine: &str) -> bool {
        false
    }

    /// Logs in: one connection, one attempt. The deadline is the step's, for all that is done in the session.
    fn connect(
        &self,
        login: Login<'_>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Session, LoginFailure>> + Send;

    /// Changes the password of the user who is logged in. Says what became of the one before.
    fn change_own_password(
        &self,
        session: Self::Session,
        change: OwnChange<'_>,
    ) -> impl Future<Output = Result<PreviousCredential>> + Send;

    /// Whether this refusal of a change is what a second run meets, whose first run has set the pending password.
    fn is_a_second_run(&self, refusal: &Error) -> bool;

    /// Where there are [`DUAL_PASSWORDS`](Self::DUAL_PASSWORDS): ends every password of the user who is logged in but the
    /// one that opened the session. `false` if it was the only one.
    fn discard_previous_password(
        &self,
        session: Self::Session,
        user: &str,
        current: &Password,
    ) -> impl Future<Output = Result<bool>> + Send;

    /// Changes another user's password, as a superuser, when none that is known opens the database. `from` is the current one.
    fn rescue(&self, superuser: Self::Session, change: OwnChange<'_>) -> impl Future<Output = Result<()>> + Send;

    /// As a superuser: makes the clone if it is absent, makes its privileges those of the base, and sets the password of
    /// the pending side last.
    fn converge(
        &self,
        superuser: Self::Session,
        turn: Turn<'_>,
        evidence: &impl Evidence,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Where [`SUPERUSER_COMPARES`](Self::SUPERUSER_COMPARES): that the clone's effective privileges are the base's.
    ///
    /// # Errors
    /// [`PrivilegesDiffer`](crate::Code::PrivilegesDiffer) naming the first difference.
    fn compare(&self, superuser: Self::Session, pair: &Pair, pending: Side) -> impl Future<Output = Result<()>> + Send;

    /// As the user who is logged in: proves that the session is that user's and can work and, for a pair whose users may
    /// see each other's privileges, that those are the base user's.
    fn prove(&self, session: Self::Session, user: &str, pair: Option<&Pair>)
    -> impl Future<Output = Result<()>> + Send;
}
