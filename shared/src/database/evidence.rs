//! What the versions of a secret say about a pair.

use super::engine::{Engine, Evidence};
use super::secret::{DatabaseSecret, DatabaseUser};
use crate::document::Document;
use crate::error::Result;
use crate::protocol::context::StepContext;
use crate::secret::Password;
use std::marker::PhantomData;

/// How many older versions are read at most. An edit by hand is among the newest ones.
const MOST_READ: usize = 20;

/// Whom the older versions of a secret hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// One of the users that were asked for.
    Of(String),
    /// Other users, or none that can be read.
    Others,
    /// There is no older version.
    NoVersion,
}

/// What the secret's versions say about a pair.
pub(crate) struct VersionsOfSecret<'a, E> {
    context: &'a StepContext<'a>,
    current: &'a DatabaseUser,
    engine: PhantomData<E>,
}

impl<'a, E> VersionsOfSecret<'a, E> {
    pub(crate) fn new(context: &'a StepContext<'a>, current: &'a DatabaseUser) -> Self {
        Self { context, current, engine: PhantomData }
    }
}

impl<E: Engine> VersionsOfSecret<'_, E> {
    /// The user of a version, if the version is for the same server.
    fn user_of(&self, document: &Document) -> Option<DatabaseUser> {
        let user = DatabaseSecret::read_beside::<E>(document, self.current).ok()?.user;
        let same = user.host.eq_ignore_ascii_case(&self.current.host) && user.port == self.current.port;
        same.then_some(user)
    }

    /// Which of these users an older version holds: AWSPREVIOUS, or else the newest version that holds one of them. An edit by hand
    /// makes AWSPREVIOUS a version of the same user.
    ///
    /// **Invariant:** a version other than AWSPREVIOUS is only a hint, because a rotation that was refused leaves one as well: its
    /// server has to confirm the pair by a membership. Otherwise a rotation would make its own proof that a stranger's user is the
    /// clone. Test: `a_version_that_a_refused_rotation_left_proves_no_pair`.
    pub(crate) async fn newest_of(&self, users: &[&str]) -> Result<Holder> {
        let user = |document: &Document| self.user_of(document).map(|user| user.username);
        let is_one = |user: &String| users.contains(&user.as_str());
        let previous = self.context.previous().await?;
        if let Some(user) = previous.as_ref().and_then(user).filter(is_one) {
            return Ok(Holder::Of(user));
        }
        let older = self.context.older_versions().await?;
        let hints = if E::MEMBERSHIPS { older.as_slice() } else { &[] };
        for id in hints.iter().take(MOST_READ) {
            let document = self.context.version(id).await?;
            if let Some(user) = document.as_ref().and_then(user).filter(is_one) {
                return Ok(Holder::Of(user));
            }
        }
        Ok(if older.is_empty() { Holder::NoVersion } else { Holder::Others })
    }
}

impl<E: Engine> Evidence for VersionsOfSecret<'_, E> {
    fn uses_tls(&self) -> bool {
        !self.current.plaintext
    }

    fn has_client_certificate(&self) -> bool {
        self.current.client_certificate.is_some()
    }

    async fn held(&self, user: &str) -> Result<bool> {
        Ok(matches!(self.newest_of(&[user]).await?, Holder::Of(_)))
    }

    async fn previous_password(&self, user: &str) -> Result<Option<Password>> {
        let previous = self.context.previous().await?.and_then(|document| self.user_of(&document));
        Ok(previous.filter(|it| it.username == user).map(|it| it.password))
    }

    async fn passwords(&self, user: &str) -> Result<Vec<Password>> {
        let mut passwords = Vec::new();
        for id in self.context.older_versions().await?.iter().take(MOST_READ) {
            let document = self.context.version(id).await?;
            let user_of_version = document.and_then(|document| self.user_of(&document));
            passwords.extend(user_of_version.filter(|it| it.username == user).map(|it| it.password));
        }
        Ok(passwords)
    }
}
