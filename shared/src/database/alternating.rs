//! Alternating users: whose turn is next, and setSecret for them.

use super::engine::{Engine, Evidence, Turn};
use super::login::Logins;
use super::pair::{Pair, Side};
use super::plan::Credential;
use super::secret::{DatabaseSecret, DatabaseUser};
use super::versions::CheckedVersions;
use crate::document::Document;
use crate::error::Result;
use crate::protocol::context::StepContext;
use crate::protocol::observation::PreviousCredential;
use crate::protocol::target::{Applied, Change};
use std::marker::PhantomData;

/// The user whose turn is next.
pub(crate) async fn next_user<E: Engine>(
    context: &StepContext<'_>,
    current: &DatabaseUser,
    users: Option<&(String, String)>,
) -> Result<String> {
    let previous = VersionsOfSecret { context, current, engine: PhantomData::<E> };
    let previous = if Pair::needs_previous(&current.username, users) { previous.previous_user().await? } else { None };
    let pair = Pair::of(&current.username, users, previous.as_deref())?;
    Ok(pair.user(pair.partner(&current.username)).to_owned())
}

/// Makes the clone like the base and sets the pending side's password, as the superuser.
pub(crate) async fn apply<E: Engine>(
    logins: &Logins<'_, E>,
    versions: &CheckedVersions,
    superuser: &str,
    (pair, pending): (&Pair, Side),
) -> Result<Applied> {
    let (context, current) = (logins.context, &versions.current.user);
    let session = logins.superuser_session(superuser, current).await?;
    context.still_pending().await?;
    let turn = Turn { pair, pending, new: &versions.pending.user.password, current: &current.password };
    let evidence = VersionsOfSecret { context, current, engine: PhantomData::<E> };
    logins.engine.converge(session, turn, &evidence).await?;
    Ok(Applied::Changed(Change { by: Credential::Superuser.as_str(), previous: PreviousCredential::Works }))
}

/// What the secret's versions say about a pair.
struct VersionsOfSecret<'a, E> {
    context: &'a StepContext<'a>,
    current: &'a DatabaseUser,
    engine: PhantomData<E>,
}

impl<E: Engine> Evidence for VersionsOfSecret<'_, E> {
    async fn previous_user(&self) -> Result<Option<String>> {
        let document = self.context.previous().await?;
        Ok(document.and_then(|document| user_on_same_server::<E>(&document, self.current)))
    }
}

/// The user of a version, if the version is for the server of `other`.
fn user_on_same_server<E: Engine>(document: &Document, other: &DatabaseUser) -> Option<String> {
    let user = DatabaseSecret::read::<E>(document).ok()?.user;
    (user.host.eq_ignore_ascii_case(&other.host) && user.port == other.port).then_some(user.username)
}
