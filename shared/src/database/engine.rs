//! The seam to a kind of database server.

use super::endpoint::Endpoint;
use super::observation::LoginFailure;
use super::pair::{Pair, Side};
use super::plan::Credential;
use crate::clock::Deadline;
use crate::error::Result;
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

/// A kind of database server: how to log in, and how to change passwords.
///
/// Every method ends before the deadline with an error that names what it waited for.
pub trait Engine: Send + Sync {
    /// An open connection.
    type Session: Send;

    /// The values of the secret's `engine` that this engine serves.
    const NAMES: &'static [&'static str];
    /// Used where the secret has no `port`.
    const DEFAULT_PORT: u16;
    /// Used where the secret has no `dbname`.
    const DEFAULT_DATABASE: Option<&'static str>;

    /// Whether the server takes a user name of this length.
    fn name_fits(&self, user: &str) -> bool;

    /// Logs in: one connection, one attempt.
    fn connect(
        &self,
        login: Login<'_>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Self::Session, LoginFailure>> + Send;

    /// Changes the password of the user who is logged in.
    fn change_own_password(
        &self,
        session: Self::Session,
        user: &str,
        new: &Password,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Changes another user's password, as a superuser.
    fn rescue(
        &self,
        superuser: Self::Session,
        user: &str,
        new: &Password,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;

    /// As a superuser: makes the clone if it is absent, makes its privileges those of the base, and sets the password of
    /// the `pending` side last.
    fn converge(
        &self,
        superuser: Self::Session,
        pair: &Pair,
        pending: Side,
        new: &Password,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;

    /// As the user who is logged in: proves that the session is that user's and can work and, for a pair, that its
    /// effective privileges are the base user's.
    fn prove(
        &self,
        session: Self::Session,
        user: &str,
        pair: Option<&Pair>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;
}
